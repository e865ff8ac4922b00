#include "addon/store_parts.h"

namespace strongroom::addon {
namespace {

// Of one environment.
struct Classes {
  template <typename Part>
  struct Class {
    Napi::FunctionReference constructor;
  };
  std::tuple<Class<Start>, Class<Operations>, Class<Maintenance>, Class<Passwords>, Class<Keys>, Class<Tls>>
      all;
};

}  // namespace

void define_parts(napi_env env) {
  auto* const classes = new Classes;  // the environment deletes it
  std::apply(
      [env]<typename... Part>(Classes::Class<Part>&... part) {
        ((part.constructor = Napi::Persistent(Part::define(env))), ...);
      },
      classes->all);
  Napi::Env(env).SetInstanceData(classes);
}

template <typename Part>
napi_value make_part(napi_env env, napi_value store_object) {
  const auto* const classes = Napi::Env(env).GetInstanceData<Classes>();
  return std::get<Classes::Class<Part>>(classes->all).constructor.New({store_object});
}
template napi_value make_part<Start>(napi_env, napi_value);
template napi_value make_part<Operations>(napi_env, napi_value);
template napi_value make_part<Maintenance>(napi_env, napi_value);
template napi_value make_part<Passwords>(napi_env, napi_value);
template napi_value make_part<Keys>(napi_env, napi_value);
template napi_value make_part<Tls>(napi_env, napi_value);

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

Result<std::shared_ptr<SecretBytes>> read_shared_secret(napi_env env, napi_value value, const char* what) {
  SR_ASSIGN(SecretBytes secret, read_secret(env, value, what));
  return std::make_shared<SecretBytes>(std::move(secret));
}

Result<std::string> read_text(napi_env env, napi_value value, const char* what) {
  std::optional<std::string> text = read_string(env, value);
  if (!text) return Status(Reason::kInvalidArgument, std::string(what) + " must be a string");
  return *std::move(text);
}

}  // namespace strongroom::addon
