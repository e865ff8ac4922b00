#include "store/window.h"

#include <algorithm>

namespace strongroom::store {
void Window::committed(std::uint64_t generation, std::uint64_t now_ms) {
  const MutexLock lock(mutex_);
  newest_ = generation;
  if (since_ms_ == 0) since_ms_ = std::max<std::uint64_t>(now_ms, 1);
}

void Window::began(std::uint64_t now_ms) {
  const MutexLock lock(mutex_);
  attempt_ms_ = std::max<std::uint64_t>(now_ms, 1);
  looked_ms_ = hangs_ms_ = 0;
}

void Window::moved(std::uint64_t generation) {
  const MutexLock lock(mutex_);
  // What was committed since the attempt began waits from then on, at the longest.
  since_ms_ = newest_ > generation ? attempt_ms_ : 0;
  attempt_ms_ = 0;
  failing_ = false;
}

void Window::failed() {
  const MutexLock lock(mutex_);
  attempt_ms_ = 0;
  failing_ = true;
}

std::uint64_t Window::waiting_since_ms() const {
  const MutexLock lock(mutex_);
  return since_ms_;
}

bool Window::exceeded(std::uint64_t now_ms, std::uint64_t ran_ms, std::uint64_t limit_ms) {
  const MutexLock lock(mutex_);
  if (since_ms_ == 0 || now_ms < since_ms_ || now_ms - since_ms_ <= limit_ms) return false;
  if (failing_) return true;
  if (attempt_ms_ == 0) return false;
  if (looked_ms_ != 0) hangs_ms_ += std::min(ran_ms - std::min(ran_ms, looked_ms_), kLookMsMax);
  looked_ms_ = std::max<std::uint64_t>(ran_ms, 1);
  return hangs_ms_ > kHangsMs;
}

}  // namespace strongroom::store
