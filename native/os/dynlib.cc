#include "os/dynlib.h"

#include <dlfcn.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

namespace strongroom::os {
namespace {

Status missing(std::string_view purpose, const std::string& why) {
  return Status(Reason::kLibraryMissing,
                std::string(purpose) + " needs a library that cannot be loaded: " + why);
}

std::string how_to_install(std::string_view package) {
  return " (Debian and Ubuntu: apt-get install " + std::string(package) + ")";
}

std::string loader_says() {
  const char* text = dlerror();
  return text != nullptr ? text : "unknown reason";
}

// The name of the first function that the library does not have, or null.
const char* fill(void* library, std::initializer_list<DynamicFunction> functions) {
  for (const DynamicFunction& function : functions) {
    void* address = dlsym(library, function.name);
    if (address == nullptr) return function.name;
    function.assign(function.target, address);
  }
  return nullptr;
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
  if (library == nullptr) return missing(purpose, why + how_to_install(package));
  if (fill(library, functions) != nullptr) return missing(purpose, loader_says() + how_to_install(package));
  return Status();
}

Result<std::string> real_path(const std::string& path) {
  if (path.empty() || path.front() != '/' || path.find('\0') != std::string::npos) {
    return Status(Reason::kInvalidArgument, "not an absolute path: " + path);
  }
  // A null buffer asks for one of the right size (POSIX.1-2008).
  const std::unique_ptr<char, void (*)(void*)> resolved(::realpath(path.c_str(), nullptr), std::free);
  if (resolved != nullptr) return std::string(resolved.get());
  const int error = errno;
  const Reason reason = error == ENOENT || error == ENOTDIR ? Reason::kNotFound
                        : error == EACCES                   ? Reason::kPermissionDenied
                                                            : Reason::kIoError;
  return Status(reason, path + ": " + std::strerror(error), error);
}

Status load_functions_at(std::string_view purpose, const std::string& path,
                         std::initializer_list<DynamicFunction> functions) {
  if (path.empty() || path.front() != '/') {
    return Status(Reason::kInvalidArgument, "not an absolute path: " + path);
  }
  void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr || fill(library, functions) != nullptr) return missing(purpose, loader_says());
  return Status();
}

}  // namespace strongroom::os
