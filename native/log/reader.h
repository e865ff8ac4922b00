// Reads vault.bin once, from front to back, authenticating every byte before it is believed, and fills the index.
//
// Large logs are authenticated by several threads. When that finds a value that does not authenticate, the log is read
// once more, strictly in order, to find where its history ends.
//
// Invariants: reading changes nothing. The history ends before the first byte that does not authenticate; whether
// what follows is a torn tail or tampering is decided by the engine, which knows what the witnesses remember. No length
// that is not authenticated costs more than kTailBytesMax of reading or one frame of memory, and no more than the file has.
#pragma once

#include <deque>
#include <functional>

#include "log/index.h"
#include "os/os.h"

namespace strongroom::log {

// What a snapshot says of itself.
struct SnapshotInfo {
  Checkpoint checkpoint;
  Digest audit_chain{};
  std::deque<Checkpoint> witnessed;
  std::map<std::uint32_t, EpochSalt>
      epochs;  // epochs that the commit frames behind the snapshot use without announcing
  std::uint64_t records = 0;
  // Where the snapshot moved the vault to another DEK: the audit log's chain under the tamper key of the former one, for a
  // tamper file that is still of that time.
  std::optional<Digest> former_chain;
};
[[nodiscard]] Bytes encode_snapshot_info(const SnapshotInfo& info);
[[nodiscard]] std::optional<SnapshotInfo> parse_snapshot_info(ByteView bytes);

// What follows the last authentic frame.
enum class LogEnd : std::uint8_t {
  kExact,          // nothing
  kPadded,         // only zeros: reserved space of a store that was not closed
  kDamaged,        // something that is not a frame of this history
  kDamagedInside,  // the same, and an intact frame header of a later generation behind it
  kTooLong,        // more than a crash can leave; not read
};

struct LoadedLog {
  FileHeader file_header;
  Checkpoint snapshot;
  Digest snapshot_audit_chain{};
  Checkpoint newest;
  CommitKind newest_kind = CommitKind::kOpen;
  std::uint64_t tamper_synced = 0;  // the newest that a frame names
  std::uint32_t epoch_highest = 0;
  std::deque<Checkpoint>
      witnessed;  // checkpoints that had been witnessed, oldest first, at most kWitnessedCheckpointsMax
  LogEnd end = LogEnd::kExact;
  std::uint64_t newest_offset = 0;  // of the newest commit's frame; 0 when there is none behind the snapshot
  std::uint64_t end_offset = 0;     // where the next frame goes
  std::uint64_t file_bytes = 0;
};

struct ReadOptions {
  // May choose the keys by what the header names, which is not authenticated yet; its refusal ends the reading. May be empty.
  std::function<Status(const FileHeader&)> on_file;
  std::function<void(const SnapshotInfo&)> on_snapshot;
  std::function<void(const CommitInfo&)> on_commit;
  std::function<void(std::uint64_t done_bytes, std::uint64_t all_bytes)> on_progress;  // may be empty
};

// kVaultTampered when the file header or the snapshot does not authenticate (both were durable before the file got its
// name), or the header names a DEK whose vault key is not in `keys`; kPersistenceRolledBack when the history goes on under
// a DEK after those in `keys`; kAborted when the task of this thread is cancelled. Damage behind the snapshot is told by `end`.
[[nodiscard]] Result<LoadedLog> read_log(os::File& file, const StorageId& storage_id, EpochKeys& keys,
                                         Index& index, const ReadOptions& options);

}  // namespace strongroom::log
