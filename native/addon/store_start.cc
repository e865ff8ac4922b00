#include "addon/store_parts.h"

namespace strongroom::addon {

using store::Engine;

Napi::Value Start::determine_startup_state(const Napi::CallbackInfo& info) {
  return run_cancellable_for<store::StartupState>(
      info, "strongroom.determineStartupState",
      [](Engine& engine) { return engine.determine_startup_state(); },
      [](napi_env env, const store::StartupState& state) {
        return text_value(env, name_of(state, kStartupStateNames));
      });
}

template <Status (Engine::*kStep)()>
Napi::Value Start::step(const Napi::CallbackInfo& info) {
  return run_cancellable(info, "strongroom.step", [](Engine& engine) { return (engine.*kStep)(); });
}

// initializeRecovery(password | undefined)
Napi::Value Start::initialize_recovery(const Napi::CallbackInfo& info) {
  const auto secret = read_shared_secret(info.Env(), info[0], "the password");
  if (!secret.ok()) return refuse(info, secret.error());
  return run_cancellable(info, "strongroom.initializeRecovery", [secret = *secret](Engine& engine) {
    return engine.initialize_recovery(secret->view());
  });
}

// createAndLoadVault(progress | undefined)
Napi::Value Start::create_and_load_vault(const Napi::CallbackInfo& info) {
  if (!store().check_task(info.Env())) return {};
  return run_cancellable(
      info, "strongroom.createAndLoadVault",
      [hook = store().progress_to(info[0])](Engine& engine) { return engine.create_and_load_vault(hook); });
}

// The last step: after it the vault can be used.
Napi::Value Start::update_time_tamper(const Napi::CallbackInfo& info) {
  return run_to_open(info, "strongroom.updateTimeTamper",
                     [](Engine& engine) { return engine.update_time_tamper(); });
}

Napi::Function Start::define(Napi::Env env) {
  return DefineClass(
      env, kName,
      {InstanceMethod<&Start::determine_startup_state>("determineStartupState"),
       InstanceMethod<&Start::step<&Engine::setup_persistence_files>>("setupPersistenceFiles"),
       InstanceMethod<&Start::step<&Engine::initialize_coldstart>>("initializeColdstart"),
       InstanceMethod<&Start::step<&Engine::initialize_warmstart>>("initializeWarmstart"),
       InstanceMethod<&Start::initialize_recovery>("initializeRecovery"),
       InstanceMethod<&Start::create_and_load_vault>("createAndLoadVault"),
       InstanceMethod<&Start::step<&Engine::initialize_storage_identifier>>("initializeStorageIdentifier"),
       InstanceMethod<&Start::step<&Engine::validate_vault_integrity>>("validateVaultIntegrity"),
       InstanceMethod<&Start::step<&Engine::validate_time_tamper_age>>("validateTimeTamperAge"),
       InstanceMethod<&Start::update_time_tamper>("updateTimeTamper")});
}

}  // namespace strongroom::addon
