// PKCS#11 without a store: which tokens a module has, a new token, and how a token is named.
#pragma once

#include <node_api.h>

#include "base/status.h"
#include "roots/pkcs11/token.h"

namespace strongroom::addon {

// {module, label, serial, slotId, manufacturer, model, object, initArguments}; kInvalidOption.
[[nodiscard]] Result<roots::TokenLocator> read_token_locator(napi_env env, napi_value value);

// Sets listTokens, initialiseToken and parsePkcs11Uri as properties of `exports`.
void define_tokens(napi_env env, napi_value exports);

}  // namespace strongroom::addon
