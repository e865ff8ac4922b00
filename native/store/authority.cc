#include "store/authority.h"

#include "base/cancellation.h"
#include "base/limits.h"

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

Result<SecretBytes> open_by_password(const PersistenceHeader& header, ByteView password,
                                     std::uint32_t* slot_id) {
  if (password.empty()) return Status(Reason::kPasswordMissing, "the backup password is needed");
  bool has_slot = false;
  std::size_t tried = 0;
  for (const KeySlot& slot : header.slots) {
    if (slot.type != SlotType::kPassword) continue;
    // The header is not authenticated, and each try may take seconds.
    if (++tried > limits::kPasswordSlotsMax)
      return Status(Reason::kPersistenceTampered,
                    "persistence.bin has more passwords than any release writes");
    SR_TRY(check_cancelled());
    has_slot = true;
    SR_ASSIGN(const PasswordParameters parameters, parse_password_parameters(slot.parameters));
    SR_ASSIGN(const SecretBytes kek, password_kek(password, parameters));
    bool fits = false;
    Result<SecretBytes> dek = unwrap_dek(slot, kek.view(), header.storage_id, header.key_id, &fits);
    if (!fits) continue;
    if (slot_id != nullptr) *slot_id = slot.id;
    return dek;
  }
  if (!has_slot) return Status(Reason::kPasswordMissing, "the store has no password slot");
  return Status(
      Reason::kPasswordWrong,
      "the backup password opens no key slot; files from a backup have the passwords of when it was made");
}

}  // namespace strongroom::store
