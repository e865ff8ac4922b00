// The life of a store whose root is in a TPM: the counter and the anchors at each step, epochs, wear, readers, and a TPM
// that does not answer. The TPM is simulated; test/native/roots/tpm/tpm_test.cc and test/kill have real ones.
#include <atomic>
#include <limits>
#include <set>

#include "hooked_files.h"
#include "store/operations/passwords.h"
#include "store/operations/verification.h"
#include "tpm_store_fixture.h"

namespace strongroom::store::testing {
namespace {

using log::Durability;

class TpmEngine : public TpmStoreTest {};

TEST_F(TpmEngine, TheAnchorFollowsTheCounterAtEachStep) {
  {
    Session session(world);
    ASSERT_OK(session.open());
    EXPECT_EQ(session.engine().status().startup, StartupState::kColdstart);
    EXPECT_EQ(session.engine().status().protector, ProtectorType::kTpm);
    const std::uint64_t first = world.chip->value();
    EXPECT_EQ(tpm_of(session).counter, first);
    EXPECT_EQ(tpm_of(session).increments, 2U);
    EXPECT_EQ(tpm_of(session).first_wall_ms, world.clock.wall_ms());
    ASSERT_OK(session.set("a", "1"));
    EXPECT_EQ(world.chip->value(), first);  // a journal commit moves nothing
    EXPECT_EQ(counter_of(session).lag_generations, 1U);
    ASSERT_OK(session.set("a", "2", Durability::kWitnessed));
    EXPECT_EQ(world.chip->value(), first + 1);
    EXPECT_EQ(tpm_of(session).counter, first + 1);
    EXPECT_EQ(counter_of(session).lag_generations, 0U);
    ASSERT_OK(session.engine().anchor());  // nothing is left to vouch for
    EXPECT_EQ(world.chip->value(), first + 1);
    ASSERT_OK(session.set("a", "3"));
    ASSERT_OK(session.engine().anchor());
    EXPECT_EQ(world.chip->value(), first + 2);
    ASSERT_OK(session.close());
    EXPECT_EQ(world.chip->value(), first + 3);
    EXPECT_EQ(tpm_of(session).seal_epoch_end, first + 3);
  }
  const std::uint64_t closed = world.chip->value();
  Session session(world);
  ASSERT_OK(session.open());
  EXPECT_EQ(session.engine().status().startup, StartupState::kWarmstart);
  EXPECT_EQ(session.contents().at("a"), "3");
  EXPECT_EQ(world.chip->value(), closed + 1);
  EXPECT_EQ(tpm_of(session).increments, closed + 1 - (closed - 5));
  EXPECT_EQ(world.chip->count("shutdown"), 1U);
  ASSERT_OK(session.close());
}

TEST_F(TpmEngine, NoTpmCallOnTheWayOfADefaultWrite) {
  Session session(world);
  ASSERT_OK(session.open());
  const std::uint64_t calls = world.chip->calls();
  for (int i = 0; i < 100; ++i) {
    world.clock.advance(30'000);
    ASSERT_OK(session.set("k", std::to_string(i)));
    ASSERT_OK(session.engine().validate_before_write());
  }
  EXPECT_EQ(world.chip->calls(), calls);
  ASSERT_OK(session.close());
}

TEST_F(TpmEngine, OptionsThatDoNotFit) {
  world.options = [] { return tpm_options(""); };
  {
    World bare;
    bare.chip = world.chip;
    bare.options = [] {
      EngineOptions options = tpm_options("");
      options.without_recovery = false;
      return options;
    };
    EXPECT_REASON(open_and_close(bare), Reason::kInvalidOption);
    bare.options = [] {
      EngineOptions options = tpm_options();
      options.secret_store = SecretStoreConfig{SecretStoreType::kFile, kSecrets};
      return options;
    };
    EXPECT_REASON(open_and_close(bare), Reason::kInvalidOption);
    EXPECT_TRUE(world.chip->indices().empty());
  }
  ASSERT_OK(open_and_close(world));
  world.options = [] {
    EngineOptions options = tpm_options();
    options.protector = ProtectorType::kSoftware;
    return options;
  };
  EXPECT_REASON(open_status(), Reason::kInvalidOption);
  world.options = [] {
    EngineOptions options = tpm_options();
    options.tpm.pcrs = 1U << 7;
    return options;
  };
  EXPECT_REASON(open_status(), Reason::kInvalidOption);
}

// The bound of the root on the disk is never below what the counter may come to, grows where anchors come fast, shrinks
// to one where they are rare, and ends with the close.
TEST_F(TpmEngine, Epochs) {
  Session session(world);
  ASSERT_OK(session.open());
  std::uint64_t longest = 0;
  std::uint64_t files = 0;
  std::uint64_t end = tpm_of(session).seal_epoch_end;
  for (int i = 0; i < 600; ++i) {
    world.clock.advance(10);
    ASSERT_OK(session.set("k", std::to_string(i), Durability::kWitnessed));
    const TpmStatus told = tpm_of(session);
    ASSERT_GE(told.seal_epoch_end, world.chip->value());
    longest = std::max(longest, told.seal_epoch_end - world.chip->value() + 1);
    if (told.seal_epoch_end != end) ++files;
    end = told.seal_epoch_end;
  }
  EXPECT_EQ(longest, 256U);
  EXPECT_LE(files, 8U);
  for (int i = 0; i < 300; ++i) {
    world.clock.advance(20'000);
    ASSERT_OK(session.set("k", std::to_string(i), Durability::kWitnessed));
  }
  EXPECT_EQ(tpm_of(session).seal_epoch_end, world.chip->value());
  ASSERT_OK(session.set("k", "one more", Durability::kWitnessed));
  world.clock.advance(10);
  ASSERT_OK(session.set("k", "in the middle of an epoch", Durability::kWitnessed));
  EXPECT_GT(tpm_of(session).seal_epoch_end, world.chip->value());
  ASSERT_OK(session.close());
  EXPECT_EQ(tpm_of(session).seal_epoch_end, world.chip->value());
}

// Every persistence.bin that ever was on the disk is refused by the TPM itself once the store was closed and opened again.
TEST_F(TpmEngine, TheTpmRefusesEveryFormerRoot) {
  std::set<Bytes> former;
  {
    HookedFiles files(*world.disk, "persistence.bin.new");
    const auto take = [&] {
      if (const auto content = world.disk->content(kPersistencePath)) former.insert(*content);
    };
    files.on_create = take;
    for (int life = 0; life < 3; ++life) {
      Opened store(files, world.clock, world.engine_options());
      ASSERT_OK(store.open());
      for (int i = 0; i < 20; ++i) {
        world.clock.advance(10);
        ASSERT_OK(store.set("k", "v", Durability::kWitnessed).status);
      }
      if (life != 1) ASSERT_OK(store->close());
      take();
    }
  }
  ASSERT_OK(open_and_close(world));
  ASSERT_GT(former.size(), 10U);
  std::size_t refused = 0;
  for (const Bytes& file : former) {
    const Result<std::vector<ParsedPersistence>> parsed = parse_persistence(file);
    ASSERT_OK(parsed.status());
    for (const KeySlot& key_slot : parsed->front().header.slots) {
      if (key_slot.type != SlotType::kTpm) continue;
      const Result<TpmSlot> slot = parse_tpm_parameters(key_slot.parameters);
      ASSERT_OK(slot.status());
      const auto opener = world.chip->opener({}, {});
      const auto tpm = opener("", slot->parent_name, slot->endorsement_name);
      ASSERT_OK(tpm.status());
      EXPECT_REASON(open_tpm_slot(**tpm, key_slot, *slot, {}, parsed->front().header).status(),
                    Reason::kVaultRolledBack);
      ++refused;
    }
  }
  std::printf("tpm: former roots refused by the TPM=%zu\n", refused);
}

// --- Wear ---

// A day of commits every minute: at most 27 anchors by itself, and none for TIME_TAMPER alone.
TEST_F(TpmEngine, TheWearGovernor) {
  for (const bool time_only : {false, true}) {
    TpmWorld day;
    day.options = [] {
      EngineOptions options = tpm_options();
      options.threads = true;
      options.witness_interval_ms = 1;
      return options;
    };
    Session session(day);
    ASSERT_OK(session.open());
    const std::uint64_t opened = day.chip->value();
    for (int minute = 0; minute < 24 * 60; ++minute) {
      day.clock.advance(60'000);
      if (time_only) {
        ASSERT_OK(session.engine().refresh_time_tamper());
      } else {
        ASSERT_OK(session.set("k", std::to_string(minute)));
      }
      if (minute % 10 != 0) continue;
      const std::uint64_t newest = session.engine().status().newest.generation;
      while (session.engine().status().witnesses.front().checkpoint.generation < newest)
        std::this_thread::yield();
    }
    const std::uint64_t moved = day.chip->value() - opened;
    std::printf("tpm: anchors in a day of %s=%llu\n", time_only ? "time stamps" : "commits",
                static_cast<unsigned long long>(moved));
    if (time_only) {
      EXPECT_EQ(moved, 0U);
    } else {
      EXPECT_LE(moved, 27U);
      EXPECT_GE(moved, 20U);
    }
    ASSERT_OK(session.close());
  }
}

TEST_F(TpmEngine, ThreadedWitnessedCommitsShareAnAnchor) {
  world.options = [] {
    EngineOptions options = tpm_options();
    options.threads = true;
    options.witness_interval_ms = 1;
    options.compaction_bytes_min = 16 << 10;
    return options;
  };
  std::mutex mutex;
  std::condition_variable done;
  std::size_t completed = 0;
  std::size_t failed = 0;
  EngineOptions options = world.engine_options();
  Engine engine(os::Environment{*world.disk, world.clock}, std::move(options),
                [&](std::vector<log::Completion> completions) {
                  const std::lock_guard lock(mutex);
                  for (const log::Completion& completion : completions)
                    failed += completion.status.ok() ? 0 : 1;
                  completed += completions.size();
                  done.notify_all();
                });
  ASSERT_OK(open_steps(engine));
  const std::uint64_t opened = world.chip->value();
  constexpr std::size_t kCount = 3000;
  std::atomic<bool> stop{false};
  std::thread other([&] {
    while (!stop) {
      (void)engine.status();
      Passwords(engine).verify(as_bytes("backup")).status().ignore("for its locks");
      Verification(engine).audit_log(10).status().ignore("for its locks");
      engine.validate_before_write().ignore("for its locks");
    }
  });
  for (std::size_t ticket = 1; ticket <= kCount; ++ticket) {
    log::QueuedOperation operation;
    operation.ticket = ticket;
    operation.durability = ticket % 3 == 0 ? Durability::kWitnessed : Durability::kJournal;
    const std::string key = "k" + std::to_string(ticket % 50);
    operation.content = log::KeyAndValue(as_bytes(key), as_bytes(std::string(100, 'v')));
    ASSERT_OK(engine.submit(std::move(operation)));
    if (ticket == kCount / 2) {
      ASSERT_OK(Verification(engine).verify({}).status());
      ASSERT_OK(Passwords(engine).change(as_bytes("backup"), SecretBytes(as_bytes("backup"))));
      ASSERT_OK(engine.compact());
    }
  }
  {
    std::unique_lock lock(mutex);
    done.wait(lock, [&] { return completed == kCount; });
  }
  stop = true;
  other.join();
  EXPECT_EQ(failed, 0U);
  EXPECT_LT(world.chip->value() - opened, kCount / 3);
  ASSERT_OK(engine.close());
}

TEST_F(TpmEngine, SeveralPasswordsOutliveItsAnchors) {
  {
    Session session(world);
    ASSERT_OK(session.open());
    Engine& engine = session.engine();
    ASSERT_OK(Passwords(engine).add(as_bytes("backup"), SecretBytes(as_bytes("second")), "second safe"));
    ASSERT_OK(Passwords(engine).add(as_bytes("second"), SecretBytes(as_bytes("third")), ""));
    for (int i = 0; i < 5; ++i) ASSERT_OK(session.set("k", std::to_string(i), Durability::kWitnessed));
    ASSERT_OK(engine.anchor());
    ASSERT_OK(session.close());
  }
  Session session(world);
  ASSERT_OK(session.open());
  Engine& engine = session.engine();
  std::uint32_t highest = 0;
  for (const char* password : {"backup", "second", "third"}) {
    const Result<std::uint32_t> slot = Passwords(engine).verify(as_bytes(password));
    ASSERT_OK(slot);
    highest = std::max(highest, *slot);
  }
  ASSERT_OK(Passwords(engine).remove(as_bytes("backup"), highest));
  EXPECT_REASON(Passwords(engine).verify(as_bytes("third")), Reason::kPasswordWrong);
  // The next seal takes an id of its own, and so does the next password.
  ASSERT_OK(engine.anchor());
  const Result<std::uint32_t> added =
      Passwords(engine).add(as_bytes("backup"), SecretBytes(as_bytes("third")), "");
  ASSERT_OK(added);
  EXPECT_GT(*added, highest);
  ASSERT_OK(session.close());
}

// --- Beside a live writer ---

TEST_F(TpmEngine, ReadersBesideAWriterUnderLoad) {
  world.options = [] {
    EngineOptions options = tpm_options();
    options.threads = true;
    return options;
  };
  Session writer(world);
  ASSERT_OK(writer.open());
  std::atomic<bool> stop{false};
  std::atomic<int> written{0};
  // As much as a slow reader may meet; more would only make the history long that each round verifies.
  constexpr int kCommitsPerReader = 1'000;
  std::atomic<int> allowed{kCommitsPerReader};
  std::thread load([&] {
    while (!stop) {
      for (int limit = allowed; written >= limit; limit = allowed) allowed.wait(limit);
      std::this_thread::sleep_for(std::chrono::microseconds(300));  // a TPM takes its time
      world.clock.advance(written % 20 == 0 ? 11'000 : 1);          // short epochs and long ones
      if (!writer.engine().anchor().ok()) break;
      if (!writer.set("k", std::to_string(written), Durability::kWitnessed).ok()) break;
      ++written;
    }
  });
  const int rounds = short_campaign() ? 10 : 60;
  std::map<std::string, int> outcomes;
  // A reader during which the writer sealed a new root is told to begin again; none is told of an attack.
  int again = 0;
  const auto count = [&](const Status& status) {
    again += static_cast<int>(status.is(Reason::kLocked));
    if (!status.is(Reason::kLocked)) ++outcomes[describe(status)];
  };
  int readers = 0;
  for (; readers < rounds || written < rounds; ++readers) {
    EngineOptions options = world.engine_options();
    options.read_only = true;
    Opened reader(*world.disk, world.clock, std::move(options));
    count(reader.open());
    ++outcomes[describe(Verification(writer.engine()).verify({}).status())];
    allowed += kCommitsPerReader;
    allowed.notify_one();
  }
  stop = true;
  allowed = std::numeric_limits<int>::max();
  allowed.notify_one();
  load.join();
  std::printf("tpm: readers beside a writer=%d told to begin again=%d commits meanwhile=%d alarms=0\n",
              2 * readers, again, written.load());
  EXPECT_EQ(outcomes["ok"], 2 * readers - again);
  EXPECT_LT(again, readers) << "most open at once";
  for (const auto& [outcome, count] : outcomes) {
    if (outcome != "ok") ADD_FAILURE() << count << " times " << outcome;
  }
  ASSERT_OK(writer.close());
}

TEST_F(TpmEngine, AReaderTellsTheLagOfTheCounter) {
  {
    Session session(world);
    ASSERT_OK(session.open());
    ASSERT_OK(session.set("k", "1", Durability::kWitnessed));
    for (int i = 0; i < 5; ++i) ASSERT_OK(session.set("k", "2"));
  }  // killed
  const std::uint64_t calls = world.disk->calls();
  const std::uint64_t value = world.chip->value();
  EngineOptions options = world.engine_options();
  options.read_only = true;
  Opened reader(*world.disk, world.clock, std::move(options));
  ASSERT_OK(reader.open());
  EXPECT_EQ(reader->status().witnesses.back().name, "tpm-counter");
  EXPECT_EQ(reader->status().witnesses.back().lag_generations, 5U);
  EXPECT_EQ(world.disk->calls(), calls);
  EXPECT_EQ(world.chip->value(), value);
}

// --- Faults that are no attack ---

// Whether a TPM without the parent was cleared is asked of the TPM, and only its answer decides.
TEST_F(TpmEngine, ATpmThatGoesAwayWhileItIsAskedWasNotCleared) {
  small_tpm_store(world);
  EngineOptions options = world.engine_options();
  int calls = 0;
  options.tpm.open = [&calls](const std::string&, const roots::TpmName&,
                              const roots::TpmName&) -> Result<std::unique_ptr<roots::Tpm>> {
    if (++calls == 1) return Status(Reason::kTpmCleared, "the parent is not there");
    return Status(Reason::kTpmUnavailable, "no answer");
  };
  {
    Opened store(*world.disk, world.clock, std::move(options));
    EXPECT_REASON(store.open(), Reason::kTpmUnavailable);
  }
  EXPECT_EQ(calls, 2);
  ASSERT_OK(open_and_close(world));
}

TEST_F(TpmEngine, UnavailableAtClose) {
  {
    Session session(world);
    ASSERT_OK(session.open());
    ASSERT_OK(session.set("k", "1"));
    world.chip->unplug(true);
    EXPECT_REASON(session.close(), Reason::kTpmUnavailable);
  }
  world.chip->unplug(false);
  Session session(world);
  ASSERT_OK(session.open());
  EXPECT_FALSE(session.engine().status().tail_repaired);
  EXPECT_EQ(session.contents().at("k"), "1");
  ASSERT_OK(session.close());
}

TEST_F(TpmEngine, UnavailableAtAWitnessedCommit) {
  Session session(world);
  ASSERT_OK(session.open());
  world.chip->unplug(true);
  const Status status = session.set("k", "1", Durability::kWitnessed);
  EXPECT_TRUE(status.is(Reason::kWitnessNotMoved)) << describe(status);
  EXPECT_TRUE(status.error().committed);
  EXPECT_TRUE(counter_of(session).failing);
  EXPECT_EQ(session.engine().status().witnesses.front().lag_generations, 0U);  // the tamper file did not wait
  ASSERT_OK(session.set("k", "2"));                                            // journal commits go on
  ASSERT_OK(session.engine().validate_before_write());
  world.chip->unplug(false);
  ASSERT_OK(session.engine().anchor());
  EXPECT_FALSE(counter_of(session).failing);
  EXPECT_EQ(counter_of(session).lag_generations, 0U);
  ASSERT_OK(session.close());
  ASSERT_OK(open_and_close(world));
}

// Each call of a witnessed commit goes unanswered once, with and without its effect; what follows heals it, and the
// counter is never moved twice for it.
TEST_F(TpmEngine, EveryCallOfAnAnchorGoesUnanswered) {
  const Image image = small_tpm_store(world);
  using When = SimulatedChip::When;
  std::size_t failures = 0;
  for (std::uint64_t offset = 1; offset <= 8; ++offset) {
    for (const When when : {When::kBefore, When::kAfter}) {
      const std::unique_ptr<World> now = image.start();
      Session session(*now);
      ASSERT_OK(session.open());
      const std::uint64_t before = now->chip->value();
      now->chip->fail_at(now->chip->calls() + offset, when);
      const Status status = session.set("k0", "new", Durability::kWitnessed);
      if (!status.ok()) {
        ++failures;
        EXPECT_TRUE(status.is(Reason::kWitnessNotMoved) && status.error().committed) << describe(status);
      }
      now->chip->clear_faults();
      ASSERT_OK(session.engine().anchor());
      EXPECT_EQ(now->chip->value(), before + 1) << "TPM call " << offset;
      EXPECT_EQ(counter_of(session).lag_generations, 0U);
      ASSERT_OK(session.close());
      ASSERT_OK(open_and_close(*now));
    }
  }
  EXPECT_GT(failures, 4U);
}

// The same with threads: the store mends itself without being asked.
TEST_F(TpmEngine, AnAnchorThatFailedIsRepeatedByItself) {
  world.options = [] {
    EngineOptions options = tpm_options();
    options.threads = true;
    options.witness_interval_ms = 1;
    return options;
  };
  Session session(world);
  ASSERT_OK(session.open());
  world.chip->unplug(true);
  EXPECT_TRUE(session.set("k", "1", Durability::kWitnessed).error().committed);
  const std::uint64_t before = world.chip->value();
  world.chip->unplug(false);
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (counter_of(session).lag_generations != 0 && std::chrono::steady_clock::now() < until)
    std::this_thread::yield();
  EXPECT_EQ(counter_of(session).lag_generations, 0U);
  EXPECT_EQ(world.chip->value(), before + 1);
  ASSERT_OK(session.close());
}

// A sealing that failed must not let the counter past the root on the disk.
TEST_F(TpmEngine, AFailedNewEpochHoldsTheCounter) {
  const Image image = small_tpm_store(world);
  for (const bool disk_fails : {false, true}) {
    const std::unique_ptr<World> now = image.start();
    {
      Session session(*now);
      ASSERT_OK(session.open());
      const std::uint64_t before = now->chip->value();
      if (disk_fails) {
        now->disk->fail_at(now->disk->calls() + 3, {.reason = Reason::kNoSpace, .sticky = true});
      } else {
        now->chip->fail_at(now->chip->calls() + 3, SimulatedChip::When::kBefore);  // read, clock, seal
      }
      EXPECT_FALSE(session.set("k0", "1", Durability::kWitnessed).ok());
      EXPECT_EQ(now->chip->value(), before);
      now->disk->clear_faults();
      if (disk_fails) {
        const Status anchored = session.engine().anchor();
        EXPECT_TRUE(anchored.ok() || anchored.is(Reason::kPoisoned)) << describe(anchored);
      } else {
        ASSERT_OK(session.engine().anchor());
        EXPECT_EQ(now->chip->value(), before + 1);
      }
      EXPECT_LE(now->chip->value(), tpm_of(session).seal_epoch_end);
    }
    const std::unique_ptr<World> next = Image(*now).start();
    ASSERT_OK(open_and_close(*next));
  }
}

TEST_F(TpmEngine, PinsLockoutAndPcrs) {
  world.options = [] {
    EngineOptions options = tpm_options();
    options.tpm.pin = SecretBytes(as_bytes("1234"));
    options.tpm.pcrs = 1U << 7 | 1U << 2;
    return options;
  };
  const Image image = small_tpm_store(world);
  const auto with_pin = [&](std::string_view pin) {
    const std::unique_ptr<World> now = image.start();
    now->options = [pin = std::string(pin)] {
      EngineOptions options = tpm_options();
      options.tpm.pin = SecretBytes(as_bytes(pin));
      return options;
    };
    return open_and_close(*now);
  };
  ASSERT_OK(with_pin("1234"));
  EXPECT_REASON(with_pin("1235"), Reason::kPinWrong);
  EXPECT_REASON(with_pin(""), Reason::kPinMissing);
  world.chip->lock_out(true);
  expect_refused(world, Reason::kTpmLockedOut, "lockout");
  world.chip->lock_out(false);
  world.chip->extend_pcr(3);
  ASSERT_OK(open_and_close(world));
  world.chip->extend_pcr(7);
  expect_refused(world, Reason::kTpmPcrChanged, "a PCR changed");
}

TEST(TpmSlot, OneOfRelease01HasTheDigestOfItsPcrsAlone) {
  TpmSlot slot;
  slot.parent_name = slot.endorsement_name = roots::TpmName(34, 1);
  slot.counter_index = roots::kNvIndexFirst;
  slot.pcrs = 1U << 7;
  slot.pcr_digest.fill(7);
  const Result<TpmSlot> old = parse_tpm_parameters(encode_tpm_parameters(slot));
  ASSERT_OK(old);
  EXPECT_EQ(old->pcr_digest, slot.pcr_digest);
  EXPECT_TRUE(old->pcr_values.empty());
  slot.pcr_values.resize(1);
  const Result<TpmSlot> now = parse_tpm_parameters(encode_tpm_parameters(slot));
  ASSERT_OK(now);
  EXPECT_EQ(now->pcr_values, slot.pcr_values);
  EXPECT_EQ(now->pcr_digest, roots::pcr_digest(slot.pcr_values));
}

TEST_F(TpmEngine, AChangedPcrIsNamed) {
  world.options = [] {
    EngineOptions options = tpm_options();
    options.tpm.pcrs = 1U << 0 | 1U << 7 | 1U << 23;
    return options;
  };
  small_tpm_store(world);
  world.chip->extend_pcr(7);
  Status refused = open_and_close(world);
  EXPECT_REASON(refused, Reason::kTpmPcrChanged);
  EXPECT_NE(describe(refused).find("the value of PCR 7 is not"), std::string::npos) << describe(refused);
  world.chip->extend_pcr(23);
  refused = open_and_close(world);
  EXPECT_NE(describe(refused).find("the value of PCRs 7, 23 is not"), std::string::npos) << describe(refused);
}

TEST_F(TpmEngine, TheTpmsClockIsBelieved) {
  small_tpm_store(world);
  world.chip->advance(10ULL * 24 * 3600 * 1000);
  expect_refused(world, Reason::kClockRolledBack, "ten days by the TPM's clock, and one second by the wall");
  world.clock.advance(8ULL * 24 * 3600 * 1000);  // 85 % are believed
  expect_refused(world, Reason::kClockRolledBack, "eight days");
  world.clock.advance(12ULL * 3600 * 1000);
  ASSERT_OK(open_and_close(world));
  world.chip->reset();  // falls back a little
  ASSERT_OK(open_and_close(world));
}

TEST_F(TpmEngine, ATpmClockThatIsAheadIsNamed) {
  small_tpm_store(world);
  world.chip->advance(10ULL * 24 * 3600 * 1000);
  const Status refused = open_and_close(world);
  EXPECT_NE(describe(refused).find("the TPM's clock counted 10 d"), std::string::npos) << describe(refused);
  EXPECT_NE(describe(refused).find("set forward"), std::string::npos) << describe(refused);
  world.clock.advance_wall(-2LL * 24 * 3600 * 1000);
  const Status behind = open_and_close(world);
  EXPECT_REASON(behind, Reason::kClockRolledBack);
  EXPECT_EQ(describe(behind).find("set forward"), std::string::npos) << describe(behind);
}

// Age alone is no matter: the counter proves the state current.
TEST_F(TpmEngine, AgeIsExcused) {
  small_tpm_store(world);
  world.clock.advance(30ULL * 24 * 3600 * 1000);
  Session session(world);
  ASSERT_OK(session.open());
  EXPECT_TRUE(session.engine().status().age_excused);
  ASSERT_OK(session.close());
}

}  // namespace
}  // namespace strongroom::store::testing
