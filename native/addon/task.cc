#include "addon/task.h"

#include <algorithm>
#include <system_error>
#include <thread>
#include <vector>

#include "addon/border.h"
#include "addon/byte_calls.h"
#include "base/thread_refused.h"

namespace strongroom::addon {
namespace {

struct Running {
  Task task;
  Status status;
  napi_deferred deferred = nullptr;
  napi_ref owner = nullptr;
  napi_async_work work = nullptr;
  // Of a task with a thread of its own.
  napi_env env = nullptr;
  napi_threadsafe_function done = nullptr;
  std::thread thread;
};

// Those of the tasks that were started on this thread and are not complete.
thread_local std::vector<std::shared_ptr<Cancellation>> cancellations;

Error no_thread() { return {Reason::kInternal, kThreadRefused, 0, false}; }

// The core starts threads of its own, and no exception may leave a callback of Node.
Status work_of(const Task& task) {
  try {
    return task.work();
  } catch (const std::system_error&) {
    return no_thread();
  }
}

void execute(napi_env /*env*/, void* data) {
  auto* running = static_cast<Running*>(data);
  const CancellationScope scope(running->task.cancellation.get());
  running->status = check_cancelled();  // while it waited for a thread
  if (running->status.ok()) running->status = work_of(running->task);
  // A wait that was cut short ends as an outage does.
  if (!running->status.ok() && cancelled() && error_info(running->status.error().reason).retryable)
    running->status = check_cancelled();
  running->task.work = nullptr;  // what it captured, secrets among them, goes now
}

void finish(napi_env env, Running* running) {
  std::erase(cancellations, running->task.cancellation);
  if (running->task.settled) running->task.settled(env);
  if (running->status.ok()) {
    napi_value value = running->task.value ? running->task.value(env) : undefined(env);
    napi_resolve_deferred(env, running->deferred, value != nullptr ? value : undefined(env));
  } else {
    napi_reject_deferred(env, running->deferred, describe(env, running->status.error()));
  }
  if (running->owner != nullptr) napi_delete_reference(env, running->owner);
}

void complete(napi_env env, napi_status /*status*/, void* data) {
  const std::unique_ptr<Running> running(static_cast<Running*>(data));
  finish(env, running.get());
  napi_delete_async_work(env, running->work);
}

// --- On a thread of its own ---

// The environment ends. It waits for no thread, so this does; and what the thread waits for would never come.
void end_thread(void* data) {
  const std::unique_ptr<Running> running(static_cast<Running*>(data));
  if (running->task.cancellation != nullptr) running->task.cancellation->request();
  end_byte_calls();
  running->thread.join();
  std::erase(cancellations, running->task.cancellation);
  if (running->task.settled) running->task.settled(running->env);
}

void complete_thread(napi_env env, napi_value /*callback*/, void* context, void* /*data*/) {
  if (env == nullptr) return;  // end_thread() was here
  const std::unique_ptr<Running> running(static_cast<Running*>(context));
  running->thread.join();
  napi_remove_env_cleanup_hook(env, end_thread, running.get());
  napi_release_threadsafe_function(running->done, napi_tsfn_release);
  finish(env, running.get());
}

Status refused_by_node() { return {Reason::kInternal, "Node refused the work"}; }

Status start_thread(napi_env env, const char* name, Running* running) {
  running->env = env;
  if (napi_create_threadsafe_function(env, nullptr, nullptr, text_value(env, name), 0, 1, nullptr, nullptr,
                                      running, complete_thread, &running->done) != napi_ok) {
    return refused_by_node();
  }
  // After the thread-safe function, so that it runs before that one's own.
  if (napi_add_env_cleanup_hook(env, end_thread, running) != napi_ok) {
    napi_release_threadsafe_function(running->done, napi_tsfn_release);
    return refused_by_node();
  }
  try {
    running->thread = std::thread([running] {
      execute(nullptr, running);
      napi_call_threadsafe_function(running->done, nullptr, napi_tsfn_nonblocking);
    });
  } catch (const std::system_error&) {
    napi_remove_env_cleanup_hook(env, end_thread, running);
    napi_release_threadsafe_function(running->done, napi_tsfn_release);
    return no_thread();
  }
  return {};
}

Status start_on_pool(napi_env env, const char* name, Running* running) {
  const bool is_queued = napi_create_async_work(env, nullptr, text_value(env, name), execute, complete,
                                                running, &running->work) == napi_ok &&
                         napi_queue_async_work(env, running->work) == napi_ok;
  return is_queued ? Status() : refused_by_node();
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
  const bool is_on_pool = running->task.place == Task::Place::kPool;
  if (running->task.cancellation != nullptr) cancellations.push_back(running->task.cancellation);
  const Status started = (is_on_pool ? start_on_pool : start_thread)(env, name, running.get());
  if (!started.ok()) {
    std::erase(cancellations, running->task.cancellation);
    if (running->task.settled) running->task.settled(env);
    napi_reject_deferred(env, running->deferred, describe(env, started.error()));
    if (running->owner != nullptr) napi_delete_reference(env, running->owner);
    return promise;
  }
  running.release();  // what completes it owns it
  return promise;
}

void define_tasks(napi_env env, napi_value exports) {
  napi_value function = nullptr;
  napi_create_function(env, "cancelTasks", NAPI_AUTO_LENGTH, cancel_tasks, nullptr, &function);
  napi_set_named_property(env, exports, "cancelTasks", function);
}

}  // namespace strongroom::addon
