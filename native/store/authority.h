// Who may say "go on from here": a vendor's permit, or the backup password. A permit is signed over the store, its
// present checkpoint and the purpose, so that it serves once.
#pragma once

#include "header/persistence_file.h"
#include "log/format.h"
#include "protectors/password/password_slot.h"

namespace strongroom::store {

enum class Purpose : std::uint8_t { kReanchor = 1, kRecover = 2, kDecommission = 3, kReseal = 4 };

// magic "SRTOKEN1" | u8 purpose | zero (7) | storage id (16) | u64 generation | head (32) | Ed25519 signature (64).
inline constexpr std::size_t kPermitStatementBytes = 72;
inline constexpr std::size_t kPermitBytes = kPermitStatementBytes + 64;

// What a vendor signs.
[[nodiscard]] Bytes permit_statement(Purpose purpose, const StorageId& storage_id,
                                     const log::Checkpoint& checkpoint);

// The checkpoint that a permit names; of anything else the zero checkpoint.
[[nodiscard]] log::Checkpoint permit_checkpoint(ByteView permit);

// The checkpoint that a permit of a store with a TPM is over. The checkpoint alone may come back with older files, the counter
// does not, and so a permit serves once.
[[nodiscard]] log::Checkpoint with_counter(const log::Checkpoint& checkpoint, std::uint64_t counter_value);

// Exactly one of the two is given.
struct Credential {
  SecretBytes password;
  Bytes permit;
};

// kAuthorityRefused when the credential does not fit; kPasswordMissing when the password is needed and not given, or the
// store has no password slot; kPasswordWrong.
[[nodiscard]] Status check_authority(const Credential& credential, Purpose purpose,
                                     const Authority& authority, const PersistenceHeader& header,
                                     const log::Checkpoint& checkpoint);

}  // namespace strongroom::store
