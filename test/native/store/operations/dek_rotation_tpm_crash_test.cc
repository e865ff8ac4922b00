// A rotation of the DEK of a store with a TPM, cut at every call of the disk and the TPM, and with each call of the TPM
// failing: the store opens with the former DEK or the new one, and the rotation, begun or gone on with, ends in the same
// state. STRONGROOM_LONG=1 raises the bounds.
#include "rotation_fixture.h"
#include "store/operations/dek_rotation.h"
#include "store/operations/verification.h"
#include "tpm_crash_fixture.h"

namespace strongroom::store::testing {
namespace {

using log::Durability;
using When = SimulatedChip::When;

class TpmRotation : public TpmCrash {
 protected:
  TpmRotation() {
    world.options = [] {
      EngineOptions options = tpm_options(kBackup);
      options.tamper_capacity = 32;
      return options;
    };
  }
  static void finish_rotation(const std::string& name, const Tally& tally, const Outcomes& outcomes) {
    finish(name, tally, "tpm rotation");
    outcomes.print(name.c_str());
    EXPECT_GT(outcomes.not_begun, 0U);
    EXPECT_GT(outcomes.pending, 10U);
    EXPECT_GT(outcomes.complete, 0U);
  }

  TpmWorld world;
};

// What the TPM gives out now and what the password gives are one DEK, and it is not the former one.
TEST_F(TpmRotation, SealsTheNewDekUpToTheSameCount) {
  small_tpm_store(world);
  const Files before = files_of(*world.disk);
  {
    Session session(world);
    ASSERT_OK(session.open());
    const std::uint64_t value = world.chip->value();
    const std::uint64_t seal_epoch_end = session.engine().status().tpm->seal_epoch_end;
    EXPECT_EQ(seal_epoch_end, value);
    ASSERT_OK(DekRotation(session.engine()).rotate(as_bytes(kBackup)));
    EXPECT_EQ(world.chip->value(), value + 1);  // the anchor that vouches for the end of the rotation
    ASSERT_OK(session.set("k0", "later", Durability::kWitnessed));
    ASSERT_OK(Verification(session.engine()).verify({}).status());
    ASSERT_OK(session.close());
  }
  const Files after = files_of(*world.disk);
  const std::vector<std::string> left = left_of(after, dek_in(before).view(), before.at(kVaultPath));
  EXPECT_TRUE(left.empty()) << text_of(left);
  Tally tally;
  check_tpm(tally, world, "after the rotation");
  EXPECT_EQ(tally.faults(), 0U);
  // Nothing of before it opens: the TPM gives the former root to nobody any more.
  for (const char* path : {kPersistencePath, kVaultPath}) {
    const std::unique_ptr<World> old = Image(world).start();
    old->disk->set_content(path, before.at(path));
    Session session(*old);
    EXPECT_REASON(session.open(), Reason::kVaultRolledBack);
  }
}

TEST_F(TpmRotation, CutAtEveryCall) {
  const Image image = small_tpm_store(world);
  Outcomes outcomes;
  const Tally tally = cut_everywhere(image, rotation_act, ends_rotated(image, outcomes, check_tpm), kStates);
  finish_rotation("rotation, commits around it", tally, outcomes);
}

// An anchor inside: the counter moves and the root is sealed anew while the vault is written under the new DEK.
TEST_F(TpmRotation, CutAtEveryCallWithAnAnchorInside) {
  const Image image = small_tpm_store(world);
  std::size_t inside = 0;
  const auto act = [&inside](World& now) {
    HookedFiles files(*now.disk, "vault.bin.new");
    Opened opened(files, now.clock, now.engine_options());
    const auto commit = [&](const std::string& key, Durability durability) {
      const std::string value = "inside " + std::to_string(++inside);
      const log::Completion done = opened.set(key, value, durability);
      const bool durable = done.status.ok() || done.status.error().committed;
      durable ? now.ledger.acknowledged({{key, value}}) : now.ledger.uncertain({{key, value}});
    };
    SR_TRY(opened.open());
    files.on_create = [&] { commit("k0", Durability::kWitnessed); };
    files.on_sync = [&] { commit("k1", Durability::kWitnessed); };
    SR_TRY(DekRotation(*opened).rotate(as_bytes(kBackup)));
    files.on_create = files.on_sync = nullptr;
    commit("k2", Durability::kJournal);
    return opened->close();
  };
  Outcomes outcomes;
  const Tally tally = cut_everywhere(image, act, ends_rotated(image, outcomes, check_tpm), bounded(12, 400));
  finish_rotation("rotation, anchors inside", tally, outcomes);
  EXPECT_GT(inside, met_at_least(100));
}

TEST_F(TpmRotation, EveryTpmCallFails) {
  const Image image = small_tpm_store(world);
  std::uint64_t calls = 0;
  std::uint64_t at_open = 0;
  {
    const std::unique_ptr<World> now = image.start();
    Session session(*now);
    ASSERT_OK(session.open());
    at_open = now->chip->calls();
    ASSERT_OK(DekRotation(session.engine()).rotate(as_bytes(kBackup)));
    calls = now->chip->calls();
  }
  for (const bool sticky : {false, true}) {
    Tally tally;
    Outcomes outcomes;
    const Check check = ends_rotated(image, outcomes, check_tpm);
    for (std::uint64_t number = at_open + 1; number <= calls; ++number) {
      for (const When when : {When::kBefore, When::kAfter}) {
        const std::unique_ptr<World> now = image.start();
        const std::string where = "TPM call " + std::to_string(number) +
                                  (when == When::kBefore ? " failed before" : " failed after") +
                                  (sticky ? " for good" : "");
        {
          Session session(*now);
          ASSERT_OK(session.open());
          now->chip->fail_at(number, when, sticky);
          const Status rotated = DekRotation(session.engine()).rotate(as_bytes(kBackup));
          if (is_alarm(rotated)) fault(tally, &Tally::false_alarms, where, describe(rotated));
          session.set("k1", "after the failure").ignore("the ledger has it");
          now->chip->clear_faults();
          session.set("k2", "and later", Durability::kWitnessed).ignore("the ledger has it");
          if (number % 2 == 0) session.close().ignore("a crash is as good");
        }
        ++tally.cuts;
        for (const CrashState& state : now->disk->crash_states(bounded(4, 60))) {
          ++tally.states;
          check(tally, *after_crash(*now, state), where + ", " + state.description);
        }
      }
    }
    finish(std::string("each TPM call of a rotation fails ") + (sticky ? "for good" : "once"), tally,
           "tpm rotation");
  }
}

// A root that the TPM refuses while a rotation is pending is sealed anew by the password; then the rotation goes on.
TEST_F(TpmRotation, ARootIsSealedAnewWhileItIsPending) {
  world.options = [] {
    EngineOptions options = tpm_options(kBackup);
    options.tpm.pcrs = 1U << 7;
    return options;
  };
  const Image image = small_tpm_store(world);
  const Files before = files_of(*world.disk);
  {
    Session session(world);
    ASSERT_OK(session.open());
    fail_in_move(world, session);
    EXPECT_TRUE(session.engine().status().rotation_pending);
    ASSERT_OK(session.close());
  }
  world.chip->extend_pcr(7);
  {
    Session session(world);
    EXPECT_REASON(session.open(), Reason::kTpmPcrChanged);
  }
  ASSERT_OK(reseal_tpm(world, password_proof(kBackup), kBackup));
  {
    Session session(world);
    ASSERT_OK(session.open());
    EXPECT_TRUE(session.engine().status().rotation_pending);
    ASSERT_OK(DekRotation(session.engine()).rotate({}));
    ASSERT_OK(session.close());
  }
  const std::vector<std::string> left =
      left_of(files_of(*world.disk), dek_in(before).view(), before.at(kVaultPath));
  EXPECT_TRUE(left.empty()) << text_of(left);
  Tally tally;
  check_tpm(tally, world, "after the rotation");
  EXPECT_EQ(tally.faults(), 0U);
}

TEST_F(TpmRotation, ReadersBesideIt) {
  small_tpm_store(world);
  readers_beside_rotations(world, "tpm");
}

}  // namespace
}  // namespace strongroom::store::testing
