// Locks between real processes: fork, kill, readers of the directory, a host without a place for locks, and races.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <new>
#include <string>

#include "os/lock_owner.h"
#include "os/posix.h"
#include "posix_fixture.h"

namespace strongroom::os {
namespace {

namespace fs = std::filesystem;
using testing::must_open;
using testing::TemporaryDirectory;

class PosixLocks : public ::testing::Test {
 protected:
  std::string path(const std::string& name) { return temporary_.path() + "/" + name; }
  // Where the locks on the host are, below temporary_.
  std::string place() { return path("strongroom-" + std::to_string(::geteuid())); }

  TemporaryDirectory temporary_;
  std::shared_ptr<Directory> directory_ = must_open(posix_files(), temporary_.path());
};

// A child that takes the lock, says so, and waits to be killed.
class LockingChild {
 public:
  explicit LockingChild(const std::string& directory) {
    int said[2];
    if (::pipe2(said, O_CLOEXEC) != 0) std::abort();
    pid_ = ::fork();
    if (pid_ == 0) {
      auto lock = must_open(posix_files(), directory)->lock_directory("lock");
      const char answer = lock.ok() ? 'y' : 'n';
      static_cast<void>(!::write(said[1], &answer, 1));
      for (;;) ::pause();
    }
    ::close(said[1]);
    static_cast<void>(!::read(said[0], &answer_, 1));
    ::close(said[0]);
  }
  ~LockingChild() { kill(); }
  LockingChild(const LockingChild&) = delete;
  LockingChild& operator=(const LockingChild&) = delete;
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  [[nodiscard]] bool has_lock() const { return answer_ == 'y'; }
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = 0;
  char answer_ = '?';
};

TEST_F(PosixLocks, LocksExcludeOtherProcessesAndEndWithThem) {
  LockingChild child(temporary_.path());
  ASSERT_TRUE(child.has_lock());
  auto refused = directory_->lock_directory("lock");
  ASSERT_TRUE(refused.is(Reason::kLocked));
  EXPECT_NE(refused.error().detail.find("process " + std::to_string(child.pid())), std::string::npos)
      << refused.error().detail;
  fs::remove(path("lock"));
  refused = directory_->lock_directory("lock");
  ASSERT_TRUE(refused.is(Reason::kLocked));
  EXPECT_EQ(refused.error().detail.find("process " + std::to_string(::getpid())), std::string::npos);
  EXPECT_FALSE(fs::exists(path("lock")));
  child.kill();
  auto mine = directory_->lock_directory("lock");
  ASSERT_TRUE(mine.ok()) << mine.error().detail;
  LockingChild second(temporary_.path());
  EXPECT_FALSE(second.has_lock());
}

TEST_F(PosixLocks, ARefusalSaysThatThisProcessHasTheLock) {
  const auto lock = directory_->lock_directory("lock");
  ASSERT_TRUE(lock.ok());
  const std::string own = "process " + std::to_string(::getpid()) + " on host ";
  const std::string detail = directory_->lock_directory("lock").error().detail;
  EXPECT_NE(detail.find(own), std::string::npos) << detail;
  EXPECT_TRUE(detail.ends_with(": this process has it open")) << detail;
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const std::string theirs = directory_->lock_directory("lock").error().detail;
    ::_exit(theirs.find(own) != std::string::npos && !theirs.ends_with("this process has it open") ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

// A file of another release, one that is being written, and one that somebody else wrote.
TEST(LockOwner, IsNamedAsFarAsTheLockFileDoes) {
  const std::string own = lock_owner_content();
  const std::string boot_and_namespace = own.substr(own.find('\n', own.find('\n') + 1));
  const std::string boot = boot_and_namespace.substr(0, boot_and_namespace.find('\n', 1));
  EXPECT_EQ(lock_owner_text(""), "another process");
  EXPECT_EQ(lock_owner_text("12"), "another process");
  EXPECT_EQ(lock_owner_text("-1\n"), "another process");
  EXPECT_EQ(lock_owner_text("12\x1b[2J\n"), "another process");
  EXPECT_EQ(lock_owner_text("12\n"), "process 12");
  EXPECT_EQ(lock_owner_text("12\nweb-1\nabc"), "process 12");
  EXPECT_EQ(lock_owner_text("1\nweb-1" + boot_and_namespace), "process 1 on host web-1");
  EXPECT_EQ(lock_owner_text("1\nweb-1" + boot + "\n7\n"),
            "process 1 on host web-1, in another PID namespace (another container)");
  EXPECT_EQ(lock_owner_text("1\nweb-1\n00\n7\n"), "process 1 on host web-1, another machine");
  EXPECT_EQ(lock_owner_text("1\nweb-1\n-\n-\n"), "process 1 on host web-1");
  EXPECT_EQ(lock_owner_text("1\n\x1b[2J\n-\n-\n"), "process 1 on host -");
}

TEST_F(PosixLocks, AForkedChildNeitherKeepsNorReleasesTheLock) {
  auto lock = *directory_->lock_directory("lock");
  int hold[2];
  ASSERT_EQ(::pipe2(hold, O_CLOEXEC), 0);
  int said[2];
  ASSERT_EQ(::pipe2(said, O_CLOEXEC), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    lock.reset();  // not its own
    static_cast<void>(!::write(said[1], "r", 1));
    ::close(hold[1]);
    char end = 0;
    static_cast<void>(!::read(hold[0], &end, 1));
    ::_exit(0);
  }
  const pid_t sharing = ::fork();
  ASSERT_GE(sharing, 0);
  if (sharing == 0) {  // keeps the descriptor open past the parent's release
    ::close(hold[1]);
    char end = 0;
    static_cast<void>(!::read(hold[0], &end, 1));
    ::_exit(0);
  }
  ::close(hold[0]);
  char released = 0;
  ASSERT_EQ(::read(said[0], &released, 1), 1);
  ::close(said[0]);
  ::close(said[1]);
  EXPECT_TRUE(directory_->lock_directory("lock").is(Reason::kLocked));
  lock.reset();
  EXPECT_TRUE(directory_->lock_directory("lock").ok());
  ::close(hold[1]);
  ::waitpid(child, nullptr, 0);
  ::waitpid(sharing, nullptr, 0);
}

// The locks belong to the open files, which the child shares.
TEST_F(PosixLocks, AForkedChildThatOutlivesAKilledOwnerKeepsTheLock) {
  int hold[2];
  ASSERT_EQ(::pipe2(hold, O_CLOEXEC), 0);
  int said[2];
  ASSERT_EQ(::pipe2(said, O_CLOEXEC), 0);
  const pid_t owner = ::fork();
  ASSERT_GE(owner, 0);
  if (owner == 0) {
    const auto lock = directory_->lock_directory("lock");
    const pid_t sharing = ::fork();
    ::close(hold[1]);
    if (sharing != 0) {
      static_cast<void>(!::write(said[1], lock.ok() && sharing > 0 ? "y" : "n", 1));
      for (;;) ::pause();
    }
    char end = 0;
    static_cast<void>(!::read(hold[0], &end, 1));
    ::_exit(0);  // `said` ends with it
  }
  ::close(hold[0]);
  ::close(said[1]);
  char answer = '?';
  ASSERT_EQ(::read(said[0], &answer, 1), 1);
  ASSERT_EQ(answer, 'y');
  ::kill(owner, SIGKILL);
  ASSERT_EQ(::waitpid(owner, nullptr, 0), owner);
  auto refused = directory_->lock_directory("lock");
  ASSERT_TRUE(refused.is(Reason::kLocked));
  EXPECT_NE(refused.error().detail.find("process " + std::to_string(owner)), std::string::npos);
  ::close(hold[1]);
  EXPECT_EQ(::read(said[0], &answer, 1), 0);  // the child's descriptors are closed
  ::close(said[0]);
  EXPECT_TRUE(directory_->lock_directory("lock").ok());
}

// Anyone who can read the directory could lock it, and keep the store from being opened.
TEST_F(PosixLocks, ADirectoryThatOthersCanReadIsLockedByItsLockFileOnly) {
  for (const mode_t mode : {0740, 0704, 0755}) {
    ASSERT_EQ(::chmod(temporary_.path().c_str(), mode), 0);
    const int other = ::open(temporary_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ASSERT_EQ(::flock(other, LOCK_EX | LOCK_NB), 0);
    auto lock = directory_->lock_directory("lock");
    EXPECT_TRUE(lock.ok()) << std::oct << mode;
    EXPECT_TRUE(directory_->lock_directory("lock").is(Reason::kLocked));
    ::close(other);
  }
  ASSERT_EQ(::chmod(temporary_.path().c_str(), 0711), 0);
  const int other = ::open(temporary_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  ASSERT_EQ(::flock(other, LOCK_EX | LOCK_NB), 0);
  EXPECT_TRUE(directory_->lock_directory("lock").is(Reason::kLocked));
  ::close(other);
}

// A name made by another process is gone with its lock; one that a killed process left is in nobody's way.
TEST_F(PosixLocks, LocksOnTheHostLeaveNoFileAndSurviveAKill) {
  const auto files = posix_files_with_shared_memory(temporary_.path());
  {
    const auto lock = files->lock_on_host("key");
    ASSERT_TRUE(lock.ok());
    EXPECT_TRUE(fs::exists(place() + "/key"));
    struct stat st {};
    ASSERT_EQ(::stat(place().c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 07777, 0700U);
  }
  EXPECT_TRUE(fs::is_empty(place()));
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto lock = files->lock_on_host("key");
    if (lock.ok()) ::kill(::getpid(), SIGKILL);
    ::_exit(1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_TRUE(fs::exists(place() + "/key"));
  EXPECT_TRUE(files->lock_on_host("key").ok());
  EXPECT_TRUE(fs::is_empty(place()));
}

TEST_F(PosixLocks, ALockOnTheHostWithoutAPlaceIsNone) {
  const auto is_none = [](FileSystem& files) {
    const auto lock = files.lock_on_host("key");
    return lock.ok() && *lock == nullptr;
  };
  EXPECT_TRUE(is_none(*posix_files_with_shared_memory(path("missing"))));
  const auto files = posix_files_with_shared_memory(temporary_.path());
  std::ofstream(place()) << "x";
  EXPECT_TRUE(is_none(*files));
  fs::remove(place());
  fs::create_directory(path("elsewhere"));
  fs::create_directory_symlink(path("elsewhere"), place());
  EXPECT_TRUE(is_none(*files));
  EXPECT_TRUE(fs::is_empty(path("elsewhere")));
  fs::remove(place());
  fs::create_directory(place());
  ASSERT_EQ(::chmod(place().c_str(), 0777), 0);
  EXPECT_TRUE(is_none(*files));
  if (::geteuid() != 0) GTEST_SKIP() << "another owner needs root";
  ASSERT_EQ(::chmod(place().c_str(), 0700), 0);
  ASSERT_EQ(::chown(place().c_str(), 65534, 65534), 0);
  EXPECT_TRUE(is_none(*files));
}

// Two processes that try at the same moment, again and again, while nobody holds the lock: one of them gets it each time.
class LockRace {
 public:
  using Attempt = std::function<bool(std::unique_ptr<FileLock>& lock)>;

  // `prepare` runs before each round. The number of rounds that not exactly one process won.
  static int lost_rounds(const Attempt& attempt, const std::function<void()>& prepare) {
    auto* const shared = static_cast<LockRace*>(
        ::mmap(nullptr, sizeof(LockRace), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    if (shared == MAP_FAILED) std::abort();
    new (shared) LockRace;
    const pid_t child = ::fork();
    if (child < 0) std::abort();
    int lost = 0;
    for (int round = 1; round <= kRounds; ++round) {
      if (child != 0) {
        prepare();
        shared->won_ = 0;
      }
      shared->meet();
      std::unique_ptr<FileLock> lock;
      if (attempt(lock)) ++shared->won_;
      shared->meet();
      if (child != 0 && shared->won_ != 1) ++lost;
      lock.reset();
      shared->meet();
    }
    if (child == 0) ::_exit(0);
    ::waitpid(child, nullptr, 0);
    ::munmap(shared, sizeof(LockRace));
    return lost;
  }

 private:
  static constexpr int kRounds = 1000;

  LockRace() {
    pthread_barrierattr_t shared;
    ::pthread_barrierattr_init(&shared);
    ::pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
    ::pthread_barrier_init(&both_, &shared, 2);
    ::pthread_barrierattr_destroy(&shared);
  }
  void meet() { ::pthread_barrier_wait(&both_); }

  pthread_barrier_t both_;
  std::atomic<int> won_{0};
};

TEST_F(PosixLocks, OfTwoProcessesThatLockAtOnceOneSucceeds) {
  const auto files = posix_files_with_shared_memory(temporary_.path());
  EXPECT_EQ(LockRace::lost_rounds(
                [&](std::unique_ptr<FileLock>& lock) {
                  auto taken = directory_->lock_directory("lock");
                  if (taken.ok()) lock = *std::move(taken);
                  return lock != nullptr;
                },
                [&] { fs::remove(path("lock")); }),
            0);
  EXPECT_EQ(LockRace::lost_rounds(
                [&](std::unique_ptr<FileLock>& lock) {
                  auto taken = files->lock_on_host("key");
                  if (taken.ok()) lock = *std::move(taken);
                  return lock != nullptr;
                },
                [] {}),
            0);
}

// The file of a lock on the host is removed while others open it.
TEST_F(PosixLocks, ALockOnTheHostIsNeverHeldTwice) {
  const auto files = posix_files_with_shared_memory(temporary_.path());
  struct Shared {
    std::atomic<int> holders{0};
    std::atomic<int> overlaps{0};
    std::atomic<int> taken{0};
  };
  auto* const shared = static_cast<Shared*>(
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(shared, MAP_FAILED);
  new (shared) Shared;
  constexpr int kProcesses = 3;
  constexpr int kTries = 3000;
  for (int process = 0; process < kProcesses; ++process) {
    if (::fork() != 0) continue;
    for (int i = 0; i < kTries; ++i) {
      const auto lock = files->lock_on_host("key");
      if (!lock.ok() || *lock == nullptr) continue;
      ++shared->taken;
      if (++shared->holders != 1) ++shared->overlaps;
      ::sched_yield();
      --shared->holders;
    }
    ::_exit(0);
  }
  for (int process = 0; process < kProcesses; ++process) ::wait(nullptr);
  EXPECT_EQ(shared->overlaps, 0);
  EXPECT_GT(shared->taken, kProcesses);
  ::munmap(shared, sizeof(Shared));
}

}  // namespace
}  // namespace strongroom::os
