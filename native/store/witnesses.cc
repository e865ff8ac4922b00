#include "store/witnesses.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "base/limits.h"

namespace strongroom::store {
namespace {

AuditCheckpoint following(const AuditCheckpoint& checkpoint, const AuditEntry& entry,
                          const SecretBytes& tamper_key) {
  return {entry.generation, entry.head, next_chain(tamper_key.view(), checkpoint.chain, entry)};
}

}  // namespace

AuditEntry entry_of(const log::CommitInfo& commit) {
  return {commit.checkpoint.generation, commit.wall_ms, static_cast<std::uint8_t>(commit.kind),
          commit.operations, commit.checkpoint.head};
}

Witnesses::Witnesses(os::Directory& directory, SecretStore* secrets, SecretStore* token, Keys keys,
                     std::uint32_t tamper_capacity)
    : directory_(directory),
      keys_(std::move(keys)),
      witness_key_{keys_.witness.clone(), keys_.storage_id, keys_.key_id},
      tamper_capacity_(tamper_capacity) {
  if (secrets != nullptr) secret_.emplace(*secrets, witness_key_, "SecretStore", true);
  if (token != nullptr) token_.emplace(*token, witness_key_, "token", false);
}

void Witnesses::attach_token(SecretStore& token) {
  const std::lock_guard move(move_mutex_);
  token_.emplace(token, witness_key_, "token", false);
}

void Witnesses::begin(const AuditCheckpoint& start) {
  const std::lock_guard lock(mutex_);
  start_ = newest_ = start;
  entries_.clear();
}

void Witnesses::committed(const log::CommitInfo& commit, const std::optional<TimeStamp>& stamp) {
  const AuditEntry entry = entry_of(commit);
  const std::lock_guard lock(mutex_);
  newest_ = following(newest_, entry, keys_.tamper);
  if (next_) next_->newest = following(next_->newest, entry, next_->keys.tamper);
  newest_wall_ms_ = entry.wall_ms;
  entries_.push_back(entry);
  // The tail is bounded; what falls out of it is folded into the start. A tamper file that lags further is made anew.
  while (entries_.size() > tamper_capacity_) {
    start_ = following(start_, entries_.front(), keys_.tamper);
    if (next_ && next_->start.generation < start_.generation) {
      next_->start = following(next_->start, entries_.front(), next_->keys.tamper);
    }
    entries_.pop_front();
  }
  if (stamp) stamp_ = stamp;
}

void Witnesses::adopt_tamper(std::optional<TamperContent> tamper, std::uint64_t synced) {
  const std::lock_guard move(move_mutex_);
  const std::lock_guard lock(mutex_);
  if (tamper) {
    tamper_position_.checkpoint = {tamper->newest.generation, tamper->newest.head};
    tamper_synced_ = std::min(tamper->newest.generation, synced);
    tamper_found_durable_ = tamper->newest.generation <= synced;
  }
  tamper_found_ = std::move(tamper);
}

void Witnesses::adopt_used(const std::optional<VaultHash>& vault_hash) {
  if (!vault_hash) return;
  const std::lock_guard lock(mutex_);
  for (const UsedCheckpoint& checkpoint : vault_hash->used_checkpoints) {
    if (std::find(used_checkpoints_.begin(), used_checkpoints_.end(), checkpoint) == used_checkpoints_.end())
      used_checkpoints_.push_back(checkpoint);
  }
  while (used_checkpoints_.size() > kUsedCheckpointsMax) used_checkpoints_.erase(used_checkpoints_.begin());
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
  const std::lock_guard lock(mutex_);
  witnessed_checkpoints_ = std::move(checkpoints);
}

void Witnesses::burn(const UsedCheckpoint& checkpoint) {
  const std::lock_guard lock(mutex_);
  if (std::find(used_checkpoints_.begin(), used_checkpoints_.end(), checkpoint) != used_checkpoints_.end())
    return;
  used_checkpoints_.push_back(checkpoint);
  if (used_checkpoints_.size() > kUsedCheckpointsMax) used_checkpoints_.erase(used_checkpoints_.begin());
}

void Witnesses::prepare_next(Keys next) {
  const std::lock_guard move(move_mutex_);
  const std::optional<TamperContent> file = tamper_ ? tamper_->content() : tamper_found_;
  const std::lock_guard lock(mutex_);
  // The chain at a checkpoint is taken as it is: what is before it nobody can recompute.
  AuditCheckpoint at = start_;
  if (file && file->newest.generation >= start_.generation) {
    at = file->checkpoint;
    for (const AuditEntry& entry : file->entries) {
      if (entry.generation > start_.generation) break;
      at = following(at, entry, next.tamper);
    }
  }
  next_.emplace(Next{std::move(next), at, at});
  for (const AuditEntry& entry : entries_) {
    if (entry.generation > at.generation) next_->newest = following(next_->newest, entry, next_->keys.tamper);
  }
}

AuditCheckpoint Witnesses::newest_next() const {
  const std::lock_guard lock(mutex_);
  return next_->newest;
}

void Witnesses::abandon_next() {
  const std::lock_guard lock(mutex_);
  next_.reset();
}

void Witnesses::adopt_next(const Hold& hold) {
  if (!hold.owns_lock()) std::abort();
  if (tamper_) tamper_found_ = tamper_->content();
  tamper_.reset();
  const std::lock_guard lock(mutex_);
  start_ = next_->start;
  newest_ = next_->newest;
  while (!entries_.empty() && entries_.front().generation <= start_.generation) entries_.pop_front();
  keys_ = std::move(next_->keys);
  witness_key_ = WitnessKey{keys_.witness.clone(), keys_.storage_id, keys_.key_id};
  next_.reset();
  if (secret_) secret_->rekeyed();
  if (token_) token_->rekeyed();
}

Witnesses::Target Witnesses::target() const {
  const std::lock_guard lock(mutex_);
  Target target;
  target.newest = newest_;
  target.wall_ms = newest_wall_ms_;
  target.start = start_;
  target.stamp = stamp_;
  target.vault_hash = VaultHash{{newest_.generation, newest_.head}, newest_wall_ms_, used_checkpoints_};
  // Only what the tamper file lacks is copied; all of it when the file must be made.
  auto first = entries_.begin();
  if (tamper_ && tamper_->newest().generation >= start_.generation) {
    const std::uint64_t skip =
        std::min<std::uint64_t>(tamper_->newest().generation - start_.generation, entries_.size());
    first += static_cast<std::ptrdiff_t>(skip);
  }
  target.entries.assign(first, entries_.end());
  return target;
}

Status Witnesses::move(bool replace_foreign, bool with_token) {
  const Status moved = try_move(replace_foreign, with_token);
  if (moved.ok()) return {};
  return {Reason::kWitnessNotMoved, moved.error().detail, moved.error().system_error};
}

Status Witnesses::try_move(bool replace_foreign, bool with_token) {
  const std::lock_guard move(move_mutex_);
  const Target target = this->target();
  Status status = move_tamper(target);
  {
    const std::lock_guard lock(mutex_);
    tamper_position_.failing = !status.ok();
    if (status.ok()) {
      tamper_position_.checkpoint = {target.newest.generation, target.newest.head};
      tamper_position_.moved_wall_ms = target.wall_ms;
    }
  }
  if (status.ok() && secret_) status = secret_->move(target.vault_hash, target.stamp, replace_foreign);
  if (status.ok() && token_ && with_token)
    status = token_->move(target.vault_hash, target.stamp, replace_foreign);
  SR_TRY(status);
  const std::lock_guard lock(mutex_);
  const log::Checkpoint checkpoint{target.newest.generation, target.newest.head};
  if (witnessed_checkpoints_.empty() || !(witnessed_checkpoints_.back() == checkpoint)) {
    witnessed_checkpoints_.push_back(checkpoint);
    if (witnessed_checkpoints_.size() > limits::kWitnessedCheckpointsMax) witnessed_checkpoints_.pop_front();
  }
  return {};
}

Status Witnesses::move_tamper(const Target& target) {
  std::optional<TamperContent> former;
  if (tamper_found_ && tamper_found_->key_id != keys_.key_id) former = std::exchange(tamper_found_, {});
  if (!tamper_ && tamper_found_) {
    // A file whose run ends before the noted log begins cannot be gone on with without a gap.
    if (tamper_found_->newest.generation >= target.start.generation) {
      const auto entries =
          tamper_found_durable_ ? TamperFile::Entries::kDurable : TamperFile::Entries::kMaybeNotDurable;
      Result<std::unique_ptr<TamperFile>> resumed =
          TamperFile::resume(directory_, std::string(kTamperFileName), keys_.tamper.clone(), keys_.storage_id,
                             keys_.key_id, *tamper_found_, entries);
      if (!resumed.ok()) return resumed.status();
      tamper_ = *std::move(resumed);
    }
    tamper_found_.reset();
  }
  if (tamper_ && tamper_->newest().generation < target.start.generation) tamper_.reset();
  if (!tamper_) {
    const Status made = make_tamper(target, former ? &*former : nullptr);
    if (!made.ok() && former) tamper_found_ = std::move(former);  // for the next attempt
    SR_TRY(made);
  } else {
    std::vector<AuditEntry> entries = target.entries;
    std::erase_if(entries,
                  [&](const AuditEntry& entry) { return entry.generation <= tamper_->newest().generation; });
    if (!entries.empty()) SR_TRY(tamper_->append(entries));
  }
  tamper_synced_ = target.newest.generation;
  return {};
}

// A file of a former DEK is made anew under the present one from its own checkpoint, if that leads to where the noted log
// begins; else with what is noted.
Status Witnesses::make_tamper(const Target& target, const TamperContent* former) {
  AuditCheckpoint checkpoint = target.start;
  std::vector<AuditEntry> entries;
  if (former != nullptr) {
    AuditCheckpoint at = former->checkpoint;
    for (const AuditEntry& entry : former->entries) {
      if (entry.generation > target.start.generation) break;
      at = following(at, entry, keys_.tamper);
      entries.push_back(entry);
    }
    if (at.generation == target.start.generation && at.chain == target.start.chain) {
      checkpoint = former->checkpoint;
    } else {
      entries.clear();
    }
  }
  entries.insert(entries.end(), target.entries.begin(), target.entries.end());
  SR_ASSIGN(tamper_,
            TamperFile::create(directory_, std::string(kTamperFileName), keys_.tamper.clone(),
                               keys_.storage_id, keys_.key_id, checkpoint, entries, tamper_capacity_));
  return {};
}

Status Witnesses::alarm() const {
  for (const std::optional<SecretWitness>* witness : {&secret_, &token_}) {
    if (*witness) SR_TRY((*witness)->alarm());
  }
  return {};
}

std::deque<log::Checkpoint> Witnesses::witnessed_checkpoints() const {
  const std::lock_guard lock(mutex_);
  return witnessed_checkpoints_;
}

AuditCheckpoint Witnesses::newest() const {
  const std::lock_guard lock(mutex_);
  return newest_;
}

std::vector<UsedCheckpoint> Witnesses::used_checkpoints() const {
  const std::lock_guard lock(mutex_);
  return used_checkpoints_;
}

std::vector<AuditEntry> Witnesses::noted() const {
  const std::lock_guard lock(mutex_);
  return {entries_.begin(), entries_.end()};
}

Witnesses::Position Witnesses::tamper_position() const {
  const std::lock_guard lock(mutex_);
  return tamper_position_;
}

Witnesses::Position Witnesses::secret_position() const { return secret_->position(); }
Witnesses::Position Witnesses::token_position() const { return token_->position(); }

}  // namespace strongroom::store
