#include "protectors/password/password_slot.h"

#include <algorithm>

#include "base/cancellation.h"
#include "base/limits.h"

namespace strongroom::store {
namespace {

constexpr SlotType kType = SlotType::kPassword;

Status malformed(const char* what) {
  return {Reason::kPersistenceTampered, std::string("key slot parameters: ") + what};
}

}  // namespace

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

Result<SecretBytes> password_kek(ByteView password, const PasswordParameters& parameters) {
  return crypto::argon2id(password, parameters.salt, parameters.argon2);
}

std::vector<const KeySlot*> password_slots(const PersistenceHeader& header) {
  std::vector<const KeySlot*> out;
  for (const KeySlot& slot : header.slots)
    if (slot.type == kType) out.push_back(&slot);
  return out;
}

std::string password_label(const KeySlot& slot) {
  if (slot.type != kType) return {};
  Result<PasswordParameters> parsed = parse_password_parameters(slot.parameters);
  return parsed.ok() ? std::move(parsed->label) : std::string();
}

KeySlot wrap_password_slot(std::uint32_t slot_id, const PasswordParameters& parameters, ByteView kek,
                           ByteView dek, const PersistenceHeader& header) {
  return wrap_dek(slot_id, kType, encode_password_parameters(parameters), kek, dek, header.storage_id,
                  header.key_id);
}

Result<KeySlot> rewrap_password_slot(const KeySlot& present, std::uint32_t slot_id, ByteView password,
                                     ByteView dek, const PersistenceHeader& header) {
  SR_ASSIGN(PasswordParameters parameters, parse_password_parameters(present.parameters));
  parameters.salt = crypto::random_array<16>();
  SR_ASSIGN(const SecretBytes kek, password_kek(password, parameters));
  return wrap_password_slot(slot_id, parameters, kek.view(), dek, header);
}

Result<SecretBytes> open_by_password(const PersistenceHeader& header, ByteView password,
                                     std::uint32_t* slot_id) {
  if (password.empty()) return Status(Reason::kPasswordMissing, "the backup password is needed");
  bool has_slot = false;
  std::size_t tried = 0;
  for (const KeySlot* const slot : password_slots(header)) {
    // The header is not authenticated, and each try may take seconds.
    if (++tried > limits::kPasswordSlotsMax)
      return Status(Reason::kPersistenceTampered,
                    "persistence.bin has more passwords than any release writes");
    SR_TRY(check_cancelled());
    has_slot = true;
    SR_ASSIGN(const PasswordParameters parameters, parse_password_parameters(slot->parameters));
    SR_ASSIGN(const SecretBytes kek, password_kek(password, parameters));
    bool fits = false;
    Result<SecretBytes> dek = unwrap_dek(*slot, kek.view(), header.storage_id, header.key_id, &fits);
    if (!fits) continue;
    if (slot_id != nullptr) *slot_id = slot->id;
    return dek;
  }
  if (!has_slot) return Status(Reason::kPasswordMissing, "the store has no password slot");
  return Status(
      Reason::kPasswordWrong,
      "the backup password opens no key slot; files from a backup have the passwords of when it was made");
}

}  // namespace strongroom::store
