// The way of a completion from the core's threads to JavaScript: a list under a lock and one call of a
// thread-safe function for as many as have gathered.
//
// Invariants:
// - At most one call is outstanding; it is made with the lock held, and never after detach(), so that no thread touches a
//   function that the environment has already taken down.
// - The order of push() is kept.
#pragma once

#include <node_api.h>

#include <utility>
#include <vector>

#include "base/thread_annotations.h"
#include "log/commit_queue.h"

namespace strongroom::addon {

class Completions {
 public:
  struct Progress {
    std::uint64_t done = 0;
    std::uint64_t all = 0;
    bool news = false;
  };

  void attach(napi_threadsafe_function signal) {
    const MutexLock lock(mutex_);
    signal_ = signal;
  }
  void detach() {
    const MutexLock lock(mutex_);
    signal_ = nullptr;
  }

  // From any thread.
  void push(std::vector<log::Completion> completions) {
    const MutexLock lock(mutex_);
    if (done_.empty()) {
      done_ = std::move(completions);
    } else {
      done_.insert(done_.end(), std::make_move_iterator(completions.begin()),
                   std::make_move_iterator(completions.end()));
    }
    signal();
  }
  void fail(const Error& error) {
    const MutexLock lock(mutex_);
    failures_.push_back(error);
    signal();
  }
  void report(std::uint64_t done, std::uint64_t all) {
    const MutexLock lock(mutex_);
    progress_ = {done, all, true};
    signal();
  }

  // On the JavaScript thread.
  [[nodiscard]] std::vector<log::Completion> take(Progress* progress) {
    const MutexLock lock(mutex_);
    signalled_ = false;
    *progress = std::exchange(progress_, Progress{});
    return std::exchange(done_, {});
  }
  // What the store tried by itself and failed at.
  [[nodiscard]] std::vector<Error> take_failures() {
    const MutexLock lock(mutex_);
    return std::exchange(failures_, {});
  }
  [[nodiscard]] Progress take_progress() {
    const MutexLock lock(mutex_);
    return std::exchange(progress_, Progress{});
  }
  void again() {
    const MutexLock lock(mutex_);
    signal();
  }

 private:
  void signal() SR_REQUIRES(mutex_) {
    if (signal_ == nullptr || signalled_) return;
    signalled_ = napi_call_threadsafe_function(signal_, nullptr, napi_tsfn_nonblocking) == napi_ok;
  }

  Mutex mutex_;
  std::vector<log::Completion> done_ SR_GUARDED_BY(mutex_);
  std::vector<Error> failures_ SR_GUARDED_BY(mutex_);
  Progress progress_ SR_GUARDED_BY(mutex_);
  napi_threadsafe_function signal_ SR_GUARDED_BY(mutex_) = nullptr;
  bool signalled_ SR_GUARDED_BY(mutex_) = false;
};

}  // namespace strongroom::addon
