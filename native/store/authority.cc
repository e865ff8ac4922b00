#include "store/authority.h"

namespace strongroom::store {

Bytes permit_statement(Purpose purpose, const StorageId& storage_id, const log::Checkpoint& checkpoint) {
  Bytes out;
  ByteWriter writer(out);
  writer.bytes(as_bytes("SRTOKEN1"));
  writer.number(static_cast<std::uint8_t>(purpose));
  writer.bytes(std::array<std::uint8_t, 7>{});
  writer.bytes(storage_id);
  writer.number(checkpoint.generation);
  writer.bytes(checkpoint.head);
  return out;
}

log::Checkpoint permit_checkpoint(ByteView permit) {
  log::Checkpoint checkpoint;
  if (permit.size() != kPermitBytes) return checkpoint;
  ByteReader reader(permit.first(kPermitStatementBytes));
  (void)reader.bytes(kPermitStatementBytes - 8 - sizeof(Digest));
  checkpoint.generation = reader.number<std::uint64_t>();
  checkpoint.head = reader.array<sizeof(Digest)>();
  return checkpoint;
}

log::Checkpoint with_counter(const log::Checkpoint& checkpoint, std::uint64_t counter_value) {
  std::array<std::uint8_t, 8> count{};
  store_le(count.data(), counter_value);
  return {checkpoint.generation,
          crypto::sha256({as_bytes("strongroom/v5 authority"), checkpoint.head, count})};
}

Status check_authority(const Credential& credential, Purpose purpose, const Authority& authority,
                       const PersistenceHeader& header, const log::Checkpoint& checkpoint) {
  if (authority.vendor_public_key) {
    // What the vendor must sign is no secret, and with a lost root nothing else tells it.
    const std::string wanted = "storage id " + to_hex(header.storage_id) + ", generation " +
                               std::to_string(checkpoint.generation) + ", head " + to_hex(checkpoint.head);
    if (credential.permit.empty()) {
      return {Reason::kAuthorityRefused, "this store accepts only a permit of its vendor, over " + wanted};
    }
    const Bytes statement = permit_statement(purpose, header.storage_id, checkpoint);
    const ByteView permit = credential.permit;
    if (permit.size() != kPermitBytes || !equal(permit.first(kPermitStatementBytes), statement) ||
        !crypto::ed25519_verify(*authority.vendor_public_key, statement,
                                permit.subspan(kPermitStatementBytes))) {
      return {Reason::kAuthorityRefused, "the permit does not fit this purpose and " + wanted};
    }
    return {};
  }
  if (!credential.permit.empty()) {
    return {Reason::kAuthorityRefused, "this store has no vendor key; it accepts the backup password"};
  }
  return open_by_password(header, credential.password.view()).status();
}

}  // namespace strongroom::store
