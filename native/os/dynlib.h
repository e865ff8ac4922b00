// Optional libraries, loaded at run time through a typed table: a struct of function pointers and one list
// that names them. Nothing that is loaded this way appears among the addon's NEEDED entries.
//
// Invariants:
// - Opened with RTLD_NOW | RTLD_LOCAL: nothing is bound lazily and no name leaks into the process.
//   Never RTLD_DEEPBIND: it crashes where Node has its own OpenSSL mapped, breaks under sanitizers and
//   preloaded allocators, and musl has no such flag.
// - Never closed: libraries such as GLib keep threads and registered types that do not survive it.
// - A table is complete or not there: one missing function is the same error as a missing library.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "base/status.h"

namespace strongroom::os {

// One entry: the function's name and where its address goes.
struct DynamicFunction {
  template <typename Function>
  DynamicFunction(const char* function_name, Function*& pointer)
      : name(function_name), target(&pointer), assign([](void* to, void* address) {
          *static_cast<Function**>(to) = reinterpret_cast<Function*>(address);
        }) {}

  const char* name;
  void* target;
  void (*assign)(void* to, void* address);
};

// Opens the first of `names` (sonames, for the loader's own search path) that is there and fills in every
// function; a function may come from a library that the opened one depends on. kLibraryMissing with
// `purpose`, the name and the loader's own words when no name opens or a function is missing; `package` is
// the Debian package to suggest.
[[nodiscard]] Status load_functions(std::string_view purpose, std::string_view package,
                                    std::initializer_list<const char*> names,
                                    std::initializer_list<DynamicFunction> functions);

// The absolute path of an existing file with every symbolic link resolved: the identity of a library that is loaded once
// however it is named. `path` is absolute (kInvalidArgument); kNotFound, kPermissionDenied, kIoError.
[[nodiscard]] Result<std::string> real_path(const std::string& path);

// Opens the library at exactly this absolute path; nothing is searched for. kLibraryMissing with the loader's own words.
[[nodiscard]] Status load_functions_at(std::string_view purpose, const std::string& path,
                                       std::initializer_list<DynamicFunction> functions);

}  // namespace strongroom::os
