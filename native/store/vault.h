// The vault of a store: its log, the records in memory, and the queue of commits.
//
// At a start `file` and `loaded` are what was read; once the store writes, the file is the writer's, and the writer and the
// index are the queue's.
#pragma once

#include <atomic>
#include <memory>
#include <optional>

#include "header/key_ring.h"
#include "log/commit_queue.h"
#include "log/reader.h"

namespace strongroom::store {

inline constexpr std::string_view kNewSuffix = ".new";  // of a file that is to replace another one

struct Vault {
  std::unique_ptr<log::EpochKeys> epoch_keys;
  log::Index index;
  log::LoadedLog loaded;
  std::unique_ptr<os::File> file;  // until the writer has it
  std::unique_ptr<log::LogWriter> writer;
  std::unique_ptr<log::CommitQueue> queue;  // after what it refers to: destroyed first
  // Of what is durable; from any thread.
  std::atomic<std::uint64_t> log_bytes{0};
  std::atomic<std::int64_t> newest_wall_ms{0};
  std::atomic<log::CommitKind> newest_kind{log::CommitKind::kOpen};

  void make_epoch_keys(const KeyRing& ring);
  // After a change of the keys: one epoch ends and the next belongs to the new DEK, in one step for the writer.
  void follow_keys(const KeyRing& ring);
  void make_queue(log::CommitQueue::Hooks hooks, std::uint64_t reserve_bytes);
  // A commit of the store's own.
  [[nodiscard]] Status commit(log::CommitKind kind, const SystemRecordChanges& changes = {});
  void committed(const log::CommitInfo& info);
  // From any thread once there is a queue.
  [[nodiscard]] Result<std::optional<Bytes>> record(std::string_view key);
  void close();
};

}  // namespace strongroom::store
