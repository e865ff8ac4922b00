// Key protector 'external': a key service of the application wraps the root key. The witnesses are in a SecretStore.
//
// Invariants:
// - What the service did is known only by its answer. Where none came, nothing is told of the root: that is an outage.
// - A root key that was wrapped is unwrapped once before a slot is made of it.
#pragma once

#include "protectors/external/external_slot.h"
#include "protectors/key_protector.h"

namespace strongroom::store {

class ExternalProtector final : public KeyProtector {
 public:
  using KeyProtector::KeyProtector;

  static void describe_slot(const KeySlot& slot, SlotDescription& description);

  [[nodiscard]] Status plan() override;
  [[nodiscard]] Status provision() override { return {}; }
  [[nodiscard]] Result<SecretBytes> unwrap(const PersistenceHeader& header, const KeySlot& slot) override;
  [[nodiscard]] Status replace_lost(const Status& refused) override;
  [[nodiscard]] Result<KeySlot> wrap(const KeySlot& present, std::uint32_t slot_id, ByteView dek,
                                     const PersistenceHeader& next) override;
  [[nodiscard]] Status plan_new_root(PersistenceHeader& next) override;
  [[nodiscard]] Result<SecretStoreConfig> place_in(const KeySlot& slot) const override;
  [[nodiscard]] Result<KeySlot> slot_naming(const SecretStoreConfig& place, const KeySlot& slot) override;
  [[nodiscard]] ProtectorRemoval& removal() override { return removal_; }
  [[nodiscard]] std::unique_ptr<KeyProtector> beside(ProtectorContext context,
                                                     ProtectorOptions& options) const override;

 private:
  [[nodiscard]] Status check_functions() const;
  [[nodiscard]] Result<SecretBytes> root_of(ByteView wrapped, const PersistenceHeader& header,
                                            std::uint32_t slot_id) const;
  [[nodiscard]] Result<KeySlot> wrap_new_root(const SecretStoreConfig& place, std::uint32_t slot_id,
                                              ByteView dek, const PersistenceHeader& next) const;

  ProtectorRemoval
      removal_;  // nothing of the store is in the service: the wrapped root goes with persistence.bin
};

}  // namespace strongroom::store
