#include "protectors/software/software_protector.h"

#include <utility>

#include "protectors/registry.h"
#include "protectors/software/software_slot.h"

namespace strongroom::store {

Status SoftwareProtector::plan() {
  context().ring.planned_core().witnesses = kWitnessTamperFile | kind().witnesses;
  return plan_new_root(context().ring.planned_header());
}

Status SoftwareProtector::plan_new_root(PersistenceHeader& next) {
  const std::uint32_t slot_id = context().next_slot_id();
  planned_root_ = SecretBytes(crypto::kKeyBytes);
  crypto::random_bytes(planned_root_.span());
  std::erase_if(next.slots, [this](const KeySlot& slot) { return kind_of(slot) == &kind(); });
  next.slots.push_back(wrap_dek(slot_id, kind().slot, encode_software_parameters(context().secret_config),
                                software_kek(planned_root_.view(), next.storage_id).view(),
                                context().ring.dek().view(), next.storage_id, next.key_id));
  return {};
}

Status SoftwareProtector::provision() {
  const SecretBytes root = std::exchange(planned_root_, {});
  return context().secrets->save(SecretName::kRootKey, context().ring.header().storage_id, root.view());
}

Status SoftwareProtector::repair() {
  if (damaged_root_.empty()) return {};
  SR_TRY(context().secrets->save(SecretName::kRootKey, context().ring.header().storage_id,
                                 damaged_root_.view()));
  damaged_root_ = SecretBytes();
  return {};
}

Result<SecretBytes> SoftwareProtector::unwrap(const PersistenceHeader& header, const KeySlot& slot) {
  SR_ASSIGN(std::optional<Secret> root, context().secrets->load(SecretName::kRootKey));
  if (!root) {
    return Status(Reason::kRootUnavailable, "the SecretStore (" + place_text(context().secret_config) +
                                                ") holds no RootKey for the instance '" + header.instance +
                                                "'");
  }
  if (root->storage_id != header.storage_id) {
    return Status(Reason::kWitnessReplaced, "the SecretStore's RootKey for the instance '" + header.instance +
                                                "' belongs to another store");
  }
  bool fits = false;
  Result<SecretBytes> opened = unwrap_dek(slot, software_kek(root->value.view(), header.storage_id).view(),
                                          header.storage_id, header.key_id, &fits);
  if (!fits) {
    return Status(Reason::kPersistenceTampered,
                  "the RootKey of this store does not fit the key slot in persistence.bin");
  }
  if (!opened.ok()) return opened;
  was_damaged_ = root->one_copy_damaged;
  if (was_damaged_) damaged_root_ = std::move(root->value);
  return opened;
}

// Of the root key that opens the slot now.
Result<SecretBytes> SoftwareProtector::kek_of(const KeySlot& slot, const PersistenceHeader& header) const {
  SR_ASSIGN(const std::optional<Secret> root, context().secrets->load(SecretName::kRootKey));
  if (!root || root->storage_id != header.storage_id)
    return Status(Reason::kRootUnavailable, "the SecretStore holds no RootKey of this store any more");
  SecretBytes kek = software_kek(root->value.view(), header.storage_id);
  bool fits = false;
  const Status opened = unwrap_dek(slot, kek.view(), header.storage_id, header.key_id, &fits).status();
  if (!fits) return Status(Reason::kRootUnavailable, "the RootKey in the SecretStore is not this store's");
  SR_TRY(opened);
  return kek;
}

Result<KeySlot> SoftwareProtector::wrap(const KeySlot& present, std::uint32_t slot_id, ByteView dek,
                                        const PersistenceHeader& next) {
  SR_ASSIGN(const SecretBytes kek, kek_of(present, context().ring.header()));
  return wrap_dek(slot_id, kind().slot, present.parameters, kek.view(), dek, next.storage_id, next.key_id);
}

Result<SecretStoreConfig> SoftwareProtector::place_in(const KeySlot& slot) const {
  return parse_software_parameters(slot.parameters);
}

Result<KeySlot> SoftwareProtector::slot_naming(const SecretStoreConfig& place, const KeySlot& slot) {
  const PersistenceHeader& header = context().ring.header();
  SR_ASSIGN(const SecretBytes kek, kek_of(slot, header));
  return wrap_dek(slot.id, kind().slot, encode_software_parameters(place), kek.view(),
                  context().ring.dek().view(), header.storage_id, header.key_id);
}

void SoftwareProtector::forget_secrets() {
  planned_root_ = SecretBytes();
  damaged_root_ = SecretBytes();
}

void SoftwareProtector::describe(ProtectorStatus& status) const { status.root_repaired = was_damaged_; }

void SoftwareProtector::describe_slot(const KeySlot& slot, SlotDescription& description) {
  Result<SecretStoreConfig> place = parse_software_parameters(slot.parameters);
  if (place.ok()) description.secret_store = *std::move(place);
}

std::unique_ptr<KeyProtector> SoftwareProtector::beside(ProtectorContext context,
                                                        ProtectorOptions& /*options*/) const {
  return std::make_unique<SoftwareProtector>(kind(), std::move(context));
}

}  // namespace strongroom::store
