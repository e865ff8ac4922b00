#include "addon/tokens.h"

#include "addon/border.h"
#include "addon/task.h"

namespace strongroom::addon {
namespace {

// listTokens(TokenListing) -> Promise<TokenInfo[]>
napi_value list_tokens(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Result<TokenListing> read = read_record<TokenListing>(env, arguments[0], "protector");
  if (!read.ok()) return throw_error(env, read.error());
  auto tokens = std::make_shared<std::vector<roots::TokenInfo>>();
  Task task;
  task.work = [tokens, given = *std::move(read)]() -> Status {
    const auto listing = given.as_is ? roots::Listing::kAsIs : roots::Listing::kAgain;
    SR_ASSIGN(*tokens,
              roots::Token::list(given.locator.module, given.limit, given.locator.init_arguments, listing));
    return {};
  };
  task.cancellation = std::make_shared<Cancellation>();
  task.value = [tokens](napi_env task_env) { return describe(task_env, *tokens); };
  return start_task(env, nullptr, "strongroom.listTokens", std::move(task));
}

// initialiseToken(TokenPlan) -> Promise<TokenInfo>
napi_value initialise_token(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Result<TokenPlan> read = read_record<TokenPlan>(env, arguments[0], "protector");
  if (!read.ok()) return throw_error(env, read.error());
  auto plan = std::make_shared<TokenPlan>(*std::move(read));
  auto made = std::make_shared<roots::TokenInfo>();
  Task task;
  task.work = [plan, made]() -> Status {
    const roots::TokenLocator& locator = plan->locator;
    SR_ASSIGN(*made, roots::Token::initialise(locator.module, locator.slot_id.value_or(0),
                                              locator.label.value_or(""), plan->confirmation,
                                              std::move(plan->so_pin), std::move(plan->pin), plan->limit,
                                              locator.init_arguments));
    return {};
  };
  task.value = [made](napi_env task_env) { return describe(task_env, *made); };
  return start_task(env, nullptr, "strongroom.initialiseToken", std::move(task));
}

// parsePkcs11Uri(text) -> ParsedUri; what the URI does not name is undefined.
napi_value parse_uri(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  const std::optional<std::string> text = read_string(env, arguments[0]);
  if (!text) return throw_error(env, Reason::kInvalidOption, "protector.uri must be a string");
  const Result<roots::ParsedUri> parsed = roots::parse_pkcs11_uri(*text);
  return parsed.ok() ? describe(env, *parsed) : throw_error(env, parsed.error());
}

}  // namespace

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
