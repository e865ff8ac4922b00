// The tamper file, the SecretStore and the token as witnesses, in the order in which they move.
//
// Invariants:
// - A witness moves only to a checkpoint that is durable in the vault, and in this order: tamper file, SecretStore, token. So
//   what a `VaultHash` remembers is also in the tamper file, synced.
// - Tamper file and witness values are of the DEK that the vault file names, or of the one before it until their next move.
// Thread-safe; moves are serialised.
#pragma once

#include <deque>
#include <mutex>
#include <string_view>

#include "witnesses/audit_tail.h"
#include "witnesses/tamper_file/tamper_witness.h"
#include "witnesses/vault_hash/vault_hash.h"
#include "witnesses/vault_hash/vault_hash_witness.h"

namespace strongroom::store {

class Witnesses {
 public:
  struct Keys {
    SecretBytes tamper;
    SecretBytes witness;
    StorageId storage_id{};
    std::uint32_t key_id = 1;
  };
  enum class Which : std::uint8_t { kFast, kAll };  // kAll: the token too, which is slow and wears

  // `secrets` and `token` are null where the store has none.
  Witnesses(os::Directory& directory, SecretStore* secrets, SecretStore* token, Keys keys,
            std::uint32_t tamper_capacity);

  // The durable commits that the next move will cover.
  [[nodiscard]] AuditTail& audit() { return audit_; }
  [[nodiscard]] const AuditTail& audit() const { return audit_; }

  // A token that was not there when this was made.
  void attach_token(SecretStore& token);

  // What was found at start, so that it is gone on with; see TamperWitness and SecretWitness.
  void adopt_tamper(std::optional<TamperContent> tamper, std::uint64_t synced);
  void adopt_secret(const std::optional<VaultHash>& vault_hash, Bytes raw_vault_hash);
  void adopt_token(const std::optional<VaultHash>& vault_hash, Bytes raw_vault_hash);
  void adopt_witnessed(std::deque<log::Checkpoint> checkpoints);
  void burn(const UsedCheckpoint& checkpoint);  // kept in VaultHash from the next move on

  // The vault moves to another DEK. adopt_next(), when the vault file is one of the next DEK: with the commit lock held, and
  // no move under way (`hold`); the next move writes everything under the next keys.
  void prepare_next(Keys next);
  void abandon_next();
  using Hold = std::unique_lock<std::mutex>;
  [[nodiscard]] Hold hold_moves() { return Hold(move_mutex_); }
  void adopt_next(const Hold& hold);

  // Moves the witnesses to the newest noted commit. kWitnessNotMoved, with the cause in the detail, where one fails.
  [[nodiscard]] Status move(Which which = Which::kFast);
  // The same with the reason of the witness that fails, for a start, which is refused by it.
  [[nodiscard]] Status try_move(Which which = Which::kFast, Foreign foreign = Foreign::kRefuse);

  [[nodiscard]] Status alarm() const;
  [[nodiscard]] bool alarmed() const;
  [[nodiscard]] std::uint64_t tamper_synced() const { return tamper_.synced(); }
  [[nodiscard]] std::deque<log::Checkpoint> witnessed_checkpoints() const;
  [[nodiscard]] std::vector<UsedCheckpoint> used_checkpoints() const;

  [[nodiscard]] WitnessPosition tamper_position() const { return tamper_.position(); }
  [[nodiscard]] WitnessPosition secret_position() const {
    return secret_->position();
  }  // where there is a SecretStore
  [[nodiscard]] WitnessPosition token_position() const {
    return token_->position();
  }  // where there is a token

 private:
  void adopt_used(const std::optional<VaultHash>& vault_hash);
  void add_used(const UsedCheckpoint& checkpoint) SR_REQUIRES(mutex_);

  Keys keys_;                 // guarded by move_mutex_, as the witness key
  std::optional<Keys> next_;  // guarded by move_mutex_
  WitnessKey witness_key_;
  AuditTail audit_;

  std::mutex move_mutex_;  // one move at a time; before mutex_. What follows moves under it
  TamperWitness tamper_;
  std::optional<SecretWitness> secret_;
  std::optional<SecretWitness> token_;

  mutable Mutex mutex_;
  std::vector<UsedCheckpoint> used_ SR_GUARDED_BY(mutex_);
  std::deque<log::Checkpoint> witnessed_ SR_GUARDED_BY(mutex_);
};

}  // namespace strongroom::store
