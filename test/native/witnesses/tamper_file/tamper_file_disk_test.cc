// The writing side of the tamper file on a disk that fails and forgets: what is read afterwards is always a
// stretch of what had been appended, and holds everything that was acknowledged.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "os/testing/simulated_disk.h"
#include "tamper_file_fixture.h"
#include "witnesses/tamper_file/tamper_file.h"

namespace strongroom::store {
namespace {

using namespace tamper_testing;

constexpr std::string_view kName = "tmtmp.bin";
constexpr std::string_view kPath = "/store/tmtmp.bin";

std::vector<AuditEntry> entries_between(std::uint64_t first, std::uint64_t last) {
  std::vector<AuditEntry> out;
  for (std::uint64_t generation = first; generation <= last; ++generation)
    out.push_back(entry_at(generation));
  return out;
}

// The checkpoints of a history that starts at `start` and whose entries are entry_at().
class AppendedHistory {
 public:
  explicit AppendedHistory(AuditCheckpoint start) : checkpoints_{start} {}
  const AuditCheckpoint& at(std::uint64_t generation) {
    while (checkpoints_.back().generation < generation) {
      const AuditEntry entry = entry_at(checkpoints_.back().generation + 1);
      checkpoints_.push_back(
          {entry.generation, entry.head, next_chain(key(), checkpoints_.back().chain, entry)});
    }
    return checkpoints_[static_cast<std::size_t>(generation - checkpoints_[0].generation)];
  }

  // What was read is a stretch of this history that ends between `durable` and `attempted`.
  void expect_stretch(const TamperContent& got, std::uint64_t durable, std::uint64_t attempted) {
    EXPECT_GE(got.newest.generation, durable);
    ASSERT_LE(got.newest.generation, attempted);
    ASSERT_GE(got.checkpoint.generation, checkpoints_[0].generation);
    EXPECT_TRUE(same(got.checkpoint, at(got.checkpoint.generation)));
    EXPECT_TRUE(same(got.newest, at(got.newest.generation)));
    ASSERT_EQ(got.entries.size(), got.newest.generation - got.checkpoint.generation);
    for (const AuditEntry& entry : got.entries) EXPECT_TRUE(same(entry, entry_at(entry.generation)));
  }

 private:
  std::vector<AuditCheckpoint> checkpoints_;
};

// A disk with "/store", and the tamper file in it.
struct Store {
  explicit Store(std::unique_ptr<os::testing::SimulatedDisk> on = nullptr) : disk(std::move(on)) {
    if (disk == nullptr) {
      disk = std::make_unique<os::testing::SimulatedDisk>();
      disk->make_directory("/store");
    }
    auto opened = disk->open_directory("/store", os::DirectoryMode::kExisting);
    EXPECT_TRUE(opened.ok());
    directory = *opened;
  }
  Status create(std::uint32_t capacity = kCapacity, std::vector<AuditEntry> entries = {}) {
    return keep(TamperFile::create(*directory, std::string(kName), SecretBytes(key()), kStorageId, kKeyId, {},
                                   std::move(entries), capacity));
  }
  Status resume(TamperContent content) {
    return keep(TamperFile::resume(*directory, std::string(kName), SecretBytes(key()), kStorageId, kKeyId,
                                   std::move(content)));
  }
  Status keep(Result<std::unique_ptr<TamperFile>> made) {
    if (made.ok()) file = *std::move(made);
    return made.status();
  }
  Result<TamperContent> read() { return read_tamper_file(*directory, kName, key(), kStorageId); }

  std::unique_ptr<os::testing::SimulatedDisk> disk;
  std::shared_ptr<os::Directory> directory;
  std::unique_ptr<TamperFile> file;
};

// Fills the file, goes over its capacity, and appends three times its capacity at once.
constexpr std::uint64_t kScript[] = {3, 5, 8, 9, 11, 35, 36};

// Runs the script from where the file stands to the first failure. `attempted` is the newest generation that
// may be in the file.
Status run_script(Store& store, std::uint64_t& attempted) {
  if (store.file == nullptr) SR_TRY(store.create());
  for (const std::uint64_t last : kScript) {
    if (last <= store.file->newest().generation) continue;
    attempted = last;
    SR_TRY(store.file->append(entries_between(store.file->newest().generation + 1, last)));
  }
  return {};
}

// Every state that a power cut now may leave holds what was appended, and can be gone on with.
void expect_crash_safe(Store& store, std::uint64_t attempted, bool must_exist, bool go_on) {
  AppendedHistory history({});
  const std::uint64_t durable = store.file == nullptr ? 0 : store.file->newest().generation;
  for (const os::testing::CrashState& state : store.disk->crash_states()) {
    SCOPED_TRACE(state.description);
    Store after(store.disk->after_crash(state));
    const Result<TamperContent> got = after.read();
    if (!got.ok() && !must_exist) {
      EXPECT_TRUE(got.is(Reason::kNotFound));
      continue;
    }
    ASSERT_TRUE(got.ok()) << got.error().detail;
    history.expect_stretch(*got, durable, attempted);
    if (!go_on) continue;
    ASSERT_TRUE(after.resume(*got).ok());
    const std::uint64_t next = got->newest.generation + 1;
    ASSERT_TRUE(after.file->append(entries_between(next, next + 1)).ok());
    after.disk->cut_power_now();
    Store again(after.disk->after_crash(after.disk->crash_states().front()));
    const Result<TamperContent> more = again.read();
    ASSERT_TRUE(more.ok());
    EXPECT_TRUE(more->clean);
    history.expect_stretch(*more, next + 1, next + 1);
  }
}

TEST(TamperFile, AppendAcrossTheCapacity) {
  Store store;
  ASSERT_TRUE(store.create().ok());
  AppendedHistory history({});
  std::uint64_t checkpoint = 0;
  for (std::uint64_t generation = 1; generation <= 40; ++generation) {
    const std::uint64_t before = store.disk->calls();
    ASSERT_TRUE(store.file->append(entries_between(generation, generation)).ok());
    if (generation - checkpoint > kCapacity) {
      checkpoint = generation - kCapacity / 2;
    } else {
      EXPECT_EQ(store.disk->calls() - before, 2U) << "one write, one sync";
    }
    const Result<TamperContent> got = store.read();
    ASSERT_TRUE(got.ok());
    EXPECT_TRUE(got->clean);
    EXPECT_EQ(got->checkpoint.generation, checkpoint);
    history.expect_stretch(*got, generation, generation);
    EXPECT_TRUE(same(got->newest, store.file->newest()));
    EXPECT_EQ(store.disk->content(std::string(kPath))->size(), tamper_file_bytes(kCapacity));
  }
}

TEST(TamperFile, AppendOfThreeTimesTheCapacityKeepsTheNewestHalf) {
  for (const std::uint32_t capacity : {2U, 3U, 8U}) {
    Store store;
    ASSERT_TRUE(store.create(capacity).ok());
    ASSERT_TRUE(store.file->append(entries_between(1, 1)).ok());
    ASSERT_TRUE(store.file->append(entries_between(2, 1 + 3 * capacity)).ok());
    const Result<TamperContent> got = store.read();
    ASSERT_TRUE(got.ok());
    EXPECT_TRUE(got->clean);
    EXPECT_EQ(got->entries.size(), capacity / 2);
    AppendedHistory({}).expect_stretch(*got, 1 + 3 * capacity, 1 + 3 * capacity);
  }
}

TEST(TamperFile, CreateFoldsWhatIsBeyondHalfOfTheCapacity) {
  for (const std::uint64_t count : {0U, 4U, 5U, 100U}) {
    Store store;
    ASSERT_TRUE(store.create(kCapacity, entries_between(1, count)).ok());
    const Result<TamperContent> got = store.read();
    ASSERT_TRUE(got.ok());
    EXPECT_EQ(got->entries.size(), std::min<std::uint64_t>(count, kCapacity / 2));
    AppendedHistory({}).expect_stretch(*got, count, count);
    EXPECT_TRUE(same(got->newest, store.file->newest()));
  }
}

TEST(TamperFile, WrongArgumentsWriteNothing) {
  Store store;
  EXPECT_TRUE(store.create(1).is(Reason::kInvalidArgument));
  EXPECT_TRUE(store.create(kTamperCapacityMax + 1).is(Reason::kInvalidArgument));
  EXPECT_TRUE(store.create(kCapacity, entries_between(2, 3)).is(Reason::kInvalidArgument));
  EXPECT_EQ(store.disk->calls(), 0U);
  EXPECT_TRUE(store.read().is(Reason::kNotFound));
  ASSERT_TRUE(store.create(kCapacity, entries_between(1, 3)).ok());
  const std::uint64_t before = store.disk->calls();
  EXPECT_TRUE(store.file->append(entries_between(3, 4)).is(Reason::kInvalidArgument));
  EXPECT_TRUE(store.file->append(entries_between(5, 5)).is(Reason::kInvalidArgument));
  EXPECT_TRUE(store.file->append({entry_at(4), entry_at(6)}).is(Reason::kInvalidArgument));
  EXPECT_TRUE(store.file->append({}).ok());
  const Result<TamperContent> got = store.read();
  ASSERT_TRUE(got.ok());
  TamperContent other_key_id = *got;
  other_key_id.key_id += 1;
  EXPECT_TRUE(store.resume(other_key_id).is(Reason::kInvalidArgument));
  EXPECT_TRUE(TamperFile::resume(*store.directory, std::string(kName), SecretBytes(Bytes(32, 0x11)),
                                 kStorageId, kKeyId, *got)
                  .is(Reason::kInvalidArgument));
  EXPECT_EQ(store.disk->calls(), before) << "neither refusals nor reading change the disk";
  EXPECT_TRUE(store.file->append(entries_between(4, 4)).ok());
}

TEST(TamperFile, ResumeClearsDamageAndRestoresTheSize) {
  Store whole;
  ASSERT_TRUE(whole.create(kCapacity, entries_between(1, 3)).ok());
  const Bytes good = *whole.disk->content(std::string(kPath));
  struct Case {
    std::size_t size;
    std::size_t damaged_at;  // 0: none
    std::uint64_t left;
  };
  const std::size_t third = kTamperHeaderBytes + 2 * kTamperEntryBytes;
  for (const Case& one : {Case{good.size(), third + 60, 2}, Case{good.size(), good.size() - 1, 3},
                          Case{good.size() - 1, 0, 3}, Case{third + 10, 0, 2}, Case{kTamperHeaderBytes, 0, 0},
                          Case{good.size() + 1, 0, 3}, Case{good.size() + 5000, good.size() + 4000, 3}}) {
    SCOPED_TRACE(::testing::Message() << one.size << " bytes, damage at " << one.damaged_at);
    Bytes bad = good;
    bad.resize(one.size);
    if (one.damaged_at != 0) bad[one.damaged_at] ^= 0x55;
    Store store;
    store.disk->set_content(std::string(kPath), bad);
    const Result<TamperContent> got = store.read();
    ASSERT_TRUE(got.ok());
    EXPECT_FALSE(got->clean);
    EXPECT_EQ(got->newest.generation, one.left);
    ASSERT_TRUE(store.resume(*got).ok());
    Store crashed(store.disk->after_crash(store.disk->crash_states().front()));
    const Result<TamperContent> repaired = crashed.read();
    ASSERT_TRUE(repaired.ok());
    EXPECT_TRUE(repaired->clean);
    EXPECT_EQ(repaired->newest.generation, one.left);
    ASSERT_TRUE(store.file->append(entries_between(one.left + 1, 5)).ok());
    const Result<TamperContent> more = store.read();
    ASSERT_TRUE(more.ok());
    EXPECT_TRUE(more->clean);
    AppendedHistory({}).expect_stretch(*more, 5, 5);
  }
}

TEST(TamperFile, ReadIsBoundedByTheAuthenticCapacity) {
  Store store;
  ASSERT_TRUE(store.create(kCapacity, entries_between(1, 3)).ok());
  Bytes huge = *store.disk->content(std::string(kPath));
  huge.resize(tamper_file_bytes(kTamperCapacityMax) + 1);
  store.disk->set_content(std::string(kPath), huge);
  const Result<TamperContent> got = store.read();
  ASSERT_TRUE(got.ok());
  EXPECT_FALSE(got->clean);
  EXPECT_EQ(got->newest.generation, 3U);
  store.disk->set_content(std::string(kPath), {});
  EXPECT_TRUE(store.read().is(Reason::kTamperFileTampered)) << "an empty file is present and damaged";
}

// A rotation of the DEK replaces the file while somebody reads it: what he reads is of the key that he was asked for.
TEST(TamperFile, AFileOfAnotherKeyIsReadAsOneOrTheOther) {
  Store store;
  ASSERT_TRUE(store.create(kCapacity, entries_between(1, 3)).ok());
  const Bytes next_key(32, 0x77);
  std::vector<std::uint32_t> asked;
  const auto key_of = [&](std::uint32_t named) {
    asked.push_back(named);
    if (named != kKeyId) return SecretBytes(next_key);
    EXPECT_TRUE(TamperFile::create(*store.directory, std::string(kName), SecretBytes(next_key), kStorageId,
                                   kKeyId + 1, {}, entries_between(1, 4), kCapacity)
                    .ok());
    return SecretBytes(key());
  };
  for (const std::uint64_t newest : {3U, 4U}) {
    const Result<TamperContent> got = read_tamper_file(*store.directory, kName, key_of, kStorageId);
    ASSERT_TRUE(got.ok()) << got.error().detail;
    EXPECT_TRUE(got->clean);
    EXPECT_EQ(got->newest.generation, newest);
    EXPECT_EQ(got->key_id, newest == 3 ? kKeyId : kKeyId + 1);
  }
  EXPECT_EQ(asked, (std::vector<std::uint32_t>{kKeyId, kKeyId + 1}));
}

TEST(TamperFile, PowerCutAtEveryCall) {
  Store rehearsal;
  std::uint64_t attempted = 0;
  ASSERT_TRUE(run_script(rehearsal, attempted).ok());
  const std::uint64_t calls = rehearsal.disk->calls();
  for (std::uint64_t cut = 1; cut <= calls; ++cut) {
    SCOPED_TRACE(rehearsal.disk->call_log()[static_cast<std::size_t>(cut - 1)]);
    Store store;
    store.disk->power_cut_at(cut);
    attempted = 0;
    ASSERT_FALSE(run_script(store, attempted).ok());
    expect_crash_safe(store, attempted, store.file != nullptr, true);
    if (::testing::Test::HasFailure()) return;
  }
}

TEST(TamperFile, FailureAtEveryCallIsHealedByTheNextAppend) {
  Store rehearsal;
  std::uint64_t attempted = 0;
  ASSERT_TRUE(run_script(rehearsal, attempted).ok());
  for (std::uint64_t at = 1; at <= rehearsal.disk->calls(); ++at) {
    for (const Reason reason : {Reason::kIoError, Reason::kNoSpace}) {
      for (const int how : {0, 1, 2, 3}) {
        SCOPED_TRACE(::testing::Message()
                     << rehearsal.disk->call_log()[static_cast<std::size_t>(at - 1)] << ", reason "
                     << error_info(reason).reason << ", sticky and partial " << how);
        Store store;
        store.disk->fail_at(at, {.reason = reason, .sticky = (how & 1) != 0, .partial = (how & 2) != 0});
        attempted = 0;
        const Status failed = run_script(store, attempted);
        if (failed.ok()) {
          store.disk->clear_faults();
          continue;  // a call whose failure does not matter
        }
        EXPECT_TRUE(failed.is(reason));
        expect_crash_safe(store, attempted, store.file != nullptr, false);
        store.disk->clear_faults();
        const std::uint64_t reached = store.file == nullptr ? 0 : store.file->newest().generation;
        if (store.file != nullptr) {
          // Of none: the file is known again, and holds what newest() says.
          ASSERT_TRUE(store.file->append({}).ok());
          EXPECT_EQ(store.file->newest().generation, reached);
          const Result<TamperContent> got = store.read();
          ASSERT_TRUE(got.ok());
          EXPECT_TRUE(got->clean);
          AppendedHistory({}).expect_stretch(*got, reached, reached);
        }
        ASSERT_TRUE(run_script(store, attempted).ok());
        const Result<TamperContent> got = store.read();
        ASSERT_TRUE(got.ok());
        EXPECT_TRUE(got->clean);
        expect_crash_safe(store, 36, true, false);
        if (::testing::Test::HasFailure()) return;
      }
    }
  }
}

// The entries themselves, given again after the failure, and not only an append of none.
TEST(TamperFile, FailedSyncIsNotTrustedByTheRetry) {
  Store store;
  ASSERT_TRUE(store.create().ok());
  store.disk->fail_at(store.disk->calls() + 2,
                      {.reason = Reason::kIoError});  // the sync: what it had to write is dropped
  ASSERT_TRUE(store.file->append(entries_between(1, 2)).is(Reason::kIoError));
  EXPECT_EQ(store.file->newest().generation, 0U);
  const std::size_t before = store.disk->call_log().size();
  ASSERT_TRUE(store.file->append(entries_between(1, 3)).ok());
  const std::vector<std::string> log = store.disk->call_log();
  EXPECT_TRUE(
      std::any_of(log.begin() + static_cast<std::ptrdiff_t>(before), log.end(),
                  [](const std::string& call) { return call.find(" replace ") != std::string::npos; }))
      << "nothing is known of the old file, so it is not written again";
  expect_crash_safe(store, 3, true, false);
}

// Random batches, failures, restarts and power cuts against a model that knows only what was acknowledged.
TEST(TamperFile, RandomHistories) {
  for (std::uint32_t seed = 1; seed <= 150; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const auto below = [&](std::uint64_t n) { return random() % n; };
    const auto capacity = static_cast<std::uint32_t>(2 + below(20));
    AppendedHistory history({});
    auto store = std::make_unique<Store>();
    ASSERT_TRUE(store->create(capacity).ok());
    std::uint64_t attempted = 0;
    for (int step = 0; step < 30; ++step) {
      const std::uint64_t durable = store->file->newest().generation;
      switch (below(8)) {
        case 0:
          store->disk->fail_at(store->disk->calls() + 1 + below(6),
                               {.reason = below(2) == 0 ? Reason::kIoError : Reason::kNoSpace,
                                .sticky = below(2) == 0,
                                .partial = below(2) == 0});
          break;
        case 1: {
          store->disk->clear_faults();
          const auto states = store->disk->crash_states(40);
          store = std::make_unique<Store>(store->disk->after_crash(states[below(states.size())]));
          break;
        }
        case 2:
          store->disk->clear_faults();
          store = std::make_unique<Store>(store->disk->clone());
          break;
        default: {
          const std::uint64_t last = durable + below(below(4) == 0 ? 3 * capacity : 4);
          attempted = std::max(attempted, last);
          const bool done = store->file->append(entries_between(durable + 1, last)).ok();
          EXPECT_EQ(store->file->newest().generation, done ? last : durable);
          if (done) attempted = last;
          EXPECT_TRUE(same(store->file->newest(), history.at(store->file->newest().generation)));
          continue;
        }
      }
      if (store->file != nullptr) continue;
      const Result<TamperContent> got = store->read();
      ASSERT_TRUE(got.ok()) << got.error().detail;
      history.expect_stretch(*got, durable, attempted);
      ASSERT_TRUE(store->resume(*got).ok());
      attempted = got->newest.generation;
    }
    if (::testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace strongroom::store
