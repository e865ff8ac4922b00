// The simulated disk itself: what it numbers, how it fails, and which states it says a power cut may leave.
#include "os/testing/simulated_disk.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <functional>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace strongroom::os::testing {
namespace {

Bytes bytes(std::string_view text) {
  const ByteView view = as_bytes(text);
  return {view.begin(), view.end()};
}

std::string text_of(const SimulatedDisk& disk, const std::string& path) {
  const std::optional<Bytes> content = disk.content(path);
  return content ? std::string(as_text(*content)) : "<none>";
}

// A whole disk in one line: "a=one b=two", for files in /s.
std::string image(const SimulatedDisk& disk) {
  std::string all;
  for (const std::string& name : disk.list("/s"))
    all += (all.empty() ? "" : " ") + name + "=" + text_of(disk, "/s/" + name);
  return all;
}

std::set<std::string> images_after_crash(const SimulatedDisk& disk, std::size_t limit = 1000) {
  std::set<std::string> images;
  for (const CrashState& state : disk.crash_states(limit)) images.insert(image(*disk.after_crash(state)));
  return images;
}

class SimulatedDiskTest : public ::testing::Test {
 protected:
  SimulatedDiskTest() {
    disk_.make_directory("/s");
    directory_ = *disk_.open_directory("/s", DirectoryMode::kExisting);
  }
  std::unique_ptr<File> open(std::string_view name, OpenMode mode = OpenMode::kReadWrite) {
    return *directory_->open(name, mode);
  }

  SimulatedDisk disk_;
  std::shared_ptr<Directory> directory_;
};

TEST_F(SimulatedDiskTest, NumbersMutatingCallsOnly) {
  auto made = *disk_.open_directory("/s/sub", DirectoryMode::kCreate);  // 1 make, 2 sync of /s
  auto file = open("a", OpenMode::kCreate);                             // 3
  ASSERT_TRUE(file->write_at(4, as_bytes("one")).ok());                 // 4
  ASSERT_TRUE(file->truncate(5).ok());                                  // 5
  ASSERT_TRUE(file->allocate(0, 10).ok());                              // 6
  ASSERT_TRUE(file->sync().ok());                                       // 7
  ASSERT_TRUE(directory_->replace("a", "b").ok());                      // 8
  ASSERT_TRUE(directory_->remove("b").ok());                            // 9
  ASSERT_TRUE(directory_->sync().ok());                                 // 10
  ASSERT_TRUE(directory_->lock("lock").ok());                           // 11 creates it
  ASSERT_TRUE(directory_->lock("lock").ok());
  ASSERT_TRUE(directory_->remove("missing").ok());
  ASSERT_TRUE(directory_->stat("a").ok());
  ASSERT_TRUE(directory_->list().ok());
  EXPECT_FALSE(directory_->open("a", OpenMode::kRead).ok());
  EXPECT_EQ(disk_.calls(), 11U);
  EXPECT_EQ(disk_.call_log(),
            (std::vector<std::string>{"1 make /s/sub", "2 sync directory /s", "3 create /s/a",
                                      "4 write /s/a 4+3", "5 truncate /s/a to 5", "6 allocate /s/a 0+10",
                                      "7 sync /s/a", "8 replace /s/a to /s/b", "9 remove /s/b",
                                      "10 sync directory /s", "11 create /s/lock"}));
}

TEST_F(SimulatedDiskTest, UnsyncedContentMayBeLost) {
  disk_.set_content("/s/a", bytes("old"));
  auto file = open("a");
  ASSERT_TRUE(file->write_at(0, as_bytes("new")).ok());
  EXPECT_EQ(text_of(disk_, "/s/a"), "new");
  EXPECT_EQ(images_after_crash(disk_), (std::set<std::string>{"a=old", "a=new"}));
  ASSERT_TRUE(file->sync().ok());
  EXPECT_EQ(images_after_crash(disk_), (std::set<std::string>{"a=new"}));
}

TEST_F(SimulatedDiskTest, NamesAndContentsAreSyncedApart) {
  auto file = open("a", OpenMode::kCreate);
  ASSERT_TRUE(file->write_at(0, as_bytes("x")).ok());
  ASSERT_TRUE(file->sync().ok());
  EXPECT_EQ(images_after_crash(disk_), (std::set<std::string>{"", "a=x"}));  // content without a name is gone
  auto other = open("b", OpenMode::kCreate);
  ASSERT_TRUE(other->write_at(0, as_bytes("y")).ok());
  ASSERT_TRUE(directory_->sync().ok());
  EXPECT_EQ(images_after_crash(disk_),
            (std::set<std::string>{"a=x b=", "a=x b=y",
                                   std::string("a=x b=\0", 7)}));  // a name without its content
}

TEST_F(SimulatedDiskTest, NamesAreLostInOrder) {
  for (const char* name : {"a", "b", "c"}) open(name, OpenMode::kCreate);
  ASSERT_TRUE(directory_->remove("a").ok());
  EXPECT_EQ(images_after_crash(disk_), (std::set<std::string>{"", "a=", "a= b=", "a= b= c=", "b= c="}));
}

TEST_F(SimulatedDiskTest, ALostRenameLeavesBothNames) {
  disk_.set_content("/s/a", bytes("old"));
  disk_.set_content("/s/a.new", bytes(""));
  auto file = open("a.new");
  ASSERT_TRUE(file->write_at(0, as_bytes("new")).ok());
  ASSERT_TRUE(directory_->replace("a.new", "a").ok());
  const std::string zeros(3, '\0');
  EXPECT_EQ(images_after_crash(
                disk_),  // renamed before its content: the mistake that a sync before rename prevents
            (std::set<std::string>{"a=old a.new=", "a=old a.new=new", "a=old a.new=" + zeros, "a=", "a=new",
                                   "a=" + zeros}));
  ASSERT_TRUE(file->sync().ok());
  EXPECT_EQ(images_after_crash(disk_), (std::set<std::string>{"a=old a.new=new", "a=new"}));
  ASSERT_TRUE(directory_->sync().ok());
  EXPECT_EQ(images_after_crash(disk_), (std::set<std::string>{"a=new"}));
}

TEST_F(SimulatedDiskTest, WritesSurviveInAnySubset) {
  disk_.set_content("/s/a", bytes("...."));
  auto file = open("a");
  for (std::uint64_t i = 0; i < 4; ++i) ASSERT_TRUE(file->write_at(i, as_bytes("x")).ok());
  EXPECT_EQ(images_after_crash(disk_),
            (std::set<std::string>{"a=....", "a=x...", "a=xx..", "a=xxx.", "a=xxxx",  // prefixes
                                   "a=.x..", "a=..x.", "a=...x",                      // one alone
                                   "a=.xxx", "a=x.xx", "a=xx.x"}));                   // one missing
}

TEST_F(SimulatedDiskTest, TruncatesAndAllocationsMayBeLostToo) {
  disk_.set_content("/s/a", bytes("abcd"));
  auto file = open("a");
  ASSERT_TRUE(file->truncate(2).ok());
  ASSERT_TRUE(file->allocate(0, 6).ok());
  const std::string zeros2(2, '\0');
  const std::string zeros4(4, '\0');
  EXPECT_EQ(images_after_crash(disk_),
            (std::set<std::string>{"a=abcd", "a=ab", "a=abcd" + zeros2, "a=ab" + zeros4}));
}

TEST_F(SimulatedDiskTest, WritesTearAtSectorBoundariesOfTheFile) {
  disk_.set_content("/s/a", Bytes(4 * kSectorBytes, '.'));
  auto file = open("a");
  ASSERT_TRUE(
      file->write_at(500, Bytes(12 + kSectorBytes + 20, 'x')).ok());  // 3 sectors: 12, 512 and 20 bytes
  const auto with = [](bool first, bool second, bool third) {
    std::string all(4 * kSectorBytes, '.');
    if (first) all.replace(500, 12, 12, 'x');
    if (second) all.replace(512, 512, 512, 'x');
    if (third) all.replace(1024, 20, 20, 'x');
    return "a=" + all;
  };
  EXPECT_EQ(
      images_after_crash(disk_),
      (std::set<std::string>{with(false, false, false), with(true, true, true), with(true, false, false),
                             with(true, true, false), with(false, false, true), with(false, true, true),
                             with(true, false, true), with(false, true, false)}));
}

TEST_F(SimulatedDiskTest, AGrowingWriteMayLeaveZeros) {
  disk_.set_content("/s/a", bytes("ab"));
  auto file = open("a");
  ASSERT_TRUE(file->write_at(1, as_bytes("XY")).ok());
  EXPECT_EQ(images_after_crash(disk_), (std::set<std::string>{"a=ab", "a=aXY", std::string("a=ab\0", 5)}));
}

TEST_F(SimulatedDiskTest, ACutCallTakesEffectUnsyncedAndEverythingAfterItFails) {
  disk_.set_content("/s/a", bytes("old"));
  auto file = open("a");
  auto lock = *directory_->lock("lock");  // call 1
  disk_.power_cut_at(3);
  ASSERT_TRUE(file->write_at(0, as_bytes("mid")).ok());
  EXPECT_FALSE(disk_.power_is_cut());
  const Status cut = file->sync();
  ASSERT_TRUE(cut.is(Reason::kIoError));
  EXPECT_NE(cut.error().detail.find("power cut"), std::string::npos);
  EXPECT_TRUE(disk_.power_is_cut());
  EXPECT_EQ(disk_.calls(), 3U);

  Bytes out(1);
  EXPECT_TRUE(file->write_at(0, as_bytes("end")).is(Reason::kIoError));
  EXPECT_TRUE(file->read_at(0, out).is(Reason::kIoError));
  EXPECT_TRUE(file->info().is(Reason::kIoError));
  EXPECT_TRUE(directory_->open("a", OpenMode::kRead).is(Reason::kIoError));
  EXPECT_TRUE(directory_->stat("a").is(Reason::kIoError));
  EXPECT_TRUE(directory_->list().is(Reason::kIoError));
  EXPECT_TRUE(directory_->sync().is(Reason::kIoError));
  EXPECT_TRUE(directory_->remove("a").is(Reason::kIoError));
  EXPECT_TRUE(directory_->lock("other").is(Reason::kIoError));
  EXPECT_TRUE(disk_.open_directory("/s", DirectoryMode::kExisting).is(Reason::kIoError));
  EXPECT_EQ(disk_.calls(), 3U);

  std::set<std::string> contents;
  for (const CrashState& state : disk_.crash_states()) {
    auto after = disk_.after_crash(state);
    contents.insert(text_of(*after, "/s/a"));
    auto reopened = *after->open_directory("/s", DirectoryMode::kExisting);
    EXPECT_TRUE(reopened->lock("lock").ok());  // no lock outlives the power
    EXPECT_LE(after->calls(), 1U);
  }
  EXPECT_EQ(contents, (std::set<std::string>{"old", "mid"}));
}

TEST_F(SimulatedDiskTest, ACutAtEachKindOfCall) {
  using Call = std::function<Status(SimulatedDisk&, Directory&, File&)>;
  const std::vector<std::pair<Call, std::set<std::string>>> calls = {
      {[](SimulatedDisk&, Directory&, File& f) { return f.write_at(0, as_bytes("N")); }, {"a=o", "a=N"}},
      {[](SimulatedDisk&, Directory&, File& f) { return f.truncate(0); }, {"a=o", "a="}},
      {[](SimulatedDisk&, Directory&, File& f) { return f.sync(); }, {"a=o"}},
      {[](SimulatedDisk&, Directory& d, File&) { return d.sync(); }, {"a=o"}},
      {[](SimulatedDisk&, Directory& d, File&) { return d.remove("a"); }, {"a=o", ""}},
      {[](SimulatedDisk&, Directory& d, File&) { return d.replace("a", "b"); }, {"a=o", "b=o"}},
      {[](SimulatedDisk&, Directory& d, File&) { return d.open("b", OpenMode::kCreate).status(); },
       {"a=o", "a=o b="}},
      {[](SimulatedDisk&, Directory& d, File&) { return d.lock("b").status(); }, {"a=o", "a=o b="}},
  };
  for (const auto& [call, expected] : calls) {
    SimulatedDisk disk;
    disk.set_content("/s/a", bytes("o"));
    auto directory = *disk.open_directory("/s", DirectoryMode::kExisting);
    auto file = *directory->open("a", OpenMode::kReadWrite);
    disk.power_cut_at(1);
    EXPECT_TRUE(call(disk, *directory, *file).is(Reason::kIoError));
    EXPECT_EQ(images_after_crash(disk), expected);
  }
}

TEST_F(SimulatedDiskTest, ADirectoryWhoseNameIsLostTakesItsFilesAlong) {
  disk_.power_cut_at(2);  // between the making and the parent's sync
  EXPECT_TRUE(disk_.open_directory("/s/sub", DirectoryMode::kCreate).is(Reason::kIoError));
  std::set<bool> exists;
  for (const CrashState& state : disk_.crash_states()) {
    exists.insert(disk_.after_crash(state)->open_directory("/s/sub", DirectoryMode::kExisting).ok());
  }
  EXPECT_EQ(exists, (std::set<bool>{false, true}));
}

TEST_F(SimulatedDiskTest, OneFailureOrALastingOne) {
  auto file = open("a", OpenMode::kCreate);  // 1
  disk_.fail_at(2, {.partial = false});
  const Status failed = file->write_at(0, as_bytes("abcd"));
  ASSERT_TRUE(failed.is(Reason::kIoError));
  EXPECT_EQ(failed.error().system_error, EIO);
  EXPECT_EQ(text_of(disk_, "/s/a"), "");
  ASSERT_TRUE(file->write_at(0, as_bytes("abcd")).ok());

  disk_.fail_at(4, {.reason = Reason::kNoSpace, .sticky = true});
  const Status full = file->write_at(4, as_bytes("efgh"));
  ASSERT_TRUE(full.is(Reason::kNoSpace));
  EXPECT_EQ(full.error().system_error, ENOSPC);
  EXPECT_EQ(text_of(disk_, "/s/a"), "abcdef");  // a part was written
  EXPECT_TRUE(file->allocate(0, 100).is(Reason::kNoSpace));
  EXPECT_TRUE(directory_->open("b", OpenMode::kCreate).is(Reason::kNoSpace));
  EXPECT_TRUE(disk_.open_directory("/s/sub", DirectoryMode::kCreate).is(Reason::kNoSpace));
  EXPECT_TRUE(file->truncate(4).ok());  // needs no space
  EXPECT_TRUE(file->sync().ok());
  EXPECT_TRUE(directory_->replace("a", "c").ok());
  EXPECT_EQ(disk_.list("/s"), std::vector<std::string>{"c"});
  disk_.clear_faults();
  EXPECT_TRUE(file->write_at(4, as_bytes("efgh")).ok());

  disk_.fail_at(disk_.calls() + 1, {.sticky = true});
  EXPECT_TRUE(directory_->remove("c").is(Reason::kIoError));
  EXPECT_TRUE(directory_->replace("c", "d").is(Reason::kIoError));
  EXPECT_TRUE(directory_->sync().is(Reason::kIoError));
  EXPECT_TRUE(file->truncate(0).is(Reason::kIoError));
  EXPECT_EQ(image(disk_), "c=abcdefgh");
  EXPECT_EQ(as_text(*read_whole(*directory_, "c", 100)), "abcdefgh");  // reading goes on
}

TEST_F(SimulatedDiskTest, AFailedSyncDropsWhatItShouldHaveWritten) {
  disk_.set_content("/s/a", bytes("...."));
  auto file = open("a");
  ASSERT_TRUE(file->write_at(0, as_bytes("x")).ok());
  disk_.fail_at(2, {.reason = Reason::kIoError});
  EXPECT_TRUE(file->sync().is(Reason::kIoError));
  ASSERT_TRUE(file->write_at(1, as_bytes("y")).ok());
  ASSERT_TRUE(file->sync().ok());  // says ok, yet the first write is not on the disk
  EXPECT_EQ(text_of(disk_, "/s/a"), "xy..");
  EXPECT_EQ(images_after_crash(disk_), (std::set<std::string>{"a=.y..", "a=xy.."}));
}

TEST_F(SimulatedDiskTest, AFailedSyncThatDropsNothingCanBeRepeated) {
  disk_.set_content("/s/a", bytes("."));
  auto file = open("a");
  ASSERT_TRUE(file->write_at(0, as_bytes("x")).ok());
  disk_.fail_at(2, {.partial = false});
  EXPECT_TRUE(file->sync().is(Reason::kIoError));
  EXPECT_EQ(images_after_crash(disk_), (std::set<std::string>{"a=.", "a=x"}));
  ASSERT_TRUE(file->sync().ok());
  EXPECT_EQ(images_after_crash(disk_), (std::set<std::string>{"a=x"}));
}

TEST_F(SimulatedDiskTest, SyncedWritesLieOverDroppedOnes) {
  disk_.set_content("/s/a", bytes("."));
  auto file = open("a");
  ASSERT_TRUE(file->write_at(0, as_bytes("x")).ok());
  disk_.fail_at(2, {.reason = Reason::kIoError});
  EXPECT_FALSE(file->sync().ok());
  ASSERT_TRUE(file->write_at(0, as_bytes("y")).ok());
  ASSERT_TRUE(file->sync().ok());
  EXPECT_EQ(images_after_crash(disk_), (std::set<std::string>{"a=y"}));
}

TEST_F(SimulatedDiskTest, ALyingDiskMakesNothingDurable) {
  disk_.lie_about_sync();
  auto file = open("a", OpenMode::kCreate);
  ASSERT_TRUE(file->write_at(0, as_bytes("x")).ok());
  ASSERT_TRUE(file->sync().ok());
  ASSERT_TRUE(directory_->sync().ok());
  EXPECT_EQ(images_after_crash(disk_), (std::set<std::string>{"", "a=", "a=x", std::string("a=\0", 3)}));
  disk_.clear_faults();
  ASSERT_TRUE(file->sync().ok());
  ASSERT_TRUE(directory_->sync().ok());
  EXPECT_EQ(images_after_crash(disk_), (std::set<std::string>{"a=x"}));
}

TEST_F(SimulatedDiskTest, StatesAreDeterministicDifferentAndSampled) {
  open("a", OpenMode::kCreate);
  auto file = open("a");
  for (std::uint64_t i = 0; i < 40; ++i)
    ASSERT_TRUE(file->write_at(i * 700, Bytes(1400, static_cast<std::uint8_t>(i + 1))).ok());
  ASSERT_TRUE(directory_->replace("a", "b").ok());

  const std::vector<CrashState> all = disk_.crash_states(100'000);
  std::set<std::string> images;
  for (const CrashState& state : all) images.insert(image(*disk_.after_crash(state)));
  EXPECT_EQ(images.size(), all.size());
  EXPECT_GT(all.size(), 500U);
  EXPECT_EQ(image(*disk_.after_crash(all.front())), "");
  EXPECT_EQ(image(*disk_.after_crash(all.back())), image(disk_));

  const std::vector<CrashState> some = disk_.crash_states(50);
  const std::vector<CrashState> again = disk_.crash_states(50);
  ASSERT_EQ(some.size(), 50U);
  std::size_t named_a = 0;
  std::size_t named_b = 0;
  for (std::size_t i = 0; i < some.size(); ++i) {
    EXPECT_EQ(some[i].description, again[i].description);
    const auto after = disk_.after_crash(some[i]);
    EXPECT_EQ(image(*after), image(*disk_.after_crash(again[i])));
    EXPECT_TRUE(images.contains(image(*after)));
    named_a += after->content("/s/a").has_value() ? 1 : 0;
    named_b += after->content("/s/b").has_value() ? 1 : 0;
  }
  EXPECT_GT(named_a, 5U);  // the sample does not favour one choice of names
  EXPECT_GT(named_b, 5U);
  EXPECT_EQ(image(*disk_.after_crash(some.front())), "");
  EXPECT_EQ(image(*disk_.after_crash(some.back())), image(disk_));
  EXPECT_EQ(disk_.crash_states(2).size(), 2U);
}

TEST_F(SimulatedDiskTest, NothingPendingIsOneState) {
  disk_.set_content("/s/a", bytes("x"));
  ASSERT_EQ(disk_.crash_states().size(), 1U);
  EXPECT_EQ(images_after_crash(disk_), (std::set<std::string>{"a=x"}));
}

TEST_F(SimulatedDiskTest, ClonesAreDurableAndIndependent) {
  auto file = open("a", OpenMode::kCreate);
  ASSERT_TRUE(file->write_at(0, as_bytes("x")).ok());
  auto lock = *directory_->lock("lock");
  auto clone = disk_.clone();
  EXPECT_EQ(clone->calls(), 0U);
  EXPECT_EQ(clone->crash_states().size(), 1U);
  EXPECT_EQ(text_of(*clone, "/s/a"), "x");
  auto cloned = *clone->open_directory("/s", DirectoryMode::kExisting);
  auto other = cloned->lock("lock");
  EXPECT_TRUE(other.ok());
  lock.reset();  // the one of the first disk
  EXPECT_TRUE(cloned->lock("lock").is(Reason::kLocked));
  clone->set_content("/s/a", bytes("changed"));
  clone->remove("/s/lock");
  EXPECT_EQ(text_of(disk_, "/s/a"), "x");
  EXPECT_EQ(clone->list("/s"), std::vector<std::string>{"a"});
}

TEST_F(SimulatedDiskTest, LocksThatTheSystemHasNotLeaveTheLockFile) {
  disk_.refuse_directory_locks();
  auto lock = directory_->lock_directory("lock");
  ASSERT_TRUE(lock.ok());
  EXPECT_TRUE(directory_->lock_directory("lock").is(Reason::kLocked));
  EXPECT_TRUE(directory_->lock_directory("another").ok());
  disk_.refuse_host_locks();
  const auto none = disk_.lock_on_host("key");
  ASSERT_TRUE(none.ok());
  EXPECT_EQ(*none, nullptr);
}

TEST_F(SimulatedDiskTest, NoLockOutlivesThePower) {
  auto lock = *directory_->lock_directory("lock");
  auto on_host = *disk_.lock_on_host("key");
  const std::uint64_t calls = disk_.calls();
  auto after = disk_.after_crash(disk_.crash_states().back());
  EXPECT_TRUE((*after->open_directory("/s", DirectoryMode::kExisting))->lock_directory("lock").ok());
  EXPECT_TRUE(after->lock_on_host("key").ok());
  EXPECT_EQ((*after->open_directory("/s", DirectoryMode::kExisting))->info()->inode,
            directory_->info()->inode);
  EXPECT_EQ(disk_.calls(), calls);
  disk_.cut_power_now();
  EXPECT_TRUE(disk_.lock_on_host("another").is(Reason::kIoError));
  EXPECT_TRUE(directory_->lock_directory("another").is(Reason::kIoError));
  EXPECT_TRUE(directory_->info().is(Reason::kIoError));
}

TEST(SimulatedDiskLifetime, FilesAndLocksOutliveTheDisk) {
  auto disk = std::make_unique<SimulatedDisk>();
  disk->make_directory("/s");
  auto directory = *disk->open_directory("/s", DirectoryMode::kExisting);
  auto file = *directory->open("a", OpenMode::kCreate);
  auto lock = *directory->lock("lock");
  auto next = disk->after_crash(disk->crash_states().back());
  disk.reset();
  EXPECT_TRUE(file->write_at(0, as_bytes("x")).ok());
  directory.reset();
  file.reset();
  auto relocked = (*next->open_directory("/s", DirectoryMode::kExisting))->lock("lock");
  EXPECT_TRUE(relocked.ok());
  lock.reset();
}

// What the product relies on: at every cut, in every state, the old or the new content, whole.
TEST(SimulatedDiskUse, ReplaceFileIsAtomicAtEveryCut) {
  const Bytes old_content(3000, 'o');
  const Bytes new_content(4000, 'n');
  std::size_t states = 0;
  std::uint64_t cuts = 0;
  for (std::uint64_t cut = 1;; ++cut) {
    SimulatedDisk disk;
    disk.set_content("/s/a", old_content);
    disk.set_content("/s/a.new", Bytes(9000, 'l'));  // a leftover
    auto directory = *disk.open_directory("/s", DirectoryMode::kExisting);
    disk.power_cut_at(cut);
    const Status status = replace_file(*directory, "a", new_content);
    for (const CrashState& state : disk.crash_states()) {
      ++states;
      auto after = disk.after_crash(state);
      const std::optional<Bytes> content = after->content("/s/a");
      ASSERT_TRUE(content.has_value()) << state.description;
      ASSERT_TRUE(*content == new_content || (!status.ok() && *content == old_content))
          << cut << " " << state.description;
      auto reopened = *after->open_directory("/s", DirectoryMode::kExisting);
      ASSERT_TRUE(replace_file(*reopened, "a", old_content).ok());
      ASSERT_EQ(after->list("/s"), std::vector<std::string>{"a"});
    }
    cuts = cut;
    if (status.ok()) break;
  }
  EXPECT_EQ(
      cuts,
      7U);  // remove, create, write, sync, replace, sync of the directory; the seventh cut comes too late
  EXPECT_GT(states, 50U);
}

TEST(SimulatedDiskUse, ReplaceFileThatFailsLeavesTheOldContentAndNothingElse) {
  for (const Reason reason : {Reason::kIoError, Reason::kNoSpace}) {
    for (std::uint64_t number = 1; number <= 4; ++number) {
      SimulatedDisk disk;
      disk.set_content("/s/a", bytes("old"));
      auto directory = *disk.open_directory("/s", DirectoryMode::kExisting);
      disk.fail_at(number, {.reason = reason});
      EXPECT_TRUE(replace_file(*directory, "a", as_bytes("new")).is(reason));
      EXPECT_EQ(image(disk), "a=old") << number;
    }
  }
}

TEST_F(SimulatedDiskTest, ManyThreadsShareOneNumbering) {
  constexpr std::size_t kThreads = 4;
  constexpr std::size_t kWrites = 200;
  std::vector<std::thread> threads;
  std::atomic<std::size_t> failed = 0;
  disk_.power_cut_at(kThreads * kWrites / 2);
  for (std::size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      auto file = directory_->open("file" + std::to_string(t), OpenMode::kCreate);
      for (std::size_t i = 0; i < kWrites; ++i) {
        if (!file.ok() || !(*file)->write_at(i, as_bytes("x")).ok()) ++failed;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(disk_.calls(), kThreads * kWrites / 2);
  EXPECT_GE(failed, kThreads * kWrites / 2);
  EXPECT_EQ(disk_.call_log().size(), disk_.calls());
}

}  // namespace
}  // namespace strongroom::os::testing
