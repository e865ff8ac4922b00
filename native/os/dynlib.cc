#include "os/dynlib.h"

#include <dlfcn.h>

#include <string>

namespace strongroom::os {
namespace {

Status missing(std::string_view purpose, std::string_view package, const std::string& why) {
  return Status(Reason::kLibraryMissing,
                std::string(purpose) + " needs a library that cannot be loaded: " + why +
                    " (Debian and Ubuntu: apt-get install " + std::string(package) + ")");
}

std::string loader_says() {
  const char* text = dlerror();
  return text != nullptr ? text : "unknown reason";
}

}  // namespace

Status load_functions(std::string_view purpose, std::string_view package,
                      std::initializer_list<const char*> names,
                      std::initializer_list<DynamicFunction> functions) {
  void* library = nullptr;
  std::string why;
  for (const char* name : names) {
    library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (library != nullptr) break;
    why += (why.empty() ? "" : "; ") + loader_says();
  }
  if (library == nullptr) return missing(purpose, package, why);
  for (const DynamicFunction& function : functions) {
    void* address = dlsym(library, function.name);
    if (address == nullptr) return missing(purpose, package, loader_says());
    function.assign(function.target, address);
  }
  return Status();
}

}  // namespace strongroom::os
