#include "store/anchor_keeper.h"

#include <algorithm>
#include <utility>

namespace strongroom::store {
namespace {

constexpr std::uint64_t kSealEpochAnchorsMax = 256;
constexpr std::uint64_t kSealEpochBriefMs = 10'000;

}  // namespace

AnchorRecord AnchorKeeper::first(std::uint64_t number, const std::optional<Digest>& head) {
  AnchorRecord record;
  if (head) record.head = AnchorHead{*head, std::nullopt};
  const Now now = read_clock(parts_.clock);
  record.number = record.first_number = number;
  record.increments = 1;
  record.first_wall_ms = now.wall_ms;
  if (const Result<roots::TpmClock> clock = root().tpm()->clock(); clock.ok()) {
    record.clock_ms = clock->clock_ms;
    record.floor_ms = parts_.time.floor_ms(now);
  }
  return record;
}

std::uint64_t AnchorKeeper::next_epoch_anchors() const {
  const std::uint64_t now_ms = parts_.clock.boot_ms();
  const bool brief = epoch_.began_boot_ms && now_ms - *epoch_.began_boot_ms < kSealEpochBriefMs;
  return brief ? std::min(epoch_.anchors * 4, kSealEpochAnchorsMax) : 1;
}

Status AnchorKeeper::begin_seal_epoch(std::uint64_t first, std::uint64_t anchors,
                                      SystemRecordChanges& changes) {
  const std::uint64_t now_ms = parts_.clock.boot_ms();
  PersistenceHeader header_new = parts_.ring.header();
  SR_TRY(root().seal(header_new, first + anchors - 1));
  SystemRecordChanges intent;
  SR_TRY(parts_.headers.replace(header_new, log::CommitKind::kPersistence, intent, &changes));
  epoch_ = {anchors, now_ms};
  return {};
}

Status AnchorKeeper::anchor(log::CommitKind kind, Which which) {
  const MutexLock lock(parts_.headers.mutex());
  Witnesses& witnesses = *parts_.witnesses;
  CounterWitness& counter = *witnesses.counter();
  const Now now = read_clock(parts_.clock);
  if (!counter.settled()) {
    SR_TRY(witnesses.move(Witnesses::Which::kAll));
    SR_TRY(counter.reach(now));
  }
  if (which == Which::kUnlessConfirmed &&
      counter.position().checkpoint.generation == witnesses.audit().newest().generation)
    return witnesses.move(Witnesses::Which::kAll);
  const std::int64_t floor_ms = parts_.time.floor_ms(now);
  SystemRecordChanges changes;
  bool settled = false;
  SR_TRY(parts_.headers.settle(&settled));
  const AnchorRecord next =
      counter.next(parts_.ring.header().storage_id, witnesses.audit().newest().head, now, floor_ms);
  const bool last = kind == log::CommitKind::kClose;
  const std::uint64_t at_most = root().at_most();
  if (next.number > at_most || (last && next.number != at_most)) {
    SR_TRY(begin_seal_epoch(next.number, last ? 1 : next_epoch_anchors(), changes));
  } else if (settled) {
    parts_.ring.put_done(changes);
  }
  changes.put(kAnchorKey, encode_anchor_record(next));
  const Result<log::CommitInfo> committed = parts_.vault.queue->commit_system(kind, changes.list());
  if (!committed.ok()) return committed.status();
  counter.noted(next, committed->checkpoint);
  parts_.anchored();
  SR_TRY(witnesses.move(Witnesses::Which::kAll));
  return counter.reach(now);
}

}  // namespace strongroom::store
