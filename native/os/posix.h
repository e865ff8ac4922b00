// The real operating system: openat() relative to a held directory descriptor, O_NOFOLLOW, O_CLOEXEC.
#pragma once

#include "os/os.h"

namespace strongroom::os {

// Process-wide, never destroyed before exit.
[[nodiscard]] FileSystem& posix_files();
[[nodiscard]] Clock& posix_clock();

// Reads to its end a descriptor that whoever started this process opened for it: a pipe, a file, a terminal. Waits for
// the writer, and closes nothing. kValueTooLarge beyond `bytes_max`; kNotFound for a descriptor that is not open.
[[nodiscard]] Result<Bytes> read_descriptor(int descriptor, std::size_t bytes_max);

}  // namespace strongroom::os
