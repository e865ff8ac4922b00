#include "store/start/validation.h"

#include <algorithm>

#include "base/duration.h"
#include "store/engine_state.h"

namespace strongroom::store {

Status Validation::persistence_record() const {
  const KeyRing& ring = store_.ring;
  SR_ASSIGN(const std::optional<Bytes> stored, store_.vault.record(kPersistenceKey));
  const std::optional<PersistenceRecord> record = stored ? parse_persistence_record(*stored) : std::nullopt;
  if (!record) return {Reason::kVaultTampered, "the vault does not name its persistence.bin"};
  const bool newest = ring.hash() == record->new_hash;
  const bool permitted_old = record->intent && ring.hash() == record->old_hash;
  if (newest || permitted_old) return {};
  return {Reason::kPersistenceRolledBack, "persistence.bin is not the one that the vault names as newest"};
}

Status Validation::stamp() const {
  SR_ASSIGN(const std::optional<Bytes> stored, store_.vault.record(kTimeTamperKey));
  if (!stored) return {Reason::kTimeTamperInvalid, "TIME_TAMPER is absent"};
  SR_ASSIGN(const TimeStamp stamp, parse_time_stamp(*stored));
  store_.time.begin(stamp);
  return store_.life.opening().evidence.stamp_damage();
}

Status Validation::clock(const Now& now) const {
  const std::uint64_t tolerance_ms = store_.ring.core().clock_tolerance_ms;
  SR_TRY(check_clock(*store_.time.newest(), now, tolerance_ms));
  for (const std::unique_ptr<Witness>& witness : store_.witnesses->each()) {
    const Observation* const found = store_.life.opening().evidence.of(witness->kind());
    if (found != nullptr) SR_TRY(witness->check_time(*found, now, tolerance_ms));
  }
  return {};
}

Status Validation::age(const Now& now) const {
  const CoreData& core = store_.ring.core();
  StartFindings& findings = store_.life.findings();
  const TimeStamp stamp = *store_.time.newest();
  const TimeStamp witnessed = store_.life.opening().evidence.stamp().value_or(stamp);
  const std::uint64_t age = std::min(age_ms(stamp, now), age_ms(witnessed, now));
  findings.age_excused = age > core.age_ms_max && prove_freshness(*store_.witnesses);
  if (age > core.age_ms_max && !findings.age_excused) {
    return {Reason::kStateStale, "the newest stamp is " + duration_text(age) + " old; the limit is " +
                                     limit_text(core.age_ms_max)};
  }
  // Behind what the stamp claimed, but not behind what it could explain: the clock had run ahead and was corrected.
  const auto slack = static_cast<std::int64_t>(core.clock_tolerance_ms);
  const std::int64_t claimed = time_floor_ms(stamp, now) + static_cast<std::int64_t>(stamp.jump_ms);
  findings.clock_corrected = now.wall_ms + slack < claimed;
  return {};
}

Status Validation::verdict_without_root() const {
  Opening& opening = store_.life.opening();
  opening.evidence.history.is_root_lost = true;
  opening.verdict = judge(opening.evidence);
  return opening.verdict.status;
}

log::Checkpoint Validation::authority_checkpoint(const log::Checkpoint& checkpoint) const {
  if (store_.counter() == nullptr) return checkpoint;
  const Opening& opening = store_.life.opening();
  // An increment that is still to be finished counts as made, so that finishing it takes no permit's worth.
  const CounterObservation* const found = opening.evidence.counter();
  return with_counter(
      checkpoint, (found != nullptr ? found->tpm.counter : 0) + (opening.verdict.increment_pending ? 1 : 0));
}

bool Validation::is_counter_unmoved() const {
  const CounterObservation* const found = store_.life.opening().evidence.counter();
  return found == nullptr || found->is_unmoved();
}

}  // namespace strongroom::store
