// The life of a store with key protector 'software': COLDSTART, commits, close, WARMSTART, administrative operations,
// compaction.
#include "base/limits.h"
#include "engine_fixture.h"
#include "store/operations/passwords.h"
#include "store/operations/reanchoring.h"
#include "store/operations/removal.h"
#include "store/operations/root_recovery.h"
#include "store/operations/verification.h"
#include "store/start/start.h"

namespace strongroom::store::testing {
namespace {

using os::testing::ManualClock;
using os::testing::SimulatedDisk;

class EngineTest : public ::testing::Test {
 protected:
  std::unique_ptr<SimulatedDisk> disk = make_disk();
  ManualClock clock;

  Opened make(std::string_view password = "") { return Opened(*disk, clock, store_options(password)); }
  void cold(std::string_view password = "") {
    Opened store = make(password);
    ASSERT_OK(store.open());
    ASSERT_OK(store.set("seats/cad", "12").status);
    ASSERT_OK(store->close());
  }
};

TEST_F(EngineTest, ColdstartThenWarmstart) {
  StorageId storage_id{};
  {
    Opened store = make();
    ASSERT_OK(store.open());
    EXPECT_EQ(store->status().startup, StartupState::kColdstart);
    storage_id = store->status().storage_id;
    ASSERT_OK(store.set("seats/cad", "12").status);
    ASSERT_OK(store.set("seats/cam", "").status);
    EXPECT_EQ(store.get("seats/cad"), "12");
    ASSERT_OK(store->close());
  }
  Opened store = make();
  ASSERT_OK(store.open());
  EXPECT_EQ(store->status().startup, StartupState::kWarmstart);
  EXPECT_EQ(store->status().storage_id, storage_id);
  EXPECT_FALSE(store->status().tail_repaired);
  EXPECT_EQ(store.get("seats/cad"), "12");
  EXPECT_EQ(store.get("seats/cam"), "");
  EXPECT_EQ(store.get("seats/none"), std::nullopt);
  ASSERT_OK(store->close());
  ASSERT_OK(store->close());
}

TEST_F(EngineTest, WhatIsFixedAtColdstartMustAgree) {
  cold();
  const auto opened_with = [this](const std::function<void(EngineOptions&)>& change) {
    EngineOptions options = store_options();
    change(options);
    return Opened(*disk, clock, std::move(options)).open();
  };
  EXPECT_REASON(opened_with([](EngineOptions& options) { options.instance = "other"; }),
                Reason::kInvalidOption);
  EXPECT_REASON(opened_with([](EngineOptions& options) { options.clock_tolerance_ms = 1; }),
                Reason::kInvalidOption);
  EXPECT_REASON(opened_with([](EngineOptions& options) { options.age_ms_max = 1; }), Reason::kInvalidOption);
  EXPECT_REASON(opened_with([](EngineOptions& options) { options.vendor_public_key.emplace(); }),
                Reason::kInvalidOption);
  EXPECT_REASON(opened_with([](EngineOptions& options) { options.protector = ProtectorType::kTpm; }),
                Reason::kInvalidOption);
  EXPECT_REASON(opened_with([](EngineOptions& options) { options.protector = ProtectorType::kPkcs11; }),
                Reason::kInvalidOption);
  ASSERT_OK(opened_with([](EngineOptions& options) { options.protector = ProtectorType::kSoftware; }));
}

TEST_F(EngineTest, AColdstartWithAPasswordThatCouldNotBeUsedWritesNothing) {
  const auto refused_with = [this](const std::function<void(EngineOptions&)>& change) {
    EngineOptions options = store_options("backup");
    change(options);
    EXPECT_REASON(Opened(*disk, clock, std::move(options)).open(), Reason::kInvalidOption);
    std::vector<std::string> names = disk->list(kStore);
    std::erase(names, "lock");
    EXPECT_TRUE(names.empty());
  };
  refused_with([](EngineOptions& options) {
    options.recovery_password = SecretBytes(Bytes(limits::kPasswordBytesMax + 1, 'p'));
  });
  refused_with([](EngineOptions& options) { options.argon2 = {1, 1, 1}; });
  refused_with([](EngineOptions& options) { options.argon2.memory_kib = UINT32_MAX; });
  EngineOptions longest = store_options();
  longest.recovery_password = SecretBytes(Bytes(limits::kPasswordBytesMax, 'p'));
  ASSERT_OK(Opened(*disk, clock, std::move(longest)).open());
}

TEST_F(EngineTest, IncrementIsRefusedBelowItsMinimum) {
  Opened store = make();
  ASSERT_OK(store.open());
  EXPECT_EQ(store.increment("tokens", {5, {}, {}}).number, 5);
  EXPECT_EQ(store.increment("tokens", {-5, 0, {}}).number, 0);
  const log::Completion refused = store.increment("tokens", {-1, 0, {}});
  EXPECT_TRUE(refused.status.is(Reason::kBelowMinimum));
  EXPECT_EQ(refused.number, 0);
  EXPECT_TRUE(store.increment("tokens", {11, {}, 10}).status.is(Reason::kAboveMaximum));
  EXPECT_TRUE(store.increment("tokens", {INT64_MAX, {}, {}}).status.ok());
  const log::Completion overflow = store.increment("tokens", {1, {}, {}});
  EXPECT_TRUE(overflow.status.is(Reason::kCounterOverflow));
  EXPECT_EQ(overflow.number, INT64_MAX);
  ASSERT_OK(store.set("text", "not a counter").status);
  EXPECT_TRUE(store.increment("text", {1, {}, {}}).status.is(Reason::kNotACounter));
}

TEST_F(EngineTest, CrashWithoutCloseKeepsEveryCommit) {
  {
    Opened store = make();
    ASSERT_OK(store.open());
    for (int i = 0; i < 40; ++i) ASSERT_OK(store.set("k" + std::to_string(i), std::to_string(i)).status);
  }
  Opened store = make();
  ASSERT_OK(store.open());
  for (int i = 0; i < 40; ++i) EXPECT_EQ(store.get("k" + std::to_string(i)), std::to_string(i));
  EXPECT_FALSE(store->status().tail_repaired);
}

TEST_F(EngineTest, SecondOpenerIsLockedOut) {
  Opened first = make();
  ASSERT_OK(first.open());
  Opened second = make();
  EXPECT_REASON(second.open(), Reason::kLocked);
}

TEST_F(EngineTest, CompactionKeepsEveryRecordAndWitness) {
  Opened store = make();
  ASSERT_OK(store.open());
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 10; ++i) ASSERT_OK(store.set("k" + std::to_string(i), std::to_string(round)).status);
  }
  ASSERT_OK(store.remove("k9").status);
  const std::uint64_t before = store->status().log_bytes;
  ASSERT_OK(store->compact());
  EXPECT_LT(store->status().log_bytes, before / 2);
  EXPECT_EQ(store.get("k3"), "19");
  ASSERT_OK(store.set("after", "1").status);
  ASSERT_OK(store->compact());
  ASSERT_OK(store->close());
  Opened again = make();
  ASSERT_OK(again.open());
  EXPECT_EQ(again.get("k3"), "19");
  EXPECT_EQ(again.get("k9"), std::nullopt);
  EXPECT_EQ(again.get("after"), "1");
}

TEST_F(EngineTest, OldCopyOfTheVaultIsRefusedAndReanchoredByPassword) {
  cold("backup");
  const Bytes old_vault = *disk->content("/srv/store/vault.bin");
  {
    Opened store = make();
    ASSERT_OK(store.open());
    ASSERT_OK(store.set("seats/cad", "3").status);
    ASSERT_OK(store->close());
  }
  disk->set_content("/srv/store/vault.bin", old_vault);
  {
    Opened refused = make();
    EXPECT_REASON(refused.open(), Reason::kVaultRolledBack);
  }

  const auto reanchor = [this](std::string_view password) {
    auto store = std::make_unique<Opened>(*disk, clock, store_options());
    Status status = [&]() -> Status {
      SR_TRY(Start(**store).determine_startup_state().status());
      SR_TRY(Start(**store).setup_persistence_files());
      SR_TRY(Start(**store).initialize_warmstart());
      SR_TRY(Start(**store).create_and_load_vault());
      SR_TRY(Start(**store).initialize_storage_identifier());
      Credential credential;
      credential.password = SecretBytes(as_bytes(password));
      return Reanchoring(**store).reanchor(credential);
    }();
    if (status.ok()) status = (*store)->close();
    return status;
  };
  EXPECT_REASON(reanchor("wrong"), Reason::kPasswordWrong);
  ASSERT_OK(reanchor("backup"));
  {
    Opened store = make();
    ASSERT_OK(store.open());
    EXPECT_EQ(store.get("seats/cad"), "12");
    ASSERT_OK(store.set("x", "1").status);
    ASSERT_OK(store->close());
  }
  EXPECT_REASON(reanchor("backup"), Reason::kNothingToDo);
  // The same checkpoint once more: the witness remembers that it was used.
  disk->set_content("/srv/store/vault.bin", old_vault);
  EXPECT_REASON(reanchor("backup"), Reason::kAlreadyAccepted);
}

TEST_F(EngineTest, LostRootIsRecoveredByPassword) {
  cold("backup");
  for (const std::string& name : disk->list(kSecrets)) disk->remove(std::string(kSecrets) + "/" + name);
  {
    Opened refused = make();
    EXPECT_REASON(refused.open(), Reason::kRootUnavailable);
  }
  Opened store = make();
  ASSERT_OK(Start(*store).determine_startup_state().status());
  ASSERT_OK(Start(*store).setup_persistence_files());
  EXPECT_REASON(Start(*store).initialize_recovery(as_bytes("wrong")), Reason::kPasswordWrong);
  ASSERT_OK(Start(*store).initialize_recovery(as_bytes("backup")));
  ASSERT_OK(Start(*store).create_and_load_vault());
  ASSERT_OK(Start(*store).initialize_storage_identifier());
  Credential credential;
  credential.password = SecretBytes(as_bytes("backup"));
  ASSERT_OK(RootRecovery(*store).recover(credential));
  EXPECT_TRUE(store->status().continuity_unproven);
  EXPECT_EQ(store.get("seats/cad"), "12");
  ASSERT_OK(store->close());
  Opened again = make();
  ASSERT_OK(again.open());
  EXPECT_TRUE(again->status().continuity_unproven);
  EXPECT_EQ(again.get("seats/cad"), "12");
}

TEST_F(EngineTest, ChangedPasswordRetiresTheOldFile) {
  cold("first");
  const Bytes old_file = *disk->content("/srv/store/persistence.bin");
  {
    Opened store = make();
    ASSERT_OK(store.open());
    EXPECT_REASON(Passwords(*store).change(as_bytes("wrong"), SecretBytes(as_bytes("second"))),
                  Reason::kPasswordWrong);
    ASSERT_OK(Passwords(*store).change(as_bytes("first"), SecretBytes(as_bytes("second"))));
    ASSERT_OK(Passwords(*store).verify(as_bytes("second")));
    EXPECT_REASON(Passwords(*store).verify(as_bytes("first")), Reason::kPasswordWrong);
    ASSERT_OK(store->close());
  }
  {
    Opened store = make();
    ASSERT_OK(store.open());
    ASSERT_OK(store->close());
  }
  disk->set_content("/srv/store/persistence.bin", old_file);
  Opened store = make();
  EXPECT_REASON(store.open(), Reason::kPersistenceRolledBack);
}

TEST_F(EngineTest, DecommissionAllowsACleanColdstart) {
  cold("backup");
  {
    Opened store = make();
    ASSERT_OK(Start(*store).determine_startup_state().status());
    ASSERT_OK(Start(*store).setup_persistence_files());
    ASSERT_OK(Start(*store).initialize_warmstart());
    ASSERT_OK(Start(*store).create_and_load_vault());
    Credential credential;
    credential.password = SecretBytes(as_bytes("wrong"));
    EXPECT_REASON(Removal(*store).decommission(credential), Reason::kPasswordWrong);
    credential.password = SecretBytes(as_bytes("backup"));
    ASSERT_OK(Removal(*store).decommission(credential));
  }
  EXPECT_TRUE(disk->list(kSecrets).empty());
  Opened store = make();
  ASSERT_OK(store.open());
  EXPECT_EQ(store->status().startup, StartupState::kColdstart);
}

TEST_F(EngineTest, ReadOnlyChangesNothingBesideALiveWriter) {
  Opened writer = make();
  ASSERT_OK(writer.open());
  ASSERT_OK(writer.set("a", "1").status);
  const std::uint64_t calls = disk->calls();
  EngineOptions options = store_options();
  options.read_only = true;
  Opened reader(*disk, clock, std::move(options));
  ASSERT_OK(reader.open());
  EXPECT_EQ(reader.get("a"), "1");
  EXPECT_TRUE(reader.set("a", "2").status.is(Reason::kReadOnly));
  const Result<VerifyReport> report = Verification(*writer).verify({});
  ASSERT_OK(report.status());
  EXPECT_EQ(report->newest.generation, 2U);
  EXPECT_EQ(disk->calls(), calls);
}

TEST_F(EngineTest, ThreadedCommitsCompleteInOrder) {
  EngineOptions options = store_options();
  options.threads = true;
  options.witness_interval_ms = 1;
  std::mutex mutex;
  std::condition_variable done;
  std::vector<std::uint64_t> journal;
  std::vector<std::uint64_t> witnessed;
  Engine engine(os::Environment{*disk, clock}, std::move(options),
                [&](std::vector<log::Completion> completions) {
                  const std::lock_guard lock(mutex);
                  for (const log::Completion& completion : completions) {
                    EXPECT_TRUE(completion.status.ok());
                    (completion.durability == log::Durability::kWitnessed ? witnessed : journal)
                        .push_back(completion.ticket);
                  }
                  done.notify_all();
                });
  ASSERT_OK(open_steps(engine));
  constexpr std::uint64_t kCount = 2000;
  for (std::uint64_t ticket = 1; ticket <= kCount; ++ticket) {
    log::QueuedOperation operation;
    operation.ticket = ticket;
    operation.durability = ticket % 7 == 0 ? log::Durability::kWitnessed : log::Durability::kJournal;
    const std::string key = "k" + std::to_string(ticket % 50);
    operation.content = log::KeyAndValue(as_bytes(key), as_bytes(std::to_string(ticket)));
    ASSERT_OK(engine.submit(std::move(operation)));
  }
  {
    std::unique_lock lock(mutex);
    done.wait(lock, [&] { return journal.size() + witnessed.size() == kCount; });
  }
  EXPECT_TRUE(std::is_sorted(journal.begin(), journal.end()));
  EXPECT_TRUE(std::is_sorted(witnessed.begin(), witnessed.end()));
  ASSERT_OK(engine.close());
}

}  // namespace
}  // namespace strongroom::store::testing
