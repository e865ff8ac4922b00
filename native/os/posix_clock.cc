// The clocks of the real operating system.
#include <fcntl.h>
#include <sys/timex.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <ctime>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "os/descriptor.h"
#include "os/posix.h"

namespace strongroom::os {
namespace {

std::int64_t milliseconds(clockid_t clock) {
  struct timespec now {};
  ::clock_gettime(clock, &now);  // cannot fail: both clocks exist on every kernel that has OFD locks
  return static_cast<std::int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1'000'000;
}

// 36 characters of a UUID; zeros when the kernel does not show it, as in some sandboxes.
BootId read_boot_id() {
  BootId id{};
  const Fd fd(uninterrupted([] { return ::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC); }));
  if (!fd.valid()) return id;
  char raw[64];
  const ssize_t got = uninterrupted([&] { return ::read(fd.get(), raw, sizeof raw); });
  if (got <= 0) return id;
  std::string text(raw, static_cast<std::size_t>(got));
  std::erase_if(text, [](char c) { return c == '-' || c == '\n'; });
  const std::optional<Bytes> bytes = from_hex(text);
  if (bytes && bytes->size() == id.size()) std::copy(bytes->begin(), bytes->end(), id.begin());
  return id;
}

class PosixClock final : public Clock {
 public:
  std::int64_t wall_ms() override { return milliseconds(CLOCK_REALTIME); }
  std::uint64_t boot_ms() override { return static_cast<std::uint64_t>(milliseconds(CLOCK_BOOTTIME)); }
  const BootId& boot_id() override { return boot_id_; }
  // Where the call is not permitted nothing is known, and nothing is said.
  bool unsynchronised() override {
    struct timex state {};
    return ::adjtimex(&state) >= 0 && (state.status & STA_UNSYNC) != 0;
  }

 private:
  const BootId boot_id_ = read_boot_id();
};

}  // namespace

Clock& posix_clock() {
  static auto* const clock = new PosixClock;
  return *clock;
}

}  // namespace strongroom::os
