// The status of a store, at each stage of its life.
#include <algorithm>

#include "store/engine_state.h"
#include "store/operations/restoration.h"
#include "store/start/validation.h"

namespace strongroom::store {
namespace {

void describe_start(const Engine::State& state, EngineStatus& out) {
  const StartFindings& findings = state.life.findings();
  out.startup = findings.startup;
  out.file_system = findings.file_system;
  out.last_written_here = findings.last_written_here;
  out.age_excused = findings.age_excused;
  out.tail_repaired = findings.tail_repaired;
  out.tamper_file_anew = findings.tamper_file_anew;
  out.persistence_repaired = findings.persistence_damaged;
}

// With the ring's lock held.
void describe_header(const KeyRing& ring, EngineStatus& out) {
  const PersistenceHeader& header = ring.header();
  const CoreData& core = ring.core();
  out.provision = header.state;
  out.instance = header.instance;
  out.storage_id = header.storage_id;
  out.clock_tolerance_ms = core.clock_tolerance_ms;
  out.age_ms_max = core.age_ms_max;
  out.window_ms_max = core.window_ms_max;
  out.rewindable_by_vendor = core.authority.vendor_public_key.has_value();
  out.key_slots = key_slot_status(header);
  out.key_id = header.key_id;
  out.rotation_pending = core.previous.has_value();
  out.former_field_keys = static_cast<std::uint32_t>(core.former_field_keys.size());
}

void describe_time(const Engine::State& state, EngineStatus& out) {
  out.clock_corrected = state.life.findings().clock_corrected;
  out.clock_unsynchronised = state.life.findings().clock_unsynchronised;
  std::optional<TimeStamp> stamp = state.time.newest();
  // A start that was refused before TIME_TAMPER: what a witness remembers may be newer than the vault.
  const Opening* const opening = state.life.opening_if_any();
  if (!stamp && opening != nullptr) stamp = opening->evidence.stamp();
  if (!stamp) return;
  out.time_tamper = *stamp;
  out.age_ms = age_ms(*stamp, read_clock(state.environment.clock));
}

// What was found, where nothing was moved.
std::optional<log::Checkpoint> found_checkpoint(const Engine::State& state, const WitnessKind& kind) {
  const Opening* const opening = state.life.opening_if_any();
  if (opening == nullptr || (state.vault.writer && !state.options.read_only)) return std::nullopt;
  const Observation* const found = opening->evidence.of(kind);
  return found != nullptr ? found->checkpoint() : std::nullopt;
}

void describe_witnesses(const Engine::State& state, EngineStatus& out) {
  for (const std::unique_ptr<Witness>& each : state.witnesses->each()) {
    if (!each->is_connected()) continue;
    const WitnessPosition position = each->position();
    WitnessStatus& witness = out.witnesses.emplace_back();
    witness.name = each->kind().name;
    witness.checkpoint = found_checkpoint(state, each->kind()).value_or(position.checkpoint);
    witness.lag_generations =
        out.newest.generation - std::min(out.newest.generation, witness.checkpoint.generation);
    witness.moved_wall_ms = position.moved_wall_ms;
    witness.failing = position.failing;
  }
}

void describe_counter(Engine::State& state, EngineStatus& out) {
  const CounterWitness* const counter = state.counter();
  out.permit_checkpoint = out.newest;
  if (state.life.opening_if_any() != nullptr)
    out.permit_checkpoint = Validation(state).authority_checkpoint(out.newest);
  if (counter == nullptr) return;
  const AnchorRecord anchor = counter->newest();
  if (out.tpm) {
    out.tpm->counter = anchor.number;
    out.tpm->increments = anchor.increments;
    out.tpm->first_wall_ms = anchor.first_wall_ms;
    out.tpm->first_number = anchor.first_number;
  }
  if (state.life.opening_if_any() == nullptr) out.permit_checkpoint = with_counter(out.newest, anchor.number);
}

void describe_vault(Engine::State& state, EngineStatus& out) {
  Vault& vault = state.vault;
  const Stage stage = state.life.stage();
  const bool was_read =
      out.startup == StartupState::kWarmstart && stage > Stage::kRootOpen && stage != Stage::kClosed;
  if (out.open || was_read) {
    out.restore = restore_record(vault);
    const Result<std::optional<Bytes>> verified = vault.record(kPasswordVerifiedKey);
    if (verified.ok() && *verified && (*verified)->size() == sizeof(std::int64_t))
      out.password_verified_ms = static_cast<std::int64_t>(load_le<std::uint64_t>((*verified)->data()));
  }
  if (!vault.queue) return;
  out.records = vault.queue->size();
  out.live_bytes = vault.queue->live_bytes();
  out.log_bytes = vault.log_bytes != 0 ? vault.log_bytes.load() : vault.loaded.end_offset;
  out.poisoned = vault.writer->is_poisoned();
  const Result<std::optional<Bytes>> continuity = vault.record(kContinuityKey);
  out.continuity_unproven = continuity.ok() && continuity->has_value();
}

}  // namespace

EngineStatus Engine::status() {
  State& state = *state_;
  EngineStatus out;
  const MutexLock header_lock(state.ring.mutex());
  if (state.protector) out.protector = state.protector->kind().type;
  out.open = state.life.is_open();
  out.secret_store = state.secrets.config;
  describe_start(state, out);
  describe_header(state.ring, out);
  if (!state.witnesses) return out;
  state.protector->describe(out);
  out.secret_repaired = out.root_repaired || state.life.has_damaged_secret();
  const AuditCheckpoint newest = state.witnesses->audit().newest();
  out.newest = {newest.generation, newest.head};
  out.newest_wall_ms = state.vault.newest_wall_ms;
  describe_time(state, out);
  out.waiting_ms = state.mover.waiting_ms();
  describe_witnesses(state, out);
  describe_counter(state, out);
  describe_vault(state, out);
  return out;
}

}  // namespace strongroom::store
