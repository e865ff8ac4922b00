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
#include <algorithm>

#include "store/engine_state.h"

namespace strongroom::store {
namespace {

bool equal(const SecretStoreConfig& one, const SecretStoreConfig& other) {
  return one.type == other.type && (one.type != SecretStoreType::kFile || one.directory == other.directory);
}

}  // namespace

// The root key opens the store: where the options give a place that persistence.bin does not name, that is what is left to do.
Status Engine::State::nothing_to_recover() {
  const KeySlot* const slot = root_slot(ring.header());
  if (options.secret_store && slot != nullptr) {
    const Result<SecretStoreConfig> named = protector->place_in(*slot);
    if (named.ok() && !equal(*named, secret_config)) {
      return {Reason::kNothingToDo,
              "the root key is in " + place_text(secret_config) +
                  " and opens the store; `strongroom relocate` makes persistence.bin name "
                  "that place"};
    }
  }
  return {Reason::kNothingToDo, "the root key is there and opens the store"};
}

Status Engine::State::check_left(const SecretStoreConfig& place) {
  Result<std::unique_ptr<SecretStore>> left = open_secret_store(environment, place, ring.header().instance);
  if (!left.ok()) return {};
  for (const SecretName name : {SecretName::kRootKey, SecretName::kVaultHash, SecretName::kTimeTamper}) {
    const Result<std::optional<Secret>> found = (*left)->load(name);
    // What is there and cannot be read may be the newer one.
    const bool unread = found.is(Reason::kWitnessReplaced) || found.is(Reason::kRootUnavailable) ||
                        found.is(Reason::kPermissionDenied);
    if (unread) return found.status();
    if (!found.ok() || !*found || (*found)->storage_id != ring.header().storage_id) continue;
    return {Reason::kInvalidOption, "secretStore: " + place_text(place) +
                                        ", which persistence.bin names, still holds items of this store; "
                                        "move them, so that no witness stays "
                                        "behind"};
  }
  return {};
}

Status Engine::relocate() {
  State& state = *state_;
  const MutexLock maintenance(state.compactor.mutex());
  SR_TRY(state.accepts_writes());
  if (const ProtectorKind& kind = state.protector->kind(); !kind.has_secrets())
    return {Reason::kNothingToDo, "protector '" + std::string(kind.name) + "' has no SecretStore"};
  SR_TRY(state.headers.settled().status());
  MutexLock persistence(state.headers.mutex());
  SR_TRY(state.headers.settle());
  const KeySlot* const slot = root_slot(state.ring.header());
  if (slot == nullptr) return {Reason::kInternal, "an open store has a key slot of its root"};
  SR_ASSIGN(const SecretStoreConfig named, state.protector->place_in(*slot));
  if (equal(named, state.secret_config))
    return {Reason::kNothingToDo, "persistence.bin names " + place_text(named) + " already"};
  SR_TRY(state.check_left(named));
  SR_ASSIGN(KeySlot renamed, state.protector->slot_naming(state.secret_config, *slot));
  PersistenceHeader next = state.ring.header();
  const auto same = std::find_if(next.slots.begin(), next.slots.end(),
                                 [&renamed](const KeySlot& each) { return each.id == renamed.id; });
  if (same == next.slots.end()) return {Reason::kInternal, "the key slot of the root is gone"};
  *same = std::move(renamed);
  SystemRecordChanges changes;
  SR_TRY(state.headers.replace_slots(next, changes, "which SecretStore it names"));
  persistence.unlock();
  return although_durable(state.mover.move(Witnesses::Which::kAll));
}

}  // namespace strongroom::store
