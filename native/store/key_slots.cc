// Key slots of persistence.bin and the keys that are derived from a root, a password or the DEK.
//
// Associated data of a wrap: storage id (16), u32 slot id, u8 type, u32 key id, u32 length of the parameters,
// the parameters. The wrap is AES-256-GCM of the DEK under the KEK with a random nonce.
//
// Parameters of a software slot: u8 type of the SecretStore (1 file, 2 secret-service), u16 length of the
// directory, the directory (empty for secret-service). Parameters of a password slot: salt (16), u32 memory
// in KiB, u32 passes, u32 lanes, the label (the rest).
//
// Invariants:
// - A KEK or purpose key is HKDF-SHA-256 under a label that is used for nothing else; a password's KEK is the
// output
//   of Argon2id, under a salt that is used for nothing else.
// - Parameters are untrusted until the wrap that they are bound into has authenticated: they are bounded
// first.
#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "store/persistence_file.h"

namespace strongroom::store {
namespace {

constexpr std::string_view kKeyCheckLabel = "strongroom/v5 key check";
constexpr std::string_view kSoftwareKekLabel = "strongroom/v5 software kek";
constexpr std::string_view kVaultLabel = "strongroom/v5 vault";
constexpr std::string_view kTamperLabel = "strongroom/v5 tamper";
constexpr std::string_view kWitnessLabel = "strongroom/v5 witness";
constexpr std::string_view kFieldLabel = "strongroom/v5 field";

constexpr std::size_t kDirectoryBytesMax = 4095;  // PATH_MAX without its NUL
static_assert(1 + 2 + kDirectoryBytesMax <= limits::kSlotParametersBytesMax);

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

Status malformed(const char* what) {
  return {Reason::kPersistenceTampered, std::string("key slot parameters: ") + what};
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
  *kek_fits = crypto::equal_constant_time(key_check_value(kek), slot.key_check_value);
  if (!*kek_fits) {
    return slot.type == SlotType::kPassword
               ? Status(Reason::kPasswordWrong, "the password does not open its key slot")
               : Status(Reason::kRootUnavailable, "the root key is not this store's");
  }
  SecretBytes dek(slot.wrapped_dek.size());
  if (!crypto::Aead(kek).open(slot.nonce, wrap_associated_data(slot, storage_id, key_id), slot.wrapped_dek,
                              slot.tag.data(), dek.span().data())) {
    return Status(Reason::kPersistenceTampered, "persistence.bin: a key slot does not authenticate");
  }
  return dek;
}

Bytes encode_software_parameters(const SecretStoreConfig& config) {
  Bytes out;
  ByteWriter writer(out);
  const std::string_view directory =
      config.type == SecretStoreType::kFile ? std::string_view(config.directory) : "";
  writer.number(static_cast<std::uint8_t>(config.type));
  writer.number(static_cast<std::uint16_t>(std::min(directory.size(), std::size_t{UINT16_MAX})));
  writer.bytes(as_bytes(directory));
  return out;
}

Result<SecretStoreConfig> parse_software_parameters(ByteView parameters) {
  ByteReader reader(parameters);
  const auto type = reader.number<std::uint8_t>();
  const std::string_view directory = as_text(reader.bytes(reader.number<std::uint16_t>()));
  if (!reader.done()) return malformed("wrong length");
  if (type == static_cast<std::uint8_t>(SecretStoreType::kFile)) {
    if (directory.empty() || directory.size() > kDirectoryBytesMax || directory.front() != '/' ||
        directory.find('\0') != std::string_view::npos) {
      return malformed("the SecretStore's directory is not an absolute path");
    }
    return SecretStoreConfig{SecretStoreType::kFile, std::string(directory)};
  }
  if (type != static_cast<std::uint8_t>(SecretStoreType::kSecretService) || !directory.empty()) {
    return malformed("unknown SecretStore");
  }
  return SecretStoreConfig{SecretStoreType::kSecretService, {}};
}

Status validate_password_label(std::string_view label) {
  const auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; };
  if (label.size() <= limits::kPasswordLabelBytesMax && std::none_of(label.begin(), label.end(), control))
    return {};
  return {Reason::kInvalidArgument, "the label of a password has at most 64 bytes and no control characters"};
}

Bytes encode_password_parameters(const PasswordParameters& parameters) {
  Bytes out;
  ByteWriter writer(out);
  writer.bytes(parameters.salt);
  writer.number(parameters.argon2.memory_kib);
  writer.number(parameters.argon2.passes);
  writer.number(parameters.argon2.lanes);
  writer.bytes(as_bytes(parameters.label));
  return out;
}

Result<PasswordParameters> parse_password_parameters(ByteView parameters) {
  ByteReader reader(parameters);
  PasswordParameters out;
  out.salt = reader.array<16>();
  out.argon2.memory_kib = reader.number<std::uint32_t>();
  out.argon2.passes = reader.number<std::uint32_t>();
  out.argon2.lanes = reader.number<std::uint32_t>();
  if (!reader.ok()) return malformed("wrong length");
  out.label = as_text(reader.bytes(reader.remaining()));
  if (!validate_password_label(out.label).ok()) return malformed("unusable label of a password");
  if (!crypto::acceptable(out.argon2)) return malformed("Argon2id costs out of bounds");
  return out;
}

SecretBytes software_kek(ByteView root_key, const StorageId& storage_id) {
  return crypto::hkdf_sha256(root_key, storage_id, kSoftwareKekLabel);
}

Result<SecretBytes> password_kek(ByteView password, const PasswordParameters& parameters) {
  return crypto::argon2id(password, parameters.salt, parameters.argon2);
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
