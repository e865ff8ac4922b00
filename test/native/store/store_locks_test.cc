// What an opening for writing excludes: the same directory whatever became of its lock file, copies of the store that share
// its SecretStore, its TPM or its token, and nothing else.
#include "private_token.h"
#include "store/operations/removal.h"
#include "store/operations/root_recovery.h"
#include "store/operations/verification.h"
#include "store/start/start.h"
#include "tpm_store_fixture.h"

namespace strongroom::store::testing {
namespace {

using roots::testing::PrivateToken;

constexpr const char* kCopy = "/srv/copy";
constexpr const char* kBackupPassword = "backup";

void copy_directory(SimulatedDisk& disk, const std::string& from, const std::string& to) {
  disk.make_directory(to);
  for (const std::string& name : disk.list(from))
    disk.set_content(to + "/" + name, *disk.content(from + "/" + name));
}

Files files_in(const SimulatedDisk& disk, const std::string& directory) {
  Files files;
  for (const std::string& name : disk.list(directory)) files[name] = *disk.content(directory + "/" + name);
  return files;
}

EngineOptions at(EngineOptions options, const char* directory) {
  options.directory = directory;
  return options;
}
EngineOptions reading(EngineOptions options) {
  options.read_only = true;
  return options;
}

class LockTest : public ::testing::Test {
 protected:
  std::unique_ptr<Opened> store(EngineOptions options = store_options(kBackupPassword)) {
    return std::make_unique<Opened>(*disk_, clock_, std::move(options));
  }
  // Leaves the store open.
  std::unique_ptr<Opened> make_store(EngineOptions options = store_options(kBackupPassword)) {
    auto made = store(std::move(options));
    EXPECT_OK(made->open());
    EXPECT_OK(made->set("seats", "12").status);
    return made;
  }
  // Refused as locked, with the likely cause, and neither the directory nor the SecretStore has changed.
  void expect_locked(EngineOptions options) {
    const std::string directory = options.directory;
    const Files before = files_in(*disk_, directory);
    const Files secrets_before = files_in(*disk_, kSecrets);
    const auto second = store(std::move(options));
    const Status refused = second->open();
    EXPECT_REASON(refused, Reason::kLocked);
    if (refused.ok()) return;
    const std::string& detail = refused.error().detail;
    EXPECT_NE(detail.find("a copy of this store, or this store by another path, is open"), std::string::npos)
        << detail;
    EXPECT_NE(detail.find("process " + std::to_string(::getpid())), std::string::npos) << detail;
    Files after = files_in(*disk_, directory);
    if (!before.contains("lock")) after.erase("lock");
    after["lock"] = before.contains("lock") ? before.at("lock") : Bytes();
    Files expected = before;
    expected["lock"] = after["lock"];
    EXPECT_EQ(after, expected);
    EXPECT_EQ(files_in(*disk_, kSecrets), secrets_before);
  }
  // Goes on as if nothing had been, and so does its next start.
  void expect_unharmed(std::unique_ptr<Opened> original,
                       EngineOptions options = store_options(kBackupPassword)) {
    EXPECT_OK(original->set("seats", "11").status);
    EXPECT_OK((*original)->anchor());
    EXPECT_OK((*original)->validate_before_write());
    EXPECT_OK((*original)->close());
    const auto next = store(std::move(options));
    ASSERT_OK(next->open());
    EXPECT_EQ(next->get("seats"), "11");
    EXPECT_OK((*next)->close());
  }

  std::unique_ptr<SimulatedDisk> disk_ = make_disk();
  ManualClock clock_;
};

TEST_F(LockTest, TheLockFileRemovedFromUnderAWriterLetsNobodyIn) {
  auto original = make_store();
  for (int i = 0; i < 2; ++i) {
    disk_->remove(std::string(kStore) + "/lock");
    const Files before = files_in(*disk_, kStore);
    const auto second = store();
    EXPECT_REASON(second->open(), Reason::kLocked);
    EXPECT_EQ(files_in(*disk_, kStore), before);
  }
  expect_unharmed(std::move(original));
}

TEST_F(LockTest, ACopyIsRefusedWhileTheOriginalIsOpen) {
  auto original = make_store();
  copy_directory(*disk_, kStore, kCopy);
  expect_locked(at(store_options(kBackupPassword), kCopy));
  expect_unharmed(std::move(original));
}

TEST_F(LockTest, TheOriginalIsRefusedWhileACopyIsOpen) {
  ASSERT_OK((*make_store())->close());
  copy_directory(*disk_, kStore, kCopy);
  const auto copy = store(at(store_options(kBackupPassword), kCopy));
  ASSERT_OK(copy->open());
  expect_locked(store_options(kBackupPassword));
  ASSERT_OK((*copy)->close());
}

TEST_F(LockTest, ACopyIsRefusedWithoutAnyLockFile) {
  auto original = make_store();
  copy_directory(*disk_, kStore, kCopy);
  disk_->remove(std::string(kStore) + "/lock");
  disk_->remove(std::string(kSecrets) + "/acme.lock");
  const auto second = store(at(store_options(kBackupPassword), kCopy));
  EXPECT_REASON(second->open(), Reason::kLocked);
  expect_unharmed(std::move(original));
}

TEST_F(LockTest, WhatAnOpenStoreHasInTheTpmIsNotLeftOver) {
  TpmWorld world;
  world.disk->make_directory(kCopy);
  const auto remove = [&world] {
    Opened other(*world.disk, world.clock, at(world.engine_options(), kCopy));
    return Removal(*other).remove_leftovers();
  };
  Session original(world);
  ASSERT_OK(original.open());
  ASSERT_EQ(world.chip->indices().size(), 2U);
  EXPECT_REASON(remove(), Reason::kLocked);
  EXPECT_EQ(world.chip->indices().size(), 2U);
  ASSERT_OK(original.set("seats", "12"));
  ASSERT_OK(original.close());
  EXPECT_OK(remove());
  EXPECT_TRUE(world.chip->indices().empty());
}

// Whichever call to the TPM fails, the next attempt by the same process goes on.
TEST_F(LockTest, ARemovalOfLeftoversThatFailedHoldsNoLock) {
  constexpr std::uint64_t kCalls = 8;
  int failures = 0;
  for (std::uint64_t call = 1; call <= kCalls; ++call) {
    TpmWorld world;
    small_tpm_store(world);
    world.disk->make_directory(kCopy);
    Opened other(*world.disk, world.clock, at(world.engine_options(), kCopy));
    world.chip->fail_at(world.chip->calls() + call, SimulatedChip::When::kBefore);
    const Status removed = Removal(*other).remove_leftovers();
    world.chip->clear_faults();
    if (!removed.ok()) {
      ++failures;
      EXPECT_NE(removed.error().reason, Reason::kLocked);
      EXPECT_OK(Removal(*other).remove_leftovers());
    }
    EXPECT_TRUE(world.chip->indices().empty());
  }
  EXPECT_GT(failures, 0);
}

// The lock files are what is left.
TEST_F(LockTest, ASystemWithoutTheOtherLocksStillExcludes) {
  disk_->refuse_directory_locks();
  disk_->refuse_host_locks();
  auto original = make_store();
  copy_directory(*disk_, kStore, kCopy);
  expect_locked(at(store_options(kBackupPassword), kCopy));
  const auto second = store();
  EXPECT_REASON(second->open(), Reason::kLocked);
  expect_unharmed(std::move(original));
}

TEST_F(LockTest, EveryActOnACopyIsRefusedWhileTheOriginalIsOpen) {
  auto original = make_store();
  copy_directory(*disk_, kStore, kCopy);
  const auto begun = [&] {
    auto copy = store(at(store_options(kBackupPassword), kCopy));
    EXPECT_OK(Start(**copy).determine_startup_state().status());
    EXPECT_OK(Start(**copy).setup_persistence_files());
    return copy;
  };
  EXPECT_REASON(Start(**begun()).initialize_recovery(as_bytes(kBackupPassword)), Reason::kLocked);
  {
    const auto removed = begun();
    EXPECT_REASON(Start(**removed).initialize_warmstart(), Reason::kLocked);
    EXPECT_REASON(Removal(**removed).decommission(Credential{SecretBytes(as_bytes(kBackupPassword)), {}}),
                  Reason::kLocked);
  }
  // Where the root seems lost, too.
  const Bytes root = *disk_->content(std::string(kSecrets) + "/acme.RootKey");
  disk_->remove(std::string(kSecrets) + "/acme.RootKey");
  EXPECT_REASON(Start(**begun()).initialize_recovery(as_bytes(kBackupPassword)), Reason::kLocked);
  EXPECT_REASON(Removal(**begun()).decommission(Credential{SecretBytes(as_bytes(kBackupPassword)), {}}),
                Reason::kLocked);
  disk_->set_content(std::string(kSecrets) + "/acme.RootKey", root);
  expect_unharmed(std::move(original));
}

TEST_F(LockTest, ActsHoldTheLock) {
  ASSERT_OK((*make_store())->close());
  copy_directory(*disk_, kStore, kCopy);
  disk_->remove(std::string(kSecrets) + "/acme.RootKey");
  const auto recovering = store();
  ASSERT_OK(Start(**recovering).determine_startup_state().status());
  ASSERT_OK(Start(**recovering).setup_persistence_files());
  ASSERT_OK(Start(**recovering).initialize_recovery(as_bytes(kBackupPassword)));
  expect_locked(at(store_options(kBackupPassword), kCopy));
  ASSERT_OK(Start(**recovering).create_and_load_vault());
  ASSERT_OK(Start(**recovering).initialize_storage_identifier());
  ASSERT_OK(RootRecovery(**recovering).recover(Credential{SecretBytes(as_bytes(kBackupPassword)), {}}));
  ASSERT_OK((*recovering)->close());
}

TEST_F(LockTest, TwoFirstStartsOfOneInstanceExcludeEachOther) {
  const auto first = store();
  ASSERT_OK(Start(**first).determine_startup_state().status());
  ASSERT_OK(Start(**first).setup_persistence_files());
  ASSERT_OK(Start(**first).validate_coldstart_secret_store());
  const auto second = store(at(store_options(kBackupPassword), kCopy));
  const Status refused = second->open();
  EXPECT_REASON(refused, Reason::kLocked);
  EXPECT_NE(refused.error().detail.find("another store with the instance name 'acme'"), std::string::npos)
      << refused.error().detail;
  ASSERT_OK(Start(**first).initialize_coldstart());
  // From now on there is a better answer.
  const auto third = store(at(store_options(kBackupPassword), "/srv/third"));
  EXPECT_REASON(third->open(), Reason::kPartialRestore);
}

TEST_F(LockTest, ReadersNeedNoLockAndTakeNone) {
  auto original = make_store();
  ASSERT_OK((*original)->anchor());
  copy_directory(*disk_, kStore, kCopy);
  disk_->remove(std::string(kCopy) + "/lock");
  const std::uint64_t calls = disk_->calls();
  for (const char* directory : {kStore, kCopy}) {
    const auto reader = store(reading(at(store_options(kBackupPassword), directory)));
    ASSERT_OK(reader->open());
    EXPECT_EQ(reader->get("seats"), "12");
    EXPECT_OK(Verification(**reader).verify({}).status());
    EXPECT_OK((*reader)->close());
  }
  EXPECT_EQ(disk_->calls(), calls);
  expect_unharmed(std::move(original));
  // And beside a reader a writer opens.
  const auto reader = store(reading(store_options(kBackupPassword)));
  ASSERT_OK(reader->open());
  const auto writer = store();
  ASSERT_OK(writer->open());
}

TEST_F(LockTest, OtherStoresInTheSameSecretStoreAreOpenBesideIt) {
  auto first = make_store();
  EngineOptions other = at(store_options(kBackupPassword), "/srv/other");
  other.instance = "other";
  auto second = make_store(std::move(other));
  EXPECT_OK((*first)->close());
  EXPECT_OK((*second)->close());
}

// It shares nothing with the original.
TEST_F(LockTest, ACopyWithASecretStoreOfItsOwnIsOpenBesideTheOriginal) {
  auto original = make_store();
  ASSERT_OK((*original)->anchor());
  copy_directory(*disk_, kStore, kCopy);
  copy_directory(*disk_, kSecrets, "/srv/copied-secrets");
  EngineOptions options = at(store_options(kBackupPassword), kCopy);
  options.secret_store->directory = "/srv/copied-secrets";
  const auto copy = store(std::move(options));
  ASSERT_OK(copy->open());
  EXPECT_OK((*copy)->close());
  expect_unharmed(std::move(original));
}

TEST_F(LockTest, FilesThatWerePutBackWhileNothingWasOpenOpen) {
  ASSERT_OK((*make_store())->close());
  copy_directory(*disk_, kStore, kCopy);
  for (const std::string& name : disk_->list(kStore)) disk_->remove(std::string(kStore) + "/" + name);
  copy_directory(*disk_, kCopy, kStore);
  const auto restored = store();
  ASSERT_OK(restored->open());
  EXPECT_EQ(restored->get("seats"), "12");
  ASSERT_OK((*restored)->close());
}

// A crash, a refusal at each step, a close and a decommission leave nothing locked.
TEST_F(LockTest, NothingStaysLocked) {
  make_store().reset();
  for (int steps = 1; steps <= 3; ++steps) {
    const auto partly = store();
    ASSERT_OK(Start(**partly).determine_startup_state().status());
    if (steps > 1) ASSERT_OK(Start(**partly).setup_persistence_files());
    if (steps > 2) ASSERT_OK(Start(**partly).initialize_warmstart());
  }
  const auto closed = store();
  ASSERT_OK(closed->open());
  ASSERT_OK((*closed)->close());
  const auto gone = store();
  ASSERT_OK(Start(**gone).determine_startup_state().status());
  ASSERT_OK(Start(**gone).setup_persistence_files());
  ASSERT_OK(Start(**gone).initialize_warmstart());
  ASSERT_OK(Start(**gone).create_and_load_vault());
  ASSERT_OK(Removal(**gone).decommission(Credential{SecretBytes(as_bytes(kBackupPassword)), {}}));
  EXPECT_TRUE(disk_->list(kSecrets).empty());
  make_store(at(store_options(kBackupPassword), kCopy));
}

// What a drill asks before it writes.
TEST_F(LockTest, AStoreKnowsTheDirectoryInWhichItWasLastOpenedForWriting) {
  const auto written_here = [&](const char* directory) {
    const auto reader = store(reading(at(store_options(kBackupPassword), directory)));
    EXPECT_OK(reader->open());
    return (*reader)->status().last_written_here;
  };
  auto original = make_store();
  EXPECT_TRUE((*original)->status().last_written_here);
  ASSERT_OK((*original)->close());
  EXPECT_TRUE(written_here(kStore));
  copy_directory(*disk_, kStore, kCopy);
  EXPECT_FALSE(written_here(kCopy));
  EXPECT_TRUE(written_here(kStore));
  // From now on the copy is the store.
  const auto copy = store(at(store_options(kBackupPassword), kCopy));
  ASSERT_OK(copy->open());
  EXPECT_TRUE((*copy)->status().last_written_here);
  ASSERT_OK((*copy)->close());
  EXPECT_TRUE(written_here(kCopy));
}

class TpmLockTest : public TpmStoreTest {
 protected:
  EngineOptions copy_options() { return at(world.engine_options(), kCopy); }
  std::unique_ptr<Opened> opened(EngineOptions options) {
    return std::make_unique<Opened>(*world.disk, world.clock, std::move(options));
  }
};

TEST_F(TpmLockTest, ACopyIsRefusedWhileTheOriginalIsOpen) {
  Session original(world);
  ASSERT_OK(original.open());
  ASSERT_OK(original.set("seats", "12"));
  copy_directory(*world.disk, kStore, kCopy);
  const std::uint64_t value = world.chip->value();
  const auto begun = [&] {
    auto copy = opened(copy_options());
    EXPECT_OK(Start(**copy).determine_startup_state().status());
    EXPECT_OK(Start(**copy).setup_persistence_files());
    return copy;
  };
  const Status refused = Start(**begun()).initialize_warmstart();
  EXPECT_REASON(refused, Reason::kLocked);
  EXPECT_NE(refused.error().detail.find("a copy of this store"), std::string::npos);
  EXPECT_REASON(Start(**begun()).initialize_recovery(as_bytes(kBackupPassword)), Reason::kLocked);
  EXPECT_REASON(Removal(**begun()).decommission(Credential{SecretBytes(as_bytes(kBackupPassword)), {}}),
                Reason::kLocked);
  EXPECT_EQ(world.chip->value(), value);
  const auto reader = opened(reading(copy_options()));
  EXPECT_OK(reader->open());
  ASSERT_OK(original.engine().anchor());
  ASSERT_OK(original.engine().validate_before_write());
  ASSERT_OK(original.close());
  EXPECT_OK(open_status());
}

TEST_F(TpmLockTest, OtherStoresInTheSameTpmAreOpenBesideIt) {
  Session original(world);
  ASSERT_OK(original.open());
  EngineOptions options = at(world.engine_options(), "/srv/other");
  options.instance = "other";
  const auto other = opened(std::move(options));
  EXPECT_OK(other->open());
}

// Files and SecretStore were copied; only the token is shared.
TEST(TokenLockTest, ACopyWithASecretStoreOfItsOwnIsRefusedWhileTheOriginalIsOpen) {
  PrivateToken token;
  token.make("acme");
  const auto disk = make_disk();
  ManualClock clock;
  const auto options = [&] {
    EngineOptions options = store_options(kBackupPassword);
    options.protector = ProtectorType::kPkcs11;
    options.pkcs11.locator = token.locator("acme");
    options.pkcs11.pin = SecretBytes(as_bytes(PrivateToken::kPin));
    return options;
  };
  Opened original(*disk, clock, options());
  ASSERT_OK(original.open());
  copy_directory(*disk, kStore, kCopy);
  copy_directory(*disk, kSecrets, "/srv/copied-secrets");
  EngineOptions copied = at(options(), kCopy);
  copied.secret_store->directory = "/srv/copied-secrets";
  Opened copy(*disk, clock, std::move(copied));
  EXPECT_REASON(copy.open(), Reason::kLocked);
  ASSERT_OK(original.set("seats", "12").status);
  ASSERT_OK(original->anchor());
  ASSERT_OK(original->close());
  Opened next(*disk, clock, options());
  ASSERT_OK(next.open());
}

}  // namespace
}  // namespace strongroom::store::testing
