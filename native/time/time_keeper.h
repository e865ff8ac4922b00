// The stamp of an open store: what its history has, and which one the next commit carries.
//
// Invariant: a stamp counts once the commit that carries it is durable.
// Thread-safe; due() and committed() are called with the commit lock held.
#pragma once

#include <optional>

#include "base/thread_annotations.h"
#include "time/time_tamper.h"

namespace strongroom::store {

class TimeKeeper {
 public:
  explicit TimeKeeper(os::Clock& clock) : clock_(clock) {}

  // As the history has it, or as authority or a COLDSTART sets it.
  void begin(const TimeStamp& stamp);
  [[nodiscard]] std::optional<TimeStamp> newest() const;
  // The one after it, by the clock of now. There is one.
  [[nodiscard]] TimeStamp next() const;
  [[nodiscard]] std::int64_t floor_ms(const Now& now) const;
  // kTimeTamperInvalid before there is one, kClockRolledBack.
  [[nodiscard]] Status check(std::uint64_t tolerance_ms) const;

  // The next commit carries it.
  void force(const TimeStamp& stamp);
  void refresh();

  // What the commit under way is to carry: the forced one, or a fresh one where the newest is a minute old. Valid until the
  // next call.
  [[nodiscard]] std::optional<ByteView> due();
  // That commit is durable; answers the stamp that it carried.
  [[nodiscard]] std::optional<TimeStamp> committed();

 private:
  os::Clock& clock_;
  mutable Mutex mutex_;
  std::optional<TimeStamp> newest_ SR_GUARDED_BY(mutex_);
  std::optional<TimeStamp> forced_ SR_GUARDED_BY(mutex_);
  std::optional<TimeStamp> carried_;  // of the commit lock, as the bytes
  EncodedTimeStamp carried_bytes_{};
};

}  // namespace strongroom::store
