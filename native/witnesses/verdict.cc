#include "witnesses/verdict.h"

#include <algorithm>

#include "witnesses/witness.h"

namespace strongroom::store {
namespace {

Status judge_end(const History& history) {
  if (history.end == log::LogEnd::kDamagedInside) {
    return {Reason::kVaultTampered, "the vault does not authenticate after " +
                                        at_generation(history.newest.generation) +
                                        ", and a later commit stands behind the damage"};
  }
  if (history.end == log::LogEnd::kTooLong) {
    return {Reason::kVaultTampered, "more stands behind " + at_generation(history.newest.generation) +
                                        " of the vault than a crash can leave"};
  }
  return {};
}

Status judge_those(Place place, const Evidence& evidence, const History& history, Verdict& verdict) {
  for (const std::unique_ptr<Observation>& each : evidence.found)
    if (each->kind().place == place) SR_TRY(each->judge(history, verdict));
  return {};
}

Status judge_all(const Evidence& evidence, const History& history, Verdict& verdict) {
  SR_TRY(judge_those(Place::kOutside, evidence, history, verdict));
  SR_TRY(judge_end(history));
  return judge_those(Place::kBeside, evidence, history, verdict);
}

}  // namespace

Observation* Evidence::of(const WitnessKind& kind) const {
  for (const std::unique_ptr<Observation>& each : found)
    if (&each->kind() == &kind) return each.get();
  return nullptr;
}

std::optional<log::Checkpoint> Evidence::witnessed() const {
  std::optional<log::Checkpoint> newest;
  for (const std::unique_ptr<Observation>& each : found) {
    const std::optional<log::Checkpoint> of = each->witnessed();
    if (of && (!newest || of->generation > newest->generation)) newest = of;
  }
  return newest;
}

std::optional<TimeStamp> Evidence::stamp() const {
  for (const std::unique_ptr<Observation>& each : found)
    if (const std::optional<TimeStamp> stamp = each->stamp()) return stamp;
  return std::nullopt;
}

Status Evidence::stamp_damage() const {
  for (const std::unique_ptr<Observation>& each : found) SR_TRY(each->stamp_damage());
  return {};
}

std::vector<UsedCheckpoint> Evidence::used_checkpoints() const {
  std::vector<UsedCheckpoint> used;
  for (const std::unique_ptr<Observation>& each : found) {
    for (const UsedCheckpoint& checkpoint : each->used_checkpoints())
      if (std::find(used.begin(), used.end(), checkpoint) == used.end()) used.push_back(checkpoint);
  }
  return used;
}

std::string_view Evidence::remembers(const UsedCheckpoint& checkpoint) const {
  for (const std::unique_ptr<Observation>& each : found) {
    const std::vector<UsedCheckpoint> used = each->used_checkpoints();
    if (std::find(used.begin(), used.end(), checkpoint) != used.end()) return each->kind().noun;
  }
  return {};
}

bool Evidence::names_key(std::uint32_t key_id) const {
  return std::any_of(found.begin(), found.end(),
                     [key_id](const auto& each) { return each->key_id() == key_id; });
}

bool Evidence::has_damaged_copy() const {
  return std::any_of(found.begin(), found.end(), [](const auto& each) { return each->has_damaged_copy(); });
}

bool Evidence::has_confirming() const {
  return std::all_of(found.begin(), found.end(),
                     [](const auto& each) { return !each->kind().confirms_alone || each->is_present(); });
}

CounterObservation* Evidence::counter() const {
  for (const std::unique_ptr<Observation>& each : found)
    if (CounterObservation* const counter = each->counter()) return counter;
  return nullptr;
}

Verdict judge(const Evidence& evidence) {
  History history = evidence.history;
  for (const std::unique_ptr<Observation>& each : evidence.found) {
    history.tamper_synced = std::max(history.tamper_synced, each->tamper_synced());
    history.is_confirmed_alone |= each->kind().confirms_alone;
  }
  Verdict verdict;
  verdict.status = judge_all(evidence, history, verdict);
  verdict.tail_torn = verdict.status.ok() && history.end == log::LogEnd::kDamaged;
  return verdict;
}

bool is_damaged(log::LogEnd end) {
  return end == log::LogEnd::kDamaged || end == log::LogEnd::kDamagedInside || end == log::LogEnd::kTooLong;
}

std::string at_generation(std::uint64_t generation) { return "generation " + std::to_string(generation); }

// A history that ends too early: cut at damage, or an older one.
Status ends_before(const History& history, std::string_view noun, std::uint64_t remembered) {
  const std::string remembers = ", and the " + std::string(noun) + " remembers " + at_generation(remembered);
  const std::string newest = at_generation(history.newest.generation);
  if (is_damaged(history.end))
    return {Reason::kVaultTampered, "the vault does not authenticate after " + newest + remembers};
  return {Reason::kVaultRolledBack, "the vault ends at " + newest + remembers};
}

Status differs_from(std::string_view noun, std::uint64_t remembered) {
  return {Reason::kVaultTampered,
          "the " + std::string(noun) + " remembers another history at " + at_generation(remembered)};
}

Status vault_is_of_former_key() {
  return {Reason::kVaultRolledBack,
          "the vault is sealed under a former DEK: the DEK was rotated after this copy was made"};
}

}  // namespace strongroom::store
