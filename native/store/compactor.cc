#include "store/compactor.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "base/thread_refused.h"
#include "log/compaction.h"
#include "store/engine.h"

namespace strongroom::store {
namespace {

constexpr std::uint64_t kProgressRecords = 4096;  // between two reports
// Headers, and what is committed meanwhile.
constexpr std::uint64_t kSlackBytes = std::uint64_t{256} << 10;
// So little is copied with the commit lock held.
constexpr std::uint64_t kRestBytes = std::uint64_t{1} << 20;

// One compaction under way.
class Compaction {
 public:
  Compaction(const Compactor::Parts& parts, std::uint32_t key_id)
      : parts_(parts),
        vault_(parts.vault),
        key_id_(key_id),
        moves_(parts.vault.epoch_keys->file_key_id() != key_id),
        fresh_(parts.ring.core().vault_file_name + std::string(kNewSuffix)) {}

  // Takes the records and the checkpoint that they stand for. False where a new DEK began meanwhile.
  [[nodiscard]] Result<bool> hold();
  [[nodiscard]] Status write(const Compactor::ProgressHook& progress);
  [[nodiscard]] Status publish();
  void end(const Status& status);

 private:
  [[nodiscard]] Status describe();
  [[nodiscard]] Status replace_file();

  const Compactor::Parts& parts_;
  Vault& vault_;
  const std::uint32_t key_id_;
  const bool moves_;  // the log, to that DEK
  const std::string fresh_;
  log::SnapshotInfo info_;
  std::vector<const log::Record*> records_;
  std::uint32_t epoch_ = 0;
  std::uint64_t from_ = 0;  // in the old log: what stands behind it is to be copied
  std::unique_ptr<os::File> file_;
  std::uint64_t offset_ = 0;  // in the new one: where that goes
};

Result<bool> Compaction::hold() {
  if (moves_) parts_.witnesses->prepare_next(parts_.keys_of(key_id_));
  bool same_key = true;
  Status described;
  vault_.queue->exclusively([&] {
    same_key = vault_.epoch_keys->key_id() == key_id_;
    if (!same_key) return;
    described = describe();
    from_ = vault_.writer->offset();
    epoch_ = vault_.writer->take_epoch();
    records_ = vault_.queue->hold_records();
  });
  info_.records = records_.size();
  if (!described.ok()) return described;
  return same_key;
}

Status Compaction::describe() {
  log::LogWriter& writer = *vault_.writer;
  info_.checkpoint = writer.newest();
  info_.audit_chain = parts_.witnesses->audit().newest().chain;
  const std::uint32_t epoch = writer.current_epoch();
  if (epoch != 0) info_.epochs[epoch] = *vault_.epoch_keys->salt(epoch);
  SR_TRY(writer.poisoned());
  if (!moves_) return {};
  info_.former_chain = std::exchange(info_.audit_chain, parts_.witnesses->audit().newest_next().chain);
  // What follows is copied as it is, so it has to be of the new DEK.
  if (vault_.epoch_keys->is_present(epoch)) return {};
  return {Reason::kInternal, "the log's epoch is not one of the new DEK"};
}

Status Compaction::write(const Compactor::ProgressHook& progress) {
  SR_TRY(parts_.witnesses->move());
  info_.witnessed = parts_.witnesses->witnessed_checkpoints();
  SR_TRY(parts_.directory->remove(fresh_));
  SR_ASSIGN(file_, parts_.directory->open(fresh_, os::OpenMode::kCreate));
  log::SnapshotWriter snapshot(*file_, *vault_.epoch_keys, key_id_, epoch_);
  SR_TRY(snapshot.begin(info_));
  std::uint64_t done = 0;
  for (const log::Record* record : records_) {
    SR_TRY(snapshot.add(*record));
    if (progress && (++done % kProgressRecords == 0 || done == records_.size()))
      progress(done, records_.size());
  }
  SR_ASSIGN(offset_, snapshot.finish());
  SR_TRY(file_->sync());
  // The bulk of what was committed meanwhile is copied beside the writer; only the rest with the lock held.
  for (std::uint64_t to = vault_.log_bytes; to > from_; to = vault_.log_bytes) {
    SR_TRY(log::copy_frames(vault_.writer->file(), from_, to, *file_, offset_));
    offset_ += to - from_;
    from_ = to;
    SR_TRY(file_->sync());
    if (vault_.log_bytes - to < kRestBytes) break;
  }
  return {};
}

Status Compaction::publish() {
  Status published;
  std::unique_ptr<os::File> old;  // closed without the lock
  const auto replace = [&] {
    published = replace_file();
    if (!published.ok()) return;
    old = vault_.writer->switch_file(std::move(file_), offset_);
    vault_.log_bytes = offset_;
    if (!moves_) return;
    (void)vault_.epoch_keys->set_file_key(key_id_);
    parts_.witnesses->adopt_next();
  };
  const auto without_commits = [&] { vault_.queue->exclusively(replace); };
  if (moves_) {
    parts_.witnesses->exclusively(without_commits);
  } else {
    without_commits();
  }
  return published;
}

Status Compaction::replace_file() {
  log::LogWriter& writer = *vault_.writer;
  const std::uint64_t to = writer.offset();
  SR_TRY(writer.poisoned());
  if (to > from_) SR_TRY(log::copy_frames(writer.file(), from_, to, *file_, offset_));
  offset_ += to - from_;
  SR_TRY(file_->sync());
  if (moves_ && parts_.options.before_step) SR_TRY(parts_.options.before_step("publish"));
  SR_TRY(parts_.directory->replace(fresh_, parts_.ring.core().vault_file_name));
  // Which of the two files a power cut leaves is unknown, and later commits would be in one only.
  if (Status synced = parts_.directory->sync(); !synced.ok()) return writer.poison(synced);
  return {};
}

void Compaction::end(const Status& status) {
  file_.reset();
  records_.clear();
  vault_.queue->release_records();
  if (status.ok()) return;
  parts_.directory->remove(fresh_).ignore("the next attempt and the next start remove it too");
  if (moves_) parts_.witnesses->abandon_next();
}

}  // namespace

void Compactor::begin_if_worthwhile() {
  if (running_) return;
  const std::uint64_t live = parts_.vault.queue->live_bytes();
  const std::uint64_t log_bytes = parts_.vault.log_bytes;
  if (log_bytes < live + std::max(parts_.options.compaction_bytes_min, live) || log_bytes < bytes_next_)
    return;
  if (lacks_space_ && !check_space().ok()) return;
  if (!mutex_.try_lock()) return;
  const MutexLock lock(mutex_, MutexLock::Adopt());
  join();
  running_ = true;
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error&) {
    running_ = false;
    bytes_next_ = log_bytes + parts_.options.compaction_bytes_min;
    if (parts_.options.compaction_failed) {
      parts_.options.compaction_failed({Reason::kInternal, kThreadRefused});
    }
  }
}

void Compactor::join() {
  if (thread_.joinable()) thread_.join();
}

// On failure the old log stays in use. Without room the next attempt waits for room, and otherwise until there is more to
// gain.
void Compactor::run() {
  const EngineOptions& options = parts_.options;
  const Status compacted = compact_now({});
  lacks_space_ = compacted.is(Reason::kNoSpace) && !check_space().ok();
  bytes_next_ = compacted.ok() || lacks_space_ ? 0 : parts_.vault.log_bytes + options.compaction_bytes_min;
  if (!compacted.ok() && options.compaction_failed) options.compaction_failed(compacted);
  running_ = false;
}

Status Compactor::compact(const ProgressHook& progress) {
  join();
  return compact_now(progress);
}

Status Compactor::check_space() const {
  const Result<os::FileSystemInfo> found = parts_.directory->file_system();
  if (!found.ok()) return {};
  const std::uint64_t live = parts_.vault.queue->live_bytes();
  const std::uint64_t needed = live + live / 64 + kSlackBytes;
  if (found->free_bytes >= needed) return {};
  return {Reason::kNoSpace, parts_.directory->path() + ": a compaction needs " + std::to_string(needed) +
                                " bytes for a second log, and " + std::to_string(found->free_bytes) +
                                " are free"};
}

// A DEK that begins while a snapshot is being written waits for the next compaction.
Status Compactor::compact_now(const ProgressHook& progress) {
  for (;;) {
    Compaction compaction(parts_, parts_.vault.epoch_keys->key_id());
    const Result<bool> held = compaction.hold();
    if (held.ok() && !*held) continue;
    Status status = held.status();
    if (status.ok()) status = check_space();
    if (status.ok()) status = compaction.write(progress);
    if (status.ok()) status = compaction.publish();
    compaction.end(status);
    return status;
  }
}

}  // namespace strongroom::store
