// Forks of one store, on a real swtpm: copies that continue from one checkpoint, and an owner who delays, withholds, delivers
// and answers the commands between them and the TPM.
#include <array>
#include <random>
#include <set>

#include "private_tpm.h"
#include "tpm_store_fixture.h"

namespace strongroom::store::testing {
namespace {

using log::Durability;
using roots::testing::PrivateTpm;
using roots::testing::Relay;

constexpr std::uint32_t kNvIncrement = 0x134;
constexpr std::uint32_t kNvExtend = 0x136;
// TPM_RC_NV_RATE: "the TPM is rate-limiting accesses to prevent wearout of NV".
const Bytes kNvRate = {0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x09, 0x20};

// The way of one copy to the TPM.
class Bus {
 public:
  explicit Bus(const PrivateTpm& device, const std::string& name) : relay_(device, name) {}

  [[nodiscard]] std::string tcti() const { return relay_.tcti(); }
  void open() {
    relay_.answer_by({});
    relay_.forget();
  }
  // The TPM never gets a command that would write.
  void withhold_writes() {
    relay_.answer_by([](const Relay::Exchange& exchange) {
      const bool writes = exchange.code == kNvIncrement || exchange.code == kNvExtend;
      return writes ? std::optional(kNvRate) : std::nullopt;
    });
  }
  // From the nth command on nothing reaches the TPM, and nothing is answered; the nth itself is kept.
  void stop_at(std::size_t n) {
    count_ = 0;
    held_.clear();
    relay_.answer_by([this, n](const Relay::Exchange& exchange) -> std::optional<Bytes> {
      if (++count_ < n) return std::nullopt;
      if (count_ == n) {
        held_ = exchange.command;
        held_code_ = exchange.code;
      }
      return Bytes();
    });
  }
  [[nodiscard]] std::vector<std::uint32_t> commands() const {
    std::vector<std::uint32_t> codes;
    for (const Relay::Exchange& exchange : relay_.exchanges()) codes.push_back(exchange.code);
    return codes;
  }
  [[nodiscard]] std::uint32_t held_code() const { return held_.empty() ? 0 : held_code_; }
  // What was kept reaches the TPM now.
  void deliver() {
    if (!held_.empty()) (void)relay_.deliver(std::exchange(held_, {}));
  }

 private:
  Relay relay_;
  std::size_t count_ = 0;
  Bytes held_;
  std::uint32_t held_code_ = 0;
};

class TpmFork : public ::testing::Test {
 protected:
  TpmFork() {
    // With a persistent parent a client that was killed leaves less behind in a TPM without a resource manager.
    EXPECT_TRUE(
        device.tool({"createprimary", "-C", "o", "-G", "ecc256:aes128cfb", "-c", device.directory() + "/p",
                     "-a", "restricted|decrypt|fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda"}));
    EXPECT_TRUE(device.tool({"evictcontrol", "-C", "o", "-c", device.directory() + "/p", "0x81000001"}));
    EXPECT_TRUE(device.tool({"flushcontext", "-t"}));
    original.options = options_for(bus);
    Session session(original);
    EXPECT_OK(session.open());
    EXPECT_OK(session.set("tokens", "100", Durability::kWitnessed));
    EXPECT_OK(session.close());
  }

  static std::function<EngineOptions()> options_for(const Bus& way) {
    return [&way] {
      EngineOptions options = tpm_options();
      options.tpm.tcti = way.tcti();
      return options;
    };
  }
  // A copy of `from`, which reaches the TPM by `way`.
  static std::unique_ptr<World> copy_of(World& from, const Bus& way) {
    auto copy = std::make_unique<World>(from.disk->clone(), from.clock.wall_ms());
    copy->options = options_for(way);
    return copy;
  }
  static Status start(World& world) {
    Session session(world);
    return session.open();
  }
  static std::optional<std::string> tokens(World& world) {
    Session session(world);
    const Status opened = session.open();
    EXPECT_OK(opened);
    if (!opened.ok()) return std::nullopt;
    const Contents contents = session.contents();
    EXPECT_OK(session.close());
    return contents.at("tokens");
  }
  static void spend(World& world) {
    Session session(world);
    ASSERT_OK(session.open());
    ASSERT_OK(session.set("tokens", "0", Durability::kWitnessed));
    ASSERT_OK(session.close());
  }
  static void expect_refused_for_ever(World& world) {
    for (int i = 0; i < 3; ++i) {
      const Status status = start(world);
      EXPECT_TRUE(is_alarm(status)) << describe(status);
    }
  }

  PrivateTpm device;
  Bus bus{device, "original"};
  Bus other{device, "copy"};
  World original;
};

// The fork that a counter alone confirms: it has reserved the number that the original then reaches.
TEST_F(TpmFork, WithheldWritesDoNotReserveAContinuation) {
  const auto copy = copy_of(original, other);
  other.withhold_writes();
  EXPECT_REASON(start(*copy), Reason::kTpmUnavailable);
  spend(original);
  other.open();
  expect_refused_for_ever(*copy);
  EXPECT_EQ(tokens(original), "0");
  expect_refused_for_ever(*copy);
}

TEST_F(TpmFork, JournalCommitsAndACleanCloseEndAForkToo) {
  const auto copy = copy_of(original, other);
  other.withhold_writes();
  EXPECT_REASON(start(*copy), Reason::kTpmUnavailable);
  {
    Session session(original);
    ASSERT_OK(session.open());
    for (int i = 0; i < 100; ++i) ASSERT_OK(session.set("tokens", std::to_string(99 - i)));
    ASSERT_OK(session.close());
  }
  other.open();
  expect_refused_for_ever(*copy);
  EXPECT_EQ(tokens(original), "0");
}

TEST_F(TpmFork, TheCopyThatIsUsedFirstIsTheStore) {
  const auto copy = copy_of(original, other);
  bus.withhold_writes();
  EXPECT_REASON(start(original), Reason::kTpmUnavailable);
  spend(*copy);
  bus.open();
  expect_refused_for_ever(original);
  EXPECT_EQ(tokens(*copy), "0");
}

// A start that ends at each of its commands, whose last one may reach the TPM after the original was used.
TEST_F(TpmFork, AStartThatStopsAtAnyCommand) {
  std::vector<std::uint32_t> commands;
  {
    // From one checkpoint on, what a start sends is the same.
    other.open();
    const auto whole = copy_of(original, other);
    ASSERT_OK(start(*whole));
    commands = other.commands();
    original.disk = whole->disk->clone();
    spend(original);
  }
  ASSERT_GT(commands.size(), 20U);
  std::size_t stopped = 0;
  std::size_t both_refused = 0;
  std::size_t continued = 0;
  const auto extend = static_cast<std::size_t>(std::ranges::find(commands, kNvExtend) - commands.begin()) + 1;
  for (std::size_t n = 1; n <= commands.size(); ++n) {
    const std::uint32_t code = commands[n - 1];
    const bool writes = code == kNvIncrement || code == kNvExtend;
    if (!writes && !long_campaign() && n % 6 != 0) continue;
    SCOPED_TRACE(n);
    const auto copy = copy_of(original, other);
    other.stop_at(n);
    const Status status = start(*copy);
    if (!status.ok()) {
      EXPECT_FALSE(is_alarm(status)) << describe(status);
      ++stopped;
    }
    // Without a resource manager what the copy left loaded stays; only a write that comes late needs its session.
    if (!writes) device.restart();
    if (n > extend) {
      // The TPM has the copy's head: the copy is the store from here on.
      expect_refused_for_ever(original);
      other.deliver();
      other.open();
      device.restart();
      ASSERT_EQ(tokens(*copy), "0");
      expect_refused_for_ever(original);
      original.disk = copy->disk->clone();
      ++continued;
      continue;
    }
    spend(original);
    other.deliver();
    other.open();
    device.restart();
    expect_refused_for_ever(*copy);
    if (n < extend) {
      ASSERT_EQ(tokens(original), "0");
      continue;
    }
    // No one can tell which of the two is right: both are refused, by name, and authority decides.
    EXPECT_REASON(start(original), Reason::kVaultForked);
    ++both_refused;
    ASSERT_OK(reanchor_tpm(original, password_proof("backup")));
    expect_refused_for_ever(*copy);
    ASSERT_EQ(tokens(original), "0");
  }
  std::printf("tpm fork: starts stopped=%zu of %zu commands, continued by the copy=%zu, both refused=%zu\n",
              stopped, commands.size(), continued, both_refused);
  EXPECT_GT(stopped, 3U);
  EXPECT_GT(continued, 0U);
  EXPECT_EQ(both_refused, 1U);
}

TEST_F(TpmFork, ACloneOfAClone) {
  const auto copy = copy_of(original, other);
  other.withhold_writes();
  EXPECT_REASON(start(*copy), Reason::kTpmUnavailable);
  const auto clone = copy_of(*copy, other);
  EXPECT_REASON(start(*clone), Reason::kTpmUnavailable);  // continues the copy: the same anchor is to come
  spend(original);
  other.open();
  expect_refused_for_ever(*copy);
  expect_refused_for_ever(*clone);
  EXPECT_EQ(tokens(original), "0");
}

TEST_F(TpmFork, ACloneContinuesWhereItsOriginWasAnswered) {
  const auto copy = copy_of(original, other);
  other.withhold_writes();
  EXPECT_REASON(start(*copy), Reason::kTpmUnavailable);
  const auto clone = copy_of(*copy, other);
  other.open();
  spend(*clone);
  expect_refused_for_ever(*copy);
  expect_refused_for_ever(original);
  EXPECT_EQ(tokens(*clone), "0");
}

// The owner may remove an index and make one with the same name, but not with the same secret.
TEST_F(TpmFork, IndicesThatWereRemovedAndMadeAgain) {
  const auto copy = copy_of(original, other);
  other.withhold_writes();
  EXPECT_REASON(start(*copy), Reason::kTpmUnavailable);
  spend(original);
  other.open();
  const auto tpm = roots::Tpm::open(device.tcti(), {}, {});
  ASSERT_OK(tpm);
  auto indices = (*tpm)->find_indices(first_counter_index("acme"), kIndexPlaces);
  ASSERT_OK(indices);
  ASSERT_EQ(indices->size(), 2U);
  const Bytes secret(32, 0x77);
  std::stable_partition(indices->begin(), indices->end(),
                        [](const auto& info) { return info.kind == roots::NvKind::kExtend; });
  for (const roots::NvIndexInfo& info : *indices) {
    const bool counter = info.kind == roots::NvKind::kCounter;
    ASSERT_OK((*tpm)->undefine(info.index));
    EXPECT_REASON(start(original), Reason::kWitnessMissing);
    expect_refused_for_ever(*copy);
    ASSERT_OK((*tpm)->define(info.kind, info.index, info.label, secret));
    if (counter) {
      const roots::TpmName name = roots::counter_name(info.index, info.label);
      ASSERT_OK((*tpm)->increment_counter(info.index, name, secret));
    } else {
      const roots::TpmName name = roots::extend_name(info.index, info.label);
      ASSERT_OK((*tpm)->extend(info.index, name, secret, Digest{}));
    }
    const Status status = start(original);
    EXPECT_TRUE(status.is(Reason::kWitnessReplaced) || status.is(Reason::kVaultRolledBack))
        << describe(status);
    expect_refused_for_ever(*copy);
  }
}

// Two copies that are open at the same time: the one that moves the TPM second learns of the first.
TEST_F(TpmFork, TwinsThatAreBothOpen) {
  const auto copy = copy_of(original, other);
  auto first = std::make_unique<Session>(original);
  ASSERT_OK(first->open());
  ASSERT_OK(first->set("tokens", "99", Durability::kWitnessed));
  copy->disk = original.disk->clone();
  Session second(*copy);
  ASSERT_OK(second.open());
  ASSERT_OK(second.set("tokens", "50", Durability::kWitnessed));
  original.clock.advance(1'000);  // it reads again what it has left
  const Status late = first->set("tokens", "98", Durability::kWitnessed);
  EXPECT_TRUE(is_alarm(late)) << describe(late);
  ASSERT_FALSE(late.ok());
  EXPECT_TRUE(late.error().outcome_unknown);
  EXPECT_FALSE(late.error().committed);
  // It writes no more, whatever was validated before.
  const Status journal = first->set("tokens", "97");
  EXPECT_TRUE(is_alarm(journal)) << describe(journal);
  EXPECT_FALSE(!journal.ok() && journal.error().outcome_unknown);
  EXPECT_TRUE(first->engine().alarmed());
  first.reset();
  ASSERT_OK(second.set("tokens", "49", Durability::kWitnessed));
  ASSERT_OK(second.close());
  EXPECT_EQ(tokens(*copy), "49");
  expect_refused_for_ever(original);
}

// Both go on before either reads again: the late extend is in both histories' way, and authority decides.
TEST_F(TpmFork, TwinsWithinAMoment) {
  const auto copy = copy_of(original, other);
  auto first = std::make_unique<Session>(original);
  ASSERT_OK(first->open());
  ASSERT_OK(first->set("tokens", "99", Durability::kWitnessed));
  copy->disk = original.disk->clone();
  auto second = std::make_unique<Session>(*copy);
  ASSERT_OK(second->open());
  ASSERT_OK(second->set("tokens", "50", Durability::kWitnessed));
  EXPECT_REASON(first->set("tokens", "98", Durability::kWitnessed), Reason::kVaultForked);
  EXPECT_REASON(second->set("tokens", "49", Durability::kWitnessed), Reason::kVaultForked);
  first.reset();
  second.reset();
  expect_refused_for_ever(original);
  expect_refused_for_ever(*copy);
}

// --- Random schedules ---

// One random schedule of the two copies. Counted over all schedules.
struct ScheduleCounts {
  std::size_t opened = 0;
  std::size_t refused = 0;
  std::size_t acknowledged = 0;
  std::size_t late = 0;
};
class Schedule {
 public:
  Schedule(std::size_t seed, std::array<Bus*, 2> ways, std::array<std::unique_ptr<World>, 2> copies,
           ScheduleCounts& counts)
      : seed_(seed),
        random_(static_cast<std::mt19937::result_type>(seed)),
        ways_(ways),
        copies_(std::move(copies)),
        counts_(counts) {}

  void step(std::size_t step) {
    const std::size_t i = draw(2);
    std::unique_ptr<Session>& session = sessions_[i];
    switch (draw(8)) {
      case 0:
      case 1:
      case 2:
        start(i, step);
        break;
      case 3:
      case 4:
        if (session) {
          const std::string key = "w" + std::to_string(step);
          if (session->set(key, "1", Durability::kWitnessed).ok()) {
            acknowledged_.insert(key);
            ++counts_.acknowledged;
          }
        }
        break;
      case 5:
        if (session) session->set("j" + std::to_string(step), "1").ignore("a journal commit may be rewound");
        break;
      case 6:
        ++counts_.late;
        ways_[i]->deliver();
        break;
      case 7: {
        if (session && draw(2) == 0) {
          session->close().ignore("a stopped bus");
          session.reset();
        } else if (!sessions_[1 - i]) {
          copies_[1 - i]->disk = copies_[i]->disk->clone();
        }
        break;
      }
    }
  }

 private:
  std::size_t draw(std::size_t n) { return static_cast<std::size_t>(random_() % n); }

  // Started, or killed and started, perhaps to be stopped.
  void start(std::size_t i, std::size_t step) {
    std::unique_ptr<Session>& session = sessions_[i];
    session.reset();
    if (draw(2) == 0) {
      ways_[i]->stop_at(1 + draw(110));
    } else {
      ways_[i]->open();
    }
    session = std::make_unique<Session>(*copies_[i]);
    if (!session->open().ok()) {
      ++counts_.refused;
      session.reset();
      return;
    }
    ++counts_.opened;
    const Contents contents = session->contents();
    for (const std::string& key : acknowledged_)
      ASSERT_TRUE(contents.contains(key))
          << "seed " << seed_ << ", step " << step << ": " << key << " is undone";
  }

  const std::size_t seed_;
  std::mt19937 random_;
  const std::array<Bus*, 2> ways_;
  const std::array<std::unique_ptr<World>, 2> copies_;
  std::array<std::unique_ptr<Session>, 2> sessions_;
  std::set<std::string> acknowledged_;
  ScheduleCounts& counts_;
};

// Copies that are started, stopped at any command, used, killed and cloned, with writes that reach the TPM late. What was
// acknowledged as witnessed is held by every copy that opens.
TEST_F(TpmFork, RandomSchedules) {
  constexpr std::size_t kSteps = 14;
  const std::size_t schedules = bounded(10, 1000);
  ScheduleCounts counts;
  for (std::size_t seed = 0; seed < schedules; ++seed) {
    std::array<std::unique_ptr<World>, 2> copies = {copy_of(original, bus), nullptr};
    // What other schedules left does not disturb: each begins by an administrative operation on the same files.
    bus.open();
    other.open();
    const Status begun = reanchor_tpm(*copies[0], password_proof("backup"));
    ASSERT_TRUE(begun.ok() || begun.is(Reason::kNothingToDo)) << "seed " << seed << ": " << describe(begun);
    copies[1] = copy_of(*copies[0], other);
    {
      Schedule schedule(seed, {&bus, &other}, std::move(copies), counts);
      for (std::size_t step = 0; step < kSteps; ++step) {
        schedule.step(step);
        if (HasFatalFailure()) return;
      }
    }
    bus.open();
    other.open();
    // What a killed client left loaded stays without a resource manager.
    device.restart();
  }
  std::printf(
      "tpm fork: random schedules=%zu opened=%zu refused=%zu acknowledged=%zu late deliveries=%zu undone=0\n",
      schedules, counts.opened, counts.refused, counts.acknowledged, counts.late);
  EXPECT_GT(counts.opened, schedules);
  EXPECT_GT(counts.acknowledged, 0U);
}

// The same machine with nothing but faults: kills, commands and answers that are lost. It is never refused.
TEST_F(TpmFork, OneMachineWithFaultsIsNeverRefused) {
  const std::size_t rounds = std::max<std::size_t>(8, bounded(12, 300));
  std::size_t failed = 0;
  for (std::size_t round = 0; round < rounds; ++round) {
    std::mt19937 random(static_cast<std::mt19937::result_type>(round));
    bus.stop_at(1 + random() % 110);
    {
      Session session(original);
      const Status status = session.open();
      EXPECT_FALSE(is_alarm(status)) << "round " << round << ": " << describe(status);
      if (status.ok()) {
        for (int i = 0; i < 5; ++i) {
          const Status set =
              session.set("k" + std::to_string(i), std::to_string(round), Durability::kWitnessed);
          EXPECT_FALSE(is_alarm(set)) << "round " << round << ": " << describe(set);
        }
      } else {
        ++failed;
      }
    }
    bus.open();
    device.restart();
    Session session(original);
    const Status status = session.open();
    ASSERT_TRUE(status.ok()) << "round " << round << ": " << describe(status);
    ASSERT_TRUE(original.ledger.permits(session.contents())) << "round " << round;
    original.ledger.settle(session.contents());
    if (round % 2 == 0) ASSERT_OK(session.close());
  }
  EXPECT_GT(failed, 0U);
}

}  // namespace
}  // namespace strongroom::store::testing
