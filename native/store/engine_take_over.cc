// A store of release 0.1, whose counter alone is its witness in the TPM, becomes one with a counter and an extend index.
//
// The counter is replaced by a new one, which begins above it. A copy of the store from before could otherwise wait, with an
// anchor that it reserved, until the old counter reaches that anchor, and open then: a counter confirms every such copy. Of
// the old counter nobody knows the secret but those copies, so that removing it ends them all, whoever makes what is there
// again.
//
// Order: the new indices in the TPM; the intent with their record; persistence.bin with their places and secrets and a root
// that is sealed to the new counter; the old counter removed; the record in its usual place. Cut before the file is replaced,
// the store is what it was; cut behind it, the next start ends it.
#include "store/engine_state.h"

namespace strongroom::store {

Status Engine::State::take_over() {
  const MutexLock lock(headers.mutex());
  if (ring.core().extend_secret.empty()) SR_TRY(begin_take_over());
  SR_ASSIGN(const std::optional<Bytes> next, vault.record(kAnchorNextKey));
  return next ? end_take_over() : Status();
}

Status Engine::State::begin_take_over() {
  if (!counter->settled()) {
    SR_TRY(witnesses->move());
    SR_TRY(counter->reach(read_clock(environment.clock)));
  }
  const StoreIndices indices = sealed_root().indices();
  SR_TRY(indices.remove({ring.core().counter_index}));  // left by an attempt that was cut
  NextKeys next;
  next.previous = store::clone(ring.core().previous);
  next.former_field_keys = store::clone(ring.core().former_field_keys);
  SR_ASSIGN(next.indices, indices.plan(ring.core().counter_index));
  const PlannedIndices& planned = *next.indices;
  SR_ASSIGN(const std::uint64_t foreseen, indices.foresee_counter(planned.counter.index));
  SR_ASSIGN(const std::uint64_t made, indices.make(planned));
  if (made != foreseen)
    return {Reason::kTpmUnavailable, "another program moved a counter of the TPM concurrently; start again"};

  AnchorRecord record = counter->newest();
  record.number = record.first_number = made;
  record.increments += 1;
  record.head = AnchorHead{first_extend_value(planned.extend.secret.view()), std::nullopt};
  sealed_root().move_to_counter(planned.counter.index);
  PersistenceHeader header_new = ring.header();
  SR_TRY(sealed_root().seal(header_new, made));
  SystemRecordChanges changes;
  changes.put(kAnchorNextKey, encode_anchor_record(record));
  return headers.replace(header_new, log::CommitKind::kTakeOver, changes, nullptr, std::move(next));
}

Status Engine::State::end_take_over() {
  SR_TRY(sealed_root().indices().remove({ring.core().counter_index, ring.core().extend_index}));
  SR_ASSIGN(const std::optional<Bytes> next, vault.record(kAnchorNextKey));
  const std::optional<AnchorRecord> record = next ? parse_anchor_record(*next) : std::nullopt;
  if (!record) return {Reason::kInternal, "the record of a take-over is malformed"};
  SystemRecordChanges changes;
  changes.put(kAnchorKey, *next);
  changes.remove(kAnchorNextKey);
  const Result<log::CommitInfo> done = vault.queue->commit_system(log::CommitKind::kTakeOver, changes.list());
  if (!done.ok()) return done.status();
  counter->renew();
  counter->start_from(*record, done->checkpoint, CounterWitness::Reached::kByTpm, done->checkpoint);
  return {};
}

}  // namespace strongroom::store
