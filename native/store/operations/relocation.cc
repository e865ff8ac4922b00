#include "store/operations/relocation.h"

#include <algorithm>

#include "store/engine_state.h"

namespace strongroom::store {
namespace {

bool equal(const SecretStoreConfig& one, const SecretStoreConfig& other) {
  return one.type == other.type && (one.type != SecretStoreType::kFile || one.directory == other.directory);
}

}  // namespace

// The root key opens the store: where the options give a place that persistence.bin does not name, that is what is left to do.
Status nothing_to_recover(const Engine::State& store) {
  const KeySlot* const slot = root_slot(store.ring.header());
  if (store.options.secret_store && slot != nullptr) {
    const Result<SecretStoreConfig> named = store.protector->place_in(*slot);
    if (named.ok() && !equal(*named, store.secrets.config)) {
      return {Reason::kNothingToDo,
              "the root key is in " + place_text(store.secrets.config) +
                  " and opens the store; `strongroom relocate` makes persistence.bin name "
                  "that place"};
    }
  }
  return {Reason::kNothingToDo, "the root key is there and opens the store"};
}

Status Relocation::check_left(const SecretStoreConfig& place) {
  Result<std::unique_ptr<SecretStore>> left =
      open_secret_store(store_.environment, place, store_.ring.header().instance);
  if (!left.ok()) return {};
  for (const SecretName name : {SecretName::kRootKey, SecretName::kVaultHash, SecretName::kTimeTamper}) {
    const Result<std::optional<Secret>> found = (*left)->load(name);
    // What is there and cannot be read may be the newer one.
    const bool unread = found.is(Reason::kWitnessReplaced) || found.is(Reason::kRootUnavailable) ||
                        found.is(Reason::kPermissionDenied);
    if (unread) return found.status();
    if (!found.ok() || !*found || (*found)->storage_id != store_.ring.header().storage_id) continue;
    return {Reason::kInvalidOption, "secretStore: " + place_text(place) +
                                        ", which persistence.bin names, still holds items of this store; "
                                        "move them, so that no witness stays "
                                        "behind"};
  }
  return {};
}

Status Relocation::relocate() {
  const MutexLock maintenance(store_.compactor.mutex());
  SR_TRY(store_.life.accepts_writes());
  if (const ProtectorKind& kind = store_.protector->kind(); !kind.has_secrets())
    return {Reason::kNothingToDo, "protector '" + std::string(kind.name) + "' has no SecretStore"};
  SR_TRY(store_.headers.settled().status());
  MutexLock persistence(store_.headers.mutex());
  SR_TRY(store_.headers.settle());
  const KeySlot* const slot = root_slot(store_.ring.header());
  if (slot == nullptr) return {Reason::kInternal, "an open store has a key slot of its root"};
  SR_ASSIGN(const SecretStoreConfig named, store_.protector->place_in(*slot));
  if (equal(named, store_.secrets.config))
    return {Reason::kNothingToDo, "persistence.bin names " + place_text(named) + " already"};
  SR_TRY(check_left(named));
  SR_ASSIGN(KeySlot renamed, store_.protector->slot_naming(store_.secrets.config, *slot));
  PersistenceHeader next = store_.ring.header();
  const auto same = std::find_if(next.slots.begin(), next.slots.end(),
                                 [&renamed](const KeySlot& each) { return each.id == renamed.id; });
  if (same == next.slots.end()) return {Reason::kInternal, "the key slot of the root is gone"};
  *same = std::move(renamed);
  SystemRecordChanges changes;
  SR_TRY(store_.headers.replace_slots(next, changes, "which SecretStore it names"));
  persistence.unlock();
  return although_durable(store_.mover.move(Witnesses::Which::kAll));
}

}  // namespace strongroom::store
