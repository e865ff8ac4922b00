#include "witnesses/tamper_file/tamper_witness.h"

#include <algorithm>
#include <string>
#include <utility>

namespace strongroom::store {

void TamperWitness::adopt(std::optional<TamperContent> found, std::uint64_t synced) {
  if (found) {
    synced_ = std::min(found->newest.generation, synced);
    found_entries_ = found->newest.generation <= synced ? TamperFile::Entries::kDurable
                                                        : TamperFile::Entries::kMaybeNotDurable;
    const MutexLock lock(mutex_);
    position_.checkpoint = {found->newest.generation, found->newest.head};
  }
  found_ = std::move(found);
}

void TamperWitness::rekeyed(Key key) {
  if (file_) found_ = file_->content();
  file_.reset();
  key_ = std::move(key);
}

std::optional<TamperContent> TamperWitness::content() const { return file_ ? file_->content() : found_; }

Status TamperWitness::move(const AuditTail::Rest& rest) {
  Status written = write(rest);
  if (written.ok()) synced_ = rest.newest.generation;
  const MutexLock lock(mutex_);
  position_.failing = !written.ok();
  if (written.ok()) {
    position_.checkpoint = {rest.newest.generation, rest.newest.head};
    position_.moved_wall_ms = rest.wall_ms;
  }
  return written;
}

WitnessPosition TamperWitness::position() const {
  const MutexLock lock(mutex_);
  return position_;
}

Status TamperWitness::write(const AuditTail::Rest& rest) {
  std::optional<TamperContent> former;
  if (found_ && found_->key_id != key_.key_id) former = std::exchange(found_, {});
  if (!file_ && found_) SR_TRY(resume(rest));
  if (file_ && file_->newest().generation < rest.start.generation) file_.reset();
  if (!file_) {
    const Status made = make(rest, former ? &*former : nullptr);
    if (!made.ok() && former) found_ = std::move(former);  // for the next attempt
    return made;
  }
  std::vector<AuditEntry> entries = rest.entries;
  std::erase_if(entries,
                [this](const AuditEntry& entry) { return entry.generation <= file_->newest().generation; });
  return entries.empty() ? Status() : file_->append(entries);
}

// A file whose run ends before the tail begins cannot be gone on with without a gap.
Status TamperWitness::resume(const AuditTail::Rest& rest) {
  if (found_->newest.generation >= rest.start.generation) {
    SR_ASSIGN(file_, TamperFile::resume(directory_, std::string(kTamperFileName), key_.key.clone(),
                                        key_.storage_id, key_.key_id, *found_, found_entries_));
  }
  found_.reset();
  return {};
}

Status TamperWitness::make(const AuditTail::Rest& rest, const TamperContent* former) {
  AuditCheckpoint checkpoint = rest.start;
  std::vector<AuditEntry> entries;
  if (former != nullptr) {
    AuditCheckpoint at = former->checkpoint;
    for (const AuditEntry& entry : former->entries) {
      if (entry.generation > rest.start.generation) break;
      at = following(at, entry, key_.key.view());
      entries.push_back(entry);
    }
    if (at.generation == rest.start.generation && at.chain == rest.start.chain) {
      checkpoint = former->checkpoint;
    } else {
      entries.clear();
    }
  }
  entries.insert(entries.end(), rest.entries.begin(), rest.entries.end());
  SR_ASSIGN(file_, TamperFile::create(directory_, std::string(kTamperFileName), key_.key.clone(),
                                      key_.storage_id, key_.key_id, checkpoint, entries, capacity_));
  return {};
}

}  // namespace strongroom::store
