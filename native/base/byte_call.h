// A function of the application that the core asks for bytes
#pragma once

#include <chrono>
#include <functional>

#include "base/secret_memory.h"
#include "base/status.h"

namespace strongroom {

// Runs elsewhere while the caller's thread waits, at most for `limit`. A failure has the reason that the function gave,
// kAborted where the task of the caller was cancelled, and kIoError for everything else.
using ByteCall =
    std::function<Result<SecretBytes>(ByteView input, ByteView context, std::chrono::milliseconds limit)>;

}  // namespace strongroom
