// Durations in messages: what took long is rounded, a limit is not.
#include "base/duration.h"

#include <gtest/gtest.h>

namespace strongroom {
namespace {

constexpr std::uint64_t kMinuteMs = 60'000;
constexpr std::uint64_t kDayMs = 24 * 60 * kMinuteMs;

TEST(Duration, KeepsTheTwoLargestUnits) {
  EXPECT_EQ(duration_text(0), "0 ms");
  EXPECT_EQ(duration_text(999), "999 ms");
  EXPECT_EQ(duration_text(1999), "1 s");
  EXPECT_EQ(duration_text(7 * kDayMs + 3 * kMinuteMs + 5), "7 d 3 min");
  EXPECT_EQ(duration_text(kDayMs + 60 * kMinuteMs + kMinuteMs), "1 d 1 h");
}

TEST(Duration, DropsNothingOfALimit) {
  EXPECT_EQ(limit_text(kMinuteMs), "1 min");
  EXPECT_EQ(limit_text(kMinuteMs + 1001), "1 min 1 s 1 ms");
  EXPECT_EQ(limit_text(kDayMs + 60 * kMinuteMs + kMinuteMs + 1000), "1 d 1 h 1 min 1 s");
}

}  // namespace
}  // namespace strongroom
