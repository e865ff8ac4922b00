#include "store/header_changes.h"

#include <algorithm>
#include <utility>

#include "protectors/registry.h"

namespace strongroom::store {

Result<KeyRing::Change> HeaderChanges::plan(PersistenceHeader next, SystemRecordChanges& intent) {
  const MutexLock lock(mutex_);
  SR_TRY(settle());
  return parts_.ring.plan(std::move(next), std::nullopt, intent);
}

// The history remembers the highest id of a password's slot that was removed.
std::uint32_t HeaderChanges::next_slot_id() const {
  std::uint32_t highest = 0;
  for (const KeySlot& slot : parts_.ring.header().slots) highest = std::max(highest, slot.id);
  if (!parts_.vault.epoch_keys) return highest + 1;
  const Result<std::optional<Bytes>> removed = parts_.vault.record(kSlotIdKey);
  if (removed.ok() && *removed && (*removed)->size() == sizeof(std::uint32_t))
    highest = std::max(highest, load_le<std::uint32_t>((*removed)->data()));
  return highest + 1;
}

Result<PersistenceHeader> HeaderChanges::settled() {
  const MutexLock lock(mutex_);
  SR_TRY(settle());
  return parts_.ring.header();
}

Status HeaderChanges::settle(bool* settled) {
  SR_ASSIGN(const KeyRing::Settled changed, parts_.ring.settle(*parts_.directory));
  if (changed == KeyRing::Settled::kNothing) return {};
  adopt_slot();
  if (changed == KeyRing::Settled::kKeys) parts_.vault.follow_keys(parts_.ring);
  if (settled != nullptr) *settled = true;
  return {};
}

Status HeaderChanges::replace(PersistenceHeader next, log::CommitKind kind, SystemRecordChanges& changes,
                              SystemRecordChanges* last, std::optional<NextKeys> keys) {
  KeyRing& ring = parts_.ring;
  SR_TRY(settle());
  SR_ASSIGN(KeyRing::Change change, ring.plan(std::move(next), std::move(keys), changes));
  SR_TRY(parts_.vault.commit(kind, changes));
  ring.begin(std::move(change));
  SR_TRY(settle());
  SystemRecordChanges done;
  ring.put_done(last != nullptr ? *last : done);
  return last != nullptr ? Status() : parts_.vault.commit(kind, done);
}

Status HeaderChanges::replace_slots(const PersistenceHeader& next, SystemRecordChanges& changes,
                                    std::string_view shows) {
  const KeyRing& ring = parts_.ring;
  const Digest before = ring.hash();
  const Status replaced = replace(next, log::CommitKind::kPersistence, changes);
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

void HeaderChanges::adopt_slot() {
  if (const KeySlot* const slot = root_slot(parts_.ring.header())) parts_.protector->adopt(*slot);
}

}  // namespace strongroom::store
