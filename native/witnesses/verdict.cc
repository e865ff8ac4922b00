#include "witnesses/verdict.h"

#include <algorithm>

namespace strongroom::store {
namespace {

std::string at(std::uint64_t generation) { return "generation " + std::to_string(generation); }

bool damaged(log::LogEnd end) {
  return end == log::LogEnd::kDamaged || end == log::LogEnd::kDamagedInside || end == log::LogEnd::kTooLong;
}

// A history that ends too early: cut at damage, or an older one.
Status too_short(const Evidence& evidence, const std::string& witness, std::uint64_t remembered) {
  if (damaged(evidence.end)) {
    return {Reason::kVaultTampered, "the vault does not authenticate after " +
                                        at(evidence.newest.generation) + ", and the " + witness +
                                        " remembers " + at(remembered)};
  }
  return {Reason::kVaultRolledBack, std::string("the vault ends at ") + at(evidence.newest.generation) +
                                        ", and the " + witness + " remembers " + at(remembered)};
}

Status judge_secret(const Evidence& evidence, const SecretEvidence& secret, const std::string& witness) {
  if (!secret.damage.ok()) return secret.damage;
  if (!secret.present && evidence.root_lost) return {};
  if (!secret.present)
    return {Reason::kWitnessMissing, "the " + witness + " holds no VaultHash for this store"};
  const std::uint64_t generation = secret.value->checkpoint.generation;
  switch (secret.standing) {
    case Standing::kContained:
      return {};
    case Standing::kAhead:
      return too_short(evidence, witness, generation);
    case Standing::kDiffers:
      return {Reason::kVaultTampered, "the " + witness + " remembers another history at " + at(generation)};
    case Standing::kForgotten:
      return {Reason::kWitnessReplaced, "the " + witness + " remembers " + at(generation) +
                                            ", which the vault's history does not contain"};
  }
  return {Reason::kInternal, "unknown standing"};
}

Status judge_counter(const Evidence& evidence, bool* increment_pending) {
  if ((evidence.expected & kWitnessTpm) == 0) return {};
  const CounterEvidence& counter = evidence.counter;
  if (!counter.damage.ok()) return evidence.root_lost ? Status() : counter.damage;
  if (!counter.newest) return {Reason::kVaultTampered, "the vault holds no anchor of the TPM"};
  const AnchorStanding standing = stand(*counter.newest, counter.tpm);
  *increment_pending = standing == AnchorStanding::kNotBegun || standing == AnchorStanding::kExtended;
  return explain(standing, *counter.newest, counter.tpm,
                 damaged(evidence.end) ? VaultEnd::kDamaged : VaultEnd::kWhole);
}

Status judge_tamper(const Evidence& evidence) {
  const TamperEvidence& tamper = evidence.tamper;
  if (!tamper.damage.ok()) return tamper.damage;
  const std::uint64_t generation = tamper.content->newest.generation;
  switch (tamper.standing) {
    case Standing::kContained:
    case Standing::kForgotten:  // merely old; the SecretStore vouches for the vault
      break;
    case Standing::kAhead:
      return too_short(evidence, "tamper file", generation);
    case Standing::kDiffers:
      return {Reason::kVaultTampered, "the tamper file remembers another history at " + at(generation)};
  }
  if (tamper.content->clean) return {};
  // Only an append that a crash cut short may leave damage: behind everything that is known to have been synced, and
  // only where the vault has commits that such an append could have held.
  const std::uint64_t witnessed = evidence.secret.value ? evidence.secret.value->checkpoint.generation : 0;
  const std::uint64_t synced = std::max({evidence.tamper_synced, witnessed, evidence.counter.witnessed});
  if (generation < synced || generation >= evidence.newest.generation) {
    return {Reason::kTamperFileTampered, "the tamper file does not authenticate after " + at(generation)};
  }
  return {};
}

}  // namespace

Verdict judge(const Evidence& evidence) {
  Verdict verdict;
  if ((evidence.expected & kWitnessSecretStore) != 0)
    verdict.status = judge_secret(evidence, evidence.secret, "SecretStore");
  if (!verdict.status.ok()) return verdict;
  if ((evidence.expected & kWitnessToken) != 0)
    verdict.status = judge_secret(evidence, evidence.token, "token");
  if (!verdict.status.ok()) return verdict;
  verdict.status = judge_counter(evidence, &verdict.increment_pending);
  if (!verdict.status.ok()) return verdict;
  if (evidence.end == log::LogEnd::kDamagedInside) {
    verdict.status = Status(Reason::kVaultTampered, "the vault does not authenticate after " +
                                                        at(evidence.newest.generation) +
                                                        ", and a later commit stands behind the damage");
    return verdict;
  }
  if (evidence.end == log::LogEnd::kTooLong) {
    verdict.status = Status(Reason::kVaultTampered, "more stands behind " + at(evidence.newest.generation) +
                                                        " of the vault than a crash can leave");
    return verdict;
  }
  if (evidence.tamper.present) {
    verdict.status = judge_tamper(evidence);
    if (!verdict.status.ok()) return verdict;
  } else if ((evidence.expected & kWitnessSecretStore) != 0) {
    verdict.tamper_file_anew = true;
  } else {
    verdict.status = Status(Reason::kWitnessMissing,
                            "the tamper file is missing, and no SecretStore vouches for the vault");
    return verdict;
  }
  verdict.tail_torn = evidence.end == log::LogEnd::kDamaged;
  return verdict;
}

}  // namespace strongroom::store
