// What the reliability tests share: a ledger of what a store may hold, sessions that keep it, administrative
// operations as scenarios, and the loop that cuts the power at every call of one of them.
//
// Invariants: a scenario makes the same calls whenever it is run on the same image, so that call n of one run is
// call n of the next. An operation that was answered with ok (or `committed`) is in every permitted state. One of unknown
// outcome is whole in some and absent in others, never in parts. One that failed with any other error is in none.
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>

#include "engine_fixture.h"
#include "simulated_tpm.h"
#include "store/start/start.h"

namespace strongroom::store::testing {

using os::testing::CrashState;
using os::testing::ManualClock;
using os::testing::SimulatedDisk;
using Contents = std::map<std::string, std::string>;
using KeyChange = std::pair<std::string, std::optional<std::string>>;
using KeyChanges = std::vector<KeyChange>;

// STRONGROOM_LONG=1 asks for the long campaign; under a sanitizer the short one is shorter still.
inline bool long_campaign() {
  const char* value = std::getenv("STRONGROOM_LONG");
  return value != nullptr && std::string_view(value) == "1";
}
inline bool short_campaign() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  constexpr bool kSanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  constexpr bool kSanitized = true;
#else
  constexpr bool kSanitized = false;
#endif
#else
  constexpr bool kSanitized = false;
#endif
  return kSanitized && !long_campaign();
}
inline std::size_t bounded(std::size_t usual, std::size_t in_long) {
  if (long_campaign()) return in_long;
  return short_campaign() ? std::max<std::size_t>(2, usual / 8) : usual;
}

// How many of the states that a power cut may leave are looked at.
inline const std::size_t kStates = bounded(40, 1000);

// How often a search of every call must have met something at least.
inline std::size_t met_at_least(std::size_t usual) { return short_campaign() ? usual / 4 : usual; }

// Every state of the application's records that is permitted now.
class Ledger {
 public:
  void acknowledged(const KeyChanges& changes) {
    for (Contents& state : states_) apply(state, changes);
    unite();
  }
  void uncertain(const KeyChanges& changes) {
    const std::size_t count = states_.size();
    for (std::size_t i = 0; i < count; ++i) {
      states_.push_back(states_[i]);
      apply(states_.back(), changes);
    }
    unite();
  }
  void settle(Contents seen) { states_ = {std::move(seen)}; }
  [[nodiscard]] bool permits(const Contents& seen) const {
    return std::find(states_.begin(), states_.end(), seen) != states_.end();
  }
  [[nodiscard]] const Contents& newest() const { return states_.front(); }

 private:
  static void apply(Contents& state, const KeyChanges& changes) {
    for (const auto& [key, value] : changes) {
      if (value) {
        state[key] = *value;
      } else {
        state.erase(key);
      }
    }
  }
  void unite() {
    std::vector<Contents> distinct;
    for (Contents& state : states_) {
      if (std::find(distinct.begin(), distinct.end(), state) == distinct.end())
        distinct.push_back(std::move(state));
    }
    states_ = std::move(distinct);
  }
  std::vector<Contents> states_{Contents{}};
};

struct World {
  World() = default;
  World(std::unique_ptr<SimulatedDisk> disk_in, std::int64_t wall_ms)
      : disk(std::move(disk_in)), clock(wall_ms) {}

  std::unique_ptr<SimulatedDisk> disk = make_disk();
  ManualClock clock;
  Ledger ledger;
  os::FileSystem* files = nullptr;  // what sessions use in place of the disk
  std::function<EngineOptions()> options = [] { return store_options(); };
  std::shared_ptr<SimulatedChip> chip;  // of a store with a TPM
  // The process ends with this call of the disk; its TPM gets no call after it.
  std::uint64_t killed_at = UINT64_MAX;

  EngineOptions engine_options() {
    EngineOptions out = options();
    if (!chip) return out;
    const auto powered = [this] { return !disk->power_is_cut() && disk->calls() < killed_at; };
    out.tpm.open = chip->opener(powered, [this] {
      if (cut_kills) {
        disk->fail_at(disk->calls() + 1, {.sticky = true, .partial = false});
        killed_at = disk->calls();
      } else {
        disk->cut_power_now();
      }
    });
    return out;
  }
  bool cut_kills = false;  // a cut of the TPM ends the process, and the machine goes on
};

// An image to start from again and again.
struct Image {
  explicit Image(World& world)
      : disk(world.disk->clone()),
        wall_ms(world.clock.wall_ms()),
        ledger(world.ledger),
        options(world.options),
        chip(world.chip ? world.chip->clone() : nullptr) {}
  [[nodiscard]] std::unique_ptr<World> start() const {
    auto world = std::make_unique<World>(disk->clone(), wall_ms);
    world->ledger = ledger;
    world->options = options;
    if (chip) world->chip = chip->clone();
    return world;
  }
  std::unique_ptr<SimulatedDisk> disk;
  std::int64_t wall_ms;
  Ledger ledger;
  std::function<EngineOptions()> options;
  std::shared_ptr<SimulatedChip> chip;
};

// The machine as it comes up after a power cut that left `state`.
inline std::unique_ptr<World> after_crash(World& world, const CrashState& state) {
  auto next = std::make_unique<World>(world.disk->after_crash(state), world.clock.wall_ms());
  next->clock.reboot(60'000);
  next->ledger = world.ledger;
  next->options = world.options;
  if (world.chip) {
    next->chip = world.chip->clone();
    next->chip->reset();
  }
  return next;
}

inline Contents contents_of(Engine& engine) {
  Contents contents;
  std::vector<std::string> keys;
  engine.queue().scan({}, [&](const log::Record& record) {
    if (!record.key().starts_with(kSystemPrefix)) keys.emplace_back(record.key());
    return true;
  });
  log::ValueCipher cipher(engine.epoch_keys());
  for (const std::string& key : keys) {
    std::string& value = contents[key];
    const auto size = engine.queue().read(cipher, key, [&value](std::size_t bytes) {
      value.resize(bytes);
      return reinterpret_cast<std::uint8_t*>(value.data());
    });
    if (!size.ok()) value = "unreadable: " + size.error().detail;
  }
  return contents;
}

inline std::string describe(const Status& status) {
  if (status.ok()) return "ok";
  return std::string(error_info(status.error().reason).reason) + ": " + status.error().detail;
}

inline bool is_alarm(const Status& status) {
  return !status.ok() && std::string_view(error_info(status.error().reason).code) == "PERS_8003";
}

// One opening of a world's store; tells the ledger what it did.
class Session {
 public:
  explicit Session(World& world)
      : world_(world),
        opened_(world.files != nullptr ? *world.files : *world.disk, world.clock, world.engine_options()) {}

  Status open() { return opened_.open(); }
  Status close() { return opened_->close(); }
  Engine& engine() { return *opened_; }
  Contents contents() { return contents_of(*opened_); }

  Status set(const std::string& key, const std::string& value,
             log::Durability durability = log::Durability::kJournal) {
    return keep({{key, value}}, opened_.set(key, value, durability));
  }
  Status remove(const std::string& key) { return keep({{key, std::nullopt}}, opened_.remove(key)); }
  Status increment(const std::string& key, std::int64_t delta) {
    const auto found = world_.ledger.newest().find(key);
    const std::int64_t before =
        found == world_.ledger.newest().end() ? 0 : *log::parse_counter(as_bytes(found->second));
    const auto after = log::encode_counter(before + delta);
    return keep({{key, std::string(as_text(after))}}, opened_.increment(key, {delta, {}, {}}));
  }
  Status batch(const KeyChanges& changes, log::Durability durability = log::Durability::kJournal) {
    log::QueuedOperation operation;
    operation.type = log::QueuedOperation::Type::kBatch;
    operation.durability = durability;
    for (const auto& [key, value] : changes) {
      log::BatchItem item;
      item.operation = value ? log::Operation::kPut : log::Operation::kDelete;
      item.content = log::KeyAndValue(as_bytes(key), value ? as_bytes(*value) : ByteView());
      operation.batch.push_back(std::move(item));
    }
    return keep(changes, opened_->commit_now(std::move(operation)));
  }

 private:
  Status keep(const KeyChanges& changes, const log::Completion& completion) {
    const bool durable = completion.status.ok() || completion.status.error().committed;
    if (durable) {
      world_.ledger.acknowledged(changes);
    } else if (completion.status.error().outcome_unknown) {
      world_.ledger.uncertain(changes);
    }
    return completion.status;
  }
  World& world_;
  Opened opened_;
};

// The steps before an administrative operation.
inline Status steps_to_identified(Engine& engine) {
  SR_TRY(Start(engine).determine_startup_state().status());
  SR_TRY(Start(engine).setup_persistence_files());
  SR_TRY(Start(engine).initialize_warmstart());
  SR_TRY(Start(engine).create_and_load_vault());
  return Start(engine).initialize_storage_identifier();
}

inline Credential password_proof(std::string_view password) {
  Credential credential;
  credential.password = SecretBytes(as_bytes(password));
  return credential;
}

struct Tally {
  std::size_t cuts = 0;
  std::size_t states = 0;
  std::size_t false_alarms = 0;
  std::size_t lost = 0;  // acknowledged writes missing, or a state that no order of the operations explains
  std::size_t refused = 0;   // other refusals where a clean start was due
  std::size_t repeated = 0;  // acts that were completed by repeating them

  [[nodiscard]] std::size_t faults() const { return false_alarms + lost + refused; }
  Tally& operator+=(const Tally& other) {
    cuts += other.cuts;
    states += other.states;
    false_alarms += other.false_alarms;
    lost += other.lost;
    refused += other.refused;
    repeated += other.repeated;
    return *this;
  }
  void print(const char* what, const std::string& name) const {
    std::printf(
        "%s: %s cuts=%zu states=%zu false alarms=%zu acknowledged lost=%zu other refusals=%zu repeated=%zu\n",
        what, name.c_str(), cuts, states, false_alarms, lost, refused, repeated);
  }
};

// Writes down a fault; only the first few of a tally are told in full.
inline void fault(Tally& tally, std::size_t Tally::*counter, const std::string& where,
                  const std::string& what) {
  ++(tally.*counter);
  if (tally.faults() <= 3) ADD_FAILURE() << where << "\n  " << what;
}

// A status that should have been ok.
inline bool expect_clean(Tally& tally, const Status& status, const std::string& where, const char* step) {
  if (status.ok()) return true;
  fault(tally, is_alarm(status) ? &Tally::false_alarms : &Tally::refused, where,
        std::string(step) + ": " + describe(status));
  return false;
}

// The store opens, holds what the ledger permits, takes a write and shows it in the next opening.
inline bool check_opens(Tally& tally, World& world, const std::string& where) {
  {
    Session session(world);
    if (!expect_clean(tally, session.open(), where, "open")) return false;
    Contents seen = session.contents();
    if (!world.ledger.permits(seen)) {
      std::string text = "records:";
      for (const auto& [key, value] : seen) text += " " + key + "=" + value.substr(0, 12);
      text += "; the ledger's newest:";
      for (const auto& [key, value] : world.ledger.newest()) text += " " + key + "=" + value.substr(0, 12);
      fault(tally, &Tally::lost, where, text);
      return false;
    }
    world.ledger.settle(std::move(seen));
    if (!expect_clean(tally, session.set("after", "the cut"), where, "write")) return false;
    if (!expect_clean(tally, session.close(), where, "close")) return false;
  }
  Session session(world);
  if (!expect_clean(tally, session.open(), where, "second open")) return false;
  if (session.contents() != world.ledger.newest()) {
    fault(tally, &Tally::lost, where, "the second opening holds something else than the first");
    return false;
  }
  if (session.engine().status().tail_repaired) {
    fault(tally, &Tally::refused, where, "a cleanly closed store had a torn tail");
    return false;
  }
  return expect_clean(tally, session.close(), where, "second close");
}

// Every file of the store and its SecretStore, but the lock files, which hold the opener's process id.
using Files = std::map<std::string, Bytes>;
inline Files files_of(const SimulatedDisk& disk) {
  Files files;
  for (const char* directory : {kStore, kSecrets}) {
    for (const std::string& name : disk.list(directory)) {
      if (name != "lock" && !name.ends_with(".lock"))
        files[std::string(directory) + "/" + name] = *disk.content(std::string(directory) + "/" + name);
    }
  }
  return files;
}
// Makes the disk hold exactly these.
inline void put_files(SimulatedDisk& disk, const Files& files) {
  for (const auto& [path, content] : files_of(disk)) {
    if (!files.contains(path)) disk.remove(path);
  }
  for (const auto& [path, content] : files) disk.set_content(path, content);
}

inline constexpr const char* kPersistencePath = "/srv/store/persistence.bin";
inline constexpr const char* kVaultPath = "/srv/store/vault.bin";
inline constexpr const char* kTamperPath = "/srv/store/tmtmp.bin";
inline constexpr const char* kVaultHashPath = "/srv/secrets/acme.VaultHash";
inline constexpr const char* kTimeTamperPath = "/srv/secrets/acme.TimeTamper";
inline constexpr const char* kRootKeyPath = "/srv/secrets/acme.RootKey";

using Act = std::function<Status(World&)>;
using Check = std::function<bool(Tally&, World&, const std::string& where)>;

// Cuts the power at every call of `act` and checks what the disk may then hold.
inline Tally cut_everywhere(const Image& image, const Act& act, const Check& check, std::size_t states_max) {
  Tally tally;
  std::uint64_t calls = 0;
  std::vector<std::string> tpm_calls;
  {
    const std::unique_ptr<World> world = image.start();
    const std::uint64_t before = world->disk->calls();
    const Status status = act(*world);
    EXPECT_TRUE(status.ok()) << "without a fault: " << describe(status);
    calls = world->disk->calls() - before;
    if (world->chip) tpm_calls = world->chip->call_log();
    check(tally, *world, "without a cut");
  }
  // A sanitizer looks for errors of the memory on the way; every call has its turn in the other build.
  const std::uint64_t step = short_campaign() ? 3 : 1;
  using When = SimulatedChip::When;
  for (std::uint64_t number = 1; number <= tpm_calls.size(); number += step) {
    for (const When when : {When::kBefore, When::kAfter}) {
      const std::string& call = tpm_calls[number - 1];
      if (when == When::kAfter && !SimulatedChip::changes_something(call)) continue;
      const std::unique_ptr<World> world = image.start();
      world->chip->power_cut_at(number, when);
      act(*world).ignore("the power was cut");
      ++tally.cuts;
      for (const CrashState& state : world->disk->crash_states(states_max)) {
        ++tally.states;
        const std::unique_ptr<World> next = after_crash(*world, state);
        check(tally, *next,
              std::string("cut ") + (when == When::kBefore ? "before" : "after") + " TPM call " +
                  std::to_string(number) + " '" + call + "', " + state.description);
      }
      if (tally.faults() > 200) return tally;
    }
  }
  for (std::uint64_t number = 1; number <= calls; number += step) {
    const std::unique_ptr<World> world = image.start();
    world->disk->power_cut_at(world->disk->calls() + number);
    act(*world).ignore("the power was cut");
    ++tally.cuts;
    for (const CrashState& state : world->disk->crash_states(states_max)) {
      ++tally.states;
      const std::unique_ptr<World> next = after_crash(*world, state);
      check(tally, *next, "cut at '" + world->disk->call_log().back() + "', " + state.description);
    }
    if (tally.faults() > 200) break;
  }
  return tally;
}

}  // namespace strongroom::store::testing
