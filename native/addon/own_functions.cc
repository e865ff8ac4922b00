#include "addon/own_functions.h"

namespace strongroom::addon {

Status define_own_functions(napi_env env, napi_value object, std::span<const Method> methods,
                            const Owner& owner) {
  for (const auto& [name, callback] : methods) {
    napi_value function = nullptr;
    napi_property_descriptor holder{"store", nullptr,      nullptr,      nullptr,
                                    nullptr, owner.object, napi_default, nullptr};
    if (napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, owner.store, &function) != napi_ok ||
        napi_define_properties(env, function, 1, &holder) != napi_ok) {
      return {Reason::kInternal, "Node refused a function"};
    }
    napi_property_descriptor property{name,    nullptr,  nullptr,      nullptr,
                                      nullptr, function, napi_default, nullptr};
    if (napi_define_properties(env, object, 1, &property) != napi_ok) {
      return {Reason::kInternal, "Node refused a function"};
    }
  }
  return {};
}

}  // namespace strongroom::addon
