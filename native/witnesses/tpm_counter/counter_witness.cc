#include "witnesses/tpm_counter/counter_witness.h"

#include <utility>

#include "base/duration.h"
#include "protectors/tpm/sealed_root.h"
#include "witnesses/verdict.h"

namespace strongroom::store {
namespace {

// For how long the TPM is believed to be as it was left. Anchors that follow each other closely need no reading in between.
constexpr std::uint64_t kLeftBelievedMs = 1000;

bool recent(std::uint64_t then_ms, std::uint64_t now_ms) {
  return now_ms >= then_ms && now_ms - then_ms < kLeftBelievedMs;
}

bool may_hold_anchor(const log::CommitInfo& commit) {
  using log::CommitKind;
  const bool first = commit.kind == CommitKind::kOpen && commit.checkpoint.generation == 1;
  return first || commit.kind == CommitKind::kAnchor || commit.kind == CommitKind::kClose ||
         commit.kind == CommitKind::kReanchor || commit.kind == CommitKind::kReseal ||
         commit.kind == CommitKind::kTakeOver;
}

}  // namespace

void CounterObservation::on_snapshot(const log::SnapshotInfo& snapshot, const AuditTail& /*audit*/) {
  places_ = {{snapshot.checkpoint, log::CommitKind::kSnapshotHead}};
}

void CounterObservation::on_commit(const log::CommitInfo& commit, const AuditTail& /*audit*/) {
  if (may_hold_anchor(commit)) places_.emplace_back(commit.checkpoint, commit.kind);
}

Status CounterObservation::conclude(const ReadHistory& history) {
  // The one that speaks of the indices in the core data.
  const bool is_taken_over = has_extend && history.index.find(kAnchorNextKey) != nullptr;
  const std::string_view key = is_taken_over ? kAnchorNextKey : kAnchorKey;
  SR_ASSIGN(const std::optional<Bytes> anchor, history.record(key));
  newest = anchor ? parse_anchor_record(*anchor) : std::nullopt;
  const log::Record* const record = history.index.find(key);
  anchor_generation_ = record != nullptr ? std::optional(record->generation()) : std::nullopt;
  snapshot_generation_ = history.log.snapshot.generation;
  weigh();
  return {};
}

void CounterObservation::weigh() {
  anchored_.reset();
  if (!anchor_generation_ || !newest) return;
  const AnchorStanding standing = stand(*newest, tpm);
  AnchoredCommit& found = anchored_.emplace();
  found.checkpoint.generation = *anchor_generation_;
  found.settled = standing == AnchorStanding::kComplete;
  // Before the TPM moves for an ordinary anchor, and before a snapshot is written, the tamper file is synced; an
  // administrative operation names the counter as it stands, and only the anchor behind it moves the witnesses.
  bool moved_before = *anchor_generation_ <= snapshot_generation_;
  // The anchor before it; the zero checkpoint when a compaction has taken that commit away.
  log::Checkpoint before;
  for (const auto& [place, kind] : places_) {
    if (place.generation < found.checkpoint.generation && kind != log::CommitKind::kSnapshotHead)
      before = place;
    if (place.generation != found.checkpoint.generation) continue;
    found.checkpoint = place;
    moved_before |= kind == log::CommitKind::kAnchor || kind == log::CommitKind::kClose;
  }
  const bool moved = found.settled || standing == AnchorStanding::kExtended;
  synced = moved && moved_before ? found.checkpoint.generation : 0;
  found.confirmed = found.settled ? found.checkpoint : before;
}

Status CounterObservation::judge(const History& history, Verdict& verdict) const {
  if (!damage.ok()) return history.is_root_lost ? Status() : damage;
  if (!newest) return {Reason::kVaultTampered, "the vault holds no anchor of the TPM"};
  const AnchorStanding standing = stand(*newest, tpm);
  verdict.increment_pending = standing == AnchorStanding::kNotBegun || standing == AnchorStanding::kExtended;
  return explain(standing, *newest, tpm, is_damaged(history.end) ? VaultEnd::kDamaged : VaultEnd::kWhole);
}

bool CounterObservation::is_unmoved() const {
  if (!damage.ok()) return true;
  return newest && explain(stand(*newest, tpm), *newest, tpm).ok();
}

void CounterWitness::connect() {
  const PersistenceHeader& header = ring_.header();
  const CoreData& core = ring_.core();
  const Digest label = index_label(header.instance, header.storage_id);
  tpm_ = protector_->sealed_root()->tpm();
  counter_ = NvIndex{core.counter_index, roots::counter_name(core.counter_index, label),
                     core.counter_secret.clone()};
  extend_.reset();
  if (core.extend_secret.empty()) return;
  extend_ =
      NvIndex{core.extend_index, roots::extend_name(core.extend_index, label), core.extend_secret.clone()};
}

void CounterWitness::renew() {
  connect();
  left_.reset();
  clock_read_boot_ms_.reset();
  const MutexLock lock(mutex_);
  position_ = {};
  newest_ = {};
  alarm_ = Status();
  alarmed_ = false;
}

Result<std::unique_ptr<Observation>> CounterWitness::observe() {
  auto found = std::make_unique<CounterObservation>(kind());
  found->has_extend = extend_.has_value();
  // Whatever bears its name in another TPM was made there by somebody else, or by a reseal that was cut.
  if (protector_->sealed_root()->is_another_tpm()) {
    found->damage = Status(Reason::kWitnessReplaced, "this is another TPM than the counter's");
  } else if (const Result<TpmObservation> value = read(); value.ok()) {
    found->tpm = *value;
  } else if (value.is(Reason::kWitnessMissing) || value.is(Reason::kWitnessReplaced) ||
             value.is(Reason::kTpmRefused)) {
    found->damage = value.status();
  } else {
    return value.status();
  }
  return std::unique_ptr<Observation>(std::move(found));
}

Status CounterWitness::check_time(const Observation& found, const Now& now, std::uint64_t tolerance_ms) {
  const std::optional<AnchorRecord>& anchor = static_cast<const CounterObservation&>(found).newest;
  if (!anchor) return {};
  SR_ASSIGN(const roots::TpmClock clock, tpm_->clock());
  const std::int64_t behind_ms = tpm_floor_ms(*anchor, clock) - now.wall_ms;
  if (behind_ms <= static_cast<std::int64_t>(tolerance_ms)) return {};
  const std::string behind = duration_text(static_cast<std::uint64_t>(behind_ms));
  if (clock.clock_ms <= anchor->clock_ms)
    return {Reason::kClockRolledBack, "the system clock is " + behind + " behind the newest anchor"};
  return {
      Reason::kClockRolledBack,
      "the TPM's clock counted " + duration_text(clock.clock_ms - anchor->clock_ms) +
          " since the newest anchor, and the system clock is " + behind +
          " behind that, though not behind the time that the store remembers: the system clock is wrong, or "
          "the TPM's was set forward (TPM2_ClockSet)"};
}

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

void CounterWitness::start_from(const AnchorRecord& newest, const log::Checkpoint& checkpoint,
                                Reached reached, const log::Checkpoint& confirmed) {
  const MutexLock lock(mutex_);
  newest_ = newest;
  noted_checkpoint_ = checkpoint;
  position_.checkpoint = confirmed;
  settled_ = reached == Reached::kByTpm;
  left_.reset();
}

void CounterWitness::adopt_anchor(const CounterObservation& found) {
  const std::optional<AnchoredCommit>& anchored = found.anchored();
  if (!anchored) return;
  start_from(*found.newest, anchored->checkpoint, anchored->settled ? Reached::kByTpm : Reached::kUnknown,
             anchored->confirmed);
}

AnchorRecord CounterWitness::next(const StorageId& storage_id, const Digest& head, const Now& now,
                                  std::int64_t floor_ms) {
  AnchorRecord record;
  {
    const MutexLock lock(mutex_);
    record = newest_;
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
  newest_ = record;
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
    wanted = newest_;
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
    newest = newest_;
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

WitnessPosition CounterWitness::position() const {
  const MutexLock lock(mutex_);
  return position_;
}

AnchorRecord CounterWitness::newest() const {
  const MutexLock lock(mutex_);
  return newest_;
}

Status CounterWitness::alarm() const {
  const MutexLock lock(mutex_);
  return alarm_;
}

}  // namespace strongroom::store
