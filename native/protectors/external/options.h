// Options of a key protector whose root key is wrapped by a key service of the application
#pragma once

#include <chrono>

#include "base/byte_call.h"

namespace strongroom::store {

inline constexpr std::chrono::milliseconds kKeyServiceTimeLimit{10'000};

// Both functions are needed at every start.
struct ExternalOptions {
  ByteCall wrap;
  ByteCall unwrap;
  std::chrono::milliseconds limit = kKeyServiceTimeLimit;  // for each call
};

}  // namespace strongroom::store
