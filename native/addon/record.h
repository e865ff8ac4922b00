// Options as TypeScript hands them over: an object whose members are read by name
//
// lib/ has checked them for the caller. Here they are checked against native/border.mjs: kInvalidOption names a member that
// is unknown, missing, of the wrong type or out of range. An undefined member is absent, and leaves what it is read into.
#pragma once

#include <node_api.h>

#include <array>
#include <chrono>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "addon/name_table.h"
#include "addon/value.h"
#include "base/byte_call.h"

namespace strongroom::addon {

class Record {
 public:
  // `path` stands before the names in messages.
  [[nodiscard]] static Result<Record> of(napi_env env, napi_value value, std::string_view path);

  // Refuses a member that is not among `known`, and the absence of one that is `needed`.
  [[nodiscard]] Status closed(std::initializer_list<std::string_view> known,
                              std::initializer_list<std::string_view> needed) const;

  [[nodiscard]] Status text(const char* name, std::string* out) const;
  [[nodiscard]] Status text(const char* name, std::optional<std::string>* out) const;
  [[nodiscard]] Status flag(const char* name, bool* out) const;
  // A whole number within [0, max].
  template <typename T>
  [[nodiscard]] Status whole(const char* name, double max, T* out) const {
    std::optional<T> number;
    SR_TRY(whole(name, max, &number));
    if (number) *out = *number;
    return {};
  }
  template <typename T>
  [[nodiscard]] Status whole(const char* name, double max, std::optional<T>* out) const {
    std::optional<double> number;
    SR_TRY(read_whole(name, max, &number));
    if (number) *out = static_cast<T>(*number);
    return {};
  }
  [[nodiscard]] Status whole_or_infinity(const char* name, double max, std::uint64_t infinity,
                                         std::optional<std::uint64_t>* out) const;
  [[nodiscard]] Status milliseconds(const char* name, double max, std::chrono::milliseconds* out) const;
  // A list of the bits that are set, each at most `highest`.
  [[nodiscard]] Status bits(const char* name, std::uint32_t highest, std::optional<std::uint32_t>* out) const;
  [[nodiscard]] Status secret(const char* name, const char* what, SecretBytes* out) const;
  [[nodiscard]] Status byte_call(const char* name, ByteCall* out) const;
  template <std::size_t N>
  [[nodiscard]] Status octets(const char* name, std::optional<std::array<std::uint8_t, N>>* out) const {
    ByteView bytes;
    SR_TRY(read_octets(name, N, &bytes));
    if (!bytes.empty()) std::copy(bytes.begin(), bytes.end(), out->emplace().begin());
    return {};
  }
  // A member that must be there, by its name in the table.
  template <typename Enum, std::size_t N>
  [[nodiscard]] Status name(const char* name, const NameTable<Enum, N>& table, Enum* out) const {
    std::string text;
    SR_TRY(this->text(name, &text));
    const Enum* const found = of_name(text, table);
    if (found == nullptr) return invalid(name);
    *out = *found;
    return {};
  }
  template <typename T>
  [[nodiscard]] Status record(const char* name, std::string_view path, T* out) const {
    const napi_value value = get(name);
    if (value == nullptr) return {};
    SR_ASSIGN(const Record given, Record::of(env_, value, path));
    return read(given, out);
  }
  template <typename T>
  [[nodiscard]] Status record(const char* name, std::string_view path, std::optional<T>* out) const {
    return get(name) == nullptr ? Status() : record(name, path, &out->emplace());
  }

  // Null when it is absent.
  [[nodiscard]] napi_value get(const char* name) const { return member(env_, object_, name); }
  [[nodiscard]] napi_env env() const { return env_; }
  [[nodiscard]] Status invalid(std::string_view name) const;

 private:
  Record(napi_env env, napi_value object, std::string_view path) : env_(env), object_(object), path_(path) {}
  [[nodiscard]] std::string full_name(std::string_view name) const;
  [[nodiscard]] Status read_whole(const char* name, double max, std::optional<double>* out) const;
  [[nodiscard]] Status read_octets(const char* name, std::size_t size, ByteView* out) const;

  napi_env env_;
  napi_value object_;
  std::string_view path_;
};

// What `read` of addon/border.h makes of an object.
template <typename T>
[[nodiscard]] Result<T> read_record(napi_env env, napi_value value, std::string_view path) {
  SR_ASSIGN(const Record given, Record::of(env, value, path));
  T out;
  SR_TRY(read(given, &out));
  return out;
}

}  // namespace strongroom::addon
