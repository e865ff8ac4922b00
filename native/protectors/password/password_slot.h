// The key slot of a backup password. Its KEK is the output of Argon2id, under a salt that is used for nothing else.
//
// Parameters: salt (16), u32 memory in KiB, u32 passes, u32 lanes, the label (the rest).
//
// Invariant: parameters are untrusted until the wrap that they are bound into has authenticated: they are bounded first.
#pragma once

#include <string>

#include "header/persistence_file.h"

namespace strongroom::store {

struct PasswordParameters {
  std::array<std::uint8_t, 16> salt{};
  crypto::Argon2Parameters argon2;
  std::string label{};  // whose it is, for people; may be empty
};
// At most 64 bytes without control characters; otherwise kInvalidArgument.
[[nodiscard]] Status validate_password_label(std::string_view label);
[[nodiscard]] Bytes encode_password_parameters(const PasswordParameters& parameters);
[[nodiscard]] Result<PasswordParameters> parse_password_parameters(ByteView parameters);
[[nodiscard]] Result<SecretBytes> password_kek(ByteView password, const PasswordParameters& parameters);

[[nodiscard]] std::vector<const KeySlot*> password_slots(const PersistenceHeader& header);
// Empty for a slot that is none of a password, too.
[[nodiscard]] std::string password_label(const KeySlot& slot);
[[nodiscard]] KeySlot wrap_password_slot(std::uint32_t slot_id, const PasswordParameters& parameters,
                                         ByteView kek, ByteView dek, const PersistenceHeader& header);
// The slot of the same password for another DEK, under a new salt.
[[nodiscard]] Result<KeySlot> rewrap_password_slot(const KeySlot& present, std::uint32_t slot_id,
                                                   ByteView password, ByteView dek,
                                                   const PersistenceHeader& header);

// Opens the DEK by the first password slot that fits; `slot_id`, when given, receives which. kPasswordMissing when no
// password is given or there is no slot for one; kPasswordWrong, kPersistenceTampered.
[[nodiscard]] Result<SecretBytes> open_by_password(const PersistenceHeader& header, ByteView password,
                                                   std::uint32_t* slot_id = nullptr);

}  // namespace strongroom::store
