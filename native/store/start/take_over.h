// A store of release 0.1, whose counter alone is its witness in the TPM, becomes one with a counter and an extend index.
//
// The counter is replaced by a new one, which begins above it. A copy of the store from before could otherwise wait, with an
// anchor that it reserved, until the old counter reaches that anchor, and open then: a counter confirms every such copy. Of
// the old counter only those copies have the secret, so that removing it ends them all, whoever makes what is there
// again.
//
// Order: the new indices in the TPM; the intent with their record; persistence.bin with their places and secrets and a root
// that is sealed to the new counter; the old counter removed; the record in its usual place. Cut before the file is replaced,
// the store is what it was; cut behind it, the next start ends it.
#pragma once

#include "store/engine_state.h"

namespace strongroom::store {

class TakeOver {
 public:
  // Of a store with a counter, at the end of its start.
  explicit TakeOver(Engine::State& store) : store_(store) {}

  // Completes one that was cut; nothing where none is needed.
  [[nodiscard]] Status run();

 private:
  [[nodiscard]] Status begin() SR_REQUIRES(store_.headers.mutex());
  [[nodiscard]] Status end() SR_REQUIRES(store_.headers.mutex());

  Engine::State& store_;
};

}  // namespace strongroom::store
