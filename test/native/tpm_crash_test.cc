// Cuts and faults of a store whose root is in a TPM: the power, or the process, ends at every call of the disk and before
// and after the effect of every call of the TPM, in every state (up to a bound) that un-synced data may then have. The next
// start is clean or completes, nothing acknowledged is lost, no fault looks like an attack; and the files from before the
// last completed anchor are refused ever after. STRONGROOM_LONG=1 raises the bound.
#include <set>

#include "tpm_store_fixture.h"

namespace strongroom::store::testing {
namespace {

using log::Durability;
using When = SimulatedChip::When;

const std::size_t kStates = bounded(24, 600);

std::size_t rollbacks_refused = 0;

// The files that stood before an opening which ended well are refused.
bool refuses(Tally& tally, World& world, const Files& files, const std::string& where) {
  const Files now = files_of(*world.disk);
  put_files(*world.disk, files);
  Status status;
  {
    Session session(world);
    status = session.open();
  }
  put_files(*world.disk, now);
  ++rollbacks_refused;
  const bool as_attack = status.is(Reason::kVaultRolledBack) || status.is(Reason::kVaultTampered) ||
                         status.is(Reason::kPartialRestore);
  if (!as_attack) fault(tally, &Tally::lost, where, "the files of the cut came back: " + describe(status));
  return as_attack;
}

bool check_tpm(Tally& tally, World& world, const std::string& where) {
  const Files cut = files_of(*world.disk);
  if (!check_opens(tally, world, where)) return false;
  return cut.empty() || !cut.contains(kVaultPath) || refuses(tally, world, cut, where);
}

class TpmCrash : public ::testing::Test {
 protected:
  void SetUp() override { rollbacks_refused = 0; }
  static void finish(const std::string& name, const Tally& tally, const char* what = "tpm crash") {
    tally.print(what, name + ": rollbacks tried=" + std::to_string(rollbacks_refused));
    EXPECT_EQ(tally.false_alarms, 0U);
    EXPECT_EQ(tally.lost, 0U);
    EXPECT_EQ(tally.refused, 0U);
    EXPECT_GT(tally.states, tally.cuts / 2);
    rollbacks_refused = 0;
  }
};

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
    SR_TRY(session.engine().change_password(as_bytes("backup"), SecretBytes(as_bytes("second"))));
    acknowledged = true;
    SR_TRY(session.set("k0", "later"));
    return session.close();
  };
  const auto check = [&acknowledged](Tally& tally, World& after, const std::string& where) {
    if (!check_tpm(tally, after, where)) return false;
    Session session(after);
    if (!expect_clean(tally, session.open(), where, "third open")) return false;
    const bool is_new = session.engine().verify_password(as_bytes("second")).ok();
    const bool is_old = session.engine().verify_password(as_bytes("backup")).ok();
    if (is_new == is_old || (acknowledged && is_old)) {
      fault(tally, &Tally::lost, where, "the password slot is neither as before nor as after");
      return false;
    }
    return true;
  };
  finish("password change", cut_everywhere(image, act, check, kStates));
}

// --- Acts of authority: the refusal after a cut is one from before, and the same act with the same proof completes. ---

Check completes_or_repeats(std::vector<Reason> before, const Act& act) {
  return [=](Tally& tally, World& after, const std::string& where) {
    Status status;
    {
      Session session(after);
      status = session.open();
    }
    if (!status.ok()) {
      const bool as_before =
          std::any_of(before.begin(), before.end(), [&](Reason reason) { return status.is(reason); });
      if (!as_before) {
        fault(tally, is_alarm(status) ? &Tally::false_alarms : &Tally::refused, where,
              "after the act: " + describe(status));
        return false;
      }
      ++tally.repeated;
      if (!expect_clean(tally, act(after), where, "the act repeated")) return false;
    }
    return check_tpm(tally, after, where);
  };
}

struct ByPassword {
  EngineOptions options() const { return tpm_options(); }
  Proof proof(World& /*world*/, Purpose /*purpose*/) const { return password_proof("backup"); }
};
struct ByToken {
  VendorKey vendor;
  EngineOptions options() const {
    EngineOptions options = tpm_options();
    options.vendor_public_key = vendor.public_key();
    return options;
  }
  Proof proof(World& world, Purpose purpose) const {
    const std::unique_ptr<World> looked_at = Image(world).start();
    return token_proof(tpm_token(vendor, *looked_at, purpose));
  }
};

Proof copy_of(const Proof& proof) { return Proof{proof.password.clone(), proof.token}; }

// `spoil` makes what the authority is to accept of a small store.
template <typename Authority>
Tally act_everywhere(const Authority& authority, Purpose purpose, const std::function<void(World&)>& spoil,
                     std::vector<Reason> before) {
  TpmWorld world;
  world.options = [&authority] { return authority.options(); };
  small_tpm_store(world);
  spoil(world);
  const Image image(world);
  const auto proof = std::make_shared<Proof>(authority.proof(world, purpose));
  const Act act = [proof, purpose](World& now) {
    return purpose == Purpose::kReanchor ? reanchor_tpm(now, copy_of(*proof))
                                         : reseal_tpm(now, copy_of(*proof));
  };
  return cut_everywhere(image, act, completes_or_repeats(std::move(before), act), bounded(16, 400));
}

template <typename Authority>
void every_act(const char* who, const std::function<void(const std::string&, const Tally&)>& finish) {
  const Authority authority;
  const auto roll_back = [](World& world) {
    const Files old = files_of(*world.disk);
    ASSERT_OK(open_and_close(world));
    put_files(*world.disk, old);
  };
  const auto name = [who](const char* what) { return std::string(what) + " by " + who; };
  using R = Reason;
  finish(name("reanchor of all old files"),
         act_everywhere(authority, Purpose::kReanchor, roll_back, {R::kVaultRolledBack, R::kVaultTampered}));
  finish(name("reanchor after the counter was undefined"),
         act_everywhere(authority, Purpose::kReanchor,
                        [](World& world) { world.chip->undefine(counter_index_of(world)); },
                        {R::kWitnessMissing, R::kWitnessReplaced, R::kTpmRefused}));
  finish(name("reanchor after the clock"),
         act_everywhere(authority, Purpose::kReanchor,
                        [](World& world) { world.chip->advance(20ULL * 24 * 3600 * 1000); },
                        {R::kClockRolledBack}));
  finish(name("reseal to other PCRs"), act_everywhere(authority, Purpose::kReseal,
                                                      [&](World& world) {
                                                        // The store gets its PCRs by a first reseal; then they change.
                                                        const auto options = world.options;
                                                        world.options = [options] {
                                                          EngineOptions out = options();
                                                          out.tpm.pcrs = 1U << 7;
                                                          return out;
                                                        };
                                                        world.chip->lock_out(true);
                                                        const Proof proof =
                                                            authority.proof(world, Purpose::kReseal);
                                                        ASSERT_OK(reseal_tpm(world, copy_of(proof)));
                                                        world.chip->lock_out(false);
                                                        world.options = options;
                                                        ASSERT_OK(open_and_close(world));
                                                        world.chip->extend_pcr(7);
                                                      },
                                                      {R::kTpmPcrChanged}));
  finish(name("reseal to a cleared TPM"),
         act_everywhere(authority, Purpose::kReseal, [](World& world) { world.chip->clear(); },
                        {R::kTpmCleared, R::kWitnessMissing, R::kTpmRefused}));
  finish(name("reseal to another TPM"),
         act_everywhere(authority, Purpose::kReseal,
                        [](World& world) { world.chip = std::make_shared<SimulatedChip>(); },
                        {R::kTpmReplaced, R::kWitnessMissing, R::kTpmRefused}));
}

TEST_F(TpmCrash, ActsByPassword) {
  every_act<ByPassword>("password", [](const std::string& name, const Tally& tally) { finish(name, tally); });
}
TEST_F(TpmCrash, ActsByToken) {
  every_act<ByToken>("token", [](const std::string& name, const Tally& tally) { finish(name, tally); });
}

Status decommission(World& world, const Proof& proof) {
  Session session(world);
  Engine& engine = session.engine();
  SR_ASSIGN(const StartupState startup, engine.determine_startup_state());
  if (startup == StartupState::kColdstart) return {};
  SR_TRY(engine.setup_persistence_files());
  if (engine.initialize_warmstart().ok()) SR_TRY(engine.create_and_load_vault());
  return engine.decommission(proof);
}

template <typename Authority>
Tally decommission_everywhere(const Authority& authority) {
  TpmWorld world;
  world.options = [&authority] { return authority.options(); };
  small_tpm_store(world);
  const Proof proof = authority.proof(world, Purpose::kDecommission);
  const Image image(world);
  const Act act = [&proof](World& now) { return decommission(now, copy_of(proof)); };
  const auto check = [&act](Tally& tally, World& after, const std::string& where) {
    ++tally.repeated;
    if (!expect_clean(tally, act(after), where, "decommission repeated")) return false;
    if (!after.chip->indices().empty()) {
      fault(tally, &Tally::refused, where, "an index is left in the TPM");
      return false;
    }
    after.ledger.settle({});
    return check_tpm(tally, after, where);
  };
  return cut_everywhere(image, act, check, kStates);
}

TEST_F(TpmCrash, Decommission) {
  finish("decommission by password", decommission_everywhere(ByPassword()));
  finish("decommission by token", decommission_everywhere(ByToken()));
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
  keep(session.engine().change_password(as_bytes("backup"), SecretBytes(as_bytes("backup"))));
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
          now->disk->fail_at(number, reason, sticky, partial);
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
  const auto killed = [&](std::uint64_t number) {
    std::unique_ptr<World> now = image.start();
    std::string where;
    if (number <= disk_calls) {
      now->disk->fail_at(number, Reason::kIoError, true, false);
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
  };
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
      auto [now, where] = killed(number);
      restart_disk = now->disk->calls();
      restart_tpm = now->chip->calls();
      next_life(*now, where);
      restart_disk = now->disk->calls() - restart_disk;
      restart_tpm = now->chip->calls() - restart_tpm;
    }
    for (std::uint64_t cut = number % step + 1; cut <= restart_disk + restart_tpm; cut += step) {
      auto [now, where] = killed(number);
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
