// Anchors: how the TPM's counter follows an open vault, and how the sealed root follows the counter.
//
// Invariants:
// - ANCHOR(n) is committed only while the persistence.bin on disk holds a root that the TPM gives out at n.
// - An epoch is as short as the pace of anchors allows: one anchor, or up to kEpochAnchorsMax where they come thick and
//   fast. The close ends it, so that no copy of a former persistence.bin can be unsealed after the next start.
#include <algorithm>

#include "store/engine_state.h"

namespace strongroom::store {
namespace {

constexpr std::uint64_t kEpochAnchorsMax = 256;
constexpr std::chrono::seconds kEpochBrief{10};

}  // namespace

AnchorRecord Engine::State::first_anchor(std::uint64_t number) {
  AnchorRecord record;
  const Now now = read_clock(environment.clock);
  record.number = number;
  record.increments = 1;
  record.first_wall_ms = now.wall_ms;
  const std::lock_guard lock(time_mutex);
  if (const Result<roots::TpmClock> clock = tpm->clock(); clock.ok()) {
    record.clock_ms = clock->clock_ms;
    record.floor_ms = time_floor_ms(*stamp, now);
  }
  return record;
}

Status Engine::State::begin_epoch(std::uint64_t number, bool last, ReservedChanges& changes) {
  const auto now = std::chrono::steady_clock::now();
  if (last) {
    epoch_anchors = 1;
  } else if (epoch_began != std::chrono::steady_clock::time_point() && now - epoch_began < kEpochBrief) {
    epoch_anchors = std::min(epoch_anchors * 4, kEpochAnchorsMax);
  } else {
    epoch_anchors = 1;
  }
  epoch_began = now;
  PersistenceHeader header_new = header;
  SR_TRY(seal_slot(header_new, number + epoch_anchors - 1));
  ReservedChanges intent;
  return replace_persistence(header_new, log::CommitKind::kPersistence, intent, &changes);
}

Status Engine::State::anchor_counter(log::CommitKind kind) {
  const std::lock_guard lock(persistence_mutex);
  const Now now = read_clock(environment.clock);
  SR_TRY(counter->reach(now.wall_ms));
  std::int64_t floor_ms = 0;
  {
    const std::lock_guard time(time_mutex);
    floor_ms = time_floor_ms(*stamp, now);
  }
  const AnchorRecord next = counter->next(now.wall_ms, floor_ms);
  const bool last = kind == log::CommitKind::kClose;
  ReservedChanges changes;
  if (next.number > tpm_slot.at_most || (last && next.number != tpm_slot.at_most)) {
    SR_TRY(begin_epoch(next.number, last, changes));
  }
  changes.put(kAnchorKey, encode_anchor_record(next));
  anchor_wanted = false;
  const Result<log::CommitInfo> committed = queue->commit_reserved(kind, changes.list());
  if (!committed.ok()) return committed.status();
  counter->noted(next, committed->point);
  {
    const std::lock_guard witness(witness_mutex);
    anchor_newest = std::chrono::steady_clock::now();
  }
  const auto completed_anchor = [&]() -> Status {
    SR_TRY(witnesses->move());
    return counter->reach(now.wall_ms);
  }();
  if (!completed_anchor.ok()) anchor_wanted = true;
  return completed_anchor;
}

// With the witness lock held.
bool Engine::State::anchor_due() {
  if (!anchor_wanted || options.tpm.anchors_per_day == 0) return false;
  return std::chrono::steady_clock::now() - anchor_newest >= kDay / options.tpm.anchors_per_day;
}

}  // namespace strongroom::store
