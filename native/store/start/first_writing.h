// From the verdict to an open store: the torn tail, the first commit, repairs, witnesses, threads.
//
// Invariant: what is refused up to here has changed nothing. From cut_tail() on each call continues what the one before began.
#pragma once

#include "store/engine.h"
#include "witnesses/witness.h"

namespace strongroom::store {

class FirstWriting {
 public:
  explicit FirstWriting(Engine::State& store) : store_(store) {}

  // Tries whether the witnesses can be written; then makes durable what was read, without a torn tail.
  [[nodiscard]] Status cut_tail();
  // Continues the history by this commit.
  [[nodiscard]] Status begin(log::CommitKind kind, SystemRecordChanges& changes, const TimeStamp& stamp);
  // Repairs damaged copies, moves every witness, and starts the threads. The store is open then, and its Opening gone.
  [[nodiscard]] Status finish(Foreign foreign);

 private:
  [[nodiscard]] Status try_witnesses();
  [[nodiscard]] Status remember_reanchor();
  [[nodiscard]] Status repair_copies();
  [[nodiscard]] Status move_witnesses(Foreign foreign);

  Engine::State& store_;
};

}  // namespace strongroom::store
