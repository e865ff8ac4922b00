// The locks of a store that is opened for writing.
//
// Invariants:
// - Locks are taken in one order, and no opener waits for one: the store's directory and its lock file, the instance in the
//   SecretStore, the storage id on the host.
// - What a store shares with its copies is locked before it is read for the verdict, and before it is changed. So while one
//   of them is open for writing, no other moves a witness.
// Each is released after those behind it. An opening for reading takes none: its caller sees to that.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "os/os.h"
#include "protectors/key_protector.h"

namespace strongroom::store {

inline constexpr std::string_view kLockFileName = "lock";

class StoreLocks {
 public:
  explicit StoreLocks(os::FileSystem& files) : files_(files) {}

  [[nodiscard]] Status take_directory(os::Directory& directory);
  // Of the instance in the SecretStore; nothing where that has no lock.
  [[nodiscard]] Status take_instance(SecretStore& secrets);
  // What the store shares with its copies: the instance, where there is a SecretStore, and the storage id.
  [[nodiscard]] Status take_shared(SecretStore* secrets, const StorageId& storage_id,
                                   const ProtectorKind& kind);
  // The same of what is left of stores: those of several storage ids.
  [[nodiscard]] Status take_all(const std::vector<StorageId>& storage_ids, const ProtectorKind& kind);
  void release();

  [[nodiscard]] bool has_directory() const { return directory_ != nullptr; }
  [[nodiscard]] bool has_instance() const { return instance_ != nullptr; }

 private:
  // On the host. An absent lock counts as taken, where the host has no place for it.
  struct IdLock {
    StorageId storage_id{};
    std::unique_ptr<os::FileLock> lock;
  };
  [[nodiscard]] Result<IdLock> lock_on_host(const StorageId& storage_id);

  os::FileSystem& files_;
  std::unique_ptr<os::FileLock> directory_;
  std::unique_ptr<os::FileLock> instance_;
  std::vector<IdLock> ids_;
};

}  // namespace strongroom::store
