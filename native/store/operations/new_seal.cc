#include "store/operations/new_seal.h"

#include <algorithm>

#include "store/engine_state.h"
#include "store/start/first_writing.h"

namespace strongroom::store {

bool NewSeal::is_counter_lost() const { return !store_.life.opening().evidence.counter()->damage.ok(); }

Result<AnchorRecord> NewSeal::plan_counter() {
  SealedRoot& root = store_.sealed_root();
  SR_TRY(root.indices().remove());  // left by an attempt that was cut, or what is there of two
  SR_TRY(root.plan_indices());
  SR_ASSIGN(const std::uint64_t foreseen, root.indices().foresee_counter(store_.ring.core().counter_index));
  return store_.anchors.first(foreseen, first_extend_value(store_.ring.core().extend_secret.view()));
}

AnchorRecord NewSeal::continue_counter() {
  const Opening& opening = store_.life.opening();
  const CounterObservation& found = *opening.evidence.counter();
  AnchorRecord fresh =
      store_.anchors.first(found.tpm.counter + (opening.verdict.increment_pending ? 1 : 0), found.tpm.head);
  if (const std::optional<AnchorRecord>& newest = found.newest) {
    // What the counter was moved by since, a copy of this store moved it.
    fresh.increments = newest->increments + fresh.number - std::min(fresh.number, newest->number);
    fresh.first_wall_ms = newest->first_wall_ms;
    fresh.first_number = newest->first_number;
  }
  return fresh;
}

Status NewSeal::start_counter(const AnchorRecord& from, const log::Checkpoint& checkpoint) {
  using Reached = CounterWitness::Reached;
  const bool lost = is_counter_lost();
  if (lost) {
    SR_TRY(store_.protector->provision());
    store_.counter()->renew();
  }
  const bool reached = lost || !store_.life.opening().verdict.increment_pending;
  store_.counter()->start_from(from, checkpoint, reached ? Reached::kByTpm : Reached::kUnknown, checkpoint);
  return {};
}

Status NewSeal::commit(log::CommitKind kind, SystemRecordChanges& changes, const TimeStamp& stamp) {
  SealedRoot& root = store_.sealed_root();
  SR_TRY(root.connect_anew(root_slot(store_.ring.header())));
  SR_TRY(root.indices().refuse_those_of_another_store());
  FirstWriting writing(store_);
  SR_TRY(writing.cut_tail());
  AnchorRecord fresh;
  if (is_counter_lost()) {
    SR_ASSIGN(fresh, plan_counter());
  } else {
    fresh = continue_counter();
  }
  PersistenceHeader header_new = store_.ring.header();
  SR_TRY(root.seal(header_new, fresh.number));
  changes.put(kAnchorKey, encode_anchor_record(fresh));
  SR_ASSIGN(KeyRing::Change change, store_.headers.plan(std::move(header_new), changes));
  SR_TRY(writing.begin(kind, changes, stamp));
  const AuditCheckpoint newest = store_.witnesses->audit().newest();
  store_.ring.begin(std::move(change));
  SR_TRY(store_.headers.settled().status());
  store_.life.root_replaced();
  SR_TRY(start_counter(fresh, {newest.generation, newest.head}));
  SystemRecordChanges done;
  store_.ring.put_done(done);
  SR_TRY(store_.vault.commit(log::CommitKind::kPersistence, done));
  return writing.finish(Foreign::kReplace);
}

}  // namespace strongroom::store
