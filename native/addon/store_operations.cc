#include "addon/store_parts.h"
#include "store/operations/dek_rotation.h"
#include "store/operations/kek_rotation.h"
#include "store/operations/reanchoring.h"
#include "store/operations/removal.h"
#include "store/operations/restoration.h"
#include "store/operations/root_recovery.h"

namespace strongroom::addon {

using store::Engine;

template <auto kStep>
Napi::Value Operations::step(const Napi::CallbackInfo& info) {
  return run(info, "strongroom.step", [](Engine& engine) { return std::invoke(kStep, engine); });
}

// reanchor, recover, reseal: (password | undefined, permit | undefined). After it the vault can be used.
template <auto kOperation>
Napi::Value Operations::operate(const Napi::CallbackInfo& info) {
  const auto credential = read_credential(info.Env(), info[0], info[1]);
  if (!credential.ok()) return refuse(info, credential.error());
  return run_to_open(info, "strongroom.operate",
                     [credential = *credential](Engine& engine) { return kOperation(engine, *credential); });
}

// validateRestore(password | undefined, permit | undefined)
Napi::Value Operations::validate_restore(const Napi::CallbackInfo& info) {
  const auto credential = read_credential(info.Env(), info[0], info[1]);
  if (!credential.ok()) return refuse(info, credential.error());
  return run_cancellable(info, "strongroom.validateRestore", [credential = *credential](Engine& engine) {
    return store::Restoration(engine).validate(*credential);
  });
}

// restore(progress | undefined), after validateRestore(). The progress is (number of the step, number of steps).
Napi::Value Operations::restore(const Napi::CallbackInfo& info) {
  if (!store().check_task(info.Env())) return {};
  store().keep_progress(info[0]);
  return run_to_open(info, "strongroom.restore",
                     [](Engine& engine) { return store::Restoration(engine).restore({}); });
}

// noteRestore(RestoreNote)
Napi::Value Operations::note_restore(const Napi::CallbackInfo& info) {
  const auto* const note = of_name(read_string(info.Env(), info[0]).value_or(""), kRestoreNoteNames);
  if (note == nullptr) return refuse(info, {Reason::kInternal, "a restore has no such step", 0, false});
  return run(info, "strongroom.noteRestore",
             [note = *note](Engine& engine) { return store::Restoration(engine).note(note); });
}

// rotateKek(progress | undefined)
Napi::Value Operations::rotate_kek(const Napi::CallbackInfo& info) {
  if (!store().check_task(info.Env())) return {};
  store().keep_progress(info[0]);
  return run(info, "strongroom.rotateKek",
             [](Engine& engine) { return store::KekRotation(engine).rotate(); });
}

// rotateDek(password | undefined, RotationOptions, progress | undefined)
Napi::Value Operations::rotate_dek(const Napi::CallbackInfo& info) {
  if (!store().check_task(info.Env())) return {};
  const auto secret = read_shared_secret(info.Env(), info[0], "the password");
  if (!secret.ok()) return refuse(info, secret.error());
  const auto how = read_record<store::RotationOptions>(info.Env(), info[1], "");
  if (!how.ok()) return refuse(info, how.error());
  return run(info, "strongroom.rotateDek",
             [secret = *secret, how = *how, hook = store().progress_to(info[2])](Engine& engine) {
               return store::DekRotation(engine).rotate(secret->view(), hook, how);
             });
}

// decommission(password | undefined, permit | undefined): what was not found
Napi::Value Operations::decommission(const Napi::CallbackInfo& info) {
  using Names = std::vector<std::string>;
  const auto credential = read_credential(info.Env(), info[0], info[1]);
  if (!credential.ok()) return refuse(info, credential.error());
  return run_for<Names>(
      info, "strongroom.decommission",
      [credential = *credential](Engine& engine) -> Result<Names> {
        store::Removal removal(engine);
        SR_TRY(removal.decommission(*credential));
        return removal.left_behind();
      },
      [](napi_env env, const Names& names) {
        return list_value(env, names, [env](const std::string& name) { return text_value(env, name); });
      });
}

Napi::Value Operations::find_leftovers(const Napi::CallbackInfo& info) {
  using Leftovers = std::vector<store::Leftover>;
  return run_cancellable_for<Leftovers>(
      info, "strongroom.findLeftovers",
      [](Engine& engine) { return store::Removal(engine).find_leftovers(); },
      [](napi_env env, const Leftovers& found) { return describe(env, found); });
}

namespace {

Status reanchor(Engine& engine, const store::Credential& credential) {
  return store::Reanchoring(engine).reanchor(credential);
}
Status recover(Engine& engine, const store::Credential& credential) {
  return store::RootRecovery(engine).recover(credential);
}
Status reseal(Engine& engine, const store::Credential& credential) {
  return store::RootRecovery(engine).reseal(credential);
}
Status complete_restore(Engine& engine) { return store::Restoration(engine).complete(); }
Status remove_leftovers(Engine& engine) { return store::Removal(engine).remove_leftovers(); }

}  // namespace

Napi::Function Operations::define(Napi::Env env) {
  return DefineClass(env, kName,
                     {InstanceMethod<&Operations::operate<reanchor>>("reanchor"),
                      InstanceMethod<&Operations::operate<recover>>("recover"),
                      InstanceMethod<&Operations::operate<reseal>>("reseal"),
                      InstanceMethod<&Operations::validate_restore>("validateRestore"),
                      InstanceMethod<&Operations::restore>("restore"),
                      InstanceMethod<&Operations::note_restore>("noteRestore"),
                      InstanceMethod<&Operations::step<complete_restore>>("completeRestore"),
                      InstanceMethod<&Operations::rotate_kek>("rotateKek"),
                      InstanceMethod<&Operations::rotate_dek>("rotateDek"),
                      InstanceMethod<&Operations::decommission>("decommission"),
                      InstanceMethod<&Operations::find_leftovers>("findLeftovers"),
                      InstanceMethod<&Operations::step<remove_leftovers>>("removeLeftovers")});
}

}  // namespace strongroom::addon
