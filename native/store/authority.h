// Who may say "go on from here": a vendor's token, or the backup password. A token is signed over the store, its
// present point and the purpose, so that it serves once.
#pragma once

#include "log/format.h"
#include "store/persistence_file.h"

namespace strongroom::store {

enum class Purpose : std::uint8_t { kReanchor = 1, kRecover = 2, kDecommission = 3, kReseal = 4 };

// magic "SRTOKEN1" | u8 purpose | zero (7) | storage id (16) | u64 generation | head (32) | Ed25519 signature (64).
inline constexpr std::size_t kTokenStatementBytes = 72;
inline constexpr std::size_t kTokenBytes = kTokenStatementBytes + 64;

// What a vendor signs.
[[nodiscard]] Bytes token_statement(Purpose purpose, const StorageId& storage_id, const log::Point& point);

// The point that a token names; of anything else the zero point.
[[nodiscard]] log::Point token_point(ByteView token);

// Exactly one of the two is given.
struct Proof {
  SecretBytes password;
  Bytes token;
};

// kAuthorityRefused when the proof does not fit; kPasswordMissing when the password is needed and not given, or the
// store has no password slot; kPasswordWrong.
[[nodiscard]] Status check_authority(const Proof& proof, Purpose purpose, const Authority& authority,
                                     const PersistenceHeader& header, const log::Point& point);

// Opens the DEK by the first password slot that fits; `slot_id`, when given, receives which. kPasswordMissing when no
// password is given or there is no slot for one; kPasswordWrong, kPersistenceTampered.
[[nodiscard]] Result<SecretBytes> open_by_password(const PersistenceHeader& header, ByteView password,
                                                   std::uint32_t* slot_id = nullptr);

}  // namespace strongroom::store
