#include "protectors/external/external_slot.h"

#include "crypto/crypto.h"
#include "protectors/software/software_slot.h"

namespace strongroom::store {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::string_view kKekLabel = "strongroom/v6 external kek";

Status malformed_slot(const char* what) {
  return {Reason::kPersistenceTampered, std::string("key slot parameters of the key service: ") + what};
}

}  // namespace

Bytes encode_external_parameters(const ExternalSlot& slot) {
  Bytes out;
  ByteWriter writer(out);
  writer.number(kVersion);
  writer.prefixed(encode_software_parameters(slot.secret_store));
  writer.prefixed(slot.wrapped);
  return out;
}

Result<ExternalSlot> parse_external_parameters(ByteView parameters) {
  ByteReader reader(parameters);
  if (reader.number<std::uint8_t>() != kVersion) return malformed_slot("unknown version");
  const ByteView place = reader.prefixed();
  const ByteView wrapped = reader.prefixed();
  if (!reader.done()) return malformed_slot("wrong length");
  if (wrapped.empty() || wrapped.size() > kWrappedRootBytesMax) return malformed_slot("the wrapped root key");
  ExternalSlot slot;
  SR_ASSIGN(slot.secret_store, parse_software_parameters(place));
  slot.wrapped.assign(wrapped.begin(), wrapped.end());
  return slot;
}

SecretBytes external_kek(ByteView root_key, const StorageId& storage_id) {
  return crypto::hkdf_sha256(root_key, storage_id, kKekLabel);
}

Bytes external_context(const PersistenceHeader& header, std::uint32_t slot_id) {
  Bytes out;
  ByteWriter writer(out);
  writer.bytes(header.storage_id);
  writer.number(slot_id);
  writer.bytes(as_bytes(header.instance));
  return out;
}

}  // namespace strongroom::store
