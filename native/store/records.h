// Names and forms of the records that a store keeps of itself in its vault.
//
// Others are with their subjects: kPersistenceKey (header/key_ring.h), kSlotIdKey (store/header_changes.h), the anchors
// (witnesses/tpm_counter).
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "log/format.h"
#include "os/os.h"
#include "witnesses/vault_hash/vault_hash.h"

namespace strongroom::store {

inline constexpr std::string_view kStorageIdKey = "strongroom/storage-id";
inline constexpr std::string_view kTimeTamperKey = "strongroom/time-tamper";
inline constexpr std::string_view kReanchorKey = "strongroom/reanchor";
inline constexpr std::string_view kContinuityKey = "strongroom/continuity";
inline constexpr std::string_view kRestoreKey = "strongroom/restore";
inline constexpr std::string_view kResealKey =
    "strongroom/reseal";  // the checkpoint that its authority accepted
inline constexpr std::string_view kPasswordVerifiedKey = "strongroom/password-verified";  // i64 wall time, ms
// The directory in which the store was last opened for writing: its device and inode.
inline constexpr std::string_view kPlaceKey = "strongroom/place";

// What reanchor burnt into the history.
struct ReanchorRecord {
  log::Checkpoint checkpoint;  // that was accepted
  std::vector<UsedCheckpoint> used_checkpoints;
};
[[nodiscard]] Bytes encode_reanchor_record(const ReanchorRecord& record);
[[nodiscard]] std::optional<ReanchorRecord> parse_reanchor_record(ByteView bytes);

// What recover leaves until a reanchor: the checkpoint that its authority accepted.
[[nodiscard]] Bytes encode_continuity_record(const log::Checkpoint& accepted);
[[nodiscard]] std::optional<log::Checkpoint> parse_continuity_record(ByteView bytes);

// The identity of the directory: a copy has another one.
[[nodiscard]] Result<Bytes> place_record(os::Directory& directory);

}  // namespace strongroom::store
