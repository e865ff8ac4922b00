// The real operating system: openat() relative to a held directory descriptor, O_NOFOLLOW, O_CLOEXEC.
#pragma once

#include "os/os.h"

namespace strongroom::os {

// Process-wide, never destroyed before exit.
[[nodiscard]] FileSystem& posix_files();
[[nodiscard]] Clock& posix_clock();

}  // namespace strongroom::os
