// TIME_TAMPER: what the store remembers of time, and whether the clock agrees with it.
//
// A stamp says: the wall clock stood at `wall_ms` when the boot clock of boot `boot_id` stood at `boot_ms`. `jump_ms`
// is the part of the wall time that no boot clock explains: how far the wall clock ran ahead of the stamp before it,
// beyond the boot time that had passed. The floor, below which the wall clock may not fall, is wall_ms - jump_ms
// (plus the boot time since, within the same boot). So a single boot with a clock in 2099 leaves the floor where it
// was, and a clock that is then put right is accepted; a clock that falls behind explained time is not. A jump is
// confirmed, and counts towards the floor, once a later boot's clock is not behind it.
#pragma once

#include "base/bytes.h"
#include "base/status.h"
#include "os/os.h"

namespace strongroom::store {

struct TimeStamp {
  std::int64_t wall_ms = 0;
  std::uint64_t boot_ms = 0;
  os::BootId boot_id{};
  std::uint64_t jump_ms = 0;
  friend bool operator==(const TimeStamp&, const TimeStamp&) = default;
};

inline constexpr std::size_t kTimeStampBytes = 48;
using EncodedTimeStamp = std::array<std::uint8_t, kTimeStampBytes>;

[[nodiscard]] EncodedTimeStamp encode_time_stamp(const TimeStamp& stamp);
// kTimeTamperInvalid for a wrong size, version, or a time before 1970 or after 9999.
[[nodiscard]] Result<TimeStamp> parse_time_stamp(ByteView bytes);

struct Now {
  std::int64_t wall_ms = 0;
  std::uint64_t boot_ms = 0;
  os::BootId boot_id{};
};
[[nodiscard]] Now read_clock(os::Clock& clock);

// The earliest wall time, without tolerance, that the stamp permits now.
[[nodiscard]] std::int64_t time_floor_ms(const TimeStamp& stamp, const Now& now);

// kClockRolledBack when the wall clock trails the floor by more than the tolerance.
[[nodiscard]] Status check_clock(const TimeStamp& stamp, const Now& now, std::uint64_t tolerance_ms);

// Milliseconds by which the wall clock is past the stamp; 0 when it is not.
[[nodiscard]] std::uint64_t age_ms(const TimeStamp& stamp, const Now& now);

// The stamp that follows; its floor is never below that of the one before it.
// With nothing before it, a stamp is taken at the clock's word, unless nothing has set that clock, or it is more than ten
// years past this release: such a first boot leaves the floor at the release, so that the clock can be corrected.
enum class WallClock : std::uint8_t { kSet, kNeverSet };
[[nodiscard]] WallClock wall_clock(os::Clock& clock);
[[nodiscard]] TimeStamp first_stamp(const Now& now, WallClock clock);
// kClockRolledBack for a clock that is behind this release: no stamp is to begin there.
[[nodiscard]] Status check_first_clock(const Now& now);
inline constexpr std::int64_t kReleaseWallMs = 1'795'305'600'000;  // 2026-11-22
inline constexpr std::int64_t kPlausibleWallMs = kReleaseWallMs + std::int64_t{10} * 365 * 24 * 3600 * 1000;
[[nodiscard]] TimeStamp next_stamp(const TimeStamp& previous, const Now& now);

}  // namespace strongroom::store
