#include "witnesses/vault_hash/vault_hash_witness.h"

#include <algorithm>

#include "crypto/crypto.h"
#include "witnesses/verdict.h"

namespace strongroom::store {
namespace {

// An older one can no longer come: a place carries saves out in their order.
constexpr std::size_t kAttemptsMax = 1024;

}  // namespace

std::optional<log::Checkpoint> VaultHashObservation::checkpoint() const {
  return value ? std::optional(value->checkpoint) : std::nullopt;
}

// One that is paced may have been given a checkpoint at once (begin()), before the tamper file had it.
std::optional<log::Checkpoint> VaultHashObservation::witnessed() const {
  return kind().pace == Pace::kEachMove ? checkpoint() : std::nullopt;
}

std::vector<UsedCheckpoint> VaultHashObservation::used_checkpoints() const {
  return value ? value->used_checkpoints : std::vector<UsedCheckpoint>();
}

void VaultHashObservation::on_file(std::uint32_t key_id) {
  if (value && *named_key > key_id) damage = vault_is_of_former_key();
}

void VaultHashObservation::on_snapshot(const log::SnapshotInfo& snapshot, const AuditTail& /*audit*/) {
  if (!value) return;
  watch_.emplace(value->checkpoint);
  watch_->see(snapshot.checkpoint);
}

void VaultHashObservation::on_commit(const log::CommitInfo& commit, const AuditTail& /*audit*/) {
  if (watch_) watch_->see(commit.checkpoint);
}

Status VaultHashObservation::conclude(const ReadHistory& history) {
  if (watch_) standing = watch_->conclude(history.log);
  return {};
}

Status VaultHashObservation::judge(const History& history, Verdict& /*verdict*/) const {
  if (!damage.ok()) return damage;
  const std::string where(kind().noun);
  if (!present) {
    return history.is_root_lost
               ? Status()
               : Status(Reason::kWitnessMissing, "the " + where + " holds no VaultHash for this store");
  }
  const std::uint64_t generation = value->checkpoint.generation;
  switch (standing) {
    case Standing::kContained:
      return {};
    case Standing::kAhead:
      return ends_before(history, where, generation);
    case Standing::kDiffers:
      return differs_from(where, generation);
    case Standing::kForgotten:
      return {Reason::kWitnessReplaced, "the " + where + " remembers " + at_generation(generation) +
                                            ", which the vault's history does not contain"};
  }
  return {Reason::kInternal, "unknown standing"};
}

// Its lead is what is given up; it must not count as a checkpoint of this history.
void VaultHashObservation::drop_what_contradicts() {
  if (!damage.ok() || standing != Standing::kContained) value.reset();
}

Bytes VaultHashWitness::encode(const VaultHash& value) const {
  return encode_vault_hash(value, keys_.witness.view(), keys_.storage_id, keys_.key_id);
}

Bytes VaultHashWitness::encode(const TimeStamp& stamp) const {
  return encode_witness_time(stamp, keys_.witness.view(), keys_.storage_id, keys_.key_id);
}

Status VaultHashWitness::damaged_item(SecretName name, const Status& found) const {
  if (!found.is(Reason::kWitnessReplaced)) return found;
  return {found.error().reason,
          std::string(secret_name_text(name)) + " in the " + where() + " " + found.error().detail};
}

Result<std::unique_ptr<Observation>> VaultHashWitness::observe() {
  auto found = std::make_unique<VaultHashObservation>(kind());
  if (is_connected()) {
    SR_TRY(observe_vault_hash(*found));
    if (keeps_time()) SR_TRY(observe_time(*found));
  }
  return std::unique_ptr<Observation>(std::move(found));
}

Status VaultHashWitness::observe_vault_hash(VaultHashObservation& found) {
  Result<std::optional<Secret>> loaded = store_()->load(SecretName::kVaultHash);
  if (loaded.is(Reason::kWitnessReplaced)) {  // damaged: a verdict, which authority may heal
    found.present = true;
    found.damage = loaded.status();
    return {};
  }
  if (!loaded.ok()) return loaded.status();
  const std::optional<Secret>& item = *loaded;
  if (!item) return {};
  found.copy_damaged |= item->one_copy_damaged;
  found.present = true;
  found.raw = Bytes(item->value.view().begin(), item->value.view().end());
  const PersistenceHeader& header = ring_.header();
  if (item->storage_id != header.storage_id) {
    found.damage =
        Status(Reason::kWitnessReplaced, "VaultHash in the " + where() + " belongs to another store");
    return {};
  }
  found.named_key = peek_key_id(found.raw);
  const SecretBytes* const named = ring_.dek_of(found.named_key.value_or(header.key_id));
  if (named == nullptr) {
    const bool later = *found.named_key > header.key_id;
    found.damage = Status(later ? Reason::kVaultRolledBack : Reason::kWitnessReplaced,
                          "VaultHash in the " + where() + " is of a " + (later ? "later" : "former") +
                              " DEK than persistence.bin holds");
    return {};
  }
  const SecretBytes key = witness_key(named->view(), header.storage_id);
  Result<VaultHash> value = parse_vault_hash(found.raw, key.view(), header.storage_id);
  if (value.ok()) {
    found.value = *std::move(value);
  } else {
    found.damage = damaged_item(SecretName::kVaultHash, value.status());
  }
  return {};
}

Status VaultHashWitness::observe_time(VaultHashObservation& found) {
  const Result<std::optional<Secret>> loaded = store_()->load(SecretName::kTimeTamper);
  if (loaded.is(Reason::kWitnessReplaced)) {
    found.time_damage = loaded.status();
    return {};
  }
  if (!loaded.ok()) return loaded.status();
  const std::optional<Secret>& item = *loaded;
  if (!item) {
    found.time_damage =
        Status(Reason::kWitnessMissing, "the " + where() + " holds no TimeTamper for this store");
    return {};
  }
  found.copy_damaged |= item->one_copy_damaged;
  const PersistenceHeader& header = ring_.header();
  if (item->storage_id != header.storage_id) {
    found.time_damage =
        Status(Reason::kWitnessReplaced, "TimeTamper in the " + where() + " belongs to another store");
    return {};
  }
  const SecretBytes* const named = ring_.dek_of(peek_key_id(item->value.view()).value_or(header.key_id));
  if (named == nullptr) {
    found.time_damage = Status(Reason::kWitnessReplaced, "TimeTamper in the " + where() +
                                                             " is of another DEK than persistence.bin holds");
    return {};
  }
  const SecretBytes key = witness_key(named->view(), header.storage_id);
  const Result<TimeStamp> value = parse_witness_time(item->value.view(), key.view(), header.storage_id);
  if (value.ok()) {
    found.time = *value;
  } else {
    found.time_damage = damaged_item(SecretName::kTimeTamper, value.status());
  }
  return {};
}

Result<bool> VaultHashWitness::is_of_another_store() {
  if (!keeps_time()) return false;
  const Result<std::optional<Secret>> item = store_()->load(SecretName::kVaultHash);
  if (item.is(Reason::kWitnessReplaced)) return false;
  if (!item.ok()) return item.status();
  return *item && (*item)->storage_id != ring_.header().storage_id;
}

Status VaultHashWitness::check_time(const Observation& found, const Now& now, std::uint64_t tolerance_ms) {
  const std::optional<TimeStamp> stamp = found.stamp();
  return stamp ? check_clock(*stamp, now, tolerance_ms) : Status();
}

Status VaultHashWitness::try_write(const Observation& /*found*/) {
  return is_connected() ? store_()->try_write() : Status();
}

// One that never held this store's value is given it, whatever stands there now.
void VaultHashWitness::adopt(Observation& found, std::uint64_t /*synced*/) {
  auto& own = static_cast<VaultHashObservation&>(found);
  if (!own.present) return;
  raw_ = own.raw;
  known_ = true;
  const MutexLock lock(mutex_);
  if (own.value) position_.checkpoint = own.value->checkpoint;
}

Status VaultHashWitness::begin(const VaultHash& first, const std::optional<TimeStamp>& stamp) {
  Bytes value = encode(first);
  SR_TRY(store_()->save(SecretName::kVaultHash, keys_.storage_id, value));
  if (keeps_time() && stamp)
    SR_TRY(store_()->save(SecretName::kTimeTamper, keys_.storage_id, encode(*stamp)));
  raw_ = std::move(value);
  known_ = true;
  const MutexLock lock(mutex_);
  position_.checkpoint = first.checkpoint;
  return {};
}

void VaultHashWitness::rekeyed() {
  stamp_moved_.reset();
  supersede_ = true;
}

Status VaultHashWitness::check_present() {
  SR_ASSIGN(const std::optional<Secret> present, store_()->load(SecretName::kVaultHash));
  Status alarm;
  if (!present) {
    alarm = Status(Reason::kWitnessMissing,
                   "VaultHash vanished from the " + where() + " while the store was open");
  } else if (!equal(present->value.view(), raw_) && !settle_attempt(present->value.view())) {
    alarm = Status(Reason::kWitnessReplaced, "VaultHash in the " + where() + " was changed from outside");
  }
  const MutexLock lock(mutex_);
  alarm_ = alarm;
  alarmed_ = !alarm.ok();
  return alarm;
}

bool VaultHashWitness::settle_attempt(ByteView present) {
  const auto found = std::ranges::find(attempted_, crypto::sha256({present}));
  if (found == attempted_.end()) return false;
  attempted_.erase(attempted_.begin(), std::next(found));
  raw_.assign(present.begin(), present.end());
  return true;
}

Status VaultHashWitness::save(const Move& move) {
  SecretStore& store = *store_();
  const bool replaces = move.foreign == Foreign::kReplace;
  if (!replaces && known_) SR_TRY(check_present());
  const Bytes value = encode(move.target);
  const std::optional<TimeStamp>& stamp = move.rest.stamp;
  // TimeTamper first: VaultHash remembers at which checkpoints a reanchor was used, so it completes an
  // administrative operation.
  if (keeps_time() && stamp && (stamp != stamp_moved_ || replaces)) {
    SR_TRY(store.save(SecretName::kTimeTamper, keys_.storage_id, encode(*stamp)));
    stamp_moved_ = stamp;
  }
  supersede_ |= replaces;
  if (value != raw_ || replaces) {
    if (attempted_.size() == kAttemptsMax) attempted_.pop_front();
    attempted_.push_back(crypto::sha256({value}));
    SR_TRY(store.save(SecretName::kVaultHash, keys_.storage_id, value));
    raw_ = value;
    attempted_.clear();
    known_ = true;
  }
  if (supersede_) {
    // What is left of a former key, or was replaced by authority, must not be read again.
    SR_TRY(store.remove_previous(SecretName::kVaultHash));
    supersede_ = false;
  }
  const MutexLock lock(mutex_);
  alarm_ = Status();
  alarmed_ = false;
  return {};
}

Status VaultHashWitness::move(const Move& move) {
  if (!is_connected()) return {};
  Status saved = save(move);
  const MutexLock lock(mutex_);
  position_.failing = !saved.ok();
  if (saved.ok()) {
    position_.checkpoint = move.target.checkpoint;
    position_.moved_wall_ms = move.target.wall_ms;
  }
  return saved;
}

WitnessPosition VaultHashWitness::position() const {
  const MutexLock lock(mutex_);
  return position_;
}

Status VaultHashWitness::alarm() const {
  const MutexLock lock(mutex_);
  return alarm_;
}

}  // namespace strongroom::store
