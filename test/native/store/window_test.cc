// How long commits may wait for a witness before writes are refused.
#include "store/window.h"

#include "tpm_store_fixture.h"

namespace strongroom::store::testing {
namespace {

using log::Durability;

constexpr std::uint64_t kLimitMs = 100'000;

TEST(Window, WhatNoWitnessLacksNeverExceedsIt) {
  Window window;
  EXPECT_FALSE(window.exceeded(1'000'000, 1, kLimitMs));
  window.committed(1, 1000);
  window.began(1500);
  window.moved(1);
  EXPECT_EQ(window.waiting_since_ms(), 0U);
  window.failed();
  EXPECT_FALSE(window.exceeded(1'000'000, 1, kLimitMs));
}

TEST(Window, AWitnessThatFailsExceedsItAfterTheLimit) {
  Window window;
  window.committed(1, 1000);
  window.committed(2, 50'000);
  window.began(60'000);
  window.failed();
  EXPECT_EQ(window.waiting_since_ms(), 1000U);
  EXPECT_FALSE(window.exceeded(1000 + kLimitMs, 1, kLimitMs));
  EXPECT_TRUE(window.exceeded(1001 + kLimitMs, 1, kLimitMs));
  window.began(200'000);
  window.moved(2);
  EXPECT_FALSE(window.exceeded(1001 + kLimitMs, 1, kLimitMs));
}

TEST(Window, WhatWasCommittedDuringAMoveWaitsFromItsBeginning) {
  Window window;
  window.committed(1, 1000);
  window.began(2000);
  window.committed(2, 2500);
  window.moved(1);
  EXPECT_EQ(window.waiting_since_ms(), 2000U);
}

// A machine that slept, a process that was stopped: the witness has done nothing wrong.
TEST(Window, TimeInWhichNothingRanRefusesNothing) {
  Window window;
  window.committed(1, 1000);
  EXPECT_FALSE(window.exceeded(100 * kLimitMs, 5, kLimitMs));
  window.began(2000);
  EXPECT_FALSE(window.exceeded(100 * kLimitMs, 5, kLimitMs));
  EXPECT_FALSE(window.exceeded(100 * kLimitMs, 500'000, kLimitMs));  // one look after a long stop
}

TEST(Window, AnAttemptThatIsSeenToHangExceedsIt) {
  Window window;
  window.committed(1, 1000);
  window.began(2000);
  std::uint64_t ran_ms = 10;
  for (; ran_ms < Window::kHangsMs; ran_ms += 5000)
    EXPECT_FALSE(window.exceeded(10 * kLimitMs, ran_ms, kLimitMs)) << ran_ms;
  EXPECT_TRUE(window.exceeded(10 * kLimitMs, ran_ms + 5000, kLimitMs));
}

// --- In a store ---

constexpr std::uint64_t kHourMs = 3'600'000;

// One attempt, during which the disk has no room for a witness.
void fail_to_move(World& world, Session& session) {
  world.disk->fail_at(world.disk->calls() + 1,
                      {.reason = Reason::kNoSpace, .sticky = true, .partial = false});
  EXPECT_REASON(session.engine().anchor(), Reason::kWitnessNotMoved);
  world.disk->clear_faults();
}

TEST(EngineWindow, TheFileWitnessesKeptAwayForADay) {
  World world;
  Session session(world);
  ASSERT_OK(session.open());
  EXPECT_EQ(session.engine().status().window_ms_max, kWindowMsDefault);
  ASSERT_OK(session.set("a", "1"));
  fail_to_move(world, session);
  world.clock.advance(23 * kHourMs);
  ASSERT_OK(session.set("a", "2"));
  EXPECT_GE(session.engine().status().waiting_ms, 23 * kHourMs);
  world.clock.advance(2 * kHourMs);
  for (const Durability durability : {Durability::kJournal, Durability::kWitnessed}) {
    const Status refused = session.set("a", "3", durability);
    EXPECT_REASON(refused, Reason::kWitnessUnavailable);
    EXPECT_FALSE(!refused.ok() && (refused.error().committed || refused.error().outcome_unknown));
  }
  EXPECT_REASON(session.engine().validate_before_write(), Reason::kWitnessUnavailable);
  ASSERT_OK(session.engine().anchor());
  EXPECT_EQ(session.engine().status().waiting_ms, 0U);
  ASSERT_OK(session.set("a", "4"));
  ASSERT_OK(session.close());
}

TEST(EngineWindow, TheTpmKeptAwayForADay) {
  TpmWorld world;
  Session session(world);
  ASSERT_OK(session.open());
  ASSERT_OK(session.set("a", "1"));
  world.chip->unplug(true);
  EXPECT_REASON(session.engine().anchor(), Reason::kWitnessNotMoved);
  world.clock.advance(25 * kHourMs);
  EXPECT_REASON(session.set("a", "2"), Reason::kWitnessUnavailable);
  world.chip->unplug(false);
  ASSERT_OK(session.engine().anchor());
  ASSERT_OK(session.set("a", "3"));
  ASSERT_OK(session.close());
}

TEST(EngineWindow, IsFixedAtColdstart) {
  World world;
  world.options = [] {
    EngineOptions options = store_options();
    options.window_ms_max = kHourMs;
    return options;
  };
  {
    Session session(world);
    ASSERT_OK(session.open());
    ASSERT_OK(session.set("a", "1"));
    fail_to_move(world, session);
    world.clock.advance(kHourMs + 1000);
    EXPECT_REASON(session.set("a", "2"), Reason::kWitnessUnavailable);
    ASSERT_OK(session.close());
  }
  world.options = [] {
    EngineOptions options = store_options();
    options.window_ms_max = 2 * kHourMs;
    return options;
  };
  EXPECT_REASON(Session(world).open(), Reason::kInvalidOption);
  World small;
  small.options = [] {
    EngineOptions options = store_options();
    options.window_ms_max = kWindowMsMin - 1;
    return options;
  };
  EXPECT_REASON(Session(small).open(), Reason::kInvalidOption);
}

}  // namespace
}  // namespace strongroom::store::testing
