// Administrative operations on a store with a TPM, cut at every call of the disk and the TPM: the refusal after a cut is one
// from before, and the same operation with the same credential completes.
#include "store/operations/removal.h"
#include "store/start/start.h"
#include "tpm_crash_fixture.h"

namespace strongroom::store::testing {
namespace {

class TpmCrashActs : public TpmCrash {};

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
  Credential credential(World& /*world*/, Purpose /*purpose*/) const { return password_proof("backup"); }
};
struct ByToken {
  VendorKey vendor;
  EngineOptions options() const {
    EngineOptions options = tpm_options();
    options.vendor_public_key = vendor.public_key();
    return options;
  }
  Credential credential(World& world, Purpose purpose) const {
    const std::unique_ptr<World> looked_at = Image(world).start();
    return token_proof(tpm_token(vendor, *looked_at, purpose));
  }
};

Credential copy_of(const Credential& credential) {
  return Credential{credential.password.clone(), credential.permit};
}

// `spoil` makes what the authority is to accept of a small store.
template <typename Authority>
Tally act_everywhere(const Authority& authority, Purpose purpose, const std::function<void(World&)>& spoil,
                     std::vector<Reason> before) {
  TpmWorld world;
  world.options = [&authority] { return authority.options(); };
  small_tpm_store(world);
  spoil(world);
  const Image image(world);
  const auto credential = std::make_shared<Credential>(authority.credential(world, purpose));
  const Act act = [credential, purpose](World& now) {
    return purpose == Purpose::kReanchor ? reanchor_tpm(now, copy_of(*credential))
                                         : reseal_tpm(now, copy_of(*credential));
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
                                                        const Credential credential =
                                                            authority.credential(world, Purpose::kReseal);
                                                        ASSERT_OK(reseal_tpm(world, copy_of(credential)));
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

TEST_F(TpmCrashActs, ActsByPassword) {
  every_act<ByPassword>("password", [](const std::string& name, const Tally& tally) { finish(name, tally); });
}
TEST_F(TpmCrashActs, ActsByToken) {
  every_act<ByToken>("token", [](const std::string& name, const Tally& tally) { finish(name, tally); });
}

// An act over a tamper file whose last append a crash had torn: what the act names is no word of the counter for that file.
void tear_tamper_file(World& world) {
  for (std::uint64_t ahead = 1; ahead < 30; ++ahead) {
    const std::unique_ptr<World> trial = Image(world).start();
    Session session(*trial);
    ASSERT_OK(session.open());
    ASSERT_OK(session.set("k0", "journal"));
    trial->disk->fail_at(trial->disk->calls() + ahead, {.sticky = true});
    session.engine().anchor().ignore("it fails");
    trial->disk->clear_faults();
    const std::string last = trial->disk->call_log().back();
    if (last.find("write /srv/store/tmtmp.bin") == std::string::npos) continue;
    world.disk = trial->disk->clone();
    world.chip = trial->chip->clone();
    world.ledger = trial->ledger;
    return;
  }
  FAIL() << "no append was torn";
}

TEST_F(TpmCrashActs, ActsOverATornTamperFile) {
  const ByPassword authority;
  finish("reanchor after the counter was undefined, torn tamper file",
         act_everywhere(authority, Purpose::kReanchor,
                        [](World& world) {
                          tear_tamper_file(world);
                          world.chip->undefine(counter_index_of(world));
                        },
                        {Reason::kWitnessMissing, Reason::kWitnessReplaced, Reason::kTpmRefused}));
  finish("reseal to another TPM, torn tamper file",
         act_everywhere(authority, Purpose::kReseal,
                        [](World& world) {
                          tear_tamper_file(world);
                          world.chip = std::make_shared<SimulatedChip>();
                        },
                        {Reason::kTpmReplaced, Reason::kWitnessMissing, Reason::kTpmRefused}));
  finish("reseal to other PCRs, torn tamper file",
         act_everywhere(authority, Purpose::kReseal,
                        [&](World& world) {
                          const auto options = world.options;
                          world.options = [options] {
                            EngineOptions out = options();
                            out.tpm.pcrs = 1U << 7;
                            return out;
                          };
                          world.chip->lock_out(true);
                          ASSERT_OK(reseal_tpm(world, password_proof("backup")));
                          world.chip->lock_out(false);
                          world.options = options;
                          tear_tamper_file(world);
                          world.chip->extend_pcr(7);
                        },
                        {Reason::kTpmPcrChanged}));
}

Status decommission(World& world, const Credential& credential) {
  Session session(world);
  Engine& engine = session.engine();
  SR_ASSIGN(const StartupState startup, Start(engine).determine_startup_state());
  if (startup == StartupState::kColdstart) return {};
  SR_TRY(Start(engine).setup_persistence_files());
  if (Start(engine).initialize_warmstart().ok()) SR_TRY(Start(engine).create_and_load_vault());
  return Removal(engine).decommission(credential);
}

template <typename Authority>
Tally decommission_everywhere(const Authority& authority) {
  TpmWorld world;
  world.options = [&authority] { return authority.options(); };
  small_tpm_store(world);
  const Credential credential = authority.credential(world, Purpose::kDecommission);
  const Image image(world);
  const Act act = [&credential](World& now) { return decommission(now, copy_of(credential)); };
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

// Once only the file that says so is left, nothing is left that a credential could protect.
TEST_F(TpmCrashActs, ADecommissionWithoutItsTpmEndsByItself) {
  TpmWorld world;
  world.options = [] {
    EngineOptions options = tpm_options();
    options.removal = options.allow_leftovers = true;
    return options;
  };
  small_tpm_store(world);
  std::size_t last_met = 0;
  const Act act = [](World& now) {
    now.chip->unplug(true);
    return decommission(now, password_proof("backup"));
  };
  const auto check = [&](Tally& tally, World& after, const std::string& where) {
    after.chip->unplug(true);
    const Files files = files_of(*after.disk);
    const auto file = files.find(kPersistencePath);
    const bool is_last = file != files.end() && parse_persistence(file->second)->front().header.state ==
                                                    ProvisionState::kRemovingRoot;
    last_met += is_last ? 1U : 0U;
    ++tally.repeated;
    const Status again = is_last ? decommission(after, {}) : act(after);
    return expect_clean(tally, again, where, "decommission repeated");
  };
  finish("decommission without its TPM", cut_everywhere(Image(world), act, check, kStates));
  EXPECT_GT(last_met, 0U);
}

TEST_F(TpmCrashActs, Decommission) {
  finish("decommission by password", decommission_everywhere(ByPassword()));
  finish("decommission by token", decommission_everywhere(ByToken()));
}

}  // namespace
}  // namespace strongroom::store::testing
