// An open store: commit hooks, the witness thread, and what may be asked of it.
#include <algorithm>

#include "store/engine_state.h"
#include "store/operations/restoration.h"

namespace strongroom::store {

void Engine::State::decorate(std::vector<log::Change>& changes) {
  if (const std::optional<ByteView> stamp = time.due())
    changes.push_back(log::Change{log::Operation::kPut, as_bytes(kTimeTamperKey), *stamp});
}

void Engine::State::on_committed(const log::CommitInfo& info) {
  witnesses->audit().note(info, time.committed());
  vault.committed(info);
  mover.committed(info);
}

void Engine::State::start_threads() {
  vault.log_bytes = vault.writer->offset();
  if (!options.threads) return;
  mover.start();
  vault.queue->start();
}

void Engine::State::stop_threads() {
  if (vault.queue) vault.queue->stop();
  mover.stop();
  compactor.join();
}

Status Engine::State::accepts_writes() const {
  if (stage == Stage::kClosed) return {Reason::kClosed, "the store was closed"};
  if (stage != Stage::kOpen) return {Reason::kNotOpen, "the store is not open"};
  if (options.read_only) return {Reason::kReadOnly, "the store was opened for reading only"};
  return {};
}

Status Engine::submit(log::QueuedOperation operation) {
  SR_TRY(state_->accepts_writes());
  return state_->vault.queue->submit(std::move(operation));
}

Status Engine::submit_all(std::vector<log::QueuedOperation>& operations) {
  SR_TRY(state_->accepts_writes());
  return state_->vault.queue->submit_all(operations);
}

log::Completion Engine::commit_now(log::QueuedOperation operation) {
  State& state = *state_;
  log::Completion completion;
  completion.ticket = operation.ticket;
  if (state.stage != State::Stage::kOpen) {
    completion.status = state.stage == State::Stage::kClosed
                            ? Status(Reason::kClosed, "the store was closed")
                            : Status(Reason::kNotOpen, "the store is not open");
    return completion;
  }
  if (state.options.read_only) {
    completion.status = Status(Reason::kReadOnly, "the store was opened for reading only");
    return completion;
  }
  completion = state.vault.queue->commit_now(std::move(operation));
  state.mover.settle_waiting();
  if (completion.durability == log::Durability::kWitnessed && completion.status.ok() &&
      completion.generation != 0) {
    if (const Status moved = state.mover.move(Witnesses::Which::kAll); !moved.ok()) {
      completion.status = Status(state.mover.error_of_move(moved));
    }
  }
  return completion;
}

log::CommitQueue& Engine::queue() { return *state_->vault.queue; }

const log::EpochKeys& Engine::epoch_keys() const { return *state_->vault.epoch_keys; }

bool Engine::alarmed() const { return state_->stage == State::Stage::kOpen && state_->mover.alarmed(); }

Status Engine::validate_before_write() {
  State& state = *state_;
  if (state.stage == State::Stage::kClosed) return {Reason::kClosed, "the store was closed"};
  if (state.stage != State::Stage::kOpen) return {Reason::kNotOpen, "the store is not open"};
  if (state.options.read_only) return {Reason::kReadOnly, "the store was opened for reading only"};
  if (state.vault.writer->is_poisoned()) return {Reason::kPoisoned, "a write or sync of the vault failed"};
  SR_TRY(state.mover.gate());
  return state.time.check(state.ring.core().clock_tolerance_ms);
}

Status Engine::anchor() {
  State& state = *state_;
  if (state.stage != State::Stage::kOpen) return {Reason::kNotOpen, "the store is not open"};
  if (state.options.read_only) return {Reason::kReadOnly, "the store was opened for reading only"};
  if (state.options.threads) state.vault.queue->drain();
  Status moved = state.mover.move(Witnesses::Which::kAll);
  if (!moved.ok() && state.mover.alarmed()) SR_TRY(state.mover.alarm());
  return moved;
}

Status Engine::compact() {
  State& state = *state_;
  const MutexLock maintenance(state.compactor.mutex());
  if (state.stage != State::Stage::kOpen) return {Reason::kNotOpen, "the store is not open"};
  if (state.options.read_only) return {Reason::kReadOnly, "the store was opened for reading only"};
  return state.compactor.compact();
}

Status Engine::refresh_time_tamper() {
  State& state = *state_;
  if (state.stage != State::Stage::kOpen) return {Reason::kNotOpen, "the store is not open"};
  if (state.options.read_only) return {Reason::kReadOnly, "the store was opened for reading only"};
  state.time.refresh();
  return state.vault.commit(log::CommitKind::kTime);
}

Status Engine::set_system_record(std::string_view name, ByteView value) {
  State& state = *state_;
  if (state.stage != State::Stage::kOpen) return {Reason::kNotOpen, "the store is not open"};
  if (state.options.read_only) return {Reason::kReadOnly, "the store was opened for reading only"};
  SystemRecordChanges changes;
  const std::string key = std::string(kSystemPrefix) + std::string(name);
  changes.put(key, value);
  return state.vault.commit(log::CommitKind::kData, changes);
}

Result<std::optional<Bytes>> Engine::get_system_record(std::string_view name) {
  State& state = *state_;
  if (!state.vault.epoch_keys) return Status(Reason::kNotOpen, "the store is not open");
  return state.vault.record(std::string(kSystemPrefix) + std::string(name));
}

void Engine::State::describe_time(EngineStatus& out) {
  out.clock_corrected = clock_corrected;
  out.clock_unsynchronised = clock_unsynchronised;
  if (const std::optional<TimeStamp> stamp = time.newest()) {
    out.time_tamper = *stamp;
    const Now now = read_clock(environment.clock);
    out.age_ms = age_ms(*stamp, now);
  } else if (const std::optional<TimeStamp> found = evidence.stamp()) {
    // A start that was refused before TIME_TAMPER: what a witness remembers may be newer than the vault.
    out.time_tamper = *found;
    out.age_ms = age_ms(*found, read_clock(environment.clock));
  }
}

void Engine::State::describe_witnesses(const AuditCheckpoint& newest, EngineStatus& out) {
  for (const std::unique_ptr<Witness>& each : witnesses->each()) {
    if (!each->is_connected()) continue;
    const WitnessPosition position = each->position();
    WitnessStatus& witness = out.witnesses.emplace_back();
    witness.name = each->kind().name;
    witness.checkpoint = position.checkpoint;
    if (!vault.writer || options.read_only) {  // what was found, not what was moved
      const Observation* const found = evidence.of(each->kind());
      const std::optional<log::Checkpoint> remembered = found != nullptr ? found->checkpoint() : std::nullopt;
      if (remembered) witness.checkpoint = *remembered;
    }
    witness.lag_generations = newest.generation - std::min(newest.generation, witness.checkpoint.generation);
    witness.moved_wall_ms = position.moved_wall_ms;
    witness.failing = position.failing;
  }
  if (counter == nullptr) return;
  const AnchorRecord anchor = counter->newest();
  if (out.tpm) {
    out.tpm->counter = anchor.number;
    out.tpm->increments = anchor.increments;
    out.tpm->first_wall_ms = anchor.first_wall_ms;
    out.tpm->first_number = anchor.first_number;
  }
  if (stage == Stage::kOpen && !options.read_only)
    out.permit_checkpoint = authority_checkpoint(out.newest, anchor.number);
}

EngineStatus Engine::status() {
  State& state = *state_;
  EngineStatus out;
  const MutexLock header_lock(state.ring.mutex());
  if (state.protector) out.protector = state.protector->kind().type;
  out.age_excused = state.age_excused;
  out.file_system = state.file_system;
  out.last_written_here = state.last_written_here;
  out.provision = state.ring.header().state;
  out.startup = state.startup;
  out.open = state.stage == State::Stage::kOpen;
  out.instance = state.ring.header().instance;
  out.storage_id = state.ring.header().storage_id;
  out.clock_tolerance_ms = state.ring.core().clock_tolerance_ms;
  out.age_ms_max = state.ring.core().age_ms_max;
  out.window_ms_max = state.ring.core().window_ms_max;
  out.rewindable_by_vendor = state.ring.core().authority.vendor_public_key.has_value();
  out.key_slots = key_slot_status(state.ring.header());
  out.tail_repaired = state.tail_repaired;
  out.tamper_file_anew = state.tamper_file_anew;
  out.persistence_repaired = state.persistence_damaged;
  out.secret_store = state.secret_config;
  out.key_id = state.ring.header().key_id;
  out.rotation_pending = state.ring.core().previous.has_value();
  out.former_field_keys = static_cast<std::uint32_t>(state.ring.core().former_field_keys.size());
  if (!state.witnesses) return out;
  state.protector->describe(out);
  out.secret_repaired = out.root_repaired || state.evidence.has_damaged_copy();
  const AuditCheckpoint newest = state.witnesses->audit().newest();
  out.newest = {newest.generation, newest.head};
  out.permit_checkpoint = state.authority_checkpoint(out.newest);
  out.newest_wall_ms = state.vault.newest_wall_ms;
  state.describe_time(out);
  out.waiting_ms = state.mover.waiting_ms();
  state.describe_witnesses(newest, out);
  if (state.stage == State::Stage::kOpen ||
      (state.startup == StartupState::kWarmstart && state.stage > State::Stage::kRootOpen &&
       state.stage != State::Stage::kClosed)) {
    out.restore = restore_record(state.vault);
    const Result<std::optional<Bytes>> verified = state.vault.record(kPasswordVerifiedKey);
    if (verified.ok() && *verified && (*verified)->size() == sizeof(std::int64_t))
      out.password_verified_ms = static_cast<std::int64_t>(load_le<std::uint64_t>((*verified)->data()));
  }
  if (state.vault.queue) {
    out.records = state.vault.queue->size();
    out.live_bytes = state.vault.queue->live_bytes();
    out.log_bytes = state.vault.log_bytes != 0 ? state.vault.log_bytes.load() : state.vault.loaded.end_offset;
    out.poisoned = state.vault.writer->is_poisoned();
    const Result<std::optional<Bytes>> continuity = state.vault.record(kContinuityKey);
    out.continuity_unproven = continuity.ok() && continuity->has_value();
  }
  return out;
}

}  // namespace strongroom::store
