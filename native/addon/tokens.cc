#include "addon/tokens.h"

#include <cmath>

#include "addon/task.h"
#include "addon/value.h"

namespace strongroom::addon {
namespace {

constexpr double kSlotIdMax = 9007199254740991;  // 2^53 - 1
constexpr double kTimeLimitMsMax = 3'600'000;

Status invalid(const char* name) {
  return {Reason::kInvalidOption,
          std::string("protector.") + name + " has the wrong type or is out of range"};
}

Status read_text(napi_env env, napi_value object, const char* name, std::optional<std::string>* out) {
  const napi_value value = member(env, object, name);
  if (value == nullptr) return {};
  *out = read_string(env, value);
  return *out ? Status() : invalid(name);
}

Result<std::optional<double>> read_whole(napi_env env, napi_value object, const char* name, double max) {
  const napi_value value = member(env, object, name);
  if (value == nullptr) return std::optional<double>();
  const std::optional<double> number = read_number(env, value);
  if (!number || !(*number >= 0) || *number > max || std::floor(*number) != *number) return invalid(name);
  return number;
}

Result<std::chrono::milliseconds> read_limit(napi_env env, napi_value object) {
  SR_ASSIGN(const std::optional<double> limit, read_whole(env, object, "timeLimitMs", kTimeLimitMsMax));
  return limit ? std::chrono::milliseconds(static_cast<std::int64_t>(*limit)) : roots::kTokenTimeLimit;
}

napi_value describe(napi_env env, const roots::TokenInfo& token) {
  napi_value pin_bytes = undefined(env);
  if (token.pin_limits) {
    pin_bytes = Object(env)
                    .set("min", count_value(env, token.pin_limits->min))
                    .set("max", count_value(env, token.pin_limits->max))
                    .value();
  }
  return Object(env)
      .set("slotId", count_value(env, token.slot_id))
      .set("label", to_value(env, std::string_view(token.label)))
      .set("serial", to_value(env, std::string_view(token.serial)))
      .set("manufacturer", to_value(env, std::string_view(token.manufacturer)))
      .set("model", to_value(env, std::string_view(token.model)))
      .set("initialised", to_value(env, token.initialised))
      .set("pinInitialised", to_value(env, token.pin_initialised))
      .set("pinLocked", to_value(env, token.pin_locked))
      .set("pinBytes", pin_bytes)
      .value();
}

// listTokens({module, initArguments, timeLimitMs, asIs}) -> Promise<object[]>
napi_value list_tokens(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  const Result<roots::TokenLocator> locator = read_token_locator(env, arguments[0]);
  if (!locator.ok()) return throw_error(env, locator.error());
  const Result<std::chrono::milliseconds> limit = read_limit(env, arguments[0]);
  if (!limit.ok()) return throw_error(env, limit.error());
  const bool as_is = read_boolean(env, member(env, arguments[0], "asIs")).value_or(false);
  const auto listing = as_is ? roots::Listing::kAsIs : roots::Listing::kAgain;
  auto tokens = std::make_shared<std::vector<roots::TokenInfo>>();
  Task task;
  task.work = [tokens, module = locator->module, init = locator->init_arguments, limit = *limit,
               listing]() -> Status {
    SR_ASSIGN(*tokens, roots::Token::list(module, limit, init, listing));
    return {};
  };
  task.cancellation = std::make_shared<Cancellation>();
  task.value = [tokens](napi_env task_env) {
    return list_value(task_env, *tokens,
                      [task_env](const roots::TokenInfo& token) { return describe(task_env, token); });
  };
  return start_task(env, nullptr, "strongroom.listTokens", std::move(task));
}

// initialiseToken({module, slotId, label, confirmation, soPin, pin, initArguments, timeLimitMs}) -> Promise<object>
napi_value initialise_token(napi_env env, napi_callback_info info) {
  struct Plan {
    roots::TokenLocator locator;
    std::optional<std::string> confirmation;
    SecretBytes so_pin;
    SecretBytes pin;
    std::chrono::milliseconds limit{};
    roots::TokenInfo made;
  };
  const Arguments<1> arguments(env, info);
  auto plan = std::make_shared<Plan>();
  const auto read = [&]() -> Status {
    SR_ASSIGN(plan->locator, read_token_locator(env, arguments[0]));
    if (!plan->locator.slot_id) return invalid("slotId");
    if (!plan->locator.label) return invalid("label");
    SR_TRY(read_text(env, arguments[0], "confirmation", &plan->confirmation));
    SR_ASSIGN(plan->limit, read_limit(env, arguments[0]));
    SR_ASSIGN(plan->so_pin, read_secret(env, member(env, arguments[0], "soPin"), "the SO PIN"));
    SR_ASSIGN(plan->pin, read_secret(env, member(env, arguments[0], "pin"), "the PIN"));
    return {};
  };
  if (const Status status = read(); !status.ok()) return throw_error(env, status.error());
  Task task;
  task.work = [plan]() -> Status {
    const roots::TokenLocator& locator = plan->locator;
    SR_ASSIGN(plan->made,
              roots::Token::initialise(locator.module, *locator.slot_id, *locator.label,
                                       plan->confirmation.value_or(""), std::move(plan->so_pin),
                                       std::move(plan->pin), plan->limit, locator.init_arguments));
    return {};
  };
  task.value = [plan](napi_env task_env) { return describe(task_env, plan->made); };
  return start_task(env, nullptr, "strongroom.initialiseToken", std::move(task));
}

// parsePkcs11Uri(text) -> {module, label, serial, slotId, manufacturer, model, object, id, pinSource}; what the URI does not
// name is undefined.
napi_value parse_uri(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  const std::optional<std::string> text = read_string(env, arguments[0]);
  if (!text) return throw_error(env, Reason::kInvalidOption, "protector.uri must be a string");
  const Result<roots::ParsedUri> parsed = roots::parse_pkcs11_uri(*text);
  if (!parsed.ok()) return throw_error(env, parsed.error());
  const roots::TokenLocator& locator = parsed->locator;
  const auto optional = [env](const std::optional<std::string>& value) {
    return value ? to_value(env, std::string_view(*value)) : undefined(env);
  };
  const auto unless_empty = [env](const std::string& value) {
    return value.empty() ? undefined(env) : to_value(env, std::string_view(value));
  };
  return Object(env)
      .set("module", unless_empty(locator.module))
      .set("label", optional(locator.label))
      .set("serial", optional(locator.serial))
      .set("slotId", locator.slot_id ? count_value(env, *locator.slot_id) : undefined(env))
      .set("manufacturer", optional(locator.manufacturer))
      .set("model", optional(locator.model))
      .set("object", unless_empty(locator.object))
      .set("id", parsed->id ? to_hex_value(env, *parsed->id) : undefined(env))
      .set("pinSource", optional(parsed->pin_source))
      .value();
}

}  // namespace

Result<roots::TokenLocator> read_token_locator(napi_env env, napi_value value) {
  roots::TokenLocator locator;
  std::optional<std::string> module;
  std::optional<std::string> object;
  std::optional<std::string> init_arguments;
  SR_TRY(read_text(env, value, "module", &module));
  SR_TRY(read_text(env, value, "label", &locator.label));
  SR_TRY(read_text(env, value, "serial", &locator.serial));
  SR_TRY(read_text(env, value, "manufacturer", &locator.manufacturer));
  SR_TRY(read_text(env, value, "model", &locator.model));
  SR_TRY(read_text(env, value, "object", &object));
  SR_TRY(read_text(env, value, "initArguments", &init_arguments));
  SR_ASSIGN(const std::optional<double> slot, read_whole(env, value, "slotId", kSlotIdMax));
  if (slot) locator.slot_id = static_cast<std::uint64_t>(*slot);
  locator.module = module.value_or("");
  locator.object = object.value_or("");
  locator.init_arguments = init_arguments.value_or("");
  return locator;
}

void define_tokens(napi_env env, napi_value exports) {
  const auto function = [&](const char* name, napi_callback callback) {
    napi_value value = nullptr;
    napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &value);
    napi_set_named_property(env, exports, name, value);
  };
  function("listTokens", list_tokens);
  function("initialiseToken", initialise_token);
  function("parsePkcs11Uri", parse_uri);
}

}  // namespace strongroom::addon
