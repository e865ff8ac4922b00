#include "addon/task.h"

#include <algorithm>
#include <vector>

#include "addon/border.h"

namespace strongroom::addon {
namespace {

struct Running {
  Task task;
  Status status;
  napi_deferred deferred = nullptr;
  napi_ref owner = nullptr;
  napi_async_work work = nullptr;
};

// Those of the tasks that were started on this thread and are not complete.
thread_local std::vector<std::shared_ptr<Cancellation>> cancellations;

void execute(napi_env /*env*/, void* data) {
  auto* running = static_cast<Running*>(data);
  const CancellationScope scope(running->task.cancellation.get());
  running->status = check_cancelled();  // while it waited for a thread
  if (running->status.ok()) running->status = running->task.work();
  // A wait that was cut short ends as an outage does.
  if (!running->status.ok() && cancelled() && error_info(running->status.error().reason).retryable)
    running->status = check_cancelled();
  running->task.work = nullptr;  // what it captured, secrets among them, goes now
}

void complete(napi_env env, napi_status /*status*/, void* data) {
  const std::unique_ptr<Running> running(static_cast<Running*>(data));
  std::erase(cancellations, running->task.cancellation);
  if (running->task.settled) running->task.settled(env);
  if (running->status.ok()) {
    napi_value value = running->task.value ? running->task.value(env) : undefined(env);
    napi_resolve_deferred(env, running->deferred, value != nullptr ? value : undefined(env));
  } else {
    napi_reject_deferred(env, running->deferred, describe(env, running->status.error()));
  }
  if (running->owner != nullptr) napi_delete_reference(env, running->owner);
  napi_delete_async_work(env, running->work);
}

napi_value cancel_tasks(napi_env /*env*/, napi_callback_info /*info*/) {
  for (const std::shared_ptr<Cancellation>& cancellation : cancellations) cancellation->request();
  return nullptr;
}

}  // namespace

napi_value start_task(napi_env env, napi_value owner, const char* name, Task task) {
  auto running = std::make_unique<Running>();
  running->task = std::move(task);
  napi_value promise = nullptr;
  if (napi_create_promise(env, &running->deferred, &promise) != napi_ok) return nullptr;
  if (owner != nullptr) napi_create_reference(env, owner, 1, &running->owner);
  if (napi_create_async_work(env, nullptr, text_value(env, name), execute, complete, running.get(),
                             &running->work) != napi_ok ||
      napi_queue_async_work(env, running->work) != napi_ok) {
    if (running->task.settled) running->task.settled(env);
    napi_reject_deferred(env, running->deferred,
                         describe(env, Error{Reason::kInternal, "Node refused the work", 0, false}));
    if (running->owner != nullptr) napi_delete_reference(env, running->owner);
    return promise;
  }
  if (running->task.cancellation != nullptr) cancellations.push_back(running->task.cancellation);
  running.release();  // complete() owns it
  return promise;
}

void define_tasks(napi_env env, napi_value exports) {
  napi_value function = nullptr;
  napi_create_function(env, "cancelTasks", NAPI_AUTO_LENGTH, cancel_tasks, nullptr, &function);
  napi_set_named_property(env, exports, "cancelTasks", function);
}

}  // namespace strongroom::addon
