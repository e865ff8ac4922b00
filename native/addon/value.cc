#include "addon/value.h"

#include <cstring>

#include "addon/border.h"

namespace strongroom::addon {
namespace {

constexpr std::string_view kSystemPrefix = "strongroom/";

// Node-API writes U+FFFD for a lone surrogate. Whether the string really has one is asked only when that was
// seen.
bool well_formed(napi_env env, napi_value text) {
  std::size_t units = 0;
  if (napi_get_value_string_utf16(env, text, nullptr, 0, &units) != napi_ok) return false;
  std::u16string copy(units + 1, u'\0');
  napi_get_value_string_utf16(env, text, copy.data(), units + 1, &units);
  for (std::size_t i = 0; i < units; ++i) {
    const char16_t unit = copy[i];
    if (unit < 0xD800 || unit > 0xDFFF) continue;
    const bool pair = unit < 0xDC00 && i + 1 < units && copy[i + 1] >= 0xDC00 && copy[i + 1] <= 0xDFFF;
    if (!pair) return false;
    ++i;
  }
  return true;
}

// Of this thread's environment. Both throw for a view that cannot be read and call nothing of the caller's.
struct Builtins {
  napi_ref at = nullptr;           // %TypedArray%.prototype.at
  napi_ref byte_length = nullptr;  // the getter of DataView.prototype
};
thread_local Builtins builtins;

// Node-API gives an empty view for one that ends behind a buffer which was shrunk.
bool can_be_read(napi_env env, napi_value view, napi_ref builtin) {
  napi_value function = nullptr;
  if (napi_get_reference_value(env, builtin, &function) != napi_ok || function == nullptr) return false;
  if (napi_call_function(env, view, function, 0, nullptr, nullptr) == napi_ok) return true;
  napi_value ignored = nullptr;
  napi_get_and_clear_last_exception(env, &ignored);
  return false;
}

bool holds_replacement(std::string_view text) {
  const void* found = std::memchr(text.data(), 0xEF, text.size());
  return found != nullptr && text.find("\xEF\xBF\xBD") != std::string_view::npos;
}

}  // namespace

napi_value undefined(napi_env env) {
  napi_value value = nullptr;
  napi_get_undefined(env, &value);
  return value;
}

napi_value text_value(napi_env env, std::string_view text) {
  napi_value value = nullptr;
  napi_create_string_utf8(env, text.data(), text.size(), &value);
  return value;
}

napi_value number_value(napi_env env, double number) {
  napi_value value = nullptr;
  napi_create_double(env, number, &value);
  return value;
}

napi_value to_buffer(napi_env env, ByteView bytes) {
  napi_value value = nullptr;
  void* data = nullptr;
  if (napi_create_buffer(env, bytes.size(), &data, &value) != napi_ok) return nullptr;
  if (!bytes.empty()) std::memcpy(data, bytes.data(), bytes.size());
  return value;
}

napi_value to_hex_value(napi_env env, ByteView bytes) { return text_value(env, to_hex(bytes)); }

napi_value bits_value(napi_env env, std::uint32_t mask) {
  napi_value list = nullptr;
  napi_create_array(env, &list);
  std::uint32_t at = 0;
  for (std::uint32_t bit = 0; bit < 32; ++bit) {
    if ((mask >> bit & 1) != 0) napi_set_element(env, list, at++, count_value(env, bit));
  }
  return list;
}

napi_value throw_error(napi_env env, const Error& error) {
  napi_throw(env, describe(env, error));
  return nullptr;
}

napi_value throw_error(napi_env env, Reason reason, std::string detail) {
  return throw_error(env, Error{reason, std::move(detail), 0, false});
}

napi_valuetype type_of(napi_env env, napi_value value) {
  napi_valuetype type = napi_undefined;
  if (value != nullptr) napi_typeof(env, value, &type);
  return type;
}

void prepare_values(napi_env env) {
  const auto property = [env](napi_value object, const char* name) {
    napi_value value = nullptr;
    napi_get_named_property(env, object, name, &value);
    return value;
  };
  napi_value global = nullptr;
  napi_get_global(env, &global);
  napi_create_reference(env, property(property(property(global, "Uint8Array"), "prototype"), "at"), 1,
                        &builtins.at);
  const napi_value object = property(global, "Object");
  const std::array<napi_value, 2> arguments{property(property(global, "DataView"), "prototype"),
                                            text_value(env, "byteLength")};
  napi_value descriptor = nullptr;
  napi_call_function(env, object, property(object, "getOwnPropertyDescriptor"), arguments.size(),
                     arguments.data(), &descriptor);
  napi_create_reference(env, property(descriptor, "get"), 1, &builtins.byte_length);
}

Status read_bytes(napi_env env, napi_value value, const char* what, ByteView* out) {
  std::size_t length = 0;
  void* data = nullptr;
  napi_value buffer = nullptr;
  napi_ref builtin = nullptr;
  napi_typedarray_type type{};
  if (napi_get_typedarray_info(env, value, &type, &length, &data, &buffer, nullptr) == napi_ok) {
    if (type != napi_uint8_array) {
      return {Reason::kInvalidArgument, std::string(what) + " must be a Uint8Array, DataView or ArrayBuffer"};
    }
    builtin = builtins.at;
  } else if (bool is_view = false; napi_is_dataview(env, value, &is_view) == napi_ok && is_view) {
    napi_get_dataview_info(env, value, &length, &data, &buffer, nullptr);
    builtin = builtins.byte_length;
  } else if (napi_get_arraybuffer_info(env, value, &data, &length) == napi_ok) {
    buffer = value;
  } else {
    return {Reason::kInvalidArgument, std::string(what) + " must be a Uint8Array, DataView or ArrayBuffer"};
  }
  bool unshared = false;
  if (napi_is_arraybuffer(env, buffer, &unshared) != napi_ok || !unshared) {
    return {Reason::kInvalidArgument, std::string(what) + " must not be shared memory"};
  }
  if (length == 0) {
    bool detached = false;
    if (napi_is_detached_arraybuffer(env, buffer, &detached) != napi_ok || detached) {
      return {Reason::kInvalidArgument, std::string(what) + " is a detached buffer"};
    }
    if (builtin != nullptr && !can_be_read(env, value, builtin)) {
      return {Reason::kInvalidArgument, std::string(what) + " is a view of a buffer that became too short"};
    }
  }
  *out = {static_cast<const std::uint8_t*>(data), length};
  return {};
}

Status read_vault_value(napi_env env, napi_value value, ByteView* out) {
  SR_TRY(read_bytes(env, value, "a value", out));
  if (out->size() > limits::kValueBytesMax) {
    return {Reason::kValueTooLarge,
            "the value has " + std::to_string(out->size()) + " bytes; 16,777,216 is the most"};
  }
  return {};
}

Status KeyArgument::read(napi_env env, napi_value value) {
  std::size_t size = 0;
  if (napi_get_value_string_utf8(env, value, buffer_.data(), buffer_.size(), &size) == napi_ok) {
    view_ = {buffer_.data(), size};
    if (size <= limits::kKeyBytesMax && holds_replacement(view_) && !well_formed(env, value)) {
      return {Reason::kInvalidKey, "the key is not well-formed Unicode: it has a lone surrogate"};
    }
  } else {
    ByteView bytes;
    bool is_array = false;
    napi_is_typedarray(env, value, &is_array);
    if (!is_array) return {Reason::kInvalidArgument, "a key must be a string or a Uint8Array"};
    SR_TRY(read_bytes(env, value, "a key", &bytes));
    view_ = as_text(bytes);
  }
  if (view_.empty()) return {Reason::kInvalidKey, "the key is empty"};
  if (view_.size() > limits::kKeyBytesMax) return {Reason::kInvalidKey, "the key is longer than 1,024 bytes"};
  if (view_.starts_with(kSystemPrefix)) {
    return {Reason::kReservedKey, "keys that begin with 'strongroom/' belong to the vault itself"};
  }
  return {};
}

Status ContextArgument::read(napi_env env, napi_value value) {
  std::size_t size = 0;
  if (napi_get_value_string_utf8(env, value, buffer_.data(), buffer_.size(), &size) == napi_ok) {
    const std::string_view text(buffer_.data(), size);
    bytes_ = as_bytes(text);
    if (size <= limits::kFieldContextBytesMax && holds_replacement(text) && !well_formed(env, value)) {
      return {Reason::kInvalidArgument, "the context is not well-formed Unicode: it has a lone surrogate"};
    }
  } else {
    bool is_array = false;
    napi_is_typedarray(env, value, &is_array);
    if (!is_array) return {Reason::kInvalidArgument, "the context must be a string or a Uint8Array"};
    SR_TRY(read_bytes(env, value, "the context", &bytes_));
  }
  if (bytes_.size() <= limits::kFieldContextBytesMax) return {};
  return {Reason::kInvalidArgument, "a context has at most 1,024 bytes"};
}

std::optional<double> read_number(napi_env env, napi_value value) {
  double number = 0;
  if (value == nullptr || napi_get_value_double(env, value, &number) != napi_ok) return std::nullopt;
  return number;
}

std::optional<bool> read_boolean(napi_env env, napi_value value) {
  bool truth = false;
  if (value == nullptr || napi_get_value_bool(env, value, &truth) != napi_ok) return std::nullopt;
  return truth;
}

std::optional<std::string> read_string(napi_env env, napi_value value) {
  std::size_t size = 0;
  if (value == nullptr || napi_get_value_string_utf8(env, value, nullptr, 0, &size) != napi_ok)
    return std::nullopt;
  std::string text(size + 1, '\0');
  napi_get_value_string_utf8(env, value, text.data(), text.size(), &size);
  text.resize(size);
  return text;
}

napi_value member(napi_env env, napi_value object, const char* name) {
  napi_value value = nullptr;
  if (object == nullptr || napi_get_named_property(env, object, name, &value) != napi_ok) return nullptr;
  return type_of(env, value) == napi_undefined ? nullptr : value;
}

Result<SecretBytes> read_secret(napi_env env, napi_value value, const char* what) {
  if (value == nullptr || is_undefined(env, value)) return SecretBytes();
  ByteView bytes;
  SR_TRY(read_bytes(env, value, what, &bytes));
  if (bytes.size() > limits::kPasswordBytesMax) {
    return Status(Reason::kInvalidArgument, std::string(what) + " is longer than 4,096 bytes");
  }
  return SecretBytes(bytes);
}

}  // namespace strongroom::addon
