#include "store/start/take_over.h"

namespace strongroom::store {

Status TakeOver::run() {
  const MutexLock lock(store_.headers.mutex());
  if (store_.ring.core().extend_secret.empty()) SR_TRY(begin());
  SR_ASSIGN(const std::optional<Bytes> next, store_.vault.record(kAnchorNextKey));
  return next ? end() : Status();
}

Status TakeOver::begin() {
  if (!store_.counter()->settled()) {
    SR_TRY(store_.witnesses->move());
    SR_TRY(store_.counter()->reach(read_clock(store_.environment.clock)));
  }
  const StoreIndices indices = store_.sealed_root().indices();
  SR_TRY(indices.remove({store_.ring.core().counter_index}));  // left by an attempt that was cut
  NextKeys next;
  next.previous = store::clone(store_.ring.core().previous);
  next.former_field_keys = store::clone(store_.ring.core().former_field_keys);
  SR_ASSIGN(next.indices, indices.plan(store_.ring.core().counter_index));
  const PlannedIndices& planned = *next.indices;
  SR_ASSIGN(const std::uint64_t foreseen, indices.foresee_counter(planned.counter.index));
  SR_ASSIGN(const std::uint64_t made, indices.make(planned));
  if (made != foreseen)
    return {Reason::kTpmUnavailable, "another program moved a counter of the TPM concurrently; start again"};

  AnchorRecord record = store_.counter()->newest();
  record.number = record.first_number = made;
  record.increments += 1;
  record.head = AnchorHead{first_extend_value(planned.extend.secret.view()), std::nullopt};
  store_.sealed_root().move_to_counter(planned.counter.index);
  PersistenceHeader header_new = store_.ring.header();
  SR_TRY(store_.sealed_root().seal(header_new, made));
  SystemRecordChanges changes;
  changes.put(kAnchorNextKey, encode_anchor_record(record));
  return store_.headers.replace(header_new, log::CommitKind::kTakeOver, changes, nullptr, std::move(next));
}

Status TakeOver::end() {
  SR_TRY(store_.sealed_root().indices().remove(
      {store_.ring.core().counter_index, store_.ring.core().extend_index}));
  SR_ASSIGN(const std::optional<Bytes> next, store_.vault.record(kAnchorNextKey));
  const std::optional<AnchorRecord> record = next ? parse_anchor_record(*next) : std::nullopt;
  if (!record) return {Reason::kInternal, "the record of a take-over is malformed"};
  SystemRecordChanges changes;
  changes.put(kAnchorKey, *next);
  changes.remove(kAnchorNextKey);
  const Result<log::CommitInfo> done =
      store_.vault.queue->commit_system(log::CommitKind::kTakeOver, changes.list());
  if (!done.ok()) return done.status();
  store_.counter()->renew();
  store_.counter()->start_from(*record, done->checkpoint, CounterWitness::Reached::kByTpm, done->checkpoint);
  return {};
}

}  // namespace strongroom::store
