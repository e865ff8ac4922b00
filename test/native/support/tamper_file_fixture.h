// What the tests of the tamper file share: a key, a store's id, and the entry of every generation.
#pragma once

#include "crypto/crypto.h"
#include "witnesses/tamper_file/tamper_file.h"

namespace strongroom::store::tamper_testing {

inline constexpr std::uint32_t kCapacity = 8;
inline constexpr std::uint32_t kKeyId = 7;
inline constexpr StorageId kStorageId = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

inline Bytes key() { return Bytes(32, 0x5a); }

inline AuditEntry entry_at(std::uint64_t generation) {
  return {generation, static_cast<std::int64_t>(generation % 1000) - 45,
          static_cast<std::uint8_t>(generation % 4), static_cast<std::uint32_t>(generation % 1000 + 3),
          crypto::sha256({as_bytes(std::to_string(generation))})};
}

inline bool same(const AuditEntry& a, const AuditEntry& b) {
  return a.generation == b.generation && a.wall_ms == b.wall_ms && a.kind == b.kind &&
         a.operations == b.operations && a.head == b.head;
}

inline bool same(const AuditCheckpoint& a, const AuditCheckpoint& b) {
  return a.generation == b.generation && a.head == b.head && a.chain == b.chain;
}

}  // namespace strongroom::store::tamper_testing
