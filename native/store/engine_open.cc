// WARMSTART: from the files and witnesses to a verdict, and from the verdict to an open store.
#include <algorithm>

#include "os/errno_reason.h"
#include "store/engine_state.h"
#include "store/operations/relocation.h"
#include "store/start/take_over.h"

namespace strongroom::store {
namespace {

// The exact bytes of the undamaged copy, doubled: what the file was before one copy was damaged.
std::optional<Bytes> mended(ByteView file, const Digest& hash) {
  constexpr std::size_t kCopyAlignment = 4096;
  for (std::size_t size = kCopyAlignment; size <= file.size(); size += kCopyAlignment) {
    for (const ByteView copy : {file.first(size), file.last(size)}) {
      if (crypto::sha256({copy}) != hash) continue;
      Bytes whole(copy.begin(), copy.end());
      whole.insert(whole.end(), copy.begin(), copy.end());
      return whole;
    }
  }
  return std::nullopt;
}

}  // namespace

Status Engine::State::open_core(const ParsedPersistence& candidate, SecretBytes dek_in) {
  SR_TRY(ring.open(candidate, std::move(dek_in)));
  persistence_damaged = candidate.one_copy_damaged;
  // What the engine then asks of the protector, such as the counter that its root is sealed to.
  const KeySlot* const slot = root_slot(ring.header());
  if (slot != nullptr && kind_of(*slot)->witnesses != (ring.core().witnesses & kWitnessesOfProtectors))
    return {Reason::kPersistenceCorrupt, "persistence.bin has witnesses that do not fit its key slot"};
  return {};
}

Status Engine::State::check_policy() const {
  if (!options.instance.empty() && options.instance != ring.header().instance) {
    return {Reason::kInvalidOption,
            "instance: the store has the instance name '" + ring.header().instance + "'"};
  }
  if (options.clock_tolerance_ms && *options.clock_tolerance_ms != ring.core().clock_tolerance_ms) {
    return {Reason::kInvalidOption,
            "clockToleranceMs: fixed at COLDSTART as " + std::to_string(ring.core().clock_tolerance_ms)};
  }
  if (options.age_ms_max && *options.age_ms_max != ring.core().age_ms_max) {
    return {Reason::kInvalidOption,
            "maxAge: fixed at COLDSTART as " + (ring.core().age_ms_max == kMaxAgeOff
                                                    ? std::string("'off'")
                                                    : std::to_string(ring.core().age_ms_max) + " ms")};
  }
  if (options.window_ms_max && *options.window_ms_max != ring.core().window_ms_max) {
    return {Reason::kInvalidOption,
            "windowMaxMs: fixed at COLDSTART as " + std::to_string(ring.core().window_ms_max)};
  }
  if (options.vendor_public_key && options.vendor_public_key != ring.core().authority.vendor_public_key) {
    return {Reason::kInvalidOption, "vendorPublicKey: differs from what was fixed at COLDSTART"};
  }
  return {};
}

Status Engine::State::check_kind(const ProtectorKind& kind) const {
  if (options.protector && *options.protector != kind.type)
    return {Reason::kInvalidOption, "protector.type: the store has '" + std::string(kind.name) + "'"};
  if (!kind.has_secrets() && options.secret_store)
    return {Reason::kInvalidOption, "secretStore: protector '" + std::string(kind.name) + "' has none"};
  return {};
}

ProtectorContext Engine::State::protector_context() {
  return {environment, options, ring, secrets, secret_config, [this] { return headers.next_slot_id(); }};
}

void Engine::State::use_protector(const ProtectorKind& kind) {
  if (!protector || &protector->kind() != &kind) protector = kind.make(kind, protector_context());
}

Status Engine::initialize_warmstart() {
  State& state = *state_;
  SR_TRY(state.require(State::Stage::kSetUp));
  if (state.startup != StartupState::kWarmstart)
    return {Reason::kNoStore, "there is no store in " + state.options.directory};
  Status opened = state.open_root();
  // Beside a live writer: the file that was read may be one epoch behind the counter by now.
  constexpr int kLooksMax = 20;
  for (int look = 1; !opened.ok() && state.options.read_only && look < kLooksMax; ++look) {
    const Bytes seen = state.ring.file();
    if (!state.ring.read(*state.directory).ok() || state.ring.file() == seen) break;
    opened = state.open_root();
  }
  SR_TRY(opened);
  state.make_witnesses(state.ring.header().key_id);
  state.stage = State::Stage::kRootOpen;
  return {};
}

Status Engine::State::open_root() {
  SR_ASSIGN(const std::vector<ParsedPersistence> candidates, ring.read(*directory));
  if (is_being_removed(candidates.front().header.state)) {
    return {Reason::kPartialRestore,
            "a decommission of this store was interrupted; run it again to complete it"};
  }
  Status refusal(Reason::kRootUnavailable, "persistence.bin has no key slot of a root");
  for (const ParsedPersistence& candidate : candidates) {
    for (const KeySlot& slot : candidate.header.slots) {
      const ProtectorKind* const kind = kind_of(slot);
      if (kind == nullptr) continue;
      SR_TRY(check_kind(*kind));
      Result<SecretBytes> opened = open_by_root(candidate.header, slot);
      refusal = opened.ok() ? open_core(candidate, *std::move(opened)) : opened.status();
      if (refusal.ok()) return check_policy();
      // What cannot be reached now says nothing about this copy, nor would it about the other.
      if (error_info(refusal.error().reason).retryable) return refusal;
    }
  }
  return refusal;
}

Result<SecretBytes> Engine::State::open_by_root(const PersistenceHeader& candidate, const KeySlot& slot) {
  const ProtectorKind& kind = *kind_of(slot);
  use_protector(kind);
  if (kind.has_secrets()) {
    SR_ASSIGN(const SecretStoreConfig named, protector->place_in(slot));
    secret_config = options.secret_store.value_or(named);
    SR_ASSIGN(secrets, open_secret_store(environment, secret_config, candidate.instance));
  }
  SR_TRY(lock_shared(candidate.storage_id, kind));
  return protector->unwrap(candidate, slot);
}

Status Engine::initialize_recovery(ByteView password) {
  State& state = *state_;
  SR_TRY(state.require(State::Stage::kSetUp));
  if (state.startup != StartupState::kWarmstart)
    return {Reason::kNoStore, "there is no store in " + state.options.directory};
  Status as_usual = initialize_warmstart();
  if (as_usual.ok()) {
    state.stage = State::Stage::kSetUp;
    return nothing_to_recover(state);
  }
  if (as_usual.is(Reason::kLocked)) return as_usual;
  SR_ASSIGN(const std::vector<ParsedPersistence> candidates, state.ring.read(*state.directory));
  Status refusal;
  for (const ParsedPersistence& candidate : candidates) {
    Result<SecretBytes> dek = open_by_password(candidate.header, password);
    refusal = dek.ok() ? state.open_core(candidate, *std::move(dek)) : dek.status();
    if (refusal.ok()) break;
  }
  SR_TRY(refusal);
  SR_TRY(state.check_policy());
  const KeySlot* const slot = root_slot(state.ring.header());
  if (slot == nullptr) return {Reason::kRootUnavailable, "persistence.bin has no key slot of a root"};
  const ProtectorKind& kind = *kind_of(*slot);
  // The root may have been refused before it was looked for.
  state.use_protector(kind);
  SR_TRY(state.lock_shared(state.ring.header().storage_id, kind));
  SR_TRY(state.protector->replace_lost(as_usual));
  state.refused_root = as_usual;
  if (kind.has_secrets()) SR_TRY(state.open_secrets_anew(kind));
  state.make_witnesses(state.ring.header().key_id);
  state.recovering = true;
  state.stage = State::Stage::kRootOpen;
  return {};
}

// Where the options, or else the key slot, place the SecretStore; it is made if it is not there.
Status Engine::State::open_secrets_anew(const ProtectorKind& kind) {
  if (!secrets) {
    if (!options.secret_store)
      return {Reason::kInvalidOption, "secretStore: needed, because persistence.bin names none"};
    secret_config = *options.secret_store;
  }
  SR_ASSIGN(secrets, open_secret_store(environment, secret_config, ring.header().instance,
                                       os::DirectoryMode::kCreate));
  return lock_shared(ring.header().storage_id, kind);
}

void Engine::State::make_witnesses(std::uint32_t key_id) {
  witnesses = std::make_unique<Witnesses>(
      Witnesses::Places{*directory, ring, secrets, protector, environment.clock, options.tamper_capacity},
      witness_keys(key_id));
  counter = witnesses->counter();
}

// What the witnesses remember goes along with the log.
log::ReadOptions Engine::State::watch_log(const ProgressHook& progress) {
  log::ReadOptions read;
  read.on_file = [this](const log::FileHeader& file) -> Status {
    SR_TRY(find_vault_key(file));
    for (const std::unique_ptr<Observation>& each : evidence.found) each->on_file(file.key_id);
    return {};
  };
  read.on_snapshot = [this](const log::SnapshotInfo& snapshot) {
    const log::Checkpoint& at = snapshot.checkpoint;
    AuditTail& audit = witnesses->audit();
    audit.begin({at.generation, at.head, snapshot.audit_chain});
    for (const std::unique_ptr<Observation>& each : evidence.found) each->on_snapshot(snapshot, audit);
  };
  read.on_commit = [this](const log::CommitInfo& commit) {
    AuditTail& audit = witnesses->audit();
    audit.note(commit, std::nullopt);
    vault.newest_wall_ms = commit.wall_ms;
    for (const std::unique_ptr<Observation>& each : evidence.found) each->on_commit(commit, audit);
  };
  read.on_progress = progress;
  return read;
}

Status Engine::State::load_log(const ProgressHook& progress) {
  vault.make_epoch_keys(ring);
  Result<std::unique_ptr<os::File>> opened = directory->open(
      ring.core().vault_file_name, options.read_only ? os::OpenMode::kRead : os::OpenMode::kReadWrite);
  if (opened.is(Reason::kNotFound)) {
    return {Reason::kPartialRestore, "the vault file '" + ring.core().vault_file_name + "' is missing"};
  }
  if (!opened.ok()) return opened.status();
  vault.file = *std::move(opened);

  const log::ReadOptions read = watch_log(progress);
  // Beside a live writer a frame may be read while it is being written, or the next one be there when the place of
  // this one was read empty. Damage is believed when a second look finds the same.
  std::optional<log::LoadedLog> before;
  constexpr int kLooksMax = 20;
  for (int look = 1;; ++look) {
    SR_ASSIGN(vault.loaded,
              log::read_log(*vault.file, ring.header().storage_id, *vault.epoch_keys, vault.index, read));
    const bool damaged = vault.loaded.end != log::LogEnd::kExact && vault.loaded.end != log::LogEnd::kPadded;
    if (!options.read_only || !damaged || (before && before->newest == vault.loaded.newest)) break;
    if (look == kLooksMax)
      return {Reason::kLocked, "another process writes to the vault faster than it can be read; try again"};
    before = vault.loaded;
    vault.index.clear();
    vault.make_epoch_keys(ring);
  }

  evidence.history.newest = vault.loaded.newest;
  evidence.history.tamper_synced = vault.loaded.tamper_synced;
  evidence.history.end = vault.loaded.end;
  const ReadHistory history{vault.loaded, vault.index,
                            [this](std::string_view key) { return vault.record(key); }};
  for (const std::unique_ptr<Observation>& each : evidence.found) SR_TRY(each->conclude(history));
  if (counter != nullptr) counter->adopt_anchor(*evidence.counter());
  verdict = judge(evidence);
  SR_ASSIGN(last_written_here, is_at_recorded_place());
  return {};
}

Status Engine::State::check_persistence_record() {
  SR_ASSIGN(const std::optional<Bytes> stored, vault.record(kPersistenceKey));
  const std::optional<PersistenceRecord> record = stored ? parse_persistence_record(*stored) : std::nullopt;
  if (!record) return {Reason::kVaultTampered, "the vault does not name its persistence.bin"};
  const bool newest = ring.hash() == record->new_hash;
  const bool permitted_old = record->intent && ring.hash() == record->old_hash;
  if (newest || permitted_old) return {};
  return {Reason::kPersistenceRolledBack, "persistence.bin is not the one that the vault names as newest"};
}

Status Engine::State::find_stamp() {
  SR_ASSIGN(const std::optional<Bytes> stored, vault.record(kTimeTamperKey));
  if (!stored) return {Reason::kTimeTamperInvalid, "TIME_TAMPER is absent"};
  SR_ASSIGN(const TimeStamp stamp, parse_time_stamp(*stored));
  time.begin(stamp);
  return evidence.stamp_damage();
}

// The first writing of every opening.
Status Engine::State::cut_tail() {
  SR_TRY(try_witnesses());
  SR_TRY(directory->remove(ring.core().vault_file_name + std::string(kNewSuffix)));
  if (vault.loaded.end != log::LogEnd::kExact) SR_TRY(vault.file->truncate(vault.loaded.end_offset));
  // A process that was killed may have left what was read here, frames and names, in the page cache alone. Nothing is
  // built on it before it is durable: a power cut must not take it and leave what follows. And the sync of the newest
  // frame may have failed; then the kernel counts it as written, and only writing it again brings it to the disk.
  const bool witnessed = evidence.witnessed() == vault.loaded.newest;
  if (!witnessed && vault.loaded.newest_offset != 0) {
    Bytes frame(static_cast<std::size_t>(vault.loaded.end_offset - vault.loaded.newest_offset));
    SR_ASSIGN(const std::size_t got, vault.file->read_at(vault.loaded.newest_offset, frame));
    if (got != frame.size())
      return {Reason::kIoError, "the vault file became shorter while it was being opened"};
    SR_TRY(vault.file->write_at(vault.loaded.newest_offset, frame));
  }
  SR_TRY(vault.file->sync());
  SR_TRY(directory->sync());
  tail_repaired = vault.loaded.end == log::LogEnd::kDamaged;
  return {};
}

void Engine::State::make_queue() {
  log::CommitQueue::Hooks hooks;
  hooks.gate = [this] { return mover.gate(); };
  hooks.wall_ms = [this] { return environment.clock.wall_ms(); };
  hooks.tamper_synced = [this] { return witnesses->tamper_synced(); };
  hooks.decorate = [this](std::vector<log::Change>& changes) { decorate(changes); };
  hooks.committed = [this](const log::CommitInfo& info) { on_committed(info); };
  hooks.completed = [this](std::vector<log::Completion> completions) {
    mover.completed(std::move(completions));
  };
  vault.make_queue(std::move(hooks), options.reserve_bytes);
}

Status Engine::State::begin_writing(log::CommitKind kind, SystemRecordChanges& changes,
                                    const TimeStamp& stamp_now) {
  if (startup == StartupState::kWarmstart) {
    witnesses->adopt(evidence, vault.loaded.witnessed);
    // A reanchor that was cut before VaultHash remembered it is remembered now.
    SR_ASSIGN(const std::optional<Bytes> reanchored, vault.record(kReanchorKey));
    const std::optional<ReanchorRecord> record =
        reanchored ? parse_reanchor_record(*reanchored) : std::nullopt;
    if (record) {
      for (const UsedCheckpoint& checkpoint : record->used_checkpoints) witnesses->burn(checkpoint);
    }
  }
  if (!last_written_here) {
    SR_ASSIGN(const Bytes here, place());
    changes.put(kPlaceKey, here);
  }
  make_queue();
  time.force(stamp_now);
  SR_TRY(vault.commit(kind, changes));
  last_written_here = true;
  return {};
}

Status Engine::State::repair_copies() {
  if (persistence_damaged) {
    const std::optional<Bytes> whole = mended(ring.file(), ring.hash());
    if (!whole) return {Reason::kInternal, "the undamaged copy of persistence.bin is not found again"};
    SR_TRY(os::replace_file(*directory, kPersistenceFileName, *whole));
  }
  return protector->repair();
}

Status Engine::State::finish_opening(Foreign foreign) {
  SR_TRY(repair_copies());
  if (counter != nullptr) {
    SR_TRY(TakeOver(*this).run());
    // After a COLDSTART too: the files of its provisioning are of no use from here on.
    const Status anchored = anchors.anchor(log::CommitKind::kAnchor, AnchorKeeper::Which::kAlways);
    if (anchored.is(Reason::kWitnessNotMoved))
      return {os::reason_of_errno(anchored.error().system_error), anchored.error().detail,
              anchored.error().system_error};
    SR_TRY(anchored);
  } else {
    SR_TRY(witnesses->try_move(Witnesses::Which::kAll, foreign));
  }
  mover.begin();
  stage = Stage::kOpen;
  start_threads();
  return {};
}

}  // namespace strongroom::store
