#include "witnesses/tpm_counter/counter_witness.h"

#include <utility>

namespace strongroom::store {
namespace {

// For how long the TPM is believed to be as it was left. Anchors that follow each other closely need no reading in between.
constexpr std::uint64_t kLeftBelievedMs = 1000;

bool recent(std::uint64_t then_ms, std::uint64_t now_ms) {
  return now_ms >= then_ms && now_ms - then_ms < kLeftBelievedMs;
}

}  // namespace

Result<TpmObservation> CounterWitness::read() {
  TpmObservation out;
  // The extend index is read last: it decides, so what another copy did in between is met as a fork.
  SR_ASSIGN(out.counter, tpm_->read_counter(counter_.index, counter_.name, counter_.secret.view()));
  if (extend_) {
    SR_ASSIGN(out.head, read_head());
  }
  return out;
}

Result<Digest> CounterWitness::read_head() {
  return tpm_->read_extend(extend_->index, extend_->name, extend_->secret.view());
}

void CounterWitness::adopt(const AnchorRecord& newest, const log::Checkpoint& checkpoint, Reached reached,
                           const log::Checkpoint& confirmed) {
  const MutexLock lock(mutex_);
  position_.newest = newest;
  noted_checkpoint_ = checkpoint;
  position_.checkpoint = confirmed;
  settled_ = reached == Reached::kByTpm;
  left_.reset();
}

AnchorRecord CounterWitness::next(const StorageId& storage_id, const Digest& head, const Now& now,
                                  std::int64_t floor_ms) {
  AnchorRecord record;
  {
    const MutexLock lock(mutex_);
    record = position_.newest;
  }
  record.number += 1;
  record.increments += 1;
  if (record.first_wall_ms == 0) record.first_wall_ms = now.wall_ms;
  if (record.head) {
    record.head = AnchorHead{value_after(*record.head), draw_anchor_data(storage_id, record.number, head)};
  }
  // An earlier reading with its floor says no less about the time.
  if (clock_read_boot_ms_ && recent(*clock_read_boot_ms_, now.boot_ms)) return record;
  if (const Result<roots::TpmClock> clock = tpm_->clock(); clock.ok()) {
    record.clock_ms = clock->clock_ms;
    record.floor_ms = floor_ms;
    clock_read_boot_ms_ = now.boot_ms;
  }
  return record;
}

void CounterWitness::noted(const AnchorRecord& record, const log::Checkpoint& checkpoint) {
  const MutexLock lock(mutex_);
  position_.newest = record;
  noted_checkpoint_ = checkpoint;
  settled_ = false;
}

Status CounterWitness::walk(const AnchorRecord& wanted, TpmObservation& tpm) {
  bool extended = false;
  bool incremented = false;
  for (;;) {
    const AnchorStanding standing = stand(wanted, tpm);
    SR_TRY(explain(standing, wanted, tpm));
    const AnchorStep step = next_step(standing, wanted);
    if (step == AnchorStep::kNone) return {};
    const bool extends = step == AnchorStep::kExtend;
    if (std::exchange(extends ? extended : incremented, true)) {
      return {Reason::kTpmUnavailable,
              extends ? "the TPM's extend index did not move" : "the TPM's counter did not move"};
    }
    Status sent =
        extends ? tpm_->extend(extend_->index, extend_->name, extend_->secret.view(), *wanted.head->data)
                : tpm_->increment_counter(counter_.index, counter_.name, counter_.secret.view());
    if (!sent.ok() && !sent.is(Reason::kTpmUnavailable)) return sent;
    // Whether the command took place is what its index says. At the end both are read: authority may have accepted another
    // copy since the extend.
    if (extends) {
      SR_ASSIGN(tpm.head, read_head());
    } else {
      SR_ASSIGN(tpm, read());
    }
  }
}

void CounterWitness::judge(const Status& found) {
  if (found.ok() || found.is(Reason::kVaultRolledBack) || found.is(Reason::kVaultForked) ||
      found.is(Reason::kWitnessReplaced) || found.is(Reason::kWitnessMissing)) {
    alarm_ = found;
    alarmed_ = !found.ok();
  }
}

Status CounterWitness::reach(const Now& now) {
  AnchorRecord wanted;
  {
    const MutexLock lock(mutex_);
    if (settled_) return {};
    wanted = position_.newest;
  }
  const std::optional<Left> left = std::exchange(left_, std::nullopt);
  Status reached = [&]() -> Status {
    TpmObservation tpm;
    if (left && recent(left->boot_ms, now.boot_ms)) {
      tpm = left->tpm;
    } else {
      SR_ASSIGN(tpm, read());
    }
    SR_TRY(walk(wanted, tpm));
    left_ = Left{tpm, now.boot_ms};
    return {};
  }();
  const MutexLock lock(mutex_);
  position_.failing = !reached.ok();
  if (reached.ok()) {
    settled_ = true;
    position_.checkpoint = noted_checkpoint_;
    position_.moved_wall_ms = now.wall_ms;
  }
  judge(reached);
  return reached;
}

Status CounterWitness::check() {
  AnchorRecord newest;
  {
    const MutexLock lock(mutex_);
    newest = position_.newest;
  }
  Status found = [&]() -> Status {
    SR_ASSIGN(const TpmObservation tpm, read());
    return explain(stand(newest, tpm), newest, tpm);
  }();
  const MutexLock lock(mutex_);
  judge(found);
  return found;
}

bool CounterWitness::settled() const {
  const MutexLock lock(mutex_);
  return settled_;
}

void CounterWitness::failed() {
  const MutexLock lock(mutex_);
  position_.failing = true;
}

CounterWitness::Position CounterWitness::position() const {
  const MutexLock lock(mutex_);
  return position_;
}

Status CounterWitness::alarm() const {
  const MutexLock lock(mutex_);
  return alarm_;
}

}  // namespace strongroom::store
