#include "addon/store_fields.h"

#include "addon/own_functions.h"
#include "addon/store.h"

namespace strongroom::addon {
namespace {

using store::FieldSealer;

// The sealer of an open store, or null after throwing.
FieldSealer* sealer_of(napi_env env, void* data) {
  auto* const self = static_cast<Store*>(data);
  if (!self->check_open(env)) return nullptr;
  const Result<FieldSealer*> sealer = self->fields();
  if (sealer.ok()) return *sealer;
  throw_error(env, sealer.error());
  return nullptr;
}

// The memory that TypeScript made for the answer.
Status read_out(napi_env env, napi_value value, MutableBytes* out) {
  void* data = nullptr;
  std::size_t size = 0;
  if (napi_get_buffer_info(env, value, &data, &size) != napi_ok) {
    return {Reason::kInternal, "the answer needs a Buffer"};
  }
  *out = {static_cast<std::uint8_t*>(data), size};
  return {};
}

// seal(plaintext, context, out), open(sealed, context, out)
template <Status (FieldSealer::*kOperation)(ByteView, ByteView, MutableBytes)>
napi_value convert(napi_env env, napi_callback_info info) {
  const Arguments<3> arguments(env, info);
  FieldSealer* const sealer = sealer_of(env, arguments.data);
  if (sealer == nullptr) return nullptr;
  ContextArgument context;
  const auto act = [&]() -> Status {
    ByteView in;
    MutableBytes out;
    SR_TRY(context.read(env, arguments[1]));
    SR_TRY(read_bytes(env, arguments[0], "a field", &in));
    SR_TRY(read_out(env, arguments[2], &out));
    return (sealer->*kOperation)(in, context.bytes(), out);
  };
  const Status status = act();
  return status.ok() ? nullptr : throw_error(env, status.error());
}

// keyId(sealed)
napi_value key_id(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  if (sealer_of(env, arguments.data) == nullptr) return nullptr;
  ByteView sealed;
  if (const Status status = read_bytes(env, arguments[0], "a field", &sealed); !status.ok()) {
    return throw_error(env, status.error());
  }
  const Result<std::uint32_t> id = FieldSealer::key_id(sealed);
  return id.ok() ? count_value(env, *id) : throw_error(env, id.error());
}

// needsRotation(sealed)
napi_value needs_rotation(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  const FieldSealer* const sealer = sealer_of(env, arguments.data);
  if (sealer == nullptr) return nullptr;
  ByteView sealed;
  if (const Status status = read_bytes(env, arguments[0], "a field", &sealed); !status.ok()) {
    return throw_error(env, status.error());
  }
  const Result<bool> needs = sealer->needs_rotation(sealed);
  return needs.ok() ? flag_value(env, *needs) : throw_error(env, needs.error());
}

}  // namespace

napi_value fields_of_store(napi_env env, napi_callback_info info) {
  static constexpr std::array<Method, 4> kMethods{{{"seal", convert<&FieldSealer::seal>},
                                                   {"open", convert<&FieldSealer::open>},
                                                   {"keyId", key_id},
                                                   {"needsRotation", needs_rotation}}};
  const Arguments<1> arguments(env, info);
  Store* const self = Store::of(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  const napi_value object = Object(env).value();
  const Status status = define_own_functions(env, object, kMethods, {arguments.receiver, self});
  return status.ok() ? object : throw_error(env, status.error());
}

}  // namespace strongroom::addon
