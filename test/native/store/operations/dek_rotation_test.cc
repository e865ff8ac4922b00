// The rotation of the DEK: what it achieves, and a store while it is pending.
#include "store/operations/dek_rotation.h"

#include "rotation_fixture.h"
#include "store/field_sealer.h"
#include "store/operations/passwords.h"
#include "store/operations/root_recovery.h"
#include "store/operations/verification.h"
#include "store/start/start.h"

namespace strongroom::store::testing {
namespace {

using log::Durability;

TEST_F(Rotation, GivesTheStoreANewDek) {
  small_store();
  const Files before = files_of(*world.disk);
  std::size_t log_before = 0;
  std::vector<std::uint64_t> reports;
  {
    Session session(world);
    ASSERT_OK(session.open());
    EXPECT_EQ(session.engine().status().key_id, 1U);
    log_before = Verification(session.engine()).audit_log(1000)->size();
    ASSERT_OK(
        DekRotation(session.engine()).rotate(as_bytes(kBackup), [&](std::uint64_t done, std::uint64_t all) {
          EXPECT_LE(done, all);
          reports.push_back(done);
        }));
    EXPECT_EQ(session.contents(), world.ledger.newest());
    ASSERT_OK(session.set("k1", "after the rotation", Durability::kWitnessed));
    const EngineStatus status = session.engine().status();
    EXPECT_EQ(status.key_id, 2U);
    EXPECT_FALSE(status.rotation_pending);
    EXPECT_EQ(status.former_field_keys, 1U);
    for (const WitnessStatus& witness : status.witnesses)
      EXPECT_EQ(witness.lag_generations, 0U) << witness.name;
    ASSERT_OK(Verification(session.engine()).verify({}).status());
    ASSERT_OK(Passwords(session.engine()).verify(as_bytes(kBackup)));
    EXPECT_GT(Verification(session.engine()).audit_log(1000)->size(),
              log_before);  // the history was taken along
    ASSERT_OK(session.close());
  }
  EXPECT_FALSE(reports.empty());
  const Files after = files_of(*world.disk);
  const std::vector<std::string> left = left_of(after, dek_in(before).view(), before.at(kVaultPath));
  EXPECT_TRUE(left.empty()) << text_of(left);
  Tally tally;
  check_opens(tally, world, "after the rotation");
  EXPECT_EQ(tally.faults(), 0U);
}

// The search itself: beside the old files it finds what is there.
TEST_F(Rotation, TheSearchFindsWhatIsOfADek) {
  small_store();
  const Files files = files_of(*world.disk);
  const std::vector<std::string> left = left_of(files, dek_in(files).view(), files.at(kVaultPath));
  for (const char* wanted : {"core data", "password slot", "root slot", "frames of vault.bin", "tmtmp.bin",
                             "an entry of tmtmp.bin", "VaultHash", "TimeTamper",
                             "sealed bytes of the former vault in /srv/store/vault.bin"}) {
    EXPECT_NE(std::find(left.begin(), left.end(), wanted), left.end()) << wanted;
  }
}

TEST_F(Rotation, AWrongOrMissingPasswordChangesNothing) {
  small_store();
  Session session(world);
  ASSERT_OK(session.open());
  const Files before = files_of(*world.disk);
  EXPECT_REASON(DekRotation(session.engine()).rotate(as_bytes("wrong")), Reason::kPasswordWrong);
  EXPECT_REASON(DekRotation(session.engine()).rotate({}), Reason::kPasswordMissing);
  EXPECT_EQ(files_of(*world.disk), before);
  EXPECT_FALSE(session.engine().status().rotation_pending);
  EXPECT_EQ(session.engine().status().key_id, 1U);
  ASSERT_OK(session.close());
}

TEST_F(Rotation, NeedsNoPasswordWithoutAPasswordSlot) {
  world.options = [] { return store_options(); };
  {
    Session session(world);
    ASSERT_OK(session.open());
    ASSERT_OK(session.set("a", "1"));
    ASSERT_OK(DekRotation(session.engine()).rotate({}));
    ASSERT_OK(session.close());
  }
  Session session(world);
  ASSERT_OK(session.open());
  EXPECT_EQ(session.contents(), world.ledger.newest());
  EXPECT_EQ(session.engine().status().key_id, 2U);
}

TEST_F(Rotation, ReadOnlyAndClosedStoresRefuse) {
  small_store();
  const auto read_only = [] {
    EngineOptions options = rotation_options();
    options.read_only = true;
    return options;
  };
  world.options = read_only;
  Session session(world);
  ASSERT_OK(session.open());
  EXPECT_REASON(DekRotation(session.engine()).rotate(as_bytes(kBackup)), Reason::kReadOnly);
  ASSERT_OK(session.close());
  EXPECT_REASON(DekRotation(session.engine()).rotate(as_bytes(kBackup)), Reason::kClosed);
}

TEST_F(Rotation, FieldsStayReadableUntilTheirKeysAreGivenUp) {
  small_store();
  const auto sealed_by = [](FieldSealer& sealer, std::string_view text) {
    Bytes out(text.size() + kFieldOverheadBytes);
    EXPECT_TRUE(sealer.seal(as_bytes(text), as_bytes("context"), out).ok());
    return out;
  };
  const auto opens = [](FieldSealer& sealer, const Bytes& sealed) {
    Bytes out(sealed.size() - kFieldOverheadBytes);
    return sealer.open(sealed, as_bytes("context"), out);
  };
  std::vector<Bytes> fields;
  Session session(world);
  ASSERT_OK(session.open());
  for (std::uint32_t round = 1; round <= kFormerFieldKeysMax + 1; ++round) {
    auto sealer = session.engine().field_sealer();
    ASSERT_OK(sealer.status());
    fields.push_back(sealed_by(**sealer, "field " + std::to_string(round)));
    EXPECT_EQ(*FieldSealer::key_id(fields.back()), round);
    for (std::size_t i = 0; i < fields.size(); ++i) {
      ASSERT_OK(opens(**sealer, fields[i]));
      EXPECT_EQ(*(*sealer)->needs_rotation(fields[i]), i + 1 != fields.size());
    }
    if (round <= kFormerFieldKeysMax) ASSERT_OK(DekRotation(session.engine()).rotate(as_bytes(kBackup)));
  }
  const Files before = files_of(*world.disk);
  EXPECT_REASON(DekRotation(session.engine()).rotate(as_bytes(kBackup)), Reason::kInvalidOption);
  EXPECT_EQ(files_of(*world.disk), before);
  ASSERT_OK(DekRotation(session.engine()).rotate(as_bytes(kBackup), {}, {.forget_field_keys = true}));
  ASSERT_OK(session.close());

  Session again(world);
  ASSERT_OK(again.open());
  EXPECT_EQ(again.engine().status().former_field_keys, 1U);
  EXPECT_EQ(again.contents(), world.ledger.newest());
  auto sealer = again.engine().field_sealer();
  ASSERT_OK(sealer.status());
  EXPECT_REASON(opens(**sealer, fields.front()), Reason::kFieldKeyUnknown);
  ASSERT_OK(opens(**sealer, fields.back()));
}

TEST_F(Pending, TheNextCallCompletesItWithoutAPassword) {
  {
    Session session(world);
    ASSERT_OK(session.open());
    EXPECT_TRUE(session.engine().status().rotation_pending);
    EXPECT_EQ(session.contents(), world.ledger.newest());
    ASSERT_OK(Verification(session.engine()).verify({}).status());
    ASSERT_OK(DekRotation(session.engine()).rotate({}));
    ASSERT_OK(session.close());
  }
  expect_completed();
}

TEST_F(Pending, OpensAsUsualAgainAndAgain) {
  for (int i = 0; i < 3; ++i) {
    Session session(world);
    ASSERT_OK(session.open());
    ASSERT_OK(session.set("k0", std::to_string(i)));
    EXPECT_TRUE(session.engine().status().rotation_pending);
    ASSERT_OK(session.close());
  }
  Session session(world);
  ASSERT_OK(session.open());
  ASSERT_OK(DekRotation(session.engine()).rotate(as_bytes(kBackup)));
  ASSERT_OK(session.close());
  expect_completed();
}

// A compaction is what moves the vault, whoever starts it.
TEST_F(Pending, AnOrdinaryCompactionTakesTheVaultAlong) {
  {
    Session session(world);
    ASSERT_OK(session.open());
    ASSERT_OK(session.engine().compact());
    EXPECT_TRUE(session.engine().status().rotation_pending);
    ASSERT_OK(session.set("k0", "behind the new snapshot"));
    ASSERT_OK(session.close());
  }
  {
    Session session(world);
    ASSERT_OK(session.open());
    EXPECT_TRUE(session.engine().status().rotation_pending);
    ASSERT_OK(session.set("k1", "once more"));
    ASSERT_OK(session.engine().compact());
    ASSERT_OK(DekRotation(session.engine()).rotate({}));
    ASSERT_OK(session.close());
  }
  expect_completed();
}

TEST_F(Pending, ThePasswordCanBeChanged) {
  {
    Session session(world);
    ASSERT_OK(session.open());
    ASSERT_OK(Passwords(session.engine()).change(as_bytes(kBackup), SecretBytes(as_bytes("other"))));
    ASSERT_OK(Passwords(session.engine()).change(as_bytes("other"), SecretBytes(as_bytes(kBackup))));
    ASSERT_OK(DekRotation(session.engine()).rotate({}));
    ASSERT_OK(session.close());
  }
  expect_completed();
}

TEST_F(Pending, ALostRootIsRecovered) {
  world.disk->remove(kRootKeyPath);
  {
    Session session(world);
    Engine& engine = session.engine();
    ASSERT_OK(Start(engine).determine_startup_state().status());
    ASSERT_OK(Start(engine).setup_persistence_files());
    ASSERT_OK(Start(engine).initialize_recovery(as_bytes(kBackup)));
    ASSERT_OK(Start(engine).create_and_load_vault());
    ASSERT_OK(Start(engine).initialize_storage_identifier());
    ASSERT_OK(RootRecovery(engine).recover(password_proof(kBackup)));
    EXPECT_TRUE(engine.status().rotation_pending);
    ASSERT_OK(DekRotation(engine).rotate({}));
    ASSERT_OK(session.close());
  }
  expect_completed();
}

TEST_F(Pending, AMissingTamperFileIsBegunAnew) {
  world.disk->remove(kTamperPath);
  {
    Session session(world);
    ASSERT_OK(session.open());
    EXPECT_TRUE(session.engine().status().tamper_file_anew);
    ASSERT_OK(DekRotation(session.engine()).rotate({}));
    ASSERT_OK(session.close());
  }
  expect_completed();
}

}  // namespace
}  // namespace strongroom::store::testing
