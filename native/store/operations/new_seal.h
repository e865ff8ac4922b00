// The commit of an administrative operation that seals the root again, and where the counter is lost makes a new one.
//
// Invariants:
// - As at COLDSTART: what a new counter will say is durable before it is made, so that no cut leaves a counter that the vault
//   does not know.
// - The commit that completes the header transaction is the last, so that an operation that was cut can be told by its own
//   commit being the newest.
#pragma once

#include "store/engine.h"
#include "witnesses/tpm_counter/counter_witness.h"

namespace strongroom::store {

class NewSeal {
 public:
  // Of a store with a counter.
  explicit NewSeal(Engine::State& store) : store_(store) {}

  // Leaves the store open.
  [[nodiscard]] Status commit(log::CommitKind kind, SystemRecordChanges& changes, const TimeStamp& stamp);
  [[nodiscard]] bool is_counter_lost() const;

 private:
  // The anchor that the counter continues from.
  [[nodiscard]] Result<AnchorRecord> plan_counter();
  [[nodiscard]] AnchorRecord continue_counter();
  [[nodiscard]] Status start_counter(const AnchorRecord& from, const log::Checkpoint& checkpoint);

  Engine::State& store_;
};

}  // namespace strongroom::store
