// The checks between the vault that was read and the first write.
#pragma once

#include "store/engine.h"

namespace strongroom::store {

class Validation {
 public:
  explicit Validation(Engine::State& store) : store_(store) {}

  // The persistence.bin that was opened is the one that the history names.
  [[nodiscard]] Status persistence_record() const;
  // TIME_TAMPER of the history, which the time keeper then has; then what is wrong with that of a witness.
  [[nodiscard]] Status stamp() const;
  // The clock against TIME_TAMPER, and against what witnesses know of time.
  [[nodiscard]] Status clock(const Now& now) const;
  // The age of TIME_TAMPER, unless a witness proves that the state is the newest. Notes a clock that was corrected.
  [[nodiscard]] Status age(const Now& now) const;
  // The root is lost: the verdict again, in which a witness that went with it may be absent.
  [[nodiscard]] Status verdict_without_root() const;

  // What a credential must be over. With a counter that was found, its value is part of it.
  [[nodiscard]] log::Checkpoint authority_checkpoint(const log::Checkpoint& checkpoint) const;
  [[nodiscard]] bool is_counter_unmoved() const;

 private:
  Engine::State& store_;
};

}  // namespace strongroom::store
