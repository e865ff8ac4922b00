// The real operating system: openat() relative to a held directory descriptor, O_NOFOLLOW, O_CLOEXEC.
#pragma once

#include "os/os.h"

namespace strongroom::os {

// Process-wide, never destroyed before exit.
[[nodiscard]] FileSystem& posix_files();
[[nodiscard]] Clock& posix_clock();
// The same file system, with the locks of lock_on_host() below another directory than /dev/shm.
[[nodiscard]] std::unique_ptr<FileSystem> posix_files_with_shared_memory(std::string path);

// Reads to its end a descriptor that whoever started this process opened for it: a pipe, a file, a terminal. Waits for
// the writer, and closes nothing. kValueTooLarge beyond `bytes_max`; kNotFound for a descriptor that is not open.
[[nodiscard]] Result<Bytes> read_descriptor(int descriptor, std::size_t bytes_max);

// Reads a whole file that the caller names. Links are followed, also in the last component, and what they lead to is
// checked: a plain file that not every user can write, or the pipe of a shell's <(...). kUnsafePath otherwise.
[[nodiscard]] Result<Bytes> read_named_file(const std::string& path, std::size_t bytes_max);

struct PlaceRelation {
  bool overlap = false;  // one is the other, or lies in it
  bool same_file_system = false;
};

// How two directories lie to each other, which need not exist. Links are followed. Directories are told apart by device and
// inode, from each of them up to the root, so that another name and a bind mount of the outer one are seen too.
[[nodiscard]] Result<PlaceRelation> relate(const std::string& one, const std::string& other);

}  // namespace strongroom::os
