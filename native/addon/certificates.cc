#include "addon/certificates.h"

#include <cmath>
#include <vector>

#include "addon/border.h"

namespace strongroom::addon {
namespace {

constexpr double kLifetimeSecondsMax = 31 * 86400;
constexpr std::uint32_t kNamesMax = 64;

std::optional<std::vector<std::string>> read_names(napi_env env, napi_value list) {
  std::uint32_t count = 0;
  if (napi_get_array_length(env, list, &count) != napi_ok || count > kNamesMax) return std::nullopt;
  std::vector<std::string> names;
  for (std::uint32_t at = 0; at < count; ++at) {
    napi_value item = nullptr;
    if (napi_get_element(env, list, at, &item) != napi_ok) return std::nullopt;
    std::optional<std::string> name = read_string(env, item);
    if (!name) return std::nullopt;
    names.push_back(std::move(*name));
  }
  return names;
}

// temporaryCertificate(names, lifetimeSeconds) -> {key, certificate}, both PEM; the caller wipes the key.
napi_value temporary_certificate(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  const auto names = read_names(env, arguments[0]);
  const auto lifetime = read_number(env, arguments[1]);
  if (!names || !lifetime || !(*lifetime >= 1) || *lifetime > kLifetimeSecondsMax) {
    return throw_error(env, Reason::kInvalidArgument, "temporaryCertificate: a wrong argument");
  }
  const Result<crypto::TemporaryCertificate> made = crypto::make_temporary_certificate(
      *names, std::chrono::seconds(static_cast<std::int64_t>(std::floor(*lifetime))));
  if (!made.ok()) return throw_error(env, made.error());
  return describe(env, *made);
}

}  // namespace

void define_certificates(napi_env env, napi_value exports) {
  napi_value value = nullptr;
  napi_create_function(env, "temporaryCertificate", NAPI_AUTO_LENGTH, temporary_certificate, nullptr, &value);
  napi_set_named_property(env, exports, "temporaryCertificate", value);
}

}  // namespace strongroom::addon
