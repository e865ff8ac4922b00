// The failure of a call on a file: its reason, and what the text of an errno does not say.
#pragma once

#include <cerrno>
#include <string>
#include <system_error>

#include "base/status.h"
#include "os/errno_reason.h"

namespace strongroom::os {

[[nodiscard]] inline const char* hint_of(int error) {
  switch (error) {
    case EMFILE:
      return "; raise this process's limit of open files (ulimit -n), or close some";
    case ENFILE:
      return "; raise the machine's limit of open files (fs.file-max)";
    case EROFS:
      return "; mount the file system for writing, or open the store for reading only";
    case EFBIG:
      return "; raise this process's limit of file sizes (ulimit -f)";
    default:
      return "";
  }
}

[[nodiscard]] inline Status failure(const std::string& path, const char* operation, int error) {
  return {reason_of_errno(error),
          path + ": " + operation + ": " + std::generic_category().message(error) + hint_of(error), error};
}

}  // namespace strongroom::os
