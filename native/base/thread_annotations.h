// Mutexes whose rules clang checks
//
// - SR_GUARDED_BY(m) on a member: it is read and written only while `m` is held.
// - SR_REQUIRES(m) on a function: it is called only while `m` is held. SR_EXCLUDES(m): only while it is not.
// - A build by clang with -Wthread-safety -Werror refuses code that breaks them; to g++ the annotations are nothing.
//
// The analysis looks at one function at a time, and a lambda is a function of its own: it does not know what its caller
// holds. So CondVar has no predicate. Wait in a loop: `while (!ready) changed.wait(mutex);`.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define SR_THREAD_ANNOTATION(x) __attribute__((x))
#else
#define SR_THREAD_ANNOTATION(x)
#endif

#define SR_CAPABILITY(name) SR_THREAD_ANNOTATION(capability(name))
#define SR_SCOPED_CAPABILITY SR_THREAD_ANNOTATION(scoped_lockable)
#define SR_GUARDED_BY(...) SR_THREAD_ANNOTATION(guarded_by(__VA_ARGS__))
#define SR_ACQUIRED_BEFORE(...) SR_THREAD_ANNOTATION(acquired_before(__VA_ARGS__))
#define SR_REQUIRES(...) SR_THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define SR_EXCLUDES(...) SR_THREAD_ANNOTATION(locks_excluded(__VA_ARGS__))
#define SR_RETURN_CAPABILITY(x) SR_THREAD_ANNOTATION(lock_returned(x))
#define SR_TRY_ACQUIRE(...) SR_THREAD_ANNOTATION(try_acquire_capability(__VA_ARGS__))
#define SR_ACQUIRE(...) SR_THREAD_ANNOTATION(acquire_capability(__VA_ARGS__))
#define SR_RELEASE(...) SR_THREAD_ANNOTATION(release_capability(__VA_ARGS__))
#define SR_ASSERT_CAPABILITY(...) SR_THREAD_ANNOTATION(assert_capability(__VA_ARGS__))

namespace strongroom {

class SR_CAPABILITY("mutex") Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;
  Mutex(Mutex&&) = delete;
  Mutex& operator=(Mutex&&) = delete;
  ~Mutex() = default;

  void lock() SR_ACQUIRE() { mutex_.lock(); }
  void unlock() SR_RELEASE() { mutex_.unlock(); }
  [[nodiscard]] bool try_lock() SR_TRY_ACQUIRE(true) { return mutex_.try_lock(); }
  // For a function that its caller's caller locked for, through a std::function. It tells the analysis and checks nothing.
  void assume_held() const SR_ASSERT_CAPABILITY(this) {}

 private:
  friend class CondVar;
  std::mutex mutex_;
};

// Holds a mutex to the end of its scope, but for what lies between its unlock() and lock().
class SR_SCOPED_CAPABILITY MutexLock {
 public:
  struct Adopt {};

  explicit MutexLock(Mutex& mutex) SR_ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  MutexLock(Mutex& mutex, Adopt /*adopt*/) SR_REQUIRES(mutex) : mutex_(mutex) {}  // after a try_lock()
  ~MutexLock() SR_RELEASE() {
    if (held_) mutex_.unlock();
  }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;
  MutexLock(MutexLock&&) = delete;
  MutexLock& operator=(MutexLock&&) = delete;

  void unlock() SR_RELEASE() {
    held_ = false;
    mutex_.unlock();
  }
  void lock() SR_ACQUIRE() {
    mutex_.lock();
    held_ = true;
  }

 private:
  Mutex& mutex_;
  bool held_ = true;
};

// A std::condition_variable for a Mutex, at no cost.
class CondVar {
 public:
  void notify_one() noexcept { condition_.notify_one(); }
  void notify_all() noexcept { condition_.notify_all(); }

  void wait(Mutex& mutex) SR_REQUIRES(mutex) {
    std::unique_lock lock(mutex.mutex_, std::adopt_lock);
    condition_.wait(lock);
    lock.release();
  }
  // std::cv_status::timeout once the deadline has passed.
  template <typename Clock, typename Duration>
  std::cv_status wait_until(Mutex& mutex, const std::chrono::time_point<Clock, Duration>& deadline)
      SR_REQUIRES(mutex) {
    std::unique_lock lock(mutex.mutex_, std::adopt_lock);
    const std::cv_status status = condition_.wait_until(lock, deadline);
    lock.release();
    return status;
  }

 private:
  std::condition_variable condition_;
};

}  // namespace strongroom
