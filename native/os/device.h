// Why a device file cannot be used, after a library that opened it has only said that it could not.
#pragma once

#include <string>

namespace strongroom::os {

// Opens the device as the library did, and closes it again: why that fails (absent, not permitted, with owner, group and mode,
// or in use), or nothing when it succeeds.
[[nodiscard]] std::string why_not_opened(const std::string& path);

// What why_not_opened() says of an errno of open().
[[nodiscard]] std::string describe_open_error(const std::string& path, int error);

}  // namespace strongroom::os
