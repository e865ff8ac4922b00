#include "addon/store_parts.h"
#include "store/operations/relocation.h"
#include "store/operations/verification.h"

namespace strongroom::addon {

using store::Engine;

template <auto kStep>
Napi::Value Maintenance::step(const Napi::CallbackInfo& info) {
  return run(info, "strongroom.step", [](Engine& engine) { return std::invoke(kStep, engine); });
}

Napi::Value Maintenance::shut(const Napi::CallbackInfo& info) {
  if (store().check_open(info.Env())) store().shut();
  return {};
}

// setSystemRecord(name, value)
Napi::Value Maintenance::set_system_record(const Napi::CallbackInfo& info) {
  const Result<std::string> name = read_text(info.Env(), info[0], "the name of a system record");
  if (!name.ok()) return refuse(info, name.error());
  ByteView value;
  if (const Status status = read_vault_value(info.Env(), info[1], &value); !status.ok()) {
    return refuse(info, status.error());
  }
  return run(info, "strongroom.setSystemRecord",
             [name = *name, copy = Bytes(value.begin(), value.end())](Engine& engine) {
               return engine.set_system_record(name, copy);
             });
}

// getSystemRecord(name)
Napi::Value Maintenance::get_system_record(const Napi::CallbackInfo& info) {
  using Record = std::optional<Bytes>;
  const Result<std::string> name = read_text(info.Env(), info[0], "the name of a system record");
  if (!name.ok()) return refuse(info, name.error());
  return run_for<Record>(
      info, "strongroom.getSystemRecord",
      [name = *name](Engine& engine) { return engine.get_system_record(name); },
      [](napi_env env, const Record& found) { return found ? to_buffer(env, *found) : undefined(env); });
}

// verify(progress | undefined)
Napi::Value Maintenance::verify(const Napi::CallbackInfo& info) {
  if (!store().check_task(info.Env())) return {};
  return run_cancellable_for<store::VerifyReport>(
      info, "strongroom.verify",
      [hook = store().progress_to(info[0])](Engine& engine) {
        return store::Verification(engine).verify(hook);
      },
      [](napi_env env, const store::VerifyReport& report) { return describe(env, report); });
}

// auditLog(countMax)
Napi::Value Maintenance::audit_log(const Napi::CallbackInfo& info) {
  using Entries = std::vector<store::AuditEntry>;
  const auto count_max = static_cast<std::size_t>(read_number(info.Env(), info[0]).value_or(0));
  return run_for<Entries>(
      info, "strongroom.auditLog",
      [count_max](Engine& engine) { return store::Verification(engine).audit_log(count_max); },
      [](napi_env env, const Entries& entries) { return describe(env, entries); });
}

namespace {

Status relocate(Engine& engine) { return store::Relocation(engine).relocate(); }

}  // namespace

Napi::Function Maintenance::define(Napi::Env env) {
  return DefineClass(
      env, kName,
      {InstanceMethod<&Maintenance::shut>("shut"),
       InstanceMethod<&Maintenance::step<&Engine::anchor>>("anchor"),
       InstanceMethod<&Maintenance::step<&Engine::refresh_time_tamper>>("refreshTimeTamper"),
       InstanceMethod<&Maintenance::step<&Engine::compact>>("compact"),
       InstanceMethod<&Maintenance::step<relocate>>("relocate"),
       InstanceMethod<&Maintenance::set_system_record>("setSystemRecord"),
       InstanceMethod<&Maintenance::get_system_record>("getSystemRecord"),
       InstanceMethod<&Maintenance::verify>("verify"), InstanceMethod<&Maintenance::audit_log>("auditLog")});
}

}  // namespace strongroom::addon
