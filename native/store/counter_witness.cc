#include "store/counter_witness.h"

#include <algorithm>

namespace strongroom::store {
namespace {

std::string count(std::uint64_t value) { return std::to_string(value); }

}  // namespace

Bytes encode_anchor_record(const AnchorRecord& record) {
  Bytes out;
  ByteWriter writer(out);
  writer.number(std::uint8_t{1});  // version
  writer.number(record.number);
  writer.number(record.increments);
  writer.number(static_cast<std::uint64_t>(record.first_wall_ms));
  writer.number(record.clock_ms);
  writer.number(static_cast<std::uint64_t>(record.floor_ms));
  return out;
}

std::optional<AnchorRecord> parse_anchor_record(ByteView bytes) {
  ByteReader reader(bytes);
  const auto version = reader.number<std::uint8_t>();
  AnchorRecord record;
  record.number = reader.number<std::uint64_t>();
  record.increments = reader.number<std::uint64_t>();
  record.first_wall_ms = static_cast<std::int64_t>(reader.number<std::uint64_t>());
  record.clock_ms = reader.number<std::uint64_t>();
  record.floor_ms = static_cast<std::int64_t>(reader.number<std::uint64_t>());
  return reader.done() && version == 1 ? std::optional(record) : std::nullopt;
}

std::int64_t tpm_floor_ms(const AnchorRecord& anchor, const roots::TpmClock& clock) {
  // After an unclean end the clock may fall back a little: then it explains nothing.
  if (clock.clock_ms <= anchor.clock_ms) return anchor.floor_ms;
  constexpr std::uint64_t kCenturyMs = 100ULL * 365 * 24 * 3600 * 1000;
  const std::uint64_t counted_ms = std::min(clock.clock_ms - anchor.clock_ms, kCenturyMs);
  return anchor.floor_ms + static_cast<std::int64_t>(counted_ms / 100 * 85);
}

void CounterWitness::adopt(const AnchorRecord& newest, const log::Point& point, bool settled,
                           const log::Point& vouched) {
  const std::lock_guard lock(mutex_);
  position_.newest = newest;
  noted_point_ = point;
  position_.point = vouched;
  settled_ = settled;
  sent_ = true;  // perhaps, by an earlier process
}

AnchorRecord CounterWitness::next(std::int64_t wall_ms, std::int64_t floor_ms) {
  AnchorRecord record;
  {
    const std::lock_guard lock(mutex_);
    record = position_.newest;
  }
  record.number += 1;
  record.increments += 1;
  if (record.first_wall_ms == 0) record.first_wall_ms = wall_ms;
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
  settled_ = sent_ = false;
}

Status CounterWitness::reach(std::int64_t wall_ms) {
  std::uint64_t wanted = 0;
  bool sent_before = false;
  {
    const std::lock_guard lock(mutex_);
    if (settled_) return {};
    wanted = position_.newest.number;
    sent_before = sent_;
  }
  const Status reached = [&]() -> Status {
    bool incremented = false;
    for (;;) {
      SR_ASSIGN(const std::uint64_t value, read());
      if (value == wanted && (incremented || sent_before)) return {};
      if (value == wanted)
        return {Reason::kWitnessReplaced,
                "the TPM's counter was moved to " + count(value) + " by somebody else"};
      if (value > wanted) {
        return {Reason::kVaultRolledBack, "the TPM's counter stands at " + count(value) +
                                              ", and the vault's newest "
                                              "anchor is " +
                                              count(wanted)};
      }
      if (value + 1 != wanted) {
        return {Reason::kWitnessReplaced, "the TPM's counter stands at " + count(value) +
                                              ", and the vault's newest "
                                              "anchor is " +
                                              count(wanted)};
      }
      if (incremented) return {Reason::kTpmUnavailable, "the TPM's counter did not move"};
      {
        const std::lock_guard lock(mutex_);
        sent_ = true;
      }
      incremented = true;
      // Whether it took place is what the next reading says.
      const Status sent = tpm_->increment_counter(index_, name_, secret_.view());
      if (!sent.ok() && !sent.is(Reason::kTpmUnavailable)) return sent;
    }
  }();
  const std::lock_guard lock(mutex_);
  position_.failing = !reached.ok();
  if (reached.ok()) {
    settled_ = true;
    position_.point = noted_point_;
    position_.moved_wall_ms = wall_ms;
    alarm_ = Status();
  } else if (reached.is(Reason::kVaultRolledBack) || reached.is(Reason::kWitnessReplaced) ||
             reached.is(Reason::kWitnessMissing)) {
    alarm_ = reached;
  }
  return reached;
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
