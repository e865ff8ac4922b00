// COLDSTART: the parts of a store in the order in which they are made.
//
// Invariants:
// - persistence.bin comes first, in state `provisioning`, so that everything after it is known to belong to this attempt, and
//   it is completed last: before that the next start begins again, behind it the store opens as usual.
// - Nothing is made over what is left of a store: what remembers more than an initial checkpoint is kPartialRestore.
// - A refusal leaves the disk as it was.
#pragma once

#include <optional>

#include "store/engine.h"

namespace strongroom::store {

class ColdStart {
 public:
  explicit ColdStart(Engine::State& store) : store_(store) {}

  // Refuses leftovers that remember more than their initial checkpoint, and locks what copies share.
  [[nodiscard]] Status validate_secret_store();
  // persistence.bin, the root, and the witnesses of the empty history.
  [[nodiscard]] Status provision();
  // vault.bin with an empty snapshot.
  [[nodiscard]] Status create_vault();
  // The first commit. It names the persistence.bin that completes the provisioning.
  [[nodiscard]] Status commit_first();
  // The directories that this COLDSTART made, where it ends before the store is open.
  void take_back();

 private:
  [[nodiscard]] Status check_options(const ProtectorKind& kind) const;
  [[nodiscard]] Status open_secrets(const ProtectorKind& kind);
  [[nodiscard]] Status lock_planned(const std::optional<StorageId>& planned, const ProtectorKind& kind);
  [[nodiscard]] Status refuse_items(const std::optional<StorageId>& planned);
  [[nodiscard]] Status refuse_token_item(const std::optional<StorageId>& planned);
  [[nodiscard]] Status plan_password_slot();

  Engine::State& store_;
};

}  // namespace strongroom::store
