// The seam to the operating system. Everything of the product that touches a file, a lock or a clock goes through
// these interfaces, so that a faulty twin (testing/simulated_disk.h) can stand in for the real one (posix.h).
//
// Invariants that every implementation keeps:
// - Names are plain: no '/', no NUL, not empty, not "." or "..", 255 bytes at most. Anything else is kInvalidArgument.
// - No call follows a symbolic link; one that meets a link, a directory or a foreign owner answers kUnsafePath. Only
//   kForeignReadOnly follows them.
// - Files are made with mode 0600, directories with 0700.
// - What was written is durable only after sync() of the file; a name (created, replaced, removed) only after sync()
//   of its directory.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"

namespace strongroom::os {

struct FileInfo {
  std::uint64_t size_bytes = 0;
  std::uint64_t inode = 0;
  std::uint64_t device = 0;
  std::int64_t modified_ns = 0;
};

struct FileSystemInfo {
  std::uint64_t type = 0;                 // f_type of statfs()
  std::uint64_t free_bytes = UINT64_MAX;  // what this user can still write; all ones where it is not counted
};

class File {
 public:
  virtual ~File() = default;
  // Fills `out` from `offset`; fewer bytes only at the end of the file. Interrupted calls are continued.
  [[nodiscard]] virtual Result<std::size_t> read_at(std::uint64_t offset, MutableBytes out) = 0;
  // Writes all of `data`, or fails; after a failure any part of it may have been written.
  [[nodiscard]] virtual Status write_at(std::uint64_t offset, ByteView data) = 0;
  // The same, for data at the end of a log that sync() follows: may go past the page cache, into space that was allocated.
  [[nodiscard]] virtual Status append_at(std::uint64_t offset, ByteView data) {
    return write_at(offset, data);
  }
  // Makes content and size durable (fdatasync). After a failure nothing is known of any earlier unsynced write.
  [[nodiscard]] virtual Status sync() = 0;
  [[nodiscard]] virtual Status truncate(std::uint64_t size) = 0;
  // Reserves [offset, offset + length): extends the file with zeros, so that writes inside need no new blocks.
  // kUnsupported where the file system cannot; callers go on without.
  [[nodiscard]] virtual Status allocate(std::uint64_t offset, std::uint64_t length) = 0;
  [[nodiscard]] virtual Result<FileInfo> info() = 0;
};

// Held until destroyed. The kernel releases it when the process and every child that it forked have ended. Closing the
// descriptor in such a child, or destroying this object there, releases nothing; destroying it in the process that took it
// releases it for all.
class FileLock {
 public:
  virtual ~FileLock() = default;
};

enum class OpenMode : std::uint8_t {
  kRead,       // must exist
  kReadWrite,  // must exist
  kCreate,     // must not exist (else kIoError with EEXIST); reading and writing
};

class Directory {
 public:
  virtual ~Directory() = default;
  [[nodiscard]] virtual Result<std::unique_ptr<File>> open(std::string_view name, OpenMode mode) = 0;
  // nullopt when the name does not exist.
  [[nodiscard]] virtual Result<std::optional<FileInfo>> stat(std::string_view name) = 0;
  // Atomically gives `from` the name `to`, replacing what had it.
  [[nodiscard]] virtual Status replace(std::string_view from, std::string_view to) = 0;
  // Removing a name that does not exist succeeds.
  [[nodiscard]] virtual Status remove(std::string_view name) = 0;
  // All names of plain files, sorted by bytes. kUnsafePath for a directory with more than limits::kDirectoryEntriesMax entries.
  [[nodiscard]] virtual Result<std::vector<std::string>> list() = 0;
  [[nodiscard]] virtual Status sync() = 0;
  // The identity of the directory itself. Its size and its time mean nothing.
  [[nodiscard]] virtual Result<FileInfo> info() = 0;
  // The file system that the directory is on. kUnsupported where that is not known.
  [[nodiscard]] virtual Result<FileSystemInfo> file_system() {
    return Status(Reason::kUnsupported, path() + ": the file system is not known");
  }
  // Exclusive across processes and within this one. kLocked (detail names the owner, lock_owner.h) when another has it;
  // never waits. The owner is written into the lock file.
  [[nodiscard]] virtual Result<std::unique_ptr<FileLock>> lock(std::string_view name) = 0;
  // The same, and exclusive with every other lock_directory() of this directory, whatever became of the lock file: it may
  // be removed, renamed or replaced. Equals lock() where the file system cannot lock a directory, and where others can
  // read the directory, because then they could take that lock too.
  [[nodiscard]] virtual Result<std::unique_ptr<FileLock>> lock_directory(std::string_view name) = 0;
  [[nodiscard]] virtual const std::string& path() const = 0;
};

enum class DirectoryMode : std::uint8_t {
  kExisting,  // must exist: ours (or root's), a real directory, not writable by group or others
  kCreate,    // made with 0700 when missing (the parent must exist), its name durable; then as kExisting
  kForeignReadOnly,  // for reading what is not secret, such as manifests: any owner, links allowed, also
  // to a file, which must be a plain one; what would change something answers kPermissionDenied
};

class FileSystem {
 public:
  virtual ~FileSystem() = default;
  // A missing directory: kNotFound. An unsuitable one: kUnsafePath, saying why. A last path component that is a
  // symbolic link is unsuitable.
  [[nodiscard]] virtual Result<std::shared_ptr<Directory>> open_directory(const std::string& path,
                                                                          DirectoryMode mode) = 0;
  // Removes a directory that is empty. kUnsupported where that is not done.
  [[nodiscard]] virtual Status remove_directory(const std::string& path) {
    return {Reason::kUnsupported, path + ": not removed"};
  }
  // A lock for what several directories share, named by `key`, a plain name. Exclusive among the processes of one user
  // that see the same shared memory: not across machines, users or containers with a /dev/shm of their own. kLocked as in
  // Directory::lock(). nullptr where the lock has no place, because it is missing, full or taken by another user.
  [[nodiscard]] virtual Result<std::unique_ptr<FileLock>> lock_on_host(std::string_view key) = 0;
};

using BootId = std::array<std::uint8_t, 16>;

class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual std::int64_t wall_ms() = 0;   // CLOCK_REALTIME since 1970
  [[nodiscard]] virtual std::uint64_t boot_ms() = 0;  // CLOCK_BOOTTIME: goes on during suspend
  [[nodiscard]] virtual const BootId& boot_id() = 0;  // /proc/sys/kernel/random/boot_id
  [[nodiscard]] virtual bool
  unsynchronised() = 0;  // the kernel says that nothing has set the wall clock right
};

// What a store needs of its surroundings. The members outlive every store that uses them.
struct Environment {
  FileSystem& files;
  Clock& clock;
};

// kInvalidArgument unless `name` is plain, as the first invariant says.
[[nodiscard]] Status check_name(std::string_view name);

// Reads a whole file once. kNotFound, or kPersistenceCorrupt when it is larger than `bytes_max`.
[[nodiscard]] Result<Bytes> read_whole(Directory& directory, std::string_view name, std::size_t bytes_max);

// Whether replace_file() can write `name`: writes `name` + ".new" and removes it again.
[[nodiscard]] Status try_replace_file(Directory& directory, std::string_view name, ByteView content);

// Replaces a file atomically and durably: `name` + ".new", write, sync, rename, sync of the directory. A leftover
// ".new" of a crash is overwritten.
[[nodiscard]] Status replace_file(Directory& directory, std::string_view name, ByteView content);

}  // namespace strongroom::os
