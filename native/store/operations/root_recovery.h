// A root that is lost or refused: recover() makes a new root key, reseal() seals a new root in the TPM that is there.
//
// Invariants:
// - The witnesses that are left have agreed, and the credential is proven, before anything is written.
// - The file comes before the root: a root that fits no slot would look like a replaced one. The witnesses come before the
//   root too: with it the store opens as usual, and must not find them missing.
// - Cut behind its commit, it is completed by the permit that began it.
#pragma once

#include "store/engine.h"

namespace strongroom::store {

class RootRecovery {
 public:
  explicit RootRecovery(Engine& engine) : store_(engine.state()) {}

  // After initialize_recovery() and initialize_storage_identifier(). Both leave the store open, and answer kNothingToDo where
  // the root opens the store, or where its kind has another remedy.
  //
  // Continuity stays unproven until a reanchor.
  [[nodiscard]] Status recover(const Credential& credential);
  // Under the PCRs of now. Continuity stays unproven only where the counter is lost too.
  [[nodiscard]] Status reseal(const Credential& credential);

 private:
  [[nodiscard]] Status validate_history() const;
  // The checkpoint that the credential is over: `present`, or the one in this record where the newest commit is of this kind.
  [[nodiscard]] Result<log::Checkpoint> accept(const Credential& credential, Purpose purpose,
                                               const log::Checkpoint& present, log::CommitKind kind,
                                               std::string_view record) const;

  Engine::State& store_;
};

}  // namespace strongroom::store
