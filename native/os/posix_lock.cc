#include "os/posix_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>

#include "os/lock_owner.h"

namespace strongroom::os {
namespace {

constexpr std::size_t kOwnerBytesMax = 256;

struct flock whole_file(short type) {
  struct flock range {};
  range.l_type = type;
  range.l_whence = SEEK_SET;  // l_start and l_len of 0: the whole file, however long
  return range;
}

// No flock(), or none for directories. NFS emulates it by a lock for writing, and answers EBADF.
bool is_unsupported(int error) {
  return error == ENOLCK || error == EOPNOTSUPP || error == ENOSYS || error == EINVAL || error == EBADF;
}

}  // namespace

std::optional<DirectoryHold> DirectoryHold::take(Fd directory, int* error) {
  if (uninterrupted([&] { return ::flock(directory.get(), LOCK_EX | LOCK_NB); }) == 0)
    return DirectoryHold(std::move(directory));
  *error = errno;
  return is_unsupported(*error) ? std::optional<DirectoryHold>(DirectoryHold()) : std::nullopt;
}

DirectoryHold::~DirectoryHold() {
  if (fd_.valid() && ::getpid() == owner_)
    static_cast<void>(uninterrupted([&] { return ::flock(fd_.get(), LOCK_UN); }));
}

PosixLock::~PosixLock() {
  if (::getpid() != owner_) return;
  static_cast<void>(uninterrupted([&] { return ::ftruncate(fd_.get(), 0); }));
  static_cast<void>(set(fd_.get(), F_UNLCK));
}

int PosixLock::set(int fd, short type) {
  struct flock range = whole_file(type);
  return uninterrupted([&] { return ::fcntl(fd, F_OFD_SETLK, &range); });
}

bool PosixLock::is_taken(int fd) {
  struct flock range = whole_file(F_WRLCK);
  return ::fcntl(fd, F_OFD_GETLK, &range) == 0 && range.l_type != F_UNLCK;
}

std::string PosixLock::owner_text(int fd) {
  char text[kOwnerBytesMax];
  const ssize_t got = uninterrupted([&] { return ::pread(fd, text, sizeof text, 0); });
  return lock_owner_text({text, got > 0 ? static_cast<std::size_t>(got) : 0});
}

void PosixLock::write_owner() {
  const std::string text = lock_owner_content();
  static_cast<void>(uninterrupted([&] { return ::ftruncate(fd_.get(), 0); }));
  static_cast<void>(uninterrupted([&] { return ::pwrite(fd_.get(), text.data(), text.size(), 0); }));
}

bool PosixLock::owns_name() const {
  struct stat st {};
  return ::getpid() == owner_ && ::fstat(fd_.get(), &st) == 0 && st.st_nlink > 0;
}

// While the lock is still held.
HostLock::~HostLock() {
  if (lock_->owns_name()) directory_->remove(name_).ignore("an empty file stays until the machine restarts");
}

}  // namespace strongroom::os
