// TIME_TAMPER: the stamp by itself, and what an engine makes of clocks that are wrong, jump, sleep or stand still.
#include "time/time_tamper.h"

#include <random>

#include "reliability_fixture.h"
#include "store/operations/reanchoring.h"

namespace strongroom::store::testing {
namespace {

constexpr std::int64_t kSecond = 1000;
constexpr std::int64_t kMinute = 60 * kSecond;
constexpr std::int64_t kHour = 60 * kMinute;
constexpr std::int64_t kDay = 24 * kHour;
constexpr std::uint64_t kTolerance = 120 * kSecond;
constexpr std::int64_t kYear2099 = 4'070'908'800'000;

Now now_of(ManualClock& clock) { return read_clock(clock); }

TEST(TimeStamp, RoundTripAndMalformed) {
  const TimeStamp stamp{1'800'000'000'123, 42, {1, 2, 3}, 77};
  const EncodedTimeStamp bytes = encode_time_stamp(stamp);
  const Result<TimeStamp> parsed = parse_time_stamp(bytes);
  ASSERT_OK(parsed.status());
  EXPECT_EQ(*parsed, stamp);
  for (std::size_t size = 0; size <= bytes.size() + 1; ++size) {
    if (size == bytes.size()) continue;
    Bytes cut(bytes.begin(), bytes.end());
    cut.resize(size);
    EXPECT_TRUE(parse_time_stamp(cut).is(Reason::kTimeTamperInvalid)) << size;
  }
  for (std::size_t at = 0; at < 8; ++at) {
    EncodedTimeStamp wrong = bytes;
    wrong[at] ^= 0x40;
    EXPECT_TRUE(parse_time_stamp(wrong).is(Reason::kTimeTamperInvalid)) << at;
  }
  const TimeStamp bad[] = {{-1, 0, {}, 0}, {INT64_MIN, 0, {}, 0}, {INT64_MAX, 0, {}, 0}, {5, 0, {}, 6}};
  for (const TimeStamp& wrong : bad) {
    EXPECT_TRUE(parse_time_stamp(encode_time_stamp(wrong)).is(Reason::kTimeTamperInvalid)) << wrong.wall_ms;
  }
}

TEST(TimeStamp, Table) {
  struct Row {
    const char* what;
    std::int64_t boot_passed;
    std::int64_t wall_moved;
    bool reboot;
    bool accepted;
  };
  const Row rows[] = {
      {"nothing happened", 0, 0, false, true},
      {"an hour passed", kHour, kHour, false, true},
      {"the wall clock stood still for the tolerance", 120 * kSecond, 0, false, true},
      {"and a millisecond more", 120 * kSecond + 1, 0, false, false},
      {"set back by the tolerance", 0, -120 * kSecond, false, true},
      {"and a millisecond more", 0, -120 * kSecond - 1, false, false},
      {"set back by an hour, an hour passed", kHour, 0, false, false},
      {"set forward by a year", 0, 365 * kDay, false, true},
      {"a reboot, right clock", 0, kMinute, true, true},
      {"a reboot, the clock behind by the tolerance", 0, -120 * kSecond, true, true},
      {"a reboot, the clock further behind", 0, -120 * kSecond - 1, true, false},
      {"a reboot, the clock in 1970", 0, -ManualClock::kWallMsAtStart, true, false},
      {"a reboot in 2099", 0, kYear2099 - ManualClock::kWallMsAtStart, true, true},
  };
  for (const Row& row : rows) {
    ManualClock clock;
    const TimeStamp stamp = first_stamp(now_of(clock), WallClock::kSet);
    if (row.reboot) clock.reboot();
    clock.set_wall(stamp.wall_ms);
    clock.advance(static_cast<std::uint64_t>(row.boot_passed));
    clock.set_wall(stamp.wall_ms + row.wall_moved);
    EXPECT_EQ(check_clock(stamp, now_of(clock), kTolerance).ok(), row.accepted) << row.what;
  }
}

// Where the kernel shows no boot id each boot seems to have the same one: an uptime that is smaller tells them apart.
TEST(TimeStamp, ASmallerUptimeIsAnotherBoot) {
  ManualClock clock;
  const TimeStamp first = first_stamp(now_of(clock), WallClock::kSet);
  clock.set_boot(ManualClock::kBootMsAfterReboot);
  clock.advance_wall(-30 * kMinute);
  EXPECT_REASON(check_clock(first, now_of(clock), kTolerance), Reason::kClockRolledBack);
  // A leap of the clock that such a boot confirms, by standing exactly where the stamp does.
  clock.set_wall(first.wall_ms + 10 * kDay);
  clock.set_boot(first.boot_ms);
  const TimeStamp leapt = next_stamp(first, now_of(clock));
  EXPECT_EQ(time_floor_ms(leapt, now_of(clock)), first.wall_ms);
  clock.set_boot(ManualClock::kBootMsAfterReboot);
  const TimeStamp confirmed = next_stamp(leapt, now_of(clock));
  EXPECT_EQ(time_floor_ms(confirmed, now_of(clock)), leapt.wall_ms);
}

// A clock that nothing had set may be put right after the first boot by any amount, but not behind the release.
TEST(TimeStamp, TheFirstOneUnderAClockThatNothingHadSet) {
  for (const std::int64_t ahead : {std::int64_t{0}, 2 * kDay, 8 * kDay, 400 * kDay}) {
    ManualClock clock;
    clock.advance_wall(ahead);
    const TimeStamp taken_at_its_word = first_stamp(now_of(clock), WallClock::kSet);
    const TimeStamp stamp = first_stamp(now_of(clock), WallClock::kNeverSet);
    clock.reboot();
    clock.advance_wall(-ahead - kHour);
    EXPECT_OK(check_clock(stamp, now_of(clock), kTolerance));
    EXPECT_REASON(check_clock(taken_at_its_word, now_of(clock), kTolerance), Reason::kClockRolledBack);
    // From then on the right time is explained.
    const TimeStamp right = next_stamp(stamp, now_of(clock));
    clock.reboot();
    const TimeStamp confirmed = next_stamp(right, now_of(clock));
    clock.advance_wall(-kHour);
    EXPECT_REASON(check_clock(confirmed, now_of(clock), kTolerance), Reason::kClockRolledBack);
    clock.set_wall(kReleaseWallMs - kHour);
    EXPECT_REASON(check_clock(stamp, now_of(clock), kTolerance), Reason::kClockRolledBack);
  }
  ManualClock clock(kReleaseWallMs);
  EXPECT_OK(check_first_clock(now_of(clock)));
  clock.advance_wall(-kDay - kHour);
  const Status behind = check_first_clock(now_of(clock));
  EXPECT_REASON(behind, Reason::kClockRolledBack);
  EXPECT_NE(behind.error().detail.find("is 1 d 1 h behind"), std::string::npos) << behind.error().detail;
}

// What a broken clock says is still written as a stamp that can be read again.
TEST(TimeStamp, AClockBeyondAllYears) {
  for (const std::int64_t wall_ms :
       {INT64_MIN, std::int64_t{-1}, std::int64_t{253'402'300'799'001}, INT64_MAX - kDay}) {
    SCOPED_TRACE(wall_ms);
    ManualClock clock(wall_ms);
    const TimeStamp stamp = first_stamp(now_of(clock), WallClock::kSet);
    EXPECT_OK(parse_time_stamp(encode_time_stamp(stamp)));
    clock.reboot();
    EXPECT_OK(parse_time_stamp(encode_time_stamp(next_stamp(stamp, now_of(clock)))));
  }
}

// Whatever the clocks do, the floor does not sink, and the stamp's own moment is never refused later in that boot.
TEST(TimeStamp, TheFloorNeverSinks) {
  std::mt19937_64 random(7);
  std::size_t steps = 0;
  for (int history = 0; history < 300; ++history) {
    ManualClock clock;
    TimeStamp stamp = first_stamp(now_of(clock), WallClock::kSet);
    for (int step = 0; step < 60; ++step, ++steps) {
      switch (random() % 5) {
        case 0:
          clock.advance(random() % (2 * kDay));
          break;
        case 1:
          clock.advance_wall(static_cast<std::int64_t>(random() % (20 * kDay)) - 10 * kDay);
          break;
        case 2:
          clock.reboot(random() % kDay, random() % kHour);
          break;
        case 3:
          clock.set_wall(random() % 4 == 0 ? kYear2099 : ManualClock::kWallMsAtStart + step * kHour);
          break;
        default:
          clock.suspend(random() % kHour);
          break;
      }
      const Now now = now_of(clock);
      const TimeStamp next = next_stamp(stamp, now);
      ASSERT_GE(time_floor_ms(next, now), time_floor_ms(stamp, now));
      ASSERT_GE(next.wall_ms, now.wall_ms);
      ASSERT_OK(parse_time_stamp(encode_time_stamp(next)).status());
      stamp = next;
    }
  }
  std::printf("time: random clock steps=%zu\n", steps);
}

class Time : public ::testing::Test {
 protected:
  void begin(std::optional<std::uint64_t> age_ms_max = std::nullopt) {
    world.options = [age_ms_max] {
      EngineOptions options = store_options("backup");
      options.age_ms_max = age_ms_max;
      return options;
    };
    ASSERT_OK(visit());
  }
  // Opens, writes, closes.
  Status visit() {
    Session session(world);
    SR_TRY(session.open());
    SR_TRY(session.engine().validate_before_write());
    SR_TRY(session.set("k", std::to_string(++visits)));
    return session.close();
  }
  void expect_refused(Reason reason) {
    const Files before = files_of(*world.disk);
    EXPECT_REASON(visit(), reason);
    EXPECT_EQ(files_of(*world.disk), before);
  }

  int visits = 0;
  World world;
};

TEST_F(Time, AgeToTheSecond) {
  begin();
  const auto off_for = [this](std::int64_t ms) {
    const std::int64_t before = world.clock.wall_ms();
    world.clock.reboot();
    world.clock.set_wall(before + ms);
  };
  off_for(7 * kDay - kMinute);  // 6 d 23 h 59 min
  ASSERT_OK(visit());
  off_for(7 * kDay);
  ASSERT_OK(visit());
  off_for(7 * kDay + kSecond);
  expect_refused(Reason::kStateStale);
  Session session(world);
  ASSERT_OK(steps_to_identified(session.engine()));
  ASSERT_OK(Reanchoring(session.engine()).reanchor(password_proof("backup")));
  ASSERT_OK(session.close());
  ASSERT_OK(visit());
}

TEST_F(Time, AgeIsConfigurable) {
  begin(kHour);
  world.clock.advance(kHour);
  ASSERT_OK(visit());
  world.clock.advance(kHour + 1);
  expect_refused(Reason::kStateStale);
}

TEST_F(Time, AgeOff) {
  begin(kMaxAgeOff);
  world.clock.reboot(static_cast<std::uint64_t>(1000 * kDay));
  ASSERT_OK(visit());
}

TEST_F(Time, ToleranceAcrossARestartHealsWhenTheClockIsRight) {
  begin();
  const std::int64_t stamped = world.clock.wall_ms();
  for (const bool reboot : {false, true}) {
    if (reboot) world.clock.reboot();
    world.clock.set_wall(stamped - 120 * kSecond);
    ASSERT_OK(visit());
    world.clock.set_wall(stamped - 120 * kSecond - 1);
    expect_refused(Reason::kClockRolledBack);
    world.clock.set_wall(stamped);
    ASSERT_OK(visit());
  }
}

// Small steps back do not add up.
TEST_F(Time, StepsWithinTheToleranceDoNotAddUp) {
  begin();
  int accepted = 0;
  for (int i = 0; i < 10; ++i) {
    world.clock.advance_wall(-100 * kSecond);
    if (visit().ok()) ++accepted;
  }
  EXPECT_EQ(accepted, 1);
}

TEST_F(Time, OneBootIn2099) {
  for (const bool age_off : {false, true}) {
    World fresh;
    world.disk = std::move(fresh.disk);
    world.ledger = Ledger();
    world.clock.set_wall(ManualClock::kWallMsAtStart);
    begin(age_off ? std::optional<std::uint64_t>(kMaxAgeOff) : std::nullopt);
    const std::int64_t right = world.clock.wall_ms();
    world.clock.reboot();
    world.clock.set_wall(kYear2099);
    if (age_off) {
      ASSERT_OK(visit());
      world.clock.advance(kHour);
      ASSERT_OK(visit());
    } else {
      expect_refused(Reason::kStateStale);
    }
    world.clock.reboot();
    world.clock.set_wall(right + 2 * kHour);
    ASSERT_OK(visit());
    world.clock.reboot(kHour);
    ASSERT_OK(visit());
    world.clock.set_wall(right - 2 * kHour);
    expect_refused(Reason::kClockRolledBack);
  }
}

// The second boot confirms the first; then a clock that is put right cannot be told from one that was turned back.
TEST_F(Time, TwoBootsAheadAreBelieved) {
  begin();
  const std::int64_t right = world.clock.wall_ms();
  for (int boot = 0; boot < 2; ++boot) {
    world.clock.reboot();
    world.clock.set_wall(right + 2 * kHour + boot * kMinute);
    ASSERT_OK(visit());
  }
  world.clock.reboot();
  world.clock.set_wall(right + 10 * kMinute);
  expect_refused(Reason::kClockRolledBack);
  const Image image(world);
  {  // time cures it
    const std::int64_t wall_ms = world.clock.wall_ms();
    world.clock.set_wall(right + 2 * kHour);
    ASSERT_OK(visit());
    world.clock.set_wall(wall_ms);
  }
  const std::unique_ptr<World> now = image.start();
  {
    Session session(*now);
    ASSERT_OK(steps_to_identified(session.engine()));
    ASSERT_OK(Reanchoring(session.engine()).reanchor(password_proof("backup")));
    ASSERT_OK(session.close());
  }
  Session session(*now);
  ASSERT_OK(session.open());
}

TEST_F(Time, ClockIn2099WhileOpen) {
  begin();
  {
    Session session(world);
    ASSERT_OK(session.open());
    const std::int64_t right = world.clock.wall_ms();
    world.clock.set_wall(kYear2099);
    ASSERT_OK(session.engine().validate_before_write());
    ASSERT_OK(session.set("k", "2099"));
    world.clock.advance(2 * kMinute);
    ASSERT_OK(session.set("k", "2099 and a stamp"));
    world.clock.set_wall(right + 2 * kMinute);
    ASSERT_OK(session.engine().validate_before_write());
    ASSERT_OK(session.set("k", "right again"));
    ASSERT_OK(session.close());
  }
  world.clock.reboot(kHour);
  ASSERT_OK(visit());
}

TEST_F(Time, NtpStepsBothWays) {
  begin();
  Session session(world);
  ASSERT_OK(session.open());
  for (const std::int64_t step : {90 * kSecond, -100 * kSecond, kHour, -kHour, 20 * kMinute, -20 * kMinute}) {
    world.clock.advance(10 * kMinute);
    world.clock.advance_wall(step);
    ASSERT_OK(session.engine().validate_before_write());
    ASSERT_OK(session.set("k", std::to_string(step)));
    ASSERT_OK(session.engine().refresh_time_tamper());
  }
  ASSERT_OK(session.close());
  ASSERT_OK(visit());
}

TEST_F(Time, SuspendedForEightDaysWhileOpen) {
  begin();
  {
    Session session(world);
    ASSERT_OK(session.open());
    world.clock.suspend(static_cast<std::uint64_t>(8 * kDay));
    ASSERT_OK(session.engine().validate_before_write());
    ASSERT_OK(session.set("k", "after the sleep"));
    EXPECT_EQ(session.engine().status().age_ms, 0U);
    ASSERT_OK(session.close());
  }
  ASSERT_OK(visit());
}

TEST_F(Time, ClockSetBackWhileOpenBlocksWritesAndHeals) {
  begin();
  Session session(world);
  ASSERT_OK(session.open());
  ASSERT_OK(session.set("k", "before"));
  world.clock.advance_wall(-kHour);
  EXPECT_REASON(session.engine().validate_before_write(), Reason::kClockRolledBack);
  EXPECT_TRUE(is_alarm(session.engine().validate_before_write()));
  EXPECT_EQ(session.contents().at("k"), "before");  // reading goes on
  world.clock.advance_wall(kHour);
  ASSERT_OK(session.engine().validate_before_write());
  ASSERT_OK(session.set("k", "after"));
  // A clock that stands still while boot time goes on is behind too.
  world.clock.advance(10 * kMinute);
  world.clock.advance_wall(-10 * kMinute);
  EXPECT_REASON(session.engine().validate_before_write(), Reason::kClockRolledBack);
}

TEST_F(Time, ThirtyDaysInHourSteps) {
  begin();
  std::size_t writes = 0;
  {
    Session session(world);
    ASSERT_OK(session.open());
    for (int hour = 0; hour < 30 * 24; ++hour) {
      world.clock.advance(kHour);
      ASSERT_OK(session.engine().validate_before_write());
      if (hour % 3 == 0) {
        ASSERT_OK(session.engine().refresh_time_tamper());
      } else {
        ASSERT_OK(session.set("k", std::to_string(hour)));
        ++writes;
      }
      EXPECT_LE(session.engine().status().age_ms, static_cast<std::uint64_t>(kHour));
    }
  }  // not closed
  world.clock.reboot(kHour);
  ASSERT_OK(visit());
  std::printf("time: 30 days open, writes accepted=%zu\n", writes);
}

// The stamp is refreshed with ordinary commits once a minute, not with each.
TEST_F(Time, StampsAreRareAndMirrored) {
  begin();
  Session session(world);
  ASSERT_OK(session.open());
  const TimeStamp first = session.engine().status().time_tamper;
  world.clock.advance(59 * kSecond);
  ASSERT_OK(session.set("k", "1"));
  EXPECT_EQ(session.engine().status().time_tamper, first);
  world.clock.advance(kSecond);
  ASSERT_OK(session.set("k", "2"));
  EXPECT_EQ(session.engine().status().time_tamper.wall_ms, world.clock.wall_ms());
  const Bytes mirrored = *world.disk->content(kTimeTamperPath);
  ASSERT_OK(session.engine().anchor());
  EXPECT_NE(*world.disk->content(kTimeTamperPath), mirrored);
}

// What no release writes: without a stamp, or with a malformed one, under the vault's own authentication.
TEST_F(Time, AbsentOrMalformedInTheVault) {
  begin();
  const Image image(world);
  const Bytes malformed[] = {{}, Bytes(47, 0), Bytes(48, 0xFF), Bytes(49, 0)};
  for (std::size_t i = 0; i <= std::size(malformed); ++i) {
    const std::unique_ptr<World> edited = image.start();
    {
      Session session(*edited);
      ASSERT_OK(session.open());
      const std::string key = "strongroom/time-tamper";
      log::Change change{log::Operation::kDelete, as_bytes(key), {}};
      if (i < std::size(malformed)) change = {log::Operation::kPut, as_bytes(key), malformed[i]};
      ASSERT_OK(session.engine().queue().commit_system(log::CommitKind::kData, {change}).status());
      ASSERT_OK(session.engine().anchor());
    }
    const Files before = files_of(*edited->disk);
    Session session(*edited);
    EXPECT_REASON(session.open(), Reason::kTimeTamperInvalid);
    EXPECT_EQ(files_of(*edited->disk), before);
  }
}

}  // namespace
}  // namespace strongroom::store::testing
