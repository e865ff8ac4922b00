// Inspection of a store without its keys.
#include "store/engine.h"
#include "store/vault.h"
#include "witnesses/tamper_file/tamper_witness.h"

namespace strongroom::store {
namespace {
constexpr std::int64_t kNanosecondsPerMs = 1'000'000;
}  // namespace

Result<Inspection> inspect(os::Environment environment, const std::string& path) {
  SR_ASSIGN(const std::shared_ptr<os::Directory> directory,
            environment.files.open_directory(path, os::DirectoryMode::kExisting));
  const Result<Bytes> file = read_persistence_file(*directory);
  if (file.is(Reason::kNotFound)) return Status(Reason::kNoStore, "there is no store in " + path);
  if (!file.ok()) return file.status();
  SR_ASSIGN(const std::vector<ParsedPersistence> parsed, parse_persistence(*file));
  Inspection out;
  out.header = parsed.front().header;
  out.one_copy_damaged = parsed.front().one_copy_damaged;
  SR_ASSIGN(const std::vector<std::string> names, directory->list());
  for (const std::string& name : names) {
    out.tamper_file_present |= name == kTamperFileName;
    if (name.ends_with(kNewSuffix) || !validate_vault_file_name(name).ok()) continue;
    out.vault_file_present = true;
    const Result<std::optional<os::FileInfo>> info = directory->stat(name);
    if (info.ok() && *info) out.vault_modified_ms = (*info)->modified_ns / kNanosecondsPerMs;
  }
  return out;
}

}  // namespace strongroom::store
