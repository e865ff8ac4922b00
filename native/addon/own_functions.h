// Functions that know their store: to unwrap a receiver takes a third of a call that is made for every record
#pragma once

#include <node_api.h>

#include <span>
#include <utility>

#include "base/status.h"

namespace strongroom::addon {

using Method = std::pair<const char*, napi_callback>;

// The store, and its object, which each of the functions holds, so that no call can outlive its store.
struct Owner {
  napi_value object;
  void* store;  // the functions get it as their data
};

// Sets the functions as properties of `object`.
[[nodiscard]] Status define_own_functions(napi_env env, napi_value object, std::span<const Method> methods,
                                          const Owner& owner);

}  // namespace strongroom::addon
