// The entry checkpoint. Nothing here is shared between environments: each worker has its own classes and stores.
#include <node_api.h>

#include "addon/certificates.h"
#include "addon/files.h"
#include "addon/store_parts.h"
#include "addon/task.h"
#include "addon/tokens.h"
#include "addon/value.h"
#include "crypto/crypto.h"
#ifdef STRONGROOM_TESTING
#include "addon/testing.h"
#endif

NAPI_MODULE_INIT() {
  using namespace strongroom::addon;  // NOLINT(google-build-using-namespace): one function, at the very edge
  prepare_values(env);
  Store::define(env, exports);
  define_parts(env);
  define_certificates(env, exports);
  define_files(env, exports);
  define_tasks(env, exports);
  define_tokens(env, exports);
  napi_set_named_property(env, exports, "libraryVersion",
                          text_value(env, strongroom::crypto::library_version()));
#ifdef STRONGROOM_TESTING
  testing::define_testing(env, exports);
#endif
  return exports;
}
