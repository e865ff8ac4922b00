// The counter of a TPM at a start: what it says, and how the newest anchor of the history stands to it. What happens while a
// store is open stands in engine_anchor.cc.
#include <algorithm>

#include "base/duration.h"
#include "store/engine_state.h"

namespace strongroom::store {

void Engine::State::make_counter_witness() {
  const Digest label = index_label(ring.header().instance, ring.header().storage_id);
  std::optional<NvIndex> extend;
  if (has_extend()) {
    extend = NvIndex{ring.core().extend_index, roots::extend_name(ring.core().extend_index, label),
                     ring.core().extend_secret.clone()};
  }
  counter = std::make_unique<CounterWitness>(
      sealed_root().tpm(),
      NvIndex{ring.core().counter_index, roots::counter_name(ring.core().counter_index, label),
              ring.core().counter_secret.clone()},
      std::move(extend));
}

// Before the vault is read, so that with a live writer the vault can only be newer.
Status Engine::State::gather_counter() {
  if (!has_counter()) return {};
  if (!counter) make_counter_witness();
  // Whatever bears its name in another TPM was made there by somebody else, or by a reseal that was cut.
  if (sealed_root().is_another_tpm()) {
    evidence.counter.damage = Status(Reason::kWitnessReplaced, "this is another TPM than the counter's");
    return {};
  }
  const Result<TpmObservation> value = counter->read();
  if (value.ok()) {
    evidence.counter.tpm = *value;
  } else if (value.is(Reason::kWitnessMissing) || value.is(Reason::kWitnessReplaced) ||
             value.is(Reason::kTpmRefused)) {
    evidence.counter.damage = value.status();
  } else {
    return value.status();
  }
  return {};
}

void Engine::State::adopt_anchor() {
  const log::Record* record = vault.index.find(anchor_key());
  if (record == nullptr || !anchor_found) return;
  log::Checkpoint checkpoint{record->generation(), {}};
  const AnchorStanding standing = stand(*anchor_found, evidence.counter.tpm);
  const bool settled = standing == AnchorStanding::kComplete;
  // Before the TPM moves for an ordinary anchor, and before a snapshot is written, the tamper file is synced; an
  // administrative operation names the counter as it stands, and only the anchor behind it moves the witnesses.
  bool moved_before = record->generation() <= vault.loaded.snapshot.generation;
  log::Checkpoint
      before;  // the anchor before it; the zero checkpoint when a compaction has taken that commit away
  for (const auto& [place, kind] : anchor_places) {
    if (place.generation < checkpoint.generation && kind != log::CommitKind::kSnapshotHead) before = place;
    if (place.generation != checkpoint.generation) continue;
    checkpoint = place;
    moved_before |= kind == log::CommitKind::kAnchor || kind == log::CommitKind::kClose;
  }
  const bool moved = settled || standing == AnchorStanding::kExtended;
  evidence.counter.witnessed = moved && moved_before ? checkpoint.generation : 0;
  using Reached = CounterWitness::Reached;
  counter->adopt(*anchor_found, checkpoint, settled ? Reached::kByTpm : Reached::kUnknown,
                 settled ? checkpoint : before);
}

Status Engine::State::read_persistence_again() {
  SR_ASSIGN(const std::vector<ParsedPersistence> candidates, ring.read(*directory));
  Status refusal;
  for (const ParsedPersistence& candidate : candidates) {
    if (candidate.header.key_id != ring.header().key_id)
      return {Reason::kLocked, "the DEK was rotated while the store was being read; try again"};
    refusal = open_core(candidate, ring.dek().clone());
    if (refusal.ok()) break;
  }
  return refusal;
}

// A live writer moves the TPM and replaces persistence.bin between our looks at them. The vault was read between two looks
// at the TPM, so its anchor must fit one of them; where both looks are the same, no writer is at work. And the
// persistence.bin that it names must be the one from before or from after.
Result<bool> Engine::State::looks_consistent() {
  CounterEvidence& found = evidence.counter;
  if (!found.damage.ok() || !found.newest) return true;
  SR_ASSIGN(const TpmObservation after, counter->read());
  const bool fits = explain(stand(*found.newest, found.tpm), *found.newest, found.tpm).ok();
  const bool moved = found.tpm.counter != after.counter || found.tpm.head != after.head;
  if (!fits && !moved) return true;  // whatever is wrong, it is no writer
  if (!fits) {
    if (!explain(stand(*found.newest, after), *found.newest, after).ok()) return false;
    found.tpm = after;
  }
  adopt_anchor();
  verdict = judge(evidence);
  if (check_persistence_record().ok()) return true;
  const Digest before = ring.hash();
  SR_TRY(read_persistence_again());
  return ring.hash() == before || check_persistence_record().ok();
}

Status Engine::State::check_time(const Now& now) {
  SR_TRY(check_clock(*time.newest(), now, ring.core().clock_tolerance_ms));
  if (secret_stamp) SR_TRY(check_clock(*secret_stamp, now, ring.core().clock_tolerance_ms));
  if (!counter || !anchor_found) return {};
  SR_ASSIGN(const roots::TpmClock clock, counter->tpm().clock());
  const std::int64_t behind_ms = tpm_floor_ms(*anchor_found, clock) - now.wall_ms;
  if (behind_ms <= static_cast<std::int64_t>(ring.core().clock_tolerance_ms)) return {};
  const std::string behind = duration_text(static_cast<std::uint64_t>(behind_ms));
  if (clock.clock_ms <= anchor_found->clock_ms)
    return {Reason::kClockRolledBack, "the system clock is " + behind + " behind the newest anchor"};
  return {
      Reason::kClockRolledBack,
      "the TPM's clock counted " + duration_text(clock.clock_ms - anchor_found->clock_ms) +
          " since the newest anchor, and the system clock is " + behind +
          " behind that, though not behind the time that the store remembers: the system clock is wrong, or "
          "the TPM's was set forward (TPM2_ClockSet)"};
}

}  // namespace strongroom::store
