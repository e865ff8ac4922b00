// Key protector 'software': the root key is an item of the SecretStore. It keeps out who gets the files alone; whoever can
// read the SecretStore opens the store.
#pragma once

#include "protectors/key_protector.h"

namespace strongroom::store {

class SoftwareProtector final : public KeyProtector {
 public:
  using KeyProtector::KeyProtector;

  [[nodiscard]] Status plan() override;
  [[nodiscard]] Status provision() override;
  [[nodiscard]] Result<SecretBytes> unwrap(const PersistenceHeader& header, const KeySlot& slot) override;
  [[nodiscard]] Result<KeySlot> wrap(const KeySlot& present, std::uint32_t slot_id, ByteView dek,
                                     const PersistenceHeader& next) override;
  [[nodiscard]] Status plan_new_root(PersistenceHeader& next) override;
  [[nodiscard]] Status repair() override;
  [[nodiscard]] Result<SecretStoreConfig> place_in(const KeySlot& slot) const override;
  [[nodiscard]] Result<KeySlot> slot_naming(const SecretStoreConfig& place, const KeySlot& slot) override;
  [[nodiscard]] ProtectorRemoval& removal() override { return removal_; }
  void describe(ProtectorStatus& status) const override;
  static void describe_slot(const KeySlot& slot, SlotDescription& description);
  [[nodiscard]] std::unique_ptr<KeyProtector> beside(ProtectorContext context,
                                                     ProtectorOptions& options) const override;
  void forget_secrets() override;

 private:
  [[nodiscard]] Result<SecretBytes> kek_of(const KeySlot& slot, const PersistenceHeader& header) const;

  ProtectorRemoval removal_;  // the root leaves with the SecretStore's items
  SecretBytes planned_root_;  // until it is saved
  SecretBytes damaged_root_;  // the one in use, of which one copy was damaged; until it is repaired
  bool was_damaged_ = false;
};

}  // namespace strongroom::store
