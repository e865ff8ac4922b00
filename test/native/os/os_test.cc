// The seam to the operating system: one conformance suite over the real file system and the simulated disk,
// then what only a real file system can show: links, owners, modes, processes.
#include "os/os.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "base/limits.h"
#include "os/device.h"
#include "os/lock_owner.h"
#include "os/posix.h"
#include "os/testing/manual_clock.h"
#include "os/testing/simulated_disk.h"
#include "posix_fixture.h"

namespace strongroom::os {
namespace {

namespace fs = std::filesystem;

Bytes bytes(std::string_view text) {
  const ByteView view = as_bytes(text);
  return {view.begin(), view.end()};
}

using testing::must_open;
using testing::TemporaryDirectory;

// ---- Conformance ----

struct RealWorld {
  TemporaryDirectory temporary;
  TemporaryDirectory shared_memory;
  std::unique_ptr<FileSystem> real = posix_files_with_shared_memory(shared_memory.path());
  FileSystem& files() { return *real; }
  std::string root() { return temporary.path(); }
};

struct SimulatedWorld {
  testing::SimulatedDisk disk;
  SimulatedWorld() { disk.make_directory("/base"); }
  FileSystem& files() { return disk; }
  std::string root() { return "/base"; }
};

template <typename World>
class Conformance : public ::testing::Test {
 protected:
  Conformance() : directory_(must_open(world_.files(), world_.root())) {}

  void write(std::string_view name, std::string_view text) {
    auto file = directory_->open(name, OpenMode::kCreate);
    ASSERT_TRUE(file.ok()) << file.error().detail;
    ASSERT_TRUE((*file)->write_at(0, as_bytes(text)).ok());
  }
  std::string read(std::string_view name) {
    auto content = read_whole(*directory_, name, 1 << 20);
    return content.ok() ? std::string(as_text(*content)) : "<" + content.error().detail + ">";
  }

  World world_;
  std::shared_ptr<Directory> directory_;
};

using Worlds = ::testing::Types<RealWorld, SimulatedWorld>;
TYPED_TEST_SUITE(Conformance, Worlds);

TYPED_TEST(Conformance, RefusesNamesThatAreNotPlain) {
  const std::string names[] = {
      "", ".", "..", "a/b", "/a", "../a", std::string("a\0b", 3), std::string(256, 'a')};
  for (const std::string& name : names) {
    EXPECT_TRUE(this->directory_->open(name, OpenMode::kCreate).is(Reason::kInvalidArgument)) << name;
    EXPECT_TRUE(this->directory_->stat(name).is(Reason::kInvalidArgument)) << name;
    EXPECT_TRUE(this->directory_->remove(name).is(Reason::kInvalidArgument)) << name;
    EXPECT_TRUE(this->directory_->replace(name, "ok").is(Reason::kInvalidArgument)) << name;
    EXPECT_TRUE(this->directory_->replace("ok", name).is(Reason::kInvalidArgument)) << name;
    EXPECT_TRUE(this->directory_->lock(name).is(Reason::kInvalidArgument)) << name;
  }
  EXPECT_TRUE(this->directory_->open(std::string(255, 'a'), OpenMode::kCreate).ok());
  EXPECT_TRUE(this->directory_->open("..a", OpenMode::kCreate).ok());
  EXPECT_EQ(this->directory_->list()->size(), 2U);
}

TYPED_TEST(Conformance, MissingFiles) {
  EXPECT_TRUE(this->directory_->open("a", OpenMode::kRead).is(Reason::kNotFound));
  auto missing = this->directory_->open("a", OpenMode::kReadWrite);
  ASSERT_TRUE(missing.is(Reason::kNotFound));
  EXPECT_EQ(missing.error().system_error, ENOENT);
  EXPECT_NE(missing.error().detail.find(this->world_.root() + "/a"), std::string::npos);
  auto info = this->directory_->stat("a");
  ASSERT_TRUE(info.ok());
  EXPECT_FALSE(info->has_value());
  EXPECT_TRUE(this->directory_->remove("a").ok());
  EXPECT_TRUE(this->directory_->replace("a", "b").is(Reason::kNotFound));
  EXPECT_TRUE(read_whole(*this->directory_, "a", 10).is(Reason::kNotFound));
}

TYPED_TEST(Conformance, CreateNeedsAFreeName) {
  this->write("a", "one");
  auto again = this->directory_->open("a", OpenMode::kCreate);
  ASSERT_TRUE(again.is(Reason::kIoError));
  EXPECT_EQ(again.error().system_error, EEXIST);
  EXPECT_EQ(this->read("a"), "one");
}

TYPED_TEST(Conformance, ReadsAndWritesAtOffsets) {
  auto file = *this->directory_->open("a", OpenMode::kCreate);
  ASSERT_TRUE(file->write_at(4, as_bytes("data")).ok());
  ASSERT_TRUE(file->write_at(0, {}).ok());
  Bytes out(10, 0xFF);
  EXPECT_EQ(*file->read_at(0, out), 8U);
  EXPECT_EQ(Bytes(out.begin(), out.begin() + 8), bytes(std::string_view("\0\0\0\0data", 8)));
  EXPECT_EQ(*file->read_at(6, out), 2U);
  EXPECT_EQ(*file->read_at(8, out), 0U);
  EXPECT_EQ(*file->read_at(1000, out), 0U);
  EXPECT_EQ(file->info()->size_bytes, 8U);
  EXPECT_TRUE(file->write_at(~std::uint64_t{0}, as_bytes("x")).is(Reason::kInvalidArgument));
  EXPECT_TRUE(file->read_at(~std::uint64_t{0}, out).is(Reason::kInvalidArgument));

  ASSERT_TRUE(file->truncate(2).ok());
  ASSERT_TRUE(file->truncate(6).ok());
  EXPECT_EQ(this->read("a"), std::string(6, '\0'));
  EXPECT_TRUE(file->sync().ok());
}

// Whatever way the data take (the page cache, or past it where whole blocks are allocated), the file holds what was
// written and zeros where nothing was.
TYPED_TEST(Conformance, AppendsOfAnySizeHoldWhatWasWritten) {
  constexpr std::size_t kStepBytes = std::size_t{256} << 10;
  std::unique_ptr<File> file = *this->directory_->open("a", OpenMode::kCreate);
  std::string model;
  std::size_t end = 0;
  std::uint32_t random = 1;
  for (int i = 0; i < 300; ++i) {
    random = random * 1664525U + 1013904223U;
    const std::size_t size = random % 3 == 0 ? 1 + random / 3 % 600 : 8000 + random / 3 % 30000;
    if (end + size + 4096 > model.size() && i % 7 != 0) {
      const std::size_t to = ((end + size) / kStepBytes + 2) * kStepBytes;
      const Status allocated = file->allocate(end, to - end);
      if (allocated.ok()) model.resize(std::max(model.size(), to));
    }
    const std::string data(size, static_cast<char>('a' + i % 26));
    if (i % 11 == 10) {
      ASSERT_TRUE(file->write_at(end, as_bytes(data)).ok());
    } else {
      ASSERT_TRUE(file->append_at(end, as_bytes(data)).ok());
    }
    model.resize(std::max(model.size(), end + size));
    model.replace(end, size, data);
    end += size;
    ASSERT_TRUE(file->sync().ok());
    if (i % 40 == 39) {  // a failed write is taken back; a log is opened again
      end -= size / 2;
      ASSERT_TRUE(file->truncate(end).ok());
      model.resize(end);
    }
    if (i % 50 == 49) file = *this->directory_->open("a", OpenMode::kReadWrite);
    if (i % 20 != 19) continue;
    const Bytes content = *read_whole(*this->directory_, "a", std::size_t{16} << 20);
    ASSERT_TRUE(as_text(content) == model) << i;
  }
}

TYPED_TEST(Conformance, ReadOnlyFilesCannotBeWritten) {
  this->write("a", "one");
  auto file = *this->directory_->open("a", OpenMode::kRead);
  EXPECT_FALSE(file->write_at(0, as_bytes("x")).ok());
  EXPECT_FALSE(file->truncate(0).ok());
  EXPECT_EQ(this->read("a"), "one");
}

TYPED_TEST(Conformance, AllocateExtendsWithZeros) {
  this->write("a", "one");
  auto file = *this->directory_->open("a", OpenMode::kReadWrite);
  const Status status = file->allocate(2, 4098);
  if (status.is(Reason::kUnsupported)) GTEST_SKIP() << status.error().detail;
  ASSERT_TRUE(status.ok()) << status.error().detail;
  ASSERT_TRUE(file->allocate(0, 1).ok());
  EXPECT_TRUE(file->allocate(0, 0).ok());
  const std::string content = this->read("a");
  EXPECT_EQ(content, "one" + std::string(4097, '\0'));
}

TYPED_TEST(Conformance, ReplaceMovesTheFileAndKeepsOpenOnes) {
  this->write("old", "old content");
  this->write("new", "new content");
  auto held = *this->directory_->open("old", OpenMode::kRead);
  const std::uint64_t inode = (**this->directory_->stat("new")).inode;
  ASSERT_TRUE(this->directory_->replace("new", "old").ok());
  EXPECT_EQ(this->read("old"), "new content");
  EXPECT_EQ((**this->directory_->stat("old")).inode, inode);
  EXPECT_FALSE(this->directory_->stat("new")->has_value());
  Bytes out(3);
  EXPECT_EQ(*held->read_at(0, out), 3U);
  EXPECT_EQ(out, bytes("old"));
  EXPECT_EQ(*this->directory_->list(), std::vector<std::string>{"old"});
  EXPECT_TRUE(this->directory_->sync().ok());
}

TYPED_TEST(Conformance, ListsPlainFilesSortedByBytes) {
  for (const char* name : {"b", "a", "B", "\xC3\xA4", "a0"}) this->write(name, "");
  must_open(this->world_.files(), this->world_.root() + "/sub", DirectoryMode::kCreate);
  EXPECT_EQ(*this->directory_->list(), (std::vector<std::string>{"B", "a", "a0", "b", "\xC3\xA4"}));
}

TYPED_TEST(Conformance, DirectoriesInTheWayAreUnsafe) {
  must_open(this->world_.files(), this->world_.root() + "/sub", DirectoryMode::kCreate);
  this->write("a", "one");
  for (const OpenMode mode : {OpenMode::kRead, OpenMode::kReadWrite, OpenMode::kCreate}) {
    EXPECT_TRUE(this->directory_->open("sub", mode).is(Reason::kUnsafePath));
  }
  EXPECT_TRUE(this->directory_->stat("sub").is(Reason::kUnsafePath));
  EXPECT_TRUE(this->directory_->remove("sub").is(Reason::kUnsafePath));
  EXPECT_TRUE(this->directory_->replace("a", "sub").is(Reason::kUnsafePath));
  EXPECT_TRUE(this->directory_->replace("sub", "a").is(Reason::kUnsafePath));
  EXPECT_TRUE(this->directory_->lock("sub").is(Reason::kUnsafePath));
  EXPECT_EQ(this->read("a"), "one");
}

TYPED_TEST(Conformance, OpensDirectories) {
  FileSystem& files = this->world_.files();
  const std::string path = this->world_.root() + "/made";
  EXPECT_TRUE(files.open_directory(path, DirectoryMode::kExisting).is(Reason::kNotFound));
  EXPECT_TRUE(files.open_directory(path, DirectoryMode::kForeignReadOnly).is(Reason::kNotFound));
  EXPECT_TRUE(files.open_directory(path + "/deeper", DirectoryMode::kCreate).is(Reason::kNotFound));
  EXPECT_TRUE(files.open_directory("", DirectoryMode::kExisting).is(Reason::kInvalidArgument));
  const std::string with_nul = path + '\0';
  EXPECT_TRUE(files.open_directory(with_nul, DirectoryMode::kCreate).is(Reason::kInvalidArgument));
  EXPECT_EQ(must_open(files, path, DirectoryMode::kCreate)->path(), path);
  must_open(files, path, DirectoryMode::kCreate);
  EXPECT_EQ(must_open(files, path + "/")->path(), path);
  this->write("file", "");
  EXPECT_TRUE(
      files.open_directory(this->world_.root() + "/file", DirectoryMode::kCreate).is(Reason::kUnsafePath));
}

TYPED_TEST(Conformance, ForeignDirectoriesAreForReadingOnly) {
  this->write("a", "one");
  auto foreign = must_open(this->world_.files(), this->world_.root(), DirectoryMode::kForeignReadOnly);
  EXPECT_EQ(as_text(*read_whole(*foreign, "a", 10)), "one");
  EXPECT_TRUE(foreign->open("a", OpenMode::kReadWrite).is(Reason::kPermissionDenied));
  EXPECT_TRUE(foreign->open("b", OpenMode::kCreate).is(Reason::kPermissionDenied));
  EXPECT_TRUE(foreign->remove("a").is(Reason::kPermissionDenied));
  EXPECT_TRUE(foreign->replace("a", "b").is(Reason::kPermissionDenied));
  EXPECT_TRUE(foreign->lock("lock").is(Reason::kPermissionDenied));
  EXPECT_EQ(*this->directory_->list(), std::vector<std::string>{"a"});
}

TYPED_TEST(Conformance, LocksExcludeWithinTheProcess) {
  auto first = this->directory_->lock("lock");
  ASSERT_TRUE(first.ok()) << first.error().detail;
  EXPECT_EQ(this->read("lock"), lock_owner_content());
  auto other_view = must_open(this->world_.files(), this->world_.root());
  for (auto& directory : {this->directory_, other_view}) {
    auto second = directory->lock("lock");
    ASSERT_TRUE(second.is(Reason::kLocked));
    EXPECT_NE(second.error().detail.find("process " + std::to_string(::getpid())), std::string::npos);
  }
  EXPECT_EQ(this->read("lock"), lock_owner_content());
  EXPECT_TRUE(this->directory_->lock("another").ok());
  first->reset();
  EXPECT_EQ(this->read("lock"), "");  // never unlinked, and as if it had never been held
  EXPECT_TRUE(other_view->lock("lock").ok());
}

TYPED_TEST(Conformance, ALockedDirectoryStaysLockedWhateverBecomesOfItsLockFile) {
  using Change = std::function<Status(Directory&)>;
  const std::pair<const char*, Change> changes[] = {
      {"removed", [](Directory& d) { return d.remove("lock"); }},
      {"renamed", [](Directory& d) { return d.replace("lock", "former"); }},
      {"replaced by another file",
       [](Directory& d) {
         SR_TRY(d.open("fresh", OpenMode::kCreate).status());
         return d.replace("fresh", "lock");
       }},
      {"left alone", [](Directory&) { return Status(); }},
  };
  for (const auto& [what, change] : changes) {
    auto first = this->directory_->lock_directory("lock");
    ASSERT_TRUE(first.ok()) << first.error().detail;
    EXPECT_EQ(this->read("lock"), lock_owner_content());
    ASSERT_TRUE(change(*this->directory_).ok()) << what;
    const auto names = *this->directory_->list();
    auto other_view = must_open(this->world_.files(), this->world_.root());
    for (auto& directory : {this->directory_, other_view}) {
      for (const char* name : {"lock", "another"}) {
        auto second = directory->lock_directory(name);
        ASSERT_TRUE(second.is(Reason::kLocked)) << what;
        EXPECT_NE(second.error().detail.find("locked by "), std::string::npos) << second.error().detail;
      }
    }
    EXPECT_EQ(*this->directory_->list(), names) << what;  // a refused opener makes no lock file
    first->reset();
    EXPECT_TRUE(other_view->lock_directory("lock").ok()) << what;
  }
}

TYPED_TEST(Conformance, ALockedDirectoryStillGivesLocksOfOtherNames) {
  auto whole = *this->directory_->lock_directory("lock");
  EXPECT_TRUE(this->directory_->lock("lock").is(Reason::kLocked));
  auto named = this->directory_->lock("acme.lock");
  EXPECT_TRUE(named.ok());
  EXPECT_TRUE(this->directory_->lock("acme.lock").is(Reason::kLocked));
  whole.reset();
  EXPECT_TRUE(this->directory_->lock("acme.lock").is(Reason::kLocked));
}

// As an opener does that knows the lock file only.
TYPED_TEST(Conformance, ALockByNameKeepsTheDirectoryFromBeingLockedByThatName) {
  auto named = *this->directory_->lock("lock");
  EXPECT_TRUE(this->directory_->lock_directory("lock").is(Reason::kLocked));
  EXPECT_TRUE(this->directory_->lock_directory("another").ok());  // the refusal left the directory unlocked
  named.reset();
  EXPECT_TRUE(this->directory_->lock_directory("lock").ok());
}

TYPED_TEST(Conformance, LocksOnTheHostExcludeByKey) {
  auto first = this->world_.files().lock_on_host("a");
  ASSERT_TRUE(first.ok()) << first.error().detail;
  ASSERT_NE(*first, nullptr);
  auto second = this->world_.files().lock_on_host("a");
  ASSERT_TRUE(second.is(Reason::kLocked));
  EXPECT_NE(second.error().detail.find("process " + std::to_string(::getpid())), std::string::npos);
  auto other = this->world_.files().lock_on_host("b");
  EXPECT_TRUE(other.ok());
  first->reset();
  EXPECT_TRUE(this->world_.files().lock_on_host("a").ok());
  EXPECT_TRUE(this->world_.files().lock_on_host("b").is(Reason::kLocked));
  for (const char* key : {"", "..", "a/b"})
    EXPECT_TRUE(this->world_.files().lock_on_host(key).is(Reason::kInvalidArgument)) << key;
}

TYPED_TEST(Conformance, DirectoriesHaveAnIdentity) {
  auto sub = must_open(this->world_.files(), this->world_.root() + "/sub", DirectoryMode::kCreate);
  const FileInfo root = *this->directory_->info();
  const FileInfo inner = *sub->info();
  EXPECT_NE(root.inode, inner.inode);
  EXPECT_EQ(root.device, inner.device);
  EXPECT_EQ(must_open(this->world_.files(), this->world_.root() + "/sub")->info()->inode, inner.inode);
}

TYPED_TEST(Conformance, ReadWholeKeepsItsLimit) {
  this->write("a", "12345");
  EXPECT_EQ(as_text(*read_whole(*this->directory_, "a", 5)), "12345");
  EXPECT_TRUE(read_whole(*this->directory_, "a", 4).is(Reason::kPersistenceCorrupt));
  this->write("empty", "");
  EXPECT_TRUE(read_whole(*this->directory_, "empty", 0)->empty());
}

TYPED_TEST(Conformance, ReplaceFile) {
  ASSERT_TRUE(replace_file(*this->directory_, "a", as_bytes("one")).ok());
  EXPECT_EQ(this->read("a"), "one");
  this->write("a.new", "a much longer leftover of a crash");
  ASSERT_TRUE(replace_file(*this->directory_, "a", as_bytes("two")).ok());
  EXPECT_EQ(this->read("a"), "two");
  EXPECT_EQ(*this->directory_->list(), std::vector<std::string>{"a"});
  EXPECT_TRUE(replace_file(*this->directory_, std::string(252, 'a'), {}).is(Reason::kInvalidArgument));

  must_open(this->world_.files(), this->world_.root() + "/b", DirectoryMode::kCreate);
  EXPECT_TRUE(replace_file(*this->directory_, "b", as_bytes("x")).is(Reason::kUnsafePath));
  EXPECT_EQ(*this->directory_->list(), std::vector<std::string>{"a"});  // no leftover of the failure
}

// ---- Files that answer oddly ----

// Holds more bytes than info() says: a file that grows while it is read.
class GrowingDirectory final : public Directory {
 public:
  class Growing final : public File {
   public:
    explicit Growing(std::size_t grown) : content_(grown, 0x5A) {}
    Result<std::size_t> read_at(std::uint64_t offset, MutableBytes out) override {
      const std::size_t size = std::min(out.size(), content_.size() - static_cast<std::size_t>(offset));
      std::copy_n(content_.begin() + static_cast<std::ptrdiff_t>(offset), size, out.begin());
      return size;
    }
    Status write_at(std::uint64_t, ByteView) override { return {}; }
    Status sync() override { return {}; }
    Status truncate(std::uint64_t) override { return {}; }
    Status allocate(std::uint64_t, std::uint64_t) override { return {}; }
    Result<FileInfo> info() override { return FileInfo{10, 1, 1, 0}; }

   private:
    Bytes content_;
  };
  explicit GrowingDirectory(std::size_t grown) : grown_(grown) {}
  Result<std::unique_ptr<File>> open(std::string_view, OpenMode) override {
    return std::unique_ptr<File>(std::make_unique<Growing>(grown_));
  }
  Result<std::optional<FileInfo>> stat(std::string_view) override { return std::optional<FileInfo>(); }
  Status replace(std::string_view, std::string_view) override { return {}; }
  Status remove(std::string_view) override { return {}; }
  Result<std::vector<std::string>> list() override { return std::vector<std::string>(); }
  Status sync() override { return {}; }
  Result<FileInfo> info() override { return FileInfo{}; }
  Result<std::unique_ptr<FileLock>> lock(std::string_view) override {
    return Status(Reason::kUnsupported, "");
  }
  Result<std::unique_ptr<FileLock>> lock_directory(std::string_view) override {
    return Status(Reason::kUnsupported, "");
  }
  const std::string& path() const override { return path_; }

 private:
  std::size_t grown_;
  std::string path_ = "/growing";
};

TEST(ReadWhole, FollowsAFileThatGrowsUpToTheLimit) {
  for (const std::size_t size : {10U, 11U, 12U, 22U, 23U, 99U, 100U}) {
    GrowingDirectory directory(size);
    auto content = read_whole(directory, "a", 100);
    ASSERT_TRUE(content.ok()) << size;
    EXPECT_EQ(content->size(), size);
  }
  GrowingDirectory directory(101);
  EXPECT_TRUE(read_whole(directory, "a", 100).is(Reason::kPersistenceCorrupt));
}

// ---- The real file system ----

class Posix : public ::testing::Test {
 protected:
  std::string path(const std::string& name) { return temporary_.path() + "/" + name; }
  void touch(const std::string& name, mode_t mode = 0600) {
    std::ofstream(path(name)) << "x";
    ASSERT_EQ(::chmod(path(name).c_str(), mode), 0);
  }
  mode_t mode_of(const std::string& name) {
    struct stat st {};
    return ::lstat(path(name).c_str(), &st) == 0 ? st.st_mode & 07777 : 0;
  }
  void expect_unsafe_everywhere(const std::string& name) {
    for (const OpenMode mode : {OpenMode::kRead, OpenMode::kReadWrite, OpenMode::kCreate}) {
      EXPECT_TRUE(directory_->open(name, mode).is(Reason::kUnsafePath))
          << name << " " << static_cast<int>(mode);
    }
    EXPECT_TRUE(directory_->stat(name).is(Reason::kUnsafePath)) << name;
    EXPECT_TRUE(directory_->remove(name).is(Reason::kUnsafePath)) << name;
    EXPECT_TRUE(directory_->replace(name, "target").is(Reason::kUnsafePath)) << name;
    EXPECT_TRUE(directory_->lock(name).is(Reason::kUnsafePath)) << name;
    EXPECT_TRUE(replace_file(*directory_, name, as_bytes("y")).is(Reason::kUnsafePath)) << name;
  }
  static std::size_t descriptors() {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& entry : fs::directory_iterator("/proc/self/fd")) ++count;
    return count;
  }

  TemporaryDirectory temporary_;
  std::shared_ptr<Directory> directory_ = must_open(posix_files(), temporary_.path());
};

TEST_F(Posix, LinksAreNotFollowed) {
  touch("real");
  fs::create_symlink(path("real"), path("link"));
  fs::create_symlink(path("nowhere"), path("dangling"));
  expect_unsafe_everywhere("link");
  expect_unsafe_everywhere("dangling");
  EXPECT_FALSE(fs::exists(path("nowhere")));
  EXPECT_EQ(*directory_->list(), std::vector<std::string>{"real"});
  EXPECT_EQ(as_text(*read_whole(*directory_, "real", 10)), "x");
}

TEST_F(Posix, ADirectoryWithTooManyEntriesIsNotListed) {
  for (std::size_t i = 0; i < limits::kDirectoryEntriesMax; ++i) {
    const std::string name = path(std::to_string(i));
    ASSERT_EQ(i == 0 ? ::mkdir(name.c_str(), 0700) : ::symlink("nowhere", name.c_str()), 0);
  }
  EXPECT_TRUE(directory_->list()->empty());
  touch("real");
  EXPECT_TRUE(directory_->list().is(Reason::kUnsafePath));
}

TEST_F(Posix, HardLinkedFilesAreRefused) {
  touch("a");
  fs::create_hard_link(path("a"), path("b"));
  expect_unsafe_everywhere("a");
  fs::remove(path("b"));
  EXPECT_TRUE(directory_->open("a", OpenMode::kRead).ok());
}

TEST_F(Posix, OtherKindsOfFileAreRefusedAndDoNotHang) {
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
  expect_unsafe_everywhere("fifo");
}

TEST_F(Posix, FilesThatOthersMayWriteAreRefused) {
  for (const mode_t mode : {0620, 0602, 0666}) {
    touch("a", mode);
    expect_unsafe_everywhere("a");
  }
  touch("a", 0644);
  EXPECT_TRUE(directory_->open("a", OpenMode::kReadWrite).ok());
}

TEST_F(Posix, ForeignOwnersAreRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  touch("a");
  ASSERT_EQ(::chown(path("a").c_str(), 65534, 65534), 0);
  expect_unsafe_everywhere("a");
  EXPECT_TRUE(must_open(posix_files(), temporary_.path(), DirectoryMode::kForeignReadOnly)
                  ->open("a", OpenMode::kRead)
                  .ok());
  fs::create_directory(path("sub"));
  ASSERT_EQ(::chmod(path("sub").c_str(), 0700), 0);
  ASSERT_EQ(::chown(path("sub").c_str(), 65534, 65534), 0);
  EXPECT_TRUE(posix_files().open_directory(path("sub"), DirectoryMode::kExisting).is(Reason::kUnsafePath));
  EXPECT_TRUE(posix_files().open_directory(path("sub"), DirectoryMode::kCreate).is(Reason::kUnsafePath));
  EXPECT_TRUE(posix_files().open_directory(path("sub"), DirectoryMode::kForeignReadOnly).ok());
}

TEST_F(Posix, DirectoriesThatOthersMayWriteAreRefused) {
  fs::create_directory(path("sub"));
  for (const mode_t mode : {0720, 0702, 0777, 01777}) {
    ASSERT_EQ(::chmod(path("sub").c_str(), mode), 0);
    for (const DirectoryMode how : {DirectoryMode::kExisting, DirectoryMode::kCreate}) {
      EXPECT_TRUE(posix_files().open_directory(path("sub"), how).is(Reason::kUnsafePath)) << std::oct << mode;
    }
    EXPECT_TRUE(posix_files().open_directory(path("sub"), DirectoryMode::kForeignReadOnly).ok());
  }
  ASSERT_EQ(::chmod(path("sub").c_str(), 0755), 0);
  EXPECT_TRUE(posix_files().open_directory(path("sub"), DirectoryMode::kExisting).ok());
}

TEST_F(Posix, AFileSystemThatCountsNoBlocksIsNotFull) {
  const Result<FileSystemInfo> counted = directory_->file_system();
  ASSERT_TRUE(counted.ok());
  EXPECT_GT(counted->free_bytes, 0U);
  EXPECT_LT(counted->free_bytes, UINT64_MAX);
  const Result<FileSystemInfo> uncounted =
      must_open(posix_files(), "/proc", DirectoryMode::kForeignReadOnly)->file_system();
  ASSERT_TRUE(uncounted.ok());
  EXPECT_EQ(uncounted->free_bytes, UINT64_MAX);
}

TEST_F(Posix, ALinkAsTheLastComponentIsRefusedHoweverItIsWritten) {
  fs::create_directory(path("real"));
  fs::create_directory_symlink(path("real"), path("link"));
  fs::create_directory_symlink(path("nowhere"), path("dangling"));
  for (const char* ending : {"", "/", "//", "/.", "/./"}) {
    for (const DirectoryMode mode : {DirectoryMode::kExisting, DirectoryMode::kCreate}) {
      EXPECT_TRUE(posix_files().open_directory(path("link") + ending, mode).is(Reason::kUnsafePath))
          << ending;
      EXPECT_TRUE(posix_files().open_directory(path("dangling") + ending, mode).is(Reason::kUnsafePath))
          << ending;
    }
  }
  EXPECT_FALSE(fs::exists(path("nowhere")));
  EXPECT_TRUE(posix_files().open_directory(path("link"), DirectoryMode::kForeignReadOnly).ok());
  fs::create_directory(path("real/inner"));
  ASSERT_EQ(::chmod(path("real/inner").c_str(), 0700), 0);
  EXPECT_TRUE(posix_files().open_directory(path("link/inner"), DirectoryMode::kExisting).ok());
}

TEST_F(Posix, ModesAreExactWhateverTheUmask) {
  for (const mode_t mask : {0000, 0022, 0777}) {
    const mode_t before = ::umask(mask);
    must_open(posix_files(), path("sub"), DirectoryMode::kCreate);
    EXPECT_TRUE(directory_->open("file", OpenMode::kCreate).ok());
    EXPECT_TRUE(directory_->lock("lock").ok());
    EXPECT_TRUE(replace_file(*directory_, "replaced", as_bytes("x")).ok());
    ::umask(before);
    EXPECT_EQ(mode_of("sub"), 0700U);
    for (const char* name : {"file", "lock", "replaced"}) EXPECT_EQ(mode_of(name), 0600U) << name << mask;
    for (const char* name : {"sub", "file", "lock", "replaced"}) fs::remove(path(name));
  }
}

TEST_F(Posix, TheHeldDirectoryIsUsedWhateverItsPathLeadsTo) {
  auto held = must_open(posix_files(), path("sub"), DirectoryMode::kCreate);
  fs::rename(path("sub"), path("moved"));
  fs::create_directory(path("sub"));
  ASSERT_TRUE(replace_file(*held, "a", as_bytes("x")).ok());
  EXPECT_TRUE(fs::exists(path("moved/a")));
  EXPECT_FALSE(fs::exists(path("sub/a")));
}

TEST_F(Posix, PermissionDenied) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (::setresuid(65534, 65534, 65534) != 0) ::_exit(2);
    const auto denied = posix_files().open_directory(temporary_.path(), DirectoryMode::kExisting);
    ::_exit(denied.is(Reason::kPermissionDenied) && denied.error().system_error == EACCES ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST(PosixErrors, DevicesAreRefused) {
  auto devices = must_open(posix_files(), "/dev", DirectoryMode::kForeignReadOnly);
  EXPECT_TRUE(devices->open("full", OpenMode::kRead).is(Reason::kUnsafePath));  // a device is no plain file
}

TEST_F(Posix, DescriptorsAreClosedOnEveryPathAndOnExec) {
  const std::size_t before = descriptors();
  touch("a");
  fs::create_symlink("a", path("link"));
  {
    auto lock = directory_->lock_directory("lock");
    auto file = directory_->open("a", OpenMode::kReadWrite);
    auto other = must_open(posix_files(), path("sub"), DirectoryMode::kCreate);
    for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
      const int fd = std::stoi(entry.path().filename().string());
      std::error_code gone;
      if (!fs::read_symlink(entry.path(), gone).string().starts_with(temporary_.path())) continue;
      EXPECT_NE(::fcntl(fd, F_GETFD) & FD_CLOEXEC, 0) << entry.path();
    }
    EXPECT_EQ(descriptors(), before + 4);
    EXPECT_FALSE(directory_->lock("lock").ok());
    EXPECT_FALSE(directory_->lock_directory("lock").ok());
    EXPECT_FALSE(directory_->open("link", OpenMode::kRead).ok());
    EXPECT_FALSE(directory_->open("a", OpenMode::kCreate).ok());
    EXPECT_FALSE(posix_files().open_directory(path("a"), DirectoryMode::kExisting).ok());
    EXPECT_TRUE(directory_->list().ok());
    EXPECT_EQ(descriptors(), before + 4);
  }
  EXPECT_EQ(descriptors(), before);
}

TEST_F(Posix, LargeTransfersComplete) {
  Bytes content(std::size_t{8} << 20);
  for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<std::uint8_t>(i * 31 >> 3);
  ASSERT_TRUE(replace_file(*directory_, "large", content).ok());
  EXPECT_EQ(*read_whole(*directory_, "large", content.size()), content);
}

// ---- Clocks ----

// The limit of a file's size stands in for a device that fails: a write past the page cache ends in the middle of its blocks.
TEST(PosixTail, AFailedDirectWriteHurtsNothingBeforeIt) {
  const TemporaryDirectory place;
  const std::shared_ptr<Directory> directory =
      must_open(posix_files(), place.path() + "/store", DirectoryMode::kCreate);
  const std::unique_ptr<File> file = *directory->open("a", OpenMode::kCreate);
  ASSERT_TRUE(file->allocate(0, std::uint64_t{1} << 20).ok());
  const std::string first(20000, 'a');
  const std::string second(20000, 'b');
  ASSERT_TRUE(file->append_at(0, as_bytes(first)).ok());

  struct rlimit before {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  struct rlimit small = before;
  small.rlim_cur = 30000;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const Status failed = file->append_at(first.size(), as_bytes(second));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ::signal(SIGXFSZ, handler);
  ASSERT_TRUE(failed.is(Reason::kIoError));
  EXPECT_EQ(failed.error().system_error, EFBIG);

  EXPECT_EQ(as_text(*read_whole(*directory, "a", std::size_t{1} << 20)).substr(0, first.size()), first);
  ASSERT_TRUE(file->append_at(first.size(), as_bytes(second)).ok());
  ASSERT_TRUE(file->sync().ok());
  EXPECT_EQ(as_text(*read_whole(*directory, "a", std::size_t{1} << 20)).substr(0, 40001),
            first + second + std::string(1, '\0'));
}

TEST(PosixClock, TellsTimeAndBoot) {
  Clock& clock = posix_clock();
  const std::int64_t wall = clock.wall_ms();
  const std::uint64_t boot = clock.boot_ms();
  EXPECT_NEAR(static_cast<double>(wall), static_cast<double>(::time(nullptr)) * 1000, 5000);
  EXPECT_GE(clock.boot_ms(), boot);
  std::ifstream uptime("/proc/uptime");
  double seconds = 0;
  uptime >> seconds;
  EXPECT_NEAR(static_cast<double>(boot), seconds * 1000, 5000);

  std::string expected;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> expected;
  std::erase(expected, '-');
  EXPECT_EQ(to_hex(clock.boot_id()), expected);
}

TEST(Device, EachCauseHasItsWords) {
  EXPECT_EQ(why_not_opened("/dev/null"), "");
  EXPECT_EQ(why_not_opened("/dev/null/tpm"), "there is no /dev/null/tpm");
  EXPECT_EQ(describe_open_error("/dev/tpm0", EBUSY), "/dev/tpm0 is in use by another program");
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/tpm";
  std::ofstream(path).close();
  ASSERT_TRUE(chown(path.c_str(), 0, 1) == 0 || geteuid() != 0);
  ASSERT_EQ(chmod(path.c_str(), 0660), 0);
  const std::string refused = describe_open_error(path, EACCES);
  EXPECT_NE(refused.find("and has mode 0660; add the user to the group "), std::string::npos) << refused;
  ASSERT_EQ(chmod(path.c_str(), 0600), 0);
  EXPECT_EQ(describe_open_error(path, EACCES).find("add the user"), std::string::npos);
}

TEST(ManualClock, MovesOnlyWhenTold) {
  testing::ManualClock clock;
  const std::int64_t wall = clock.wall_ms();
  const std::uint64_t boot = clock.boot_ms();
  clock.advance(10);
  clock.suspend(5);
  EXPECT_EQ(clock.wall_ms(), wall + 15);
  EXPECT_EQ(clock.boot_ms(), boot + 15);
  clock.advance_wall(-100);
  EXPECT_EQ(clock.wall_ms(), wall - 85);
  EXPECT_EQ(clock.boot_ms(), boot + 15);
  clock.set_wall(7);
  EXPECT_EQ(clock.wall_ms(), 7);

  const BootId& first = clock.boot_id();
  const BootId copy = first;
  clock.reboot(1000);
  EXPECT_EQ(first, copy);
  EXPECT_NE(clock.boot_id(), copy);
  EXPECT_EQ(clock.boot_ms(), testing::ManualClock::kBootMsAfterReboot);
  EXPECT_EQ(clock.wall_ms(), 7 + 1000 + static_cast<std::int64_t>(testing::ManualClock::kBootMsAfterReboot));
}

}  // namespace
}  // namespace strongroom::os
