#include "time/time_keeper.h"

#include <utility>

namespace strongroom::store {
namespace {

// Ordinary commits carry a fresh stamp when the last one is this old.
constexpr std::uint64_t kStampIntervalMs = 60'000;

}  // namespace

void TimeKeeper::begin(const TimeStamp& stamp) {
  const MutexLock lock(mutex_);
  newest_ = stamp;
}

std::optional<TimeStamp> TimeKeeper::newest() const {
  const MutexLock lock(mutex_);
  return newest_;
}

TimeStamp TimeKeeper::next() const {
  const Now now = read_clock(clock_);
  const MutexLock lock(mutex_);
  return next_stamp(*newest_, now);
}

std::int64_t TimeKeeper::floor_ms(const Now& now) const {
  const MutexLock lock(mutex_);
  return time_floor_ms(*newest_, now);
}

Status TimeKeeper::check(std::uint64_t tolerance_ms) const {
  const Now now = read_clock(clock_);
  const MutexLock lock(mutex_);
  if (!newest_) return {Reason::kTimeTamperInvalid, "TIME_TAMPER is absent"};
  return check_clock(*newest_, now, tolerance_ms);
}

void TimeKeeper::force(const TimeStamp& stamp) {
  const MutexLock lock(mutex_);
  forced_ = stamp;
}

void TimeKeeper::refresh() {
  const MutexLock lock(mutex_);
  forced_ = next_stamp(*newest_, read_clock(clock_));
}

std::optional<ByteView> TimeKeeper::due() {
  carried_.reset();
  {
    const MutexLock lock(mutex_);
    if (forced_) {
      carried_ = std::exchange(forced_, std::nullopt);
    } else {
      const std::uint64_t boot_ms = clock_.boot_ms();
      if (boot_ms >= newest_->boot_ms && boot_ms - newest_->boot_ms < kStampIntervalMs) return std::nullopt;
      carried_ = next_stamp(*newest_, read_clock(clock_));
    }
  }
  carried_bytes_ = encode_time_stamp(*carried_);
  return ByteView(carried_bytes_);
}

std::optional<TimeStamp> TimeKeeper::committed() {
  if (carried_) {
    const MutexLock lock(mutex_);
    newest_ = carried_;
  }
  return std::exchange(carried_, std::nullopt);
}

}  // namespace strongroom::store
