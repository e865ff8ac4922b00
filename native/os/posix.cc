// The files of the real operating system.
//
// Invariants:
// - Every descriptor is owned by an Fd, opened close-on-exec, used by at most one object, and has a number that other code of
//   the process does not use (apart()).
// - What was checked is what is used: files are opened relative to the held directory without following links, then judged
//   by fstat() of the descriptor. Names are judged by fstatat() before rename and unlink; nobody but the owner can change
//   a name in between, because a directory that others may write is refused.
#include "os/posix.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <limits>
#include <system_error>
#include <utility>

#include "base/limits.h"
#include "base/secret_memory.h"
#include "os/descriptor.h"
#include "os/direct_tail.h"
#include "os/posix_error.h"
#include "os/posix_lock.h"
#include "os/shell_word.h"

namespace strongroom::os {

namespace {

constexpr mode_t kFileMode = 0600;
constexpr mode_t kDirectoryMode = 0700;
constexpr mode_t kWritableByOthers = S_IWGRP | S_IWOTH;
constexpr mode_t kReadableByOthers = S_IRGRP | S_IROTH;
constexpr const char* kSharedMemory = "/dev/shm";
constexpr int kRaceAttemptsMax = 64;  // how often a name may be replaced under an opener before it gives up

Status unsafe(const std::string& path, const std::string& why, int error = 0) {
  return {Reason::kUnsafePath, path + ": " + why, error};
}

std::string octal(mode_t mode) {
  std::string text = "0000";
  for (std::size_t i = text.size(); i-- > 0; mode >>= 3) text[i] = static_cast<char>('0' + (mode & 7));
  return text;
}

bool is_trusted_owner(uid_t owner) { return owner == ::geteuid() || owner == 0; }

Status foreign_owner(const std::string& path, uid_t owner) {
  const std::string other = "belongs to user " + std::to_string(owner) + ", and this process runs as user " +
                            std::to_string(::geteuid());
  if (::geteuid() != 0) return unsafe(path, other + "; run it as the user to whom the store belongs");
  return unsafe(path, other + "; run it as that user: runuser -u \"$(id -nu " + std::to_string(owner) +
                          ")\" -- COMMAND");
}

// What orchestrators do to a volume at each mount, such as Kubernetes for an fsGroup.
Status writable_by_others(const struct stat& st, const std::string& path, mode_t wanted) {
  const bool group = (st.st_mode & S_IWGRP) != 0;
  const bool others = (st.st_mode & S_IWOTH) != 0;
  const std::string who = group && others ? "its group and every other user"
                          : group         ? "its group " + std::to_string(st.st_gid)
                                          : "every other user";
  return unsafe(path, "has mode " + octal(st.st_mode) + ", so that " + who + " can write to it; wanted is " +
                          octal(wanted) + ": chmod " + octal(wanted) + " " + shell_word(path));
}

// Of a directory: of a file the caller names none.
Status symbolic_link(const std::string& path, int error) {
  char target[PATH_MAX];
  const ssize_t got = ::readlink(path.c_str(), target, sizeof target);
  if (got <= 0) return unsafe(path, "is a symbolic link or not a directory", error);
  return unsafe(
      path,
      "is a symbolic link; name what it leads to: " + shell_word({target, static_cast<std::size_t>(got)}),
      error);
}

FileInfo to_info(const struct stat& st) {
  constexpr std::int64_t kNanosecondsPerSecond = 1'000'000'000;
  FileInfo info;
  info.size_bytes = static_cast<std::uint64_t>(st.st_size);
  info.inode = st.st_ino;
  info.device = st.st_dev;
  info.modified_ns = st.st_mtim.tv_sec * kNanosecondsPerSecond + st.st_mtim.tv_nsec;
  return info;
}

Result<FileInfo> info_of(const Fd& fd, const std::string& path) {
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0) return failure(path, "stat", errno);
  return to_info(st);
}

Status check_kind(const struct stat& st, const std::string& path) {
  if (S_ISREG(st.st_mode)) return {};
  if (S_ISLNK(st.st_mode)) return unsafe(path, "is a symbolic link");
  if (S_ISDIR(st.st_mode)) return unsafe(path, "is a directory");
  return unsafe(path, "is not a plain file");
}

Status check_file(const struct stat& st, const std::string& path) {
  SR_TRY(check_kind(st, path));
  if (!is_trusted_owner(st.st_uid)) return foreign_owner(path, st.st_uid);
  if (st.st_nlink > 1) {
    return unsafe(path, "has " + std::to_string(st.st_nlink) +
                            " hard links, so a write to it would change another file; replace it by a copy: "
                            "cp -p FILE FILE.copy && mv FILE.copy FILE");
  }
  if ((st.st_mode & kWritableByOthers) != 0) return writable_by_others(st, path, kFileMode);
  return {};
}

Status check_directory(const struct stat& st, const std::string& path) {
  if (!S_ISDIR(st.st_mode)) return unsafe(path, "is not a directory");
  if (!is_trusted_owner(st.st_uid)) return foreign_owner(path, st.st_uid);
  if ((st.st_mode & kWritableByOthers) != 0) return writable_by_others(st, path, kDirectoryMode);
  return {};
}

class PosixFile final : public File {
 public:
  PosixFile(Fd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

  Result<std::size_t> read_at(std::uint64_t offset, MutableBytes out) override {
    SR_TRY(check_range(offset, out.size()));
    std::size_t done = 0;
    while (done < out.size()) {
      const ssize_t got = uninterrupted([&] {
        return ::pread(fd_.get(), out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
      });
      if (got < 0) return failure(path_, "read", errno);
      if (got == 0) break;
      done += static_cast<std::size_t>(got);
    }
    return done;
  }

  Status write_at(std::uint64_t offset, ByteView data) override {
    SR_TRY(check_range(offset, data.size()));
    tail_.written(offset + data.size());
    return write_all(offset, data);
  }

  Status append_at(std::uint64_t offset, ByteView data) override {
    SR_TRY(check_range(offset, data.size()));
    // What goes past the page cache would wait for the zeros that are still in it, and the sync once more for the rest.
    if (zeros_unsynced_) return write_at(offset, data);
    const DirectTail::Outcome outcome = tail_.write(fd_.get(), offset, data);
    if (outcome == DirectTail::Outcome::kDone) return {};
    if (outcome == DirectTail::Outcome::kNotSuited) return write_at(offset, data);
    // The page cache writes the same blocks, and sync() says how that ended.
    Status written = write_all(tail_.start(), tail_.content());
    tail_.written(offset + data.size());
    return written;
  }

  Status sync() override {
    zeros_unsynced_ = false;
    if (uninterrupted([&] { return ::fdatasync(fd_.get()); }) != 0) return failure(path_, "fdatasync", errno);
    return {};
  }

  Status truncate(std::uint64_t size) override {
    SR_TRY(check_range(size, 0));
    tail_.truncated();
    if (uninterrupted([&] { return ::ftruncate(fd_.get(), static_cast<off_t>(size)); }) != 0) {
      return failure(path_, "truncate", errno);
    }
    return {};
  }

  Status allocate(std::uint64_t offset, std::uint64_t length) override {
    SR_TRY(check_range(offset, length));
    if (length == 0) return {};
    SR_ASSIGN(const FileInfo before, info());
    if (uninterrupted([&] {
          return ::fallocate(fd_.get(), 0, static_cast<off_t>(offset), static_cast<off_t>(length));
        }) == 0) {
      // Blocks that were only reserved are still to be marked as written, which makes each later sync of a write into
      // them dearer than one that extends the file. Written zeros make it cheaper: 160 us against 208 and 269 for 20 KiB.
      static constexpr std::array<std::uint8_t, std::size_t{64} << 10> kZeros{};
      const std::uint64_t end = offset + length;
      for (std::uint64_t at = std::max(offset, before.size_bytes); at < end; at += kZeros.size()) {
        const auto length = static_cast<std::size_t>(std::min<std::uint64_t>(kZeros.size(), end - at));
        SR_TRY(write_all(at, ByteView(kZeros).first(length)));
        // On their way to the disk while the next are written: a fifth less until all are there. Only a hint.
        static_cast<void>(::sync_file_range(fd_.get(), static_cast<off_t>(at), static_cast<off_t>(length),
                                            SYNC_FILE_RANGE_WRITE));
      }
      zeros_unsynced_ = true;
      tail_.zeros_written(std::max(offset, before.size_bytes), end);
      return {};
    }
    const int error = errno;
    if (error != EOPNOTSUPP && error != ENOSYS) return failure(path_, "allocate", error);
    return {Reason::kUnsupported, path_ + ": allocate: " + std::generic_category().message(error), error};
  }

  Result<FileInfo> info() override { return info_of(fd_, path_); }

 private:
  [[nodiscard]] Status write_all(std::uint64_t offset, ByteView data) {
    std::size_t done = 0;
    while (done < data.size()) {
      const ssize_t put = uninterrupted([&] {
        return ::pwrite(fd_.get(), data.data() + done, data.size() - done, static_cast<off_t>(offset + done));
      });
      if (put < 0) return failure(path_, "write", errno);
      if (put == 0) return failure(path_, "write", EIO);
      done += static_cast<std::size_t>(put);
    }
    return {};
  }

  [[nodiscard]] Status check_range(std::uint64_t offset, std::uint64_t length) const {
    constexpr auto kOffsetMax = static_cast<std::uint64_t>(std::numeric_limits<off_t>::max());
    if (offset <= kOffsetMax && length <= kOffsetMax - offset) return {};
    return {Reason::kInvalidArgument, path_ + ": an offset is beyond the largest file"};
  }

  Fd fd_;
  std::string path_;
  DirectTail tail_;
  bool zeros_unsynced_ = false;
};

class PosixDirectory final : public Directory {
 public:
  PosixDirectory(Fd fd, std::string path, bool foreign)
      : fd_(std::move(fd)), path_(std::move(path)), foreign_(foreign) {}

  Result<std::unique_ptr<File>> open(std::string_view name, OpenMode mode) override {
    SR_TRY(check_name(name));
    if (mode != OpenMode::kRead) SR_TRY(check_writable());
    const int flags = mode == OpenMode::kRead        ? O_RDONLY
                      : mode == OpenMode::kReadWrite ? O_RDWR
                                                     : O_RDWR | O_CREAT | O_EXCL;
    SR_ASSIGN(Fd fd, open_checked(std::string(name), flags));
    return std::unique_ptr<File>(std::make_unique<PosixFile>(std::move(fd), full(name)));
  }

  Result<std::optional<FileInfo>> stat(std::string_view name) override {
    SR_TRY(check_name(name));
    SR_ASSIGN(const std::optional<struct stat> st, look(std::string(name)));
    if (!st) return std::optional<FileInfo>();
    return std::optional<FileInfo>(to_info(*st));
  }

  Status replace(std::string_view from, std::string_view to) override {
    SR_TRY(check_name(from));
    SR_TRY(check_name(to));
    SR_TRY(check_writable());
    const std::string from_name(from);
    const std::string to_name(to);
    SR_ASSIGN(const std::optional<struct stat> source, look(from_name));
    if (!source) return failure(full(from), "rename", ENOENT);
    SR_TRY(look(to_name).status());
    if (uninterrupted([&] { return ::renameat(fd_.get(), from_name.c_str(), fd_.get(), to_name.c_str()); }) !=
        0) {
      return failure(full(from), "rename", errno);
    }
    return {};
  }

  Status remove(std::string_view name) override {
    SR_TRY(check_name(name));
    SR_TRY(check_writable());
    const std::string plain(name);
    SR_ASSIGN(const std::optional<struct stat> st, look(plain));
    if (!st) return {};
    if (uninterrupted([&] { return ::unlinkat(fd_.get(), plain.c_str(), 0); }) != 0 && errno != ENOENT) {
      return failure(full(name), "remove", errno);
    }
    return {};
  }

  Result<std::vector<std::string>> list() override {
    Fd own = another_descriptor();  // the position of a directory belongs to the descriptor
    if (!own.valid()) return failure(path_, "list", errno);
    const std::unique_ptr<DIR, void (*)(DIR*)> stream(::fdopendir(own.get()),
                                                      [](DIR* open_stream) { ::closedir(open_stream); });
    if (!stream) return failure(path_, "list", errno);
    static_cast<void>(own.release());  // the stream closes it

    std::vector<std::string> names;
    for (std::size_t entries = 0;; ++entries) {
      errno = 0;
      const dirent* entry = ::readdir(stream.get());
      if (entry == nullptr) {
        if (errno != 0) return failure(path_, "list", errno);
        break;
      }
      if (entries == limits::kDirectoryEntriesMax + 2) {  // "." and ".." among them
        return unsafe(path_, "has more than " + std::to_string(limits::kDirectoryEntriesMax) + " entries");
      }
      bool plain = entry->d_type == DT_REG;
      if (entry->d_type == DT_UNKNOWN || (entry->d_type == DT_LNK && foreign_)) {
        struct stat st {};
        plain = ::fstatat(fd_.get(), entry->d_name, &st, no_follow(AT_SYMLINK_NOFOLLOW)) == 0 &&
                S_ISREG(st.st_mode);
      }
      if (plain) names.emplace_back(entry->d_name);
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  Status sync() override {
    if (uninterrupted([&] { return ::fsync(fd_.get()); }) != 0) return failure(path_, "fsync", errno);
    return {};
  }

  Result<FileInfo> info() override { return info_of(fd_, path_); }

  Result<FileSystemInfo> file_system() override {
    struct statfs st {};
    if (uninterrupted([&] { return ::fstatfs(fd_.get(), &st); }) != 0) return failure(path_, "statfs", errno);
    FileSystemInfo info{static_cast<std::uint64_t>(st.f_type)};
    // Without blocks it counts nothing, as a FUSE program that leaves the call to its library.
    if (st.f_blocks != 0)
      info.free_bytes = static_cast<std::uint64_t>(st.f_bavail) * static_cast<std::uint64_t>(st.f_bsize);
    return info;
  }

  Result<std::unique_ptr<FileLock>> lock(std::string_view name) override {
    SR_ASSIGN(std::unique_ptr<PosixLock> held, take(name, DirectoryHold()));
    return std::unique_ptr<FileLock>(std::move(held));
  }

  Result<std::unique_ptr<FileLock>> lock_directory(std::string_view name) override {
    SR_TRY(check_name(name));
    SR_TRY(check_writable());
    // First, so that an opener that is refused makes no lock file.
    SR_ASSIGN(DirectoryHold directory, hold(std::string(name)));
    SR_ASSIGN(std::unique_ptr<PosixLock> held, take(name, std::move(directory)));
    return std::unique_ptr<FileLock>(std::move(held));
  }

  // A lock by the file `name` that releases `directory` too.
  [[nodiscard]] Result<std::unique_ptr<PosixLock>> take(std::string_view name, DirectoryHold directory) {
    SR_TRY(check_name(name));
    SR_TRY(check_writable());
    const std::string plain(name);
    for (int attempt = 0; attempt < kRaceAttemptsMax; ++attempt) {
      SR_ASSIGN(Fd fd, open_checked(plain, O_RDWR | O_CREAT));
      if (PosixLock::set(fd.get(), F_WRLCK) != 0) {
        const int error = errno;
        if (error != EAGAIN && error != EACCES) return failure(full(name), "lock", error);
        return Status(Reason::kLocked, full(name) + ": locked by " + PosixLock::owner_text(fd.get()), error);
      }
      // Only a lock on the inode that has the name now excludes those who come later.
      struct stat held {};
      if (::fstat(fd.get(), &held) != 0) return failure(full(name), "stat", errno);
      SR_ASSIGN(const std::optional<struct stat> named, look(plain));
      if (!named || named->st_ino != held.st_ino || named->st_dev != held.st_dev) continue;
      auto lock = std::make_unique<PosixLock>(std::move(fd), std::move(directory));
      lock->write_owner();
      return lock;
    }
    return Status(Reason::kIoError, full(name) + ": lock: the file is replaced again and again");
  }

  const std::string& path() const override { return path_; }

 private:
  [[nodiscard]] std::string full(std::string_view name) const { return path_ + "/" + std::string(name); }

  [[nodiscard]] Fd another_descriptor() const {
    return apart(
        Fd(uninterrupted([&] { return ::openat(fd_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); })));
  }

  [[nodiscard]] Result<DirectoryHold> hold(const std::string& lock_name) const {
    Fd own = another_descriptor();
    if (!own.valid()) return failure(path_, "open", errno);
    struct stat st {};
    if (::fstat(own.get(), &st) != 0) return failure(path_, "stat", errno);
    if ((st.st_mode & kReadableByOthers) != 0) return DirectoryHold();
    int error = 0;
    std::optional<DirectoryHold> held = DirectoryHold::take(std::move(own), &error);
    if (held) return *std::move(held);
    if (error != EWOULDBLOCK) return failure(path_, "lock", error);
    return Status(Reason::kLocked, full(lock_name) + ": locked by " + holder_text(lock_name), error);
  }

  // Who holds the directory's lock, as far as the lock file says so.
  [[nodiscard]] std::string holder_text(const std::string& lock_name) const {
    const Result<Fd> file = open_checked(lock_name, O_RDONLY);
    if (file.ok() && PosixLock::is_taken(file->get())) return PosixLock::owner_text(file->get());
    return "a process whose lock file was removed or replaced";
  }

  [[nodiscard]] Status check_writable() const {
    if (!foreign_) return {};
    return {Reason::kPermissionDenied, path_ + ": opened for reading only"};
  }

  // A file of a directory for reading only may be a link, as in the volume of a Kubernetes ConfigMap or Secret.
  [[nodiscard]] int no_follow(int flag) const { return foreign_ ? 0 : flag; }

  [[nodiscard]] Status check(const struct stat& st, const std::string& name) const {
    return foreign_ ? check_kind(st, full(name)) : check_file(st, full(name));
  }

  // What has the name now, checked; nullopt when nothing has it.
  [[nodiscard]] Result<std::optional<struct stat>> look(const std::string& name) const {
    struct stat st {};
    if (::fstatat(fd_.get(), name.c_str(), &st, no_follow(AT_SYMLINK_NOFOLLOW)) != 0) {
      if (errno == ENOENT) return std::optional<struct stat>();
      return failure(full(name), "stat", errno);
    }
    SR_TRY(check(st, name));
    return std::optional<struct stat>(st);
  }

  // O_NONBLOCK: a FIFO put in the way must not hang the opener; it has no effect on plain files.
  [[nodiscard]] Result<Fd> open_checked(const std::string& name, int flags) const {
    for (int attempt = 0; attempt < kRaceAttemptsMax; ++attempt) {
      Fd fd = apart(Fd(uninterrupted([&] {
        return ::openat(fd_.get(), name.c_str(),
                        flags | no_follow(O_NOFOLLOW) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, kFileMode);
      })));
      if (!fd.valid()) {
        const int error = errno;
        // EEXIST, EISDIR, ENXIO … : say what is in the way rather than what the kernel made of it.
        if (error != ENOENT && error != EACCES) SR_TRY(look(name).status());
        return failure(full(name), "open", error);
      }
      struct stat st {};
      if (::fstat(fd.get(), &st) != 0) return failure(full(name), "stat", errno);
      if (st.st_nlink == 0) continue;  // replaced between open and fstat: take the one that has the name now
      SR_TRY(check(st, name));
      const bool ours = (flags & O_CREAT) != 0 && st.st_uid == ::geteuid();
      if (ours && (st.st_mode & 07777) != kFileMode && ::fchmod(fd.get(), kFileMode) != 0) {
        return failure(full(name), "chmod", errno);  // an unusual umask
      }
      return fd;
    }
    return Status(Reason::kIoError, full(name) + ": open: the file is replaced again and again");
  }

  const Fd fd_;
  const std::string path_;
  const bool foreign_;
};

// Without what would make the kernel look behind a link in the last component: "link/" and "link/." follow
// it.
std::string trimmed(std::string path) {
  for (;;) {
    if (path.size() > 1 && path.back() == '/') {
      path.pop_back();
    } else if (path.size() > 2 && path.ends_with("/.")) {
      path.pop_back();
    } else {
      return path;
    }
  }
}

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// Makes the name of a directory durable. Also done for one that exists: its maker may have died before it got
// here.
Status sync_parent(const std::string& path, int directory) {
  const std::string parent = parent_of(path);
  const Fd fd =
      apart(Fd(uninterrupted([&] { return ::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); })));
  if (!fd.valid()) {
    if (errno != EACCES) return failure(parent, "open", errno);
    // A parent that may be searched but not read: the whole file system instead.
    if (::syncfs(directory) != 0) return failure(path, "syncfs", errno);
    return {};
  }
  if (uninterrupted([&] { return ::fsync(fd.get()); }) != 0) return failure(parent, "fsync", errno);
  return {};
}

class PosixFileSystem final : public FileSystem {
 public:
  explicit PosixFileSystem(std::string shared_memory) : shared_memory_(std::move(shared_memory)) {}

  Result<std::shared_ptr<Directory>> open_directory(const std::string& given, DirectoryMode mode) override {
    SR_ASSIGN(std::shared_ptr<PosixDirectory> directory, open(given, mode));
    return std::shared_ptr<Directory>(std::move(directory));
  }

  Status remove_directory(const std::string& given) override {
    const std::string path = trimmed(given);
    if (uninterrupted([&] { return ::rmdir(path.c_str()); }) != 0) return failure(path, "rmdir", errno);
    return {};
  }

  Result<std::unique_ptr<FileLock>> lock_on_host(std::string_view key) override {
    SR_TRY(check_name(key));
    // A directory for each user, because anyone may make names in shared memory, and lock what they can open.
    const std::string path = shared_memory_ + "/strongroom-" + std::to_string(::geteuid());
    const Result<std::shared_ptr<PosixDirectory>> directory = open(path, DirectoryMode::kCreate);
    if (!directory.ok()) return without_place(directory.status());
    Result<std::unique_ptr<PosixLock>> lock = (*directory)->take(key, DirectoryHold());
    if (!lock.ok()) return without_place(lock.status());
    return std::unique_ptr<FileLock>(
        std::make_unique<HostLock>(*directory, std::string(key), *std::move(lock)));
  }

 private:
  [[nodiscard]] static Result<std::shared_ptr<PosixDirectory>> open(const std::string& given,
                                                                    DirectoryMode mode) {
    if (given.empty() || given.find('\0') != std::string::npos) {
      return Status(Reason::kInvalidArgument, "a directory path is empty or holds a NUL");
    }
    const std::string path = trimmed(given);
    const bool foreign = mode == DirectoryMode::kForeignReadOnly;
    const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | (foreign ? 0 : O_NOFOLLOW);
    const auto open_it = [&] {
      return apart(Fd(uninterrupted([&] { return ::open(path.c_str(), flags); })));
    };

    Fd fd = open_it();
    bool made = false;
    if (!fd.valid() && errno == ENOENT && mode == DirectoryMode::kCreate) {
      made = uninterrupted([&] { return ::mkdir(path.c_str(), kDirectoryMode); }) == 0;
      if (!made && errno != EEXIST) return failure(path, "mkdir", errno);
      fd = open_it();
    }
    if (!fd.valid()) {
      const int error = errno;
      // The kernel answers ENOTDIR for a link, for a file, and for a file further up the path.
      if (error == ENOTDIR) return symbolic_link(path, error);
      return failure(path, "open", error);
    }
    if (!foreign) {
      struct stat st {};
      if (::fstat(fd.get(), &st) != 0) return failure(path, "stat", errno);
      if (made && st.st_uid == ::geteuid() && (st.st_mode & 0777) != kDirectoryMode) {
        if (::fchmod(fd.get(), kDirectoryMode) != 0)
          return failure(path, "chmod", errno);  // an unusual umask
        if (::fstat(fd.get(), &st) != 0) return failure(path, "stat", errno);
      }
      SR_TRY(check_directory(st, path));
    }
    if (mode == DirectoryMode::kCreate) SR_TRY(sync_parent(path, fd.get()));
    return std::make_shared<PosixDirectory>(std::move(fd), path, foreign);
  }

  // A store must open where shared memory is missing, or where another user was first to take our place in it.
  static Result<std::unique_ptr<FileLock>> without_place(const Status& status) {
    for (const Reason reason :
         {Reason::kNotFound, Reason::kPermissionDenied, Reason::kUnsafePath, Reason::kNoSpace}) {
      if (status.is(reason)) return std::unique_ptr<FileLock>();
    }
    return status;
  }

  const std::string shared_memory_;
};

}  // namespace

FileSystem& posix_files() {
  static auto* const files = new PosixFileSystem(kSharedMemory);  // outlives whatever may still hold a store
  return *files;
}

std::unique_ptr<FileSystem> posix_files_with_shared_memory(std::string path) {
  return std::make_unique<PosixFileSystem>(std::move(path));
}

}  // namespace strongroom::os
