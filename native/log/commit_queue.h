// Group commit. Operations of all callers join one queue; whoever holds the commit lock (the writer thread, or a
// caller of commit_now()) takes all that wait, decides them in order, and makes them durable as one frame.
//
// Invariants:
// - Operations take effect in the order of their submission; a later one sees the pending effect of an earlier one.
// - The index changes only after the commit is durable, under the index lock, whole frames at a time.
// - Every submitted operation is completed exactly once, with success or a typed error, also at stop().
// - Only the holder of the commit lock changes the index, so it may read it without the index lock.
// Locks, in this order: commit, index. That of the OperationQueue is a leaf.
#pragma once

#include <functional>
#include <thread>

#include "base/thread_annotations.h"
#include "log/index.h"
#include "log/operation_queue.h"
#include "log/writer.h"

namespace strongroom::log {

class CommitQueue {
 public:
  // All are called with the commit lock held, so completions keep the order of submission.
  struct Hooks {
    // Whether operations of the application are accepted now; otherwise a group is refused whole, and nothing is written.
    std::function<Status()> gate;
    std::function<std::int64_t()> wall_ms;
    std::function<std::uint64_t()> tamper_synced;
    // May add system records to a commit of the application; what the views point to lives until `committed`.
    std::function<void(std::vector<Change>&)> decorate;
    std::function<void(const CommitInfo&)> committed;
    // Operations that are done, in order of submission; on the writer thread or that of a commit_now(),
    // drain() or stop().
    std::function<void(std::vector<Completion>)> completed;
  };

  CommitQueue(Index& index, LogWriter& writer, const EpochKeys& keys, Hooks hooks);
  CommitQueue(const CommitQueue&) = delete;
  CommitQueue& operator=(const CommitQueue&) = delete;
  CommitQueue(CommitQueue&&) = delete;
  CommitQueue& operator=(CommitQueue&&) = delete;
  ~CommitQueue();

  void start();  // begins the writer thread
  // Commits what waits, then ends the writer thread (without one, on the calling thread). Later submissions answer
  // kClosed.
  void stop() SR_EXCLUDES(commit_mutex_);

  // kQueueFull, or kClosed. The operation is completed through the hook.
  [[nodiscard]] Status submit(QueuedOperation operation) { return waiting_.add(std::move(operation)); }
  // All of them or none, in order, so that one group takes them together; on success `operations` is left empty.
  [[nodiscard]] Status submit_all(std::vector<QueuedOperation>& operations) {
    return waiting_.add_all(operations);
  }
  // Commits what waits and this operation on the calling thread.
  [[nodiscard]] Completion commit_now(QueuedOperation operation) SR_EXCLUDES(commit_mutex_);
  // A commit of the store's own.
  [[nodiscard]] Result<CommitInfo> commit_system(CommitKind kind, const std::vector<Change>& changes)
      SR_EXCLUDES(commit_mutex_);
  // When it returns, everything submitted before is done; what still waits is committed on the calling thread.
  void drain() SR_EXCLUDES(commit_mutex_);

  // Runs with the commit lock held: no commit happens meanwhile.
  void exclusively(const std::function<void()>& work) SR_EXCLUDES(commit_mutex_);

  // Decrypts a value. `take` is called with the index lock held and gives where the value goes (its size is the
  // argument), or null to leave it. Returns the size, or nullopt for an absent key. kInternal if the record in memory
  // was corrupted.
  [[nodiscard]] Result<std::optional<std::size_t>> read(
      ValueCipher& cipher, std::string_view key, const std::function<std::uint8_t*(std::size_t)>& take) const
      SR_EXCLUDES(index_mutex_);
  void scan(const KeyRange& range, const std::function<bool(const Record&)>& visit) const
      SR_EXCLUDES(index_mutex_);
  [[nodiscard]] std::size_t size() const SR_EXCLUDES(index_mutex_);
  [[nodiscard]] std::uint64_t live_bytes() const SR_EXCLUDES(index_mutex_);

  // A consistent view for compaction: while it is held, replaced records are kept instead of freed. Call with the
  // commit lock held.
  [[nodiscard]] std::vector<const Record*> hold_records();
  void release_records() SR_EXCLUDES(commit_mutex_);

 private:
  class Group;
  void run() SR_EXCLUDES(commit_mutex_);
  void commit_waiting(std::vector<QueuedOperation>& operations, std::vector<Completion>& completions)
      SR_REQUIRES(commit_mutex_);
  [[nodiscard]] Result<CommitInfo> write(CommitKind kind, const std::vector<Change>& changes)
      SR_REQUIRES(commit_mutex_);
  // The index is read under either lock and changed under both. An annotation of the member cannot say so; these do.
  [[nodiscard]] const Index& read_index() const SR_REQUIRES(index_mutex_) { return index_; }
  [[nodiscard]] const Index& committed_index() const SR_REQUIRES(commit_mutex_) { return index_; }
  [[nodiscard]] Index& changed_index() SR_REQUIRES(commit_mutex_, index_mutex_) { return index_; }

  mutable Mutex commit_mutex_ SR_ACQUIRED_BEFORE(index_mutex_);
  mutable Mutex index_mutex_;

  Index& index_;
  LogWriter& writer_ SR_GUARDED_BY(commit_mutex_);
  ValueCipher cipher_ SR_GUARDED_BY(commit_mutex_);
  Hooks hooks_;
  OldRecord old_records_ SR_GUARDED_BY(commit_mutex_) = OldRecord::kOverwritten;  // kept while they are held
  std::vector<Record::Pointer> retired_ SR_GUARDED_BY(commit_mutex_);

  OperationQueue waiting_;
  std::thread thread_;
};

}  // namespace strongroom::log
