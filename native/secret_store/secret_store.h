// The SecretStore: a place outside the vault's directory that holds three small items for an instance. Items
// are found by the instance name alone, so that moving or emptying a directory is no new trial.
//
// Invariants:
// - save() is durable when it returns; an item is replaced whole or not at all.
// - load() tells "absent" (nullopt) from "cannot be reached" (an error that is never kWitnessMissing):
//   a store that is locked, down or damaged is never reported as empty.
// - A damaged item, or one that belongs elsewhere, is kWitnessReplaced (VaultHash, TimeTamper) or
//   kRootUnavailable (RootKey); the detail says "damaged" or what it belongs to.
// - load() changes nothing.
// - Values never appear in errors.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/secret_memory.h"
#include "base/status.h"
#include "os/os.h"

namespace strongroom::store {

enum class SecretName : std::uint8_t {
  kVaultHash,
  kTimeTamper,
  kRootKey
};  // "VaultHash", "TimeTamper", "RootKey"
[[nodiscard]] std::string_view secret_name_text(SecretName name);

inline constexpr std::size_t kSecretValueBytesMax = 8192;

struct Secret {
  StorageId storage_id{};
  SecretBytes value;
  bool one_copy_damaged = false;  // kFile: read from the other copy; the next save() mends it
};

// Safe to use from any thread, by one thread at a time.
class SecretStore {
 public:
  virtual ~SecretStore() = default;
  // kSecretStoreUnavailable when the store cannot be reached, is locked or does not answer within seconds.
  // kFile: the reasons of os.h. kVersion for an item of an unknown format version.
  [[nodiscard]] virtual Result<std::optional<Secret>> load(SecretName name) = 0;
  // Replaces the item, whatever storage id it had. kInvalidArgument unless the value has 1 to
  // kSecretValueBytesMax bytes; otherwise the errors of reaching the store, as in load().
  [[nodiscard]] virtual Status save(SecretName name, const StorageId& storage_id, ByteView value) = 0;
  [[nodiscard]] virtual Status remove(SecretName name) = 0;  // removing an absent item succeeds
  // Removes what a store keeps of the item besides its newest value. Most keep nothing.
  [[nodiscard]] virtual Status remove_previous(SecretName /*name*/) { return {}; }
  // Excludes every other lock() of this instance in this place, across processes and within this one: one store at a time
  // may replace the items. kLocked, with the owner's process id, when another has it. nullptr where the place has no lock
  // of its own, or does not exist yet.
  [[nodiscard]] virtual Result<std::unique_ptr<os::FileLock>> lock() {
    return std::unique_ptr<os::FileLock>();
  }
  // Whether save() could write now, as far as that can be tried without a change. kFile: the errors of save(). Others have no
  // such trial; load() says whether they can be reached.
  [[nodiscard]] virtual Status try_write() { return {}; }
  // Takes away what lock() leaves in the place. Only while the lock is held, and after the items were removed.
  [[nodiscard]] virtual Status remove_lock() { return {}; }
};

enum class SecretStoreType : std::uint8_t { kFile = 1, kSecretService = 2 };

// How a SecretStore is found; stands in the software key slot of persistence.bin.
struct SecretStoreConfig {
  SecretStoreType type = SecretStoreType::kFile;
  std::string directory;  // kFile only: an absolute path; the directory is made (0700) with kCreate
};

// As the command line writes it: "file:/var/lib/acme/secrets", "secret-service".
[[nodiscard]] inline std::string place_text(const SecretStoreConfig& config) {
  return config.type == SecretStoreType::kFile ? "file:" + config.directory : "secret-service";
}

// kInvalidOption for an unusable instance name (1 to 128 bytes of well-formed UTF-8, no control characters)
// or configuration. kLibraryMissing when libsecret is not installed. kFile with kExisting and without the
// directory: the items are absent (load answers nullopt, save kNotFound). kSecretService reads the session
// bus's address from the environment here; the bus is first met by load or save.
[[nodiscard]] Result<std::unique_ptr<SecretStore>> open_secret_store(
    os::Environment environment, const SecretStoreConfig& config, const std::string& instance,
    os::DirectoryMode mode = os::DirectoryMode::kExisting);

}  // namespace strongroom::store
