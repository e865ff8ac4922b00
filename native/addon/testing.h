// What only the build for tests exports.
#pragma once

#ifdef STRONGROOM_TESTING

#include <node_api.h>

#include <memory>

#include "addon/record.h"
#include "os/os.h"

namespace strongroom::addon::testing {

// Sets createManualClock as a property of `exports`.
void define_testing(napi_env env, napi_value exports);

// The clock behind an object that createManualClock() made. kInvalidOption for anything else.
[[nodiscard]] Status read_clock(const Record& given, const char* name, std::shared_ptr<os::Clock>* out);

void kill_this_process();  // as `kill -9` does

}  // namespace strongroom::addon::testing

#endif  // STRONGROOM_TESTING
