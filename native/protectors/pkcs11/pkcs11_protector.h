// Key protector 'pkcs11': a KEK in a token wraps the DEK. The witnesses are in a SecretStore beside it, and one in the token.
#pragma once

#include "protectors/key_protector.h"
#include "protectors/pkcs11/token_kek.h"

namespace strongroom::store {

class Pkcs11Removal final : public ProtectorRemoval {
 public:
  Pkcs11Removal(TokenKek& kek, const ProtectorContext& context) : kek_(kek), context_(context) {}

  [[nodiscard]] Result<bool> reach(const KeySlot& root, const Status& opened,
                                   std::vector<std::string>& missing) override;
  [[nodiscard]] Status remove_witness() override;
  [[nodiscard]] Status remove_root() override { return kek_.remove_all_but({}); }
  [[nodiscard]] Status find_leftovers(std::vector<Leftover>& found) override;
  [[nodiscard]] Status remove_leftovers(const std::vector<Leftover>& found) override;

 private:
  TokenKek& kek_;
  ProtectorContext context_;
};

class Pkcs11Protector final : public KeyProtector {
 public:
  Pkcs11Protector(const ProtectorKind& kind, ProtectorContext context)
      : KeyProtector(kind, std::move(context)), kek_(this->context()), removal_(kek_, this->context()) {}

  [[nodiscard]] Status refuse_leftovers(const ParsedPersistence* interrupted) override;
  [[nodiscard]] Status plan() override;
  [[nodiscard]] Status provision() override;
  [[nodiscard]] Result<SecretBytes> unwrap(const PersistenceHeader& header, const KeySlot& slot) override {
    return kek_.open(header, slot);
  }
  // The token may be made before a restore: it is no error when it is not there.
  [[nodiscard]] Status replace_lost(const Status& refused) override;
  void adopt(const KeySlot& slot) override { kek_.adopt(slot); }
  [[nodiscard]] Result<KeySlot> wrap(const KeySlot& /*present*/, std::uint32_t slot_id, ByteView dek,
                                     const PersistenceHeader& /*next*/) override {
    return kek_.wrap(slot_id, dek);
  }
  [[nodiscard]] Result<SecretStoreConfig> place_in(const KeySlot& slot) const override;
  [[nodiscard]] Result<KeySlot> slot_naming(const SecretStoreConfig& place, const KeySlot& slot) override;
  [[nodiscard]] ProtectorRemoval& removal() override { return removal_; }
  void describe(ProtectorStatus& status) const override;
  static void describe_slot(const KeySlot& slot, SlotDescription& description);
  [[nodiscard]] std::unique_ptr<KeyProtector> beside(ProtectorContext context,
                                                     ProtectorOptions& options) const override;
  [[nodiscard]] TokenKek* token_kek() override { return &kek_; }
  [[nodiscard]] SecretStore* witness_store() override { return kek_.store(); }

 private:
  TokenKek kek_;
  Pkcs11Removal removal_;
};

}  // namespace strongroom::store
