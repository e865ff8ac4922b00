// What is said where std::thread throws std::system_error: no exception may leave the core.
#pragma once

namespace strongroom {

inline constexpr const char* kThreadRefused =
    "the operating system refused a thread (pids.max of the cgroup, or RLIMIT_NPROC)";

}  // namespace strongroom
