// Key protector 'tpm': a TPM seals the root to the store's counter, the selected PCRs and a PIN.
#pragma once

#include "protectors/key_protector.h"
#include "protectors/tpm/sealed_root.h"

namespace strongroom::store {

class TpmRemoval final : public ProtectorRemoval {
 public:
  TpmRemoval(SealedRoot& root, const ProtectorContext& context) : root_(root), context_(context) {}

  [[nodiscard]] Result<bool> is_removed() override;
  [[nodiscard]] Result<bool> reach(const KeySlot& root, const Status& opened,
                                   std::vector<std::string>& missing) override;
  [[nodiscard]] Status remove_root() override { return root_.indices().remove(); }
  [[nodiscard]] Status find_leftovers(std::vector<Leftover>& found) override;
  [[nodiscard]] Status remove_leftovers(const std::vector<Leftover>& found) override;

 private:
  SealedRoot& root_;
  ProtectorContext context_;
};

class TpmProtector final : public KeyProtector {
 public:
  TpmProtector(const ProtectorKind& kind, ProtectorContext context)
      : KeyProtector(kind, std::move(context)), root_(this->context()), removal_(root_, this->context()) {}

  [[nodiscard]] Status refuse_leftovers(const ParsedPersistence* interrupted) override;
  // The root is sealed to the value that the counter is about to get, so that an interrupted COLDSTART can be told from files
  // of that time which were put back later.
  [[nodiscard]] Status plan() override;
  [[nodiscard]] Status provision() override;
  [[nodiscard]] Result<SecretBytes> unwrap(const PersistenceHeader& header, const KeySlot& slot) override {
    return root_.open(header, slot);
  }
  [[nodiscard]] Status replace_lost(const Status& refused) override;
  void adopt(const KeySlot& slot) override { root_.adopt(slot); }
  [[nodiscard]] Result<KeySlot> wrap(const KeySlot& /*present*/, std::uint32_t slot_id, ByteView dek,
                                     const PersistenceHeader& next) override {
    return root_.wrap(slot_id, dek, next);
  }
  [[nodiscard]] ProtectorRemoval& removal() override { return removal_; }
  void describe(ProtectorStatus& status) const override;
  static void describe_slot(const KeySlot& slot, SlotDescription& description);
  [[nodiscard]] std::unique_ptr<KeyProtector> beside(ProtectorContext context,
                                                     ProtectorOptions& options) const override;
  [[nodiscard]] Status shut_down() override { return root_.tpm()->shut_down(); }
  void forget_secrets() override { root_.forget_pin(); }
  [[nodiscard]] SealedRoot* sealed_root() override { return &root_; }

 private:
  SealedRoot root_;
  TpmRemoval removal_;
};

}  // namespace strongroom::store
