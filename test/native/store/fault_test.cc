// Faults that are not power cuts: a process that is killed between two calls (what it left un-synced is still
// visible to the next one, and may be lost by a later power cut), calls that answer EIO or ENOSPC, syncs that fail,
// and a disk that lies about sync. Each answer is typed, nothing acknowledged is lost, nothing looks like an attack.
#include <set>

#include "reliability_fixture.h"
#include "store/operations/passwords.h"

namespace strongroom::store::testing {
namespace {

using log::Durability;

class Fault : public ::testing::Test {
 protected:
  static Image small_store(World& world) {
    Session session(world);
    EXPECT_TRUE(session.open().ok());
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(session.set("k" + std::to_string(i), "value").ok());
    EXPECT_TRUE(session.increment("tokens", 100).ok());
    EXPECT_TRUE(session.close().ok());
    world.clock.advance(1000);
    return Image(world);
  }
  static void finish(const char* name, const Tally& tally) {
    tally.print("fault", name);
    EXPECT_EQ(tally.faults(), 0U);
    EXPECT_GT(tally.states, 0U);
  }
};

std::function<EngineOptions()> options_with(std::uint64_t reserve_bytes, std::uint32_t tamper_capacity) {
  return [=] {
    EngineOptions options = store_options("first");
    options.reserve_bytes = reserve_bytes;
    options.tamper_capacity = tamper_capacity;
    return options;
  };
}

// A life with everything in it. Errors do not stop it: what can still be done is tried.
Status life(World& world) {
  Session session(world);
  SR_TRY(session.open());
  Status first;
  const auto keep = [&first](const Status& status) {
    if (first.ok()) first = status;
  };
  keep(session.set("k0", std::string(900, 'a')));
  keep(session.batch({{"k1", "batch"}, {"k2", std::nullopt}, {"b", "batch"}}, Durability::kWitnessed));
  keep(Passwords(session.engine()).change(as_bytes("first"), SecretBytes(as_bytes("first"))).status());
  keep(session.increment("tokens", -1));
  keep(session.engine().compact());
  keep(session.set("k1", "after the compaction"));
  keep(Passwords(session.engine()).change(as_bytes("first"), SecretBytes(as_bytes("first"))).status());
  keep(session.remove("k0"));
  keep(session.close());
  return first;
}

std::uint64_t calls_of(const Image& image, const Act& act) {
  const std::unique_ptr<World> world = image.start();
  EXPECT_TRUE(act(*world).ok());
  return world->disk->calls();
}

// Killed before call n (or in the middle of it, when `partial`), started again on what is visible, and the power cut
// in that next life.
Tally kill_then_cut(const Image& image, const Act& act, bool partial, std::size_t cut_step,
                    std::size_t states_max) {
  Tally tally;
  const std::uint64_t calls = calls_of(image, act);
  for (std::uint64_t killed = 1; killed <= calls; ++killed) {
    std::uint64_t restart_calls = 0;
    // First without a cut, for the number of calls; then at every `cut_step`th, beginning elsewhere for each n.
    for (std::uint64_t cut = 0; cut <= restart_calls; cut += cut == 0 ? killed % cut_step + 1 : cut_step) {
      const std::unique_ptr<World> world = image.start();
      world->disk->fail_at(killed, {.sticky = true, .partial = partial});
      act(*world).ignore("the process was killed");
      world->disk->clear_faults();
      const std::string killed_at = "killed at '" + world->disk->call_log()[killed - 1] + "'";
      world->clock.advance(5000);
      const std::uint64_t before = world->disk->calls();
      if (cut != 0) world->disk->power_cut_at(before + cut);
      {
        Session session(*world);
        const Status opened = session.open();
        if (opened.ok()) {
          session.set("next", "life").ignore("the power may be cut");
          session.set("witnessed", "life", Durability::kWitnessed).ignore("the power may be cut");
        } else if (!world->disk->power_is_cut()) {
          expect_clean(tally, opened, killed_at, "the next life");
        }
      }
      if (cut == 0) {
        restart_calls = world->disk->calls() - before;
        continue;
      }
      ++tally.cuts;
      for (const CrashState& state : world->disk->crash_states(states_max)) {
        ++tally.states;
        check_opens(tally, *after_crash(*world, state),
                    killed_at + ", cut at '" + world->disk->call_log().back() + "', " + state.description);
      }
      if (tally.faults() > 100) return tally;
    }
  }
  return tally;
}

TEST_F(Fault, KilledAndThenAPowerCut) {
  const std::size_t step = long_campaign() ? 1 : short_campaign() ? 13 : 3;
  for (const std::uint64_t reserve : {4096, 0}) {
    World world;
    world.options = options_with(reserve, reserve == 0 ? 4 : 32);
    const Image image = small_store(world);
    finish(reserve == 0 ? "killed, then a power cut (no reserved space)" : "killed, then a power cut",
           kill_then_cut(image, life, false, step, bounded(6, 100)));
  }
}

TEST_F(Fault, KilledInColdstartAndThenAPowerCut) {
  World world;
  world.disk->make_directory("/var");
  world.options =
      [] {  // apart from the store, so that syncing the name of one directory does not serve the other
        EngineOptions options = store_options("first");
        options.secret_store->directory = "/var/secrets";
        return options;
      };
  const auto act = [](World& now) {
    Session session(now);
    SR_TRY(session.open());
    SR_TRY(session.set("first", "1"));
    return session.close();
  };
  const std::size_t step = long_campaign() ? 1 : short_campaign() ? 13 : 3;
  finish("killed in a cold start, then a power cut",
         kill_then_cut(Image(world), act, false, step, bounded(6, 100)));
}

TEST_F(Fault, FailingDiskAndThenAPowerCut) {
  World world;
  world.options = options_with(4096, 32);
  const Image image = small_store(world);
  finish("a disk that fails for good, then a power cut", kill_then_cut(image, life, true,
                                                                       long_campaign()    ? 1
                                                                       : short_campaign() ? 29
                                                                                          : 7,
                                                                       bounded(4, 50)));
}

// One call fails and the store goes on as far as it can; then a restart, or a power cut and a restart, or a restart
// and a power cut in it.
Tally fail_each_call(const Image& image, const Act& act, Reason reason, bool sticky, std::size_t states_max,
                     std::set<std::string>& reasons) {
  Tally tally;
  const std::uint64_t calls = calls_of(image, act);
  for (std::uint64_t number = 1; number <= calls; number += short_campaign() ? 5 : 1) {
    for (const bool partial : {true, false}) {
      const std::unique_ptr<World> world = image.start();
      world->disk->fail_at(number, {.reason = reason, .sticky = sticky, .partial = partial});
      const Status status = act(*world);
      if (!status.ok()) reasons.insert(std::string(error_info(status.error().reason).reason));
      const std::string where = std::string("failed ") + (partial ? "partly" : "wholly") + " at '" +
                                world->disk->call_log()[number - 1] + "'";
      if (is_alarm(status)) fault(tally, &Tally::false_alarms, where, describe(status));
      world->disk->clear_faults();
      ++tally.cuts;
      {  // the same machine, a new process
        const std::unique_ptr<World> next = Image(*world).start();
        check_opens(tally, *next, where + ", opened again");
      }
      for (const CrashState& state : world->disk->crash_states(states_max)) {
        ++tally.states;
        check_opens(tally, *after_crash(*world, state),
                    where + ", then the power was cut: " + state.description);
      }
      // The new process builds on what is visible, and then the power is cut.
      Session session(*world);
      if (!expect_clean(tally, session.open(), where, "opened again")) continue;
      session.set("next", "life").ignore("told to the ledger");
      for (const CrashState& state : world->disk->crash_states(states_max)) {
        ++tally.states;
        check_opens(tally, *after_crash(*world, state),
                    where + ", opened again, then the power was cut: " + state.description);
      }
      if (tally.faults() > 100) return tally;
    }
  }
  return tally;
}

TEST_F(Fault, EveryCallFailsOnce) {
  for (const Reason reason : {Reason::kIoError, Reason::kNoSpace}) {
    for (const bool sticky : {false, true}) {
      World world;
      world.options = options_with(4096, 8);
      const Image image = small_store(world);
      std::set<std::string> reasons;
      const Tally tally = fail_each_call(image, life, reason, sticky, bounded(6, 100), reasons);
      std::string name = reason == Reason::kIoError ? "EIO" : "ENOSPC";
      name += sticky ? " from a call on," : " at one call,";
      for (const std::string& told : reasons) name += " " + told;
      finish(name.c_str(), tally);
    }
  }
}

TEST_F(Fault, EveryCallOfAColdstartFailsOnce) {
  World world;
  world.options = options_with(4096, 8);
  const auto act = [](World& now) {
    Session session(now);
    SR_TRY(session.open());
    SR_TRY(session.set("first", "1"));
    return session.close();
  };
  std::set<std::string> reasons;
  for (const Reason reason : {Reason::kIoError, Reason::kNoSpace}) {
    finish("cold start with a failing call",
           fail_each_call(Image(world), act, reason, false, bounded(6, 50), reasons));
  }
  for (const std::string& reason : reasons) {
    EXPECT_TRUE(reason == "io-error" || reason == "no-space" || reason == "secret-store-unavailable" ||
                reason == "witness-not-moved" || reason == "poisoned")
        << reason;
  }
}

TEST_F(Fault, AFailedSyncPoisons) {
  World world;
  const Image image = small_store(world);
  const std::unique_ptr<World> now = image.start();
  {
    Session session(*now);
    ASSERT_OK(session.open());
    ASSERT_OK(session.set("acknowledged", "1"));
    const Contents before = session.contents();
    const std::uint64_t number = now->disk->calls() + 2;  // write, sync
    now->disk->fail_at(number, {.reason = Reason::kIoError});
    const Status unknown = session.set("k0", "lost");
    EXPECT_REASON(unknown, Reason::kPoisoned);
    EXPECT_TRUE(!unknown.ok() && unknown.error().outcome_unknown && !unknown.error().committed);
    ASSERT_NE(now->disk->call_log()[number - 1].find("sync"), std::string::npos);
    const Status refused = session.set("k0", "later");
    EXPECT_REASON(refused, Reason::kPoisoned);
    EXPECT_TRUE(!refused.ok() && !refused.error().outcome_unknown);
    EXPECT_REASON(session.engine().compact(), Reason::kPoisoned);
    EXPECT_TRUE(session.engine().status().poisoned);
    EXPECT_EQ(session.contents(), before);  // memory holds what is durable
    EXPECT_REASON(session.close(), Reason::kPoisoned);
  }
  now->disk->clear_faults();
  Tally tally;
  check_opens(tally, *now, "after a failed sync");
  EXPECT_EQ(tally.faults(), 0U);
}

// Which persistence.bin is there is not known after a failed replacement; another change must not make it a third.
TEST_F(Fault, AFailedChangeOfThePasswordAndAnotherOne) {
  World world;
  world.options = options_with(4096, 32);
  const Image image = small_store(world);
  Tally tally;
  const auto change_twice = [](World& now, std::uint64_t failing, std::uint64_t cut) {
    Session session(now);
    SR_TRY(session.open());
    const std::uint64_t calls = now.disk->calls();
    if (failing != 0) now.disk->fail_at(calls + failing, {.reason = Reason::kIoError});
    if (cut != 0) now.disk->power_cut_at(calls + cut);
    const auto change = [&] {
      return Passwords(session.engine()).change(as_bytes("first"), SecretBytes(as_bytes("first"))).status();
    };
    change().ignore("it may fail");
    return change();
  };
  for (std::uint64_t failing = 1; failing <= 16; ++failing) {
    for (std::uint64_t cut = failing + 1; cut <= failing + 16; ++cut) {
      const std::unique_ptr<World> now = image.start();
      change_twice(*now, failing, cut).ignore("it may fail");
      ++tally.cuts;
      for (const CrashState& state : now->disk->crash_states(bounded(20, 200))) {
        ++tally.states;
        check_opens(tally, *after_crash(*now, state),
                    "failed at " + std::to_string(failing) + ", cut at '" + now->disk->call_log().back() +
                        "', " + state.description);
      }
    }
  }
  finish("a failed change of the password, another one, a power cut", tally);
}

// Refused by a typed reason, or an older valid state: never garbage, never a crash.
TEST_F(Fault, ADiskThatLiesAboutSync) {
  World world;
  world.options = options_with(4096, 8);
  std::vector<Contents> valid{{}};
  Tally tally;
  std::map<std::string, std::size_t> reasons;
  std::size_t older = 0;
  const Image image = small_store(world);
  valid.push_back(image.ledger.newest());
  for (const bool from_the_start : {false, true}) {
    World empty;
    empty.options = world.options;
    const std::unique_ptr<World> now = from_the_start ? Image(empty).start() : image.start();
    now->disk->lie_about_sync();
    {
      Session session(*now);
      ASSERT_OK(session.open());
      for (int i = 0; i < 6; ++i) {
        ASSERT_OK(session.set("k" + std::to_string(i % 3), "lie " + std::to_string(i),
                              i % 2 == 0 ? Durability::kJournal : Durability::kWitnessed));
        valid.push_back(now->ledger.newest());
        if (i == 3) ASSERT_OK(session.engine().compact());
      }
    }
    now->disk->clear_faults();
    for (const CrashState& state : now->disk->crash_states(bounded(1500, 20'000))) {
      ++tally.states;
      const std::unique_ptr<World> after = after_crash(*now, state);
      Session session(*after);
      const Status status = session.open();
      if (!status.ok()) {
        ++reasons[std::string(error_info(status.error().reason).reason)];
        continue;
      }
      ++older;
      const Contents seen = session.contents();
      if (std::find(valid.begin(), valid.end(), seen) == valid.end()) {
        fault(tally, &Tally::lost, state.description, "a state that never was");
      }
    }
  }
  std::string told = "a lying disk: valid states=" + std::to_string(older);
  for (const auto& [reason, count] : reasons) told += " " + reason + "=" + std::to_string(count);
  tally.print("fault", told);
  EXPECT_EQ(tally.faults(), 0U);
  EXPECT_GT(older, 0U);
  EXPECT_FALSE(reasons.contains("internal"));
}

}  // namespace
}  // namespace strongroom::store::testing
