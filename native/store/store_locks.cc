#include "store/store_locks.h"

#include "crypto/crypto.h"
#include "protectors/registry.h"

namespace strongroom::store {
namespace {

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

Status StoreLocks::take_directory(os::Directory& directory) {
  SR_ASSIGN(directory_, directory.lock_directory(kLockFileName));
  return {};
}

Status StoreLocks::take_instance(SecretStore& secrets) {
  if (instance_) return {};
  SR_ASSIGN(instance_, secrets.lock());
  return {};
}

// A SecretStore without a lock of its own, and a device, are shared by what has the storage id. A file SecretStore that
// was copied together with the store's files is another one: such a copy shares nothing.
Status StoreLocks::take_shared(SecretStore* secrets, const StorageId& storage_id, const ProtectorKind& kind) {
  if (secrets != nullptr) {
    if (const Status taken = take_instance(*secrets); !taken.ok()) return as_copy(taken);
  }
  if (instance_ && !kind.is_shared_by_copies) return {};
  if (ids_.size() == 1 && ids_.front().storage_id == storage_id) return {};
  ids_.clear();
  SR_ASSIGN(IdLock taken, lock_on_host(storage_id));
  ids_.push_back(std::move(taken));
  return {};
}

Status StoreLocks::take_all(const std::vector<StorageId>& storage_ids, const ProtectorKind& kind) {
  if (instance_ && !kind.is_shared_by_copies) return {};
  ids_.clear();
  for (const StorageId& storage_id : storage_ids) {
    SR_ASSIGN(IdLock taken, lock_on_host(storage_id));
    ids_.push_back(std::move(taken));
  }
  return {};
}

Result<StoreLocks::IdLock> StoreLocks::lock_on_host(const StorageId& storage_id) {
  Result<std::unique_ptr<os::FileLock>> taken = files_.lock_on_host(host_lock_key(storage_id));
  if (!taken.ok()) return as_copy(taken.status());
  return IdLock{storage_id, *std::move(taken)};
}

void StoreLocks::release() {
  ids_.clear();
  instance_.reset();
  directory_.reset();
}

}  // namespace strongroom::store
