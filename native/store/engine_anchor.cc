// Anchors: how the TPM's counter follows an open vault, and how the sealed root follows the counter.
//
// Invariants:
// - ANCHOR(n) is committed only while the persistence.bin on disk holds a root that the TPM gives out at n.
// - An epoch is as short as the pace of anchors allows: one anchor, or up to kSealEpochAnchorsMax where they come thick and
//   fast. The close ends it, so that no copy of a former persistence.bin can be unsealed after the next start.
// - The TPM moves only when the tamper file was synced up to the anchor. So where they agree, damage in the tamper file
//   before the anchor is no torn append.
// - An anchor that is not known to be complete is completed before anything else, and costs no second write.
#include <algorithm>

#include "store/engine_state.h"

namespace strongroom::store {
namespace {

constexpr std::uint64_t kSealEpochAnchorsMax = 256;
constexpr std::uint64_t kSealEpochBriefMs = 10'000;

}  // namespace

AnchorRecord Engine::State::first_anchor(std::uint64_t number, const std::optional<Digest>& head) {
  AnchorRecord record;
  if (head) record.head = AnchorHead{*head, std::nullopt};
  const Now now = read_clock(environment.clock);
  record.number = record.first_number = number;
  record.increments = 1;
  record.first_wall_ms = now.wall_ms;
  if (const Result<roots::TpmClock> clock = sealed_root().tpm()->clock(); clock.ok()) {
    record.clock_ms = clock->clock_ms;
    record.floor_ms = time.floor_ms(now);
  }
  return record;
}

std::uint64_t Engine::State::next_epoch_anchors() {
  const std::uint64_t now_ms = environment.clock.boot_ms();
  const bool brief = seal_epoch_began_boot_ms && now_ms - *seal_epoch_began_boot_ms < kSealEpochBriefMs;
  return brief ? std::min(seal_epoch_anchors * 4, kSealEpochAnchorsMax) : 1;
}

Status Engine::State::begin_seal_epoch(std::uint64_t first, std::uint64_t anchors,
                                       SystemRecordChanges& changes) {
  const std::uint64_t now_ms = environment.clock.boot_ms();
  PersistenceHeader header_new = ring.header();
  SR_TRY(sealed_root().seal(header_new, first + anchors - 1));
  SystemRecordChanges intent;
  SR_TRY(headers.replace(header_new, log::CommitKind::kPersistence, intent, &changes));
  seal_epoch_anchors = anchors;
  seal_epoch_began_boot_ms = now_ms;
  return {};
}

Status Engine::State::anchor_counter(log::CommitKind kind, Anchor which) {
  const MutexLock lock(headers.mutex());
  const Now now = read_clock(environment.clock);
  if (!counter->settled()) {
    SR_TRY(witnesses->move(Witnesses::Which::kAll));
    SR_TRY(counter->reach(now));
  }
  if (which == Anchor::kUnlessConfirmed &&
      counter->position().checkpoint.generation == witnesses->audit().newest().generation)
    return witnesses->move(Witnesses::Which::kAll);
  const std::int64_t floor_ms = time.floor_ms(now);
  SystemRecordChanges changes;
  bool settled = false;
  SR_TRY(headers.settle(&settled));
  const AnchorRecord next =
      counter->next(ring.header().storage_id, witnesses->audit().newest().head, now, floor_ms);
  const bool last = kind == log::CommitKind::kClose;
  const std::uint64_t at_most = sealed_root().at_most();
  if (next.number > at_most || (last && next.number != at_most)) {
    SR_TRY(begin_seal_epoch(next.number, last ? 1 : next_epoch_anchors(), changes));
  } else if (settled) {
    ring.put_done(changes);
  }
  changes.put(kAnchorKey, encode_anchor_record(next));
  const Result<log::CommitInfo> committed = vault.queue->commit_system(kind, changes.list());
  if (!committed.ok()) return committed.status();
  counter->noted(next, committed->checkpoint);
  mover.anchored();
  SR_TRY(witnesses->move(Witnesses::Which::kAll));
  return counter->reach(now);
}

bool Engine::State::counter_unmoved() const {
  const CounterObservation* const found = evidence.counter();
  return found == nullptr || found->is_unmoved();
}

}  // namespace strongroom::store
