// What every key protector passes, driven through the engine
#include "key_protector_conformance.h"

#include <latch>
#include <set>
#include <thread>

#include "store/operations/dek_rotation.h"
#include "store/operations/kek_rotation.h"
#include "store/operations/removal.h"
#include "store/operations/verification.h"
#include "store/start/start.h"

namespace strongroom::store::testing {
namespace {

using log::Durability;

const std::size_t kStatesOfACut = bounded(6, 200);

const char* text_of_when(SimulatedChip::When when) {
  return when == SimulatedChip::When::kBefore ? "before" : "after";
}

// What is cut.
struct Acts {
  static Status cold_start(World& world) {
    Session session(world);
    SR_TRY(session.open());
    SR_TRY(session.set("first", "1"));
    return session.close();
  }

  static Status work(World& world) {
    Session session(world);
    SR_TRY(session.open());
    SR_TRY(session.set("k0", "journal"));
    SR_TRY(session.set("k1", "witnessed", Durability::kWitnessed));
    SR_TRY(session.increment("tokens", -1));
    return session.close();
  }

  static Status rotate_dek(World& world) {
    Session session(world);
    SR_TRY(session.open());
    SR_TRY(DekRotation(session.engine()).rotate(as_bytes("backup")));
    SR_TRY(session.set("k1", "rotated", Durability::kWitnessed));
    return session.close();
  }

  static Status rotate_kek(World& world) {
    Session session(world);
    SR_TRY(session.open());
    const Status rotated = KekRotation(session.engine()).rotate();
    if (!rotated.ok() && !rotated.is(Reason::kNothingToDo)) return rotated;
    SR_TRY(session.set("k1", "rotated"));
    return session.close();
  }

  static Status decommission(World& world) {
    Session session(world);
    Engine& engine = session.engine();
    SR_ASSIGN(const StartupState startup, Start(engine).determine_startup_state());
    if (startup == StartupState::kColdstart) return {};
    SR_TRY(Start(engine).setup_persistence_files());
    if (Start(engine).initialize_warmstart().ok()) SR_TRY(Start(engine).create_and_load_vault());
    return Removal(engine).decommission(password_proof("backup"));
  }
};

}  // namespace

// --- Worlds ---

void KeyProtectorConformance::SetUp() {
  device_ = GetParam().make();
  blank_ = device_->memory();
}

std::unique_ptr<World> KeyProtectorConformance::new_world() {
  auto world = std::make_unique<World>();
  world->options = [this] { return device_->options(); };
  device_->remember(blank_);
  device_->enter(*world);
  device_->heal(*world);
  return world;
}

std::unique_ptr<World> KeyProtectorConformance::start(const Origin& from) {
  std::unique_ptr<World> world = from.image->start();
  device_->remember(from.memory);
  device_->enter(*world);
  device_->heal(*world);
  return world;
}

KeyProtectorConformance::Origin KeyProtectorConformance::small_store() {
  const std::unique_ptr<World> world = new_world();
  small_tpm_store(*world);
  return origin(*world);
}

KeyProtectorConformance::Origin KeyProtectorConformance::lost_store() {
  const std::unique_ptr<World> world = start(small_store());
  device_->lose(*world);
  device_->enter(*world);
  return origin(*world);
}

Status KeyProtectorConformance::repair(World& world) {
  Session session(world);
  SR_TRY(steps_to_authority(session.engine(), "backup"));
  SR_TRY(device_->repair(session.engine()));
  return session.close();
}

bool KeyProtectorConformance::is_loss(const Status& status) const {
  const std::vector<Reason> reasons = device_->reasons_of_loss();
  return std::any_of(reasons.begin(), reasons.end(), [&](Reason reason) { return status.is(reason); });
}

// --- What must hold ---

// After an opening that ended well the files of before it, the SecretStore's among them, are worth nothing.
bool KeyProtectorConformance::check_refuses_older(Tally& tally, World& world, const std::string& where) {
  if (!device_->remembers_the_vault()) return true;
  Session session(world);
  const Status status = session.open();
  if (is_alarm(status)) return true;
  fault(tally, &Tally::lost, where, "the files of the cut came back: " + describe(status));
  return false;
}

bool KeyProtectorConformance::check_store(Tally& tally, World& world, const std::string& where) {
  const Files cut = files_of(*world.disk);
  if (!check_opens(tally, world, where)) return false;
  if (!cut.contains(kVaultPath)) return true;
  put_files(*world.disk, cut);
  return check_refuses_older(tally, world, where);
}

bool KeyProtectorConformance::check_rotated(Tally& tally, World& world, const std::string& where) {
  {
    Session session(world);
    if (!expect_clean(tally, session.open(), where, "open")) return false;
    if (session.engine().status().rotation_pending &&
        !expect_clean(tally, DekRotation(session.engine()).rotate({}), where, "the rotation continued"))
      return false;
    if (session.engine().status().rotation_pending) {
      fault(tally, &Tally::refused, where, "the rotation is pending for ever");
      return false;
    }
    if (!expect_clean(tally, session.close(), where, "close")) return false;
  }
  return check_store(tally, world, where);
}

bool KeyProtectorConformance::check_repaired(Tally& tally, World& world, const std::string& where) {
  Status opened;
  {
    Session session(world);
    opened = session.open();
  }
  if (!opened.ok()) {
    if (!is_loss(opened)) {
      fault(tally, is_alarm(opened) ? &Tally::false_alarms : &Tally::refused, where,
            "after the repair: " + describe(opened));
      return false;
    }
    ++tally.repeated;
    if (!expect_clean(tally, repair(world), where, "the repair repeated")) return false;
  }
  return check_store(tally, world, where);
}

bool KeyProtectorConformance::check_removed(Tally& tally, World& world, const std::string& where) {
  ++tally.repeated;
  if (!expect_clean(tally, Acts::decommission(world), where, "the decommission repeated")) return false;
  if (!device_->is_empty(world)) {
    fault(tally, &Tally::refused, where, "something is left in the device");
    return false;
  }
  world.ledger.settle({});
  return check_store(tally, world, where);
}

std::vector<KeyProtectorConformance::Scenario> KeyProtectorConformance::scenarios() {
  const auto check = [this](auto method) -> Check {
    return [this, method](Tally& tally, World& world, const std::string& where) {
      return (this->*method)(tally, world, where);
    };
  };
  using Suite = KeyProtectorConformance;
  std::vector<Scenario> all;
  {
    const std::unique_ptr<World> nothing = new_world();
    all.push_back({"COLDSTART", origin(*nothing), Acts::cold_start, check(&Suite::check_store)});
  }
  const Origin small = small_store();
  all.push_back({"WARMSTART", small, Acts::work, check(&Suite::check_store)});
  all.push_back({"rotate dek", small, Acts::rotate_dek, check(&Suite::check_rotated)});
  all.push_back({"rotate kek", small, Acts::rotate_kek, check(&Suite::check_store)});
  all.push_back({"repair", lost_store(), [this](World& world) { return repair(world); },
                 check(&Suite::check_repaired)});
  all.push_back({"decommission", small, Acts::decommission, check(&Suite::check_removed)});
  return all;
}

void KeyProtectorConformance::finish(const char* what, const Scenario& scenario, const Tally& tally) {
  tally.print(what, scenario.name);
  EXPECT_EQ(tally.false_alarms, 0U);
  EXPECT_EQ(tally.lost, 0U);
  EXPECT_EQ(tally.refused, 0U);
  EXPECT_GT(tally.states, 0U);
}

// --- Cuts ---

void KeyProtectorConformance::check_states(Tally& tally, const Scenario& scenario, World& world,
                                           const std::string& where) {
  ++tally.cuts;
  const Device::Memory memory = device_->memory();
  for (const CrashState& state :
       world.disk->crash_states(std::max<std::size_t>(2, kStatesOfACut / device_->step()))) {
    ++tally.states;
    const std::unique_ptr<World> next = after_crash(world, state);
    device_->remember(memory);
    device_->restart();
    device_->enter(*next);
    device_->heal(*next);
    scenario.check(tally, *next, where + ", " + state.description);
  }
}

Tally KeyProtectorConformance::cut_everywhere(const Scenario& scenario) {
  Tally tally;
  std::uint64_t disk_calls = 0;
  std::vector<std::string> device_calls;
  {
    const std::unique_ptr<World> world = start(scenario.from);
    const Status status = scenario.act(*world);
    EXPECT_TRUE(status.ok()) << scenario.name << " without a fault: " << describe(status);
    disk_calls = world->disk->calls();
    device_calls = device_->calls();
    scenario.check(tally, *world, scenario.name + " without a cut");
  }
  const std::uint64_t step = short_campaign() ? 3 : 1;
  for (std::uint64_t number = 1; number <= device_calls.size(); number += step) {
    const std::string& call = device_calls[number - 1];
    // A call that changes nothing leaves what the cut before the next one that does leaves.
    if (!device_->changes_something(call)) continue;
    for (const When when : {When::kBefore, When::kAfter}) {
      // On a slow device a cut before a call is left to the cuts of the disk around it.
      if (when == When::kBefore && device_->step() > 1) continue;
      const std::unique_ptr<World> world = start(scenario.from);
      device_->fail_at(*world, number, when, Failure::kCut);
      scenario.act(*world).ignore("the power was cut");
      check_states(tally, scenario, *world,
                   scenario.name + " cut " + text_of_when(when) + " call " + std::to_string(number) + " '" +
                       call + "' of the device");
    }
    if (tally.faults() > 100) return tally;
  }
  for (std::uint64_t number = 1; number <= disk_calls; number += step * device_->step()) {
    const std::unique_ptr<World> world = start(scenario.from);
    world->disk->power_cut_at(number);
    scenario.act(*world).ignore("the power was cut");
    const std::vector<std::string> log = world->disk->call_log();
    check_states(tally, scenario, *world,
                 scenario.name + " cut at '" + (log.empty() ? "nothing" : log.back()) + "'");
    if (tally.faults() > 100) return tally;
  }
  return tally;
}

TEST_P(KeyProtectorConformance, CutAtEveryCall) {
  for (const Scenario& scenario : scenarios()) finish("protector cut", scenario, cut_everywhere(scenario));
}

// --- Failing calls ---

// The process goes on after the failure; then the device is there again, and the next process opens the store.
Tally KeyProtectorConformance::fail_everywhere(const Scenario& scenario) {
  Tally tally;
  std::vector<std::string> device_calls;
  {
    const std::unique_ptr<World> world = start(scenario.from);
    EXPECT_TRUE(scenario.act(*world).ok());
    device_calls = device_->calls();
  }
  const auto judge_failure = [&](const Status& status, const std::string& where) {
    if (status.ok()) return;
    if (is_alarm(status) || is_loss(status)) {
      fault(tally, &Tally::false_alarms, where, "an outage is told as " + describe(status));
    } else if (!error_info(status.error().reason).retryable) {
      fault(tally, &Tally::refused, where, "an outage is final: " + describe(status));
    }
  };
  const std::uint64_t step = device_->step() * (short_campaign() ? 3 : 1);
  std::uint64_t tried = 0;
  for (std::uint64_t number = 1; number <= device_calls.size(); ++number) {
    const std::string& call = device_calls[number - 1];
    for (const When when : {When::kBefore, When::kAfter}) {
      if (when == When::kAfter && !device_->changes_something(call)) continue;
      for (const Failure failure : {Failure::kOnce, Failure::kForGood}) {
        if (tried++ % step != 0) continue;
        const std::unique_ptr<World> world = start(scenario.from);
        device_->fail_at(*world, number, when, failure);
        const std::string where = scenario.name + ": call " + std::to_string(number) + " '" + call +
                                  "' of the device failed " + text_of_when(when) +
                                  (failure == Failure::kForGood ? " for good" : "");
        judge_failure(scenario.act(*world), where);
        ++tally.cuts;
        ++tally.states;
        device_->heal(*world);
        scenario.check(tally, *world, where);
        if (tally.faults() > 100) return tally;
      }
    }
  }
  const std::uint64_t disk_calls = [&] {
    const std::unique_ptr<World> world = start(scenario.from);
    EXPECT_TRUE(scenario.act(*world).ok());
    return world->disk->calls();
  }();
  for (std::uint64_t number = 1; number <= disk_calls; number += step) {
    const std::unique_ptr<World> world = start(scenario.from);
    world->disk->fail_at(number, {});
    const Status status = scenario.act(*world);
    const std::string where = scenario.name + ": '" + world->disk->call_log()[number - 1] + "' failed";
    if (is_alarm(status)) fault(tally, &Tally::false_alarms, where, describe(status));
    ++tally.cuts;
    ++tally.states;
    world->disk->clear_faults();
    device_->heal(*world);
    scenario.check(tally, *world, where);
    if (tally.faults() > 100) return tally;
  }
  return tally;
}

TEST_P(KeyProtectorConformance, EachCallFails) {
  for (const Scenario& scenario : scenarios()) finish("protector fault", scenario, fail_everywhere(scenario));
}

// --- Outage and loss ---

TEST_P(KeyProtectorConformance, AnOutageHealsAndIsNoLoss) {
  const Origin from = small_store();
  const std::unique_ptr<World> world = start(from);
  device_->cut_off(*world);
  const Files before = files_of(*world->disk);
  for (int times = 0; times < 2; ++times) {
    Session session(*world);
    const Status refused = session.open();
    ASSERT_FALSE(refused.ok());
    EXPECT_TRUE(error_info(refused.error().reason).retryable) << describe(refused);
    EXPECT_FALSE(is_alarm(refused) || is_loss(refused)) << describe(refused);
  }
  {
    // No password makes a loss of it.
    Session session(*world);
    const Status refused = recovery_steps(session.engine(), "backup");
    ASSERT_FALSE(refused.ok());
    EXPECT_TRUE(error_info(refused.error().reason).retryable) << describe(refused);
  }
  EXPECT_FALSE(Acts::decommission(*world).ok());
  EXPECT_EQ(files_of(*world->disk), before);
  device_->heal(*world);
  Tally tally;
  EXPECT_TRUE(check_store(tally, *world, "after the outage"));
}

TEST_P(KeyProtectorConformance, AnOutageOfAColdstartLeavesRoomForTheNext) {
  const std::unique_ptr<World> world = new_world();
  device_->cut_off(*world);
  {
    Session session(*world);
    const Status refused = session.open();
    // A kind without a device makes its place.
    if (refused.ok()) {
      ASSERT_OK(session.close());
    } else {
      EXPECT_TRUE(error_info(refused.error().reason).retryable) << describe(refused);
    }
  }
  device_->heal(*world);
  Tally tally;
  EXPECT_TRUE(check_store(tally, *world, "after the outage"));
}

TEST_P(KeyProtectorConformance, ALossIsRepairedByThePasswordAlone) {
  const Origin from = lost_store();
  const std::unique_ptr<World> world = start(from);
  const Files before = files_of(*world->disk);
  {
    Session session(*world);
    const Status refused = session.open();
    EXPECT_TRUE(is_loss(refused)) << describe(refused);
  }
  {
    Session session(*world);
    EXPECT_REASON(recovery_steps(session.engine(), "another"), Reason::kPasswordWrong);
  }
  EXPECT_EQ(files_of(*world->disk), before);
  ASSERT_OK(repair(*world));
  Tally tally;
  EXPECT_TRUE(check_opens(tally, *world, "after the repair"));
  // The slot of the former root is none any more.
  const Files repaired = files_of(*world->disk);
  world->disk->set_content(kPersistencePath, before.at(kPersistencePath));
  {
    Session session(*world);
    EXPECT_FALSE(session.open().ok());
  }
  put_files(*world->disk, repaired);
  // And what opens needs no repair.
  Session session(*world);
  EXPECT_REASON(recovery_steps(session.engine(), "backup"), Reason::kNothingToDo);
}

// --- Rollback ---

TEST_P(KeyProtectorConformance, OlderFilesAreRefused) {
  const Origin from = small_store();
  const std::unique_ptr<World> world = start(from);
  const Files older = files_of(*world->disk);
  ASSERT_OK(Acts::rotate_dek(*world));
  const Files now = files_of(*world->disk);
  const auto put = [&](std::initializer_list<const char*> paths) {
    put_files(*world->disk, now);
    for (const char* path : paths) world->disk->set_content(path, older.at(path));
  };
  const auto expect_refused = [&](const char* what) {
    const Files before = files_of(*world->disk);
    Session session(*world);
    const Status refused = session.open();
    EXPECT_TRUE(is_alarm(refused)) << what << ": " << describe(refused);
    EXPECT_EQ(files_of(*world->disk), before) << what;
  };
  put({kPersistencePath});
  expect_refused("persistence.bin alone");
  put({kVaultPath});
  expect_refused("the vault alone");
  put({kPersistencePath, kVaultPath});
  expect_refused("both");
  put({kPersistencePath, kVaultPath, kTamperPath});
  expect_refused("all files");
  if (device_->remembers_the_vault()) {
    put_files(*world->disk, older);
    expect_refused("all files and the SecretStore");
  }
  put_files(*world->disk, now);
  Tally tally;
  EXPECT_TRUE(check_opens(tally, *world, "the files of now"));
}

// A device that was put back may be refused, and hides nothing.
TEST_P(KeyProtectorConformance, AnOlderDeviceLosesNothing) {
  const Origin from = small_store();
  for (const Act& act : {Act(Acts::work), Act(Acts::rotate_dek), Act(Acts::rotate_kek)}) {
    const std::unique_ptr<World> world = start(from);
    ASSERT_OK(act(*world));
    const Origin now = origin(*world);
    device_->remember(from.memory);
    device_->restart();
    device_->enter(*world);
    const Files before = files_of(*world->disk);
    {
      Session session(*world);
      const Status opened = session.open();
      if (opened.ok()) {
        EXPECT_EQ(session.contents(), world->ledger.newest());
      } else {
        EXPECT_EQ(files_of(*world->disk), before) << describe(opened);
      }
    }
    const std::unique_ptr<World> again = start(now);
    Tally tally;
    EXPECT_TRUE(check_opens(tally, *again, "the device of now"));
  }
}

TEST_P(KeyProtectorConformance, TheRootOfAnotherStoreOpensNothing) {
  const Origin one = small_store();
  const std::unique_ptr<World> world = start(one);
  const Files first = files_of(*world->disk);
  ASSERT_OK(Acts::decommission(*world));
  world->ledger.settle({});
  ASSERT_OK(Acts::cold_start(*world));
  const Files second = files_of(*world->disk);
  for (const char* path : {kPersistencePath, kVaultPath, kTamperPath})
    world->disk->set_content(path, first.at(path));
  {
    Session session(*world);
    EXPECT_FALSE(session.open().ok());
  }
  put_files(*world->disk, second);
  ASSERT_OK(open_and_close(*world));
}

// --- Concurrency ---

TEST_P(KeyProtectorConformance, OneOfManyOpeningsGetsTheStore) {
  std::vector<Origin> origins;
  origins.push_back(small_store());
  {
    const std::unique_ptr<World> nothing = start(origins.front());
    ASSERT_OK(Acts::decommission(*nothing));
    nothing->ledger.settle({});
    origins.push_back(origin(*nothing));
  }
  for (const Origin& from : origins) {
    const std::unique_ptr<World> world = start(from);
    constexpr int kOpeners = 4;
    std::latch begun(kOpeners);
    std::latch done(kOpeners);
    std::array<Status, kOpeners> answers;
    std::vector<std::thread> threads;
    for (Status& answer : answers) {
      threads.emplace_back([&] {
        Opened store(*world->disk, world->clock, world->engine_options());
        begun.arrive_and_wait();
        answer = store.open();
        done.arrive_and_wait();
        if (answer.ok()) EXPECT_OK(store->close());
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(std::count_if(answers.begin(), answers.end(), [](const Status& each) { return each.ok(); }), 1);
    for (const Status& answer : answers)
      if (!answer.ok()) EXPECT_REASON(answer, Reason::kLocked);
    Tally tally;
    EXPECT_TRUE(check_opens(tally, *world, "after the race"));
  }
}

TEST_P(KeyProtectorConformance, ACopyIsLockedWhileTheOriginalIsOpen) {
  const Origin from = small_store();
  const std::unique_ptr<World> world = start(from);
  for (const char* name : {"persistence.bin", "vault.bin", "tmtmp.bin"}) {
    world->disk->set_content(std::string("/srv/copy/") + name,
                             *world->disk->content(std::string(kStore) + "/" + name));
  }
  Session session(*world);
  ASSERT_OK(session.open());
  {
    EngineOptions options = world->engine_options();
    options.directory = "/srv/copy";
    Opened copy(*world->disk, world->clock, std::move(options));
    EXPECT_REASON(copy.open(), Reason::kLocked);
  }
  ASSERT_OK(session.set("k0", "still", Durability::kWitnessed));
  ASSERT_OK(session.close());
}

TEST_P(KeyProtectorConformance, ReadersBesideAWriter) {
  const Origin from = small_store();
  const std::unique_ptr<World> world = start(from);
  Session session(*world);
  ASSERT_OK(session.open());
  ASSERT_OK(session.set("k0", "now", Durability::kWitnessed));
  ASSERT_OK(Verification(session.engine()).verify({}).status());
  EngineOptions options = world->engine_options();
  options.read_only = true;
  Opened reader(*world->disk, world->clock, std::move(options));
  ASSERT_OK(reader.open());
  EXPECT_EQ(reader.get("k0"), "now");
  ASSERT_OK(Verification(*reader).verify({}).status());
  ASSERT_OK(session.set("k0", "later", Durability::kWitnessed));
  ASSERT_OK(reader->close());
  ASSERT_OK(session.close());
}

// --- Wear ---

TEST_P(KeyProtectorConformance, AStartWritesLittleToTheDevice) {
  const Origin from = small_store();
  const std::unique_ptr<World> world = start(from);
  ASSERT_OK(open_and_close(*world));
  std::size_t before = device_->writes(*world);
  for (int times = 0; times < 5; ++times) {
    ASSERT_OK(open_and_close(*world));
    const std::size_t after = device_->writes(*world);
    EXPECT_LE(after - before, device_->writes_per_start_max());
    before = after;
  }
  Session session(*world);
  ASSERT_OK(session.open());
  const std::size_t open = device_->writes(*world);
  for (int i = 0; i < 200; ++i) ASSERT_OK(session.set("k0", std::to_string(i)));
  EXPECT_EQ(device_->writes(*world), open) << "a journal commit writes to the device";
  ASSERT_OK(session.close());
}

}  // namespace strongroom::store::testing
