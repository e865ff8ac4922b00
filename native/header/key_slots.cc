// Key slots of persistence.bin, and the keys that are derived from the DEK.
//
// Associated data of a wrap: storage id (16), u32 slot id, u8 type, u32 key id, u32 length of the parameters,
// the parameters. The wrap is AES-256-GCM of the DEK under the KEK with a random nonce.
//
// Invariant: a KEK or purpose key is HKDF-SHA-256 under a label that is used for nothing else.
#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "header/persistence_file.h"

namespace strongroom::store {
namespace {

constexpr std::string_view kKeyCheckLabel = "strongroom/v5 key check";
constexpr std::string_view kVaultLabel = "strongroom/v5 vault";
constexpr std::string_view kTamperLabel = "strongroom/v5 tamper";
constexpr std::string_view kWitnessLabel = "strongroom/v5 witness";
constexpr std::string_view kFieldLabel = "strongroom/v5 field";

std::array<std::uint8_t, 8> key_check_value(ByteView kek) {
  const Digest mac = crypto::hmac_sha256(kek, {as_bytes(kKeyCheckLabel)});
  std::array<std::uint8_t, 8> out{};
  std::copy_n(mac.begin(), out.size(), out.begin());
  return out;
}

Bytes wrap_associated_data(const KeySlot& slot, const StorageId& storage_id, std::uint32_t key_id) {
  Bytes out;
  ByteWriter writer(out);
  writer.bytes(storage_id);
  writer.number(slot.id);
  writer.number(static_cast<std::uint8_t>(slot.type));
  writer.number(key_id);
  writer.number(static_cast<std::uint32_t>(slot.parameters.size()));
  writer.bytes(slot.parameters);
  return out;
}

}  // namespace

KeySlot wrap_dek(std::uint32_t slot_id, SlotType type, Bytes parameters, ByteView kek, ByteView dek,
                 const StorageId& storage_id, std::uint32_t key_id) {
  KeySlot slot;
  if (dek.size() != slot.wrapped_dek.size()) std::abort();  // would write beyond the slot
  slot.id = slot_id;
  slot.type = type;
  slot.parameters = std::move(parameters);
  slot.nonce = crypto::random_array<crypto::kNonceBytes>();
  slot.key_check_value = key_check_value(kek);
  crypto::Aead(kek).seal(slot.nonce, wrap_associated_data(slot, storage_id, key_id), dek,
                         slot.wrapped_dek.data(), slot.tag.data());
  return slot;
}

Result<SecretBytes> unwrap_dek(const KeySlot& slot, ByteView kek, const StorageId& storage_id,
                               std::uint32_t key_id, bool* kek_fits) {
  if (kek.size() != crypto::kKeyBytes) return Status(Reason::kInvalidArgument, "a KEK has 32 bytes");
  const bool is_named = crypto::equal_constant_time(key_check_value(kek), slot.key_check_value);
  SecretBytes dek(slot.wrapped_dek.size());
  // Nothing authenticates the key check value. So a KEK that it does not name is tried too.
  const bool opens = crypto::Aead(kek).open(slot.nonce, wrap_associated_data(slot, storage_id, key_id),
                                            slot.wrapped_dek, slot.tag.data(), dek.span().data());
  *kek_fits = is_named || opens;
  if (!*kek_fits) return Status(Reason::kRootUnavailable, "the key does not open this key slot");
  if (!opens)
    return Status(Reason::kPersistenceTampered, "persistence.bin: a key slot does not authenticate");
  if (!is_named) {
    return Status(Reason::kPersistenceTampered,
                  "persistence.bin: the key check value of a key slot was changed");
  }
  return dek;
}

SecretBytes create_get_vault_key(ByteView dek, ByteView vault_salt) {
  return crypto::hkdf_sha256(dek, vault_salt, kVaultLabel);
}

SecretBytes tamper_key(ByteView dek, const StorageId& storage_id) {
  return crypto::hkdf_sha256(dek, storage_id, kTamperLabel);
}

SecretBytes witness_key(ByteView dek, const StorageId& storage_id) {
  return crypto::hkdf_sha256(dek, storage_id, kWitnessLabel);
}

SecretBytes field_key(ByteView dek, const StorageId& storage_id) {
  return crypto::hkdf_sha256(dek, storage_id, kFieldLabel);
}

}  // namespace strongroom::store
