// A clock that stands still until a test moves it.
//
// Invariants: boot time never goes backwards within one boot; a reference that boot_id() gave stays valid,
// and keeps its value, for the life of the clock. Safe to use from several threads.
#pragma once

#include <deque>

#include "base/thread_annotations.h"
#include "os/os.h"

namespace strongroom::os::testing {

class ManualClock final : public Clock {
 public:
  static constexpr std::int64_t kWallMsAtStart = 1'800'000'000'000;  // January 2027
  static constexpr std::uint64_t kBootMsAtStart = 3'600'000;
  static constexpr std::uint64_t kBootMsAfterReboot = 5'000;

  explicit ManualClock(std::int64_t wall_ms = kWallMsAtStart, std::uint64_t boot_ms = kBootMsAtStart);

  std::int64_t wall_ms() override;
  std::uint64_t boot_ms() override;
  const BootId& boot_id() override;
  bool unsynchronised() override { return false; }

  void advance(std::uint64_t ms);      // time passes: both move
  void suspend(std::uint64_t ms);      // the machine sleeps: both move, as CLOCK_BOOTTIME does
  void set_wall(std::int64_t ms);      // someone sets the wall clock
  void advance_wall(std::int64_t ms);  // the same, relative; negative for backwards
  void set_boot(std::uint64_t ms);     // an arbitrary uptime, for tests that begin in the middle
  // Another boot: a new boot id, a small boot time; `off_ms` is how long the machine was off.
  void reboot(std::uint64_t off_ms = 0, std::uint64_t boot_ms = kBootMsAfterReboot);

 private:
  Mutex mutex_;
  std::int64_t wall_ms_ SR_GUARDED_BY(mutex_);
  std::uint64_t boot_ms_ SR_GUARDED_BY(mutex_);
  std::deque<BootId> boot_ids_ SR_GUARDED_BY(mutex_);  // a deque, so that references survive a reboot
};

}  // namespace strongroom::os::testing
