#include "os/device.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <system_error>

#include "os/descriptor.h"

namespace strongroom::os {
namespace {

constexpr mode_t kPermissions = 07777;

std::string user_name(uid_t id) {
  struct passwd entry {};
  struct passwd* found = nullptr;
  std::array<char, 4096> text;
  const bool known = getpwuid_r(id, &entry, text.data(), text.size(), &found) == 0 && found != nullptr;
  return known ? entry.pw_name : std::to_string(id);
}

std::string group_name(gid_t id) {
  struct group entry {};
  struct group* found = nullptr;
  std::array<char, 4096> text;
  const bool known = getgrgid_r(id, &entry, text.data(), text.size(), &found) == 0 && found != nullptr;
  return known ? entry.gr_name : std::to_string(id);
}

std::string access_of(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return "; a directory above it may not be searched";
  std::array<char, 8> mode;
  (void)std::snprintf(mode.data(), mode.size(), "%04o", static_cast<unsigned>(info.st_mode & kPermissions));
  const std::string group = group_name(info.st_gid);
  std::string text =
      ": it belongs to " + user_name(info.st_uid) + ":" + group + " and has mode " + mode.data();
  const mode_t of_group = S_IRGRP | S_IWGRP;
  if ((info.st_mode & of_group) == of_group && info.st_gid != 0)
    text += "; add the user to the group " + group;
  return text;
}

}  // namespace

std::string describe_open_error(const std::string& path, int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
    case ENXIO:
    case ENODEV:
      return "there is no " + path;
    case EACCES:
    case EPERM:
      return path + " may not be opened by this user" + access_of(path);
    case EBUSY:
      return path + " is in use by another program";
    default:
      return path + ": open: " + std::generic_category().message(error);
  }
}

std::string why_not_opened(const std::string& path) {
  const Fd device(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  return device.valid() ? "" : describe_open_error(path, errno);
}

}  // namespace strongroom::os
