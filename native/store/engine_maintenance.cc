// Upkeep: compaction, verification.
#include <algorithm>

#include "store/engine_state.h"

namespace strongroom::store {
namespace {

constexpr std::uint64_t kProgressRecords = 4096;  // between two reports
// Headers, and what is committed meanwhile.
constexpr std::uint64_t kCompactionSlackBytes = std::uint64_t{256} << 10;

}  // namespace

Status Engine::compact() {
  State& state = *state_;
  const std::lock_guard maintenance(state.maintenance_mutex);
  if (state.stage != State::Stage::kOpen) return {Reason::kNotOpen, "the store is not open"};
  if (state.options.read_only) return {Reason::kReadOnly, "the store was opened for reading only"};
  if (state.compaction_thread.joinable()) state.compaction_thread.join();
  return state.compact_now();
}

void Engine::State::compact_if_worthwhile() {
  if (compacting || stage != Stage::kOpen) return;
  const std::uint64_t live = queue->live_bytes();
  if (log_bytes < live + std::max(options.compaction_bytes_min, live) || log_bytes < compaction_bytes_next)
    return;
  if (compaction_lacks_space && !check_space_for_compaction().ok()) return;
  const std::unique_lock maintenance(maintenance_mutex, std::try_to_lock);
  if (!maintenance.owns_lock()) return;
  if (compaction_thread.joinable()) compaction_thread.join();
  compacting = true;
  compaction_thread = std::thread([this] {
    const Status compacted = compact_now();
    // On failure the old log stays in use. Without room the next attempt waits for room, and otherwise until there is more
    // to gain.
    compaction_lacks_space = compacted.is(Reason::kNoSpace) && !check_space_for_compaction().ok();
    compaction_bytes_next =
        compacted.ok() || compaction_lacks_space ? 0 : log_bytes + options.compaction_bytes_min;
    if (!compacted.ok() && options.compaction_failed) options.compaction_failed(compacted);
    compacting = false;
  });
}

Status Engine::State::check_space_for_compaction() const {
  const Result<os::FileSystemInfo> found = directory->file_system();
  if (!found.ok()) return {};
  const std::uint64_t live = queue->live_bytes();
  const std::uint64_t needed = live + live / 64 + kCompactionSlackBytes;
  if (found->free_bytes >= needed) return {};
  return {Reason::kNoSpace, directory->path() + ": a compaction needs " + std::to_string(needed) +
                                " bytes for a second log, and " + std::to_string(found->free_bytes) +
                                " are free"};
}

Status Engine::State::compact_now(const ProgressHook& progress) {
  // With a new DEK the log moves to it. One that begins while a snapshot is being written waits for the next compaction.
  const std::uint32_t key_id = epoch_keys->key_id();
  const bool moving = epoch_keys->file_key_id() != key_id;
  if (moving) witnesses->prepare_next(witness_keys(key_id));
  bool begun_meanwhile = false;
  log::SnapshotInfo info;
  std::vector<const log::Record*> records;
  std::uint64_t from = 0;
  std::uint32_t epoch = 0;
  Status poisoned;
  queue->exclusively([&] {
    begun_meanwhile = epoch_keys->key_id() != key_id;
    if (begun_meanwhile) return;
    poisoned = writer->poisoned();
    info.checkpoint = writer->newest();
    info.audit_chain = witnesses->audit().newest().chain;
    if (moving) {
      info.former_chain = info.audit_chain;
      info.audit_chain = witnesses->audit().newest_next().chain;
      // What follows is copied as it is, so it has to be of the new DEK.
      if (poisoned.ok() && !epoch_keys->is_present(writer->current_epoch()))
        poisoned = Status(Reason::kInternal, "the log's epoch is not one of the new DEK");
    }
    if (writer->current_epoch() != 0)
      info.epochs[writer->current_epoch()] = *epoch_keys->salt(writer->current_epoch());
    from = writer->offset();
    epoch = writer->take_epoch();
    records = queue->hold_records();
  });
  if (begun_meanwhile) return compact_now(progress);
  info.records = records.size();
  const std::string fresh = ring.core().vault_file_name + std::string(kNewSuffix);
  const auto attempt = [&]() -> Status {
    SR_TRY(poisoned);
    SR_TRY(check_space_for_compaction());
    SR_TRY(witnesses->move());
    info.witnessed = witnesses->witnessed_checkpoints();
    SR_TRY(directory->remove(fresh));
    SR_ASSIGN(std::unique_ptr<os::File> file, directory->open(fresh, os::OpenMode::kCreate));
    log::SnapshotWriter snapshot(*file, *epoch_keys, key_id, epoch);
    SR_TRY(snapshot.begin(info));
    std::uint64_t done = 0;
    for (const log::Record* record : records) {
      SR_TRY(snapshot.add(*record));
      if (progress && (++done % kProgressRecords == 0 || done == records.size()))
        progress(done, records.size());
    }
    SR_ASSIGN(std::uint64_t offset, snapshot.finish());
    SR_TRY(file->sync());
    // The bulk of what was committed meanwhile is copied beside the writer; only the rest with the lock held.
    for (std::uint64_t to = log_bytes; to > from; to = log_bytes) {
      SR_TRY(log::copy_frames(writer->file(), from, to, *file, offset));
      offset += to - from;
      from = to;
      SR_TRY(file->sync());
      if (log_bytes - to < (std::uint64_t{1} << 20)) break;
    }
    Status published;
    std::unique_ptr<os::File> old;  // closed without the lock
    Witnesses::Hold hold;
    if (moving) hold = witnesses->hold_moves();
    queue->exclusively([&] {
      const std::uint64_t to = writer->offset();
      published = [&]() -> Status {
        SR_TRY(writer->poisoned());
        if (to > from) SR_TRY(log::copy_frames(writer->file(), from, to, *file, offset));
        offset += to - from;
        SR_TRY(file->sync());
        if (moving) SR_TRY(before_step("publish"));
        SR_TRY(directory->replace(fresh, ring.core().vault_file_name));
        if (Status synced = directory->sync(); !synced.ok()) {
          // Which of the two files a power cut leaves is unknown, and later commits would be in one only.
          return writer->poison(synced);
        }
        return {};
      }();
      if (published.ok()) {
        old = writer->switch_file(std::move(file), offset);
        log_bytes = offset;
        if (moving) {
          (void)epoch_keys->set_file_key(key_id);
          witnesses->adopt_next(hold);
        }
      }
    });
    return published;
  };
  Status status = attempt();
  queue->release_records();
  if (!status.ok()) directory->remove(fresh).ignore("the next attempt and the next start remove it too");
  if (moving && !status.ok()) witnesses->abandon_next();
  return status;
}

// What this engine seals meanwhile is no finding, so the reading begins again where persistence.bin was replaced.
Result<VerifyReport> Engine::verify(const ProgressHook& progress) {
  if (!state_->directory || state_->ring.dek().empty())
    return Status(Reason::kNotOpen, "the store is not open");
  constexpr int kReadingsMax = 20;
  for (int reading = 1;; ++reading) {
    Result<VerifyReport> report = read_and_verify(progress);
    if (!report.is(Reason::kLocked) || reading == kReadingsMax) return report;
  }
}

Result<VerifyReport> Engine::read_and_verify(const ProgressHook& progress) {
  State& state = *state_;
  EngineOptions options;
  options.directory = state.options.directory;
  options.instance = state.ring.header_now().instance;
  if (state.has_secret_store()) options.secret_store = state.secret_config;
  options.tpm.pin = state.options.tpm.pin.clone();
  options.read_only = true;
  Engine reader(state.environment, std::move(options), {});
  // One connection: a TPM may serve no second one, a token few.
  reader.state_->protector = state.protector->beside(reader.state_->protector_context());
  SR_TRY(reader.determine_startup_state().status());
  SR_TRY(reader.setup_persistence_files());
  SR_TRY(reader.initialize_warmstart());
  SR_TRY(reader.create_and_load_vault(progress));
  SR_TRY(reader.initialize_storage_identifier());
  SR_TRY(reader.validate_vault_integrity());
  SR_TRY(reader.validate_time_tamper_age());
  SR_TRY(reader.update_time_tamper());
  const State& read = *reader.state_;
  VerifyReport report;
  report.snapshot = read.loaded.snapshot;
  report.newest = read.loaded.newest;
  report.commits = read.loaded.newest.generation - read.loaded.snapshot.generation;
  report.records = read.index.size();
  if (read.evidence.tamper.content) report.audit_entries = read.evidence.tamper.content->entries.size();
  report.witnesses = reader.status().witnesses;
  return report;
}

Result<std::vector<AuditEntry>> Engine::audit_log(std::size_t count_max) {
  State& state = *state_;
  if (!state.directory || !state.witnesses) return Status(Reason::kNotOpen, "the store is not open");
  std::vector<AuditEntry> entries;
  Result<TamperContent> content = state.read_tamper();
  if (content.ok()) {
    entries = std::move(content->entries);
  } else if (!content.is(Reason::kNotFound)) {
    return state.unless_changed(content.status());
  }
  for (const AuditEntry& entry : state.witnesses->audit().entries()) {
    if (entries.empty() || entry.generation > entries.back().generation) entries.push_back(entry);
  }
  if (entries.size() > count_max) {
    entries.erase(entries.begin(), entries.end() - static_cast<std::ptrdiff_t>(count_max));
  }
  return entries;
}

namespace {
constexpr std::int64_t kNanosecondsPerMs = 1'000'000;
}  // namespace

Result<Inspection> inspect(os::Environment environment, const std::string& path) {
  SR_ASSIGN(const std::shared_ptr<os::Directory> directory,
            environment.files.open_directory(path, os::DirectoryMode::kExisting));
  const Result<Bytes> file = read_persistence_file(*directory);
  if (file.is(Reason::kNotFound)) return Status(Reason::kNoStore, "there is no store in " + path);
  if (!file.ok()) return file.status();
  SR_ASSIGN(const std::vector<ParsedPersistence> parsed, parse_persistence(*file));
  Inspection out;
  out.header = parsed.front().header;
  out.one_copy_damaged = parsed.front().one_copy_damaged;
  SR_ASSIGN(const std::vector<std::string> names, directory->list());
  for (const std::string& name : names) {
    out.tamper_file_present |= name == kTamperFileName;
    if (name.ends_with(kNewSuffix) || !validate_vault_file_name(name).ok()) continue;
    out.vault_file_present = true;
    const Result<std::optional<os::FileInfo>> info = directory->stat(name);
    if (info.ok() && *info) out.vault_modified_ms = (*info)->modified_ns / kNanosecondsPerMs;
  }
  return out;
}

}  // namespace strongroom::store
