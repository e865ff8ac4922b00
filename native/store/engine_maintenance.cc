// Upkeep: verification, the audit log.
#include <algorithm>

#include "store/engine_state.h"

namespace strongroom::store {
Status Engine::compact() {
  State& state = *state_;
  const MutexLock maintenance(state.compactor.mutex());
  if (state.stage != State::Stage::kOpen) return {Reason::kNotOpen, "the store is not open"};
  if (state.options.read_only) return {Reason::kReadOnly, "the store was opened for reading only"};
  return state.compactor.compact();
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
  report.snapshot = read.vault.loaded.snapshot;
  report.newest = read.vault.loaded.newest;
  report.commits = read.vault.loaded.newest.generation - read.vault.loaded.snapshot.generation;
  report.records = read.vault.index.size();
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
