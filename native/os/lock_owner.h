// The owner of a lock, as its lock file and its messages name it.
#pragma once

#include <string>
#include <string_view>

namespace strongroom::os {

// What this process writes into a lock file: lines with its PID, the host name, and the boot and the PID namespace that the
// number belongs to.
[[nodiscard]] std::string lock_owner_content();

// "process 42 on host web-1", and what the number alone hides: that it is this process, or one of another PID namespace or
// machine. "another process" where `content` names none, as in a file that is being written.
[[nodiscard]] std::string lock_owner_text(std::string_view content);

}  // namespace strongroom::os
