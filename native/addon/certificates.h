// A certificate for a server that lives for minutes.
#pragma once

#include <node_api.h>

namespace strongroom::addon {

// Sets temporaryCertificate as a property of `exports`.
void define_certificates(napi_env env, napi_value exports);

}  // namespace strongroom::addon
