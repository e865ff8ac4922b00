#include "store/witnesses.h"

#include <algorithm>

#include "base/limits.h"

namespace strongroom::store {

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

void Witnesses::begin(const TamperPoint& start) {
  const std::lock_guard lock(mutex_);
  start_ = newest_ = start;
  entries_.clear();
}

void Witnesses::committed(const log::CommitInfo& commit, const std::optional<TimeStamp>& stamp) {
  const OperationEntry entry{commit.point.generation, commit.wall_ms, static_cast<std::uint8_t>(commit.kind),
                             commit.operations, commit.point.head};
  const std::lock_guard lock(mutex_);
  newest_ = TamperPoint{entry.generation, entry.head, next_chain(keys_.tamper.view(), newest_.chain, entry)};
  newest_wall_ms_ = entry.wall_ms;
  entries_.push_back(entry);
  // The tail is bounded; what falls out of it is folded into the start. A tamper file that lags further is made anew.
  while (entries_.size() > tamper_capacity_) {
    start_ = TamperPoint{entries_.front().generation, entries_.front().head,
                         next_chain(keys_.tamper.view(), start_.chain, entries_.front())};
    entries_.pop_front();
  }
  if (stamp) stamp_ = stamp;
}

void Witnesses::adopt_tamper(std::optional<TamperContent> tamper, std::uint64_t synced) {
  const std::lock_guard move(move_mutex_);
  const std::lock_guard lock(mutex_);
  if (tamper) {
    tamper_position_.point = {tamper->newest.generation, tamper->newest.head};
    tamper_synced_ = std::min(tamper->newest.generation, synced);
    tamper_found_durable_ = tamper->newest.generation <= synced;
  }
  tamper_found_ = std::move(tamper);
}

void Witnesses::adopt_used(const std::optional<VaultHash>& vault_hash) {
  if (!vault_hash) return;
  const std::lock_guard lock(mutex_);
  for (const UsedPoint& point : vault_hash->used_points) {
    if (std::find(used_points_.begin(), used_points_.end(), point) == used_points_.end())
      used_points_.push_back(point);
  }
  while (used_points_.size() > kUsedPointsMax) used_points_.erase(used_points_.begin());
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

void Witnesses::adopt_witnessed(std::deque<log::Point> points) {
  const std::lock_guard lock(mutex_);
  witnessed_points_ = std::move(points);
}

void Witnesses::burn(const UsedPoint& point) {
  const std::lock_guard lock(mutex_);
  if (std::find(used_points_.begin(), used_points_.end(), point) != used_points_.end()) return;
  used_points_.push_back(point);
  if (used_points_.size() > kUsedPointsMax) used_points_.erase(used_points_.begin());
}

Witnesses::Target Witnesses::target() const {
  const std::lock_guard lock(mutex_);
  Target target;
  target.newest = newest_;
  target.wall_ms = newest_wall_ms_;
  target.start = start_;
  target.stamp = stamp_;
  target.vault_hash = VaultHash{{newest_.generation, newest_.head}, newest_wall_ms_, used_points_};
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
  const std::lock_guard move(move_mutex_);
  const Target target = this->target();
  Status status = move_tamper(target);
  {
    const std::lock_guard lock(mutex_);
    tamper_position_.failing = !status.ok();
    if (status.ok()) {
      tamper_position_.point = {target.newest.generation, target.newest.head};
      tamper_position_.moved_wall_ms = target.wall_ms;
    }
  }
  if (status.ok() && secret_) status = secret_->move(target.vault_hash, target.stamp, replace_foreign);
  if (status.ok() && token_ && with_token)
    status = token_->move(target.vault_hash, target.stamp, replace_foreign);
  if (!status.ok()) {
    const Error& error = status.error();
    return Status(Reason::kWitnessNotMoved, error.detail, error.system_error);
  }
  const std::lock_guard lock(mutex_);
  const log::Point point{target.newest.generation, target.newest.head};
  if (witnessed_points_.empty() || !(witnessed_points_.back() == point)) {
    witnessed_points_.push_back(point);
    if (witnessed_points_.size() > limits::kWitnessPointsMax) witnessed_points_.pop_front();
  }
  return {};
}

Status Witnesses::move_tamper(const Target& target) {
  if (!tamper_ && tamper_found_) {
    // A file whose run ends before the noted log begins cannot be gone on with without a gap.
    if (tamper_found_->newest.generation >= target.start.generation) {
      Result<std::unique_ptr<TamperFile>> resumed =
          TamperFile::resume(directory_, std::string(kTamperFileName), keys_.tamper.clone(), keys_.storage_id,
                             keys_.key_id, *tamper_found_, tamper_found_durable_);
      if (!resumed.ok()) return resumed.status();
      tamper_ = *std::move(resumed);
    }
    tamper_found_.reset();
  }
  if (tamper_ && tamper_->newest().generation < target.start.generation) tamper_.reset();
  if (!tamper_) {
    Result<std::unique_ptr<TamperFile>> created =
        TamperFile::create(directory_, std::string(kTamperFileName), keys_.tamper.clone(), keys_.storage_id,
                           keys_.key_id, target.start, target.entries, tamper_capacity_);
    if (!created.ok()) return created.status();
    tamper_ = *std::move(created);
  } else {
    std::vector<OperationEntry> entries = target.entries;
    std::erase_if(entries, [&](const OperationEntry& entry) {
      return entry.generation <= tamper_->newest().generation;
    });
    if (!entries.empty()) SR_TRY(tamper_->append(entries));
  }
  tamper_synced_ = target.newest.generation;
  return {};
}

Status Witnesses::alarm() const {
  for (const std::optional<SecretWitness>* witness : {&secret_, &token_}) {
    if (*witness) SR_TRY((*witness)->alarm());
  }
  return {};
}

std::deque<log::Point> Witnesses::witnessed_points() const {
  const std::lock_guard lock(mutex_);
  return witnessed_points_;
}

TamperPoint Witnesses::newest() const {
  const std::lock_guard lock(mutex_);
  return newest_;
}

std::vector<UsedPoint> Witnesses::used_points() const {
  const std::lock_guard lock(mutex_);
  return used_points_;
}

std::vector<OperationEntry> Witnesses::noted() const {
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
