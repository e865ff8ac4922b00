// The commit queue under many threads (also run under ThreadSanitizer): each operation is completed exactly once, in
// the order in which its thread submitted it; stopping, a full queue and a poisoned writer included.
#include "log/commit_queue.h"

#include <thread>

#include "base/limits.h"
#include "log/compaction.h"
#include "reliability_fixture.h"
#include "store/operations/passwords.h"

namespace strongroom::store::testing {
namespace {

using log::Completion;
using log::QueuedOperation;

constexpr int kThreads = 8;
constexpr std::uint64_t kTicketsPerThread = 1'000'000;

// A log on a simulated disk with a queue before it.
class QueueWorld {
 public:
  QueueWorld() : keys_(SecretBytes(Bytes(32, 7)), id_) {
    disk.make_directory("/log");
    const auto directory = *disk.open_directory("/log", os::DirectoryMode::kExisting);
    std::unique_ptr<os::File> file = *directory->open("vault.bin", os::OpenMode::kCreate);
    log::SnapshotWriter snapshot(*file, keys_, 1, 1);
    log::SnapshotInfo info;
    info.checkpoint = {0, log::genesis_head(id_, {})};
    EXPECT_TRUE(snapshot.begin(info).ok());
    const std::uint64_t offset = *snapshot.finish();
    writer_ = std::make_unique<log::LogWriter>(std::move(file), offset, info.checkpoint, 1, keys_, 1 << 20);
    log::CommitQueue::Hooks hooks;
    hooks.wall_ms = [] { return 0; };
    hooks.tamper_synced = [] { return 0; };
    hooks.completed = [this](std::vector<Completion> completions) {
      const std::lock_guard lock(mutex);
      for (Completion& completion : completions) completed.push_back(std::move(completion));
      done.notify_all();
    };
    queue = std::make_unique<log::CommitQueue>(index_, *writer_, keys_, std::move(hooks));
  }

  // Every ticket of `count` for each thread exactly once, each thread's in order.
  void expect_all(std::uint64_t count, int threads = kThreads) {
    std::vector<std::uint64_t> last(static_cast<std::size_t>(threads));
    for (const Completion& completion : completed) {
      const auto thread = static_cast<std::size_t>(completion.ticket / kTicketsPerThread);
      const std::uint64_t number = completion.ticket % kTicketsPerThread;
      ASSERT_EQ(number, last[thread] + 1) << "thread " << thread;
      last[thread] = number;
    }
    for (const std::uint64_t number : last) EXPECT_EQ(number, count);
  }
  std::optional<std::string> read(std::string_view key) {
    log::ValueCipher cipher(keys_);
    std::string value;
    const auto size = queue->read(cipher, key, [&value](std::size_t bytes) {
      value.resize(bytes);
      return reinterpret_cast<std::uint8_t*>(value.data());
    });
    return size.ok() && *size ? std::optional(value) : std::nullopt;
  }

  SimulatedDisk disk;
  std::mutex mutex;
  std::condition_variable done;
  std::vector<Completion> completed;
  std::unique_ptr<log::CommitQueue> queue;

 private:
  StorageId id_{1};
  log::EpochKeys keys_;
  log::Index index_;
  std::unique_ptr<log::LogWriter> writer_;

 public:
  ~QueueWorld() { queue.reset(); }  // before what it refers to
};

QueuedOperation set_operation(std::uint64_t ticket, const std::string& key, const std::string& value) {
  QueuedOperation operation;
  operation.ticket = ticket;
  operation.content = log::KeyAndValue(as_bytes(key), as_bytes(value));
  return operation;
}

QueuedOperation increment_operation(std::uint64_t ticket, const std::string& key) {
  QueuedOperation operation = set_operation(ticket, key, "");
  operation.type = QueuedOperation::Type::kIncrement;
  operation.increment.delta = 1;
  return operation;
}

void in_threads(const std::function<void(int)>& work) {
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) threads.emplace_back(work, i);
  for (std::thread& thread : threads) thread.join();
}

std::uint64_t ticket_of(int thread, std::uint64_t number) {
  return static_cast<std::uint64_t>(thread) * kTicketsPerThread + number;
}

TEST(CommitQueue, ManyThreadsSubmitAndCommitNow) {
  const std::uint64_t count = bounded(800, 20'000);
  QueueWorld world;
  world.queue->start();
  std::atomic<std::uint64_t> increments{0};
  in_threads([&](int thread) {
    const std::string key = "k" + std::to_string(thread);
    for (std::uint64_t number = 1; number <= count; ++number) {
      const std::uint64_t ticket = ticket_of(thread, number);
      switch ((number + static_cast<std::uint64_t>(thread)) % 5) {
        case 0: {
          // Its own completion comes back here; those of earlier operations went through the hook before.
          Completion own = world.queue->commit_now(set_operation(ticket, key, std::to_string(number)));
          EXPECT_TRUE(own.status.ok());
          EXPECT_EQ(own.ticket, ticket);
          EXPECT_EQ(world.read(key), std::to_string(number));
          const std::lock_guard lock(world.mutex);
          world.completed.push_back(std::move(own));
          break;
        }
        case 1:
          ++increments;
          ASSERT_OK(world.queue->submit(increment_operation(ticket, "shared")));
          break;
        case 2:
          world.queue->scan({}, [](const log::Record&) { return true; });
          [[fallthrough]];
        default:
          ASSERT_OK(world.queue->submit(set_operation(ticket, key, std::to_string(number))));
      }
      if (number % 97 == 0) world.queue->drain();
    }
  });
  world.queue->drain();
  world.expect_all(count);
  for (const Completion& completion : world.completed) EXPECT_TRUE(completion.status.ok());
  const auto shared = world.read("shared");
  ASSERT_TRUE(shared);
  EXPECT_EQ(log::parse_counter(as_bytes(*shared)), static_cast<std::int64_t>(increments));
  world.queue->stop();
  std::printf("commit queue: threads=%d operations=%zu\n", kThreads, world.completed.size());
}

TEST(CommitQueue, StopWhileOthersSubmit) {
  for (int round = 0; round < 10; ++round) {
    QueueWorld world;
    world.queue->start();
    std::vector<std::uint64_t> accepted(kThreads);
    std::atomic<int> running{0};
    std::thread stopper([&] {
      while (running < kThreads) std::this_thread::yield();
      {
        std::unique_lock lock(world.mutex);
        world.done.wait(lock, [&] { return world.completed.size() >= 50; });
      }
      world.queue->stop();
    });
    in_threads([&](int thread) {
      ++running;
      for (std::uint64_t number = 1;; ++number) {
        const Status status =
            world.queue->submit(set_operation(ticket_of(thread, number), "k" + std::to_string(thread), "v"));
        if (!status.ok()) {
          EXPECT_TRUE(status.is(Reason::kClosed));
          break;
        }
        accepted[static_cast<std::size_t>(thread)] = number;
        if (number % 50 == 0) world.queue->drain();  // so that the queue does not grow without end
      }
    });
    stopper.join();
    std::vector<std::uint64_t> last(kThreads);
    for (const Completion& completion : world.completed) {
      ASSERT_EQ(completion.ticket % kTicketsPerThread, ++last[completion.ticket / kTicketsPerThread]);
      EXPECT_TRUE(completion.status.ok());
    }
    EXPECT_EQ(last, accepted);
    EXPECT_TRUE(world.queue->submit(set_operation(1, "k", "v")).is(Reason::kClosed));
  }
}

TEST(CommitQueue, StopWithoutAThreadCommitsWhatWaits) {
  QueueWorld world;
  ASSERT_OK(world.queue->submit(set_operation(1, "k", "v")));
  ASSERT_OK(world.queue->submit(set_operation(2, "k", "w")));
  world.queue->stop();
  world.queue->stop();
  world.expect_all(2, 1);
  EXPECT_EQ(world.read("k"), "w");
}

TEST(CommitQueue, Full) {
  QueueWorld world;  // nobody takes anything out
  const std::string large(limits::kValueBytesMax, 'v');
  std::uint64_t taken = 0;
  Status status;
  while (status.ok()) {
    status = world.queue->submit(set_operation(taken + 1, "k", large));
    if (status.ok()) ++taken;
  }
  EXPECT_TRUE(status.is(Reason::kQueueFull)) << describe(status);
  EXPECT_EQ(taken, limits::kQueueBytesMax / (large.size() + 1));
  world.disk.fail_at(world.disk.calls() + 1,
                     {.reason = Reason::kNoSpace, .sticky = true});  // they need not be written for this
  world.queue->drain();
  world.expect_all(taken, 1);
  for (const Completion& completion : world.completed) EXPECT_TRUE(completion.status.is(Reason::kNoSpace));
  ASSERT_OK(world.queue->submit(set_operation(taken + 1, "k", "v")));  // there is room again
}

TEST(CommitQueue, FullForWhatIsSubmittedTogether) {
  QueueWorld world;
  const std::string large(limits::kValueBytesMax, 'v');
  const std::uint64_t room = limits::kQueueBytesMax / (large.size() + 1);
  const auto gathered = [&](std::uint64_t count) {
    std::vector<QueuedOperation> operations;
    for (std::uint64_t i = 1; i <= count; ++i) operations.push_back(set_operation(i, "k", large));
    return operations;
  };
  std::vector<QueuedOperation> operations = gathered(room + 1);
  EXPECT_REASON(world.queue->submit_all(operations), Reason::kQueueFull);
  EXPECT_EQ(operations.size(), room + 1);  // all or nothing, and they are still the caller's
  operations.pop_back();
  ASSERT_OK(world.queue->submit_all(operations));
  EXPECT_TRUE(operations.empty());
  EXPECT_REASON(world.queue->submit(set_operation(room + 1, "k", large)), Reason::kQueueFull);
  world.disk.fail_at(world.disk.calls() + 1,
                     {.reason = Reason::kNoSpace, .sticky = true});  // they need not be written for this
  world.queue->drain();
  world.expect_all(room, 1);

  operations = gathered(room);  // all the room is there again
  ASSERT_OK(world.queue->submit_all(operations));
  world.queue->stop();
  EXPECT_EQ(world.completed.size(), 2 * room);
  operations = gathered(1);
  EXPECT_REASON(world.queue->submit_all(operations), Reason::kClosed);
  EXPECT_EQ(operations.size(), 1U);
}

// One frame holds up to 8 MiB, or one operation that is larger.
TEST(CommitQueue, AGroupIsCutWhereItsFrameWouldGrowTooLarge) {
  QueueWorld world;
  const std::string half(std::size_t{5} << 20, 'v');
  for (std::uint64_t ticket = 1; ticket <= 3; ++ticket)
    ASSERT_OK(world.queue->submit(set_operation(ticket, "k", half)));
  ASSERT_OK(world.queue->submit(set_operation(4, "k", "small")));
  world.queue->drain();
  world.expect_all(4, 1);
  std::vector<std::uint64_t> generations;
  for (const Completion& completion : world.completed) generations.push_back(completion.generation);
  EXPECT_EQ(generations, (std::vector<std::uint64_t>{1, 2, 3, 3}));
}

TEST(CommitQueue, WhatChangesNothingIsNoCommit) {
  QueueWorld world;
  ASSERT_OK(world.queue->commit_now(set_operation(1, "k", "text")).status);
  EXPECT_REASON(world.queue->commit_now(increment_operation(2, "k")).status, Reason::kNotACounter);
  QueuedOperation compare = set_operation(3, "absent", "");
  compare.type = QueuedOperation::Type::kCompareAndSet;
  compare.compare = std::make_unique<log::CompareAndSet>();  // absent, and to stay so
  const Completion swapped = world.queue->commit_now(std::move(compare));
  ASSERT_OK(swapped.status);
  EXPECT_TRUE(swapped.swapped);
  EXPECT_EQ(world.queue->commit_now(set_operation(4, "k", "more")).generation, 2U);
}

TEST(CommitQueue, ConcurrentlyPoisoned) {
  const std::uint64_t count = bounded(300, 5000);
  QueueWorld world;
  world.queue->start();
  std::mutex fault_mutex;
  bool failed = false;
  in_threads([&](int thread) {
    for (std::uint64_t number = 1; number <= count; ++number) {
      if (number == count / 2) {
        const std::lock_guard lock(fault_mutex);
        // Every later call fails: a write, its taking back, a sync.
        if (!std::exchange(failed, true)) world.disk.fail_at(world.disk.calls() + 1, {.sticky = true});
      }
      ASSERT_OK(world.queue->submit(
          set_operation(ticket_of(thread, number), "k" + std::to_string(thread), std::to_string(number))));
    }
  });
  world.queue->drain();
  world.expect_all(count);
  std::vector<std::uint64_t> durable(kThreads);
  bool after = false;
  std::size_t errors = 0;
  for (const Completion& completion : world.completed) {
    if (completion.status.ok()) {
      EXPECT_FALSE(after) << "an operation succeeded behind the poison";
      durable[completion.ticket / kTicketsPerThread] = completion.ticket % kTicketsPerThread;
      continue;
    }
    after = true;
    ++errors;
    EXPECT_TRUE(completion.status.is(Reason::kIoError) || completion.status.is(Reason::kPoisoned));
    EXPECT_EQ(completion.generation, 0U);
  }
  EXPECT_GT(errors, 0U);
  // Memory holds what is durable and nothing else.
  for (int thread = 0; thread < kThreads; ++thread) {
    const std::uint64_t number = durable[static_cast<std::size_t>(thread)];
    EXPECT_EQ(world.read("k" + std::to_string(thread)),
              number == 0 ? std::nullopt : std::optional(std::to_string(number)));
  }
  EXPECT_TRUE(world.queue->commit_now(set_operation(1, "k", "v")).status.is(Reason::kPoisoned));
  world.queue->stop();
}

// A later operation of a group sees the pending effect of an earlier one.
TEST(CommitQueue, OneGroupSeesItsOwnEffects) {
  QueueWorld world;
  ASSERT_OK(world.queue->submit(set_operation(1, "k", "a")));
  ASSERT_OK(world.queue->submit(increment_operation(2, "k")));  // not a counter
  QueuedOperation swap = set_operation(3, "k", "");
  swap.type = QueuedOperation::Type::kCompareAndSet;
  swap.compare = std::make_unique<log::CompareAndSet>();
  swap.compare->expected = WipedBuffer(as_bytes("a"));
  swap.compare->next = WipedBuffer(log::encode_counter(5));
  ASSERT_OK(world.queue->submit(std::move(swap)));
  ASSERT_OK(world.queue->submit(increment_operation(4, "k")));
  QueuedOperation stale = set_operation(5, "k", "");
  stale.type = QueuedOperation::Type::kCompareAndSet;
  stale.compare = std::make_unique<log::CompareAndSet>();
  stale.compare->expected = WipedBuffer(as_bytes("a"));
  ASSERT_OK(world.queue->submit(std::move(stale)));
  QueuedOperation remove = set_operation(6, "other", "");
  remove.type = QueuedOperation::Type::kDelete;
  ASSERT_OK(world.queue->submit(std::move(remove)));
  ASSERT_OK(world.queue->submit(increment_operation(7, "other")));
  world.queue->drain();
  ASSERT_EQ(world.completed.size(), 7U);
  EXPECT_TRUE(world.completed[1].status.is(Reason::kNotACounter));
  EXPECT_TRUE(world.completed[2].swapped);
  EXPECT_EQ(world.completed[3].number, 6);
  EXPECT_FALSE(world.completed[4].swapped);
  EXPECT_TRUE(world.completed[4].status.ok());
  EXPECT_EQ(world.completed[6].number, 1);
  for (const Completion& completion : world.completed) {
    EXPECT_EQ(completion.generation, completion.status.ok() ? 1U : 0U);
  }
}

// The same through an open store, with its witness thread and background compaction, while another thread maintains.
TEST(CommitQueueInAStore, SubmitWhileItIsMaintained) {
  const std::uint64_t count = bounded(1500, 30'000);
  World world;
  EngineOptions options = store_options("first");
  options.threads = true;
  options.witness_interval_ms = 1;
  options.compaction_bytes_min = 16 << 10;
  std::mutex mutex;
  std::map<std::uint64_t, int> seen;
  {
    Engine engine(os::Environment{*world.disk, world.clock}, std::move(options),
                  [&](std::vector<Completion> completions) {
                    const std::lock_guard lock(mutex);
                    for (const Completion& completion : completions) {
                      EXPECT_TRUE(completion.status.ok()) << describe(completion.status);
                      ++seen[completion.ticket];
                    }
                  });
    ASSERT_OK(open_steps(engine));
    std::atomic<int> running{kThreads};
    std::thread maintenance([&] {
      while (running > 0) {
        EXPECT_TRUE(engine.anchor().ok());
        EXPECT_TRUE(engine.compact().ok());
        EXPECT_TRUE(engine.refresh_time_tamper().ok());
        EXPECT_TRUE(Passwords(engine).change(as_bytes("first"), SecretBytes(as_bytes("first"))).ok());
        EXPECT_TRUE(engine.validate_before_write().ok());
        EXPECT_TRUE(engine.status().open);
      }
    });
    in_threads([&](int thread) {
      for (std::uint64_t number = 1; number <= count; ++number) {
        QueuedOperation operation =
            set_operation(ticket_of(thread, number), "k" + std::to_string(number % 40), "value");
        if (number % 50 == 0) operation.durability = log::Durability::kWitnessed;
        if (number % 30 == 0) {
          const std::uint64_t ticket = operation.ticket;
          EXPECT_TRUE(engine.commit_now(std::move(operation)).status.ok());
          const std::lock_guard lock(mutex);
          ++seen[ticket];
        } else {
          ASSERT_OK(engine.submit(std::move(operation)));
        }
      }
      --running;
    });
    maintenance.join();
    ASSERT_OK(engine.close());
  }
  EXPECT_EQ(seen.size(), count * kThreads);
  for (const auto& [ticket, times] : seen) EXPECT_EQ(times, 1) << ticket;
  Opened again(*world.disk, world.clock, store_options("first"));
  ASSERT_OK(again.open());
  EXPECT_EQ(contents_of(*again).size(), 40U);
}

}  // namespace
}  // namespace strongroom::store::testing
