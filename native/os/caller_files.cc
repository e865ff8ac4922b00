// Files and descriptors that the caller names, such as the file of a secret.
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "base/secret_memory.h"
#include "os/descriptor.h"
#include "os/posix.h"
#include "os/posix_error.h"
#include "os/shell_word.h"

namespace strongroom::os {

namespace {

Status unsafe_file(const std::string& path, const std::string& why) {
  return {Reason::kUnsafePath, path + ": " + why};
}

// A named pipe waits for whoever writes to it, which may be no one. The pipe of a shell's <(...) has its writer.
bool is_anonymous_pipe(int descriptor) {
  struct statfs system {};
  return ::fstatfs(descriptor, &system) == 0 &&
         static_cast<std::uint64_t>(system.f_type) == static_cast<std::uint64_t>(PIPEFS_MAGIC);
}

Status check_content(int descriptor, const std::string& path) {
  struct stat st {};
  if (::fstat(descriptor, &st) != 0) return failure(path, "stat", errno);
  if (S_ISDIR(st.st_mode)) return unsafe_file(path, "is a directory");
  if (S_ISREG(st.st_mode)) {
    if ((st.st_mode & S_IWOTH) == 0) return {};
    return unsafe_file(path,
                       "can be written by every user; take that from them: chmod o-w " + shell_word(path));
  }
  if (S_ISFIFO(st.st_mode) && is_anonymous_pipe(descriptor)) return {};
  return unsafe_file(path,
                     "is a device, a socket or a named pipe; open it and give the number of the descriptor");
}

Result<Bytes> read_to_end(int descriptor, const std::string& name, std::size_t bytes_max) {
  // One byte more than may be, so that too many are noticed; never grown, so that no copy is left behind unwiped.
  Bytes bytes(bytes_max + 1);
  std::size_t used = 0;
  const auto fail = [&bytes](Status status) {
    wipe(bytes);
    return status;
  };
  for (;;) {
    const ssize_t got =
        uninterrupted([&] { return ::read(descriptor, bytes.data() + used, bytes.size() - used); });
    if (got == 0) break;
    if (got > 0) {
      used += static_cast<std::size_t>(got);
      if (used > bytes_max) {
        return fail({Reason::kValueTooLarge, name + ": more than " + std::to_string(bytes_max) + " bytes"});
      }
    } else if (errno == EAGAIN) {
      pollfd wanted{descriptor, POLLIN, 0};
      if (uninterrupted([&] { return ::poll(&wanted, 1, -1); }) < 0)
        return fail(failure(name, "poll", errno));
    } else if (errno == EBADF) {
      return fail({Reason::kNotFound, name + " is not open for reading", EBADF});
    } else {
      return fail(failure(name, "read", errno));
    }
  }
  bytes.resize(used);
  return bytes;
}

}  // namespace

Result<Bytes> read_descriptor(int descriptor, std::size_t bytes_max) {
  const std::string name =
      descriptor == STDIN_FILENO ? "standard input" : "descriptor " + std::to_string(descriptor);
  return read_to_end(descriptor, name, bytes_max);
}

Result<Bytes> read_named_file(const std::string& path, std::size_t bytes_max) {
  if (path.empty() || path.find('\0') != std::string::npos) {
    return Status(Reason::kInvalidArgument, "the path of a file is empty or holds a NUL");
  }
  // O_NONBLOCK: a named pipe must not hang the opener.
  const Fd fd = apart(
      Fd(uninterrupted([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); })));
  if (!fd.valid()) {
    const int error = errno;
    // What cannot be opened by a path, such as a socket.
    if (error == ENXIO || error == ENODEV) {
      return unsafe_file(path,
                         "is a device, a socket or a named pipe; give the number of an open descriptor");
    }
    if (error == ENOTDIR) return Status(Reason::kNotFound, path + ": open: not a directory", error);
    return failure(path, "open", error);
  }
  SR_TRY(check_content(fd.get(), path));
  return read_to_end(fd.get(), path, bytes_max);
}

}  // namespace strongroom::os
