// The vault log: the bytes of its headers, where a history ends, random histories against a model, nonces, what a
// commit costs, and that nothing is written in the clear.
#include <random>
#include <set>

#include "base/cancellation.h"
#include "base/limits.h"
#include "hooked_files.h"
#include "log/compaction.h"
#include "reliability_fixture.h"

namespace strongroom::store::testing {
namespace {

using log::FrameHeader;
using log::LogEnd;

const StorageId kId = {1, 2, 3, 4, 5, 6, 7, 8};

// --- Format ---

TEST(LogFormat, FrameHeader) {
  FrameHeader header;
  header.kind = log::CommitKind::kData;
  header.flags = log::kHasSalt;
  header.generation = 0x0102030405060708;
  header.wall_ms = -5;
  header.counter = 77;
  header.epoch = 9;
  header.operations = 3;
  header.entry_table_bytes = 100;
  header.value_bytes = 1001;
  header.tamper_synced = 12;
  std::array<std::uint8_t, log::kFrameHeaderBytes> bytes{};
  log::encode_frame_header(header, kId, bytes.data());
  const auto parsed = log::parse_frame_header(bytes, kId);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->generation, header.generation);
  EXPECT_EQ(parsed->wall_ms, -5);
  EXPECT_EQ(parsed->counter, 77U);
  EXPECT_EQ(parsed->epoch, 9U);
  EXPECT_EQ(parsed->operations, 3U);
  EXPECT_EQ(parsed->tamper_synced, 12U);
  EXPECT_EQ(parsed->content_bytes(), 64U + 32U + 100U + 16U + 1001U);
  EXPECT_EQ(parsed->frame_bytes() % log::kFrameAlignment, 0U);
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    auto flipped = bytes;
    flipped[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
    EXPECT_FALSE(log::parse_frame_header(flipped, kId)) << bit;
  }
  StorageId other = kId;
  other[0] ^= 1;
  EXPECT_FALSE(log::parse_frame_header(bytes, other));
  EXPECT_FALSE(log::parse_frame_header(ByteView(bytes).first(63), kId));

  // A fitting check does not make lengths or kinds acceptable.
  header.value_bytes = log::kFrameBodyBytesMax;
  log::encode_frame_header(header, kId, bytes.data());
  EXPECT_FALSE(log::parse_frame_header(bytes, kId));
  header.value_bytes = UINT32_MAX;
  header.entry_table_bytes = UINT32_MAX;
  log::encode_frame_header(header, kId, bytes.data());
  EXPECT_FALSE(log::parse_frame_header(bytes, kId));
  header.value_bytes = header.entry_table_bytes = 0;
  for (const int kind : {0, 22, 31, 34, 255}) {
    header.kind = static_cast<log::CommitKind>(kind);
    log::encode_frame_header(header, kId, bytes.data());
    EXPECT_FALSE(log::parse_frame_header(bytes, kId)) << kind;
  }
}

TEST(LogFormat, SnapshotInfo) {
  log::SnapshotInfo info;
  info.checkpoint = {5, {1, 2}};
  info.audit_chain = {9};
  info.records = 7;
  info.epochs[3] = {4};
  info.epochs[UINT32_MAX] = {5};
  info.witnessed = {{1, {1}}, {4, {2}}};
  const Bytes bytes = log::encode_snapshot_info(info);
  const auto parsed = log::parse_snapshot_info(bytes);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->checkpoint, info.checkpoint);
  EXPECT_EQ(parsed->epochs, info.epochs);
  EXPECT_EQ(parsed->witnessed, info.witnessed);
  EXPECT_EQ(parsed->records, 7U);
  EXPECT_FALSE(parsed->former_chain);
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(log::parse_snapshot_info(ByteView(bytes).first(size)));
  log::SnapshotInfo moved = info;
  moved.former_chain = Digest{8};
  const Bytes with_chain = log::encode_snapshot_info(moved);
  EXPECT_EQ(log::parse_snapshot_info(with_chain)->former_chain, moved.former_chain);
  for (std::size_t size = bytes.size() + 1; size < with_chain.size(); ++size)
    EXPECT_FALSE(log::parse_snapshot_info(ByteView(with_chain).first(size)));
  Bytes longer = bytes;
  longer.push_back(0);
  EXPECT_FALSE(log::parse_snapshot_info(longer));
  info.witnessed.assign(limits::kWitnessedCheckpointsMax + 1, {});
  EXPECT_FALSE(log::parse_snapshot_info(log::encode_snapshot_info(info)));
}

// --- Where a history ends ---

class LogEnds : public ::testing::Test {
 protected:
  LogEnds() : keys_(make_keys()) {
    disk_->make_directory("/log");
    directory_ = *disk_->open_directory("/log", os::DirectoryMode::kExisting);
    std::unique_ptr<os::File> file = *directory_->open("vault.bin", os::OpenMode::kCreate);
    log::SnapshotWriter snapshot(*file, *keys_, 1, 1);
    log::SnapshotInfo info;
    info.checkpoint = {0, log::genesis_head(kId, {})};
    EXPECT_TRUE(snapshot.begin(info).ok());
    const std::uint64_t offset = *snapshot.finish();
    writer_ = std::make_unique<log::LogWriter>(std::move(file), offset, info.checkpoint, 1, *keys_, 0);
  }
  static std::unique_ptr<log::EpochKeys> make_keys() {
    return std::make_unique<log::EpochKeys>(SecretBytes(Bytes(32, 7)), kId);
  }
  void put(const std::string& key, const std::string& value) {
    ASSERT_OK(
        writer_
            ->append(log::CommitKind::kData, {{log::Operation::kPut, as_bytes(key), as_bytes(value)}}, 0, 0)
            .status());
  }
  [[nodiscard]] Bytes bytes() const { return *disk_->content("/log/vault.bin"); }
  Result<log::LoadedLog> read(Bytes content, log::Index& index) {
    disk_->set_content("/log/copy", std::move(content));
    std::unique_ptr<os::File> file = *directory_->open("copy", os::OpenMode::kRead);
    read_keys_ = make_keys();
    return log::read_log(*file, kId, *read_keys_, index, {});
  }
  void expect(Bytes content, LogEnd end, std::uint64_t generation, const std::string& what) {
    log::Index index;
    const Result<log::LoadedLog> loaded = read(std::move(content), index);
    ASSERT_OK(loaded.status());
    EXPECT_EQ(static_cast<int>(loaded->end), static_cast<int>(end)) << what;
    EXPECT_EQ(loaded->newest.generation, generation) << what;
  }
  // A write fails, and then the call that comes so many behind it.
  void expect_unknown_outcome(std::uint64_t behind_the_write) {
    put("a", "1");
    const std::vector<log::Change> change{{log::Operation::kPut, as_bytes("b"), as_bytes("2")}};
    const std::uint64_t write = disk_->calls() + 1;
    disk_->fail_at(write, {.reason = Reason::kNoSpace});
    disk_->fail_at(write + behind_the_write, {.reason = Reason::kIoError});
    const Status failed = writer_->append(log::CommitKind::kData, change, 0, 0).status();
    EXPECT_REASON(failed, Reason::kPoisoned);
    EXPECT_TRUE(!failed.ok() && failed.error().outcome_unknown);
    disk_->clear_faults();
    const Status later = writer_->append(log::CommitKind::kData, change, 0, 0).status();
    EXPECT_REASON(later, Reason::kPoisoned);
    EXPECT_TRUE(!later.ok() && !later.error().outcome_unknown);
  }

  std::unique_ptr<SimulatedDisk> disk_ = std::make_unique<SimulatedDisk>();
  std::shared_ptr<os::Directory> directory_;
  std::unique_ptr<log::EpochKeys> keys_;
  std::unique_ptr<log::EpochKeys> read_keys_;
  std::unique_ptr<log::LogWriter> writer_;
};

TEST_F(LogEnds, EveryCut) {
  std::vector<std::size_t> ends{bytes().size()};
  for (int i = 0; i < 4; ++i) {
    put("key", std::string(static_cast<std::size_t>(i) * 37, 'v'));
    ends.push_back(bytes().size());
  }
  const Bytes whole = bytes();
  for (std::size_t size = 0; size <= whole.size(); ++size) {
    const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    if (size < ends[0]) {
      log::Index index;
      EXPECT_TRUE(read(cut, index).is(Reason::kVaultTampered)) << size;
      continue;
    }
    const auto generation =
        static_cast<std::uint64_t>(std::upper_bound(ends.begin(), ends.end(), size) - ends.begin() - 1);
    const bool exact = ends[generation] == size;
    expect(cut, exact ? LogEnd::kExact : LogEnd::kDamaged, generation, "cut to " + std::to_string(size));
  }
}

TEST_F(LogEnds, Kinds) {
  put("a", "1");
  const std::size_t first = bytes().size();
  put("b", "2");
  const std::size_t second = bytes().size();
  put("c", "3");
  Bytes padded = bytes();
  padded.resize(padded.size() + (std::size_t{3} << 20));  // more than one chunk of zeros
  expect(padded, LogEnd::kPadded, 3, "reserved space");
  padded.back() = 1;
  expect(padded, LogEnd::kDamaged, 3, "something behind the zeros");

  Bytes torn = bytes();
  torn[second + 70] ^= 1;
  expect(torn, LogEnd::kDamaged, 2, "damage in the last frame");
  torn = bytes();
  torn[first + 70] ^= 1;
  expect(torn, LogEnd::kDamagedInside, 1, "damage before a later frame");
  torn = bytes();
  std::fill(torn.begin() + static_cast<std::ptrdiff_t>(first),
            torn.begin() + static_cast<std::ptrdiff_t>(second), std::uint8_t{0});
  expect(torn, LogEnd::kDamagedInside, 1, "a hole before a later frame");

  // The later frame far behind the damage, at and around the seams of what is read at once.
  const Bytes whole = bytes();
  const Bytes later(whole.begin() + static_cast<std::ptrdiff_t>(second), whole.end());
  for (const std::size_t gap : {8U, 1048496U, 1048504U, 1048512U, 1048520U, 1048568U, 1048576U, 2097152U}) {
    Bytes far(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(first));
    far.resize(first + gap);
    far.insert(far.end(), later.begin(), later.end());
    expect(far, LogEnd::kDamagedInside, 1, "a frame " + std::to_string(gap) + " bytes behind");
  }
}

// A file with zeros behind its content, as a hole has them, that counts what is read.
class SparseFile final : public os::File {
 public:
  SparseFile(Bytes content, std::uint64_t size) : content_(std::move(content)), size_(size) {}
  Result<std::size_t> read_at(std::uint64_t offset, MutableBytes out) override {
    const auto got = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), size_ - offset));
    std::fill_n(out.begin(), got, std::uint8_t{0});
    if (offset < content_.size()) {
      const auto part = static_cast<std::size_t>(std::min<std::uint64_t>(got, content_.size() - offset));
      std::copy_n(content_.begin() + static_cast<std::ptrdiff_t>(offset), part, out.begin());
    }
    bytes_read += got;
    return got;
  }
  Result<os::FileInfo> info() override { return os::FileInfo{size_, 1, 1, 0}; }
  Status write_at(std::uint64_t, ByteView) override { return read_only(); }
  Status sync() override { return read_only(); }
  Status truncate(std::uint64_t) override { return read_only(); }
  Status allocate(std::uint64_t, std::uint64_t) override { return read_only(); }

  std::uint64_t bytes_read = 0;

 private:
  static Status read_only() { return {Reason::kReadOnly, "a file that is only read"}; }
  const Bytes content_;
  const std::uint64_t size_;
};

TEST_F(LogEnds, MoreThanACrashCanLeaveIsNotRead) {
  put("a", "1");
  const Bytes whole = bytes();
  const auto end_of = [&](const Bytes& content, std::uint64_t tail, std::uint64_t bytes_max) {
    SparseFile file(content, whole.size() + tail);
    log::Index index;
    read_keys_ = make_keys();
    const Result<log::LoadedLog> loaded = log::read_log(file, kId, *read_keys_, index, {});
    EXPECT_OK(loaded.status());
    EXPECT_EQ(loaded->newest.generation, 1U);
    EXPECT_EQ(loaded->end_offset, whole.size());
    EXPECT_LE(file.bytes_read, bytes_max) << tail;
    return loaded->end;
  };
  constexpr std::uint64_t kTerabyte = std::uint64_t{1} << 40;
  const std::uint64_t little = whole.size() + (std::uint64_t{2} << 20);
  // The most that is legal: the frame was torn before its first byte came to the disk.
  EXPECT_EQ(end_of(whole, log::kTailBytesMax, whole.size() + log::kTailBytesMax), LogEnd::kPadded);
  EXPECT_EQ(end_of(whole, log::kTailBytesMax + 1, little), LogEnd::kTooLong);
  EXPECT_EQ(end_of(whole, kTerabyte, little), LogEnd::kTooLong);
  Bytes damaged = whole;
  damaged.push_back(1);
  EXPECT_EQ(end_of(damaged, kTerabyte, little), LogEnd::kTooLong);
}

// The largest tail that the writer can leave: the space for a frame and what is reserved behind it, whatever was asked for.
TEST_F(LogEnds, TheWriterReservesNoMoreThanItsLimit) {
  std::unique_ptr<os::File> file = *directory_->open("vault.bin", os::OpenMode::kReadWrite);
  log::LogWriter writer(std::move(file), bytes().size(), writer_->newest(), 1, *keys_,
                        std::uint64_t{1} << 40);
  ASSERT_OK(
      writer.append(log::CommitKind::kData, {{log::Operation::kPut, as_bytes("a"), as_bytes("1")}}, 0, 0)
          .status());
  EXPECT_GT(bytes().size(), writer.offset());
  EXPECT_LE(bytes().size(), writer.offset() + limits::kReserveBytesMax);
}

TEST_F(LogEnds, CancelledReading) {
  for (int i = 0; i < 100; ++i) put("key" + std::to_string(i), "value");
  for (const std::size_t padding : {std::size_t{0}, std::size_t{8} << 20}) {  // with other threads, too
    Bytes content = bytes();
    content.resize(content.size() + padding);
    SparseFile file(content, content.size());
    Cancellation cancellation;
    const CancellationScope scope(&cancellation);
    int seen = 0;
    log::ReadOptions options;
    options.on_commit = [&](const log::CommitInfo&) {
      if (++seen == 10) cancellation.request();
    };
    log::Index index;
    read_keys_ = make_keys();
    EXPECT_TRUE(log::read_log(file, kId, *read_keys_, index, options).is(Reason::kAborted));
    EXPECT_EQ(seen, 10);
  }
}

// The history is read, and what stands behind it is not looked through.
TEST_F(LogEnds, CancelledBehindTheHistory) {
  put("a", "1");
  Bytes content = bytes();
  const std::uint64_t tail = std::uint64_t{64} << 20;
  SparseFile file(content, content.size() + tail);
  Cancellation cancellation;
  const CancellationScope scope(&cancellation);
  log::ReadOptions options;
  options.on_commit = [&](const log::CommitInfo&) { cancellation.request(); };
  log::Index index;
  read_keys_ = make_keys();
  EXPECT_TRUE(log::read_log(file, kId, *read_keys_, index, options).is(Reason::kAborted));
  EXPECT_LT(file.bytes_read, tail / 8);
}

TEST_F(LogEnds, AFailedWriteIsTakenBack) {
  put("a", "1");
  const Bytes before = bytes();
  disk_->fail_at(disk_->calls() + 1, {.reason = Reason::kNoSpace});
  EXPECT_TRUE(
      writer_->append(log::CommitKind::kData, {{log::Operation::kPut, as_bytes("b"), as_bytes("2")}}, 0, 0)
          .is(Reason::kNoSpace));
  EXPECT_EQ(bytes(), before);
  EXPECT_FALSE(writer_->is_poisoned());
  put("c", "3");
  expect(bytes(), LogEnd::kExact, 2, "after a failed write");
}

// A power cut could bring back a frame whose removal failed or was not synced.
TEST_F(LogEnds, AFailedWriteThatCannotBeCutOffIsOfUnknownOutcome) { expect_unknown_outcome(1); }
TEST_F(LogEnds, AFailedWriteWhoseRemovalIsNotSyncedIsOfUnknownOutcome) { expect_unknown_outcome(2); }

// The frame that was to announce the epoch is not in the file; the next one announces one.
TEST_F(LogEnds, AFailedFirstWriteAnnouncesNoEpoch) {
  for (int round = 0; round < 2; ++round) {
    disk_->fail_at(disk_->calls() + 1, {.reason = Reason::kNoSpace});
    EXPECT_TRUE(
        writer_->append(log::CommitKind::kData, {{log::Operation::kPut, as_bytes("a"), as_bytes("1")}}, 0, 0)
            .is(Reason::kNoSpace));
    disk_->clear_faults();
    put("b", "2");
    put("c", "3");
    expect(bytes(), LogEnd::kExact, static_cast<std::uint64_t>(2 * (round + 1)),
           "behind a failed first write");
    writer_->end_epoch();
  }
}

TEST_F(LogEnds, FramesThatAreNotThereAreNotCopied) {
  disk_->set_content("/log/from", Bytes(100, 7));
  const std::unique_ptr<os::File> from = *directory_->open("from", os::OpenMode::kRead);
  const std::unique_ptr<os::File> to = *directory_->open("to", os::OpenMode::kCreate);
  ASSERT_OK(log::copy_frames(*from, 40, 100, *to, 8));
  EXPECT_EQ(to->info()->size_bytes, 68U);
  EXPECT_REASON(log::copy_frames(*from, 40, 101, *to, 8), Reason::kIoError);
}

// --- Histories ---

Contents scan(Engine& engine, const log::KeyRange& range, std::vector<std::string>* order) {
  Contents seen;
  engine.queue().scan(range, [&](const log::Record& record) {
    if (!record.key().starts_with(kSystemPrefix)) {
      seen[std::string(record.key())];
      order->emplace_back(record.key());
    }
    return true;
  });
  return seen;
}

void compare_ranges(Engine& engine, const Contents& model, std::mt19937_64& random) {
  for (int i = 0; i < 12; ++i) {
    log::KeyRange range;
    const auto bound = [&]() -> std::optional<std::string> {
      if (random() % 4 == 0) return std::nullopt;
      return "k" + std::to_string(random() % 45) + (random() % 3 == 0 ? std::string(1, '\xFF') : "");
    };
    range.lower = bound();
    range.upper = bound();
    range.lower_inclusive = random() % 2 == 0;
    range.upper_inclusive = random() % 2 == 0;
    range.reverse = random() % 2 == 0;
    std::vector<std::string> expected;
    for (const auto& [key, value] : model) {
      if (range.lower && (range.lower_inclusive ? key < *range.lower : key <= *range.lower)) continue;
      if (range.upper && (range.upper_inclusive ? key > *range.upper : key >= *range.upper)) continue;
      expected.push_back(key);
    }
    if (range.reverse) std::reverse(expected.begin(), expected.end());
    std::vector<std::string> order;
    scan(engine, range, &order);
    ASSERT_EQ(order, expected);
  }
}

// One change of the store, a compaction, or time that passes. The ledger is told what comes of it.
void act_at_random(World& world, Session& session, std::mt19937_64& random, std::size_t& compactions) {
  const std::string key = "k" + std::to_string(random() % 40);
  const auto value = [&] {
    return std::string(random() % 8 == 0 ? random() % 3000 : random() % 40, static_cast<char>(random()));
  };
  const log::Durability durability =
      random() % 5 == 0 ? log::Durability::kWitnessed : log::Durability::kJournal;
  switch (random() % 8) {
    case 0:
      session.remove(key).ignore("told to the ledger");
      break;
    case 1: {
      KeyChanges changes;
      for (std::size_t n = random() % 6 + 1; n > 0; --n) {
        const std::string name = "k" + std::to_string(random() % 40);
        changes.emplace_back(name, random() % 3 == 0 ? std::nullopt : std::optional(value()));
      }
      session.batch(changes, durability).ignore("told to the ledger");
      break;
    }
    case 2:
      session.increment("counter", static_cast<std::int64_t>(random() % 100) - 50)
          .ignore("told to the ledger");
      break;
    case 3:
      if (random() % 6 == 0) {
        session.engine().compact().ignore("the power may be cut");
        ++compactions;
      }
      world.clock.advance(random() % 40'000);
      break;
    default:
      session.set(key, value(), durability).ignore("told to the ledger");
  }
}

TEST(LogHistory, RandomAgainstAModel) {
  const std::size_t histories = bounded(24, 2000);
  std::size_t operations = 0;
  std::size_t openings = 0;
  std::size_t crashes = 0;
  std::size_t compactions = 0;
  for (std::size_t history = 0; history < histories; ++history) {
    std::mt19937_64 random(history);
    auto world = std::make_unique<World>();
    world->options = [history] {
      EngineOptions options = store_options();
      options.reserve_bytes = history % 3 == 0 ? 0 : 4096;
      options.tamper_capacity = history % 2 == 0 ? 8 : 64;
      return options;
    };
    for (int opening = 0; opening < 8; ++opening) {
      ++openings;
      auto session = std::make_unique<Session>(*world);
      ASSERT_OK(session->open());
      Contents seen = session->contents();
      ASSERT_TRUE(world->ledger.permits(seen)) << "history " << history << ", opening " << opening;
      world->ledger.settle(std::move(seen));
      const bool crashes_now = random() % 3 == 0;
      if (crashes_now) world->disk->power_cut_at(world->disk->calls() + random() % 60);
      for (int i = 0; i < 25; ++i, ++operations) {
        act_at_random(*world, *session, random, compactions);
        if (world->disk->power_is_cut()) break;
        ASSERT_EQ(session->contents(), world->ledger.newest());
      }
      if (!world->disk->power_is_cut()) compare_ranges(session->engine(), world->ledger.newest(), random);
      if (crashes_now) {
        world->disk->cut_power_now();
        session.reset();
        const std::vector<CrashState> states = world->disk->crash_states(50);
        world = after_crash(*world, states[random() % states.size()]);
        ++crashes;
      } else if (random() % 3 == 0) {
        session.reset();  // killed
      } else {
        ASSERT_OK(session->close());
      }
    }
  }
  std::printf("log: histories=%zu operations=%zu openings=%zu crashes=%zu compactions=%zu\n", histories,
              operations, openings, crashes, compactions);
}

// --- Nonces, and what is in the clear ---

// Looks at every frame that is ever written, also those that a crash takes back.
class NonceWatch {
 public:
  explicit NonceWatch(const StorageId& id) : id_(id) {}

  void written(std::string_view name, ByteView data) {
    if (!name.starts_with("vault.bin")) return;
    while (data.size() >= log::kFrameHeaderBytes) {
      const auto header = log::parse_frame_header(data, id_);
      if (!header || header->frame_bytes() > data.size()) return;
      frame(*header, data.first(header->frame_bytes()));
      data = data.subspan(header->frame_bytes());
    }
  }

  std::size_t frames = 0;
  std::size_t nonces = 0;
  std::size_t repeated = 0;

 private:
  using Salt = log::EpochSalt;
  void frame(const FrameHeader& header, ByteView bytes) {
    const Digest digest = crypto::sha256({bytes});
    if (!seen_.insert(digest).second) return;  // the same bytes once more: a copy
    ++frames;
    if (header.salt_bytes() != 0) {
      Salt salt{};
      std::copy_n(bytes.begin() + log::kFrameHeaderBytes, salt.size(), salt.begin());
      salts_[header.epoch] = salt;
    }
    const auto found = salts_.find(header.epoch);
    ASSERT_NE(found, salts_.end());
    for (std::uint64_t counter = header.counter; counter <= header.counter + header.operations; ++counter) {
      ++nonces;
      if (!used_.emplace(found->second, counter).second) ++repeated;
    }
  }
  StorageId id_;
  std::set<Digest> seen_;
  std::map<std::uint32_t, Salt>
      salts_;  // the newest announcement of an epoch is that of the process that writes
  std::set<std::pair<Salt, std::uint64_t>> used_;
};

TEST(LogNonces, NeverRepeat) {
  World world;
  StorageId id{};
  {
    Session session(world);
    ASSERT_OK(session.open());
    id = session.engine().status().storage_id;
    ASSERT_OK(session.close());
  }
  NonceWatch watch(id);
  std::mt19937_64 random(3);
  std::unique_ptr<World> now = Image(world).start();
  for (int opening = 0; opening < 150; ++opening) {
    {
      HookedFiles files(*now->disk, "vault.bin.new");
      files.on_write = [&](std::string_view name, ByteView data) { watch.written(name, data); };
      Opened opened(files, now->clock, now->options());
      ASSERT_OK(opened.open());
      const std::uint64_t calls = now->disk->calls();
      if (opening % 3 == 0) now->disk->power_cut_at(calls + 1 + random() % 20);
      if (opening % 3 == 1)
        now->disk->fail_at(calls + 1 + random() % 20,
                           {.reason = Reason::kNoSpace, .sticky = random() % 2 == 0});
      for (int i = 0; i < 8; ++i) {
        opened.set("k" + std::to_string(random() % 5), std::string(random() % 700, 'x'))
            .status.ignore("may fail");
        if (random() % 10 == 0) opened->compact().ignore("may fail");
      }
      if (opening % 4 == 2) opened->close().ignore("may fail");
    }
    now->disk->clear_faults();
    const std::vector<CrashState> states = now->disk->crash_states(40);
    now = after_crash(*now, states[random() % states.size()]);
  }
  std::printf("log: frames=%zu nonces=%zu repeated=%zu\n", watch.frames, watch.nonces, watch.repeated);
  EXPECT_EQ(watch.repeated, 0U);
  EXPECT_GT(watch.frames, 500U);
}

TEST(LogSecrecy, NoKeyAndNoValueInTheClear) {
  World world;
  const std::string key = "a-key-that-must-not-show";
  const std::string value = "a-value-that-must-not-show";
  const std::string password = "a-password-that-must-not-show";
  std::size_t written = 0;
  const auto look = [&](std::string_view name, ByteView data) {
    written += data.size();
    for (const std::string& secret : {key, value, password}) {
      EXPECT_EQ(as_text(data).find(secret), std::string_view::npos) << name;
    }
  };
  HookedFiles files(*world.disk, "vault.bin.new");
  files.on_write = look;
  Opened opened(files, world.clock, store_options(password));
  ASSERT_OK(opened.open());
  ASSERT_OK(opened.set(key, value).status);
  ASSERT_OK(opened.set(key + "2", std::string(3000, 'x') + value, log::Durability::kWitnessed).status);
  ASSERT_OK(opened->compact());
  ASSERT_OK(opened.remove(key).status);
  ASSERT_OK(opened->close());
  for (const auto& [path, content] : files_of(*world.disk)) look(path, content);
  EXPECT_GT(written, 10'000U);
}

// --- What a commit costs ---

TEST(LogCost, OneWriteAndOneSyncForAPut) {
  World world;
  world.options = [] {
    EngineOptions options = store_options();
    options.reserve_bytes = 1 << 20;
    return options;
  };
  Session session(world);
  ASSERT_OK(session.open());
  ASSERT_OK(session.set("key", std::string(256, 'v')));
  const std::string key = "licences/customer-000000000001";
  for (int i = 0; i < 100; ++i) {
    const std::uint64_t before = world.disk->calls();
    const std::uint64_t bytes_before = session.engine().status().log_bytes;
    ASSERT_OK(session.set(key, std::string(256, 'v')));
    ASSERT_EQ(world.disk->calls() - before, 2U) << world.disk->call_log().back();
    ASSERT_LE(session.engine().status().log_bytes - bytes_before, 512U);
  }
  std::printf(
      "log: put of 256 bytes: %zu bytes, 1 write, 1 sync\n",
      static_cast<std::size_t>(log::FrameHeader{
          .entry_table_bytes = static_cast<std::uint32_t>(1 + 1 + key.size() + 2 + 16), .value_bytes = 256}
                                   .frame_bytes()));
  // Reading costs nothing at all.
  const std::uint64_t before = world.disk->calls();
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(session.contents().size(), 2U);
  EXPECT_EQ(world.disk->calls(), before);
}

}  // namespace
}  // namespace strongroom::store::testing
