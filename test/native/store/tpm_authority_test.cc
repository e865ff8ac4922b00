// Administrative operations on a store whose root is in a TPM: what each accepts, and that it serves once.
#include "store/operations/root_recovery.h"
#include "tpm_store_fixture.h"

namespace strongroom::store::testing {
namespace {

using log::Durability;

class TpmAuthority : public TpmStoreTest {};

// What a customer restores from backup: the whole directory, of the checkpoint that `world` stands at.
struct Restored {
  Files old;
  explicit Restored(World& world) : old(files_of(*world.disk)) {}
  void put(World& world) const { put_files(*world.disk, old); }
};

TEST_F(TpmAuthority, ReanchorByPassword) {
  small_tpm_store(world);
  const Restored backup(world);
  ASSERT_OK(open_and_close(world));
  EXPECT_REASON(reanchor_tpm(world, password_proof("backup")), Reason::kNothingToDo);
  backup.put(world);
  EXPECT_REASON(open_status(), Reason::kVaultRolledBack);
  EXPECT_REASON(reanchor_tpm(world, password_proof("guess")), Reason::kPasswordWrong);
  EXPECT_REASON(reanchor_tpm(world, password_proof("backup"), "guess"), Reason::kPasswordWrong);
  const std::uint64_t value = world.chip->value();
  ASSERT_OK(reanchor_tpm(world, password_proof("backup")));
  EXPECT_GT(world.chip->value(), value);
  Session session(world);
  ASSERT_OK(session.open());
  EXPECT_EQ(session.contents(), world.ledger.newest());
  EXPECT_FALSE(session.engine().status().continuity_unproven);
  ASSERT_OK(session.close());
}

TEST_F(TpmAuthority, ReanchorWhereOnlyTheVaultIsOld) {
  small_tpm_store(world);
  const Bytes vault = *world.disk->content(kVaultPath);
  ASSERT_OK(open_and_close(world));
  world.disk->set_content(kVaultPath, vault);
  expect_refused(world, Reason::kVaultRolledBack, "an old vault");
  // Its persistence.bin is not the one that it names: keys of the past cannot be accepted, nor those of the future.
  EXPECT_REASON(reanchor_tpm(world, password_proof("backup")), Reason::kPersistenceRolledBack);
}

class TpmVendor : public TpmAuthority {
 protected:
  TpmVendor() {
    world.options = [this] {
      EngineOptions options = tpm_options();
      options.vendor_public_key = vendor.public_key();
      return options;
    };
  }
  VendorKey vendor;
};

TEST_F(TpmVendor, AReanchorTokenServesOnce) {
  small_tpm_store(world);
  const Restored backup(world);
  ASSERT_OK(open_and_close(world));
  backup.put(world);
  const Bytes token = tpm_token(vendor, world, Purpose::kReanchor);
  EXPECT_REASON(reanchor_tpm(world, password_proof("backup")), Reason::kAuthorityRefused);
  ASSERT_OK(reanchor_tpm(world, token_proof(token)));
  EXPECT_REASON(reanchor_tpm(world, token_proof(token)), Reason::kNothingToDo);
  for (int again = 0; again < 3; ++again) {
    backup.put(world);
    EXPECT_REASON(reanchor_tpm(world, token_proof(token)), Reason::kAuthorityRefused);
    const Bytes fresh = tpm_token(vendor, world, Purpose::kReanchor);
    ASSERT_OK(reanchor_tpm(world, token_proof(fresh)));
  }
}

// A reanchor is cut at every call, and what it left is kept: with later states gone by it must not serve as one that is to
// be completed.
TEST_F(TpmVendor, ACopyOfACutReanchorIsNoSecondOne) {
  small_tpm_store(world);
  const Restored backup(world);
  ASSERT_OK(open_and_close(world));
  backup.put(world);
  const Bytes token = tpm_token(vendor, world, Purpose::kReanchor);
  const Image image(world);
  std::size_t cuts = 0;
  std::size_t replayed = 0;
  for (std::uint64_t number = 1;; ++number) {
    const std::unique_ptr<World> cut = image.start();
    cut->disk->power_cut_at(number);
    if (reanchor_tpm(*cut, token_proof(token)).ok()) break;
    for (const CrashState& state : cut->disk->crash_states(6)) {
      ++cuts;
      const std::unique_ptr<World> next = after_crash(*cut, state);
      const Restored kept(*next);
      if (!open_and_close(*next).ok()) ASSERT_OK(reanchor_tpm(*next, token_proof(token)));
      {
        Session session(*next);
        ASSERT_OK(session.open());
        ASSERT_OK(session.set("spent", "1", Durability::kWitnessed));
        ASSERT_OK(session.close());
      }
      for (const Restored* old : {&kept, &backup}) {
        old->put(*next);
        const Status replay = reanchor_tpm(*next, token_proof(token));
        if (replay.ok()) ++replayed;
        EXPECT_REASON(replay, Reason::kAuthorityRefused);
      }
    }
  }
  std::printf("tpm: cut reanchors=%zu replays accepted=%zu\n", cuts, replayed);
  EXPECT_GT(cuts, 20U);
}

TEST_F(TpmVendor, ReanchorAfterAnUndefinedCounter) {
  small_tpm_store(world);
  world.chip->undefine(counter_index_of(world));
  ASSERT_OK(reanchor_tpm(world, token_proof(tpm_token(vendor, world, Purpose::kReanchor))));
  EXPECT_NE(world.chip->value(), 0U);
  ASSERT_OK(open_and_close(world));
}

TEST_F(TpmVendor, AResealTokenServesOnce) {
  world.options = [this] {
    EngineOptions options = tpm_options();
    options.vendor_public_key = vendor.public_key();
    options.tpm.pcrs = 1U << 7;
    return options;
  };
  small_tpm_store(world);
  const Restored backup(world);
  world.chip->extend_pcr(7);
  expect_refused(world, Reason::kTpmPcrChanged, "PCR 7");
  const Bytes token = tpm_token(vendor, world, Purpose::kReseal);
  EXPECT_REASON(reseal_tpm(world, password_proof("backup")), Reason::kAuthorityRefused);
  ASSERT_OK(reseal_tpm(world, token_proof(token)));
  ASSERT_OK(open_and_close(world));
  backup.put(world);
  // The counter leads: no reseal, whatever the credential.
  EXPECT_REASON(reseal_tpm(world, token_proof(token)), Reason::kVaultRolledBack);
}

// With the TPM goes its counter, and with that what the permit was signed over besides the checkpoint.
TEST_F(TpmVendor, AResealTokenForALostTpmServesOnce) {
  small_tpm_store(world);
  world.chip->clear();
  const Bytes token = tpm_token(vendor, world, Purpose::kReseal);
  ASSERT_OK(reseal_tpm(world, token_proof(token)));
  ASSERT_OK(open_and_close(world));
  world.chip->clear();
  EXPECT_REASON(reseal_tpm(world, token_proof(token)), Reason::kAuthorityRefused);
}

TEST_F(TpmAuthority, AResealHealsNothingElse) {
  world.options = [] {
    EngineOptions options = tpm_options();
    options.tpm.pcrs = 1U << 7;
    return options;
  };
  small_tpm_store(world);
  const Bytes old = *world.disk->content(kPersistencePath);
  ASSERT_OK(change_password("backup", "backup"));
  const Bytes now = *world.disk->content(kPersistencePath);
  world.chip->extend_pcr(7);
  world.disk->set_content(kPersistencePath, old);
  EXPECT_REASON(reseal_tpm(world, password_proof("backup")), Reason::kPersistenceRolledBack);
  world.disk->set_content(kPersistencePath, now);
  world.clock.advance_wall(-1800'000);
  EXPECT_REASON(reseal_tpm(world, password_proof("backup")), Reason::kClockRolledBack);
  world.clock.advance_wall(1800'000);
  ASSERT_OK(reseal_tpm(world, password_proof("backup")));
}

TEST_F(TpmAuthority, ResealKeepsContinuityWhereTheCounterVouches) {
  world.options = [] {
    EngineOptions options = tpm_options();
    options.tpm.pcrs = 1U << 7;
    return options;
  };
  small_tpm_store(world);
  const Restored before(world);
  EXPECT_REASON(reseal_tpm(world, password_proof("backup")), Reason::kNothingToDo);
  world.chip->extend_pcr(7);
  world.options = [] { return tpm_options(); };
  ASSERT_OK(reseal_tpm(world, password_proof("backup")));
  {
    Session session(world);
    ASSERT_OK(session.open());
    EXPECT_FALSE(session.engine().status().continuity_unproven);
    EXPECT_EQ(tpm_of(session).pcrs, 1U << 7);
    EXPECT_EQ(session.contents(), world.ledger.newest());
    ASSERT_OK(session.close());
  }
  before.put(world);
  EXPECT_REASON(reseal_tpm(world, password_proof("backup")), Reason::kVaultRolledBack);
}

TEST_F(TpmAuthority, ResealToAnotherTpmIsUnprovenUntilReanchored) {
  const Image image = small_tpm_store(world);
  for (const int how : {0, 1, 2}) {
    const std::unique_ptr<World> now = image.start();
    const std::uint32_t index = counter_index_of(*now);
    const auto former = now->chip->indices().at(index);
    if (how == 0) {
      now->chip->clear();
    } else {
      now->chip = std::make_shared<SimulatedChip>();
    }
    if (how == 2) {  // and a counter of the same public area waits there, counted to the very value
      now->chip->define_forged(index, former.label, former.value);
      ASSERT_EQ(now->chip->value(), former.value);
    }
    ASSERT_OK(reseal_tpm(*now, password_proof("backup")));
    {
      Session session(*now);
      ASSERT_OK(session.open());
      EXPECT_TRUE(session.engine().status().continuity_unproven) << how;
      EXPECT_EQ(session.contents(), image.ledger.newest());
      ASSERT_OK(session.close());
    }
    ASSERT_OK(reanchor_tpm(*now, password_proof("backup")));
    Session session(*now);
    ASSERT_OK(session.open());
    EXPECT_FALSE(session.engine().status().continuity_unproven);
    ASSERT_OK(session.close());
  }
}

TEST_F(TpmAuthority, ResealBesideAnotherStoreWithTheSameName) {
  small_tpm_store(world);
  TpmWorld other;
  small_tpm_store(other);
  world.chip = other.chip;
  const Files before = files_of(*world.disk);
  const std::uint64_t value = world.chip->value();
  EXPECT_REASON(reseal_tpm(world, password_proof("backup")), Reason::kWitnessReplaced);
  EXPECT_EQ(files_of(*world.disk), before);
  EXPECT_EQ(world.chip->value(), value);
  ASSERT_OK(open_and_close(other));
}

TEST_F(TpmAuthority, ReanchorAfterAWrongClock) {
  small_tpm_store(world);
  world.chip->advance(20ULL * 24 * 3600 * 1000);
  expect_refused(world, Reason::kClockRolledBack, "the TPM's clock");
  ASSERT_OK(reanchor_tpm(world, password_proof("backup")));
  ASSERT_OK(open_and_close(world));
}

// The password opens the data where the root is lost, and never where the TPM says that the files are old.
TEST_F(TpmAuthority, RecoverIsNotForATpm) {
  small_tpm_store(world);
  world.chip->clear();
  Session session(world);
  ASSERT_OK(recovery_steps(session.engine(), "backup"));
  EXPECT_REASON(RootRecovery(session.engine()).recover(password_proof("backup")), Reason::kNothingToDo);
}

}  // namespace
}  // namespace strongroom::store::testing
