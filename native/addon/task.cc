#include "addon/task.h"

#include <memory>

#include "addon/value.h"

namespace strongroom::addon {
namespace {

struct Running {
  Task task;
  Status status;
  napi_deferred deferred = nullptr;
  napi_ref owner = nullptr;
  napi_async_work work = nullptr;
};

void execute(napi_env /*env*/, void* data) {
  auto* running = static_cast<Running*>(data);
  running->status = running->task.work();
  running->task.work = nullptr;  // what it captured, secrets among them, goes now
}

void complete(napi_env env, napi_status /*status*/, void* data) {
  const std::unique_ptr<Running> running(static_cast<Running*>(data));
  if (running->task.settled) running->task.settled(env);
  if (running->status.ok()) {
    napi_value value = running->task.value ? running->task.value(env) : undefined(env);
    napi_resolve_deferred(env, running->deferred, value != nullptr ? value : undefined(env));
  } else {
    napi_reject_deferred(env, running->deferred, error_value(env, running->status.error()));
  }
  if (running->owner != nullptr) napi_delete_reference(env, running->owner);
  napi_delete_async_work(env, running->work);
}

}  // namespace

napi_value start_task(napi_env env, napi_value owner, const char* name, Task task) {
  auto running = std::make_unique<Running>();
  running->task = std::move(task);
  napi_value promise = nullptr;
  if (napi_create_promise(env, &running->deferred, &promise) != napi_ok) return nullptr;
  if (owner != nullptr) napi_create_reference(env, owner, 1, &running->owner);
  if (napi_create_async_work(env, nullptr, to_value(env, std::string_view(name)), execute, complete,
                             running.get(), &running->work) != napi_ok ||
      napi_queue_async_work(env, running->work) != napi_ok) {
    if (running->task.settled) running->task.settled(env);
    napi_reject_deferred(env, running->deferred,
                         error_value(env, Error{Reason::kInternal, "Node refused the work", 0, false}));
    if (running->owner != nullptr) napi_delete_reference(env, running->owner);
    return promise;
  }
  running.release();  // complete() owns it
  return promise;
}

}  // namespace strongroom::addon
