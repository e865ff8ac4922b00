#include "addon/record.h"

#include <algorithm>
#include <cmath>

#include "addon/byte_calls.h"

namespace strongroom::addon {

Result<Record> Record::of(napi_env env, napi_value value, std::string_view path) {
  if (type_of(env, value) != napi_object) {
    const std::string what = path.empty() ? "the options" : "the option " + std::string(path);
    return Status(Reason::kInvalidOption, what + " must be an object");
  }
  return Record(env, value, path);
}

std::string Record::full_name(std::string_view name) const {
  return path_.empty() ? std::string(name) : std::string(path_) + "." + std::string(name);
}

Status Record::invalid(std::string_view name) const {
  return {Reason::kInvalidOption, "the option " + full_name(name) + " has the wrong type or is out of range"};
}

Status Record::closed(std::initializer_list<std::string_view> known,
                      std::initializer_list<std::string_view> needed) const {
  napi_value names = nullptr;
  std::uint32_t count = 0;
  if (napi_get_all_property_names(env_, object_, napi_key_own_only, napi_key_skip_symbols,
                                  napi_key_numbers_to_strings, &names) != napi_ok ||
      napi_get_array_length(env_, names, &count) != napi_ok) {
    return {Reason::kInvalidOption, "the options cannot be read"};
  }
  for (std::uint32_t at = 0; at < count; ++at) {
    napi_value value = nullptr;
    napi_get_element(env_, names, at, &value);
    const std::string name = read_string(env_, value).value_or("");
    if (std::ranges::find(known, name) == known.end()) {
      return {Reason::kInvalidOption, "there is no option '" + full_name(name) + "'"};
    }
  }
  for (const std::string_view name : needed) {
    if (get(name.data()) == nullptr) {
      return {Reason::kInvalidOption, "the option " + full_name(name) + " is missing"};
    }
  }
  return {};
}

Status Record::text(const char* name, std::string* out) const {
  std::optional<std::string> text;
  SR_TRY(this->text(name, &text));
  if (text) *out = *std::move(text);
  return {};
}

Status Record::text(const char* name, std::optional<std::string>* out) const {
  const napi_value value = get(name);
  if (value == nullptr) return {};
  *out = read_string(env_, value);
  return *out ? Status() : invalid(name);
}

Status Record::flag(const char* name, bool* out) const {
  const napi_value value = get(name);
  if (value == nullptr) return {};
  const std::optional<bool> truth = read_boolean(env_, value);
  if (!truth) return invalid(name);
  *out = *truth;
  return {};
}

Status Record::read_whole(const char* name, double max, std::optional<double>* out) const {
  const napi_value value = get(name);
  if (value == nullptr) return {};
  const std::optional<double> number = read_number(env_, value);
  if (!number || !(*number >= 0) || *number > max || std::floor(*number) != *number) return invalid(name);
  *out = number;
  return {};
}

Status Record::whole_or_infinity(const char* name, double max, std::uint64_t infinity,
                                 std::optional<std::uint64_t>* out) const {
  const std::optional<double> number = read_number(env_, get(name));
  if (!number || !std::isinf(*number) || *number < 0) return whole(name, max, out);
  *out = infinity;
  return {};
}

Status Record::milliseconds(const char* name, double max, std::chrono::milliseconds* out) const {
  std::int64_t number = out->count();
  SR_TRY(whole(name, max, &number));
  *out = std::chrono::milliseconds(number);
  return {};
}

Status Record::bits(const char* name, std::uint32_t highest, std::optional<std::uint32_t>* out) const {
  const napi_value list = get(name);
  if (list == nullptr) return {};
  std::uint32_t count = 0;
  if (napi_get_array_length(env_, list, &count) != napi_ok) return invalid(name);
  std::uint32_t& mask = out->emplace(0);
  for (std::uint32_t at = 0; at < count; ++at) {
    napi_value element = nullptr;
    napi_get_element(env_, list, at, &element);
    const std::optional<double> bit = read_number(env_, element);
    if (!bit || !(*bit >= 0) || *bit > highest || std::floor(*bit) != *bit) return invalid(name);
    mask |= std::uint32_t{1} << static_cast<std::uint32_t>(*bit);
  }
  return {};
}

Status Record::secret(const char* name, const char* what, SecretBytes* out) const {
  SR_ASSIGN(*out, read_secret(env_, get(name), what));
  return {};
}

Status Record::byte_call(const char* name, ByteCall* out) const {
  const napi_value value = get(name);
  if (value == nullptr) return {};
  if (type_of(env_, value) != napi_function) return invalid(name);
  SR_ASSIGN(*out, make_byte_call(env_, value));
  return {};
}

Status Record::read_octets(const char* name, std::size_t size, ByteView* out) const {
  const napi_value value = get(name);
  if (value == nullptr) return {};
  SR_TRY(read_bytes(env_, value, name, out));
  return out->size() == size ? Status() : invalid(name);
}

}  // namespace strongroom::addon
