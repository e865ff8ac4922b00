// What was found of a witness at a start. It is read before the vault, watches the log go by, and judges the history that was
// read.
//
// Invariants:
// - judge() reads nothing but the observation and the history, so that a table of cases can test it.
// - What does not authenticate is not remembered: it is damage, which judge() reports.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "base/status.h"
#include "log/index.h"
#include "log/reader.h"
#include "time/time_tamper.h"
#include "witnesses/audit_tail.h"
#include "witnesses/vault_hash/vault_hash.h"

namespace strongroom::store {

struct History;
struct Verdict;
struct WitnessKind;
class CounterObservation;

// The log was read to its end.
struct ReadHistory {
  const log::LoadedLog& log;
  const log::Index& index;
  // The value of a system record.
  std::function<Result<std::optional<Bytes>>(std::string_view key)> record;
};

class Observation {
 public:
  explicit Observation(const WitnessKind& kind) : kind_(kind) {}
  Observation(const Observation&) = delete;
  Observation& operator=(const Observation&) = delete;
  Observation(Observation&&) = delete;
  Observation& operator=(Observation&&) = delete;
  virtual ~Observation() = default;

  [[nodiscard]] const WitnessKind& kind() const { return kind_; }
  [[nodiscard]] virtual bool is_present() const { return true; }
  // What it remembers, as far as it is believed.
  [[nodiscard]] virtual std::optional<log::Checkpoint> checkpoint() const { return std::nullopt; }
  // The DEK that it names; not authenticated.
  [[nodiscard]] virtual std::optional<std::uint32_t> key_id() const { return std::nullopt; }
  // The same checkpoint, of a witness that moves each time: it was durable in the vault and in the tamper file before.
  [[nodiscard]] virtual std::optional<log::Checkpoint> witnessed() const { return std::nullopt; }
  // The generation up to which the tamper file was synced when the witness moved; 0 where it does not say.
  [[nodiscard]] virtual std::uint64_t tamper_synced() const {
    const std::optional<log::Checkpoint> of = witnessed();
    return of ? of->generation : 0;
  }
  // The checkpoints that authority accepted, as far as it keeps them.
  [[nodiscard]] virtual std::vector<UsedCheckpoint> used_checkpoints() const { return {}; }
  // TIME_TAMPER, of a witness that keeps time, and why it cannot be believed.
  [[nodiscard]] virtual std::optional<TimeStamp> stamp() const { return std::nullopt; }
  [[nodiscard]] virtual Status stamp_damage() const { return {}; }
  [[nodiscard]] virtual bool has_damaged_copy() const { return false; }  // one of two; the next move mends it
  [[nodiscard]] virtual std::size_t audit_entries() const { return 0; }

  // The log goes by, perhaps more than once: which DEK the vault file is of, then snapshot and commits. `audit` has noted
  // each of them before.
  virtual void on_file(std::uint32_t /*key_id*/) {}
  virtual void on_snapshot(const log::SnapshotInfo& /*snapshot*/, const AuditTail& /*audit*/) {}
  virtual void on_commit(const log::CommitInfo& /*commit*/, const AuditTail& /*audit*/) {}
  [[nodiscard]] virtual Status conclude(const ReadHistory& /*history*/) { return {}; }

  // The reason why the vault does not extend this witness, or why the witness is none. Puts what follows from it otherwise
  // into the verdict.
  [[nodiscard]] virtual Status judge(const History& history, Verdict& verdict) const = 0;
  // Authority accepted the history: what contradicts it is not remembered any more.
  virtual void drop_what_contradicts() {}

  // What a TPM's counter is besides. Null for the others.
  [[nodiscard]] virtual CounterObservation* counter() { return nullptr; }

 private:
  const WitnessKind& kind_;
};

}  // namespace strongroom::store
