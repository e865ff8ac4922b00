// Work on libuv's pool, as a promise: one worker for every long call, carrying closures.
#pragma once

#include <node_api.h>

#include <functional>

#include "base/status.h"

namespace strongroom::addon {

struct Task {
  std::function<Status()> work;               // on a pool thread
  std::function<napi_value(napi_env)> value;  // on the JavaScript thread after success; empty: undefined
  std::function<void(napi_env)> settled;      // on the JavaScript thread, always, before the promise settles
};

// Returns the promise. `owner` stays alive until the task is done. Each of the task's functions runs once,
// `settled` also when the environment is being torn down; then nothing else does on the JavaScript thread.
[[nodiscard]] napi_value start_task(napi_env env, napi_value owner, const char* name, Task task);

}  // namespace strongroom::addon
