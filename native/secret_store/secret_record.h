// The bytes of one SecretStore item, the same in every back end:
//
//   offset  size  content
//        0     8  "SRSECRET"
//        8     2  format version, 1
//       10     1  name: 1 VaultHash, 2 TimeTamper, 3 RootKey
//       11     1  i, length of the instance name, 1 to 128
//       12     4  v, length of the value, 1 to 8192
//       16    16  storage id
//       32     i  instance name, UTF-8
//     32+i     v  value
//   32+i+v    32  SHA-256 of everything before
//
// Invariants:
// - Every byte is covered by the checksum and there is no byte to spare, so every flip and every cut is
//   noticed.
// - The checksum is no secret's: it tells faults, not forgeries. What a witness or root key is worth is
//   proved by the value itself, under keys of the vault.
#pragma once

#include <string>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/secret_memory.h"
#include "base/status.h"
#include "secret_store/secret_store.h"

namespace strongroom::store {

inline constexpr std::size_t kSecretRecordHeaderBytes = 32;
inline constexpr std::size_t kSecretRecordBytesMax =
    kSecretRecordHeaderBytes + limits::kInstanceBytesMax + kSecretValueBytesMax + sizeof(Digest);

// kInvalidArgument unless the value has 1 to kSecretValueBytesMax bytes.
[[nodiscard]] Status check_secret_value(ByteView value);

// The instance name and the value are within their limits.
[[nodiscard]] SecretBytes encode_secret_record(SecretName name, const std::string& instance,
                                               const StorageId& storage_id, ByteView value);

// False when any byte is not as it was written.
[[nodiscard]] bool secret_record_intact(ByteView record);

// For an intact record: kVersion for an unknown version; secret_item_error() when it holds another name or
// instance.
[[nodiscard]] Result<Secret> decode_secret_record(ByteView record, SecretName name,
                                                  const std::string& instance);

// What a damaged or foreign item means: kWitnessReplaced for a witness, kRootUnavailable for the root key.
[[nodiscard]] Status secret_item_error(SecretName name, const std::string& where, const std::string& what);

}  // namespace strongroom::store
