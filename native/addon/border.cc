// Generated from native/border.mjs by scripts/generate-border.mjs; do not edit.
#include "addon/border.h"

#ifdef STRONGROOM_TESTING
#include "addon/testing.h"
#endif

// clang-format off
namespace strongroom::addon {

// --- Enumerations: a switch without default fails to compile where an enumerator has no name ---

namespace {

[[maybe_unused]] constexpr void has_all_names(store::ProtectorType value) {
  switch (value) {
    case store::ProtectorType::kSoftware:
    case store::ProtectorType::kTpm:
    case store::ProtectorType::kPkcs11:
    case store::ProtectorType::kExternal:
      return;
  }
}
[[maybe_unused]] constexpr void has_all_names(store::SlotType value) {
  switch (value) {
    case store::SlotType::kSoftware:
    case store::SlotType::kTpm:
    case store::SlotType::kPkcs11:
    case store::SlotType::kPassword:
    case store::SlotType::kExternal:
      return;
  }
}
[[maybe_unused]] constexpr void has_all_names(store::SecretStoreType value) {
  switch (value) {
    case store::SecretStoreType::kFile:
    case store::SecretStoreType::kSecretService:
      return;
  }
}
[[maybe_unused]] constexpr void has_all_names(roots::KekType value) {
  switch (value) {
    case roots::KekType::kAesKeyWrap:
    case roots::KekType::kRsaOaep:
    case roots::KekType::kRsaOaepSha1:
      return;
  }
}
[[maybe_unused]] constexpr void has_all_names(store::ProvisionState value) {
  switch (value) {
    case store::ProvisionState::kProvisioning:
    case store::ProvisionState::kComplete:
    case store::ProvisionState::kDecommissioning:
    case store::ProvisionState::kRemovingRoot:
      return;
  }
}
[[maybe_unused]] constexpr void has_all_names(store::StartupState value) {
  switch (value) {
    case store::StartupState::kColdstart:
    case store::StartupState::kWarmstart:
      return;
  }
}
[[maybe_unused]] constexpr void has_all_names(FileSystemType value) {
  switch (value) {
    case FileSystemType::kLocal:
    case FileSystemType::kNetwork:
    case FileSystemType::kMemory:
    case FileSystemType::kFuse:
      return;
  }
}
[[maybe_unused]] constexpr void has_all_names(store::StartPurpose value) {
  switch (value) {
    case store::StartPurpose::kOpen:
    case store::StartPurpose::kReanchor:
    case store::StartPurpose::kRecover:
    case store::StartPurpose::kReseal:
    case store::StartPurpose::kDecommission:
    case store::StartPurpose::kRestore:
    case store::StartPurpose::kInspect:
      return;
  }
}
[[maybe_unused]] constexpr void has_all_names(store::StartStep value) {
  switch (value) {
    case store::StartStep::kDetermineStartupState:
    case store::StartStep::kSetupPersistenceFiles:
    case store::StartStep::kLoadLicenseProviderManifests:
    case store::StartStep::kInitializeColdstart:
    case store::StartStep::kInitializeWarmstart:
    case store::StartStep::kLoadVaultAndValidate:
    case store::StartStep::kValidateVaultFilename:
    case store::StartStep::kCreateAndLoadVault:
    case store::StartStep::kInitializeStorageIdentifier:
    case store::StartStep::kValidateVaultIntegrity:
    case store::StartStep::kValidateTimeTamperAge:
    case store::StartStep::kUpdateTimeTamper:
    case store::StartStep::kSecrets:
    case store::StartStep::kRootRefused:
    case store::StartStep::kRestorePassword:
    case store::StartStep::kRestoreWithoutPassword:
    case store::StartStep::kRestoreWitnesses:
      return;
  }
}
[[maybe_unused]] constexpr void has_all_names(store::RestoreNote value) {
  switch (value) {
    case store::RestoreNote::kTls:
    case store::RestoreNote::kHook:
      return;
  }
}
[[maybe_unused]] constexpr void has_all_names(store::KeyAlgorithm value) {
  switch (value) {
    case store::KeyAlgorithm::kEcP256:
    case store::KeyAlgorithm::kEcP384:
    case store::KeyAlgorithm::kRsa3072:
    case store::KeyAlgorithm::kEd25519:
      return;
  }
}
[[maybe_unused]] constexpr void has_all_names(store::SignatureFormat value) {
  switch (value) {
    case store::SignatureFormat::kDer:
    case store::SignatureFormat::kRaw:
      return;
  }
}
[[maybe_unused]] constexpr void has_all_names(store::KeyLocation value) {
  switch (value) {
    case store::KeyLocation::kVault:
    case store::KeyLocation::kHsm:
      return;
  }
}
[[maybe_unused]] constexpr void has_all_names(store::KeyState value) {
  switch (value) {
    case store::KeyState::kActive:
    case store::KeyState::kDeactivated:
      return;
  }
}

}  // namespace

// --- Results ---

napi_value describe(napi_env env, const Error& value) {
  return Object(env)
      .set("reason", text_value(env, error_info(value.reason).reason))
      .set("message", text_value(env, value.detail))
      .set("systemError", count_value(env, static_cast<std::uint32_t>(value.system_error)))
      .set("committed", flag_value(env, value.committed))
      .set("outcomeUnknown", flag_value(env, value.outcome_unknown))
      .value();
}

napi_value describe(napi_env env, const log::Checkpoint& value) {
  return Object(env)
      .set("generation", count_value(env, value.generation))
      .set("head", to_hex_value(env, value.head))
      .value();
}

napi_value describe(napi_env env, const store::WitnessStatus& value) {
  return Object(env)
      .set("generation", count_value(env, value.checkpoint.generation))
      .set("head", to_hex_value(env, value.checkpoint.head))
      .set("name", text_value(env, value.name))
      .set("lagGenerations", count_value(env, value.lag_generations))
      .set("movedMs", time_value(env, value.moved_wall_ms))
      .set("failing", flag_value(env, value.failing))
      .value();
}

napi_value describe(napi_env env, const store::SecretStoreConfig& value) {
  Object object(env);
  object.set("type", text_value(env, name_of(value.type, kSecretStoreTypeNames)));
  if (is_one_of(value.type, {store::SecretStoreType::kFile})) object.set("directory", text_value(env, value.directory));
  return object.value();
}

napi_value describe(napi_env env, const store::FileSystemKind& value) {
  return Object(env)
      .set("name", text_value(env, value.name))
      .set("type", text_value(env, name_of(file_system_type(value), kFileSystemTypeNames)))
      .value();
}

napi_value describe(napi_env env, const store::TpmSlotStatus& value) {
  return Object(env)
      .set("tcti", text_value(env, value.tcti))
      .set("pcrs", bits_value(env, value.pcrs))
      .set("pin", flag_value(env, value.has_pin))
      .value();
}

napi_value describe(napi_env env, const store::TpmStatus& value) {
  return Object(env)
      .set("description", text_value(env, value.description))
      .set("tcti", text_value(env, value.tcti))
      .set("pcrs", bits_value(env, value.pcrs))
      .set("pin", flag_value(env, value.has_pin))
      .set("counterIndex", count_value(env, value.counter_index))
      .set("extendIndex", value.extend_index == 0 ? undefined(env) : count_value(env, value.extend_index))
      .set("counter", count_value(env, value.counter))
      .set("firstNumber", value.first_number == 0 ? undefined(env) : count_value(env, value.first_number))
      .set("sealEpochEnd", count_value(env, value.seal_epoch_end))
      .set("increments", count_value(env, value.increments))
      .set("firstMs", time_value(env, value.first_wall_ms))
      .value();
}

napi_value describe(napi_env env, const store::TokenSlotStatus& value) {
  return Object(env)
      .set("module", text_value(env, value.module))
      .set("label", text_value(env, value.token_label))
      .set("serial", text_value(env, value.token_serial))
      .set("kekLabel", text_value(env, value.kek_label))
      .set("kekId", to_hex_value(env, value.kek_id))
      .set("kekType", text_value(env, name_of(value.kek_type, kKekTypeNames)))
      .value();
}

napi_value describe(napi_env env, const store::TokenStatus& value) {
  return Object(env)
      .set("module", text_value(env, value.module))
      .set("label", text_value(env, value.token_label))
      .set("serial", text_value(env, value.token_serial))
      .set("model", text_value(env, value.token_model))
      .set("kekLabel", text_value(env, value.kek_label))
      .set("kekId", to_hex_value(env, value.kek_id))
      .set("kekType", text_value(env, name_of(value.kek_type, kKekTypeNames)))
      .value();
}

napi_value describe(napi_env env, const store::RestoreRecord& value) {
  return Object(env)
      .set("completed", flag_value(env, value.completed))
      .set("generation", count_value(env, value.generation))
      .set("timeMs", time_value(env, value.wall_ms))
      .set("completedMs", time_value(env, value.completed_wall_ms))
      .set("cause", text_value(env, value.cause))
      .set("formerSerial", text_value(env, value.former_serial))
      .set("keysDeactivated", count_value(env, value.keys_deactivated))
      .value();
}

napi_value describe(napi_env env, const store::KeySlotStatus& value) {
  return Object(env)
      .set("id", count_value(env, value.id))
      .set("type", text_value(env, name_of(value.type, kSlotTypeNames)))
      .set("label", value.label.empty() ? undefined(env) : text_value(env, value.label))
      .value();
}

napi_value describe(napi_env env, const store::EngineStatus& value) {
  return Object(env)
      .set("provision", text_value(env, name_of(value.provision, kProvisionStateNames)))
      .set("startup", text_value(env, name_of(value.startup, kStartupStateNames)))
      .set("instance", text_value(env, value.instance))
      .set("storageId", to_hex_value(env, value.storage_id))
      .set("protector", text_value(env, name_of(value.protector, kProtectorTypeNames)))
      .set("tpm", describe(env, value.tpm))
      .set("token", describe(env, value.token))
      .set("restore", describe(env, value.restore))
      .set("lastWrittenHere", flag_value(env, value.last_written_here))
      .set("fileSystem", value.file_system.name.empty() ? undefined(env) : describe(env, value.file_system))
      .set("passwordVerifiedMs", time_value(env, value.password_verified_ms))
      .set("newest", describe(env, value.newest))
      .set("permitCheckpoint", describe(env, value.permit_checkpoint))
      .set("newestMs", time_value(env, value.newest_wall_ms))
      .set("timeTamperMs", time_value(env, value.time_tamper.wall_ms))
      .set("ageMs", count_value(env, value.age_ms))
      .set("clockToleranceMs", count_value(env, value.clock_tolerance_ms))
      .set("maxAgeMs", value.age_ms_max == store::kMaxAgeOff ? undefined(env) : count_value(env, value.age_ms_max))
      .set("windowMaxMs", count_value(env, value.window_ms_max))
      .set("waitingMs", count_value(env, value.waiting_ms))
      .set("rewindableByVendor", flag_value(env, value.rewindable_by_vendor))
      .set("keySlots", describe(env, value.key_slots))
      .set("continuityUnproven", flag_value(env, value.continuity_unproven))
      .set("tailRepaired", flag_value(env, value.tail_repaired))
      .set("tamperFileRecreated", flag_value(env, value.tamper_file_anew))
      .set("persistenceRepaired", flag_value(env, value.persistence_repaired))
      .set("secretRepaired", flag_value(env, value.secret_repaired))
      .set("clockCorrected", flag_value(env, value.clock_corrected))
      .set("clockUnsynchronised", flag_value(env, value.clock_unsynchronised))
      .set("ageExcused", flag_value(env, value.age_excused))
      .set("poisoned", flag_value(env, value.poisoned))
      .set("keyId", count_value(env, value.key_id))
      .set("rotationPending", flag_value(env, value.rotation_pending))
      .set("formerFieldKeys", count_value(env, value.former_field_keys))
      .set("records", count_value(env, value.records))
      .set("logBytes", count_value(env, value.log_bytes))
      .set("liveBytes", count_value(env, value.live_bytes))
      .set("secretStore", store::kind_of(value.protector).has_secrets() ? describe(env, value.secret_store) : undefined(env))
      .set("witnesses", describe(env, value.witnesses))
      .value();
}

napi_value describe(napi_env env, const store::StartReport& value) {
  return Object(env)
      .set("steps", list_value(env, value.steps, [env](const auto each) { return text_value(env, name_of(each, kStartStepNames)); }))
      .set("startup", text_value(env, name_of(value.startup, kStartupStateNames)))
      .set("loaded", flag_value(env, value.loaded))
      .set("opened", flag_value(env, value.opened))
      .set("refusal", describe(env, value.refusal))
      .value();
}

napi_value describe(napi_env env, const store::VerifyReport& value) {
  return Object(env)
      .set("snapshot", describe(env, value.snapshot))
      .set("newest", describe(env, value.newest))
      .set("commits", count_value(env, value.commits))
      .set("records", count_value(env, value.records))
      .set("auditEntries", count_value(env, value.audit_entries))
      .set("witnesses", describe(env, value.witnesses))
      .value();
}

napi_value describe(napi_env env, const store::AuditEntry& value) {
  return Object(env)
      .set("generation", count_value(env, value.generation))
      .set("timeMs", time_value(env, value.wall_ms))
      .set("operation", text_value(env, log::commit_kind_text(value.kind)))
      .set("operations", count_value(env, value.operations))
      .set("head", to_hex_value(env, value.head))
      .value();
}

napi_value describe(napi_env env, const InspectionReport& value) {
  return Object(env)
      .set("provision", text_value(env, name_of(value.found.header.state, kProvisionStateNames)))
      .set("instance", text_value(env, value.found.header.instance))
      .set("storageId", to_hex_value(env, value.found.header.storage_id))
      .set("keySlots", describe(env, value.key_slots))
      .set("protector", text_value(env, name_of(value.root.protector, kProtectorTypeNames)))
      .set("token", describe(env, value.root.token))
      .set("tpm", describe(env, value.root.tpm))
      .set("secretStore", describe(env, value.root.secret_store))
      .set("oneCopyDamaged", flag_value(env, value.found.one_copy_damaged))
      .set("vaultFilePresent", flag_value(env, value.found.vault_file_present))
      .set("vaultModifiedMs", time_value(env, value.found.vault_modified_ms))
      .set("tamperFilePresent", flag_value(env, value.found.tamper_file_present))
      .value();
}

napi_value describe(napi_env env, const store::Leftover& value) {
  return Object(env)
      .set("name", text_value(env, value.name))
      .set("place", text_value(env, value.place))
      .set("storageId", value.storage_id ? to_hex_value(env, *value.storage_id) : undefined(env))
      .value();
}

napi_value describe(napi_env env, const roots::PinLimits& value) {
  return Object(env)
      .set("min", count_value(env, value.min))
      .set("max", count_value(env, value.max))
      .value();
}

napi_value describe(napi_env env, const roots::TokenInfo& value) {
  return Object(env)
      .set("slotId", count_value(env, value.slot_id))
      .set("label", text_value(env, value.label))
      .set("serial", text_value(env, value.serial))
      .set("manufacturer", text_value(env, value.manufacturer))
      .set("model", text_value(env, value.model))
      .set("initialised", flag_value(env, value.initialised))
      .set("pinInitialised", flag_value(env, value.pin_initialised))
      .set("pinLocked", flag_value(env, value.pin_locked))
      .set("pinBytes", describe(env, value.pin_limits))
      .value();
}

napi_value describe(napi_env env, const roots::ParsedUri& value) {
  return Object(env)
      .set("module", value.locator.module.empty() ? undefined(env) : text_value(env, value.locator.module))
      .set("label", value.locator.label ? text_value(env, *value.locator.label) : undefined(env))
      .set("serial", value.locator.serial ? text_value(env, *value.locator.serial) : undefined(env))
      .set("slotId", value.locator.slot_id ? count_value(env, *value.locator.slot_id) : undefined(env))
      .set("manufacturer", value.locator.manufacturer ? text_value(env, *value.locator.manufacturer) : undefined(env))
      .set("model", value.locator.model ? text_value(env, *value.locator.model) : undefined(env))
      .set("object", value.locator.object.empty() ? undefined(env) : text_value(env, value.locator.object))
      .set("id", value.id ? to_hex_value(env, *value.id) : undefined(env))
      .set("pinSource", value.pin_source ? text_value(env, *value.pin_source) : undefined(env))
      .value();
}

napi_value describe(napi_env env, const store::ManagedKey& value) {
  return Object(env)
      .set("id", text_value(env, value.id))
      .set("algorithm", text_value(env, name_of(value.algorithm, kKeyAlgorithmNames)))
      .set("location", text_value(env, name_of(value.location, kKeyLocationNames)))
      .set("state", text_value(env, name_of(value.state, kKeyStateNames)))
      .set("createdMs", time_value(env, value.created_wall_ms))
      .set("publicKey", to_buffer(env, value.public_key))
      .set("chain", text_value(env, value.chain))
      .set("reason", text_value(env, value.reason))
      .set("tokenSerial", text_value(env, value.token_serial))
      .set("tokenKeyId", to_hex_value(env, value.token_key_id))
      .value();
}

napi_value describe(napi_env env, const store::TlsCertificate& value) {
  return Object(env)
      .set("certificate", to_buffer(env, as_bytes(value.certificate)))
      .set("chain", to_buffer(env, as_bytes(value.chain)))
      .value();
}

napi_value describe(napi_env env, const crypto::TemporaryCertificate& value) {
  return Object(env)
      .set("key", to_buffer(env, value.key.view()))
      .set("certificate", to_buffer(env, value.certificate))
      .value();
}

napi_value describe(napi_env env, const os::PlaceRelation& value) {
  return Object(env)
      .set("overlap", flag_value(env, value.overlap))
      .set("sameFileSystem", flag_value(env, value.same_file_system))
      .value();
}

// --- Options ---

Status read(const Record& given, crypto::Argon2Parameters* out) {
  SR_TRY(given.closed({"memoryKiB", "passes", "lanes"}, {}));
  SR_TRY(given.whole("memoryKiB", 4294967295.0, &out->memory_kib));
  SR_TRY(given.whole("passes", 4294967295.0, &out->passes));
  SR_TRY(given.whole("lanes", 4294967295.0, &out->lanes));
  return {};
}

namespace {

Status read_secret_store_file(const Record& given, store::SecretStoreConfig* out) {
  SR_TRY(given.closed({"type", "directory"}, {"directory"}));
  SR_TRY(given.text("directory", &out->directory));
  return {};
}

Status read_secret_store_secret_service(const Record& given, store::SecretStoreConfig* out) {
  SR_TRY(given.closed({"type"}, {}));
  (void)out;
  return {};
}

}  // namespace

Status read(const Record& given, store::SecretStoreConfig* out) {
  static constexpr Table<store::SecretStoreType, Status (*)(const Record&, store::SecretStoreConfig*), 2> kReaders{{
      {store::SecretStoreType::kFile, read_secret_store_file},
      {store::SecretStoreType::kSecretService, read_secret_store_secret_service},
  }};
  store::SecretStoreType type{};
  SR_TRY(given.name("type", kSecretStoreTypeNames, &type));
  out->type = type;
  return (*find_in(kReaders, type))(given, out);
}

namespace {

Status read_protector_software(const Record& given, store::ProtectorOptions* out) {
  SR_TRY(given.closed({"type"}, {}));
  (void)out;
  return {};
}

Status read_protector_tpm(const Record& given, store::ProtectorOptions* out) {
  SR_TRY(given.closed({"type", "tcti", "pcrs", "pin", "anchorsPerDay"}, {}));
  SR_TRY(given.text("tcti", &out->tpm.tcti));
  SR_TRY(given.bits("pcrs", 23, &out->tpm.pcrs));
  SR_TRY(given.secret("pin", "the PIN", &out->tpm.pin));
  SR_TRY(given.whole("anchorsPerDay", 86400.0, &out->tpm.anchors_per_day));
  return {};
}

Status read_protector_pkcs11(const Record& given, store::ProtectorOptions* out) {
  SR_TRY(given.closed({"type", "module", "label", "serial", "slotId", "manufacturer", "model", "object", "initArguments", "timeLimitMs", "anotherToken", "pin"}, {}));
  SR_TRY(given.text("module", &out->pkcs11.locator.module));
  SR_TRY(given.text("label", &out->pkcs11.locator.label));
  SR_TRY(given.text("serial", &out->pkcs11.locator.serial));
  SR_TRY(given.whole("slotId", 9007199254740991.0, &out->pkcs11.locator.slot_id));
  SR_TRY(given.text("manufacturer", &out->pkcs11.locator.manufacturer));
  SR_TRY(given.text("model", &out->pkcs11.locator.model));
  SR_TRY(given.text("object", &out->pkcs11.locator.object));
  SR_TRY(given.text("initArguments", &out->pkcs11.locator.init_arguments));
  SR_TRY(given.milliseconds("timeLimitMs", 3600000.0, &out->pkcs11.limit));
  SR_TRY(given.flag("anotherToken", &out->pkcs11.another_token));
  SR_TRY(given.secret("pin", "the PIN", &out->pkcs11.pin));
  return {};
}

Status read_protector_external(const Record& given, store::ProtectorOptions* out) {
  SR_TRY(given.closed({"type", "wrap", "unwrap", "timeLimitMs"}, {"wrap", "unwrap"}));
  SR_TRY(given.byte_call("wrap", &out->external.wrap));
  SR_TRY(given.byte_call("unwrap", &out->external.unwrap));
  SR_TRY(given.milliseconds("timeLimitMs", 600000.0, &out->external.limit));
  return {};
}

}  // namespace

Status read(const Record& given, store::ProtectorOptions* out) {
  static constexpr Table<store::ProtectorType, Status (*)(const Record&, store::ProtectorOptions*), 4> kReaders{{
      {store::ProtectorType::kSoftware, read_protector_software},
      {store::ProtectorType::kTpm, read_protector_tpm},
      {store::ProtectorType::kPkcs11, read_protector_pkcs11},
      {store::ProtectorType::kExternal, read_protector_external},
  }};
  store::ProtectorType type{};
  SR_TRY(given.name("type", kProtectorTypeNames, &type));
  out->protector = type;
  return (*find_in(kReaders, type))(given, out);
}

Status read(const Record& given, StoreOptions* out) {
#ifdef STRONGROOM_TESTING
  SR_TRY(given.closed({"directory", "instance", "protector", "secretStore", "vaultFileName", "readOnly", "allowNetworkFileSystem", "removal", "allowLeftovers", "clockToleranceMs", "maxAgeMs", "windowMaxMs", "vendorPublicKey", "withoutRecovery", "kdf", "witnessIntervalMs", "tamperCapacity", "reserveBytes", "compactionBytesMin", "killBeforeStep", "clock"}, {"directory", "instance"}));
#else
  SR_TRY(given.closed({"directory", "instance", "protector", "secretStore", "vaultFileName", "readOnly", "allowNetworkFileSystem", "removal", "allowLeftovers", "clockToleranceMs", "maxAgeMs", "windowMaxMs", "vendorPublicKey", "withoutRecovery", "kdf", "witnessIntervalMs", "tamperCapacity", "reserveBytes", "compactionBytesMin"}, {"directory", "instance"}));
#endif
  SR_TRY(given.text("directory", &out->engine.directory));
  SR_TRY(given.text("instance", &out->engine.instance));
  SR_TRY(given.record("protector", "protector", &out->engine));
  SR_TRY(given.record("secretStore", "secretStore", &out->engine.secret_store));
  SR_TRY(given.text("vaultFileName", &out->engine.vault_file_name));
  SR_TRY(given.flag("readOnly", &out->engine.read_only));
  SR_TRY(given.flag("allowNetworkFileSystem", &out->engine.allow_network_file_system));
  SR_TRY(given.flag("removal", &out->engine.removal));
  SR_TRY(given.flag("allowLeftovers", &out->engine.allow_leftovers));
  SR_TRY(given.whole("clockToleranceMs", 9007199254740991.0, &out->engine.clock_tolerance_ms));
  SR_TRY(given.whole_or_infinity("maxAgeMs", 9007199254740991.0, store::kMaxAgeOff, &out->engine.age_ms_max));
  SR_TRY(given.whole("windowMaxMs", 9007199254740991.0, &out->engine.window_ms_max));
  SR_TRY(given.octets("vendorPublicKey", &out->engine.vendor_public_key));
  SR_TRY(given.flag("withoutRecovery", &out->engine.without_recovery));
  SR_TRY(given.record("kdf", "recovery.kdf", &out->engine.argon2));
  SR_TRY(given.whole("witnessIntervalMs", 4294967295.0, &out->engine.witness_interval_ms));
  SR_TRY(given.whole("tamperCapacity", 4294967295.0, &out->engine.tamper_capacity));
  SR_TRY(given.whole("reserveBytes", 67108864.0, &out->engine.reserve_bytes));
  SR_TRY(given.whole("compactionBytesMin", 9007199254740991.0, &out->engine.compaction_bytes_min));
#ifdef STRONGROOM_TESTING
  SR_TRY(given.text("killBeforeStep", &out->kill_before_step));
#endif
#ifdef STRONGROOM_TESTING
  SR_TRY(testing::read_clock(given, "clock", &out->clock));
#endif
  return {};
}

Status read(const Record& given, store::StartPlan* out) {
  SR_TRY(given.closed({"purpose", "asksForSecrets", "hasManifests", "tellsSteps", "allowLeftovers"}, {"purpose"}));
  SR_TRY(given.name("purpose", kStartPurposeNames, &out->purpose));
  SR_TRY(given.flag("asksForSecrets", &out->asks_for_secrets));
  SR_TRY(given.flag("hasManifests", &out->has_manifests));
  SR_TRY(given.flag("tellsSteps", &out->tells_steps));
  SR_TRY(given.flag("allowLeftovers", &out->allow_leftovers));
  return {};
}

Status read(const Record& given, store::StartSecrets* out) {
  SR_TRY(given.closed({"protector", "instance", "recoveryPassword"}, {}));
  SR_TRY(given.record("protector", "protector", &out->protector));
  SR_TRY(given.text("instance", &out->instance));
  SR_TRY(given.secret("recoveryPassword", "the password", &out->recovery_password));
  return {};
}

Status read(const Record& given, TokenListing* out) {
  SR_TRY(given.closed({"module", "initArguments", "timeLimitMs", "asIs"}, {}));
  SR_TRY(given.text("module", &out->locator.module));
  SR_TRY(given.text("initArguments", &out->locator.init_arguments));
  SR_TRY(given.milliseconds("timeLimitMs", 3600000.0, &out->limit));
  SR_TRY(given.flag("asIs", &out->as_is));
  return {};
}

Status read(const Record& given, TokenPlan* out) {
  SR_TRY(given.closed({"module", "slotId", "label", "initArguments", "timeLimitMs", "confirmation", "soPin", "pin"}, {"slotId", "label", "soPin", "pin"}));
  SR_TRY(given.text("module", &out->locator.module));
  SR_TRY(given.whole("slotId", 9007199254740991.0, &out->locator.slot_id));
  SR_TRY(given.text("label", &out->locator.label));
  SR_TRY(given.text("initArguments", &out->locator.init_arguments));
  SR_TRY(given.milliseconds("timeLimitMs", 3600000.0, &out->limit));
  SR_TRY(given.text("confirmation", &out->confirmation));
  SR_TRY(given.secret("soPin", "the SO PIN", &out->so_pin));
  SR_TRY(given.secret("pin", "the PIN", &out->pin));
  return {};
}

Status read(const Record& given, store::RotationOptions* out) {
  SR_TRY(given.closed({"forgetFieldKeys", "removeOtherPasswords"}, {}));
  SR_TRY(given.flag("forgetFieldKeys", &out->forget_field_keys));
  SR_TRY(given.flag("removeOtherPasswords", &out->remove_other_passwords));
  return {};
}

}  // namespace strongroom::addon
