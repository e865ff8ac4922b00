// Operations that wait for a commit, in order of submission
//
// Callers add, the writer thread waits, and the holder of the commit lock takes them, a group at a time.
// Thread-safe. The lock is a leaf.
#pragma once

#include <deque>

#include "base/thread_annotations.h"
#include "log/operation.h"

namespace strongroom::log {

class OperationQueue {
 public:
  // kQueueFull, or kClosed.
  [[nodiscard]] Status add(QueuedOperation operation) SR_EXCLUDES(mutex_);
  // All of them or none, in order, so that one group takes them together; on success `operations` is left empty.
  [[nodiscard]] Status add_all(std::vector<QueuedOperation>& operations) SR_EXCLUDES(mutex_);
  // Later additions are kClosed.
  void close() SR_EXCLUDES(mutex_);

  // For the writer thread: waits until an operation is here. False once the queue is closed and empty. While it is not
  // called the thread counts as busy, and no addition wakes it.
  [[nodiscard]] bool await() SR_EXCLUDES(mutex_);
  // The oldest operations, as many as one commit should have; none when none wait. The memory of `taken` serves the
  // next additions.
  void take_group(std::vector<QueuedOperation>& taken) SR_EXCLUDES(mutex_);
  [[nodiscard]] std::size_t count() const SR_EXCLUDES(mutex_);

 private:
  [[nodiscard]] std::size_t count_locked() const SR_REQUIRES(mutex_) {
    return backlog_.size() + newest_.size();
  }
  [[nodiscard]] Status check_room(std::size_t operations, std::size_t bytes) const SR_REQUIRES(mutex_);

  mutable Mutex mutex_;
  CondVar filled_;
  std::vector<QueuedOperation> newest_ SR_GUARDED_BY(mutex_);
  std::deque<QueuedOperation> backlog_ SR_GUARDED_BY(mutex_);  // more than one group, older than newest_
  std::size_t bytes_ SR_GUARDED_BY(mutex_) = 0;
  bool is_closed_ SR_GUARDED_BY(mutex_) = false;
  bool is_writer_busy_ SR_GUARDED_BY(mutex_) = false;
};

}  // namespace strongroom::log
