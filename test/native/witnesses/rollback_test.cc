// Files of an earlier time against the witnesses of now, files and secrets that are missing, and other stores' secrets.
// The one rule: a witness may lag; it may never lead, and it may never disagree.
#include "base/limits.h"
#include "hooked_files.h"
#include "reliability_fixture.h"
#include "store/operations/passwords.h"
#include "store/operations/removal.h"
#include "store/operations/verification.h"
#include "store/start/start.h"

namespace strongroom::store::testing {
namespace {

using log::Durability;

enum Subset : unsigned { kPersistence = 1, kVault = 2, kTamper = 4 };
constexpr const char* kPaths[] = {kPersistencePath, kVaultPath, kTamperPath};

std::string subset_text(unsigned subset) {
  std::string text;
  if ((subset & kPersistence) != 0) text += " persistence.bin";
  if ((subset & kVault) != 0) text += " vault.bin";
  if ((subset & kTamper) != 0) text += " tmtmp.bin";
  return text;
}

class Rollback : public ::testing::Test {
 protected:
  static EngineOptions options() {
    EngineOptions options = store_options("first");
    options.tamper_capacity = 16;
    return options;
  }

  Rollback() { world.options = options; }

  void take(const std::string& name) { checkpoints.emplace_back(name, files_of(*world.disk)); }

  // A history with a checkpoint of every kind.
  void live() {
    {
      Session session(world);
      ASSERT_OK(session.open());
      ASSERT_OK(session.close());
    }
    take("after cold start");
    {
      Session session(world);
      ASSERT_OK(session.open());
      for (int i = 0; i < 5; ++i) ASSERT_OK(session.set("k" + std::to_string(i), "1"));
      ASSERT_OK(session.close());
    }
    take("after commits");
    {
      Session session(world);
      ASSERT_OK(session.open());
      ASSERT_OK(session.set("k0", "2", Durability::kWitnessed));
      take("in the middle of a session, witnessed");
      ASSERT_OK(session.set("k1", "2"));
      take("in the middle of a session, not yet witnessed");
      ASSERT_OK(session.close());
    }
    take("before compaction");
    {
      Session session(world);
      ASSERT_OK(session.open());
      for (int i = 0; i < 20; ++i) ASSERT_OK(session.set("k2", std::to_string(i)));
      ASSERT_OK(session.engine().compact());
      take("after compaction, open");
      ASSERT_OK(session.set("k3", "3"));
      ASSERT_OK(session.close());
    }
    take("before the password change");
    {
      Session session(world);
      ASSERT_OK(session.open());
      ASSERT_OK(Passwords(session.engine()).change(as_bytes("first"), SecretBytes(as_bytes("second"))));
      take("after the password change, open");
      ASSERT_OK(Passwords(session.engine()).change(as_bytes("second"), SecretBytes(as_bytes("third"))));
      ASSERT_OK(session.close());
    }
    take("after two password changes");
    {
      Session session(world);
      ASSERT_OK(session.open());
      ASSERT_OK(session.set("k4", "now"));
      ASSERT_OK(session.engine().compact());
      ASSERT_OK(session.close());
    }
    now = files_of(*world.disk);
  }

  Status open_once(World& from, EngineStatus* told = nullptr, Contents* seen = nullptr) {
    Session session(from);
    const Status status = session.open();
    if (status.ok()) {
      if (told != nullptr) *told = session.engine().status();
      if (seen != nullptr) *seen = session.contents();
      EXPECT_TRUE(session.close().ok());
    }
    return status;
  }
  // Refused with this reason, and no file has changed.
  void expect_refused(World& from, Reason reason, const std::string& what) {
    const Files before = files_of(*from.disk);
    const Status status = open_once(from);
    if (status.ok()) ++undetected;
    EXPECT_TRUE(status.is(reason)) << what << ": " << describe(status);
    EXPECT_EQ(files_of(*from.disk), before) << what << ": the refused start changed a file";
  }

  std::size_t undetected = 0;
  World world;
  std::vector<std::pair<std::string, Files>> checkpoints;
  Files now;
};

TEST_F(Rollback, EverySubsetOfEveryEarlierCheckpoint) {
  live();
  std::size_t refused = 0;
  std::size_t lagging = 0;
  std::size_t same = 0;
  std::map<std::string, std::size_t> reasons;
  const Image image(world);
  for (const auto& [name, files] : checkpoints) {
    for (unsigned subset = 1; subset < 8; ++subset) {
      const std::unique_ptr<World> old = image.start();
      bool differs[3] = {};
      for (unsigned i = 0; i < 3; ++i) {
        if ((subset & (1U << i)) == 0) continue;
        old->disk->set_content(kPaths[i], files.at(kPaths[i]));
        differs[i] = files.at(kPaths[i]) != now.at(kPaths[i]);
      }
      const std::string what = name + ":" + subset_text(subset);
      if (differs[1]) {
        expect_refused(*old, Reason::kVaultRolledBack, what);
      } else if (differs[0]) {
        expect_refused(*old, Reason::kPersistenceRolledBack, what);
      } else {  // an older tmtmp.bin alone lags, also across a compaction
        ++(differs[2] ? lagging : same);
        EngineStatus told;
        Contents seen;
        ASSERT_OK(open_once(*old, &told, &seen));
        EXPECT_EQ(seen, image.ledger.newest()) << what;
        EXPECT_FALSE(told.tamper_file_anew) << what;
        ASSERT_OK(open_once(*old));
        continue;
      }
      ++refused;
      ++reasons[differs[1] ? "vault-rolled-back" : "persistence-rolled-back"];
    }
  }
  std::printf(
      "rollback: checkpoints=%zu subsets=7 refused=%zu accepted as lagging=%zu unchanged files=%zu "
      "undetected=%zu",
      checkpoints.size(), refused, lagging, same, undetected);
  for (const auto& [reason, count] : reasons) std::printf(" %s=%zu", reason.c_str(), count);
  std::printf("\n");
  EXPECT_GT(lagging, 5U);
  EXPECT_GT(reasons["persistence-rolled-back"], 10U);
}

// The tamper file does not help: removed, or edited to match, an older vault.bin is refused all the same.
TEST_F(Rollback, AnOlderVaultWithoutTamperFile) {
  live();
  const Image image(world);
  for (const auto& [name, files] : checkpoints) {
    const std::unique_ptr<World> old = image.start();
    old->disk->set_content(kVaultPath, files.at(kVaultPath));
    old->disk->remove(kTamperPath);
    expect_refused(*old, Reason::kVaultRolledBack, name);
  }
}

// The window of a `journal` commit, and that a `witnessed` one has none.
TEST_F(Rollback, TheWindowIsTheLag) {
  Session session(world);
  ASSERT_OK(session.open());
  ASSERT_OK(session.set("a", "witnessed", Durability::kWitnessed));
  const Files witnessed = files_of(*world.disk);
  ASSERT_OK(session.set("a", "journal"));
  EXPECT_EQ(session.engine().status().witnesses[1].lag_generations, 1U);
  Image image(world);
  {
    const std::unique_ptr<World> old = image.start();
    old->disk->set_content(kVaultPath, witnessed.at(kVaultPath));
    EXPECT_TRUE(open_once(*old)
                    .ok());  // back to the last witnessed checkpoint: not detectable, and the status says so
  }
  ASSERT_OK(session.set("b", "witnessed", Durability::kWitnessed));
  EXPECT_EQ(session.engine().status().witnesses[1].lag_generations, 0U);
  const std::unique_ptr<World> old = Image(world).start();
  old->disk->set_content(kVaultPath, witnessed.at(kVaultPath));
  expect_refused(*old, Reason::kVaultRolledBack, "a witnessed commit");
}

TEST_F(Rollback, ThePartialSets) {
  live();
  const Image image(world);
  for (unsigned missing = 1; missing < 7; ++missing) {
    const std::unique_ptr<World> partial = image.start();
    for (unsigned i = 0; i < 3; ++i) {
      if ((missing & (1U << i)) != 0) partial->disk->remove(kPaths[i]);
    }
    if (missing != kTamper) {
      expect_refused(*partial, Reason::kPartialRestore, "missing:" + subset_text(missing));
      continue;
    }
    EngineStatus told;
    Contents seen;
    ASSERT_OK(open_once(*partial, &told, &seen));
    EXPECT_TRUE(told.tamper_file_anew);
    EXPECT_EQ(seen, image.ledger.newest());
    Session session(*partial);
    ASSERT_OK(session.open());
    EXPECT_FALSE(session.engine().status().tamper_file_anew);
    const auto entries = Verification(session.engine()).audit_log(1000);
    ASSERT_OK(entries.status());
    EXPECT_TRUE(std::any_of(entries->begin(), entries->end(), [](const AuditEntry& entry) {
      return entry.kind == static_cast<std::uint8_t>(log::CommitKind::kTamperFileAnew);
    }));
  }
}

TEST_F(Rollback, EmptyFilesAreThereAndDamaged) {
  live();
  const Image image(world);
  const std::pair<const char*, Reason> expected[] = {{kPersistencePath, Reason::kPersistenceTampered},
                                                     {kVaultPath, Reason::kVaultTampered},
                                                     {kTamperPath, Reason::kTamperFileTampered}};
  for (const auto& [path, reason] : expected) {
    const std::unique_ptr<World> empty = image.start();
    empty->disk->set_content(path, {});
    expect_refused(*empty, reason, path);
  }
  const std::unique_ptr<World> all = image.start();
  for (const char* path : kPaths) all->disk->set_content(path, {});
  expect_refused(*all, Reason::kPersistenceTampered, "all empty");
}

TEST_F(Rollback, SecretStoreWithoutFilesIsNoNewTrial) {
  live();
  const Image image(world);
  {
    const std::unique_ptr<World> emptied = image.start();
    for (const char* path : kPaths) emptied->disk->remove(path);
    expect_refused(*emptied, Reason::kPartialRestore, "an emptied directory");
    EXPECT_EQ(emptied->disk->list(kStore), std::vector<std::string>{"lock"});
  }
  // Each leftover alone is enough.
  for (const char* kept : {kVaultHashPath, kTimeTamperPath, kRootKeyPath}) {
    const std::unique_ptr<World> emptied = image.start();
    put_files(*emptied->disk, {{kept, now.at(kept)}});
    expect_refused(*emptied, Reason::kPartialRestore, kept);
  }
  // Another directory with the same instance name.
  const std::unique_ptr<World> moved = image.start();
  moved->options = [] {
    EngineOptions elsewhere = options();
    elsewhere.directory = "/srv/elsewhere";
    return elsewhere;
  };
  expect_refused(*moved, Reason::kPartialRestore, "another directory");
  EXPECT_EQ(moved->disk->list("/srv/elsewhere"), std::vector<std::string>{});
  // Another instance name is another store.
  moved->options = [] {
    EngineOptions elsewhere = options();
    elsewhere.directory = "/srv/elsewhere";
    elsewhere.instance = "other";
    return elsewhere;
  };
  ASSERT_OK(open_once(*moved));
}

TEST_F(Rollback, SecretsRemovedOneByOne) {
  live();
  const Image image(world);
  constexpr const char* kSecretPaths[] = {kVaultHashPath, kTimeTamperPath, kRootKeyPath};
  for (unsigned missing = 1; missing < 8; ++missing) {
    const std::unique_ptr<World> lost = image.start();
    for (unsigned i = 0; i < 3; ++i) {
      if ((missing & (1U << i)) != 0) lost->disk->remove(kSecretPaths[i]);
    }
    expect_refused(*lost, (missing & 4U) != 0 ? Reason::kRootUnavailable : Reason::kWitnessMissing,
                   "missing secrets " + std::to_string(missing));
  }
}

TEST_F(Rollback, SecretStoreOfAnotherStore) {
  live();
  World other;
  other.options = options;
  ASSERT_OK(open_once(other));
  const Files others = files_of(*other.disk);
  for (unsigned which = 1; which < 8; ++which) {
    const std::unique_ptr<World> swapped = Image(world).start();
    constexpr const char* kSecretPaths[] = {kVaultHashPath, kTimeTamperPath, kRootKeyPath};
    for (unsigned i = 0; i < 3; ++i) {
      if ((which & (1U << i)) != 0) swapped->disk->set_content(kSecretPaths[i], others.at(kSecretPaths[i]));
    }
    expect_refused(*swapped, Reason::kWitnessReplaced, "another store's secrets " + std::to_string(which));
  }
}

// A persistence.bin from inside of the cold start says that provisioning is not over; the witnesses know better.
TEST_F(Rollback, PersistenceFileOfTheProvisioning) {
  Bytes provisioning;
  {
    HookedFiles files(*world.disk, "vault.bin.new");
    files.on_create = [&] { provisioning = *world.disk->content(kPersistencePath); };
    Opened opened(files, world.clock, options());
    ASSERT_OK(opened.open());
    ASSERT_OK(opened->close());
  }
  ASSERT_FALSE(provisioning.empty());
  const std::unique_ptr<World> old = Image(world).start();
  old->disk->set_content(kPersistencePath, provisioning);
  expect_refused(*old, Reason::kPartialRestore, "persistence.bin of the provisioning");
}

// An interrupted COLDSTART is gone on with under its own name only: its secrets stand under that one.
TEST_F(Rollback, AnInterruptedColdstartKeepsItsInstanceName) {
  Bytes provisioning;
  {
    HookedFiles files(*world.disk, "vault.bin.new");
    files.on_create = [&] { provisioning = *world.disk->content(kPersistencePath); };
    Opened opened(files, world.clock, options());
    ASSERT_OK(opened.open());
  }
  World cut;
  put_files(*cut.disk, {});
  cut.disk->make_directory(kStore);
  cut.disk->set_content(kPersistencePath, provisioning);
  cut.options = [] {
    EngineOptions renamed = options();
    renamed.instance = "other";
    return renamed;
  };
  expect_refused(cut, Reason::kInvalidOption, "another instance name");
  cut.options = options;
  ASSERT_OK(open_once(cut));
}

// What was found before the lock was taken may be another process's work by the time it is.
TEST_F(Rollback, AColdstartThatSomebodyElseCompletedMeanwhile) {
  HookedFiles files(*world.disk, "");
  bool once = true;
  files.on_lock = [&] {
    if (!std::exchange(once, false)) return;
    Session first(world);
    ASSERT_OK(first.open());
    ASSERT_OK(first.set("k", "1"));
    ASSERT_OK(first.close());
  };
  Opened late(files, world.clock, options());
  const Result<StartupState> startup = Start(*late).determine_startup_state();
  ASSERT_OK(startup);
  EXPECT_EQ(*startup, StartupState::kColdstart);
  ASSERT_OK(Start(*late).setup_persistence_files());
  EXPECT_EQ(late->status().startup, StartupState::kWarmstart);
  EXPECT_REASON(Start(*late).initialize_coldstart(), Reason::kStoreExists);
  ASSERT_OK(Start(*late).initialize_warmstart());
}

TEST_F(Rollback, WhatWasLeftOverIsAStoreByTheTimeItIsLocked) {
  world.disk->make_directory(kStore);
  world.disk->make_directory(kSecrets);
  const std::string left = std::string(kTamperPath) + ".new";
  world.disk->set_content(left, Bytes(8));
  HookedFiles files(*world.disk, "");
  bool once = true;
  files.on_lock = [&] {
    if (!std::exchange(once, false)) return;
    Session first(world);
    ASSERT_OK(first.open());
    ASSERT_OK(first.set("k", "1"));
    ASSERT_OK(first.close());
  };
  {
    Opened late(files, world.clock, options());
    EXPECT_REASON(Removal(*late).remove_leftovers(), Reason::kStoreExists);
  }
  EXPECT_FALSE(once);
  Opened store(*world.disk, world.clock, options());
  ASSERT_OK(store.open());
  EXPECT_EQ(store.get("k"), "1");
}

// What a frame names as synced holds also where VaultHash lags: below it damage in the tamper file is no torn append.
TEST_F(Rollback, FramesVouchForTheTamperFile) {
  live();
  {
    Session session(world);
    ASSERT_OK(session.open());
    ASSERT_OK(session.set("k0", "witnessed", Durability::kWitnessed));
    ASSERT_OK(session.set("k0", "journal"));  // names the commit before it
  }
  const Image image(world);
  const Bytes newest = *world.disk->content(kTamperPath);
  std::size_t end = newest.size();
  while (newest[end - 1] == 0) --end;
  const std::size_t entry =
      kTamperHeaderBytes + (end - 1 - kTamperHeaderBytes) / kTamperEntryBytes * kTamperEntryBytes;
  for (const bool lags : {false, true}) {
    const std::unique_ptr<World> damaged = image.start();
    Bytes edited = newest;
    edited[entry + 30] ^= 1;
    damaged->disk->set_content(kTamperPath, edited);
    if (lags) damaged->disk->set_content(kVaultHashPath, now.at(kVaultHashPath));
    expect_refused(*damaged, Reason::kTamperFileTampered, lags ? "VaultHash lags" : "VaultHash is current");
  }
}

// What was to be saved may stand there although the save failed: then it is no change from outside.
TEST_F(Rollback, ASaveThatFailedRaisesNoAlarm) {
  live();
  const Image image(world);
  std::size_t met = 0;
  for (std::uint64_t number = 1;; ++number) {
    const std::unique_ptr<World> next = image.start();
    Session session(*next);
    ASSERT_OK(session.open());
    next->disk->fail_at(next->disk->calls() + number, {.reason = Reason::kIoError});
    const Status failed = session.set("k0", "1", Durability::kWitnessed);
    next->disk->clear_faults();
    if (failed.ok()) break;
    if (!failed.is(Reason::kWitnessNotMoved)) continue;
    ++met;
    ASSERT_OK(session.set("k0", "2", Durability::kWitnessed));
    ASSERT_OK(session.engine().validate_before_write());
    ASSERT_OK(session.close());
  }
  EXPECT_GT(met, 3U);
}

// What a crash left of files that were to replace others is gone after the next start, and counts for nothing before.
TEST_F(Rollback, WhatAReplacementLeftIsNoFileOfTheStore) {
  live();
  const Image image(world);
  {
    const std::unique_ptr<World> left = image.start();
    const std::string fresh = std::string(kVaultPath) + ".new";
    left->disk->set_content(fresh, now.at(kVaultPath));
    ASSERT_OK(open_once(*left));
    EXPECT_FALSE(left->disk->content(fresh).has_value());
  }
  const std::unique_ptr<World> alone = image.start();
  alone->disk->set_content(std::string(kVaultPath) + ".new", now.at(kVaultPath));
  alone->disk->remove(kVaultPath);
  expect_refused(*alone, Reason::kPartialRestore, "vault.bin.new alone");
}

// Between the reading of the witnesses and their first move: what was put there then is not written over.
TEST_F(Rollback, AWitnessChangedDuringTheStartIsRefused) {
  live();
  const Bytes earlier = checkpoints.front().second.at(kVaultHashPath);
  for (const bool removed : {false, true}) {
    const std::unique_ptr<World> next = Image(world).start();
    Session session(*next);
    ASSERT_OK(steps_to_identified(session.engine()));
    ASSERT_OK(Start(session.engine()).validate_vault_integrity());
    ASSERT_OK(Start(session.engine()).validate_time_tamper_age());
    if (removed) {
      next->disk->remove(kVaultHashPath);
    } else {
      next->disk->set_content(kVaultHashPath, earlier);
    }
    EXPECT_REASON(Start(session.engine()).update_time_tamper(),
                  removed ? Reason::kWitnessMissing : Reason::kWitnessReplaced);
    EXPECT_EQ(next->disk->content(kVaultHashPath), removed ? std::nullopt : std::optional(earlier));
  }
}

// A snapshot keeps 1,024 witnessed checkpoints, and refuses to be read with more: neither a long session nor a long line of
// sessions may put more into one.
TEST_F(Rollback, MoreWitnessedCheckpointsThanASnapshotKeeps) {
  for (int round = 0; round < 2; ++round) {
    Session session(world);
    ASSERT_OK(session.open());
    for (std::size_t i = 0; i < limits::kWitnessedCheckpointsMax + 10; ++i)
      ASSERT_OK(session.set("k", std::to_string(i), Durability::kWitnessed));
    ASSERT_OK(session.engine().compact());
    ASSERT_OK(session.close());
  }
  for (int round = 0; round < 3; ++round) {
    Session session(world);
    ASSERT_OK(session.open());
    EXPECT_EQ(session.contents(), world.ledger.newest());
    ASSERT_OK(session.engine().compact());
    ASSERT_OK(session.close());
  }
}

// While the store is open: VaultHash is read before it is replaced.
TEST_F(Rollback, AWitnessChangedWhileOpenBlocksTheNextWrite) {
  Session session(world);
  ASSERT_OK(session.open());
  ASSERT_OK(session.set("a", "1", Durability::kWitnessed));
  const Bytes old = *world.disk->content(kVaultHashPath);
  ASSERT_OK(session.set("a", "2", Durability::kWitnessed));
  const Bytes current = *world.disk->content(kVaultHashPath);
  world.disk->set_content(kVaultHashPath, old);
  const Status waiting = session.set("a", "3", Durability::kWitnessed);
  EXPECT_REASON(waiting, Reason::kWitnessReplaced);
  EXPECT_TRUE(!waiting.ok() && waiting.error().outcome_unknown && !waiting.error().committed);
  EXPECT_REASON(session.engine().validate_before_write(), Reason::kWitnessReplaced);
  // It is known, so nothing more is written.
  const Status refused = session.set("b", "1");
  EXPECT_REASON(refused, Reason::kWitnessReplaced);
  EXPECT_FALSE(!refused.ok() && refused.error().outcome_unknown);
  EXPECT_EQ(*world.disk->content(kVaultHashPath), old);
  world.disk->set_content(kVaultHashPath, current);
  ASSERT_OK(session.engine().anchor());
  ASSERT_OK(session.engine().validate_before_write());
  ASSERT_OK(session.close());
}

}  // namespace
}  // namespace strongroom::store::testing
