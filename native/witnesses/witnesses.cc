#include "witnesses/witnesses.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "base/limits.h"

namespace strongroom::store {
namespace {

TamperWitness::Key tamper_key_of(const Witnesses::Keys& keys) {
  return {keys.tamper.clone(), keys.storage_id, keys.key_id};
}

WitnessKey witness_key_of(const Witnesses::Keys& keys) {
  return {keys.witness.clone(), keys.storage_id, keys.key_id};
}

}  // namespace

Witnesses::Witnesses(os::Directory& directory, SecretStore* secrets, SecretStore* token, Keys keys,
                     std::uint32_t tamper_capacity)
    : keys_(std::move(keys)),
      witness_key_(witness_key_of(keys_)),
      audit_(keys_.tamper.clone(), tamper_capacity),
      tamper_(directory, tamper_key_of(keys_), tamper_capacity) {
  if (secrets != nullptr)
    secret_.emplace(*secrets, witness_key_, "SecretStore", SecretWitness::Items::kVaultHashAndTime);
  if (token != nullptr) token_.emplace(*token, witness_key_, "token", SecretWitness::Items::kVaultHash);
}

void Witnesses::attach_token(SecretStore& token) {
  const std::lock_guard move(move_mutex_);
  token_.emplace(token, witness_key_, "token", SecretWitness::Items::kVaultHash);
}

void Witnesses::adopt_tamper(std::optional<TamperContent> tamper, std::uint64_t synced) {
  const std::lock_guard move(move_mutex_);
  tamper_.adopt(std::move(tamper), synced);
}

void Witnesses::add_used(const UsedCheckpoint& checkpoint) {
  if (std::find(used_.begin(), used_.end(), checkpoint) != used_.end()) return;
  used_.push_back(checkpoint);
  if (used_.size() > kUsedCheckpointsMax) used_.erase(used_.begin());
}

void Witnesses::adopt_used(const std::optional<VaultHash>& vault_hash) {
  if (!vault_hash) return;
  const MutexLock lock(mutex_);
  for (const UsedCheckpoint& checkpoint : vault_hash->used_checkpoints) add_used(checkpoint);
}

void Witnesses::adopt_secret(const std::optional<VaultHash>& vault_hash, Bytes raw_vault_hash) {
  if (!secret_) return;
  const std::lock_guard move(move_mutex_);
  secret_->adopt(vault_hash, std::move(raw_vault_hash));
  adopt_used(vault_hash);
}

void Witnesses::adopt_token(const std::optional<VaultHash>& vault_hash, Bytes raw_vault_hash) {
  if (!token_) return;
  const std::lock_guard move(move_mutex_);
  token_->adopt(vault_hash, std::move(raw_vault_hash));
  adopt_used(vault_hash);
}

void Witnesses::adopt_witnessed(std::deque<log::Checkpoint> checkpoints) {
  const MutexLock lock(mutex_);
  witnessed_ = std::move(checkpoints);
}

void Witnesses::burn(const UsedCheckpoint& checkpoint) {
  const MutexLock lock(mutex_);
  add_used(checkpoint);
}

void Witnesses::prepare_next(Keys next) {
  const std::lock_guard move(move_mutex_);
  const std::optional<TamperContent> file = tamper_.content();
  audit_.prepare_next(next.tamper.clone(), file ? &*file : nullptr);
  next_ = std::move(next);
}

void Witnesses::abandon_next() {
  const std::lock_guard move(move_mutex_);
  next_.reset();
  audit_.abandon_next();
}

void Witnesses::adopt_next(const Hold& hold) {
  if (!hold.owns_lock() || !next_) std::abort();
  keys_ = *std::exchange(next_, std::nullopt);
  audit_.adopt_next();
  tamper_.rekeyed(tamper_key_of(keys_));
  witness_key_ = witness_key_of(keys_);
  if (secret_) secret_->rekeyed();
  if (token_) token_->rekeyed();
}

Status Witnesses::move(Which which) {
  const Status moved = try_move(which);
  if (moved.ok()) return {};
  return {Reason::kWitnessNotMoved, moved.error().detail, moved.error().system_error};
}

Status Witnesses::try_move(Which which, Foreign foreign) {
  const std::lock_guard move(move_mutex_);
  const AuditTail::Rest rest = audit_.behind(tamper_.written());
  const log::Checkpoint checkpoint{rest.newest.generation, rest.newest.head};
  const VaultHash vault_hash{checkpoint, rest.wall_ms, used_checkpoints()};
  SR_TRY(tamper_.move(rest));
  if (secret_) SR_TRY(secret_->move(vault_hash, rest.stamp, foreign));
  if (token_ && which == Which::kAll) SR_TRY(token_->move(vault_hash, rest.stamp, foreign));
  const MutexLock lock(mutex_);
  if (witnessed_.empty() || !(witnessed_.back() == checkpoint)) {
    witnessed_.push_back(checkpoint);
    if (witnessed_.size() > limits::kWitnessedCheckpointsMax) witnessed_.pop_front();
  }
  return {};
}

bool Witnesses::alarmed() const { return (secret_ && secret_->alarmed()) || (token_ && token_->alarmed()); }

Status Witnesses::alarm() const {
  for (const std::optional<SecretWitness>* witness : {&secret_, &token_}) {
    if (*witness) SR_TRY((*witness)->alarm());
  }
  return {};
}

std::deque<log::Checkpoint> Witnesses::witnessed_checkpoints() const {
  const MutexLock lock(mutex_);
  return witnessed_;
}

std::vector<UsedCheckpoint> Witnesses::used_checkpoints() const {
  const MutexLock lock(mutex_);
  return used_;
}

}  // namespace strongroom::store
