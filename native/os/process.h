// Which process this is: threads and the state of loaded libraries do not survive fork().
#pragma once

#include <unistd.h>

namespace strongroom::os {

[[nodiscard]] inline pid_t process_id() { return ::getpid(); }

}  // namespace strongroom::os
