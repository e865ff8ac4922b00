// Removal of a store, and of what is left of a store whose files are gone.
//
// Invariants:
// - A decommission that would leave an item behind is refused before it changes anything, unless its caller permits that.
// - The files go first, the root last but for persistence.bin. So the root proves who may repeat a decommission that was cut.
// - The root's absence is believed only where persistence.bin says that it is being removed.
#pragma once

#include "store/engine.h"

namespace strongroom::store {

class Removal {
 public:
  explicit Removal(Engine& engine) : store_(engine.state()) {}

  // Removes the store with its secrets, restartable at every step. After create_and_load_vault(), whether or not that
  // succeeded. kItemsMissing, before anything is changed, when something would be left behind, unless `allow_leftovers`.
  [[nodiscard]] Status decommission(const Credential& credential);
  // What decommission() did not find, as phrases.
  [[nodiscard]] const std::vector<std::string>& left_behind() const { return left_behind_; }
  // What is left of a store whose persistence.bin is gone: by `instance`, in the directory, the SecretStore, and the TPM or
  // the token that the options name. Instead of the other steps; changes nothing. kStoreExists where persistence.bin can be
  // read: then it names an authority, which decommission() asks.
  [[nodiscard]] Result<std::vector<Leftover>> find_leftovers();
  // Removes it; kNothingToDo when nothing is left, kLocked while a store uses it.
  [[nodiscard]] Status remove_leftovers();

 private:
  // What of a store can be removed now.
  struct Reach {
    bool root = false;
    bool secrets = false;
    std::vector<std::string> missing;
  };
  [[nodiscard]] Result<bool> root_is_gone();
  [[nodiscard]] Status reach_secrets(const Status& opened, Reach& reach);
  [[nodiscard]] Result<Reach> reach_items(const KeySlot& root, const Status& opened);
  [[nodiscard]] Status enter_removal(ProvisionState next);
  [[nodiscard]] Status remove_own(SecretName name);
  [[nodiscard]] Status remove_items(const Reach& reach);
  [[nodiscard]] Status remove_persistence();
  [[nodiscard]] Status remove_found();
  [[nodiscard]] Status lock_leftovers(const std::vector<Leftover>& found);

  Engine::State& store_;
  std::vector<std::string> left_behind_;
};

}  // namespace strongroom::store
