#include "addon/store.h"

#include <algorithm>

#include "addon/own_functions.h"
#include "addon/store_fields.h"
#include "addon/store_parts.h"
#include "os/posix.h"
#ifdef STRONGROOM_TESTING
#include "addon/testing.h"
#endif

namespace strongroom::addon {
namespace {

// The stores whose objects live on this thread: what another object wraps is none of them. Every call looks here, and
// a type tag takes several times as long.
thread_local std::vector<const void*> wrapped_stores;

std::size_t step_number(std::string_view step) {
  return static_cast<std::size_t>(std::ranges::find(kOperationSteps, step) - kOperationSteps.begin());
}

}  // namespace

// --- Life ---

Store::~Store() {
  std::erase(wrapped_stores, this);
  disconnect();
  engine_.reset();
}

void Store::disconnect() {
  deliveries_.disconnect();
  if (hooked_) napi_remove_env_cleanup_hook(env_, tear_down, this);
  hooked_ = false;
  slab_ = {};
}

void Store::forget_secrets() {
  start_.reset();
  cipher_.reset();
  sealer_.reset();
}

void Store::tear_down(void* data) {
  auto* self = static_cast<Store*>(data);
  self->hooked_ = false;
  self->deliveries_.detach();
  self->phase_ = Phase::kClosed;
  self->forget_secrets();
  self->engine_.reset();
}

Store* Store::of(napi_env env, napi_value value) {
  void* self = nullptr;
  if (napi_unwrap(env, value, &self) != napi_ok ||
      std::find(wrapped_stores.begin(), wrapped_stores.end(), self) == wrapped_stores.end()) {
    throw_error(env, Reason::kInvalidArgument, "the method was called on something that is not a store");
    return nullptr;
  }
  return static_cast<Store*>(self);
}

Store* Store::open_receiver(napi_env env, napi_value value) {
  Store* self = of(env, value);
  return self != nullptr && self->check_open(env) ? self : nullptr;
}

napi_value Store::construct(napi_env env, napi_callback_info info) {
  const Arguments<3> arguments(env, info);
  napi_value target = nullptr;
  napi_get_new_target(env, info, &target);
  if (target == nullptr) return throw_error(env, Reason::kInvalidArgument, "Store is a class");
  Result<StoreOptions> options = read_record<StoreOptions>(env, arguments[0], "");
  if (!options.ok()) return throw_error(env, options.error());

  std::unique_ptr<Store> self(new Store(env));
  self->read_only_ = options->engine.read_only;
  self->place_tasks(options->engine);
  if (const Status status = self->deliveries_.connect(arguments[1], arguments[2]); !status.ok()) {
    return throw_error(env, status.error());
  }
  // After the thread-safe function, so that it runs before that one's own.
  self->hooked_ = napi_add_env_cleanup_hook(env, tear_down, self.get()) == napi_ok;
  self->make_engine(*std::move(options));
  if (napi_wrap(
          env, arguments.receiver, self.get(),
          [](napi_env, void* wrapped, void*) { delete static_cast<Store*>(wrapped); }, nullptr,
          nullptr) != napi_ok) {
    return throw_error(env, Reason::kInternal, "Node refused the object");
  }
  Store* const wrapped = self.release();  // the finalizer owns it
  wrapped_stores.push_back(wrapped);
  if (const Status status = wrapped->define_own(arguments.receiver); !status.ok()) {
    return throw_error(env, status.error());
  }
  return arguments.receiver;
}

void Store::make_engine(StoreOptions options) {
  // The real one belongs to the process.
  clock_ = options.clock ? std::move(options.clock)
                         : std::shared_ptr<os::Clock>(std::shared_ptr<void>(), &os::posix_clock());
  const std::shared_ptr<Completions>& completions = deliveries_.completions();
  options.engine.before_step = [completions,
                                kill = options.kill_before_step](std::string_view step) -> Status {
#ifdef STRONGROOM_TESTING
    if (step == kill) testing::kill_this_process();
#endif
    const std::size_t number = step_number(step);
    if (number < kOperationSteps.size()) completions->report(number, kOperationSteps.size());
    return {};
  };
  options.engine.compaction_failed = [completions](const Status& failed) {
    completions->fail(failed.error());
  };
  engine_ = std::make_unique<store::Engine>(
      os::Environment{os::posix_files(), *clock_}, std::move(options.engine),
      [completions](std::vector<log::Completion> done) { completions->push(std::move(done)); });
}

// --- Tasks ---

bool Store::check_open(napi_env env) const {
  if (phase_ == Phase::kOpen) return true;
  if (phase_ == Phase::kStarting) {
    throw_error(env, Reason::kNotOpen, "the store is not open yet");
  } else {
    throw_error(env, Reason::kClosed, "the store was closed");
  }
  return false;
}

bool Store::check_task(napi_env env) const {
  if (phase_ == Phase::kClosed) {
    throw_error(env, Reason::kClosed, "the store was closed");
  } else if (task_.is_running) {
    throw_error(env, Reason::kInternal, "another task of this store is under way");
  } else {
    return true;
  }
  return false;
}

bool Store::check_open_task(napi_env env) const {
  if (!check_task(env)) return false;
  if (phase_ != Phase::kStarting) return true;
  throw_error(env, Reason::kNotOpen, "the store is not open yet");
  return false;
}

void Store::place_tasks(const store::KindOptions& options) {
  if (options.asks_application()) task_.place = Task::Place::kOwnThread;
}

napi_value Store::run(napi_value self_value, const char* name, Work work, MakeValue value,
                      std::function<void(napi_env)> settled) {
  task_.is_running = true;
  Task task;
  task.work = [this, work = std::move(work)] { return work(*engine_); };
  task.value = std::move(value);
  task.cancellation = task_.cancellation;
  task.place = task_.place;
  task.settled = [this, settled = std::move(settled)](napi_env env) {
    task_.is_running = false;
    task_.cancellation.reset();
    deliveries_.end_progress(env);
    if (settled) settled(env);
  };
  return start_task(env_, self_value, name, std::move(task));
}

napi_value Store::run_cancellable(napi_value self_value, const char* name, Work work, MakeValue value) {
  task_.cancellation = std::make_shared<Cancellation>();
  return run(self_value, name, std::move(work), std::move(value));
}

napi_value Store::run_to_open(napi_value self_value, const char* name, Work work) {
  return run(self_value, name, std::move(work), [this](napi_env env) {
    start_ended();
    return undefined(env);
  });
}

void Store::start_ended() {
  start_.reset();
  cipher_.emplace(engine_->epoch_keys());
  // One that was shut meanwhile stays so.
  if (phase_ == Phase::kStarting) phase_ = Phase::kOpen;
}

store::Engine::ProgressHook Store::progress_to(napi_value callback) {
  keep_progress(callback);
  if (!deliveries_.has_progress()) return {};
  return [completions = deliveries_.completions()](std::uint64_t done, std::uint64_t all) {
    completions->report(done, all);
  };
}

Result<store::FieldSealer*> Store::fields() {
  // After a rotation of the DEK fields are sealed under the new one.
  if (sealer_ == nullptr || sealer_->sealing_key_id() != engine_->epoch_keys().key_id()) {
    SR_ASSIGN(sealer_, engine_->field_sealer());
  }
  return sealer_.get();
}

// --- Calls ---

napi_value Store::js_deliver(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  if (Store* self = of(env, arguments.receiver)) self->deliveries_.deliver_all(env, arguments[0]);
  return nullptr;
}

// The last one of a closed store; undefined while a start or the closing is under way.
napi_value Store::status(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Store* self = of(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  if (self->phase_ == Phase::kOpen || self->phase_ == Phase::kShut)
    return describe(env, self->engine_->status());
  if (self->task_.is_running) return undefined(env);
  if (self->phase_ == Phase::kStarting) return describe(env, self->engine_->status());
  return describe(env, self->last_status_);
}

// Asks the task that runs to end, where it can; it may have ended already, or be about to.
napi_value Store::cancel(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  const Store* const self = of(env, arguments.receiver);
  if (self != nullptr && self->task_.cancellation != nullptr) self->task_.cancellation->request();
  return nullptr;
}

void Store::shut() {
  flush();
  phase_ = Phase::kShut;
}

// close(callback for completions). Every operation submitted before is delivered before the promise settles. Rejects when a
// witness could not be moved; the store is closed all the same.
napi_value Store::close(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Store* self = of(env, arguments.receiver);
  if (self == nullptr || !self->check_task(env)) return nullptr;
  if (self->phase_ == Phase::kOpen) self->flush();
  self->phase_ = Phase::kClosed;
  self->forget_secrets();
  self->task_.place = Task::Place::kPool;  // asks the application nothing, and must not need a new thread
  napi_ref callback = nullptr;
  napi_create_reference(env, arguments[0], 1, &callback);
  return self->run(
      arguments.receiver, "strongroom.close", [self](store::Engine&) { return self->close_engine(); }, {},
      [self, callback](napi_env task_env) {
        napi_value function = nullptr;
        napi_get_reference_value(task_env, callback, &function);
        if (function != nullptr) self->deliveries_.deliver_all(task_env, function);
        napi_delete_reference(task_env, callback);
        self->disconnect();
      });
}

Status Store::close_engine() {
  const store::EngineStatus before = engine_->status();
  Status status = engine_->close();
  store::EngineStatus after = engine_->status();
  // What a closed engine no longer knows.
  after.records = before.records;
  after.log_bytes = before.log_bytes;
  after.live_bytes = before.live_bytes;
  after.poisoned = before.poisoned;
  after.continuity_unproven = before.continuity_unproven;
  after.restore = before.restore;
  after.password_verified_ms = before.password_verified_ms;
  last_status_ = std::move(after);
  engine_.reset();
  return status;
}

// For a start that failed: releases everything and writes nothing.
napi_value Store::abandon(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Store* self = of(env, arguments.receiver);
  if (self == nullptr || !self->check_task(env)) return nullptr;
  self->phase_ = Phase::kClosed;
  self->forget_secrets();
  self->task_.place = Task::Place::kPool;  // as in close()
  return self->run(
      arguments.receiver, "strongroom.abandon",
      [self](store::Engine&) {
        self->engine_.reset();
        return Status();
      },
      {}, [self](napi_env) { self->disconnect(); });
}

// --- Definition ---

namespace {

napi_property_descriptor method(const char* name, napi_callback callback) {
  return {name, nullptr, callback, nullptr, nullptr, nullptr, napi_default_method, nullptr};
}

napi_property_descriptor getter(const char* name, napi_callback callback) {
  return {name, nullptr, nullptr, callback, nullptr, nullptr, napi_default, nullptr};
}

// A part of the store, made at each access.
template <typename Part>
napi_value part(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  return Store::of(env, arguments.receiver) == nullptr ? nullptr : make_part<Part>(env, arguments.receiver);
}

}  // namespace

// The calls that are made for every record are functions of the object's own.
Status Store::define_own(napi_value self) {
  static constexpr std::array<Method, 8> kMethods{{{"get", get},
                                                   {"set", set},
                                                   {"delete", remove},
                                                   {"increment", increment},
                                                   {"compareAndSet", compare_and_set},
                                                   {"batch", batch},
                                                   {"flush", js_flush},
                                                   {"bootTimeMs", boot_time_ms}}};
  return define_own_functions(env_, self, kMethods, {self, this});
}

void Store::define(napi_env env, napi_value exports) {
  const std::array properties{
      method("deliver", js_deliver),
      method("has", has),
      method("setSync", set_sync),
      method("deleteSync", remove_sync),
      method("size", size),
      method("scan", scan),
      method("setSlab", set_slab),
      method("validateBeforeWrite", validate_before_write),
      method("status", status),
      method("cancel", cancel),
      method("close", close),
      method("abandon", abandon),
      getter("start", part<Start>),
      getter("operations", part<Operations>),
      getter("maintenance", part<Maintenance>),
      getter("passwords", part<Passwords>),
      getter("keys", part<Keys>),
      getter("tls", part<Tls>),
      getter("fields", fields_of_store),
  };
  napi_value constructor = nullptr;
  napi_define_class(env, "Store", NAPI_AUTO_LENGTH, construct, nullptr, properties.size(), properties.data(),
                    &constructor);
  napi_set_named_property(env, exports, "Store", constructor);
}

}  // namespace strongroom::addon
