// PKCS#11 without a store: which tokens a module has, a new token, and how a token is named.
#pragma once

#include <node_api.h>

namespace strongroom::addon {

// Sets listTokens, initialiseToken and parsePkcs11Uri as properties of `exports`.
void define_tokens(napi_env env, napi_value exports);

}  // namespace strongroom::addon
