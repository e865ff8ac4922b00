// The tamper file, the SecretStore and the token as witnesses, and the audit log that feeds the tamper file.
//
// Invariants:
// - A witness moves only to a checkpoint that is durable in the vault, and in this order: tamper file, SecretStore, token. So
//   what a `VaultHash` remembers is also in the tamper file, synced.
// - Tamper file and witness values are of the DEK that the vault file names, or of the one before it until their next move.
// Thread-safe; moves are serialised.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>

#include "log/format.h"
#include "store/secret_witness.h"
#include "store/tamper_file.h"
#include "store/witness_checkpoint.h"

namespace strongroom::store {

inline constexpr std::string_view kTamperFileName = "tmtmp.bin";

[[nodiscard]] AuditEntry entry_of(const log::CommitInfo& commit);

class Witnesses {
 public:
  struct Keys {
    SecretBytes tamper;
    SecretBytes witness;
    StorageId storage_id{};
    std::uint32_t key_id = 1;
  };

  // `secrets` and `token` are null where the store has none.
  Witnesses(os::Directory& directory, SecretStore* secrets, SecretStore* token, Keys keys,
            std::uint32_t tamper_capacity);

  // A token that was not there when this was made.
  void attach_token(SecretStore& token);

  // The audit log up to the checkpoint from which commits are noted: at COLDSTART the genesis, at WARMSTART the snapshot.
  void begin(const AuditCheckpoint& start);
  // Notes a durable commit; the next move will cover it.
  void committed(const log::CommitInfo& commit, const std::optional<TimeStamp>& stamp);

  // What was found at start, so that it is gone on with. `tamper` empty: begun anew from the noted audit log.
  // Entries beyond `synced` may be in the page cache only; they are written anew with the next move.
  void adopt_tamper(std::optional<TamperContent> tamper, std::uint64_t synced);
  void adopt_secret(const std::optional<VaultHash>& vault_hash, Bytes raw_vault_hash);
  void adopt_token(const std::optional<VaultHash>& vault_hash, Bytes raw_vault_hash);
  void adopt_witnessed(std::deque<log::Checkpoint> checkpoints);
  void burn(const UsedCheckpoint& checkpoint);  // kept in VaultHash from the next move on

  // The vault moves to another DEK. From prepare_next() on the audit log is chained under the next tamper key as well,
  // from the tamper file's checkpoint on. adopt_next(), when the vault file is one of the next DEK: with the commit lock
  // held, and no move under way (`hold`); the next move writes everything under the next keys.
  void prepare_next(Keys next);
  [[nodiscard]] AuditCheckpoint newest_next() const;
  void abandon_next();
  using Hold = std::unique_lock<std::mutex>;
  [[nodiscard]] Hold hold_moves() { return Hold(move_mutex_); }
  void adopt_next(const Hold& hold);

  // Moves the witnesses to the newest noted commit; the token, which is slow and wears, only when asked for.
  // kWitnessNotMoved (with the cause in the detail) where one fails. `replace_foreign` skips the check of what VaultHash
  // holds now (reanchor, recover).
  [[nodiscard]] Status move(bool replace_foreign = false, bool with_token = false);
  // The same with the reason of the witness that fails, for a start, which is refused by it.
  [[nodiscard]] Status try_move(bool replace_foreign = false, bool with_token = false);

  [[nodiscard]] Status alarm() const;
  [[nodiscard]] bool alarmed() const {
    return (secret_ && secret_->alarmed()) || (token_ && token_->alarmed());
  }
  [[nodiscard]] std::uint64_t tamper_synced() const { return tamper_synced_; }
  [[nodiscard]] std::deque<log::Checkpoint> witnessed_checkpoints() const;
  [[nodiscard]] AuditCheckpoint newest() const;
  [[nodiscard]] std::vector<UsedCheckpoint> used_checkpoints() const;
  [[nodiscard]] std::vector<AuditEntry> noted() const;

  using Position = WitnessPosition;
  [[nodiscard]] Position tamper_position() const;
  [[nodiscard]] Position secret_position() const;  // of a store with a SecretStore
  [[nodiscard]] Position token_position() const;   // of a store with a token

 private:
  struct Target {
    AuditCheckpoint newest;
    std::int64_t wall_ms = 0;
    std::vector<AuditEntry> entries;
    AuditCheckpoint start;  // before the first entry
    std::optional<TimeStamp> stamp;
    VaultHash vault_hash;
  };
  [[nodiscard]] Target target() const;
  struct Next {
    Keys keys;
    AuditCheckpoint start;  // not before start_
    AuditCheckpoint newest;
  };
  [[nodiscard]] Status move_tamper(const Target& target);
  [[nodiscard]] Status make_tamper(const Target& target, const TamperContent* former);
  void adopt_used(const std::optional<VaultHash>& vault_hash);

  os::Directory& directory_;
  Keys keys_;               // changed with both mutexes held
  WitnessKey witness_key_;  // guarded by move_mutex_
  const std::uint32_t tamper_capacity_;

  std::mutex move_mutex_;                      // one move at a time; before mutex_
  std::unique_ptr<TamperFile> tamper_;         // guarded by move_mutex_
  std::optional<TamperContent> tamper_found_;  // guarded by move_mutex_
  bool tamper_found_durable_ = true;           // guarded by move_mutex_
  std::optional<SecretWitness> secret_;        // moved under move_mutex_
  std::optional<SecretWitness> token_;         // moved under move_mutex_

  mutable std::mutex mutex_;
  AuditCheckpoint start_;
  std::deque<AuditEntry> entries_;  // after start_, consecutive
  AuditCheckpoint newest_;
  std::optional<Next> next_;
  std::int64_t newest_wall_ms_ = 0;
  std::optional<TimeStamp> stamp_;
  std::vector<UsedCheckpoint> used_checkpoints_;
  std::deque<log::Checkpoint> witnessed_checkpoints_;
  Position tamper_position_;
  std::atomic<std::uint64_t> tamper_synced_{0};
};

}  // namespace strongroom::store
