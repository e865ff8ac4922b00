// An owned file descriptor, and calls that a signal does not end.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace strongroom::os {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { reset(); }

  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool valid() const { return fd_ >= 0; }
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }

 private:
  // Everything that matters was synced before; Linux frees the descriptor whatever close() answers.
  void reset() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

  int fd_ = -1;
};

// Numbers below are left to the rest of the process. Some code closes a descriptor twice, such as a PKCS#11 module at each
// C_Finalize, and the second time closes whatever has the number by then.
inline constexpr int kDescriptorMin = 512;

// The same descriptor with a number of at least kDescriptorMin, or as it is where the limit of the process is lower. Only for
// one that holds no lock yet.
[[nodiscard]] inline Fd apart(Fd fd) {
  if (!fd.valid() || fd.get() >= kDescriptorMin) return fd;
  Fd moved(::fcntl(fd.get(), F_DUPFD_CLOEXEC, kDescriptorMin));
  return moved.valid() ? std::move(moved) : std::move(fd);
}

template <typename Call>
auto uninterrupted(Call call) {
  decltype(call()) result;
  do {
    result = call();
  } while (result == -1 && errno == EINTR);
  return result;
}

}  // namespace strongroom::os
