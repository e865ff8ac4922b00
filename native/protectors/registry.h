// The kinds of key protectors: the one place that names them all.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "protectors/external/options.h"
#include "protectors/key_protector.h"
#include "protectors/pkcs11/options.h"
#include "protectors/tpm/options.h"

namespace strongroom::store {

// What holds the root key in everyday use.
enum class ProtectorType : std::uint8_t { kSoftware, kTpm, kPkcs11, kExternal };

// What says which kind it is, and what each kind alone reads.
struct KindOptions {
  // At COLDSTART, when absent, kSoftware; at WARMSTART what the store has, and another one is kInvalidOption.
  std::optional<ProtectorType> protector;
  TpmOptions tpm;
  Pkcs11Options pkcs11;
  ExternalOptions external;

  // A protector of these options waits for functions of the application.
  [[nodiscard]] bool asks_application() const { return external.wrap || external.unwrap; }
};

struct ProtectorOptions : KindOptions {
  std::string directory;  // of the store; absolute
  std::string instance = "default";
  // Needed at COLDSTART by a kind that has a SecretStore. At WARMSTART, when absent, the place that the key slot names.
  std::optional<SecretStoreConfig> secret_store;
  crypto::Argon2Parameters argon2;  // of what is stretched anew

  // Those of a kind that were not known before; without a type the earlier ones stay.
  void take_late(KindOptions late) {
    if (late.protector) static_cast<KindOptions&>(*this) = std::move(late);
  }
};

struct ProtectorStatus {
  ProtectorType protector = ProtectorType::kSoftware;
  std::optional<TpmStatus> tpm;
  std::optional<TokenStatus> token;
  bool root_repaired = false;  // one of two copies of the root was damaged
};

// What a key slot says of its protector, before anything has authenticated it. A slot that cannot be read says no more than
// its kind.
struct SlotDescription {
  ProtectorType protector = ProtectorType::kSoftware;
  std::optional<TpmSlotStatus> tpm;
  std::optional<TokenSlotStatus> token;
  std::optional<SecretStoreConfig> secret_store;
};

// Which administrative operation gives a store a new root.
enum class RootRepair : std::uint8_t { kRecover, kReseal, kRestore };

inline constexpr std::uint8_t kWitnessesOfProtectors = kWitnessSecretStore | kWitnessTpm | kWitnessToken;

struct ProtectorKind {
  ProtectorType type;
  SlotType slot;
  std::string_view name;
  // Without a backup password, the end of its device is the end of the store. So it has to be refused in so many words.
  bool needs_recovery_choice;
  std::uint8_t witnesses;  // of kWitnessesOfProtectors
  // The root is one for every copy of a store's files, so that copies are told by the storage id.
  bool is_shared_by_copies;
  // Of a kind that has a SecretStore: the item that is removed with the root, and so tells the right SecretStore.
  std::optional<SecretName> last_item;
  std::string_view items;  // where its root and its witness are: "the NV indices in the TPM"
  RootRepair repair;
  std::string_view other_repair;  // why recover() has nothing to do here
  std::unique_ptr<KeyProtector> (*make)(const ProtectorKind& kind, ProtectorContext context);
  void (*describe_slot)(const KeySlot& slot, SlotDescription& description);

  [[nodiscard]] bool has_secrets() const { return last_item.has_value(); }
};

[[nodiscard]] const ProtectorKind& kind_of(ProtectorType type);
// Null for a slot that no protector opens: that of a backup password.
[[nodiscard]] const ProtectorKind* kind_of(const KeySlot& slot);

// The slot that the store's protector opens; null where there is none.
[[nodiscard]] const KeySlot* root_slot(const PersistenceHeader& header);
// Of that slot.
[[nodiscard]] SlotDescription describe_root_slot(const PersistenceHeader& header);

}  // namespace strongroom::store
