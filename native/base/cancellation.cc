#include "base/cancellation.h"

#include <algorithm>

namespace strongroom {
namespace {

thread_local Cancellation* current = nullptr;

}  // namespace

void Cancellation::request() {
  requested_.store(true, std::memory_order_release);
  const MutexLock lock(mutex_);
  for (const std::function<void()>* wake : wakeups_) (*wake)();
}

CancellationScope::CancellationScope(Cancellation* cancellation) : former_(current) {
  current = cancellation;
}
CancellationScope::~CancellationScope() { current = former_; }

CancellationWakeup::CancellationWakeup(std::function<void()> wake)
    : cancellation_(current), wake_(std::move(wake)) {
  if (cancellation_ == nullptr) return;
  const MutexLock lock(cancellation_->mutex_);
  cancellation_->wakeups_.push_back(&wake_);
  if (cancellation_->requested()) wake_();
}

CancellationWakeup::~CancellationWakeup() {
  if (cancellation_ == nullptr) return;
  const MutexLock lock(cancellation_->mutex_);
  std::erase(cancellation_->wakeups_, &wake_);
}

bool cancelled() { return current != nullptr && current->requested(); }

Status check_cancelled() {
  return cancelled() ? Status(Reason::kAborted, "the call was cancelled before it took effect") : Status();
}

}  // namespace strongroom
