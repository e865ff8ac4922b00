// Conversions of what crosses the border, and its constants
// Generated from native/border.mjs by scripts/generate-border.mjs; do not edit.
#pragma once

#include "addon/border_types.h"
#include "addon/record.h"
#include "addon/value.h"

// clang-format off
namespace strongroom::addon {

namespace layout {
inline constexpr std::uint32_t kDeliveryMax = 1'024;
inline constexpr std::uint32_t kDeliveryNumbersAt = 8'192;
inline constexpr std::uint32_t kDeliveryFlagsAt = 16'384;
inline constexpr std::uint32_t kDeliveryBytes = 17'408;
inline constexpr std::uint8_t kDeliveryFailed = 1;
inline constexpr std::uint8_t kDeliverySwapped = 2;
inline constexpr std::uint8_t kDeliveryOfWitnessed = 4;
inline constexpr std::int32_t kGetAbsent = -1;
inline constexpr std::int32_t kGetSlabFull = -2;
inline constexpr std::uint8_t kSlabAlignment = 8;
inline constexpr std::uint32_t kScanMoreFollows = 1'073'741'824;
inline constexpr std::uint32_t kScanAsciiBit = 2'147'483'648;
inline constexpr std::uint8_t kScanRecordHeaderBytes = 8;
inline constexpr std::uint8_t kScanLowerInclusive = 1;
inline constexpr std::uint8_t kScanUpperInclusive = 2;
inline constexpr std::uint8_t kScanReverse = 4;
inline constexpr std::uint8_t kScanWithValues = 8;
}  // namespace layout

// The steps of restore() and rotateKek(), in their order; those of rotateDek() count records and have no names.
inline constexpr std::array<std::string_view, 7> kOperationSteps{"begin", "kek", "witness", "commit", "file", "settle", "strays"};

inline constexpr NameTable<store::ProtectorType, 4> kProtectorTypeNames{{
    {store::ProtectorType::kSoftware, "software"},
    {store::ProtectorType::kTpm, "tpm"},
    {store::ProtectorType::kPkcs11, "pkcs11"},
    {store::ProtectorType::kExternal, "external"},
}};
inline constexpr NameTable<store::SlotType, 5> kSlotTypeNames{{
    {store::SlotType::kSoftware, "software"},
    {store::SlotType::kTpm, "tpm"},
    {store::SlotType::kPkcs11, "pkcs11"},
    {store::SlotType::kPassword, "password"},
    {store::SlotType::kExternal, "external"},
}};
inline constexpr NameTable<store::SecretStoreType, 2> kSecretStoreTypeNames{{
    {store::SecretStoreType::kFile, "file"},
    {store::SecretStoreType::kSecretService, "secret-service"},
}};
inline constexpr NameTable<roots::KekType, 3> kKekTypeNames{{
    {roots::KekType::kAesKeyWrap, "AES-256"},
    {roots::KekType::kRsaOaep, "RSA-3072"},
    {roots::KekType::kRsaOaepSha1, "RSA-3072"},
}};
inline constexpr NameTable<store::ProvisionState, 4> kProvisionStateNames{{
    {store::ProvisionState::kProvisioning, "provisioning"},
    {store::ProvisionState::kComplete, "complete"},
    {store::ProvisionState::kDecommissioning, "decommissioning"},
    {store::ProvisionState::kRemovingRoot, "decommissioning"},
}};
inline constexpr NameTable<store::StartupState, 2> kStartupStateNames{{
    {store::StartupState::kColdstart, "COLDSTART"},
    {store::StartupState::kWarmstart, "WARMSTART"},
}};
inline constexpr NameTable<FileSystemType, 4> kFileSystemTypeNames{{
    {FileSystemType::kLocal, "local"},
    {FileSystemType::kNetwork, "network"},
    {FileSystemType::kMemory, "memory"},
    {FileSystemType::kFuse, "fuse"},
}};
inline constexpr NameTable<store::StartPurpose, 7> kStartPurposeNames{{
    {store::StartPurpose::kOpen, "open"},
    {store::StartPurpose::kReanchor, "reanchor"},
    {store::StartPurpose::kRecover, "recover"},
    {store::StartPurpose::kReseal, "reseal"},
    {store::StartPurpose::kDecommission, "decommission"},
    {store::StartPurpose::kRestore, "restore"},
    {store::StartPurpose::kInspect, "inspect"},
}};
inline constexpr NameTable<store::StartStep, 17> kStartStepNames{{
    {store::StartStep::kDetermineStartupState, "DetermineStartupState"},
    {store::StartStep::kSetupPersistenceFiles, "SetupPersistenceFiles"},
    {store::StartStep::kLoadLicenseProviderManifests, "LoadLicenseProviderManifests"},
    {store::StartStep::kInitializeColdstart, "InitializeColdstart"},
    {store::StartStep::kInitializeWarmstart, "InitializeWarmstart"},
    {store::StartStep::kLoadVaultAndValidate, "LoadVaultAndValidate"},
    {store::StartStep::kValidateVaultFilename, "ValidateVaultFilename"},
    {store::StartStep::kCreateAndLoadVault, "CreateAndLoadVault"},
    {store::StartStep::kInitializeStorageIdentifier, "InitializeStorageIdentifier"},
    {store::StartStep::kValidateVaultIntegrity, "ValidateVaultIntegrity"},
    {store::StartStep::kValidateTimeTamperAge, "ValidateTimeTamperAge"},
    {store::StartStep::kUpdateTimeTamper, "UpdateTimeTamper"},
    {store::StartStep::kSecrets, "secrets"},
    {store::StartStep::kRootRefused, "root-refused"},
    {store::StartStep::kRestorePassword, "restore-password"},
    {store::StartStep::kRestoreWithoutPassword, "restore-without-password"},
    {store::StartStep::kRestoreWitnesses, "restore-witnesses"},
}};
inline constexpr NameTable<store::RestoreNote, 2> kRestoreNoteNames{{
    {store::RestoreNote::kTls, "tls"},
    {store::RestoreNote::kHook, "hook"},
}};
inline constexpr NameTable<store::KeyAlgorithm, 4> kKeyAlgorithmNames{{
    {store::KeyAlgorithm::kEcP256, "EC-P256"},
    {store::KeyAlgorithm::kEcP384, "EC-P384"},
    {store::KeyAlgorithm::kRsa3072, "RSA-3072"},
    {store::KeyAlgorithm::kEd25519, "Ed25519"},
}};
inline constexpr NameTable<store::SignatureFormat, 2> kSignatureFormatNames{{
    {store::SignatureFormat::kDer, "der"},
    {store::SignatureFormat::kRaw, "raw"},
}};
inline constexpr NameTable<store::KeyLocation, 2> kKeyLocationNames{{
    {store::KeyLocation::kVault, "vault"},
    {store::KeyLocation::kHsm, "hsm"},
}};
inline constexpr NameTable<store::KeyState, 2> kKeyStateNames{{
    {store::KeyState::kActive, "active"},
    {store::KeyState::kDeactivated, "deactivated"},
}};

// --- Results ---
[[nodiscard]] napi_value describe(napi_env env, const Error& value);
[[nodiscard]] napi_value describe(napi_env env, const log::Checkpoint& value);
[[nodiscard]] napi_value describe(napi_env env, const store::WitnessStatus& value);
[[nodiscard]] napi_value describe(napi_env env, const store::SecretStoreConfig& value);
[[nodiscard]] napi_value describe(napi_env env, const store::FileSystemKind& value);
[[nodiscard]] napi_value describe(napi_env env, const store::TpmSlotStatus& value);
[[nodiscard]] napi_value describe(napi_env env, const store::TpmStatus& value);
[[nodiscard]] napi_value describe(napi_env env, const store::TokenSlotStatus& value);
[[nodiscard]] napi_value describe(napi_env env, const store::TokenStatus& value);
[[nodiscard]] napi_value describe(napi_env env, const store::RestoreRecord& value);
[[nodiscard]] napi_value describe(napi_env env, const store::KeySlotStatus& value);
[[nodiscard]] napi_value describe(napi_env env, const store::EngineStatus& value);
[[nodiscard]] napi_value describe(napi_env env, const store::StartReport& value);
[[nodiscard]] napi_value describe(napi_env env, const store::VerifyReport& value);
[[nodiscard]] napi_value describe(napi_env env, const store::AuditEntry& value);
[[nodiscard]] napi_value describe(napi_env env, const InspectionReport& value);
[[nodiscard]] napi_value describe(napi_env env, const store::Leftover& value);
[[nodiscard]] napi_value describe(napi_env env, const roots::PinLimits& value);
[[nodiscard]] napi_value describe(napi_env env, const roots::TokenInfo& value);
[[nodiscard]] napi_value describe(napi_env env, const roots::ParsedUri& value);
[[nodiscard]] napi_value describe(napi_env env, const store::ManagedKey& value);
[[nodiscard]] napi_value describe(napi_env env, const store::TlsCertificate& value);
[[nodiscard]] napi_value describe(napi_env env, const crypto::TemporaryCertificate& value);
[[nodiscard]] napi_value describe(napi_env env, const os::PlaceRelation& value);

template <typename T>
[[nodiscard]] napi_value describe(napi_env env, const std::optional<T>& value) {
  return value ? describe(env, *value) : undefined(env);
}
template <typename T>
[[nodiscard]] napi_value describe(napi_env env, const std::vector<T>& values) {
  return list_value(env, values, [env](const T& value) { return describe(env, value); });
}

// --- Options: kInvalidOption names what is unknown, missing, of the wrong type or out of range ---
[[nodiscard]] Status read(const Record& given, crypto::Argon2Parameters* out);
[[nodiscard]] Status read(const Record& given, store::SecretStoreConfig* out);
[[nodiscard]] Status read(const Record& given, store::ProtectorOptions* out);
[[nodiscard]] Status read(const Record& given, StoreOptions* out);
[[nodiscard]] Status read(const Record& given, store::StartPlan* out);
[[nodiscard]] Status read(const Record& given, store::StartSecrets* out);
[[nodiscard]] Status read(const Record& given, TokenListing* out);
[[nodiscard]] Status read(const Record& given, TokenPlan* out);
[[nodiscard]] Status read(const Record& given, store::RotationOptions* out);

}  // namespace strongroom::addon
