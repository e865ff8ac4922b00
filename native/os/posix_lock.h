// The locks of posix.cc: by a file, of a directory, on the host.
//
// Invariants:
// - A lock file counts only while it has its name: posix.cc compares the inode after it has locked it. So a holder of the
//   lock may unlink the file, and whoever opened it before makes another one. An unlocked file is empty, unless its owner
//   was killed.
// - Locks belong to open files, which a forked child shares. They are unlocked explicitly, so that no such child keeps
//   them, and only in the process that took them: in a child the lock is not its own.
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <string>

#include "os/descriptor.h"
#include "os/os.h"

namespace strongroom::os {

// flock() on a descriptor of a directory. An open-file-description lock for writing needs a descriptor that can be written,
// which a directory has none of.
class DirectoryHold {
 public:
  // Holds nothing.
  DirectoryHold() = default;
  // nullopt, with the errno in `error`, where it is not taken. Where the file system cannot lock a directory, what is
  // returned holds nothing.
  [[nodiscard]] static std::optional<DirectoryHold> take(Fd directory, int* error);
  DirectoryHold(DirectoryHold&&) = default;
  DirectoryHold& operator=(DirectoryHold&&) = delete;
  DirectoryHold(const DirectoryHold&) = delete;
  DirectoryHold& operator=(const DirectoryHold&) = delete;
  ~DirectoryHold();

 private:
  explicit DirectoryHold(Fd fd) : fd_(std::move(fd)), owner_(::getpid()) {}
  Fd fd_;
  pid_t owner_ = 0;
};

// An open-file-description lock: it excludes other descriptors of this process too, and closing an unrelated
// descriptor of the same file does not release it.
class PosixLock final : public FileLock {
 public:
  // Of a file that set() has locked; `directory` is released after it, as it was taken before it.
  PosixLock(Fd fd, DirectoryHold directory) : directory_(std::move(directory)), fd_(std::move(fd)) {}
  PosixLock(const PosixLock&) = delete;
  PosixLock& operator=(const PosixLock&) = delete;
  ~PosixLock() override;

  static int set(int fd, short type);  // F_WRLCK or F_UNLCK; -1 with errno
  // Whether another descriptor has the lock.
  [[nodiscard]] static bool is_taken(int fd);
  // lock_owner_text() of what the file says.
  [[nodiscard]] static std::string owner_text(int fd);

  // A full disk must not keep a store from being opened: the lock holds whatever the file says.
  void write_owner();
  // Whether this process holds the lock, and the file still has its name.
  [[nodiscard]] bool owns_name() const;

 private:
  DirectoryHold directory_;  // before the file's descriptor: released after it
  Fd fd_;
  pid_t owner_ = ::getpid();
};

// A lock whose file is removed on release: nothing else would ever remove it.
class HostLock final : public FileLock {
 public:
  HostLock(std::shared_ptr<Directory> directory, std::string name, std::unique_ptr<PosixLock> lock)
      : directory_(std::move(directory)), name_(std::move(name)), lock_(std::move(lock)) {}
  HostLock(const HostLock&) = delete;
  HostLock& operator=(const HostLock&) = delete;
  ~HostLock() override;

 private:
  const std::shared_ptr<Directory> directory_;
  const std::string name_;
  const std::unique_ptr<PosixLock> lock_;
};

}  // namespace strongroom::os
