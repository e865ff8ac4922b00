// Every limit of the product in one place. Units come last in a name.
#pragma once

#include <cstddef>
#include <cstdint>

namespace strongroom::limits {

inline constexpr std::size_t kKeyBytesMax = 1024;
inline constexpr std::size_t kValueBytesMax = std::size_t{16} << 20;
inline constexpr std::size_t kBatchBytesMax = std::size_t{64} << 20;  // keys and values of one batch
inline constexpr std::size_t kBatchOperationsMax = 65536;
inline constexpr std::size_t kInstanceBytesMax = 128;
inline constexpr std::size_t kVaultFileNameBytesMax = 64;
inline constexpr std::size_t kPasswordBytesMax = 4096;
inline constexpr std::size_t kPersistenceFileBytesMax = std::size_t{1} << 20;
inline constexpr std::size_t kKeySlotsMax = 16;
inline constexpr std::size_t kPasswordSlotsMax = 8;  // a password is tried on one after the other
inline constexpr std::size_t kPasswordLabelBytesMax = 64;
inline constexpr std::size_t kSlotParametersBytesMax = 8192;
// Log space reserved ahead: what no release exceeds, whatever its options. Releases up to 0.1 reserve 1 MiB.
inline constexpr std::size_t kReserveBytesMax = std::size_t{64} << 20;
inline constexpr std::size_t kDirectoryEntriesMax = 65536;  // of a directory that is listed
inline constexpr std::size_t kSecretItemsMax = 64;          // of one name and instance in a keyring
inline constexpr std::size_t kQueueOperationsMax = std::size_t{1} << 20;
inline constexpr std::size_t kQueueBytesMax = std::size_t{256} << 20;
inline constexpr std::size_t kWitnessedCheckpointsMax = 1024;        // checkpoints that a compacted log keeps
inline constexpr std::size_t kFieldBytesMax = std::size_t{1} << 20;  // plaintext of a sealed field
inline constexpr std::size_t kFieldContextBytesMax = 1024;
inline constexpr std::size_t kManagedKeyIdBytesMax = 64;
inline constexpr std::size_t kDeactivationReasonBytesMax = 1024;
inline constexpr std::size_t kSignedMessageBytesMax = std::size_t{1} << 20;
inline constexpr std::size_t kPrivateKeyPemBytesMax = std::size_t{16} << 10;
inline constexpr std::size_t kCertificatePemBytesMax = std::size_t{256} << 10;  // one certificate, or a chain
inline constexpr std::size_t kPendingSignaturesMax = 4096;
inline constexpr std::size_t kPendingSignatureBytesMax = std::size_t{64} << 20;

}  // namespace strongroom::limits
