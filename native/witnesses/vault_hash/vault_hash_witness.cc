#include "witnesses/vault_hash/vault_hash_witness.h"

namespace strongroom::store {

void SecretWitness::adopt(const std::optional<VaultHash>& vault_hash, Bytes raw_vault_hash) {
  raw_ = std::move(raw_vault_hash);
  known_ = true;
  const MutexLock lock(mutex_);
  if (vault_hash) position_.checkpoint = vault_hash->checkpoint;
}

Status SecretWitness::check_present() {
  SR_ASSIGN(const std::optional<Secret> present, store_.load(SecretName::kVaultHash));
  Status alarm;
  if (!present) {
    alarm = Status(Reason::kWitnessMissing,
                   std::string("VaultHash vanished from the ") + where_ + " while the store was open");
  } else if (!equal(present->value.view(), raw_) && !equal(present->value.view(), attempted_)) {
    alarm = Status(Reason::kWitnessReplaced,
                   std::string("VaultHash in the ") + where_ + " was changed from outside");
  }
  const MutexLock lock(mutex_);
  alarm_ = alarm;
  alarmed_ = !alarm.ok();
  return alarm;
}

Status SecretWitness::save(const VaultHash& target, const std::optional<TimeStamp>& stamp, Foreign foreign) {
  const bool replaces = foreign == Foreign::kReplace;
  if (!replaces && known_) SR_TRY(check_present());
  const Bytes value = encode_vault_hash(target, key_.key.view(), key_.storage_id, key_.key_id);
  // TimeTamper first: VaultHash remembers at which checkpoints a reanchor was used, so it completes an
  // administrative operation.
  if (items_ == Items::kVaultHashAndTime && stamp && (stamp != stamp_moved_ || replaces)) {
    SR_TRY(store_.save(SecretName::kTimeTamper, key_.storage_id,
                       encode_witness_time(*stamp, key_.key.view(), key_.storage_id, key_.key_id)));
    stamp_moved_ = stamp;
  }
  supersede_ |= replaces;
  if (value != raw_ || replaces) {
    attempted_ = value;
    SR_TRY(store_.save(SecretName::kVaultHash, key_.storage_id, value));
    raw_ = value;
    known_ = true;
  }
  if (supersede_) {
    // What is left of a former key, or was replaced by authority, must not be read again.
    SR_TRY(store_.remove_previous(SecretName::kVaultHash));
    supersede_ = false;
  }
  const MutexLock lock(mutex_);
  alarm_ = Status();
  alarmed_ = false;
  return {};
}

Status SecretWitness::move(const VaultHash& target, const std::optional<TimeStamp>& stamp, Foreign foreign) {
  Status saved = save(target, stamp, foreign);
  const MutexLock lock(mutex_);
  position_.failing = !saved.ok();
  if (saved.ok()) {
    position_.checkpoint = target.checkpoint;
    position_.moved_wall_ms = target.wall_ms;
  }
  return saved;
}

WitnessPosition SecretWitness::position() const {
  const MutexLock lock(mutex_);
  return position_;
}

Status SecretWitness::alarm() const {
  const MutexLock lock(mutex_);
  return alarm_;
}

}  // namespace strongroom::store
