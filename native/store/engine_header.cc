// The header transaction of an engine (key_ring.h): what commits its intent, and what follows a change.
#include "store/engine_state.h"

namespace strongroom::store {

Result<KeyRing::Change> Engine::State::plan_header(PersistenceHeader next, SystemRecordChanges& intent,
                                                   std::optional<NextKeys> keys) {
  SR_TRY(settle_header());
  return ring.plan(std::move(next), std::move(keys), intent);
}

Status Engine::State::settle_header(bool* settled) {
  SR_ASSIGN(const KeyRing::Settled changed, ring.settle(*directory));
  if (changed == KeyRing::Settled::kNothing) return {};
  adopt_slot();
  if (changed == KeyRing::Settled::kKeys) follow_keys();
  if (settled != nullptr) *settled = true;
  return {};
}

Status Engine::State::replace_header(PersistenceHeader next, log::CommitKind kind,
                                     SystemRecordChanges& changes, SystemRecordChanges* last,
                                     std::optional<NextKeys> keys) {
  SR_ASSIGN(KeyRing::Change change, plan_header(std::move(next), changes, std::move(keys)));
  SR_TRY(queue->commit_system(kind, changes.list()).status());
  ring.begin(std::move(change));
  SR_TRY(settle_header());
  SystemRecordChanges done;
  ring.put_done(last != nullptr ? *last : done);
  return last != nullptr ? Status() : queue->commit_system(kind, done.list()).status();
}

Status Engine::State::replace_slots(const PersistenceHeader& next, SystemRecordChanges& changes,
                                    std::string_view shows) {
  const Digest before = ring.hash();
  const Status replaced = replace_header(next, log::CommitKind::kPersistence, changes);
  if (replaced.ok()) return {};
  Error error = replaced.error();
  if (ring.hash() != before) {
    error.committed = true;  // only the record that completes the change is missing
    error.outcome_unknown = false;
  } else if (ring.has_pending()) {
    error.outcome_unknown = true;
    error.detail += "; the change may still take effect: open the store again, and see " +
                    std::string(shows) + ", before you repeat it";
  }
  return error;
}

// The header is that of the file on disk.
void Engine::State::adopt_slot() {
  if (const KeySlot* const slot = root_slot(ring.header())) protector->adopt(*slot);
}

}  // namespace strongroom::store
