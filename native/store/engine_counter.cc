// A start next to a live writer that moves a TPM's counter, and the clock against what witnesses know of time.
#include "store/engine_state.h"

namespace strongroom::store {

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

// A live writer moves the TPM and replaces persistence.bin between our looks at them. The vault was read behind the first
// look at the TPM, so where its anchor does not fit that one, it must fit a second; where both looks are the same, no writer
// is at work. And the persistence.bin that it names must be the one from before or from after.
Result<bool> Engine::State::looks_consistent() {
  CounterObservation& found = *evidence.counter();
  if (!found.damage.ok() || !found.newest) return true;
  if (!explain(stand(*found.newest, found.tpm), *found.newest, found.tpm).ok()) {
    SR_ASSIGN(const TpmObservation after, counter->read());
    const bool moved = found.tpm.counter != after.counter || found.tpm.head != after.head;
    if (!moved) return true;  // whatever is wrong, it is no writer
    if (!explain(stand(*found.newest, after), *found.newest, after).ok()) return false;
    found.tpm = after;
  }
  found.weigh();
  counter->adopt_anchor(found);
  verdict = judge(evidence);
  if (check_persistence_record().ok()) return true;
  const Digest before = ring.hash();
  SR_TRY(read_persistence_again());
  return ring.hash() == before || check_persistence_record().ok();
}

Status Engine::State::check_time(const Now& now) {
  SR_TRY(check_clock(*time.newest(), now, ring.core().clock_tolerance_ms));
  for (const std::unique_ptr<Witness>& witness : witnesses->each()) {
    const Observation* const found = evidence.of(witness->kind());
    if (found != nullptr) SR_TRY(witness->check_time(*found, now, ring.core().clock_tolerance_ms));
  }
  return {};
}

}  // namespace strongroom::store
