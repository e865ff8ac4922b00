// Every limit of the product in one place, units last in a name
// Generated from native/border.mjs by scripts/generate-border.mjs; do not edit.
#pragma once

#include <cstddef>
#include <cstdint>

// clang-format off
namespace strongroom::limits {

inline constexpr std::size_t kKeyBytesMax = 1'024;
inline constexpr std::size_t kValueBytesMax = 16'777'216;
// Keys and values of one batch.
inline constexpr std::size_t kBatchBytesMax = 67'108'864;
inline constexpr std::size_t kBatchOperationsMax = 65'536;
inline constexpr std::size_t kInstanceBytesMax = 128;
inline constexpr std::size_t kVaultFileNameBytesMax = 64;
// Of a backup password or PIN.
inline constexpr std::size_t kPasswordBytesMax = 4'096;
inline constexpr std::size_t kPersistenceFileBytesMax = 1'048'576;
inline constexpr std::size_t kKeySlotsMax = 16;
// A password is tried on one after the other.
inline constexpr std::size_t kPasswordSlotsMax = 8;
inline constexpr std::size_t kPasswordLabelBytesMax = 64;
inline constexpr std::size_t kSlotParametersBytesMax = 8'192;
// Log space reserved ahead: what no release exceeds, whatever its options. Releases up to 0.1 reserve 1 MiB.
inline constexpr std::size_t kReserveBytesMax = 67'108'864;
// Of a directory that is listed.
inline constexpr std::size_t kDirectoryEntriesMax = 65'536;
// Of one name and instance in a keyring.
inline constexpr std::size_t kSecretItemsMax = 64;
inline constexpr std::size_t kQueueOperationsMax = 1'048'576;
inline constexpr std::size_t kQueueBytesMax = 268'435'456;
// Checkpoints that a compacted log keeps.
inline constexpr std::size_t kWitnessedCheckpointsMax = 1'024;
// Plaintext of a sealed field.
inline constexpr std::size_t kFieldBytesMax = 1'048'576;
inline constexpr std::size_t kFieldContextBytesMax = 1'024;
inline constexpr std::size_t kManagedKeyIdBytesMax = 64;
inline constexpr std::size_t kDeactivationReasonBytesMax = 1'024;
inline constexpr std::size_t kSignedMessageBytesMax = 1'048'576;
inline constexpr std::size_t kPrivateKeyPemBytesMax = 16'384;
// One certificate, or a chain.
inline constexpr std::size_t kCertificatePemBytesMax = 262'144;
inline constexpr std::size_t kPendingSignaturesMax = 4'096;
inline constexpr std::size_t kPendingSignatureBytesMax = 67'108'864;
inline constexpr std::size_t kPcrHighest = 23;
inline constexpr std::size_t kAnchorsPerDayMax = 86'400;
// For each call into a PKCS#11 module.
inline constexpr std::size_t kTokenTimeLimitMsMax = 3'600'000;

}  // namespace strongroom::limits
