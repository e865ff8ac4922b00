#include "addon/store_parts.h"
#include "store/operations/passwords.h"

namespace strongroom::addon {
namespace {

using store::Engine;

struct PasswordChange {
  SecretBytes current;
  SecretBytes next;
  std::optional<std::string> label;
};

// (current, next, label | undefined)
Result<std::shared_ptr<PasswordChange>> read_change(const Napi::CallbackInfo& info) {
  auto out = std::make_shared<PasswordChange>();
  SR_ASSIGN(out->current, read_secret(info.Env(), info[0], "the current password"));
  SR_ASSIGN(out->next, read_secret(info.Env(), info[1], "the new password"));
  out->label = read_string(info.Env(), info[2]);
  return out;
}

napi_value slot_id_value(napi_env env, const std::uint32_t& id) { return count_value(env, id); }

}  // namespace

// change(current, next, label | undefined)
Napi::Value Passwords::change(const Napi::CallbackInfo& info) {
  const auto given = read_change(info);
  if (!given.ok()) return refuse(info, given.error());
  return run_for<std::uint32_t>(
      info, "strongroom.changePassword",
      [given = *given](Engine& engine) {
        return store::Passwords(engine).change(given->current.view(), std::move(given->next),
                                               std::move(given->label));
      },
      slot_id_value);
}

// add(current, next, label | undefined)
Napi::Value Passwords::add(const Napi::CallbackInfo& info) {
  const auto given = read_change(info);
  if (!given.ok()) return refuse(info, given.error());
  return run_for<std::uint32_t>(
      info, "strongroom.addPassword",
      [given = *given](Engine& engine) {
        return store::Passwords(engine).add(given->current.view(), std::move(given->next),
                                            given->label.value_or(""));
      },
      slot_id_value);
}

// remove(staying, slotId)
Napi::Value Passwords::remove(const Napi::CallbackInfo& info) {
  const auto secret = read_shared_secret(info.Env(), info[0], "the password");
  if (!secret.ok()) return refuse(info, secret.error());
  const auto slot_id = static_cast<std::uint32_t>(read_number(info.Env(), info[1]).value_or(0));
  return run(info, "strongroom.removePassword", [secret = *secret, slot_id](Engine& engine) {
    return store::Passwords(engine).remove(secret->view(), slot_id);
  });
}

// verify(password)
Napi::Value Passwords::verify(const Napi::CallbackInfo& info) {
  const auto secret = read_shared_secret(info.Env(), info[0], "the password");
  if (!secret.ok()) return refuse(info, secret.error());
  return run_for<std::uint32_t>(
      info, "strongroom.verifyPassword",
      [secret = *secret](Engine& engine) { return store::Passwords(engine).verify(secret->view()); },
      slot_id_value);
}

Napi::Function Passwords::define(Napi::Env env) {
  return DefineClass(
      env, kName,
      {InstanceMethod<&Passwords::change>("change"), InstanceMethod<&Passwords::add>("add"),
       InstanceMethod<&Passwords::remove>("remove"), InstanceMethod<&Passwords::verify>("verify")});
}

}  // namespace strongroom::addon
