#include "protectors/key_protector.h"

namespace strongroom::store {

Status KeyProtector::plan_new_root(PersistenceHeader& /*next*/) {
  return {Reason::kInternal, "this protector gets a new root by another operation"};
}

Result<SecretStoreConfig> KeyProtector::place_in(const KeySlot& /*slot*/) const {
  return Status(Reason::kInternal, "this protector has no SecretStore");
}

Result<KeySlot> KeyProtector::slot_naming(const SecretStoreConfig& /*place*/, const KeySlot& /*slot*/) {
  return Status(Reason::kInternal, "this protector has no SecretStore");
}

}  // namespace strongroom::store
