// Reading files that are not the store's: manifests, and the secrets that a command line names.
#pragma once

#include <node_api.h>

namespace strongroom::addon {

// Sets readDirectoryFiles, readFile, readDescriptor, relatePlaces and inspect as properties of `exports`.
void define_files(napi_env env, napi_value exports);

}  // namespace strongroom::addon
