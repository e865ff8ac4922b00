#include "witnesses/witnesses.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "base/limits.h"
#include "witnesses/registry.h"
#include "witnesses/tamper_file/tamper_witness.h"

namespace strongroom::store {
namespace {

WitnessContext context_of(const Witnesses::Places& places, const WitnessKeys& keys) {
  return {places.directory, places.ring, places.secrets, places.protector, keys, places.tamper_capacity};
}

}  // namespace

Witnesses::Witnesses(const Places& places, Keys keys)
    : keys_(std::move(keys)),
      audit_(keys_.tamper.clone(), places.tamper_capacity),
      each_(make_witnesses(places.ring.core().witnesses, context_of(places, keys_))) {
  for (const std::unique_ptr<Witness>& witness : each_) {
    if (CounterWitness* const counter = witness->counter()) counter_ = counter;
    if (TamperWitness* const tamper = witness->tamper_file()) tamper_ = tamper;
  }
  if (tamper_ == nullptr) std::abort();  // the core data of every store expect it
}

bool Witnesses::has(Pace pace) const {
  return std::any_of(each_.begin(), each_.end(),
                     [pace](const auto& witness) { return witness->kind().pace == pace; });
}

std::string_view Witnesses::last_noun(Pace pace) const {
  std::string_view noun;
  for (const std::unique_ptr<Witness>& witness : each_)
    if (witness->kind().pace == pace) noun = witness->kind().noun;
  return noun;
}

std::uint64_t Witnesses::generation_of(Pace pace) const {
  std::uint64_t generation = UINT64_MAX;
  for (const std::unique_ptr<Witness>& witness : each_)
    if (witness->kind().pace == pace)
      generation = std::min(generation, witness->position().checkpoint.generation);
  return generation;
}

Status Witnesses::observe(Evidence& evidence) {
  for (const Place place : {Place::kOutside, Place::kBeside}) {
    for (const std::unique_ptr<Witness>& witness : each_) {
      if (witness->kind().place != place) continue;
      SR_ASSIGN(std::unique_ptr<Observation> found, witness->observe());
      evidence.found.push_back(std::move(found));
    }
  }
  return {};
}

void Witnesses::adopt(Evidence& evidence, std::deque<log::Checkpoint> witnessed) {
  // What VaultHash remembers, and what a frame names, was synced in the tamper file before.
  const std::optional<log::Checkpoint> newest = evidence.witnessed();
  const std::uint64_t synced = std::max(evidence.history.tamper_synced, newest ? newest->generation : 0);
  const MutexLock move(move_mutex_);
  for (const std::unique_ptr<Witness>& witness : each_) {
    Observation* const found = evidence.of(witness->kind());
    if (found == nullptr) continue;
    witness->adopt(*found, synced);
    const MutexLock lock(mutex_);
    for (const UsedCheckpoint& checkpoint : found->used_checkpoints()) add_used(checkpoint);
  }
  if (newest) witnessed.push_back(*newest);
  while (witnessed.size() > limits::kWitnessedCheckpointsMax) witnessed.pop_front();
  const MutexLock lock(mutex_);
  trim_used();  // only now: two witnesses keep the same ones in different order
  witnessed_ = std::move(witnessed);
}

void Witnesses::add_used(const UsedCheckpoint& checkpoint) {
  if (std::find(used_.begin(), used_.end(), checkpoint) == used_.end()) used_.push_back(checkpoint);
}

void Witnesses::burn(const UsedCheckpoint& checkpoint) {
  const MutexLock lock(mutex_);
  add_used(checkpoint);
  trim_used();
}

void Witnesses::trim_used() {
  while (used_.size() > kUsedCheckpointsMax) used_.erase(used_.begin());
}

void Witnesses::prepare_next(Keys next) {
  const MutexLock move(move_mutex_);
  const std::optional<TamperContent> file = tamper_->content();
  audit_.prepare_next(next.tamper.clone(), file ? &*file : nullptr);
  next_ = std::move(next);
}

void Witnesses::abandon_next() {
  const MutexLock move(move_mutex_);
  next_.reset();
  audit_.abandon_next();
}

void Witnesses::exclusively(const std::function<void()>& work) {
  const MutexLock lock(move_mutex_);
  work();
}

void Witnesses::adopt_next() {
  move_mutex_.assume_held();
  if (!next_) std::abort();
  keys_ = *std::exchange(next_, std::nullopt);
  audit_.adopt_next();
  for (const std::unique_ptr<Witness>& witness : each_) witness->rekeyed();
}

Status Witnesses::move(Which which) {
  const Status moved = try_move(which);
  if (moved.ok()) return {};
  return {Reason::kWitnessNotMoved, moved.error().detail, moved.error().system_error};
}

Status Witnesses::try_move(Which which, Foreign foreign) {
  const MutexLock lock(move_mutex_);
  const AuditTail::Rest rest = audit_.behind(tamper_->written());
  const log::Checkpoint checkpoint{rest.newest.generation, rest.newest.head};
  SR_TRY(move_each(which, Move{{checkpoint, rest.wall_ms, used_checkpoints()}, rest, foreign}));
  const MutexLock witnessed_lock(mutex_);
  if (witnessed_.empty() || !(witnessed_.back() == checkpoint)) {
    witnessed_.push_back(checkpoint);
    if (witnessed_.size() > limits::kWitnessedCheckpointsMax) witnessed_.pop_front();
  }
  return {};
}

Status Witnesses::move_each(Which which, const Move& move) {
  for (const Place place : {Place::kBeside, Place::kOutside}) {
    for (const std::unique_ptr<Witness>& witness : each_) {
      const WitnessKind& kind = witness->kind();
      if (kind.place == place && (kind.pace == Pace::kEachMove || which == Which::kAll))
        SR_TRY(witness->move(move));
    }
  }
  return {};
}

bool Witnesses::alarmed() const {
  return std::any_of(each_.begin(), each_.end(), [](const auto& witness) { return witness->alarmed(); });
}

Status Witnesses::alarm() const {
  for (const std::unique_ptr<Witness>& witness : each_) SR_TRY(witness->alarm());
  return {};
}

std::uint64_t Witnesses::tamper_synced() const { return tamper_->synced(); }

std::deque<log::Checkpoint> Witnesses::witnessed_checkpoints() const {
  const MutexLock lock(mutex_);
  return witnessed_;
}

std::vector<UsedCheckpoint> Witnesses::used_checkpoints() const {
  const MutexLock lock(mutex_);
  return used_;
}

bool prove_freshness(const Witnesses& witnesses) {
  const auto& each = witnesses.each();
  return std::any_of(each.begin(), each.end(),
                     [](const auto& witness) { return witness->kind().proves_freshness; });
}

bool confirm_alone(const Witnesses& witnesses) {
  const auto& each = witnesses.each();
  return std::any_of(each.begin(), each.end(),
                     [](const auto& witness) { return witness->kind().confirms_alone; });
}

}  // namespace strongroom::store
