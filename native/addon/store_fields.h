// Sealed fields: `store.fields`
#pragma once

#include <node_api.h>

namespace strongroom::addon {

// The getter on a store: an object whose functions know the store, since they may be called for every field of a record.
napi_value fields_of_store(napi_env env, napi_callback_info info);

}  // namespace strongroom::addon
