// Work on libuv's pool, or on a thread of its own, as a promise: one worker for every long call, carrying closures.
#pragma once

#include <node_api.h>

#include <functional>
#include <memory>

#include "base/cancellation.h"
#include "base/status.h"

namespace strongroom::addon {

struct Task {
  enum class Place : std::uint8_t {
    kPool,
    kOwnThread,  // for work that waits for JavaScript, which may need the pool to answer
  };

  std::function<Status()> work;                // not on the JavaScript thread
  std::function<napi_value(napi_env)> value;   // on the JavaScript thread after success; empty: undefined
  std::function<void(napi_env)> settled;       // on the JavaScript thread, always, before the promise settles
  std::shared_ptr<Cancellation> cancellation;  // null: the work cannot be cancelled
  Place place = Place::kPool;
};

// Returns the promise. `owner` stays alive until the task is done. Each of the task's functions runs once,
// `settled` also when the environment is being torn down; then nothing else does on the JavaScript thread.
[[nodiscard]] napi_value start_task(napi_env env, napi_value owner, const char* name, Task task);

// Adds cancelTasks() to `exports`: cancels every task of this environment that can be cancelled. For process.exit(), which
// waits for the pool.
void define_tasks(napi_env env, napi_value exports);

}  // namespace strongroom::addon
