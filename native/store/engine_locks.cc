// The locks of a store that is opened for writing, and the place of its directory.
//
// Invariants:
// - Locks are taken in one order, and no opener waits for one: the store's directory and its lock file
//   (setup_persistence_files), the instance in the SecretStore, the storage id on the host.
// - What a store shares with its copies is locked before it is read for the verdict, and before it is changed. So while one
//   of them is open for writing, no other moves a witness.
// - An opening for reading takes no lock.
#include "store/engine_state.h"

namespace strongroom::store {
namespace {

constexpr std::size_t kPlaceBytes = 2 * sizeof(std::uint64_t);

std::string host_lock_key(const StorageId& storage_id) {
  return to_hex(crypto::sha256({as_bytes("strongroom/v5 lock of a store"), storage_id}));
}

// Says what a lock means that is not the directory's own.
Status as_copy(const Status& status) {
  if (!status.is(Reason::kLocked)) return status;
  return {Reason::kLocked,
          "a copy of this store, or this store by another path, is open (" + status.error().detail + ")",
          status.error().system_error};
}

}  // namespace

Status Engine::State::lock_secrets() {
  if (options.read_only || !secrets || secrets_lock) return {};
  SR_ASSIGN(secrets_lock, secrets->lock());
  return {};
}

// A SecretStore without a lock of its own, and a device, are shared by what has the storage id. A file SecretStore that
// was copied together with the store's files is another one: such a copy shares nothing.
Status Engine::State::lock_shared(const StorageId& storage_id, const ProtectorKind& kind) {
  if (options.read_only) return {};
  if (const Status taken = lock_secrets(); !taken.ok()) return as_copy(taken);
  if (secrets_lock && !kind.is_shared_by_copies) return {};
  return lock_storage_id(storage_id);
}

Status Engine::State::lock_storage_id(const StorageId& storage_id) {
  if (storage_id_locked == storage_id) return {};
  storage_id_lock.reset();
  storage_id_locked.reset();
  Result<std::unique_ptr<os::FileLock>> taken = environment.files.lock_on_host(host_lock_key(storage_id));
  if (!taken.ok()) return as_copy(taken.status());
  storage_id_lock = *std::move(taken);
  storage_id_locked = storage_id;
  return {};
}

// In the reverse order of taking.
void Engine::State::release_locks() {
  storage_id_lock.reset();
  storage_id_locked.reset();
  secrets_lock.reset();
  lock.reset();
}

// The directory's identity: a copy has another one.
Result<Bytes> Engine::State::place() {
  SR_ASSIGN(const os::FileInfo info, directory->info());
  Bytes out(kPlaceBytes);
  store_le(out.data(), info.device);
  store_le(out.data() + sizeof(std::uint64_t), info.inode);
  return out;
}

Result<bool> Engine::State::is_at_recorded_place() {
  SR_ASSIGN(const std::optional<Bytes> recorded, system_record(kPlaceKey));
  SR_ASSIGN(const Bytes present, place());
  return recorded == present;
}

}  // namespace strongroom::store
