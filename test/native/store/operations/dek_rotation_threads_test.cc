// A rotation of the DEK beside everything else that a store does at the same time, with its threads.
#include <atomic>
#include <random>

#include "rotation_fixture.h"
#include "store/field_sealer.h"
#include "store/operations/dek_rotation.h"
#include "store/operations/verification.h"
#include "store/start/start.h"

namespace strongroom::store::testing {
namespace {

using log::Durability;

constexpr int kWriters = 3;
constexpr int kRotations = 4;

// Waits for its operations; each writer has keys of its own, so what must be there at the end is known.
class Answers {
 public:
  Engine::CompletedHook hook() {
    return [this](std::vector<log::Completion> completions) {
      const std::lock_guard lock(mutex_);
      for (const log::Completion& completion : completions) answers_[completion.ticket] = completion.status;
      arrived_.notify_all();
    };
  }
  Status wait(std::uint64_t ticket) {
    std::unique_lock lock(mutex_);
    arrived_.wait(lock, [&] { return answers_.contains(ticket); });
    Status status = answers_.at(ticket);
    answers_.erase(ticket);
    return status;
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::map<std::uint64_t, Status> answers_;
};

// What runs until `stop`, each on a thread of its own.
class Traffic {
 public:
  Traffic(Engine& engine, Answers& answers) : engine_(engine), answers_(answers) {}

  void write(int writer) {
    Contents& mine = written[static_cast<std::size_t>(writer)];
    for (int i = 0; !stop; ++i) {
      const std::string key = "w" + std::to_string(writer) + "/" + std::to_string(i % 40);
      const std::string value(static_cast<std::size_t>(20 + i % 200), static_cast<char>('a' + i % 26));
      log::QueuedOperation operation;
      operation.ticket = ++tickets_;
      operation.durability = i % 5 == 0 ? Durability::kWitnessed : Durability::kJournal;
      operation.content = log::KeyAndValue(as_bytes(key), as_bytes(value));
      const std::uint64_t ticket = operation.ticket;
      ASSERT_OK(engine_.submit(std::move(operation)));
      ASSERT_OK(answers_.wait(ticket));
      mine[key] = value;
      ++commits;
    }
  }

  void read() {
    log::ValueCipher cipher(engine_.epoch_keys());
    while (!stop) {
      for (int i = 0; i < 40; ++i) {
        const std::string key = "w0/" + std::to_string(i);
        Bytes value;
        const auto read = engine_.queue().read(cipher, key, [&value](std::size_t bytes) {
          value.resize(bytes);
          return value.data();
        });
        ASSERT_OK(read.status());
        ++reads;
      }
      const EngineStatus status = engine_.status();
      ASSERT_FALSE(status.poisoned);
      ASSERT_OK(engine_.field_sealer().status());
      ASSERT_OK(engine_.validate_before_write());
    }
  }

  void anchor() {
    while (!stop) {
      ASSERT_OK(engine_.anchor());
      ++anchors;
    }
  }

  std::atomic<bool> stop{false};
  std::atomic<std::size_t> commits{0};
  std::atomic<std::size_t> reads{0};
  std::atomic<std::size_t> anchors{0};
  std::vector<Contents> written = std::vector<Contents>(kWriters);

 private:
  Engine& engine_;
  Answers& answers_;
  std::atomic<std::uint64_t> tickets_{0};
};

TEST(EngineRotation, BesideCommitsReadsAnchorsAndCompactions) {
  World world;
  EngineOptions options = rotation_options();
  options.threads = true;
  options.witness_interval_ms = 1;
  options.tamper_capacity = 64;         // replaced again and again
  options.compaction_bytes_min = 4096;  // so are logs
  Answers answers;
  Contents all;
  std::size_t commits = 0;
  std::size_t reads = 0;
  std::size_t anchors = 0;
  {
    Engine engine(os::Environment{*world.disk, world.clock}, std::move(options), answers.hook());
    ASSERT_OK(open_steps(engine));
    Traffic traffic(engine, answers);
    std::vector<std::thread> threads;
    for (int writer = 0; writer < kWriters; ++writer) {
      threads.emplace_back([&, writer] { traffic.write(writer); });
    }
    threads.emplace_back([&] { traffic.read(); });
    threads.emplace_back([&] { traffic.anchor(); });
    for (int i = 0; i < kRotations; ++i) {
      ASSERT_OK(DekRotation(engine).rotate(as_bytes(kBackup)));
      const std::size_t before = traffic.commits;
      while (traffic.commits < before + 20)
        std::this_thread::yield();  // between two rotations the store goes on
    }
    traffic.stop = true;
    for (std::thread& thread : threads) thread.join();
    for (const Contents& mine : traffic.written) all.insert(mine.begin(), mine.end());
    commits = traffic.commits;
    reads = traffic.reads;
    anchors = traffic.anchors;
    EXPECT_EQ(engine.status().key_id, 1U + kRotations);
    EXPECT_FALSE(engine.status().rotation_pending);
    ASSERT_OK(Verification(engine).verify({}).status());
    ASSERT_OK(engine.close());
  }
  Session session(world);
  ASSERT_OK(session.open());
  EXPECT_EQ(session.contents(), all);
  EXPECT_EQ(session.engine().status().key_id, 1U + kRotations);
  ASSERT_OK(session.close());
  std::printf("rotation beside a live store: rotations=%d commits=%zu reads=%zu anchors=%zu lost=0\n",
              kRotations, commits, reads, anchors);
}

// A reader that has begun before the rotation ends is told to begin again; it is never told of an attack.
TEST(EngineRotation, ReadersBesideItAreNeverAlarmed) {
  World world;
  world.options = rotation_options;
  {
    Session session(world);
    ASSERT_OK(session.open());
    for (int i = 0; i < 20; ++i) ASSERT_OK(session.set("k" + std::to_string(i), "value"));
    ASSERT_OK(session.close());
  }
  const auto read_only = [] {
    EngineOptions options = rotation_options();
    options.read_only = true;
    return options;
  };
  std::size_t opened = 0;
  std::size_t busy = 0;
  // Begins with one state of the files and goes on with another: after persistence.bin, or after the witnesses.
  const auto look_across = [&](const std::function<Status()>& change) {
    for (const int steps : {1, 2}) {
      Engine reader(os::Environment{*world.disk, world.clock}, read_only(), {});
      ASSERT_OK(Start(reader).determine_startup_state().status());
      ASSERT_OK(Start(reader).setup_persistence_files());
      ASSERT_OK(Start(reader).initialize_warmstart());
      if (steps == 1) {
        ASSERT_OK(change());
      }
      Status status = Start(reader).create_and_load_vault();
      if (steps == 2) {
        ASSERT_OK(change());
      }
      if (status.ok()) status = Start(reader).initialize_storage_identifier();
      if (status.ok()) status = Start(reader).validate_vault_integrity();
      if (status.ok()) status = Start(reader).validate_time_tamper_age();
      if (status.ok()) status = Start(reader).update_time_tamper();
      EXPECT_FALSE(is_alarm(status)) << describe(status);
      EXPECT_TRUE(status.ok() || status.is(Reason::kLocked)) << describe(status);
      ++(status.ok() ? opened : busy);
    }
  };
  HookedFiles hooked(*world.disk, "");
  Opened writer(hooked, world.clock, rotation_options());
  ASSERT_OK(writer.open());
  look_across([&] { return DekRotation(*writer).rotate(as_bytes(kBackup)); });
  // A reader at every write inside of a rotation.
  hooked.on_write = [&](std::string_view, ByteView) {
    Engine reader(os::Environment{*world.disk, world.clock}, read_only(), {});
    const Status status = open_steps(reader);
    EXPECT_TRUE(status.ok() || status.is(Reason::kLocked)) << describe(status);
    ++(status.ok() ? opened : busy);
  };
  ASSERT_OK(DekRotation(*writer).rotate(as_bytes(kBackup)));
  hooked.on_write = nullptr;
  ASSERT_OK(writer->close());
  std::printf("readers beside a rotation: opened=%zu told to begin again=%zu alarms=0\n", opened, busy);
  EXPECT_GT(opened, 10U);
}

TEST(EngineRotation, ReadersBesideALiveWriter) {
  World world;
  world.options = rotation_options;
  {
    Session session(world);
    ASSERT_OK(session.open());
    for (int i = 0; i < 5; ++i) ASSERT_OK(session.set("k" + std::to_string(i), "value"));
    ASSERT_OK(session.close());
  }
  readers_beside_rotations(world, "software");
}

}  // namespace
}  // namespace strongroom::store::testing
