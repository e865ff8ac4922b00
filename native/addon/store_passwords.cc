// The calls that change or try a backup password. Each is a task, and wipes what it was given.
#include "addon/store.h"

namespace strongroom::addon {
namespace {

using store::Engine;

struct Passwords {
  SecretBytes current;
  SecretBytes next;
  std::optional<std::string> label;
};

// (current, next, label | undefined)
Result<std::shared_ptr<Passwords>> read_passwords(napi_env env, const Arguments<3>& arguments) {
  auto out = std::make_shared<Passwords>();
  SR_ASSIGN(out->current, read_secret(env, arguments[0], "the current password"));
  SR_ASSIGN(out->next, read_secret(env, arguments[1], "the new password"));
  out->label = read_string(env, arguments[2]);
  return out;
}

}  // namespace

napi_value Store::run_for_slot(napi_value self, const char* name,
                               std::function<Result<std::uint32_t>(Engine&)> work) {
  auto slot_id = std::make_shared<std::uint32_t>(0);
  return run(
      self, name,
      [slot_id, work = std::move(work)](Engine& engine) -> Status {
        SR_ASSIGN(*slot_id, work(engine));
        return {};
      },
      [slot_id](napi_env env) { return count_value(env, *slot_id); });
}

// changePassword(current, next, label | undefined)
napi_value Store::change_password(napi_env env, napi_callback_info info) {
  const Arguments<3> arguments(env, info);
  Store* self = task_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  auto given = read_passwords(env, arguments);
  if (!given.ok()) return throw_error(env, given.error());
  return self->run_for_slot(
      arguments.receiver, "strongroom.changePassword", [given = *std::move(given)](Engine& engine) {
        return engine.change_password(given->current.view(), std::move(given->next), std::move(given->label));
      });
}

// addPassword(current, next, label | undefined)
napi_value Store::add_password(napi_env env, napi_callback_info info) {
  const Arguments<3> arguments(env, info);
  Store* self = task_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  auto given = read_passwords(env, arguments);
  if (!given.ok()) return throw_error(env, given.error());
  return self->run_for_slot(
      arguments.receiver, "strongroom.addPassword", [given = *std::move(given)](Engine& engine) {
        return engine.add_password(given->current.view(), std::move(given->next), given->label.value_or(""));
      });
}

// removePassword(staying, slotId)
napi_value Store::remove_password(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  Store* self = task_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  Result<SecretBytes> password = read_secret(env, arguments[0], "the password");
  if (!password.ok()) return throw_error(env, password.error());
  auto secret = std::make_shared<SecretBytes>(*std::move(password));
  const auto slot_id = static_cast<std::uint32_t>(read_number(env, arguments[1]).value_or(0));
  return self->run(arguments.receiver, "strongroom.removePassword", [secret, slot_id](Engine& engine) {
    return engine.remove_password(secret->view(), slot_id);
  });
}

// verifyPassword(password)
napi_value Store::verify_password(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Store* self = task_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  Result<SecretBytes> password = read_secret(env, arguments[0], "the password");
  if (!password.ok()) return throw_error(env, password.error());
  auto secret = std::make_shared<SecretBytes>(*std::move(password));
  return self->run_for_slot(arguments.receiver, "strongroom.verifyPassword",
                            [secret](Engine& engine) { return engine.verify_password(secret->view()); });
}

}  // namespace strongroom::addon
