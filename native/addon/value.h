// Between Node-API values and the core's types. No JavaScript of anyone else runs inside these functions, so that views into
// JavaScript memory stay valid until the native call ends.
#pragma once

#include <node_api.h>

#include <array>
#include <concepts>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/secret_memory.h"
#include "base/status.h"

namespace strongroom::addon {

// --- out ---
[[nodiscard]] napi_value undefined(napi_env env);
[[nodiscard]] napi_value text_value(napi_env env, std::string_view text);
[[nodiscard]] napi_value number_value(napi_env env, double number);
// Of a bool and nothing that only converts to one, as a pointer does.
[[nodiscard]] napi_value flag_value(napi_env env, std::same_as<bool> auto truth) {
  napi_value value = nullptr;
  napi_get_boolean(env, truth, &value);
  return value;
}
[[nodiscard]] napi_value to_buffer(napi_env env, ByteView bytes);  // a copy
[[nodiscard]] napi_value to_hex_value(napi_env env, ByteView bytes);
[[nodiscard]] napi_value bits_value(napi_env env, std::uint32_t mask);  // a list of the bits that are set
// Generations, sizes and times: exact up to 2^53, as Number is.
[[nodiscard]] inline napi_value count_value(napi_env env, std::uint64_t number) {
  return number_value(env, static_cast<double>(number));
}
[[nodiscard]] inline napi_value time_value(napi_env env, std::int64_t ms) {
  return number_value(env, static_cast<double>(ms));
}

// An object being filled.
class Object {
 public:
  explicit Object(napi_env env) : env_(env) { napi_create_object(env, &value_); }
  Object& set(const char* name, napi_value value) {
    napi_set_named_property(env_, value_, name, value);
    return *this;
  }
  [[nodiscard]] napi_value value() const { return value_; }

 private:
  napi_env env_;
  napi_value value_ = nullptr;
};

// An array of what `make` makes of each entry; no handle of an entry outlives it, however long the list.
template <typename Entries, typename Make>
[[nodiscard]] napi_value list_value(napi_env env, const Entries& entries, const Make& make) {
  napi_value list = nullptr;
  napi_create_array_with_length(env, entries.size(), &list);
  std::uint32_t at = 0;
  for (const auto& entry : entries) {
    napi_handle_scope scope = nullptr;
    napi_open_handle_scope(env, &scope);
    napi_set_element(env, list, at++, make(entry));
    napi_close_handle_scope(env, scope);
  }
  return list;
}

// Throws what describe() of addon/border.h makes of it, for TypeScript to make an Error of; returns null for the caller to
// return.
napi_value throw_error(napi_env env, const Error& error);
napi_value throw_error(napi_env env, Reason reason, std::string detail);

// --- in ---
// Keeps the built-in functions that read_bytes() needs; once in each environment.
void prepare_values(napi_env env);

// The arguments of a call and its receiver; absent arguments are undefined.
template <std::size_t N>
struct Arguments {
  Arguments(napi_env env, napi_callback_info info) {
    std::size_t count = N;
    napi_get_cb_info(env, info, &count, values.data(), &receiver, &data);
  }
  napi_value operator[](std::size_t i) const { return values[i]; }
  std::array<napi_value, N> values{};
  napi_value receiver = nullptr;
  void* data = nullptr;
};

[[nodiscard]] napi_valuetype type_of(napi_env env, napi_value value);
[[nodiscard]] inline bool is_undefined(napi_env env, napi_value value) {
  return type_of(env, value) == napi_undefined;
}

// A view of a Uint8Array, DataView or ArrayBuffer. kInvalidArgument, naming `what`, for anything else, a detached buffer,
// a view that ends behind a buffer which was shrunk, or shared memory, which another thread could change under us.
[[nodiscard]] Status read_bytes(napi_env env, napi_value value, const char* what, ByteView* out);
// The same, 16 MiB at most: kValueTooLarge.
[[nodiscard]] Status read_vault_value(napi_env env, napi_value value, ByteView* out);

// A vault key. Lives on the stack of a native call.
class KeyArgument {
 public:
  // kInvalidArgument, kInvalidKey, kReservedKey.
  [[nodiscard]] Status read(napi_env env, napi_value value);
  [[nodiscard]] std::string_view text() const { return view_; }
  [[nodiscard]] ByteView bytes() const { return as_bytes(view_); }

 private:
  // A string that does not fit stops at most three bytes before the end of the buffer, and is then too long.
  std::array<char, limits::kKeyBytesMax + 5> buffer_;
  std::string_view view_;
};

// What a sealed field is bound to: a string, as its UTF-8 bytes, or bytes. Lives on the stack of a native call.
class ContextArgument {
 public:
  // kInvalidArgument.
  [[nodiscard]] Status read(napi_env env, napi_value value);
  [[nodiscard]] ByteView bytes() const { return bytes_; }

 private:
  // As in KeyArgument.
  std::array<char, limits::kFieldContextBytesMax + 5> buffer_;
  ByteView bytes_;
};

// What our own TypeScript hands over; a wrong type answers nullopt.
[[nodiscard]] std::optional<double> read_number(napi_env env, napi_value value);
[[nodiscard]] std::optional<bool> read_boolean(napi_env env, napi_value value);
[[nodiscard]] std::optional<std::string> read_string(napi_env env, napi_value value);
// Null when it is not an object or has no such member.
[[nodiscard]] napi_value member(napi_env env, napi_value object, const char* name);
// A copy into locked memory; empty when the value is undefined.
[[nodiscard]] Result<SecretBytes> read_secret(napi_env env, napi_value value, const char* what);

}  // namespace strongroom::addon
