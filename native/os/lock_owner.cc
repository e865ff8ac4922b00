#include "os/lock_owner.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <system_error>

#include "base/bytes.h"
#include "os/descriptor.h"
#include "os/os.h"
#include "os/posix.h"

namespace strongroom::os {
namespace {

constexpr std::size_t kHostNameMax = 64;  // HOST_NAME_MAX of Linux
constexpr std::string_view kUnknown = "-";

// A number is a process only within a PID namespace of one boot.
struct Space {
  std::string boot;
  std::string pid_namespace;

  [[nodiscard]] bool is_known() const { return boot != kUnknown && pid_namespace != kUnknown; }
  bool operator==(const Space&) const = default;
};

Space own_space() {
  const BootId& boot = posix_clock().boot_id();
  const bool has_boot = std::ranges::any_of(boot, [](std::uint8_t byte) { return byte != 0; });
  struct stat st {};
  const bool has_namespace = ::stat("/proc/self/ns/pid", &st) == 0;
  return {has_boot ? to_hex(boot) : std::string(kUnknown),
          has_namespace ? std::to_string(st.st_ino) : std::string(kUnknown)};
}

// A lock file may hold anything, and what is said of it reaches terminals and logs.
std::string plain(std::string_view name) {
  const bool is_plain = std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_';
  });
  return is_plain && !name.empty() && name.size() <= kHostNameMax ? std::string(name) : std::string(kUnknown);
}

std::string own_host() {
  struct utsname names {};
  return ::uname(&names) == 0 ? plain(names.nodename) : std::string(kUnknown);
}

// The next whole line: a write that was cut short ends within one.
std::optional<std::string_view> take_line(std::string_view& rest) {
  const std::size_t end = rest.find('\n');
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view line = rest.substr(0, end);
  rest.remove_prefix(end + 1);
  return line;
}

std::optional<pid_t> parse_pid(std::string_view line) {
  pid_t pid = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), pid);
  if (error != std::errc() || end != line.data() + line.size() || pid <= 0) return std::nullopt;
  return pid;
}

}  // namespace

std::string lock_owner_content() {
  const Space space = own_space();
  return std::to_string(::getpid()) + "\n" + own_host() + "\n" + space.boot + "\n" + space.pid_namespace +
         "\n";
}

std::string lock_owner_text(std::string_view content) {
  const std::optional<std::string_view> number = take_line(content);
  const std::optional<pid_t> pid = number ? parse_pid(*number) : std::nullopt;
  if (!pid) return "another process";
  std::string process = "process " + std::to_string(*pid);
  const std::optional<std::string_view> host = take_line(content);
  const std::optional<std::string_view> boot = take_line(content);
  const std::optional<std::string_view> pid_namespace = take_line(content);
  if (!pid_namespace) return process;
  std::string text = *host == kUnknown ? process : process + " on host " + plain(*host);
  const Space theirs{std::string(*boot), std::string(*pid_namespace)};
  const Space ours = own_space();
  if (!theirs.is_known() || !ours.is_known()) return text;
  if (theirs.boot != ours.boot) return text + ", another machine";
  if (theirs != ours) return text + ", in another PID namespace (another container)";
  return *pid == ::getpid() ? text + ": this process has it open" : text;
}

}  // namespace strongroom::os
