// What a power cut or a failing call in a rotation of the DEK may leave. STRONGROOM_LONG=1 raises the bounds.
#include "rotation_fixture.h"
#include "store/operations/dek_rotation.h"

namespace strongroom::store::testing {
namespace {

using log::Durability;

void finish(const char* name, const Tally& tally) {
  tally.print("rotation", name);
  EXPECT_EQ(tally.faults(), 0U);
}

TEST_F(Rotation, CutAtEveryCall) {
  const Image image = small_store();
  Outcomes outcomes;
  const Tally tally = cut_everywhere(image, rotation_act, ends_rotated(image, outcomes), kStates);
  finish("power cut at every call", tally);
  outcomes.print("after the cut");
  EXPECT_GT(tally.states, tally.cuts / 2);
  EXPECT_GT(outcomes.not_begun, 0U);
  EXPECT_GT(outcomes.pending, 10U);
  EXPECT_GT(outcomes.complete, 0U);
}

TEST_F(Rotation, CutAtEveryCallWithASmallTamperFile) {
  world.options = [] {
    EngineOptions options = rotation_options();
    options.tamper_capacity = 3;
    options.reserve_bytes = 0;
    return options;
  };
  const Image image = small_store();
  Outcomes outcomes;
  finish("power cut at every call, tamper file of 3 entries",
         cut_everywhere(image, rotation_act, ends_rotated(image, outcomes), bounded(16, 1000)));
}

// Commits at two places inside: when the new vault file is made, and before it is synced.
TEST_F(Rotation, CutAtEveryCallWithCommitsInside) {
  const Image image = small_store();
  std::size_t commits = 0;
  const auto act = [&commits](World& now) {
    HookedFiles files(*now.disk, "vault.bin.new");
    Opened opened(files, now.clock, now.options());
    const auto commit = [&](const std::string& key, Durability durability) {
      const std::string value = "inside " + std::to_string(++commits);
      const log::Completion done = opened.set(key, value, durability);
      const bool durable = done.status.ok() || done.status.error().committed;
      durable ? now.ledger.acknowledged({{key, value}}) : now.ledger.uncertain({{key, value}});
    };
    SR_TRY(opened.open());
    files.on_create = [&] {
      commit("k0", Durability::kJournal);
      commit("new", Durability::kWitnessed);
    };
    files.on_sync = [&] {
      commit("k1", Durability::kJournal);
      commit("k3", Durability::kJournal);
    };
    SR_TRY(DekRotation(*opened).rotate(as_bytes(kBackup)));
    files.on_create = files.on_sync = nullptr;
    commit("k2", Durability::kJournal);
    return opened->close();
  };
  Outcomes outcomes;
  finish("power cut at every call, commits inside",
         cut_everywhere(image, act, ends_rotated(image, outcomes), bounded(16, 1000)));
  EXPECT_GT(commits, met_at_least(100));
}

// A rotation that goes on after a cut is cut again.
TEST_F(Rotation, CutTwice) {
  const Image image = small_store();
  Outcomes outcomes;
  const Check check = ends_rotated(image, outcomes);
  const auto go_on = [](World& now) {
    Session session(now);
    SR_TRY(session.open());
    if (session.engine().status().key_id == 1 || session.engine().status().rotation_pending)
      SR_TRY(DekRotation(session.engine()).rotate(as_bytes(kBackup)));
    return session.close();
  };
  Tally tally;
  std::uint64_t calls = 0;
  {
    const std::unique_ptr<World> world = image.start();
    ASSERT_OK(rotation_act(*world));
    calls = world->disk->calls();
  }
  const std::uint64_t step = short_campaign() ? 23 : 5;
  for (std::uint64_t number = 3; number <= calls; number += step) {
    const std::unique_ptr<World> cut = image.start();
    cut->disk->power_cut_at(number);
    rotation_act(*cut).ignore("the power was cut");
    const std::vector<CrashState> states = cut->disk->crash_states(2);
    const std::unique_ptr<World> again = after_crash(*cut, states.back());
    {
      // What the first cut left decides which of the permitted contents there are.
      const std::unique_ptr<World> look = Image(*again).start();
      Session session(*look);
      ASSERT_OK(session.open());
      again->ledger.settle(session.contents());
    }
    tally += cut_everywhere(Image(*again), go_on, check, bounded(6, 40));
  }
  finish("power cut, gone on with, cut again", tally);
  EXPECT_GT(tally.cuts, met_at_least(100));
}

// Each call of the rotation fails once, or every one from it on; the process goes on, or is killed.
TEST_F(Rotation, EveryCallFails) {
  const Image image = small_store();
  Outcomes outcomes;
  const Check check = ends_rotated(image, outcomes);
  for (const Reason reason : {Reason::kIoError, Reason::kNoSpace}) {
    for (const bool sticky : {false, true}) {
      Tally tally;
      std::size_t refused = 0;
      for (std::uint64_t number = 1;; ++number) {
        const std::unique_ptr<World> world = image.start();
        bool reached = false;
        {
          Session session(*world);
          ASSERT_OK(session.open());
          ASSERT_OK(session.set("k0", "before"));
          const std::uint64_t from = world->disk->calls();
          world->disk->fail_at(from + number, {.reason = reason, .sticky = sticky});
          const Status rotated = DekRotation(session.engine()).rotate(as_bytes(kBackup));
          reached = world->disk->calls() >= from + number;
          world->disk->clear_faults();
          refused += rotated.ok() ? 0 : 1;
          if (is_alarm(rotated)) fault(tally, &Tally::false_alarms, "failing call", describe(rotated));
          // What goes on in this process must fit what the next one finds, whether or not the call is repeated.
          session.set("k1", "after the failure", Durability::kWitnessed).ignore("the ledger has it");
          const EngineStatus left = session.engine().status();
          const bool to_repeat = left.key_id == 1 || left.rotation_pending;
          if (number % 2 == 0 && to_repeat)
            DekRotation(session.engine()).rotate(as_bytes(kBackup)).ignore("the next process completes it");
          session.set("k2", "and later").ignore("the ledger has it");
          if (number % 3 != 0) session.close().ignore("a crash is as good");
        }
        if (!reached) break;
        ++tally.cuts;
        ++tally.states;
        const std::unique_ptr<World> next = after_crash(*world, world->disk->crash_states(2).back());
        check(tally, *next, "call " + std::to_string(number) + " of the rotation failed");
      }
      finish((std::string(reason == Reason::kIoError ? "failing call, EIO" : "failing call, ENOSPC") +
              (sticky ? " from there on" : " once"))
                 .c_str(),
             tally);
      EXPECT_GT(refused, 10U);
    }
  }
  outcomes.print("after a failed call");
}

}  // namespace
}  // namespace strongroom::store::testing
