// An open store: commit hooks, the witness thread, and what may be asked of it.
#include <algorithm>

#include "base/duration.h"
#include "store/engine_state.h"

namespace strongroom::store {
namespace {

// How often the TPM is asked, while there are commits, whether another copy has moved it.
constexpr std::uint64_t kCounterCheckMs = 10'000;

}  // namespace

Status Engine::State::alarm() const {
  SR_TRY(witnesses->alarm());
  return counter ? counter->alarm() : Status();
}

Status Engine::State::gate() {
  if (alarmed()) SR_TRY(alarm());
  const std::uint64_t now_ms = environment.clock.boot_ms();
  const auto ran_ms = static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                                     std::chrono::steady_clock::now().time_since_epoch())
                                                     .count());
  for (Window* window : {&fast_window, &slow_window}) {
    if (!window->exceeded(now_ms, ran_ms, ring.core().window_ms_max)) continue;
    const char* const what = window == &fast_window ? (has_secret_store() ? "SecretStore" : "tamper file")
                             : has_counter()        ? "TPM"
                                                    : "token";
    return {Reason::kWitnessUnavailable, std::string("the ") + what + " could not be moved for " +
                                             duration_text(now_ms - window->waiting_since_ms()) +
                                             "; the limit is " + duration_text(ring.core().window_ms_max) +
                                             " (windowMaxMs)"};
  }
  return {};
}

void Engine::State::decorate(std::vector<log::Change>& changes) {
  if (const std::optional<ByteView> stamp = time.due())
    changes.push_back(log::Change{log::Operation::kPut, as_bytes(kTimeTamperKey), *stamp});
}

void Engine::State::on_committed(const log::CommitInfo& info) {
  witnesses->audit().note(info, time.committed());
  log_bytes = writer->offset();
  newest_wall_ms = info.wall_ms;
  newest_kind = info.kind;
  const bool slow_witness = counter || token_store() != nullptr;
  if (info.kind == log::CommitKind::kData) {
    const std::uint64_t now_ms = environment.clock.boot_ms();
    fast_window.committed(info.checkpoint.generation, now_ms);
    if (slow_witness) slow_window.committed(info.checkpoint.generation, now_ms);
  }
  if (slow_witness && info.kind != log::CommitKind::kAnchor && info.kind != log::CommitKind::kTime)
    anchor_wanted = info.checkpoint.generation;
  if (!witness_thread.joinable()) return;
  const std::lock_guard lock(witness_mutex);
  if (witness_dirty) return;
  witness_dirty = true;
  witness_due = std::chrono::steady_clock::now() + std::chrono::milliseconds(options.witness_interval_ms);
  witness_wake.notify_one();
}

void Engine::State::on_completed(std::vector<log::Completion> completions) {
  if (std::none_of(completions.begin(), completions.end(), [](const log::Completion& completion) {
        return completion.durability == log::Durability::kWitnessed;
      })) {
    completed(std::move(completions));
    return;
  }
  std::vector<log::Completion> journal;
  std::vector<log::Completion> witnessed;
  for (log::Completion& completion : completions) {
    (completion.durability == log::Durability::kWitnessed ? witnessed : journal)
        .push_back(std::move(completion));
  }
  if (!journal.empty()) completed(std::move(journal));
  if (witnessed.empty()) return;
  const bool alone = !witness_thread.joinable();
  if (alone && !counter) {
    const Status moved = move_witnesses(Which::kAll);
    deliver_witnessed(std::move(witnessed), moved);
    return;
  }
  const std::lock_guard lock(witness_mutex);
  witnessed_waiting.insert(witnessed_waiting.end(), std::make_move_iterator(witnessed.begin()),
                           std::make_move_iterator(witnessed.end()));
  // An anchor is a commit, and the commit lock is held here: settle_waiting() comes after.
  if (alone) return;
  witness_dirty = witness_urgent = true;
  witness_wake.notify_one();
}

// With an alarm another copy of the store goes on, and whether the commits of this one count is for authority to say.
Error Engine::State::error_of_move(const Status& moved) const {
  const Status raised = alarmed() ? alarm() : Status();
  Error error = raised.ok() ? moved.error() : raised.error();
  error.committed = raised.ok();
  error.outcome_unknown = !raised.ok();
  return error;
}

void Engine::State::deliver_witnessed(std::vector<log::Completion> waiting, const Status& status) {
  if (!status.ok()) {
    const Error error = error_of_move(status);
    for (log::Completion& completion : waiting) {
      if (completion.status.ok() && completion.generation != 0) completion.status = Status(error);
    }
  }
  completed(std::move(waiting));
}

Status Engine::State::move_unanchored(Which which) {
  const std::uint64_t now_ms = environment.clock.boot_ms();
  fast_window.began(now_ms);
  if (which == Which::kAll) slow_window.began(now_ms);
  Status moved = witnesses->move(which);
  const std::uint64_t generation = witnesses->tamper_position().checkpoint.generation;
  for (Window* window : {&fast_window, &slow_window}) {
    if (window == &slow_window && which == Which::kFast) continue;
    if (moved.ok()) {
      window->moved(generation);
    } else {
      window->failed();
    }
  }
  return moved;
}

void Engine::State::check_counter() {
  const std::uint64_t now_ms = environment.clock.boot_ms();
  const bool recent = now_ms - std::min(now_ms, counter_checked_boot_ms) < kCounterCheckMs;
  if (!counter || (recent && !counter->alarmed())) return;
  // An anchor that is under way reads the TPM itself.
  const std::unique_lock lock(persistence_mutex, std::try_to_lock);
  if (!lock.owns_lock()) return;
  counter_checked_boot_ms = now_ms;
  counter->check().ignore("an alarm remains with the witness, and an outage says nothing");
}

Status Engine::State::move_witnesses(Which which) {
  if (token_store() != nullptr && which == Which::kAll) {
    anchor_newest_boot_ms = environment.clock.boot_ms();
    Status moved = move_unanchored(Which::kAll);
    anchor_owed = !moved.ok();
    // Each try may leave something behind in a token without room, such as an empty file of SoftHSM2.
    const auto longest_ms = std::max<std::uint64_t>(kTokenRetryMsMax, options.witness_interval_ms);
    token_retry_ms =
        moved.ok() ? 0
                   : std::clamp<std::uint64_t>(2 * token_retry_ms, options.witness_interval_ms, longest_ms);
    return moved;
  }
  if (!counter || which == Which::kFast) {
    Status moved = move_unanchored();
    check_counter();
    return moved;
  }
  slow_window.began(environment.clock.boot_ms());
  Status anchored = anchor_counter(log::CommitKind::kAnchor, Anchor::kUnlessConfirmed);
  anchor_owed = !anchored.ok();
  if (anchored.ok()) {
    fast_window.moved(witnesses->tamper_position().checkpoint.generation);
    slow_window.moved(counter->position().checkpoint.generation);
    return anchored;
  }
  slow_window.failed();
  // The operations that wait are durable. What is not known concerns the anchor alone.
  if (anchored.is(Reason::kPoisoned)) return writer->poisoned();
  counter->failed();
  move_unanchored().ignore(
      "the tamper file need not wait for the TPM; the anchor's error is the one to report");
  return {Reason::kWitnessNotMoved, anchored.error().detail, anchored.error().system_error};
}

void Engine::State::settle_waiting() {
  if (witness_thread.joinable() || witnessed_waiting.empty()) return;
  std::vector<log::Completion> waiting = std::move(witnessed_waiting);
  witnessed_waiting.clear();
  const Status moved = move_witnesses(Which::kAll);
  deliver_witnessed(std::move(waiting), moved);
}

void Engine::State::run_witness_thread() {
  std::unique_lock lock(witness_mutex);
  for (;;) {
    if (!witness_dirty) {
      const auto roused = [this] { return witness_dirty || witness_stop; };
      if (const auto remaining = until_anchor()) {
        witness_wake.wait_for(lock, *remaining, roused);
      } else {
        witness_wake.wait(lock, roused);
      }
    }
    if (witness_dirty && !witness_urgent && !witness_stop) {
      witness_wake.wait_until(lock, witness_due, [this] { return witness_urgent || witness_stop; });
    }
    if (witness_stop && witnessed_waiting.empty()) return;
    const Which which = witness_urgent || anchor_due() ? Which::kAll : Which::kFast;
    witness_dirty = witness_urgent = false;
    std::vector<log::Completion> waiting = std::move(witnessed_waiting);
    witnessed_waiting.clear();
    lock.unlock();
    // Whoever waits was committed before it was queued here, so this move covers it.
    const Status moved = move_witnesses(which);
    if (!waiting.empty()) deliver_witnessed(std::move(waiting), moved);
    const bool settled = moved.ok() && !alarmed();
    if (settled) compact_if_worthwhile();
    lock.lock();
    if (!settled && !witness_dirty) {  // try again, in the same measured way
      witness_dirty = true;
      witness_due = std::chrono::steady_clock::now() + std::chrono::milliseconds(options.witness_interval_ms);
    }
  }
}

void Engine::State::start_threads() {
  log_bytes = writer->offset();
  if (!options.threads) return;
  witness_stop = false;
  witness_thread = std::thread([this] { run_witness_thread(); });
  queue->start();
}

void Engine::State::stop_threads() {
  if (queue) queue->stop();
  if (witness_thread.joinable()) {
    {
      const std::lock_guard lock(witness_mutex);
      witness_stop = true;
    }
    witness_wake.notify_one();
    witness_thread.join();
  }
  if (compaction_thread.joinable()) compaction_thread.join();
}

Status Engine::State::accepts_writes() const {
  if (stage == Stage::kClosed) return {Reason::kClosed, "the store was closed"};
  if (stage != Stage::kOpen) return {Reason::kNotOpen, "the store is not open"};
  if (options.read_only) return {Reason::kReadOnly, "the store was opened for reading only"};
  return {};
}

Status Engine::submit(log::QueuedOperation operation) {
  SR_TRY(state_->accepts_writes());
  return state_->queue->submit(std::move(operation));
}

Status Engine::submit_all(std::vector<log::QueuedOperation>& operations) {
  SR_TRY(state_->accepts_writes());
  return state_->queue->submit_all(operations);
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
  completion = state.queue->commit_now(std::move(operation));
  state.settle_waiting();
  if (completion.durability == log::Durability::kWitnessed && completion.status.ok() &&
      completion.generation != 0) {
    if (const Status moved = state.move_witnesses(State::Which::kAll); !moved.ok()) {
      completion.status = Status(state.error_of_move(moved));
    }
  }
  return completion;
}

log::CommitQueue& Engine::queue() { return *state_->queue; }

const log::EpochKeys& Engine::epoch_keys() const { return *state_->epoch_keys; }

bool Engine::alarmed() const { return state_->stage == State::Stage::kOpen && state_->alarmed(); }

Status Engine::validate_before_write() {
  State& state = *state_;
  if (state.stage == State::Stage::kClosed) return {Reason::kClosed, "the store was closed"};
  if (state.stage != State::Stage::kOpen) return {Reason::kNotOpen, "the store is not open"};
  if (state.options.read_only) return {Reason::kReadOnly, "the store was opened for reading only"};
  if (state.writer->is_poisoned()) return {Reason::kPoisoned, "a write or sync of the vault failed"};
  SR_TRY(state.gate());
  return state.time.check(state.ring.core().clock_tolerance_ms);
}

Status Engine::anchor() {
  State& state = *state_;
  if (state.stage != State::Stage::kOpen) return {Reason::kNotOpen, "the store is not open"};
  if (state.options.read_only) return {Reason::kReadOnly, "the store was opened for reading only"};
  if (state.options.threads) state.queue->drain();
  Status moved = state.move_witnesses(State::Which::kAll);
  if (!moved.ok() && state.alarmed()) SR_TRY(state.alarm());
  return moved;
}

Status Engine::refresh_time_tamper() {
  State& state = *state_;
  if (state.stage != State::Stage::kOpen) return {Reason::kNotOpen, "the store is not open"};
  if (state.options.read_only) return {Reason::kReadOnly, "the store was opened for reading only"};
  state.time.refresh();
  return state.queue->commit_system(log::CommitKind::kTime, {}).status();
}

Status Engine::set_system_record(std::string_view name, ByteView value) {
  State& state = *state_;
  if (state.stage != State::Stage::kOpen) return {Reason::kNotOpen, "the store is not open"};
  if (state.options.read_only) return {Reason::kReadOnly, "the store was opened for reading only"};
  SystemRecordChanges changes;
  const std::string key = std::string(kSystemPrefix) + std::string(name);
  changes.put(key, value);
  return state.queue->commit_system(log::CommitKind::kData, changes.list()).status();
}

Result<std::optional<Bytes>> Engine::get_system_record(std::string_view name) {
  State& state = *state_;
  if (!state.epoch_keys) return Status(Reason::kNotOpen, "the store is not open");
  return state.system_record(std::string(kSystemPrefix) + std::string(name));
}

void Engine::State::describe_time(EngineStatus& out) {
  out.clock_corrected = clock_corrected;
  out.clock_unsynchronised = clock_unsynchronised;
  if (const std::optional<TimeStamp> stamp = time.newest()) {
    out.time_tamper = *stamp;
    const Now now = read_clock(environment.clock);
    out.age_ms = age_ms(*stamp, now);
  } else if (secret_stamp) {
    // A start that was refused before TIME_TAMPER: what the SecretStore remembers may be newer than the vault.
    out.time_tamper = *secret_stamp;
    out.age_ms = age_ms(*secret_stamp, read_clock(environment.clock));
  }
}

void Engine::State::describe_witnesses(const AuditCheckpoint& newest, EngineStatus& out) {
  const auto add = [&](const char* name, const WitnessPosition& position) {
    WitnessStatus witness;
    witness.name = name;
    witness.checkpoint = position.checkpoint;
    witness.lag_generations = newest.generation - std::min(newest.generation, position.checkpoint.generation);
    witness.moved_wall_ms = position.moved_wall_ms;
    witness.failing = position.failing;
    out.witnesses.push_back(std::move(witness));
  };
  WitnessPosition tamper = witnesses->tamper_position();
  WitnessPosition secret;
  if (has_secret_store()) secret = witnesses->secret_position();
  if (!writer || options.read_only) {  // what was found, not what was moved
    if (evidence.tamper.content) {
      tamper.checkpoint = {evidence.tamper.content->newest.generation, evidence.tamper.content->newest.head};
    }
    if (evidence.secret.value) secret.checkpoint = evidence.secret.value->checkpoint;
  }
  add("tamper-file", tamper);
  if (has_secret_store()) add("secret-store", secret);
  if (token_store() != nullptr) {
    WitnessPosition token = witnesses->token_position();
    if ((!writer || options.read_only) && evidence.token.value)
      token.checkpoint = evidence.token.value->checkpoint;
    add("token", token);
  }
  if (counter) {
    const CounterWitness::Position position = counter->position();
    add("tpm-counter", {position.checkpoint, position.moved_wall_ms, position.failing});
    if (out.tpm) {
      out.tpm->counter = position.newest.number;
      out.tpm->increments = position.newest.increments;
      out.tpm->first_wall_ms = position.newest.first_wall_ms;
      out.tpm->first_number = position.newest.first_number;
    }
    if (stage == Stage::kOpen && !options.read_only)
      out.permit_checkpoint = authority_checkpoint(out.newest, position.newest.number);
  }
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
  out.secret_repaired = out.root_repaired || state.secrets_damaged;
  const AuditCheckpoint newest = state.witnesses->audit().newest();
  out.newest = {newest.generation, newest.head};
  out.permit_checkpoint = state.authority_checkpoint(out.newest);
  out.newest_wall_ms = state.newest_wall_ms;
  state.describe_time(out);
  const std::uint64_t boot_ms = state.environment.clock.boot_ms();
  for (const Window* window : {&state.fast_window, &state.slow_window}) {
    const std::uint64_t since_ms = window->waiting_since_ms();
    if (since_ms != 0) out.waiting_ms = std::max(out.waiting_ms, boot_ms - std::min(boot_ms, since_ms));
  }
  state.describe_witnesses(newest, out);
  if (state.stage == State::Stage::kOpen ||
      (state.startup == StartupState::kWarmstart && state.stage > State::Stage::kRootOpen &&
       state.stage != State::Stage::kClosed)) {
    out.restore = state.restore_record();
    const Result<std::optional<Bytes>> verified = state.system_record(kPasswordVerifiedKey);
    if (verified.ok() && *verified && (*verified)->size() == sizeof(std::int64_t))
      out.password_verified_ms = static_cast<std::int64_t>(load_le<std::uint64_t>((*verified)->data()));
  }
  if (state.queue) {
    out.records = state.queue->size();
    out.live_bytes = state.queue->live_bytes();
    out.log_bytes = state.log_bytes != 0 ? state.log_bytes.load() : state.loaded.end_offset;
    out.poisoned = state.writer->is_poisoned();
    const Result<std::optional<Bytes>> continuity = state.system_record(kContinuityKey);
    out.continuity_unproven = continuity.ok() && continuity->has_value();
  }
  return out;
}

}  // namespace strongroom::store
