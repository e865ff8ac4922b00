// The header transaction: the one way in which persistence.bin changes once the store has a history.
//
//   1. Intent: the commit that makes the change history names the current file and the next one.
//   2. Replace: with that commit durable, the next file takes the current one's place, and the engine goes by it.
//   3. Done: that commit's successor, or any later one, names the next file alone.
//
// Invariants:
// - Between 1 and 3 a start accepts either file and no third. So a transaction is completed before the next is planned.
// - A cold start, an administrative operation and an open store differ in how they commit, not in this order.
// - Outside of it, persistence.bin is written where there is no history to change: first by a cold start, and last by a
//   decommission. A damaged copy is repaired with the same content.
#include "store/engine_state.h"

namespace strongroom::store {

Status Engine::State::write_persistence(const PersistenceHeader& next, Digest* hash) {
  SR_ASSIGN(const Bytes file, encode_persistence(next, core, dek.view(), hash));
  return os::replace_file(*directory, kPersistenceFileName, file);
}

Result<Engine::State::HeaderChange> Engine::State::plan_header(PersistenceHeader next,
                                                               SystemRecordChanges& intent,
                                                               std::optional<NextKeys> keys) {
  SR_TRY(settle_header());
  HeaderChange change{{}, std::move(next), {}, std::move(keys)};
  CoreData core_next = core.clone();
  ByteView dek_next = dek.view();
  if (change.keys) {
    core_next.previous = clone(change.keys->previous);
    core_next.former_field_keys = clone(change.keys->former_field_keys);
    if (!change.keys->dek.empty()) dek_next = change.keys->dek.view();
    if (change.keys->indices) change.keys->indices->put_into(core_next);
  }
  SR_ASSIGN(change.file, encode_persistence(change.header, core_next, dek_next, &change.hash));
  intent.put(kPersistenceKey, encode_persistence_record({true, persistence_hash, change.hash}));
  return change;
}

Status Engine::State::settle_header(bool* settled) {
  if (!header_pending) return {};
  SR_TRY(os::replace_file(*directory, kPersistenceFileName, header_pending->file));
  {
    const std::lock_guard lock(header_mutex);
    header = std::move(header_pending->header);
    if (header_pending->keys) adopt_keys(*header_pending->keys);
  }
  persistence_hash = header_pending->hash;
  const bool keys_changed = header_pending->keys.has_value();
  header_pending.reset();
  adopt_slot();
  if (keys_changed) follow_keys();
  if (settled != nullptr) *settled = true;
  return {};
}

void Engine::State::put_header_done(SystemRecordChanges& done) const {
  done.put(kPersistenceKey, encode_persistence_record({false, persistence_hash, persistence_hash}));
}

Status Engine::State::replace_header(PersistenceHeader next, log::CommitKind kind,
                                     SystemRecordChanges& changes, SystemRecordChanges* last,
                                     std::optional<NextKeys> keys) {
  SR_ASSIGN(HeaderChange change, plan_header(std::move(next), changes, std::move(keys)));
  SR_TRY(queue->commit_system(kind, changes.list()).status());
  header_pending = std::move(change);
  SR_TRY(settle_header());
  SystemRecordChanges done;
  put_header_done(last != nullptr ? *last : done);
  return last != nullptr ? Status() : queue->commit_system(kind, done.list()).status();
}

Status Engine::State::replace_slots(const PersistenceHeader& next, SystemRecordChanges& changes,
                                    std::string_view shows) {
  const Digest before = persistence_hash;
  const Status replaced = replace_header(next, log::CommitKind::kPersistence, changes);
  if (replaced.ok()) return {};
  Error error = replaced.error();
  if (persistence_hash != before) {
    error.committed = true;  // only the record that completes the change is missing
    error.outcome_unknown = false;
  } else if (header_pending) {
    error.outcome_unknown = true;
    error.detail += "; the change may still take effect: open the store again, and see " +
                    std::string(shows) + ", before you repeat it";
  }
  return error;
}

}  // namespace strongroom::store
