// What stands at an item's place in a SecretStore, seen from one store.
#pragma once

#include "secret_store/secret_store.h"

namespace strongroom::store {

enum class ItemState : std::uint8_t { kAbsent, kOwn, kForeign, kDamaged };
[[nodiscard]] Result<ItemState> item_state(SecretStore& store, SecretName name, const StorageId& own);

}  // namespace strongroom::store
