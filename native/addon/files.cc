#include "addon/files.h"

#include <algorithm>
#include <memory>

#include "addon/border.h"
#include "addon/task.h"
#include "os/os.h"
#include "os/posix.h"

namespace strongroom::addon {
namespace {

// Of one directory in all; what does not fit is too large.
constexpr std::size_t kAllFilesBytesMax = std::size_t{256} << 20;

struct FileEntry {
  std::string name;
  Result<Bytes> content;
};

// A file larger than the limit is the caller's affair here, and no damage.
Result<Bytes> read_file_of(os::Directory& directory, std::string_view name, std::size_t bytes_max) {
  Result<Bytes> content = os::read_whole(directory, name, bytes_max);
  if (content.is(Reason::kPersistenceCorrupt)) return Status(Reason::kValueTooLarge, content.error().detail);
  return content;
}

napi_value entry_value(napi_env env, const FileEntry& entry) {
  Object object(env);
  object.set("name", text_value(env, entry.name));
  if (entry.content.ok()) {
    object.set("content", to_buffer(env, *entry.content));
  } else {
    const Error& error = entry.content.error();
    object.set("error", Object(env)
                            .set("code", text_value(env, error_info(error.reason).code))
                            .set("reason", text_value(env, error_info(error.reason).reason))
                            .set("message", text_value(env, error.detail))
                            .value());
  }
  return object.value();
}

// readDirectoryFiles(path, suffix, bytesMax, filesMax) -> Promise<Array<{name, content} | {name, error}> |
// undefined>
napi_value read_directory_files(napi_env env, napi_callback_info info) {
  const Arguments<4> arguments(env, info);
  const auto path = read_string(env, arguments[0]);
  const auto suffix = read_string(env, arguments[1]);
  const auto bytes_max = read_number(env, arguments[2]);
  const auto files_max = read_number(env, arguments[3]);
  if (!path || !suffix || !bytes_max || !files_max) {
    return throw_error(env, Reason::kInvalidArgument, "readDirectoryFiles: a wrong argument");
  }
  struct Found {
    bool directory = false;
    std::vector<FileEntry> files;
  };
  auto found = std::make_shared<Found>();
  Task task;
  task.work = [=, path = *path, suffix = *suffix]() -> Status {
    auto directory = os::posix_files().open_directory(path, os::DirectoryMode::kForeignReadOnly);
    if (directory.is(Reason::kNotFound)) return {};
    if (!directory.ok()) return directory.status();
    found->directory = true;
    SR_ASSIGN(const std::vector<std::string> names, (*directory)->list());
    std::size_t left = kAllFilesBytesMax;
    for (const std::string& name : names) {
      SR_TRY(check_cancelled());
      if (!name.ends_with(suffix)) continue;
      if (found->files.size() >= static_cast<std::size_t>(*files_max)) break;
      const auto most = static_cast<std::size_t>(*bytes_max);
      Result<Bytes> content = read_file_of(**directory, name, std::min(left, most));
      if (content.ok()) left -= content->size();
      if (content.is(Reason::kValueTooLarge) && left < most) {
        content = Status(Reason::kValueTooLarge, path + ": more than " + std::to_string(kAllFilesBytesMax) +
                                                     " bytes in files of this kind");
      }
      found->files.push_back({name, std::move(content)});
    }
    return {};
  };
  task.cancellation = std::make_shared<Cancellation>();
  task.value = [found](napi_env task_env) {
    if (!found->directory) return undefined(task_env);
    return list_value(task_env, found->files,
                      [task_env](const FileEntry& entry) { return entry_value(task_env, entry); });
  };
  return start_task(env, nullptr, "strongroom.readDirectoryFiles", std::move(task));
}

// readFile(path, bytesMax) -> Promise<Buffer>. The native copy is wiped, since the file may hold a password.
napi_value read_file(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  const auto path = read_string(env, arguments[0]);
  const auto bytes_max = read_number(env, arguments[1]);
  if (!path || !bytes_max) return throw_error(env, Reason::kInvalidArgument, "readFile: a wrong argument");
  auto content = std::make_shared<WipedBuffer>();
  Task task;
  task.work = [=, path = *path]() -> Status {
    SR_ASSIGN(Bytes bytes, os::read_named_file(path, static_cast<std::size_t>(*bytes_max)));
    *content = WipedBuffer(bytes);
    wipe(bytes);
    return {};
  };
  task.value = [content](napi_env task_env) { return to_buffer(task_env, content->view()); };
  return start_task(env, nullptr, "strongroom.readFile", std::move(task));
}

// readDescriptor(fd, bytesMax) -> Promise<Buffer>. As readFile, for a descriptor that came with the process.
napi_value read_descriptor(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  const auto descriptor = read_number(env, arguments[0]);
  const auto bytes_max = read_number(env, arguments[1]);
  if (!descriptor || !bytes_max) {
    return throw_error(env, Reason::kInvalidArgument, "readDescriptor: a wrong argument");
  }
  auto content = std::make_shared<WipedBuffer>();
  Task task;
  task.work = [=]() -> Status {
    SR_ASSIGN(Bytes bytes,
              os::read_descriptor(static_cast<int>(*descriptor), static_cast<std::size_t>(*bytes_max)));
    *content = WipedBuffer(bytes);
    wipe(bytes);
    return {};
  };
  task.value = [content](napi_env task_env) { return to_buffer(task_env, content->view()); };
  return start_task(env, nullptr, "strongroom.readDescriptor", std::move(task));
}

// relatePlaces(one, other) -> Promise<{overlap, sameFileSystem}>
napi_value relate_places(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  const auto one = read_string(env, arguments[0]);
  const auto other = read_string(env, arguments[1]);
  if (!one || !other) return throw_error(env, Reason::kInvalidArgument, "relatePlaces: a wrong argument");
  auto relation = std::make_shared<os::PlaceRelation>();
  Task task;
  task.work = [=, one = *one, other = *other]() -> Status {
    SR_ASSIGN(*relation, os::relate(one, other));
    return {};
  };
  task.value = [relation](napi_env task_env) { return describe(task_env, *relation); };
  return start_task(env, nullptr, "strongroom.relatePlaces", std::move(task));
}

// inspect(directory) -> Promise<object>
napi_value inspect(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  const auto path = read_string(env, arguments[0]);
  if (!path) return throw_error(env, Reason::kInvalidArgument, "inspect: the directory must be a string");
  auto inspection = std::make_shared<InspectionReport>();
  Task task;
  task.work = [inspection, path = *path]() -> Status {
    SR_ASSIGN(store::Inspection found,
              store::inspect(os::Environment{os::posix_files(), os::posix_clock()}, path));
    *inspection = report_of(std::move(found));
    return {};
  };
  task.cancellation = std::make_shared<Cancellation>();
  task.value = [inspection](napi_env task_env) { return describe(task_env, *inspection); };
  return start_task(env, nullptr, "strongroom.inspect", std::move(task));
}

}  // namespace

void define_files(napi_env env, napi_value exports) {
  const auto function = [&](const char* name, napi_callback callback) {
    napi_value value = nullptr;
    napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &value);
    napi_set_named_property(env, exports, name, value);
  };
  function("readDirectoryFiles", read_directory_files);
  function("readFile", read_file);
  function("readDescriptor", read_descriptor);
  function("relatePlaces", relate_places);
  function("inspect", inspect);
}

}  // namespace strongroom::addon
