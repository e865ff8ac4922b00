// Cancellation of a task: a flag that the task's thread checks wherever it may read or wait for long.
//
// Invariants:
// - Only the thread inside a CancellationScope sees the flag. Threads that serve a task do not.
// - Uncancellable hides the flag while a task writes, so that no change stops halfway.
// - A wake-up runs on the thread that cancels, after the flag is set, and never after its CancellationWakeup is destroyed.
#pragma once

#include <atomic>
#include <functional>
#include <vector>

#include "base/status.h"
#include "base/thread_annotations.h"

namespace strongroom {

class Cancellation {
 public:
  // From any thread; repeated calls change nothing.
  void request() SR_EXCLUDES(mutex_);
  [[nodiscard]] bool requested() const { return requested_.load(std::memory_order_acquire); }

 private:
  friend class CancellationWakeup;

  std::atomic<bool> requested_{false};
  Mutex mutex_;
  std::vector<const std::function<void()>*> wakeups_ SR_GUARDED_BY(mutex_);
};

// Makes `cancellation`, which outlives the scope, that of the calling thread.
class CancellationScope {
 public:
  explicit CancellationScope(Cancellation* cancellation);
  CancellationScope(const CancellationScope&) = delete;
  CancellationScope& operator=(const CancellationScope&) = delete;
  CancellationScope(CancellationScope&&) = delete;
  CancellationScope& operator=(CancellationScope&&) = delete;
  ~CancellationScope();

 private:
  Cancellation* former_;
};

// From here on the task writes.
class Uncancellable : public CancellationScope {
 public:
  Uncancellable() : CancellationScope(nullptr) {}
};

// Calls `wake` when the thread's task is cancelled, or at once when it is already. `wake` may take a lock that the waiting
// thread holds, so construct and destroy this without it.
class CancellationWakeup {
 public:
  explicit CancellationWakeup(std::function<void()> wake);
  CancellationWakeup(const CancellationWakeup&) = delete;
  CancellationWakeup& operator=(const CancellationWakeup&) = delete;
  CancellationWakeup(CancellationWakeup&&) = delete;
  CancellationWakeup& operator=(CancellationWakeup&&) = delete;
  ~CancellationWakeup();

 private:
  Cancellation* const cancellation_;
  const std::function<void()> wake_;
};

// Whether the task of the calling thread is cancelled.
[[nodiscard]] bool cancelled();
// kAborted if it is.
[[nodiscard]] Status check_cancelled();

}  // namespace strongroom
