#include "witnesses/tamper_file/tamper_witness.h"

#include <algorithm>
#include <string>
#include <utility>

#include "witnesses/verdict.h"

namespace strongroom::store {

std::optional<log::Checkpoint> TamperObservation::checkpoint() const {
  return content ? std::optional(log::Checkpoint{content->newest.generation, content->newest.head})
                 : std::nullopt;
}

void TamperObservation::on_file(std::uint32_t key_id) {
  is_former_ = content && content->key_id != key_id;
  if (content && content->key_id > key_id) damage = vault_is_of_former_key();
}

void TamperObservation::on_snapshot(const log::SnapshotInfo& snapshot, const AuditTail& audit) {
  if (!content) return;
  watch_.emplace(*checkpoint());
  former_chain_ = snapshot.former_chain;
  chain_differs_ = false;
  see(snapshot.checkpoint, audit);
}

void TamperObservation::on_commit(const log::CommitInfo& commit, const AuditTail& audit) {
  if (!watch_) return;
  if (is_former_ && former_chain_) former_chain_ = next_chain(key.view(), *former_chain_, entry_of(commit));
  see(commit.checkpoint, audit);
}

void TamperObservation::see(const log::Checkpoint& seen, const AuditTail& audit) {
  watch_->see(seen);
  if (content->newest.generation != seen.generation) return;
  const Digest chain = is_former_ ? former_chain_.value_or(Digest{}) : audit.newest().chain;
  chain_differs_ = content->newest.chain != chain;
}

Status TamperObservation::conclude(const ReadHistory& history) {
  if (!watch_) return {};
  standing = watch_->conclude(history.log);
  // The heads agree but the audit log before them does not: another log than the one the vault counted along.
  if (standing == Standing::kContained && chain_differs_)
    damage = Status(Reason::kTamperFileTampered, "the audit log differs from the vault's history");
  return {};
}

Status TamperObservation::judge(const History& history, Verdict& verdict) const {
  if (present) return judge_content(history);
  if (!history.is_confirmed_alone) {
    return {Reason::kWitnessMissing,
            "the tamper file is missing, and no SecretStore confirms the vault without it"};
  }
  verdict.tamper_file_anew = true;
  return {};
}

Status TamperObservation::judge_content(const History& history) const {
  if (!damage.ok()) return damage;
  const std::uint64_t generation = content->newest.generation;
  switch (standing) {
    case Standing::kContained:
    case Standing::kForgotten:  // merely old; the SecretStore vouches for the vault
      break;
    case Standing::kAhead:
      return ends_before(history, kind().noun, generation);
    case Standing::kDiffers:
      return differs_from(kind().noun, generation);
  }
  if (content->clean) return {};
  // Only an append that a crash cut short may leave damage: behind everything that is known to have been synced, and
  // only where the vault has commits that such an append could have held.
  if (generation < history.tamper_synced || generation >= history.newest.generation) {
    return {Reason::kTamperFileTampered,
            "the tamper file does not authenticate after " + at_generation(generation)};
  }
  return {};
}

void TamperObservation::drop_what_contradicts() {
  const bool serves = content && damage.ok() && content->clean &&
                      (standing == Standing::kContained || standing == Standing::kForgotten);
  if (!serves) content.reset();
}

Result<TamperContent> read_tamper_file_of(os::Directory& directory, KeyRing& ring,
                                          std::optional<std::uint32_t>* key_id) {
  StorageId storage_id{};
  {
    const MutexLock lock(ring.mutex());
    storage_id = ring.header().storage_id;
  }
  const auto key_of = [&](std::uint32_t named) {
    if (key_id != nullptr) *key_id = named;
    const MutexLock lock(ring.mutex());
    // One that names a DEK of another time cannot be authentic; read with the present one it says so.
    const SecretBytes* const of = ring.dek_of(named);
    return tamper_key(of != nullptr ? of->view() : ring.dek().view(), storage_id);
  };
  return read_tamper_file(directory, kTamperFileName, key_of, storage_id);
}

Result<std::unique_ptr<Observation>> TamperWitness::observe() {
  auto found = std::make_unique<TamperObservation>(kind());
  Result<TamperContent> content = read_tamper_file_of(directory_, ring_, &found->named_key);
  found->present = !content.is(Reason::kNotFound);
  if (content.ok()) {
    found->content = *std::move(content);
    if (const SecretBytes* const of = ring_.dek_of(found->content->key_id))
      found->key = tamper_key(of->view(), ring_.header().storage_id);
  } else if (content.is(Reason::kTamperFileTampered) || content.is(Reason::kVersion)) {
    // persistence.bin names the format's version, so another one here is no newer release but an edit.
    found->damage = Status(Reason::kTamperFileTampered, content.error().detail);
  } else if (found->present) {
    return content.status();
  }
  return std::unique_ptr<Observation>(std::move(found));
}

Status TamperWitness::try_write(const Observation& found) {
  if (!found.is_present()) return {};
  return directory_.open(kTamperFileName, os::OpenMode::kReadWrite).status();
}

void TamperWitness::adopt(Observation& observed, std::uint64_t synced) {
  std::optional<TamperContent>& found = static_cast<TamperObservation&>(observed).content;
  if (found) {
    synced_ = std::min(found->newest.generation, synced);
    found_entries_ = found->newest.generation <= synced ? TamperFile::Entries::kDurable
                                                        : TamperFile::Entries::kMaybeNotDurable;
    const MutexLock lock(mutex_);
    position_.checkpoint = {found->newest.generation, found->newest.head};
  }
  found_ = std::move(found);
}

void TamperWitness::rekeyed() {
  if (file_) found_ = file_->content();
  file_.reset();
}

std::optional<TamperContent> TamperWitness::content() const { return file_ ? file_->content() : found_; }

Status TamperWitness::move(const Move& move) {
  const AuditTail::Rest& rest = move.rest;
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
  if (found_ && found_->key_id != keys_.key_id) former = std::exchange(found_, {});
  if (!file_ && found_) SR_TRY(resume(rest));
  if (file_ && file_->newest().generation < rest.start.generation) file_.reset();
  if (!file_) {
    Status made = make(rest, former ? &*former : nullptr);
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
    SR_ASSIGN(file_, TamperFile::resume(directory_, std::string(kTamperFileName), keys_.tamper.clone(),
                                        keys_.storage_id, keys_.key_id, *found_, found_entries_));
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
      at = following(at, entry, keys_.tamper.view());
      entries.push_back(entry);
    }
    if (at.generation == rest.start.generation && at.chain == rest.start.chain) {
      checkpoint = former->checkpoint;
    } else {
      entries.clear();
    }
  }
  entries.insert(entries.end(), rest.entries.begin(), rest.entries.end());
  SR_ASSIGN(file_, TamperFile::create(directory_, std::string(kTamperFileName), keys_.tamper.clone(),
                                      keys_.storage_id, keys_.key_id, checkpoint, entries, capacity_));
  return {};
}

}  // namespace strongroom::store
