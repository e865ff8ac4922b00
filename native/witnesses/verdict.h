// The one rule, as a function: the vault must extend every witness. It may find witnesses that lag; it must not find
// one that leads, disagrees, or is missing. Pure, so that a table of cases can test it.
#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "witnesses/observation.h"

namespace strongroom::store {

// The history that was read, and what speaks for it besides.
struct History {
  log::Checkpoint newest;
  log::LogEnd end = log::LogEnd::kExact;
  // The generation up to which the tamper file was synced; in the evidence the newest that the vault's frames name.
  std::uint64_t tamper_synced = 0;
  bool is_root_lost =
      false;  // recover, reseal: a witness that is absent went with the root and is no verdict
  bool is_confirmed_alone = false;  // a witness that confirms a vault without tamper file is expected
};

// What was found at a start: the history, and an observation of each witness that the core data expect, those outside first.
struct Evidence {
  History history;
  std::vector<std::unique_ptr<Observation>> found;

  [[nodiscard]] Observation* of(const WitnessKind& kind) const;  // null before it was observed
  // The newest checkpoint of a witness that moves each time; of a witness that keeps time its stamp, and why there is none.
  [[nodiscard]] std::optional<log::Checkpoint> witnessed() const;
  [[nodiscard]] std::optional<TimeStamp> stamp() const;
  [[nodiscard]] Status stamp_damage() const;
  // The checkpoints that authority accepted, as far as witnesses keep them, and the noun of one that keeps this one.
  [[nodiscard]] std::vector<UsedCheckpoint> used_checkpoints() const;
  [[nodiscard]] std::string_view remembers(const UsedCheckpoint& checkpoint) const;
  [[nodiscard]] bool names_key(std::uint32_t key_id) const;
  [[nodiscard]] bool has_damaged_copy() const;
  [[nodiscard]] bool has_confirming() const;          // none of those that confirm a vault alone is absent
  [[nodiscard]] CounterObservation* counter() const;  // null without one
};

struct Verdict {
  Status status;
  bool tail_torn = false;          // the bytes behind the history are to be cut off
  bool tamper_file_anew = false;   // missing, and another witness confirms the vault: to be begun anew
  bool increment_pending = false;  // an anchor was cut off: the counter lags by its increment
};

[[nodiscard]] Verdict judge(const Evidence& evidence);

// For the judgement of one witness: the end of the vault, and what a witness with this noun contradicts.
[[nodiscard]] bool is_damaged(log::LogEnd end);
[[nodiscard]] std::string at_generation(std::uint64_t generation);
[[nodiscard]] Status ends_before(const History& history, std::string_view noun, std::uint64_t remembered);
[[nodiscard]] Status differs_from(std::string_view noun, std::uint64_t remembered);
[[nodiscard]] Status vault_is_of_former_key();

}  // namespace strongroom::store
