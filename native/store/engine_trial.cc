// What a start tries before it writes, and what a refused COLDSTART takes back: a refusal leaves the disk as it was.
#include <algorithm>

#include "store/engine_state.h"

namespace strongroom::store {

Status Engine::State::try_witnesses() {
  for (const std::unique_ptr<Witness>& witness : witnesses->each()) {
    const Observation* const found = evidence.of(witness->kind());
    if (found != nullptr) SR_TRY(witness->try_write(*found));
  }
  return {};
}

void Engine::State::remove_what_was_made() {
  // Without the lock the directory may be one that another process has made meanwhile.
  if (stage == Stage::kOpen || !locks.has_directory() || !(directory_made || secrets_directory_made)) return;
  const Result<std::vector<std::string>> names = directory->list();
  const bool empty = names.ok() && std::all_of(names->begin(), names->end(),
                                               [](const std::string& name) { return name == kLockFileName; });
  if (!empty) return;
  constexpr const char* kWhy = "the refusal is what there is to report";
  if (secrets_directory_made && secrets) {
    if (locks.has_instance()) secrets->remove_lock().ignore(kWhy);
    environment.files.remove_directory(secret_config.directory).ignore("other instances may be there by now");
  }
  if (!directory_made) return;
  directory->remove(kLockFileName).ignore(kWhy);
  environment.files.remove_directory(options.directory).ignore(kWhy);
}

Status Engine::State::lock_shared(const StorageId& storage_id, const ProtectorKind& kind) {
  return options.read_only ? Status() : locks.take_shared(secrets.get(), storage_id, kind);
}

Result<Bytes> Engine::State::place() {
  SR_ASSIGN(const os::FileInfo info, directory->info());
  Bytes out(2 * sizeof(std::uint64_t));
  store_le(out.data(), info.device);
  store_le(out.data() + sizeof(std::uint64_t), info.inode);
  return out;
}

Result<bool> Engine::State::is_at_recorded_place() {
  SR_ASSIGN(const std::optional<Bytes> recorded, vault.record(kPlaceKey));
  SR_ASSIGN(const Bytes present, place());
  return recorded == present;
}

}  // namespace strongroom::store
