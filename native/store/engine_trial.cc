// What a start tries before it writes, and what a refused COLDSTART takes back: a refusal leaves the disk as it was.
#include <algorithm>

#include "store/engine_state.h"

namespace strongroom::store {

Status Engine::State::try_witnesses() {
  if (evidence.tamper.present) SR_TRY(directory->open(kTamperFileName, os::OpenMode::kReadWrite).status());
  return secrets ? secrets->try_write() : Status();
}

void Engine::State::remove_what_was_made() {
  // Without the lock the directory may be one that another process has made meanwhile.
  if (stage == Stage::kOpen || !lock || !(directory_made || secrets_directory_made)) return;
  const Result<std::vector<std::string>> names = directory->list();
  const bool empty = names.ok() && std::all_of(names->begin(), names->end(),
                                               [](const std::string& name) { return name == kLockFileName; });
  if (!empty) return;
  constexpr const char* kWhy = "the refusal is what there is to report";
  if (secrets_directory_made && secrets) {
    if (secrets_lock) secrets->remove_lock().ignore(kWhy);
    environment.files.remove_directory(secret_config.directory).ignore("other instances may be there by now");
  }
  if (!directory_made) return;
  directory->remove(kLockFileName).ignore(kWhy);
  environment.files.remove_directory(options.directory).ignore(kWhy);
}

}  // namespace strongroom::store
