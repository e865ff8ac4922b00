#include "os/testing/manual_clock.h"

namespace strongroom::os::testing {

namespace {

BootId numbered_boot_id(std::uint64_t number) {
  BootId id{};
  id.fill(0xB0);
  store_le(id.data(), number);
  return id;
}

}  // namespace

ManualClock::ManualClock(std::int64_t wall_ms, std::uint64_t boot_ms)
    : wall_ms_(wall_ms), boot_ms_(boot_ms), boot_ids_{numbered_boot_id(1)} {}

std::int64_t ManualClock::wall_ms() {
  const MutexLock lock(mutex_);
  return wall_ms_;
}

std::uint64_t ManualClock::boot_ms() {
  const MutexLock lock(mutex_);
  return boot_ms_;
}

const BootId& ManualClock::boot_id() {
  const MutexLock lock(mutex_);
  return boot_ids_.back();
}

void ManualClock::advance(std::uint64_t ms) {
  const MutexLock lock(mutex_);
  wall_ms_ += static_cast<std::int64_t>(ms);
  boot_ms_ += ms;
}

void ManualClock::suspend(std::uint64_t ms) { advance(ms); }

void ManualClock::set_wall(std::int64_t ms) {
  const MutexLock lock(mutex_);
  wall_ms_ = ms;
}

void ManualClock::advance_wall(std::int64_t ms) {
  const MutexLock lock(mutex_);
  wall_ms_ += ms;
}

void ManualClock::set_boot(std::uint64_t ms) {
  const MutexLock lock(mutex_);
  boot_ms_ = ms;
}

void ManualClock::reboot(std::uint64_t off_ms, std::uint64_t boot_ms) {
  const MutexLock lock(mutex_);
  wall_ms_ += static_cast<std::int64_t>(off_ms + boot_ms);
  boot_ms_ = boot_ms;
  boot_ids_.push_back(numbered_boot_id(boot_ids_.size() + 1));
}

}  // namespace strongroom::os::testing
