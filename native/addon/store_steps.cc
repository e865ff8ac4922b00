// The calls that take time: the steps of a start, maintenance and closing. Each is a task on libuv's pool.
#include "addon/store.h"

namespace strongroom::addon {

Store* Store::task_receiver(napi_env env, napi_value value) {
  Store* self = receiver(env, value);
  if (self == nullptr) return nullptr;
  if (self->phase_ == Phase::kClosed) {
    throw_error(env, Reason::kClosed, "the store was closed");
    return nullptr;
  }
  if (self->task_running_) {
    throw_error(env, Reason::kInternal, "another task of this store is under way");
    return nullptr;
  }
  return self;
}

napi_value Store::run(napi_value self_value, const char* name, std::function<Status(store::Engine&)> work,
                      std::function<napi_value(napi_env)> value, std::function<void(napi_env)> settled) {
  task_running_ = true;
  Task task;
  task.work = [this, work = std::move(work)] { return work(*engine_); };
  task.value = std::move(value);
  task.cancellation = cancellation_;
  task.settled = [this, settled = std::move(settled)](napi_env env) {
    task_running_ = false;
    cancellation_.reset();
    // The newest report comes before the promise settles; its call may have been overtaken.
    (void)tell(env, completions_->take_progress());
    if (progress_ != nullptr) napi_delete_reference(env, progress_);
    progress_ = nullptr;
    if (settled) settled(env);
  };
  return start_task(env_, self_value, name, std::move(task));
}

napi_value Store::run_cancellable(napi_value self_value, const char* name,
                                  std::function<Status(store::Engine&)> work,
                                  std::function<napi_value(napi_env)> value) {
  cancellation_ = std::make_shared<Cancellation>();
  return run(self_value, name, std::move(work), std::move(value));
}

// Asks the task that runs to end, where it can; it may have ended already, or be about to.
napi_value Store::cancel(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  const Store* const self = receiver(env, arguments.receiver);
  if (self != nullptr && self->cancellation_ != nullptr) self->cancellation_->request();
  return nullptr;
}

template <Status (store::Engine::*kStep)()>
napi_value Store::step(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Store* self = task_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  return self->run(arguments.receiver, "strongroom.step",
                   [](store::Engine& engine) { return (engine.*kStep)(); });
}

template <Status (store::Engine::*kStep)()>
napi_value Store::opening_step(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Store* self = task_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  return self->run_cancellable(arguments.receiver, "strongroom.step",
                               [](store::Engine& engine) { return (engine.*kStep)(); });
}
using store::Engine;
template napi_value Store::opening_step<&Engine::setup_persistence_files>(napi_env, napi_callback_info);
template napi_value Store::opening_step<&Engine::initialize_coldstart>(napi_env, napi_callback_info);
template napi_value Store::opening_step<&Engine::initialize_warmstart>(napi_env, napi_callback_info);
template napi_value Store::opening_step<&Engine::initialize_storage_identifier>(napi_env, napi_callback_info);
template napi_value Store::opening_step<&Engine::validate_vault_integrity>(napi_env, napi_callback_info);
template napi_value Store::opening_step<&Engine::validate_time_tamper_age>(napi_env, napi_callback_info);
template napi_value Store::step<&Engine::anchor>(napi_env, napi_callback_info);
template napi_value Store::step<&Engine::refresh_time_tamper>(napi_env, napi_callback_info);
template napi_value Store::step<&Engine::compact>(napi_env, napi_callback_info);
template napi_value Store::step<&Engine::relocate>(napi_env, napi_callback_info);
template napi_value Store::step<&Engine::complete_restore>(napi_env, napi_callback_info);
template napi_value Store::step<&Engine::remove_leftovers>(napi_env, napi_callback_info);

napi_value Store::determine_startup_state(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Store* self = task_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  auto state = std::make_shared<store::StartupState>();
  return self->run_cancellable(
      arguments.receiver, "strongroom.determineStartupState",
      [state](Engine& engine) -> Status {
        SR_ASSIGN(*state, engine.determine_startup_state());
        return {};
      },
      [state](napi_env task_env) { return text_value(task_env, name_of(*state, kStartupStateNames)); });
}

// initializeRecovery(password)
napi_value Store::initialize_recovery(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Store* self = task_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  Result<SecretBytes> password = read_secret(env, arguments[0], "the password");
  if (!password.ok()) return throw_error(env, password.error());
  auto secret = std::make_shared<SecretBytes>(*std::move(password));
  return self->run_cancellable(arguments.receiver, "strongroom.initializeRecovery", [secret](Engine& engine) {
    return engine.initialize_recovery(secret->view());
  });
}

// createAndLoadVault(progress | undefined)
napi_value Store::create_and_load_vault(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Store* self = task_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  Engine::ProgressHook hook = self->progress_to(arguments[0]);
  return self->run_cancellable(
      arguments.receiver, "strongroom.createAndLoadVault",
      [hook = std::move(hook)](Engine& engine) { return engine.create_and_load_vault(hook); });
}

void Store::opened() {
  cipher_.emplace(engine_->epoch_keys());
  phase_ = Phase::kOpen;
}

// The last step: after it the vault may be used.
napi_value Store::update_time_tamper(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Store* self = task_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  return self->run(
      arguments.receiver, "strongroom.updateTimeTamper",
      [](Engine& engine) { return engine.update_time_tamper(); },
      [self](napi_env task_env) {
        self->opened();
        return undefined(task_env);
      });
}

namespace {

// (password | undefined, permit | undefined)
Result<std::shared_ptr<store::Credential>> read_credential(napi_env env, napi_value password,
                                                           napi_value permit) {
  auto credential = std::make_shared<store::Credential>();
  SR_ASSIGN(credential->password, read_secret(env, password, "the password"));
  if (!is_undefined(env, permit)) {
    ByteView bytes;
    SR_TRY(read_bytes(env, permit, "the permit", &bytes));
    credential->permit.assign(bytes.begin(), bytes.end());
  }
  return credential;
}

}  // namespace

template <Status (store::Engine::*kOperation)(const store::Credential&)>
napi_value Store::operate(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  Store* self = task_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  const auto credential = read_credential(env, arguments[0], arguments[1]);
  if (!credential.ok()) return throw_error(env, credential.error());
  return self->run(
      arguments.receiver, "strongroom.operate",
      [credential = *credential](Engine& engine) { return (engine.*kOperation)(*credential); },
      [self](napi_env task_env) {
        self->opened();
        return undefined(task_env);
      });
}
template napi_value Store::operate<&Engine::reanchor>(napi_env, napi_callback_info);
template napi_value Store::operate<&Engine::recover>(napi_env, napi_callback_info);
template napi_value Store::operate<&Engine::reseal>(napi_env, napi_callback_info);

void Store::keep_progress(napi_value callback) {
  if (type_of(env_, callback) == napi_function) napi_create_reference(env_, callback, 1, &progress_);
}

Engine::ProgressHook Store::progress_to(napi_value callback) {
  keep_progress(callback);
  if (progress_ == nullptr) return {};
  return
      [completions = completions_](std::uint64_t done, std::uint64_t all) { completions->report(done, all); };
}

// validateRestore(password | undefined, permit | undefined)
napi_value Store::validate_restore(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  Store* self = task_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  const auto credential = read_credential(env, arguments[0], arguments[1]);
  if (!credential.ok()) return throw_error(env, credential.error());
  return self->run_cancellable(
      arguments.receiver, "strongroom.validateRestore",
      [credential = *credential](Engine& engine) { return engine.validate_restore(*credential); });
}

// restore(progress | undefined), after validateRestore(). The progress is (number of the step, number of steps).
napi_value Store::restore(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Store* self = task_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  self->keep_progress(arguments[0]);
  return self->run(
      arguments.receiver, "strongroom.restore", [](Engine& engine) { return engine.restore({}); },
      [self](napi_env task_env) {
        self->opened();
        return undefined(task_env);
      });
}

// noteRestore('tls' | 'hook')
napi_value Store::note_restore(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Store* self = task_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  const store::RestoreNote* const note =
      of_name(read_string(env, arguments[0]).value_or(""), kRestoreNoteNames);
  if (note == nullptr) return throw_error(env, Reason::kInternal, "a restore has no such step");
  return self->run(arguments.receiver, "strongroom.noteRestore",
                   [note = *note](Engine& engine) { return engine.note_restore(note); });
}

// rotateKek(progress | undefined)
napi_value Store::rotate_kek(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Store* self = task_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  self->keep_progress(arguments[0]);
  return self->run(arguments.receiver, "strongroom.rotateKek",
                   [](Engine& engine) { return engine.rotate_kek(); });
}

// rotateDek(password | undefined, forgetFieldKeys, removeOtherPasswords, progress | undefined)
napi_value Store::rotate_dek(napi_env env, napi_callback_info info) {
  const Arguments<4> arguments(env, info);
  Store* self = task_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  Result<SecretBytes> password = read_secret(env, arguments[0], "the password");
  if (!password.ok()) return throw_error(env, password.error());
  auto secret = std::make_shared<SecretBytes>(*std::move(password));
  store::RotationOptions how;
  napi_get_value_bool(env, arguments[1], &how.forget_field_keys);
  napi_get_value_bool(env, arguments[2], &how.remove_other_passwords);
  Engine::ProgressHook hook = self->progress_to(arguments[3]);
  return self->run(arguments.receiver, "strongroom.rotateDek",
                   [secret, how, hook = std::move(hook)](Engine& engine) {
                     return engine.rotate_dek(secret->view(), hook, how);
                   });
}

napi_value Store::decommission(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  Store* self = task_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  const auto credential = read_credential(env, arguments[0], arguments[1]);
  if (!credential.ok()) return throw_error(env, credential.error());
  auto left = std::make_shared<std::vector<std::string>>();
  return self->run(
      arguments.receiver, "strongroom.decommission",
      [left, credential = *credential](Engine& engine) -> Status {
        SR_TRY(engine.decommission(*credential));
        *left = engine.left_behind();
        return {};
      },
      [left](napi_env task_env) {
        return list_value(task_env, *left,
                          [task_env](const std::string& name) { return text_value(task_env, name); });
      });
}

napi_value Store::find_leftovers(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Store* self = task_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  auto found = std::make_shared<std::vector<store::Leftover>>();
  return self->run_cancellable(
      arguments.receiver, "strongroom.findLeftovers",
      [found](Engine& engine) -> Status {
        SR_ASSIGN(*found, engine.find_leftovers());
        return {};
      },
      [found](napi_env task_env) { return describe(task_env, *found); });
}

napi_value Store::shut(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Store* self = open_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  self->flush();
  self->shut_ = true;
  return nullptr;
}

// Every operation submitted before is delivered before the promise settles. Rejects when a witness could not
// be moved; the store is closed all the same.
napi_value Store::close(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);  // the callback for completions
  Store* self = task_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  if (self->phase_ == Phase::kOpen) self->flush();
  self->phase_ = Phase::kClosed;
  self->cipher_.reset();
  self->fields_.reset();
  napi_ref callback = nullptr;
  napi_create_reference(env, arguments[0], 1, &callback);
  return self->run(
      arguments.receiver, "strongroom.close",
      [self](Engine& engine) {
        const store::EngineStatus before = engine.status();
        Status status = engine.close();
        store::EngineStatus after = engine.status();
        // What a closed engine no longer knows.
        after.records = before.records;
        after.log_bytes = before.log_bytes;
        after.live_bytes = before.live_bytes;
        after.poisoned = before.poisoned;
        after.continuity_unproven = before.continuity_unproven;
        after.restore = before.restore;
        after.password_verified_ms = before.password_verified_ms;
        self->last_status_ = std::move(after);
        self->engine_.reset();
        return status;
      },
      {},
      [self, callback](napi_env task_env) {
        napi_value function = nullptr;
        napi_get_reference_value(task_env, callback, &function);
        if (function != nullptr) self->deliver(task_env, function, true);
        napi_delete_reference(task_env, callback);
        self->disconnect();
      });
}

// For a start that failed: lets go of everything and writes nothing.
napi_value Store::abandon(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Store* self = task_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  self->phase_ = Phase::kClosed;
  self->cipher_.reset();
  self->fields_.reset();
  return self->run(
      arguments.receiver, "strongroom.abandon",
      [self](Engine&) {
        self->engine_.reset();
        return Status();
      },
      {}, [self](napi_env) { self->disconnect(); });
}

// setSystemRecord(name, value)
napi_value Store::set_system_record(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  Store* self = task_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  const std::optional<std::string> name = read_string(env, arguments[0]);
  ByteView value;
  if (!name) return throw_error(env, Reason::kInternal, "a system record needs a name");
  if (const Status status = read_vault_value(env, arguments[1], &value); !status.ok()) {
    return throw_error(env, status.error());
  }
  return self->run(arguments.receiver, "strongroom.setSystemRecord",
                   [name = *name, copy = Bytes(value.begin(), value.end())](Engine& engine) {
                     return engine.set_system_record(name, copy);
                   });
}

napi_value Store::get_system_record(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Store* self = task_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  const std::optional<std::string> name = read_string(env, arguments[0]);
  if (!name) return throw_error(env, Reason::kInternal, "a system record needs a name");
  auto value = std::make_shared<std::optional<Bytes>>();
  return self->run(
      arguments.receiver, "strongroom.getSystemRecord",
      [value, name = *name](Engine& engine) -> Status {
        SR_ASSIGN(*value, engine.get_system_record(name));
        return {};
      },
      [value](napi_env task_env) { return *value ? to_buffer(task_env, **value) : undefined(task_env); });
}

// verify(progress | undefined)
napi_value Store::verify(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Store* self = task_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  Engine::ProgressHook hook = self->progress_to(arguments[0]);
  auto report = std::make_shared<store::VerifyReport>();
  return self->run_cancellable(
      arguments.receiver, "strongroom.verify",
      [report, hook = std::move(hook)](Engine& engine) -> Status {
        SR_ASSIGN(*report, engine.verify(hook));
        return {};
      },
      [report](napi_env task_env) { return describe(task_env, *report); });
}

// auditLog(countMax)
napi_value Store::audit_log(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Store* self = task_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  const auto count_max = static_cast<std::size_t>(read_number(env, arguments[0]).value_or(0));
  auto entries = std::make_shared<std::vector<store::AuditEntry>>();
  return self->run(
      arguments.receiver, "strongroom.auditLog",
      [entries, count_max](Engine& engine) -> Status {
        SR_ASSIGN(*entries, engine.audit_log(count_max));
        return {};
      },
      [entries](napi_env task_env) { return describe(task_env, *entries); });
}

// The last one of a closed store; undefined while a start or the closing is under way.
napi_value Store::status(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Store* self = receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  if (self->phase_ == Phase::kOpen) return describe(env, self->engine_->status());
  if (self->task_running_) return undefined(env);
  if (self->phase_ == Phase::kStarting) return describe(env, self->engine_->status());
  return describe(env, self->last_status_);
}

}  // namespace strongroom::addon
