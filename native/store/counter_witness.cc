#include "store/counter_witness.h"

namespace strongroom::store {

Result<TpmObservation> CounterWitness::read() {
  TpmObservation out;
  // The extend index is read last: it decides, so what another copy did in between is met as a fork.
  SR_ASSIGN(out.counter, tpm_->read_counter(counter_.index, counter_.name, counter_.secret.view()));
  if (extend_) {
    SR_ASSIGN(out.head, tpm_->read_extend(extend_->index, extend_->name, extend_->secret.view()));
  }
  return out;
}

void CounterWitness::adopt(const AnchorRecord& newest, const log::Point& point, bool settled,
                           const log::Point& confirmed) {
  const std::lock_guard lock(mutex_);
  position_.newest = newest;
  noted_point_ = point;
  position_.point = confirmed;
  settled_ = settled;
}

AnchorRecord CounterWitness::next(const StorageId& storage_id, const Digest& head, std::int64_t wall_ms,
                                  std::int64_t floor_ms) {
  AnchorRecord record;
  {
    const std::lock_guard lock(mutex_);
    record = position_.newest;
  }
  record.number += 1;
  record.increments += 1;
  if (record.first_wall_ms == 0) record.first_wall_ms = wall_ms;
  if (record.head) {
    record.head = AnchorHead{value_after(*record.head), draw_anchor_data(storage_id, record.number, head)};
  }
  if (const Result<roots::TpmClock> clock = tpm_->clock(); clock.ok()) {
    record.clock_ms = clock->clock_ms;
    record.floor_ms = floor_ms;
  }
  return record;
}

void CounterWitness::noted(const AnchorRecord& record, const log::Point& point) {
  const std::lock_guard lock(mutex_);
  position_.newest = record;
  noted_point_ = point;
  settled_ = false;
}

Status CounterWitness::walk(const AnchorRecord& wanted) {
  bool extended = false;
  bool incremented = false;
  for (;;) {
    SR_ASSIGN(const TpmObservation tpm, read());
    const AnchorStanding standing = stand(wanted, tpm);
    SR_TRY(explain(standing, wanted, tpm, false));
    Status sent;
    // Whether a command took place is what the next reading says.
    switch (next_step(standing, wanted)) {
      case AnchorStep::kNone:
        return {};
      case AnchorStep::kExtend:
        if (std::exchange(extended, true))
          return {Reason::kTpmUnavailable, "the TPM's extend index did not move"};
        sent = tpm_->extend(extend_->index, extend_->name, extend_->secret.view(), *wanted.head->data);
        break;
      case AnchorStep::kIncrement:
        if (std::exchange(incremented, true))
          return {Reason::kTpmUnavailable, "the TPM's counter did not move"};
        sent = tpm_->increment_counter(counter_.index, counter_.name, counter_.secret.view());
        break;
    }
    if (!sent.ok() && !sent.is(Reason::kTpmUnavailable)) return sent;
  }
}

void CounterWitness::judge(const Status& found) {
  if (found.ok() || found.is(Reason::kVaultRolledBack) || found.is(Reason::kVaultForked) ||
      found.is(Reason::kWitnessReplaced) || found.is(Reason::kWitnessMissing)) {
    alarm_ = found;
    alarmed_ = !found.ok();
  }
}

Status CounterWitness::reach(std::int64_t wall_ms) {
  AnchorRecord wanted;
  {
    const std::lock_guard lock(mutex_);
    if (settled_) return {};
    wanted = position_.newest;
  }
  Status reached = walk(wanted);
  const std::lock_guard lock(mutex_);
  position_.failing = !reached.ok();
  if (reached.ok()) {
    settled_ = true;
    position_.point = noted_point_;
    position_.moved_wall_ms = wall_ms;
  }
  judge(reached);
  return reached;
}

Status CounterWitness::check() {
  AnchorRecord newest;
  {
    const std::lock_guard lock(mutex_);
    newest = position_.newest;
  }
  Status found = [&]() -> Status {
    SR_ASSIGN(const TpmObservation tpm, read());
    return explain(stand(newest, tpm), newest, tpm, false);
  }();
  const std::lock_guard lock(mutex_);
  judge(found);
  return found;
}

bool CounterWitness::settled() const {
  const std::lock_guard lock(mutex_);
  return settled_;
}

void CounterWitness::failed() {
  const std::lock_guard lock(mutex_);
  position_.failing = true;
}

CounterWitness::Position CounterWitness::position() const {
  const std::lock_guard lock(mutex_);
  return position_;
}

Status CounterWitness::alarm() const {
  const std::lock_guard lock(mutex_);
  return alarm_;
}

}  // namespace strongroom::store
