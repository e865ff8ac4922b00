// Older files, missing files, other counters and other TPMs against a store whose root is in a TPM.
#include "hooked_files.h"
#include "tpm_store_fixture.h"

namespace strongroom::store::testing {
namespace {

using log::Durability;

class TpmRollback : public TpmStoreTest {};

// --- Attacks ---

TEST_F(TpmRollback, EverySubsetOfEveryEarlierCheckpoint) {
  std::vector<std::pair<std::string, Files>> checkpoints;
  const auto take = [&](const char* name) { checkpoints.emplace_back(name, files_of(*world.disk)); };
  ASSERT_OK(open_and_close(world));
  take("after cold start");
  {
    Session session(world);
    ASSERT_OK(session.open());
    take("just opened");
    ASSERT_OK(session.set("k0", "1", Durability::kWitnessed));
    take("witnessed");
    ASSERT_OK(session.set("k0", "2", Durability::kWitnessed));
    ASSERT_OK(session.set("k1", "2"));
    take("journal");
    ASSERT_OK(session.close());
  }
  take("closed");
  ASSERT_OK(change_password("backup", "second"));
  take("after a change of the password");
  {
    Session session(world);
    ASSERT_OK(session.open());
    for (int i = 0; i < 20; ++i) ASSERT_OK(session.set("k2", std::to_string(i)));
    ASSERT_OK(session.engine().compact());
    take("compacted");
    ASSERT_OK(session.close());
  }
  ASSERT_OK(open_and_close(world));
  const Files now = files_of(*world.disk);
  const Image image(world);
  constexpr const char* kPaths[] = {kPersistencePath, kVaultPath, kTamperPath};
  std::map<std::string, std::size_t> reasons;
  std::size_t cases = 0;
  for (const auto& [name, files] : checkpoints) {
    for (unsigned subset = 1; subset < 8; ++subset) {
      const std::unique_ptr<World> old = image.start();
      for (unsigned i = 0; i < 3; ++i) {
        if ((subset & (1U << i)) != 0) old->disk->set_content(kPaths[i], files.at(kPaths[i]));
      }
      ++cases;
      const std::string what = name + ", subset " + std::to_string(subset);
      if (subset == 4) {  // an older tamper file lags
        ASSERT_OK(open_and_close(*old));
        ++reasons["accepted as lagging"];
        continue;
      }
      // The TPM refuses an old root; an old vault is behind the counter.
      expect_refused(*old, Reason::kVaultRolledBack, what);
      ++reasons["vault-rolled-back"];
    }
  }
  std::printf("tpm: restored subsets=%zu", cases);
  for (const auto& [reason, count] : reasons) std::printf(" %s=%zu", reason.c_str(), count);
  std::printf("\n");
}

TEST_F(TpmRollback, MissingFilesAndMissingCounter) {
  const Image image = small_tpm_store(world);
  constexpr const char* kPaths[] = {kPersistencePath, kVaultPath, kTamperPath};
  for (unsigned missing = 1; missing < 8; ++missing) {
    const std::unique_ptr<World> partial = image.start();
    for (unsigned i = 0; i < 3; ++i) {
      if ((missing & (1U << i)) != 0) partial->disk->remove(kPaths[i]);
    }
    // No SecretStore vouches for a vault without a tamper file.
    expect_refused(*partial, missing == 4 ? Reason::kWitnessMissing : Reason::kPartialRestore,
                   "missing " + std::to_string(missing));
  }
  {
    const std::unique_ptr<World> gone = image.start();
    gone->chip->undefine(counter_index_of(*gone));
    expect_refused(*gone, Reason::kWitnessMissing, "counter undefined");
  }
  {  // defined again by somebody else, with the same public area
    const std::unique_ptr<World> forged = image.start();
    const std::uint32_t index = counter_index_of(*forged);
    const Digest label = forged->chip->indices().at(index).label;
    forged->chip->define_forged(index, label, 1);
    expect_refused(*forged, Reason::kVaultRolledBack, "counter forged");
  }
  {
    const std::unique_ptr<World> foreign = image.start();
    foreign->chip->define_foreign(counter_index_of(*foreign));
    expect_refused(*foreign, Reason::kWitnessReplaced, "a foreign index in its place");
  }
  {
    const std::unique_ptr<World> cleared = image.start();
    cleared->chip->clear();
    expect_refused(*cleared, Reason::kTpmCleared, "cleared");
  }
  {
    const std::unique_ptr<World> replaced = image.start();
    replaced->chip = std::make_shared<SimulatedChip>();
    expect_refused(*replaced, Reason::kTpmReplaced, "another TPM");
  }
}

// Whoever knows the secret of the counter and counts ahead makes the store stop, also while it is open.
TEST_F(TpmRollback, ACounterThatMovesWithoutUs) {
  Session session(world);
  ASSERT_OK(session.open());
  ASSERT_OK(session.set("k", "1", Durability::kWitnessed));
  const std::uint32_t index = counter_index_of(world);
  const auto found = world.chip->indices().at(index);
  const auto tpm = world.chip->opener({}, {})("", {}, {});
  ASSERT_OK(tpm.status());
  ASSERT_OK((*tpm)->increment_counter(index, roots::counter_name(index, found.label), found.authorisation));
  const Status status = session.set("k", "2", Durability::kWitnessed);
  EXPECT_REASON(status, Reason::kWitnessReplaced);
  EXPECT_TRUE(!status.ok() && status.error().outcome_unknown && !status.error().committed);
  EXPECT_TRUE(is_alarm(session.engine().validate_before_write()));
}

TEST_F(TpmRollback, TheProvisioningFileAgainstAStoreInUse) {
  std::vector<Bytes> provisioning;
  {
    HookedFiles files(*world.disk, "vault.bin.new");
    files.on_create = [&] { provisioning.push_back(*world.disk->content(kPersistencePath)); };
    Opened store(files, world.clock, world.engine_options());
    ASSERT_OK(store.open());
    // From the first moment on, and without a commit of the application.
    for (const bool with_vault : {true, false}) {
      const std::unique_ptr<World> old = Image(world).start();
      old->disk->set_content(kPersistencePath, provisioning.at(0));
      if (!with_vault) {
        old->disk->remove(kVaultPath);
        old->disk->remove(kTamperPath);
      }
      expect_refused(*old, Reason::kPartialRestore, "provisioning, just after the cold start");
    }
    ASSERT_OK(store->close());
  }
  small_tpm_store(world);
  world.disk->set_content(kPersistencePath, provisioning.at(0));
  expect_refused(world, Reason::kPartialRestore, "provisioning");
}

// --- The instance name ---

TEST_F(TpmRollback, ASecondStoreWithTheSameInstance) {
  small_tpm_store(world);
  world.disk->make_directory("/srv/elsewhere");
  const std::uint64_t value = world.chip->value();
  const auto elsewhere = [](const char* instance) {
    return [instance] {
      EngineOptions options = tpm_options();
      options.directory = "/srv/elsewhere";
      options.instance = instance;
      return options;
    };
  };
  const auto here = world.options;
  world.options = elsewhere("acme");
  EXPECT_REASON(open_status(), Reason::kPartialRestore);
  EXPECT_EQ(world.chip->value(), value);
  EXPECT_EQ(world.disk->list("/srv/elsewhere"), std::vector<std::string>{"lock"});
  world.options = elsewhere("other");
  ASSERT_OK(open_and_close(world));
  EXPECT_EQ(world.chip->indices().size(), 4U);
  world.options = here;
  ASSERT_OK(open_and_close(world));
}

TEST_F(TpmRollback, ForeignIndicesAreSkipped) {
  const std::uint32_t first = first_counter_index("acme");
  for (std::uint32_t i = 0; i < 3; ++i) world.chip->define_foreign(first + i);
  small_tpm_store(world);
  EXPECT_EQ(counter_index_of(world), first + 3);
  ASSERT_OK(open_and_close(world));
  EXPECT_EQ(world.chip->indices().size(), 5U);

  TpmWorld full;
  for (std::uint32_t i = 0; i < kIndexPlaces; ++i) full.chip->define_foreign(first + i);
  EXPECT_REASON(open_and_close(full), Reason::kTpmRefused);
  EXPECT_TRUE(files_of(*full.disk).empty());
  EXPECT_EQ(full.chip->indices().size(), kIndexPlaces);
}

TEST_F(TpmRollback, ACounterOfAHighTpm) {
  world.chip->count_to(1'000'000);
  small_tpm_store(world);
  EXPECT_GT(world.chip->value(), 1'000'000U);
  ASSERT_OK(open_and_close(world));
}

}  // namespace
}  // namespace strongroom::store::testing
