// What the SecretStore remembers: `VaultHash`, the newest witnessed checkpoint of the vault, and `TimeTamper`, the stamp.
// Both are authenticated under the witness key, so that a value of another store or an edited one is told apart.
#pragma once

#include <vector>

#include "log/format.h"
#include "time/time_tamper.h"

namespace strongroom::store {

// A checkpoint at which reanchor was used; each serves once. First 16 bytes of SHA-256(generation | head).
using UsedCheckpoint = std::array<std::uint8_t, 16>;
[[nodiscard]] UsedCheckpoint used_checkpoint(const log::Checkpoint& checkpoint);
inline constexpr std::size_t kUsedCheckpointsMax = 64;

struct VaultHash {
  log::Checkpoint checkpoint;
  std::int64_t wall_ms = 0;
  std::vector<UsedCheckpoint> used_checkpoints;  // oldest first
};

[[nodiscard]] Bytes encode_vault_hash(const VaultHash& value, ByteView witness_key,
                                      const StorageId& storage_id, std::uint32_t key_id);
// kWitnessReplaced when it does not authenticate; the detail says what is wrong with "VaultHash in the …".
[[nodiscard]] Result<VaultHash> parse_vault_hash(ByteView bytes, ByteView witness_key,
                                                 const StorageId& storage_id);
// The DEK that a value of either kind names, unauthenticated: with which key it is to be read.
[[nodiscard]] std::optional<std::uint32_t> peek_key_id(ByteView value);
// The generation alone, unauthenticated: whether a leftover of an interrupted COLDSTART is still at its initial checkpoint.
[[nodiscard]] std::optional<std::uint64_t> peek_generation(ByteView vault_hash);

[[nodiscard]] Bytes encode_witness_time(const TimeStamp& stamp, ByteView witness_key,
                                        const StorageId& storage_id, std::uint32_t key_id);
[[nodiscard]] Result<TimeStamp> parse_witness_time(ByteView bytes, ByteView witness_key,
                                                   const StorageId& storage_id);

}  // namespace strongroom::store
