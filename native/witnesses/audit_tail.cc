#include "witnesses/audit_tail.h"

#include <algorithm>
#include <utility>

namespace strongroom::store {

AuditEntry entry_of(const log::CommitInfo& commit) {
  return {commit.checkpoint.generation, commit.wall_ms, static_cast<std::uint8_t>(commit.kind),
          commit.operations, commit.checkpoint.head};
}

AuditCheckpoint following(const AuditCheckpoint& checkpoint, const AuditEntry& entry, ByteView tamper_key) {
  return {entry.generation, entry.head, next_chain(tamper_key, checkpoint.chain, entry)};
}

void AuditTail::begin(const AuditCheckpoint& start) {
  const MutexLock lock(mutex_);
  start_ = newest_ = start;
  entries_.clear();
}

void AuditTail::note(const log::CommitInfo& commit, const std::optional<TimeStamp>& stamp) {
  const AuditEntry entry = entry_of(commit);
  const MutexLock lock(mutex_);
  newest_ = following(newest_, entry, tamper_key_.view());
  if (next_) next_->newest = following(next_->newest, entry, next_->tamper_key.view());
  wall_ms_ = entry.wall_ms;
  entries_.push_back(entry);
  while (entries_.size() > capacity_) {
    start_ = following(start_, entries_.front(), tamper_key_.view());
    if (next_ && next_->start.generation < start_.generation)
      next_->start = following(next_->start, entries_.front(), next_->tamper_key.view());
    entries_.pop_front();
  }
  if (stamp) stamp_ = stamp;
}

AuditCheckpoint AuditTail::newest() const {
  const MutexLock lock(mutex_);
  return newest_;
}

std::vector<AuditEntry> AuditTail::entries() const {
  const MutexLock lock(mutex_);
  return {entries_.begin(), entries_.end()};
}

AuditTail::Rest AuditTail::behind(std::uint64_t generation) const {
  const MutexLock lock(mutex_);
  auto first = entries_.begin();
  if (generation >= start_.generation)
    first +=
        static_cast<std::ptrdiff_t>(std::min<std::uint64_t>(generation - start_.generation, entries_.size()));
  return {start_, newest_, wall_ms_, stamp_, {first, entries_.end()}};
}

void AuditTail::prepare_next(SecretBytes tamper_key, const TamperContent* file) {
  const MutexLock lock(mutex_);
  // The chain at a checkpoint is taken as it is: what is before it nobody can recompute.
  AuditCheckpoint at = start_;
  if (file != nullptr && file->newest.generation >= start_.generation) {
    at = file->checkpoint;
    for (const AuditEntry& entry : file->entries) {
      if (entry.generation > start_.generation) break;
      at = following(at, entry, tamper_key.view());
    }
  }
  next_.emplace(Next{std::move(tamper_key), at, at});
  for (const AuditEntry& entry : entries_)
    if (entry.generation > at.generation)
      next_->newest = following(next_->newest, entry, next_->tamper_key.view());
}

AuditCheckpoint AuditTail::newest_next() const {
  const MutexLock lock(mutex_);
  return next_->newest;
}

void AuditTail::abandon_next() {
  const MutexLock lock(mutex_);
  next_.reset();
}

void AuditTail::adopt_next() {
  const MutexLock lock(mutex_);
  start_ = next_->start;
  newest_ = next_->newest;
  while (!entries_.empty() && entries_.front().generation <= start_.generation) entries_.pop_front();
  tamper_key_ = std::move(next_->tamper_key);
  next_.reset();
}

}  // namespace strongroom::store
