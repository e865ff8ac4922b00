// Power cuts: every mutating call of everything that a store does is cut once, in every state (up to a bound) that
// un-synced data may then have. The next start is clean or completes; nothing acknowledged is lost, no fault looks
// like an attack. STRONGROOM_LONG=1 raises the bound.
#include <openssl/evp.h>

#include "hooked_files.h"
#include "reliability_fixture.h"
#include "store/operations/passwords.h"
#include "store/operations/reanchoring.h"
#include "store/operations/removal.h"
#include "store/operations/root_recovery.h"
#include "store/start/start.h"
#include "vendor_key.h"

namespace strongroom::store::testing {
namespace {

using log::Durability;

class Crash : public ::testing::Test {
 protected:
  // A cleanly closed store with a few records.
  static Image small_store(World& world) {
    Session session(world);
    EXPECT_TRUE(session.open().ok());
    for (int i = 0; i < 4; ++i) {
      EXPECT_TRUE(session.set("k" + std::to_string(i), "value " + std::to_string(i)).ok());
    }
    EXPECT_TRUE(session.increment("tokens", 100).ok());
    EXPECT_TRUE(session.close().ok());
    world.clock.advance(1000);
    return Image(world);
  }
  static void finish(const char* name, const Tally& tally) {
    tally.print("crash", name);
    EXPECT_EQ(tally.false_alarms, 0U);
    EXPECT_EQ(tally.lost, 0U);
    EXPECT_EQ(tally.refused, 0U);
    EXPECT_GT(tally.states, tally.cuts / 2);
  }
};

std::function<EngineOptions()> with_password(const std::string& password) {
  return [password] { return store_options(password); };
}

Status cold_start(World& world) {
  Session session(world);
  SR_TRY(session.open());
  SR_TRY(session.set("first", "1"));
  return session.close();
}

TEST_F(Crash, Coldstart) {
  World world;
  finish("cold start", cut_everywhere(Image(world), cold_start, check_opens, kStates));
}

TEST_F(Crash, ColdstartWithPassword) {
  World world;
  world.options = with_password("backup");
  const auto check = [](Tally& tally, World& after, const std::string& where) {
    if (!check_opens(tally, after, where)) return false;
    Session session(after);
    return expect_clean(tally, session.open(), where, "third open") &&
           expect_clean(tally, Passwords(session.engine()).verify(as_bytes("backup")).status(), where,
                        "password");
  };
  finish("cold start with password", cut_everywhere(Image(world), cold_start, check, kStates));
}

Status commits(World& world) {
  Session session(world);
  SR_TRY(session.open());
  SR_TRY(session.set("k0", std::string(1500, 'a')));
  SR_TRY(session.set("k1", "witnessed", Durability::kWitnessed));
  SR_TRY(session.remove("k2"));
  SR_TRY(session.increment("tokens", -5));
  world.clock.advance(70'000);  // the next commit carries a stamp
  SR_TRY(session.batch({{"k3", std::nullopt}, {"b1", std::string(700, 'b')}, {"b2", "2"}, {"b3", ""}}));
  SR_TRY(session.batch({{"b1", std::nullopt}, {"k4", "4"}}, Durability::kWitnessed));
  SR_TRY(session.engine().anchor());
  return session.close();
}

TEST_F(Crash, Commits) {
  World world;
  finish("warm start, commits, close", cut_everywhere(small_store(world), commits, check_opens, kStates));
}

TEST_F(Crash, CommitsWithoutReservedSpace) {
  World world;
  world.options = [] {
    EngineOptions options = store_options();
    options.reserve_bytes = 0;
    options.tamper_capacity = 4;  // the tamper file is replaced again and again
    return options;
  };
  finish("the same without reserved space, small tamper file",
         cut_everywhere(small_store(world), commits, check_opens, kStates));
}

Status compactions(World& world) {
  Session session(world);
  SR_TRY(session.open());
  SR_TRY(session.set("k0", std::string(3000, 'a')));
  SR_TRY(session.engine().compact());
  SR_TRY(session.set("k1", "between"));
  SR_TRY(session.remove("k2"));
  SR_TRY(session.engine().compact());
  SR_TRY(session.set("k3", "after", Durability::kWitnessed));
  return session.close();
}

TEST_F(Crash, Compaction) {
  World world;
  finish("compaction", cut_everywhere(small_store(world), compactions, check_opens, kStates));
}

// Commits at two places inside of compaction: when the new file is made, and before it is synced.
TEST_F(Crash, CompactionWithCommitsBetweenItsPhases) {
  World world;
  const Image image = small_store(world);
  std::size_t hooks_run = 0;
  const auto act = [&hooks_run](World& now) {
    HookedFiles files(*now.disk, "vault.bin.new");
    Opened opened(files, now.clock, now.options());
    int round = 0;
    const auto commit = [&](const std::string& key) {
      const std::string value = "inside " + std::to_string(++round);
      const log::Completion done =
          opened.set(key, value, round % 2 == 0 ? Durability::kWitnessed : Durability::kJournal);
      if (done.status.ok()) {
        now.ledger.acknowledged({{key, value}});
      } else {
        now.ledger.uncertain({{key, value}});
      }
      ++hooks_run;
    };
    SR_TRY(opened.open());
    files.on_create = [&] {
      commit("k0");
      commit("new");
    };
    // Of the snapshot, and of what was copied beside the writer: what is committed there is copied at the publishing.
    files.syncs_hooked = 2;
    files.on_sync = [&] {
      if (round < 6) commit("k1");
    };
    SR_TRY(opened->compact());
    files.on_create = files.on_sync = nullptr;
    commit("k2");
    return opened->close();
  };
  const Tally tally = cut_everywhere(image, act, check_opens, kStates);
  EXPECT_GT(hooks_run, met_at_least(100));
  finish("compaction with commits inside", tally);
}

TEST_F(Crash, WarmstartThatRepairsATornTail) {
  World world;
  const Image image = small_store(world);
  // A commit cut in the middle of its write.
  const std::unique_ptr<World> torn = image.start();
  {
    Session session(*torn);
    ASSERT_OK(session.open());
    torn->disk->fail_at(torn->disk->calls() + 1, {.sticky = true});  // half a frame, not taken back
    EXPECT_FALSE(session.set("torn", std::string(2000, 't')).ok());
  }
  torn->disk->clear_faults();
  bool repaired = false;
  const auto act = [&repaired](World& now) {
    Session session(now);
    SR_TRY(session.open());
    repaired |= session.engine().status().tail_repaired;
    SR_TRY(session.set("k0", "after the repair"));
    return session.close();
  };
  const Tally tally = cut_everywhere(Image(*torn), act, check_opens, kStates);
  EXPECT_TRUE(repaired);
  finish("warm start with tail repair", tally);
}

TEST_F(Crash, PasswordChange) {
  World world;
  world.options = with_password("first");
  const Image image = small_store(world);
  bool acknowledged = false;
  const auto act = [&acknowledged](World& now) {
    acknowledged = false;
    Session session(now);
    SR_TRY(session.open());
    SR_TRY(Passwords(session.engine()).change(as_bytes("first"), SecretBytes(as_bytes("second"))).status());
    acknowledged = true;
    SR_TRY(session.set("k0", "later"));
    return session.close();
  };
  const auto check = [&acknowledged](Tally& tally, World& after, const std::string& where) {
    if (!check_opens(tally, after, where)) return false;
    Session session(after);
    if (!expect_clean(tally, session.open(), where, "third open")) return false;
    const bool is_new = Passwords(session.engine()).verify(as_bytes("second")).ok();
    const bool is_old = Passwords(session.engine()).verify(as_bytes("first")).ok();
    if (is_new == is_old || (acknowledged && is_old)) {
      fault(tally, &Tally::lost, where, "the password slot is neither as before nor as after");
      return false;
    }
    return expect_clean(tally,
                        Passwords(session.engine())
                            .change(as_bytes(is_new ? "second" : "first"), SecretBytes(as_bytes("third")))
                            .status(),
                        where, "change again") &&
           expect_clean(tally, session.close(), where, "third close");
  };
  finish("password change", cut_everywhere(image, act, check, kStates));
}

TEST_F(Crash, PasswordAddedAndRemoved) {
  World world;
  world.options = with_password("first");
  const Image image = small_store(world);
  int acknowledged = 0;
  const auto act = [&acknowledged](World& now) {
    acknowledged = 0;
    Session session(now);
    SR_TRY(session.open());
    SR_TRY(Passwords(session.engine())
               .add(as_bytes("first"), SecretBytes(as_bytes("second")), "second safe")
               .status());
    acknowledged = 1;
    SR_TRY(Passwords(session.engine()).remove(as_bytes("second"), 2));
    acknowledged = 2;
    SR_TRY(session.set("k0", "later"));
    return session.close();
  };
  const auto check = [&acknowledged](Tally& tally, World& after, const std::string& where) {
    if (!check_opens(tally, after, where)) return false;
    Session session(after);
    if (!expect_clean(tally, session.open(), where, "third open")) return false;
    const bool first = Passwords(session.engine()).verify(as_bytes("first")).ok();
    const bool second = Passwords(session.engine()).verify(as_bytes("second")).ok();
    const bool lost = !first && !second;
    const bool forgotten = acknowledged > 0 && !second;
    const bool still_there = acknowledged > 1 && first;
    if (lost || forgotten || still_there) {
      fault(tally, &Tally::lost, where, "a password is not what was acknowledged");
      return false;
    }
    const auto added = Passwords(session.engine())
                           .add(as_bytes(second ? "second" : "first"), SecretBytes(as_bytes("third")), "");
    if (!expect_clean(tally, added.status(), where, "one more")) return false;
    if (*added <= (second ? 3U : 2U)) {
      fault(tally, &Tally::lost, where, "the id of a key slot was used again");
      return false;
    }
    return expect_clean(tally, session.close(), where, "third close");
  };
  finish("password added, another removed", cut_everywhere(image, act, check, kStates));
}

// Administrative operations. After a cut either the store is open to everyone, or the refusal is the one from before and
// the same operation with the same credential completes.

using MakeProof = std::function<Credential()>;

Check completes_or_repeats(Reason before, const Act& act, bool is_recover = false) {
  return [=](Tally& tally, World& after, const std::string& where) {
    Status status;
    {
      Session session(after);
      status = session.open();
    }
    if (!status.ok()) {
      // Half a commit behind a vault that a witness leads reads as damage instead of an old copy; both are 8003.
      const bool as_before =
          status.is(before) || (status.is(Reason::kVaultTampered) && before == Reason::kVaultRolledBack);
      if (!as_before) {
        fault(tally, is_alarm(status) ? &Tally::false_alarms : &Tally::refused, where,
              std::string(is_recover ? "after recover: " : "after reanchor: ") + describe(status));
        return false;
      }
      ++tally.repeated;
      if (!expect_clean(tally, act(after), where, "the act repeated")) return false;
    }
    return check_opens(tally, after, where);
  };
}

Act reanchor_act(const MakeProof& credential) {
  return [credential](World& world) {
    Session session(world);
    SR_TRY(steps_to_identified(session.engine()));
    SR_TRY(Reanchoring(session.engine()).reanchor(credential()));
    return session.close();
  };
}

// A store whose vault was restored from an older copy.
Image rolled_back(World& world) {
  {
    Session session(world);
    EXPECT_TRUE(session.open().ok());
    EXPECT_TRUE(session.set("k", "old").ok());
    EXPECT_TRUE(session.close().ok());
  }
  const Bytes old_vault = *world.disk->content("/srv/store/vault.bin");
  const Ledger old_ledger = world.ledger;
  {
    Session session(world);
    EXPECT_TRUE(session.open().ok());
    EXPECT_TRUE(session.set("k", "new").ok());
    EXPECT_TRUE(session.close().ok());
  }
  world.disk->set_content("/srv/store/vault.bin", old_vault);
  world.ledger = old_ledger;
  return Image(world);
}

TEST_F(Crash, ReanchorByPassword) {
  World world;
  world.options = with_password("backup");
  const Image image = rolled_back(world);
  const Act act = reanchor_act([] { return password_proof("backup"); });
  finish("reanchor by password",
         cut_everywhere(image, act, completes_or_repeats(Reason::kVaultRolledBack, act), kStates));
}

TEST_F(Crash, ReanchorByToken) {
  const VendorKey vendor;
  World world;
  world.options = [&vendor] {
    EngineOptions options = store_options();
    options.vendor_public_key = vendor.public_key();
    return options;
  };
  const Image image = rolled_back(world);
  const std::unique_ptr<World> looked_at = image.start();
  const Bytes token = vendor.permit_for(*looked_at, Purpose::kReanchor);
  const Act act = reanchor_act([token] { return Credential{SecretBytes(), token}; });
  const Check once = completes_or_repeats(Reason::kVaultRolledBack, act);
  finish("reanchor by token", cut_everywhere(image, act, once, kStates));

  // The repetition is cut too.
  Tally twice;
  for (std::uint64_t number = 3; number <= 12; number += short_campaign() ? 4 : 1) {
    const std::unique_ptr<World> cut = image.start();
    cut->disk->power_cut_at(number);
    act(*cut).ignore("the power was cut");
    for (const CrashState& state : cut->disk->crash_states(4)) {
      const std::unique_ptr<World> again = after_crash(*cut, state);
      again->ledger = image.ledger;
      Status as_it_is;
      {
        const std::unique_ptr<World> look = Image(*again).start();
        Session session(*look);
        as_it_is = session.open();
      }
      if (!as_it_is.ok()) twice += cut_everywhere(Image(*again), act, once, 6);
    }
  }
  finish("reanchor by token, cut twice", twice);
}

TEST_F(Crash, ReanchorAfterALostStamp) {
  World world;
  world.options = with_password("backup");
  small_store(world);
  world.disk->remove("/srv/secrets/acme.TimeTamper");
  const Image image(world);
  const Act act = reanchor_act([] { return password_proof("backup"); });
  finish("reanchor after a lost TimeTamper",
         cut_everywhere(image, act, completes_or_repeats(Reason::kWitnessMissing, act), kStates));
}

TEST_F(Crash, ReanchorAfterALostWitness) {
  World world;
  world.options = with_password("backup");
  small_store(world);
  world.disk->remove("/srv/secrets/acme.VaultHash");
  const Image image(world);
  const Act act = reanchor_act([] { return password_proof("backup"); });
  finish("reanchor after a lost VaultHash",
         cut_everywhere(image, act, completes_or_repeats(Reason::kWitnessMissing, act), kStates));
}

Act recover_act(const MakeProof& credential, std::string password) {
  return [credential, password = std::move(password)](World& world) {
    Session session(world);
    Engine& engine = session.engine();
    SR_TRY(Start(engine).determine_startup_state().status());
    SR_TRY(Start(engine).setup_persistence_files());
    SR_TRY(Start(engine).initialize_recovery(as_bytes(password)));
    SR_TRY(Start(engine).create_and_load_vault());
    SR_TRY(Start(engine).initialize_storage_identifier());
    SR_TRY(RootRecovery(engine).recover(credential()));
    return session.close();
  };
}

TEST_F(Crash, RecoverByPassword) {
  for (const bool all_lost : {true, false}) {
    World world;
    world.options = with_password("backup");
    small_store(world);
    world.disk->remove("/srv/secrets/acme.RootKey");
    if (all_lost) {
      world.disk->remove("/srv/secrets/acme.VaultHash");
      world.disk->remove("/srv/secrets/acme.TimeTamper");
    }
    const Image image(world);
    const Act act = recover_act([] { return password_proof("backup"); }, "backup");
    finish(all_lost ? "recover, the SecretStore lost" : "recover, the root lost",
           cut_everywhere(image, act, completes_or_repeats(Reason::kRootUnavailable, act, true), kStates));
  }
}

TEST_F(Crash, RecoverByToken) {
  const VendorKey vendor;
  World world;
  world.options = [&vendor] {
    EngineOptions options = store_options("backup");
    options.vendor_public_key = vendor.public_key();
    return options;
  };
  small_store(world);
  const Bytes token = vendor.permit_for(*Image(world).start(), Purpose::kRecover);
  for (const std::string& name : world.disk->list(kSecrets))
    world.disk->remove(std::string(kSecrets) + "/" + name);
  const Image image(world);
  const Act act = recover_act([token] { return Credential{SecretBytes(), token}; }, "backup");
  finish("recover by token",
         cut_everywhere(image, act, completes_or_repeats(Reason::kRootUnavailable, act, true), kStates));
}

// Decommission as the command does it: as far as the start goes, then the act. Done when there is no store.
Act decommission_act(const MakeProof& credential) {
  return [credential](World& world) -> Status {
    Session session(world);
    Engine& engine = session.engine();
    SR_ASSIGN(const StartupState startup, Start(engine).determine_startup_state());
    if (startup == StartupState::kColdstart) return {};
    SR_TRY(Start(engine).setup_persistence_files());
    if (Start(engine).initialize_warmstart().ok()) SR_TRY(Start(engine).create_and_load_vault());
    return Removal(engine).decommission(credential());
  };
}

void decommission_everywhere(const char* name, World& world, const MakeProof& credential) {
  const Image image(world);
  const Act act = decommission_act(credential);
  const auto check = [act](Tally& tally, World& after, const std::string& where) {
    ++tally.repeated;
    if (!expect_clean(tally, act(after), where, "decommission repeated")) return false;
    if (!after.disk->list(kSecrets).empty()) {
      fault(tally, &Tally::refused, where, "a secret is left");
      return false;
    }
    after.ledger.settle({});
    return check_opens(tally, after, where);
  };
  const Tally tally = cut_everywhere(image, act, check, kStates);
  tally.print("crash", name);
  EXPECT_EQ(tally.faults(), 0U);
}

TEST_F(Crash, DecommissionByPassword) {
  World world;
  world.options = with_password("backup");
  small_store(world);
  decommission_everywhere("decommission by password", world, [] { return password_proof("backup"); });
}

TEST_F(Crash, DecommissionByToken) {
  for (const bool password_slot : {false, true}) {
    const VendorKey vendor;
    World world;
    world.options = [&vendor, password_slot] {
      EngineOptions options = store_options(password_slot ? "backup" : "");
      options.vendor_public_key = vendor.public_key();
      return options;
    };
    small_store(world);
    const Bytes token = vendor.permit_for(*Image(world).start(), Purpose::kDecommission);
    decommission_everywhere(
        password_slot ? "decommission by token, with password slot" : "decommission by token", world,
        [token] {
          return Credential{SecretBytes(), token};
        });
  }
}

}  // namespace
}  // namespace strongroom::store::testing
