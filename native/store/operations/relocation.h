// relocate(): persistence.bin names another place of the SecretStore.
//
// Invariants:
// - No authority is asked for. The store was opened by the root key and the witnesses in the new place, and they confirmed its
//   history. Whoever can open the store with a place in the options gains nothing when that place is written down.
// - There is one set of witnesses. The place that is named so far must not hold an item of this store any more: what stays
//   there would no longer be asked, and it may be the newer one. A place that cannot be reached holds nothing that a start could
//   ask either.
// - The change is part of the history, as every change of persistence.bin. A file that names the former place is
//   kPersistenceRolledBack from then on.
#pragma once

#include "store/engine.h"

namespace strongroom::store {

// Why recover() has nothing to do: the root key opens the store.
[[nodiscard]] Status nothing_to_recover(const Engine::State& store);

class Relocation {
 public:
  explicit Relocation(Engine& engine) : store_(engine.state()) {}

  // Writes the place of the SecretStore that the store was opened with into persistence.bin. kNothingToDo where that is named
  // already, kInvalidOption while the place that is named still holds items of the store.
  [[nodiscard]] Status relocate();

 private:
  [[nodiscard]] Status check_left(const SecretStoreConfig& place);

  Engine::State& store_;
};

}  // namespace strongroom::store
