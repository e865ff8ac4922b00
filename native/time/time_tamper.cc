#include "time/time_tamper.h"

#include <algorithm>

#include "base/duration.h"

namespace strongroom::store {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::int64_t kYear9999_ms = 253'402'300'799'000;
static_assert(8 + 8 + 8 + 16 + 8 == kTimeStampBytes);

// What the wall clock should show by boot time alone.
std::int64_t expected_wall_ms(const TimeStamp& stamp, const Now& now) {
  if (stamp.boot_id != now.boot_id || now.boot_ms < stamp.boot_ms) return stamp.wall_ms;
  return stamp.wall_ms + static_cast<std::int64_t>(now.boot_ms - stamp.boot_ms);
}

}  // namespace

EncodedTimeStamp encode_time_stamp(const TimeStamp& stamp) {
  EncodedTimeStamp out{};
  out[0] = kVersion;
  store_le(out.data() + 8, static_cast<std::uint64_t>(stamp.wall_ms));
  store_le(out.data() + 16, stamp.boot_ms);
  std::copy(stamp.boot_id.begin(), stamp.boot_id.end(), out.begin() + 24);
  store_le(out.data() + 40, stamp.jump_ms);
  return out;
}

Result<TimeStamp> parse_time_stamp(ByteView bytes) {
  const auto malformed = [](const char* what) {
    return Status(Reason::kTimeTamperInvalid, std::string("TIME_TAMPER is malformed: ") + what);
  };
  if (bytes.size() != kTimeStampBytes) return malformed("its size");
  if (bytes[0] != kVersion || !all_zero(bytes.subspan(1, 7))) return malformed("its version");
  TimeStamp stamp;
  stamp.wall_ms = static_cast<std::int64_t>(load_le<std::uint64_t>(bytes.data() + 8));
  stamp.boot_ms = load_le<std::uint64_t>(bytes.data() + 16);
  std::copy_n(bytes.begin() + 24, stamp.boot_id.size(), stamp.boot_id.begin());
  stamp.jump_ms = load_le<std::uint64_t>(bytes.data() + 40);
  if (stamp.wall_ms < 0 || stamp.wall_ms > kYear9999_ms) return malformed("its time");
  if (stamp.jump_ms > static_cast<std::uint64_t>(stamp.wall_ms)) return malformed("its jump");
  return stamp;
}

Now read_clock(os::Clock& clock) {
  return Now{std::clamp<std::int64_t>(clock.wall_ms(), 0, kYear9999_ms), clock.boot_ms(), clock.boot_id()};
}

std::int64_t time_floor_ms(const TimeStamp& stamp, const Now& now) {
  return expected_wall_ms(stamp, now) - static_cast<std::int64_t>(stamp.jump_ms);
}

Status check_clock(const TimeStamp& stamp, const Now& now, std::uint64_t tolerance_ms) {
  const std::int64_t behind_ms = time_floor_ms(stamp, now) - now.wall_ms;
  if (behind_ms <= 0 || static_cast<std::uint64_t>(behind_ms) <= tolerance_ms) return {};
  return {Reason::kClockRolledBack, "the system clock is " +
                                        duration_text(static_cast<std::uint64_t>(behind_ms)) +
                                        " behind the time that the store remembers"};
}

std::uint64_t age_ms(const TimeStamp& stamp, const Now& now) {
  return now.wall_ms <= stamp.wall_ms ? 0 : static_cast<std::uint64_t>(now.wall_ms - stamp.wall_ms);
}

Status check_first_clock(const Now& now) {
  if (now.wall_ms >= kReleaseWallMs) return {};
  const std::int64_t behind_ms = kReleaseWallMs - now.wall_ms;
  return {Reason::kClockRolledBack, "the system clock is " +
                                        duration_text(static_cast<std::uint64_t>(behind_ms)) +
                                        " behind the time when this release was made; set it first"};
}

WallClock wall_clock(os::Clock& clock) {
  return clock.unsynchronised() ? WallClock::kNeverSet : WallClock::kSet;
}

TimeStamp first_stamp(const Now& now, WallClock clock) {
  const bool at_its_word = clock == WallClock::kSet && now.wall_ms <= kPlausibleWallMs;
  const std::int64_t jump_ms = at_its_word ? 0 : std::max<std::int64_t>(0, now.wall_ms - kReleaseWallMs);
  return TimeStamp{now.wall_ms, now.boot_ms, now.boot_id, static_cast<std::uint64_t>(jump_ms)};
}

TimeStamp next_stamp(const TimeStamp& previous, const Now& now) {
  const std::int64_t expected_ms = expected_wall_ms(previous, now);
  // Within a boot a jump stays unconfirmed; a later boot whose clock is not behind the stamp confirms it.
  const bool same_boot = previous.boot_id == now.boot_id && now.boot_ms >= previous.boot_ms;
  const bool confirmed = !same_boot && now.wall_ms >= previous.wall_ms;
  const std::int64_t floor_ms =
      confirmed ? previous.wall_ms : expected_ms - static_cast<std::int64_t>(previous.jump_ms);
  const std::int64_t wall_ms = std::max(now.wall_ms, floor_ms);
  // Boot time that passed since this boot began explains that part of the way from an earlier boot's stamp.
  const std::int64_t explained_ms =
      same_boot ? floor_ms : std::min(wall_ms, floor_ms + static_cast<std::int64_t>(now.boot_ms));
  return TimeStamp{wall_ms, now.boot_ms, now.boot_id, static_cast<std::uint64_t>(wall_ms - explained_ms)};
}

}  // namespace strongroom::store
