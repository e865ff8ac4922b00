#include "protectors/registry.h"

#include <algorithm>
#include <array>
#include <cstdlib>

#include "protectors/external/external_protector.h"
#include "protectors/pkcs11/pkcs11_protector.h"
#include "protectors/software/software_protector.h"
#include "protectors/tpm/tpm_protector.h"

namespace strongroom::store {
namespace {

template <typename Protector>
std::unique_ptr<KeyProtector> make(const ProtectorKind& kind, ProtectorContext context) {
  return std::make_unique<Protector>(kind, std::move(context));
}

const std::array kKinds{
    ProtectorKind{ProtectorType::kSoftware, SlotType::kSoftware, "software", false, kWitnessSecretStore,
                  false, SecretName::kRootKey, "", RootRepair::kRecover, "", make<SoftwareProtector>,
                  SoftwareProtector::describe_slot},
    ProtectorKind{ProtectorType::kTpm, SlotType::kTpm, "tpm", true, kWitnessTpm, true, std::nullopt,
                  "the NV indices in the TPM", RootRepair::kReseal,
                  "the root of this store is in a TPM; `strongroom reseal` seals it anew", make<TpmProtector>,
                  TpmProtector::describe_slot},
    ProtectorKind{ProtectorType::kPkcs11, SlotType::kPkcs11, "pkcs11", true,
                  kWitnessSecretStore | kWitnessToken, true, SecretName::kVaultHash, "what is in the token",
                  RootRepair::kRestore,
                  "the root of this store is in a token; `strongroom restore` gives it a new one",
                  make<Pkcs11Protector>, Pkcs11Protector::describe_slot},
    ProtectorKind{ProtectorType::kExternal, SlotType::kExternal, "external", true, kWitnessSecretStore, true,
                  SecretName::kVaultHash, "", RootRepair::kRecover, "", make<ExternalProtector>,
                  ExternalProtector::describe_slot},
};

}  // namespace

const ProtectorKind& kind_of(ProtectorType type) {
  for (const ProtectorKind& kind : kKinds)
    if (kind.type == type) return kind;
  std::abort();  // not one of the enumerators
}

const ProtectorKind* kind_of(const KeySlot& slot) {
  const auto kind = std::find_if(kKinds.begin(), kKinds.end(),
                                 [&slot](const ProtectorKind& each) { return each.slot == slot.type; });
  return kind == kKinds.end() ? nullptr : &*kind;
}

const KeySlot* root_slot(const PersistenceHeader& header) {
  const auto slot = std::find_if(header.slots.begin(), header.slots.end(),
                                 [](const KeySlot& each) { return kind_of(each) != nullptr; });
  return slot == header.slots.end() ? nullptr : &*slot;
}

SlotDescription describe_root_slot(const PersistenceHeader& header) {
  SlotDescription description;
  const KeySlot* const slot = root_slot(header);
  if (slot == nullptr) return description;
  const ProtectorKind& kind = *kind_of(*slot);
  description.protector = kind.type;
  kind.describe_slot(*slot, description);
  return description;
}

}  // namespace strongroom::store
