#include "addon/store_parts.h"

namespace strongroom::addon {

using store::PlannedStart;
using store::StartReport;

// open(StartPlan, password | undefined, permit | undefined, progress | undefined)
Napi::Value Start::open(const Napi::CallbackInfo& info) {
  if (!store().check_task(info.Env())) return {};
  const auto plan = read_record<store::StartPlan>(info.Env(), info[0], "plan");
  if (!plan.ok()) return refuse(info, plan.error());
  const auto credential = read_credential(info.Env(), info[1], info[2]);
  if (!credential.ok()) return refuse(info, credential.error());
  store().keep_start(std::make_shared<PlannedStart>(store().engine(), *plan, std::move(**credential)));
  return run_start(info, info[3]);
}

// proceed(StartSecrets | undefined, progress | undefined)
Napi::Value Start::proceed(const Napi::CallbackInfo& info) {
  if (!store().check_task(info.Env())) return {};
  if (store().start() == nullptr) {
    return refuse(info, {Reason::kNotOpen, "no start of this store is under way", 0, false});
  }
  if (!is_undefined(info.Env(), info[0])) {
    Result<store::StartSecrets> secrets = read_record<store::StartSecrets>(info.Env(), info[0], "secrets");
    if (!secrets.ok()) return refuse(info, secrets.error());
    store().place_tasks(secrets->protector);
    store().start()->supply(*std::move(secrets));
  }
  return run_start(info, info[1]);
}

// After the last step of an opening the vault can be used.
Napi::Value Start::run_start(const Napi::CallbackInfo& info, napi_value progress) {
  return run_cancellable_for<StartReport>(
      info, "strongroom.start",
      [start = store().start(), hook = store().progress_to(progress)](store::Engine&) {
        return start->run(hook);
      },
      [owner = &store()](napi_env env, const StartReport& report) {
        if (report.opened) owner->start_ended();
        return describe(env, report);
      });
}

Napi::Function Start::define(Napi::Env env) {
  return DefineClass(env, kName,
                     {InstanceMethod<&Start::open>("open"), InstanceMethod<&Start::proceed>("proceed")});
}

}  // namespace strongroom::addon
