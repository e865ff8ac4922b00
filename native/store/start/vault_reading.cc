#include "store/start/vault_reading.h"

#include "store/engine_state.h"
#include "store/start/root_opening.h"
#include "store/start/validation.h"

namespace strongroom::store {
namespace {

constexpr int kLooksMax = 20;  // beside a live writer

}  // namespace

Status VaultReading::read(const Engine::ProgressHook& progress) {
  Opening& opening = store_.life.opening();
  for (int look = 1;; ++look) {
    SR_TRY(store_.witnesses->observe(opening.evidence));
    SR_TRY(store_.unless_changed(load(progress)));
    if (!store_.options.read_only || store_.counter() == nullptr || look == kLooksMax) return {};
    SR_ASSIGN(const bool consistent, is_consistent());
    if (consistent) return {};
    opening.evidence = Evidence();
    store_.vault.index.clear();
  }
}

log::ReadOptions VaultReading::watch(const Engine::ProgressHook& progress) {
  Evidence& evidence = store_.life.opening().evidence;
  log::ReadOptions read;
  read.on_file = [this, &evidence](const log::FileHeader& file) -> Status {
    SR_TRY(find_key(file));
    for (const std::unique_ptr<Observation>& each : evidence.found) each->on_file(file.key_id);
    return {};
  };
  read.on_snapshot = [this, &evidence](const log::SnapshotInfo& snapshot) {
    const log::Checkpoint& at = snapshot.checkpoint;
    AuditTail& audit = store_.witnesses->audit();
    audit.begin({at.generation, at.head, snapshot.audit_chain});
    for (const std::unique_ptr<Observation>& each : evidence.found) each->on_snapshot(snapshot, audit);
  };
  read.on_commit = [this, &evidence](const log::CommitInfo& commit) {
    AuditTail& audit = store_.witnesses->audit();
    audit.note(commit, std::nullopt);
    store_.vault.newest_wall_ms = commit.wall_ms;
    for (const std::unique_ptr<Observation>& each : evidence.found) each->on_commit(commit, audit);
  };
  read.on_progress = progress;
  return read;
}

Status VaultReading::find_key(const log::FileHeader& file) {
  const KeyRing& ring = store_.ring;
  if (ring.dek_of(file.key_id) == nullptr) {
    // Nothing here is authenticated; it only tells why the start is refused.
    if (file.key_id != 0 && file.key_id < ring.header().key_id)  // the first DEK is 1
      return {Reason::kVaultRolledBack, "the vault file is one of a former DEK"};
    if (store_.life.opening().evidence.names_key(file.key_id))
      return {Reason::kPersistenceRolledBack, "the vault is one of a later DEK than persistence.bin holds"};
    return {Reason::kVaultTampered, "the vault file names a DEK that persistence.bin does not hold"};
  }
  store_.make_witnesses(file.key_id);
  return {};
}

// Beside a live writer a frame may be read while it is being written, or the next one be there when the place of this one was
// read empty.
Status VaultReading::read_log(const log::ReadOptions& how) {
  Vault& vault = store_.vault;
  std::optional<log::LoadedLog> before;
  for (int look = 1;; ++look) {
    SR_ASSIGN(vault.loaded, log::read_log(*vault.file, store_.ring.header().storage_id, *vault.epoch_keys,
                                          vault.index, how));
    const bool damaged = vault.loaded.end != log::LogEnd::kExact && vault.loaded.end != log::LogEnd::kPadded;
    if (!store_.options.read_only || !damaged || (before && before->newest == vault.loaded.newest)) return {};
    if (look == kLooksMax)
      return {Reason::kLocked, "another process writes to the vault faster than it can be read; try again"};
    before = vault.loaded;
    vault.index.clear();
    vault.make_epoch_keys(store_.ring);
  }
}

Status VaultReading::load(const Engine::ProgressHook& progress) {
  Vault& vault = store_.vault;
  vault.make_epoch_keys(store_.ring);
  const std::string& name = store_.ring.core().vault_file_name;
  Result<std::unique_ptr<os::File>> opened =
      store_.directory->open(name, store_.options.read_only ? os::OpenMode::kRead : os::OpenMode::kReadWrite);
  if (opened.is(Reason::kNotFound))
    return {Reason::kPartialRestore, "the vault file '" + name + "' is missing"};
  if (!opened.ok()) return opened.status();
  vault.file = *std::move(opened);
  SR_TRY(read_log(watch(progress)));

  Opening& opening = store_.life.opening();
  Evidence& evidence = opening.evidence;
  evidence.history.newest = vault.loaded.newest;
  evidence.history.tamper_synced = vault.loaded.tamper_synced;
  evidence.history.end = vault.loaded.end;
  const ReadHistory history{vault.loaded, vault.index,
                            [&vault](std::string_view key) { return vault.record(key); }};
  for (const std::unique_ptr<Observation>& each : evidence.found) SR_TRY(each->conclude(history));
  if (CounterWitness* const counter = store_.counter()) counter->adopt_anchor(*evidence.counter());
  opening.verdict = judge(evidence);
  SR_ASSIGN(store_.life.findings().last_written_here, is_at_recorded_place());
  return {};
}

Result<bool> VaultReading::is_at_recorded_place() {
  SR_ASSIGN(const std::optional<Bytes> recorded, store_.vault.record(kPlaceKey));
  SR_ASSIGN(const Bytes present, place_record(*store_.directory));
  return recorded == present;
}

Status VaultReading::read_persistence_again() {
  SR_ASSIGN(const std::vector<ParsedPersistence> candidates, store_.ring.read(*store_.directory));
  Status refusal;
  for (const ParsedPersistence& candidate : candidates) {
    if (candidate.header.key_id != store_.ring.header().key_id)
      return {Reason::kLocked, "the DEK was rotated while the store was being read; try again"};
    refusal = RootOpening(store_).adopt(candidate, store_.ring.dek().clone());
    if (refusal.ok()) break;
  }
  return refusal;
}

// A live writer moves the TPM and replaces persistence.bin between our looks at them. The vault was read behind the first
// look at the TPM, so where its anchor does not fit that one, it must fit a second; where both looks are the same, no writer
// is at work. And the persistence.bin that it names must be the one from before or from after.
Result<bool> VaultReading::is_consistent() {
  Opening& opening = store_.life.opening();
  CounterObservation& found = *opening.evidence.counter();
  if (!found.damage.ok() || !found.newest) return true;
  if (!explain(stand(*found.newest, found.tpm), *found.newest, found.tpm).ok()) {
    SR_ASSIGN(const TpmObservation after, store_.counter()->read());
    const bool moved = found.tpm.counter != after.counter || found.tpm.head != after.head;
    if (!moved) return true;  // whatever is wrong, it is no writer
    if (!explain(stand(*found.newest, after), *found.newest, after).ok()) return false;
    found.tpm = after;
  }
  found.weigh();
  store_.counter()->adopt_anchor(found);
  opening.verdict = judge(opening.evidence);
  const Validation validation(store_);
  if (validation.persistence_record().ok()) return true;
  const Digest before = store_.ring.hash();
  SR_TRY(read_persistence_again());
  return store_.ring.hash() == before || validation.persistence_record().ok();
}

}  // namespace strongroom::store
