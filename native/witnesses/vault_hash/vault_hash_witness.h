// A witness in a SecretStore or a token: `VaultHash`, and where it keeps time, `TimeTamper`.
//
// Invariant: before `VaultHash` is replaced it is read: one that is not what this process left there raises the alarm, and
// is left as it is.
// Moves are serialised by the owner; position() and alarm() are thread-safe.
#pragma once

#include <atomic>
#include <optional>

#include "base/thread_annotations.h"
#include "secret_store/secret_store.h"
#include "witnesses/vault_hash/vault_hash.h"

namespace strongroom::store {

// Where a witness stands, for the status.
struct WitnessPosition {
  log::Checkpoint checkpoint;
  std::int64_t moved_wall_ms = 0;
  bool failing = false;
};

// What witness values are authenticated with.
struct WitnessKey {
  SecretBytes key;
  StorageId storage_id{};
  std::uint32_t key_id = 1;
};

// What a move does with a VaultHash that this process did not leave there: only authority replaces it.
enum class Foreign : std::uint8_t { kRefuse, kReplace };

class SecretWitness {
 public:
  enum class Items : std::uint8_t { kVaultHash, kVaultHashAndTime };

  // `where`: "SecretStore" or "token", for errors.
  SecretWitness(SecretStore& store, const WitnessKey& key, const char* where, Items items)
      : store_(store), key_(key), where_(where), items_(items) {}

  // What was found at start, so that it is gone on with.
  void adopt(const std::optional<VaultHash>& vault_hash, Bytes raw_vault_hash);
  // The key became another one: with the next move every value is written anew.
  void rekeyed() {
    stamp_moved_.reset();
    supersede_ = true;
  }
  [[nodiscard]] Status move(const VaultHash& target, const std::optional<TimeStamp>& stamp, Foreign foreign);

  [[nodiscard]] WitnessPosition position() const;
  [[nodiscard]] Status alarm() const;
  [[nodiscard]] bool alarmed() const { return alarmed_; }

 private:
  [[nodiscard]] Status check_present();
  [[nodiscard]] Status save(const VaultHash& target, const std::optional<TimeStamp>& stamp, Foreign foreign);

  SecretStore& store_;
  const WitnessKey& key_;
  const char* where_;
  const Items items_;
  Bytes raw_;        // VaultHash as this process last saw it
  Bytes attempted_;  // a save that failed may have taken place
  bool known_ = false;
  bool supersede_ = false;  // with the next move no earlier value stays
  std::optional<TimeStamp> stamp_moved_;

  mutable Mutex mutex_;
  WitnessPosition position_ SR_GUARDED_BY(mutex_);
  Status alarm_ SR_GUARDED_BY(mutex_);
  std::atomic<bool> alarmed_{false};  // as alarm_, for those who cannot wait for a lock
};

}  // namespace strongroom::store
