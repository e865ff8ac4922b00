// The witnesses of a store, in the order of the registry.
//
// Invariants:
// - A witness moves only to a checkpoint that is durable in the vault, and those outside after the tamper file. So what a
//   `VaultHash` remembers is also in the tamper file, synced.
// - Tamper file and witness values are of the DEK that the vault file names, or of the one before it until their next move.
// Thread-safe; moves are serialised. What is asked of each() is serialised by the engine.
#pragma once

#include <deque>
#include <functional>
#include <string_view>

#include "witnesses/audit_tail.h"
#include "witnesses/verdict.h"
#include "witnesses/witness.h"

namespace strongroom::store {

class Witnesses {
 public:
  using Keys = WitnessKeys;
  // What they are of, as WitnessContext.
  struct Places {
    os::Directory& directory;
    KeyRing& ring;
    const std::unique_ptr<SecretStore>& secrets;
    const std::unique_ptr<KeyProtector>& protector;
    std::uint32_t tamper_capacity;
  };
  enum class Which : std::uint8_t { kFast, kAll };  // kAll: those too that are paced

  // Those that the ring's core data expect.
  Witnesses(const Places& places, Keys keys);

  // The durable commits that the next move will cover.
  [[nodiscard]] AuditTail& audit() { return audit_; }
  [[nodiscard]] const std::vector<std::unique_ptr<Witness>>& each() const { return each_; }
  [[nodiscard]] CounterWitness* counter() const { return counter_; }  // null without one
  // Of those with this pace: whether there is one, what the last is called, and what all of them hold.
  [[nodiscard]] bool has(Pace pace) const;
  [[nodiscard]] std::string_view last_noun(Pace pace) const;
  [[nodiscard]] std::uint64_t generation_of(Pace pace) const;

  // Before the vault is read.
  [[nodiscard]] Status observe(Evidence& evidence);
  // Continues from what was found, and from the checkpoints that the vault knows as witnessed.
  void adopt(Evidence& evidence, std::deque<log::Checkpoint> witnessed);
  void burn(const UsedCheckpoint& checkpoint);  // kept in VaultHash from the next move on

  // With no move under way.
  void exclusively(const std::function<void()>& work) SR_EXCLUDES(move_mutex_);
  // The vault moves to another DEK. abandon_next() waits for a move. adopt_next(), when the vault file is one of the next DEK:
  // exclusively, with the commit lock held; the next move writes everything under the next keys.
  void prepare_next(Keys next) SR_EXCLUDES(move_mutex_);
  void abandon_next() SR_EXCLUDES(move_mutex_);
  void adopt_next();

  // Moves the witnesses to the newest noted commit. kWitnessNotMoved, with the cause in the detail, where one fails.
  [[nodiscard]] Status move(Which which = Which::kFast);
  // The same with the reason of the witness that fails, for a start, which is refused by it.
  [[nodiscard]] Status try_move(Which which = Which::kFast, Foreign foreign = Foreign::kRefuse);

  [[nodiscard]] Status alarm() const;
  [[nodiscard]] bool alarmed() const;
  [[nodiscard]] std::uint64_t tamper_synced() const;
  [[nodiscard]] std::deque<log::Checkpoint> witnessed_checkpoints() const;
  [[nodiscard]] std::vector<UsedCheckpoint> used_checkpoints() const;

 private:
  [[nodiscard]] Status move_each(Which which, const Move& move);
  void add_used(const UsedCheckpoint& checkpoint) SR_REQUIRES(mutex_);
  void trim_used() SR_REQUIRES(mutex_);

  Mutex move_mutex_ SR_ACQUIRED_BEFORE(mutex_);  // one move at a time; the witnesses move under it
  Keys keys_;                                    // as the witnesses
  std::optional<Keys> next_ SR_GUARDED_BY(move_mutex_);
  AuditTail audit_;
  const std::vector<std::unique_ptr<Witness>> each_;
  CounterWitness* counter_ = nullptr;
  TamperWitness* tamper_ = nullptr;

  mutable Mutex mutex_;
  std::vector<UsedCheckpoint> used_ SR_GUARDED_BY(mutex_);
  std::deque<log::Checkpoint> witnessed_ SR_GUARDED_BY(mutex_);
};

// Whether one of them proves on its own that the state is the newest.
[[nodiscard]] bool prove_freshness(const Witnesses& witnesses);
// Whether one of them confirms a vault whose tamper file is missing.
[[nodiscard]] bool confirm_alone(const Witnesses& witnesses);

}  // namespace strongroom::store
