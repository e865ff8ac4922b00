#include "log/operation_queue.h"

#include <iterator>

#include "base/limits.h"

namespace strongroom::log {
namespace {

// A group is cut here so that its frame stays small against the queue's limit; one batch may still be larger.
constexpr std::size_t kGroupBytesTarget = std::size_t{8} << 20;
constexpr std::size_t kGroupOperationsMax = 4096;

}  // namespace

Status OperationQueue::check_room(std::size_t operations, std::size_t bytes) const {
  if (is_closed_) return {Reason::kClosed, "the store was closed"};
  const std::size_t count = count_locked();
  if (count + operations > limits::kQueueOperationsMax || bytes_ + bytes > limits::kQueueBytesMax) {
    return {Reason::kQueueFull, std::to_string(count) + " operations wait already"};
  }
  return {};
}

Status OperationQueue::add(QueuedOperation operation) {
  const std::size_t bytes = operation.bytes();
  bool wake = false;
  {
    const MutexLock lock(mutex_);
    SR_TRY(check_room(1, bytes));
    wake = count_locked() == 0 && !is_writer_busy_;
    newest_.push_back(std::move(operation));
    bytes_ += bytes;
  }
  if (wake) filled_.notify_one();
  return {};
}

Status OperationQueue::add_all(std::vector<QueuedOperation>& operations) {
  std::size_t bytes = 0;
  for (const QueuedOperation& operation : operations) bytes += operation.bytes();
  bool wake = false;
  {
    const MutexLock lock(mutex_);
    SR_TRY(check_room(operations.size(), bytes));
    wake = count_locked() == 0 && !is_writer_busy_;
    if (newest_.empty()) {
      newest_.swap(operations);
    } else {
      newest_.insert(newest_.end(), std::make_move_iterator(operations.begin()),
                     std::make_move_iterator(operations.end()));
    }
    bytes_ += bytes;
  }
  operations.clear();
  if (wake) filled_.notify_one();
  return {};
}

void OperationQueue::close() {
  {
    const MutexLock lock(mutex_);
    is_closed_ = true;
  }
  filled_.notify_all();
}

bool OperationQueue::await() {
  const MutexLock lock(mutex_);
  is_writer_busy_ = false;
  while (count_locked() == 0 && !is_closed_) filled_.wait(mutex_);
  is_writer_busy_ = count_locked() != 0;
  return is_writer_busy_;
}

void OperationQueue::take_group(std::vector<QueuedOperation>& taken) {
  taken.clear();
  // A burst has left more memory than one group needs.
  if (taken.capacity() > kGroupOperationsMax) std::vector<QueuedOperation>().swap(taken);
  const MutexLock lock(mutex_);
  if (backlog_.empty()) {
    if (newest_.size() <= kGroupOperationsMax && bytes_ <= kGroupBytesTarget) {
      taken.swap(newest_);
      bytes_ = 0;
      return;
    }
    backlog_.assign(std::make_move_iterator(newest_.begin()), std::make_move_iterator(newest_.end()));
    std::vector<QueuedOperation>().swap(newest_);
  }
  std::size_t bytes = 0;
  while (!backlog_.empty() && taken.size() < kGroupOperationsMax) {
    const std::size_t next = backlog_.front().bytes();
    if (!taken.empty() && bytes + next > kGroupBytesTarget) break;
    bytes += next;
    taken.push_back(std::move(backlog_.front()));
    backlog_.pop_front();
  }
  bytes_ -= bytes;
}

std::size_t OperationQueue::count() const {
  const MutexLock lock(mutex_);
  return count_locked();
}

}  // namespace strongroom::log
