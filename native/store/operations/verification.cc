#include "store/operations/verification.h"

#include "store/engine_state.h"
#include "store/start/start.h"

namespace strongroom::store {

// What this engine seals meanwhile is no finding, so the reading begins again where persistence.bin was replaced.
Result<VerifyReport> Verification::verify(const Engine::ProgressHook& progress) {
  if (!store_.directory || store_.ring.dek().empty())
    return Status(Reason::kNotOpen, "the store is not open");
  constexpr int kReadingsMax = 20;
  for (int reading = 1;; ++reading) {
    Result<VerifyReport> report = read(progress);
    if (!report.is(Reason::kLocked) || reading == kReadingsMax) return report;
  }
}

Result<VerifyReport> Verification::read(const Engine::ProgressHook& progress) {
  EngineOptions options;
  options.directory = store_.options.directory;
  options.instance = store_.ring.header_now().instance;
  if (store_.secrets.store) options.secret_store = store_.secrets.config;
  options.read_only = true;
  Engine reader(store_.environment, std::move(options), {});
  // One connection: a TPM may serve no second one, a token few.
  Engine::State& with = reader.state();
  with.protector = store_.protector->beside(with.protector_context(), with.options);
  Start start(reader);
  SR_TRY(start.determine_startup_state().status());
  SR_TRY(start.setup_persistence_files());
  SR_TRY(start.initialize_warmstart());
  SR_TRY(start.create_and_load_vault(progress));
  SR_TRY(start.initialize_storage_identifier());
  SR_TRY(start.validate_vault_integrity());
  SR_TRY(start.validate_time_tamper_age());
  SR_TRY(start.update_time_tamper());
  const Engine::State& found = reader.state();
  VerifyReport report;
  report.snapshot = found.vault.loaded.snapshot;
  report.newest = found.vault.loaded.newest;
  report.commits = found.vault.loaded.newest.generation - found.vault.loaded.snapshot.generation;
  report.records = found.vault.index.size();
  for (const std::unique_ptr<Observation>& each : reader.state().life.opening().evidence.found)
    report.audit_entries += each->audit_entries();
  report.witnesses = reader.status().witnesses;
  return report;
}

Result<std::vector<AuditEntry>> Verification::audit_log(std::size_t count_max) {
  if (!store_.directory || !store_.witnesses) return Status(Reason::kNotOpen, "the store is not open");
  std::vector<AuditEntry> entries;
  Result<TamperContent> content = read_tamper_file_of(*store_.directory, store_.ring);
  if (content.ok()) {
    entries = std::move(content->entries);
  } else if (!content.is(Reason::kNotFound)) {
    return store_.unless_changed(content.status());
  }
  for (const AuditEntry& entry : store_.witnesses->audit().entries()) {
    if (entries.empty() || entry.generation > entries.back().generation) entries.push_back(entry);
  }
  if (entries.size() > count_max) {
    entries.erase(entries.begin(), entries.end() - static_cast<std::ptrdiff_t>(count_max));
  }
  return entries;
}

}  // namespace strongroom::store
