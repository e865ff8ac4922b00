#include "store/engine.h"

#include "store/engine_state.h"
#include "store/field_sealer.h"
#include "store/start/cold_start.h"
#include "store/token_keys.h"

namespace strongroom::store {
namespace {

// Where a store that is closed is one that is not open.
Status check_open_for_writing(const Engine::State& state) {
  if (!state.life.is_open()) return {Reason::kNotOpen, "the store is not open"};
  return state.life.accepts_writes();
}

}  // namespace

Engine::Engine(os::Environment environment, EngineOptions options, CompletedHook completed)
    : state_(std::make_unique<State>(environment, std::move(options), std::move(completed))) {}

Engine::~Engine() {
  if (state_->life.stage() != Stage::kClosed) {
    const MutexLock maintenance(state_->compactor.mutex());
    state_->stop_threads();
    ColdStart(*state_).take_back();
  }
  state_->vault.close();  // the queue before what its hooks refer to
}

Status Engine::close() {
  State& state = *state_;
  const MutexLock maintenance(state.compactor.mutex());
  if (state.life.stage() == Stage::kClosed) return {};
  const bool was_open = state.life.accepts_writes().ok();
  state.life.reached(Stage::kClosed);
  Status first;
  const auto keep = [&first](const Status& status) {
    if (first.ok() && !status.ok()) first = status;
  };
  state.stop_threads();
  if (was_open) {
    state.mover.settle_waiting();
    Status committed = state.vault.writer->poisoned();
    if (committed.ok()) {
      state.time.force(state.time.next());
      if (state.counter() != nullptr)
        keep(state.anchors.anchor(log::CommitKind::kClose, AnchorKeeper::Which::kAlways));
      // Without a TPM, or with one that does not answer.
      if (state.vault.newest_kind != log::CommitKind::kClose) {
        committed = state.vault.commit(log::CommitKind::kClose);
        if (committed.ok()) keep(state.witnesses->move(Witnesses::Which::kAll));
      }
    }
    keep(committed);
    if (state.vault.writer->poisoned().ok()) keep(state.vault.writer->finish());
    keep(state.protector->shut_down());
  }
  if (state.protector) state.protector->forget_secrets();
  state.vault.close();
  state.locks.release();
  state.ring.close();
  return first;
}

Status Engine::submit(log::QueuedOperation operation) {
  SR_TRY(state_->life.accepts_writes());
  return state_->vault.queue->submit(std::move(operation));
}

Status Engine::submit_all(std::vector<log::QueuedOperation>& operations) {
  SR_TRY(state_->life.accepts_writes());
  return state_->vault.queue->submit_all(operations);
}

log::Completion Engine::commit_now(log::QueuedOperation operation) {
  State& state = *state_;
  log::Completion completion;
  completion.ticket = operation.ticket;
  completion.status = state.life.accepts_writes();
  if (!completion.status.ok()) return completion;
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

bool Engine::alarmed() const { return state_->life.is_open() && state_->mover.alarmed(); }

Status Engine::validate_before_write() {
  State& state = *state_;
  SR_TRY(state.life.accepts_writes());
  if (state.vault.writer->is_poisoned()) return {Reason::kPoisoned, "a write or sync of the vault failed"};
  SR_TRY(state.mover.gate());
  return state.time.check(state.ring.core().clock_tolerance_ms);
}

Status Engine::anchor() {
  State& state = *state_;
  SR_TRY(check_open_for_writing(state));
  if (state.options.threads) state.vault.queue->drain();
  Status moved = state.mover.move(Witnesses::Which::kAll);
  if (!moved.ok() && state.mover.alarmed()) SR_TRY(state.mover.alarm());
  return moved;
}

Status Engine::compact() {
  State& state = *state_;
  const MutexLock maintenance(state.compactor.mutex());
  SR_TRY(check_open_for_writing(state));
  return state.compactor.compact();
}

Status Engine::refresh_time_tamper() {
  State& state = *state_;
  SR_TRY(check_open_for_writing(state));
  state.time.refresh();
  return state.vault.commit(log::CommitKind::kTime);
}

Status Engine::set_system_record(std::string_view name, ByteView value) {
  State& state = *state_;
  SR_TRY(check_open_for_writing(state));
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

Result<std::unique_ptr<FieldSealer>> Engine::field_sealer() {
  State& state = *state_;
  SR_TRY(state.life.accepts_reads());
  const MutexLock lock(state.ring.mutex());
  auto sealer = std::make_unique<FieldSealer>(
      state.ring.header().key_id, field_key(state.ring.dek().view(), state.ring.header().storage_id));
  for (const IdentifiedKey& key : state.ring.core().former_field_keys)
    sealer->add_former_key(key.key_id, key.key.clone());
  return sealer;
}

std::shared_ptr<TokenKeys> Engine::token_keys() const {
  TokenKek* const kek = state_->protector ? state_->protector->token_kek() : nullptr;
  return kek != nullptr && kek->token() ? std::make_shared<KeysInToken>(kek->token()) : nullptr;
}

}  // namespace strongroom::store
