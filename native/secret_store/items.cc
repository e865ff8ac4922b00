#include "secret_store/items.h"

namespace strongroom::store {

Result<ItemState> item_state(SecretStore& store, SecretName name, const StorageId& own) {
  const Result<std::optional<Secret>> found = store.load(name);
  if (found.is(Reason::kWitnessReplaced) || found.is(Reason::kRootUnavailable)) return ItemState::kDamaged;
  if (!found.ok()) return found.status();
  if (!*found) return ItemState::kAbsent;
  return (*found)->storage_id == own ? ItemState::kOwn : ItemState::kForeign;
}

}  // namespace strongroom::store
