// Cuts and faults of a store whose root is in a TPM: the power, or the process, ends at every call of the disk and before
// and after the effect of every call of the TPM, in every state (up to a bound) that un-synced data may then have. The next
// start is clean or completes, nothing acknowledged is lost, no fault looks like an attack; and the files from before the
// last completed anchor are refused ever after. STRONGROOM_LONG=1 raises the bound.
#include <set>

#include "store/operations/passwords.h"
#include "tpm_crash_fixture.h"

namespace strongroom::store::testing {
namespace {

using log::Durability;
using When = SimulatedChip::When;

Status cold_start(World& world) {
  Session session(world);
  SR_TRY(session.open());
  SR_TRY(session.set("first", "1"));
  return session.close();
}

TEST_F(TpmCrash, Coldstart) {
  TpmWorld world;
  finish("cold start", cut_everywhere(Image(world), cold_start, check_tpm, kStates));
}

TEST_F(TpmCrash, ColdstartWithPinAndPcrs) {
  TpmWorld world;
  world.options = [] {
    EngineOptions options = tpm_options();
    options.tpm.pin = SecretBytes(as_bytes("1234"));
    options.tpm.pcrs = 1U << 7;
    return options;
  };
  finish("cold start with PIN and PCRs",
         cut_everywhere(Image(world), cold_start, check_tpm, bounded(8, 200)));
}

Status commits(World& world) {
  Session session(world);
  SR_TRY(session.open());
  SR_TRY(session.set("k0", std::string(1500, 'a')));
  SR_TRY(session.set("k1", "witnessed", Durability::kWitnessed));  // a new epoch, of 4
  SR_TRY(session.remove("k2"));
  SR_TRY(session.increment("tokens", -5));
  world.clock.advance(70'000);  // the next commit carries a stamp
  SR_TRY(session.batch({{"k3", std::nullopt}, {"b1", std::string(700, 'b')}, {"b2", "2"}},
                       Durability::kWitnessed));
  SR_TRY(session.set("k4", "4", Durability::kWitnessed));
  SR_TRY(session.set("k1", "5"));
  SR_TRY(session.engine().anchor());
  return session.close();
}

TEST_F(TpmCrash, Commits) {
  TpmWorld world;
  finish("warm start, commits, anchors, close",
         cut_everywhere(small_tpm_store(world), commits, check_tpm, kStates));
}

TEST_F(TpmCrash, CommitsWithoutReservedSpace) {
  TpmWorld world;
  world.options = [] {
    EngineOptions options = tpm_options();
    options.reserve_bytes = 0;
    options.tamper_capacity = 4;
    return options;
  };
  finish("the same without reserved space, small tamper file",
         cut_everywhere(small_tpm_store(world), commits, check_tpm, kStates));
}

TEST_F(TpmCrash, Compaction) {
  TpmWorld world;
  const Image image = small_tpm_store(world);
  const auto act = [](World& now) {
    Session session(now);
    SR_TRY(session.open());
    SR_TRY(session.set("k0", std::string(3000, 'a')));
    SR_TRY(session.engine().compact());
    SR_TRY(session.set("k1", "between", Durability::kWitnessed));
    SR_TRY(session.remove("k2"));
    SR_TRY(session.engine().compact());
    SR_TRY(session.set("k3", "after", Durability::kWitnessed));
    return session.close();
  };
  finish("compaction", cut_everywhere(image, act, check_tpm, kStates));
}

TEST_F(TpmCrash, PasswordChange) {
  TpmWorld world;
  const Image image = small_tpm_store(world);
  bool acknowledged = false;
  const auto act = [&acknowledged](World& now) {
    acknowledged = false;
    Session session(now);
    SR_TRY(session.open());
    SR_TRY(Passwords(session.engine()).change(as_bytes("backup"), SecretBytes(as_bytes("second"))).status());
    acknowledged = true;
    SR_TRY(session.set("k0", "later"));
    return session.close();
  };
  const auto check = [&acknowledged](Tally& tally, World& after, const std::string& where) {
    if (!check_tpm(tally, after, where)) return false;
    Session session(after);
    if (!expect_clean(tally, session.open(), where, "third open")) return false;
    const bool is_new = Passwords(session.engine()).verify(as_bytes("second")).ok();
    const bool is_old = Passwords(session.engine()).verify(as_bytes("backup")).ok();
    if (is_new == is_old || (acknowledged && is_old)) {
      fault(tally, &Tally::lost, where, "the password slot is neither as before nor as after");
      return false;
    }
    return true;
  };
  finish("password change", cut_everywhere(image, act, check, kStates));
}

// --- Faults ---

// A life with everything in it; errors do not stop it.
Status life(World& world) {
  Session session(world);
  SR_TRY(session.open());
  Status first;
  const auto keep = [&first](const Status& status) {
    if (first.ok()) first = status;
  };
  keep(session.set("k0", std::string(900, 'a')));
  keep(session.batch({{"k1", "batch"}, {"k2", std::nullopt}, {"b", "batch"}}, Durability::kWitnessed));
  keep(Passwords(session.engine()).change(as_bytes("backup"), SecretBytes(as_bytes("backup"))).status());
  keep(session.increment("tokens", -1));
  keep(session.set("k1", "witnessed", Durability::kWitnessed));
  keep(session.engine().compact());
  keep(session.set("k1", "after the compaction", Durability::kWitnessed));
  keep(session.remove("k0"));
  keep(session.close());
  return first;
}

std::function<EngineOptions()> small_files() {
  return [] {
    EngineOptions options = tpm_options();
    options.tamper_capacity = 8;
    return options;
  };
}

void check_everywhere(Tally& tally, World& world, const std::string& where, std::size_t states_max) {
  ++tally.cuts;
  {
    const std::unique_ptr<World> next = Image(world).start();
    check_tpm(tally, *next, where + ", opened again");
  }
  for (const CrashState& state : world.disk->crash_states(states_max)) {
    ++tally.states;
    check_tpm(tally, *after_crash(world, state), where + ", then the power was cut: " + state.description);
  }
}

TEST_F(TpmCrash, EveryTpmCallFails) {
  TpmWorld world;
  world.options = small_files();
  const Image image = small_tpm_store(world);
  const Image nothing{*std::make_unique<TpmWorld>()};
  std::set<std::string> reasons;
  for (const bool cold : {false, true}) {
    for (const bool sticky : {false, true}) {
      Tally tally;
      const Act act = cold ? Act(cold_start) : Act(life);
      const Image& from = cold ? nothing : image;
      std::uint64_t calls = 0;
      {
        const std::unique_ptr<World> now = from.start();
        ASSERT_OK(act(*now));
        calls = now->chip->calls();
      }
      for (std::uint64_t number = 1; number <= calls; ++number) {
        for (const When when : {When::kBefore, When::kAfter}) {
          const std::unique_ptr<World> now = from.start();
          now->chip->fail_at(number, when, sticky);
          const Status status = act(*now);
          const std::string where =
              "TPM call " + std::to_string(number) + " '" + now->chip->call_log()[number - 1] + "' failed " +
              (when == When::kBefore ? "before" : "after") + (sticky ? " for good" : "");
          if (!status.ok()) reasons.insert(std::string(error_info(status.error().reason).reason));
          if (is_alarm(status)) fault(tally, &Tally::false_alarms, where, describe(status));
          now->chip->clear_faults();
          check_everywhere(tally, *now, where, bounded(4, 60));
          if (tally.faults() > 100) break;
        }
      }
      finish(std::string(cold ? "cold start" : "life") + ", each TPM call fails " +
                 (sticky ? "for good" : "once"),
             tally, "tpm fault");
    }
  }
  for (const std::string& reason : reasons) {
    EXPECT_TRUE(reason == "tpm-unavailable" || reason == "witness-not-moved") << reason;
  }
}

TEST_F(TpmCrash, EveryDiskCallFails) {
  TpmWorld world;
  world.options = small_files();
  const Image image = small_tpm_store(world);
  for (const Reason reason : {Reason::kIoError, Reason::kNoSpace}) {
    for (const bool sticky : {false, true}) {
      Tally tally;
      std::set<std::string> reasons;
      std::uint64_t calls = 0;
      {
        const std::unique_ptr<World> now = image.start();
        ASSERT_OK(life(*now));
        calls = now->disk->calls();
      }
      for (std::uint64_t number = 1; number <= calls; number += short_campaign() ? 7 : 1) {
        for (const bool partial : {true, false}) {
          const std::unique_ptr<World> now = image.start();
          now->disk->fail_at(number, {.reason = reason, .sticky = sticky, .partial = partial});
          const Status status = life(*now);
          if (!status.ok()) reasons.insert(std::string(error_info(status.error().reason).reason));
          const std::string where = std::string("failed ") + (partial ? "partly" : "wholly") + " at '" +
                                    now->disk->call_log()[number - 1] + "'";
          if (is_alarm(status)) fault(tally, &Tally::false_alarms, where, describe(status));
          now->disk->clear_faults();
          check_everywhere(tally, *now, where, bounded(4, 60));
          if (tally.faults() > 100) break;
        }
      }
      std::string name = reason == Reason::kIoError ? "EIO" : "ENOSPC";
      name += sticky ? " from a call on," : " at one call,";
      for (const std::string& told : reasons) name += " " + told;
      finish(name, tally, "tpm fault");
    }
  }
}

// What the process leaves that is killed in its life(): at a call of the disk, or before or after one of the TPM.
std::pair<std::unique_ptr<World>, std::string> killed_at(const Image& image, std::uint64_t number,
                                                         std::uint64_t disk_calls) {
  std::unique_ptr<World> now = image.start();
  std::string where;
  if (number <= disk_calls) {
    now->disk->fail_at(number, {.sticky = true, .partial = false});
    now->killed_at = number;
    life(*now).ignore("killed");
    where = "killed at '" + now->disk->call_log()[number - 1] + "'";
  } else {
    now->cut_kills = true;
    const std::uint64_t call = (number - disk_calls + 1) / 2;
    now->chip->power_cut_at(call, number % 2 == 0 ? When::kBefore : When::kAfter);
    life(*now).ignore("killed");
    where = "killed at TPM call " + std::to_string(call) + " '" + now->chip->call_log()[call - 1] + "'";
  }
  now->disk->clear_faults();
  now->chip->clear_faults();
  now->killed_at = UINT64_MAX;
  now->clock.advance(5000);
  return std::pair(std::move(now), where);
}

// The process is killed at a call of the disk or the TPM; the next one starts on what is visible, and the power is cut in
// that next life.
TEST_F(TpmCrash, KilledAndThenAPowerCut) {
  TpmWorld world;
  world.options = small_files();
  const Image image = small_tpm_store(world);
  const std::uint64_t step = long_campaign() ? 1 : short_campaign() ? 29 : 5;
  Tally tally;
  std::uint64_t disk_calls = 0;
  std::uint64_t tpm_calls = 0;
  {
    const std::unique_ptr<World> now = image.start();
    ASSERT_OK(life(*now));
    disk_calls = now->disk->calls();
    tpm_calls = now->chip->calls();
  }
  const auto next_life = [&](World& now, const std::string& where) {
    Session session(now);
    const Status opened = session.open();
    if (opened.ok()) {
      session.set("next", "life").ignore("the power may be cut");
      session.set("witnessed", "life", Durability::kWitnessed).ignore("the power may be cut");
    } else if (!now.disk->power_is_cut()) {
      expect_clean(tally, opened, where, "the next life");
    }
  };
  for (std::uint64_t number = 1; number <= disk_calls + 2 * tpm_calls; ++number) {
    std::uint64_t restart_disk = 0;
    std::uint64_t restart_tpm = 0;
    {
      auto [now, where] = killed_at(image, number, disk_calls);
      restart_disk = now->disk->calls();
      restart_tpm = now->chip->calls();
      next_life(*now, where);
      restart_disk = now->disk->calls() - restart_disk;
      restart_tpm = now->chip->calls() - restart_tpm;
    }
    for (std::uint64_t cut = number % step + 1; cut <= restart_disk + restart_tpm; cut += step) {
      auto [now, where] = killed_at(image, number, disk_calls);
      now->cut_kills = false;
      if (cut <= restart_disk) {
        now->disk->power_cut_at(now->disk->calls() + cut);
      } else {
        now->chip->power_cut_at(now->chip->calls() + cut - restart_disk,
                                cut % 2 == 0 ? When::kBefore : When::kAfter);
      }
      next_life(*now, where);
      ++tally.cuts;
      for (const CrashState& state : now->disk->crash_states(bounded(3, 40))) {
        ++tally.states;
        check_tpm(tally, *after_crash(*now, state),
                  where + ", then cut at " + std::to_string(cut) + ", " + state.description);
      }
    }
    if (tally.faults() > 100) break;
  }
  finish("killed, then a power cut", tally, "tpm fault");
}

}  // namespace
}  // namespace strongroom::store::testing
