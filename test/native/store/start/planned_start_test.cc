// A start by its plan: the order of its steps, where it stops, and what it asks of a TPM.
#include "store/start/planned_start.h"

#include <map>

#include "base/cancellation.h"
#include "store/operations/passwords.h"
#include "store/operations/root_recovery.h"
#include "tpm_store_fixture.h"

namespace strongroom::store::testing {
namespace {

using Steps = std::vector<StartStep>;

constexpr const char* kPassword = "correct horse battery";

Credential with_password(std::string_view password) {
  return Credential{SecretBytes(as_bytes(password)), {}};
}

class PlannedStartTest : public ::testing::Test {
 protected:
  PlannedStartTest() : disk_(make_disk()) {}

  std::unique_ptr<Opened> store(EngineOptions options = store_options(kPassword)) {
    return std::make_unique<Opened>(*disk_, clock_, std::move(options));
  }
  void make_store() {
    const auto made = store();
    ASSERT_OK(made->open());
    ASSERT_OK(made->set("seats", "12").status);
    ASSERT_OK((*made)->close());
  }
  void lose_secrets() {
    for (const std::string& name : disk_->list(kSecrets)) disk_->remove(std::string(kSecrets) + "/" + name);
  }
  // Every stop of a start, in order, to its end.
  static Result<StartReport> follow(PlannedStart& start, std::vector<Steps>& stops) {
    for (;;) {
      SR_ASSIGN(StartReport report, start.run());
      if (report.steps.empty()) return report;
      stops.push_back(report.steps);
    }
  }

  std::unique_ptr<os::testing::SimulatedDisk> disk_;
  os::testing::ManualClock clock_;
};

TEST_F(PlannedStartTest, AWarmstartThatNeedsNobodyIsOneRun) {
  make_store();
  const auto opened = store();
  PlannedStart start(**opened, {}, {});
  const Result<StartReport> report = start.run();
  ASSERT_OK(report);
  EXPECT_TRUE(report->steps.empty());
  EXPECT_EQ(report->startup, StartupState::kWarmstart);
  EXPECT_TRUE(report->loaded);
  EXPECT_TRUE(report->opened);
  EXPECT_FALSE(report->refusal);
  EXPECT_EQ(opened->get("seats"), "12");
}

TEST_F(PlannedStartTest, AColdstartAsksForSecretsOnceAndTellsTheStepsInOrder) {
  EngineOptions bare = store_options();
  bare.instance.clear();
  const auto opened = store(std::move(bare));
  StartPlan plan;
  plan.tells_steps = true;
  PlannedStart start(**opened, plan, {});
  std::vector<Steps> stops;
  while (true) {
    const Result<StartReport> report = start.run();
    ASSERT_OK(report);
    if (report->steps.empty()) break;
    stops.push_back(report->steps);
    if (report->steps.back() != StartStep::kSecrets) continue;
    EXPECT_EQ(report->startup, StartupState::kColdstart);
    StartSecrets secrets;
    secrets.instance = "acme";
    secrets.recovery_password = SecretBytes(as_bytes(kPassword));
    start.supply(std::move(secrets));
  }
  EXPECT_EQ(stops, (std::vector<Steps>{
                       {StartStep::kDetermineStartupState},
                       {StartStep::kSecrets},
                       {StartStep::kSetupPersistenceFiles},
                       {StartStep::kLoadLicenseProviderManifests, StartStep::kInitializeColdstart},
                       {StartStep::kLoadVaultAndValidate, StartStep::kValidateVaultFilename,
                        StartStep::kCreateAndLoadVault},
                       {StartStep::kInitializeStorageIdentifier},
                       {StartStep::kValidateVaultIntegrity},
                       {StartStep::kValidateTimeTamperAge},
                       {StartStep::kUpdateTimeTamper},
                   }));
  EXPECT_EQ((*opened)->status().instance, "acme");
  ASSERT_OK(Passwords(**opened).verify(as_bytes(kPassword)));
}

TEST_F(PlannedStartTest, ManifestsAreAStopOfTheirOwnUnderTheLock) {
  make_store();
  const auto opened = store();
  StartPlan plan;
  plan.has_manifests = true;
  PlannedStart start(**opened, plan, {});
  const Result<StartReport> report = start.run();
  ASSERT_OK(report);
  EXPECT_EQ(report->steps, Steps{StartStep::kLoadLicenseProviderManifests});
  EXPECT_REASON(store()->open(), Reason::kLocked);
  std::vector<Steps> stops;
  ASSERT_OK(follow(start, stops));
  EXPECT_TRUE(stops.empty());
}

TEST_F(PlannedStartTest, CancellationTakesEffectBeforeAStepAndNothingWasWritten) {
  const auto opened = store();
  StartPlan plan;
  plan.tells_steps = true;
  PlannedStart start(**opened, plan, {});
  Result<StartReport> report = start.run();
  while (report.ok() && report->steps.back() != StartStep::kInitializeColdstart) report = start.run();
  ASSERT_OK(report);
  Cancellation cancellation;
  cancellation.request();
  const CancellationScope scope(&cancellation);
  EXPECT_REASON(start.run(), Reason::kAborted);
  EXPECT_TRUE(disk_->list(kStore).size() <= 1) << "no more than the lock";
}

TEST_F(PlannedStartTest, AnInspectionReportsItsRefusalAndHowFarItCame) {
  make_store();
  EngineOptions reading = store_options();
  reading.read_only = true;
  StartPlan plan;
  plan.purpose = StartPurpose::kInspect;
  {
    const auto looked = store(std::move(reading));
    PlannedStart start(**looked, plan, {});
    const Result<StartReport> report = start.run();
    ASSERT_OK(report);
    EXPECT_TRUE(report->opened);
    EXPECT_FALSE(report->refusal);
  }
  clock_.advance(365LL * 86'400'000);
  EngineOptions late = store_options();
  late.read_only = true;
  const auto looked = store(std::move(late));
  PlannedStart start(**looked, plan, {});
  const Result<StartReport> report = start.run();
  ASSERT_OK(report);
  EXPECT_TRUE(report->steps.empty());
  EXPECT_TRUE(report->loaded);
  EXPECT_FALSE(report->opened);
  ASSERT_TRUE(report->refusal);
  EXPECT_EQ(report->refusal->reason, Reason::kStateStale);
}

TEST_F(PlannedStartTest, ADecommissionGoesOnWithoutALostRootButNotOverALock) {
  make_store();
  StartPlan plan;
  plan.purpose = StartPurpose::kDecommission;
  {
    const auto holder = store();
    ASSERT_OK(holder->open());
    const auto removing = store();
    PlannedStart start(**removing, plan, with_password(kPassword));
    EXPECT_REASON(start.run(), Reason::kLocked);
  }
  lose_secrets();
  EngineOptions options = store_options();
  options.removal = options.allow_leftovers = true;
  const auto removing = store(std::move(options));
  plan.allow_leftovers = true;
  PlannedStart start(**removing, plan, with_password(kPassword));
  const Result<StartReport> report = start.run();
  ASSERT_OK(report);
  EXPECT_TRUE(report->steps.empty());
  EXPECT_FALSE(report->opened);
}

TEST_F(PlannedStartTest, ARecoveryOpensByThePasswordAndStopsBeforeTheOperation) {
  make_store();
  lose_secrets();
  StartPlan plan;
  plan.purpose = StartPurpose::kRecover;
  {
    const auto wrong = store();
    PlannedStart start(**wrong, plan, with_password("another password"));
    EXPECT_REASON(start.run(), Reason::kPasswordWrong);
  }
  const auto recovering = store();
  PlannedStart start(**recovering, plan, with_password(kPassword));
  const Result<StartReport> report = start.run();
  ASSERT_OK(report);
  EXPECT_TRUE(report->loaded);
  EXPECT_FALSE(report->opened);
  ASSERT_OK(RootRecovery(**recovering).recover(with_password(kPassword)));
  EXPECT_EQ(recovering->get("seats"), "12");
}

TEST_F(PlannedStartTest, AReanchorAsksBeforeItOpensByThePassword) {
  make_store();
  lose_secrets();
  const auto opened = store();
  StartPlan plan;
  plan.purpose = StartPurpose::kReanchor;
  PlannedStart start(**opened, plan, with_password(kPassword));
  const Result<StartReport> refused = start.run();
  ASSERT_OK(refused);
  EXPECT_EQ(refused->steps, Steps{StartStep::kRootRefused});
  ASSERT_TRUE(refused->refusal);
  EXPECT_EQ(refused->refusal->reason, Reason::kRootUnavailable);
  const Result<StartReport> report = start.run();
  ASSERT_OK(report);
  EXPECT_TRUE(report->steps.empty());
  EXPECT_FALSE(report->refusal);
  EXPECT_TRUE(report->loaded);
}

// --- With a TPM ---

class PlannedTpmStart : public TpmStoreTest {};

TEST_F(PlannedTpmStart, AReadingWarmstartRepeatsNothing) {
  small_tpm_store(world);
  EngineOptions options = world.engine_options();
  options.read_only = true;
  Opened opened(*world.disk, world.clock, std::move(options));
  const std::size_t before = world.chip->call_log().size();
  PlannedStart start(*opened, {}, {});
  ASSERT_OK(start.run());
  const std::vector<std::string> log = world.chip->call_log();
  std::map<std::string, int> counts;
  for (std::size_t at = before; at < log.size(); ++at) ++counts[log[at]];
  EXPECT_EQ(counts["unseal"], 1);
  for (const auto& [command, times] : counts) EXPECT_EQ(times, 1) << command;
}

}  // namespace
}  // namespace strongroom::store::testing
