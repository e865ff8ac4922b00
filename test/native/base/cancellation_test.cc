// Cancellation: which thread sees it, when a wake-up runs, and what hides it.
#include "base/cancellation.h"

#include <gtest/gtest.h>

#include <thread>

namespace strongroom {
namespace {

TEST(Cancellation, IsSeenInsideItsScopeOnly) {
  Cancellation outer;
  Cancellation inner;
  EXPECT_FALSE(cancelled());
  {
    const CancellationScope outside(&outer);
    {
      const CancellationScope inside(&inner);
      outer.request();
      EXPECT_FALSE(cancelled());
      inner.request();
      EXPECT_TRUE(check_cancelled().is(Reason::kAborted));
      {
        const Uncancellable writes;
        EXPECT_TRUE(check_cancelled().ok());
      }
      EXPECT_TRUE(cancelled());
    }
    EXPECT_TRUE(cancelled());
  }
  EXPECT_TRUE(check_cancelled().ok());
}

TEST(Cancellation, IsNotSeenByOtherThreads) {
  Cancellation cancellation;
  const CancellationScope scope(&cancellation);
  cancellation.request();
  bool seen = true;
  std::thread([&seen] { seen = cancelled(); }).join();
  EXPECT_FALSE(seen);
}

TEST(Cancellation, AWakeUpRunsWhenItIsRequestedOrAtOnce) {
  Cancellation cancellation;
  const CancellationScope scope(&cancellation);
  int woken = 0;
  {
    const CancellationWakeup wakeup([&woken] { ++woken; });
    EXPECT_EQ(woken, 0);
    std::thread([&cancellation] { cancellation.request(); }).join();
    EXPECT_EQ(woken, 1);
  }
  cancellation.request();
  EXPECT_EQ(woken, 1);  // it is destroyed
  const CancellationWakeup late([&woken] { ++woken; });
  EXPECT_EQ(woken, 2);
}

TEST(Cancellation, WithoutAScopeNothingIsWoken) {
  int woken = 0;
  const CancellationWakeup wakeup([&woken] { ++woken; });
  EXPECT_EQ(woken, 0);
}

}  // namespace
}  // namespace strongroom
