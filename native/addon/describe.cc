// The core's reports as plain objects. None of them holds a secret.
#include "addon/store.h"
#include "protectors/pkcs11/token_slot.h"
#include "protectors/software/software_slot.h"
#include "protectors/tpm/tpm_slot.h"

namespace strongroom::addon {
namespace {

napi_value describe(napi_env env, const log::Checkpoint& checkpoint) {
  return Object(env)
      .set("generation", count_value(env, checkpoint.generation))
      .set("head", to_hex_value(env, checkpoint.head))
      .value();
}

napi_value describe(napi_env env, const store::SecretStoreConfig& config) {
  Object object(env);
  if (config.type == store::SecretStoreType::kFile) {
    object.set("type", to_value(env, std::string_view("file")));
    object.set("directory", to_value(env, std::string_view(config.directory)));
  } else {
    object.set("type", to_value(env, std::string_view("secret-service")));
  }
  return object.value();
}

napi_value describe_pcrs(napi_env env, std::uint32_t mask) {
  napi_value list = nullptr;
  napi_create_array(env, &list);
  std::uint32_t at = 0;
  for (std::uint32_t pcr = 0; pcr < 32; ++pcr) {
    if ((mask >> pcr & 1) != 0) napi_set_element(env, list, at++, to_value(env, static_cast<double>(pcr)));
  }
  return list;
}

napi_value describe(napi_env env, const store::TpmStatus& tpm) {
  return Object(env)
      .set("description", to_value(env, std::string_view(tpm.description)))
      .set("tcti", to_value(env, std::string_view(tpm.tcti)))
      .set("counterIndex", to_value(env, static_cast<double>(tpm.counter_index)))
      .set("extendIndex",
           tpm.extend_index != 0 ? to_value(env, static_cast<double>(tpm.extend_index)) : undefined(env))
      .set("counter", count_value(env, tpm.counter))
      .set("firstNumber", tpm.first_number != 0 ? count_value(env, tpm.first_number) : undefined(env))
      .set("epochEnd", count_value(env, tpm.seal_epoch_end))
      .set("increments", count_value(env, tpm.increments))
      .set("firstMs", time_value(env, tpm.first_wall_ms))
      .set("pcrs", describe_pcrs(env, tpm.pcrs))
      .set("pin", to_value(env, tpm.has_pin))
      .value();
}

std::string_view text_of(roots::KekType type) {
  switch (type) {
    case roots::KekType::kAesKeyWrap:
      return "AES-256";
    case roots::KekType::kRsaOaep:
    case roots::KekType::kRsaOaepSha1:
      return "RSA-3072";
  }
  return "unknown";
}

napi_value describe(napi_env env, const store::TokenStatus& token) {
  return Object(env)
      .set("module", to_value(env, std::string_view(token.module)))
      .set("label", to_value(env, std::string_view(token.token_label)))
      .set("serial", to_value(env, std::string_view(token.token_serial)))
      .set("model", to_value(env, std::string_view(token.token_model)))
      .set("kekLabel", to_value(env, std::string_view(token.kek_label)))
      .set("kekId", to_hex_value(env, token.kek_id))
      .set("kekType", to_value(env, text_of(token.kek_type)))
      .value();
}

napi_value describe(napi_env env, const store::FileSystemKind& kind) {
  if (kind.name.empty()) return undefined(env);
  const char* const type = kind.network ? "network" : kind.memory ? "memory" : kind.fuse ? "fuse" : "local";
  return Object(env)
      .set("name", to_value(env, std::string_view(kind.name)))
      .set("type", to_value(env, std::string_view(type)))
      .value();
}

napi_value describe(napi_env env, const store::RestoreRecord& record) {
  return Object(env)
      .set("completed", to_value(env, record.completed))
      .set("generation", count_value(env, record.generation))
      .set("timeMs", time_value(env, record.wall_ms))
      .set("completedMs", time_value(env, record.completed_wall_ms))
      .set("cause", to_value(env, std::string_view(record.cause)))
      .set("formerSerial", to_value(env, std::string_view(record.former_serial)))
      .set("keysDeactivated", to_value(env, static_cast<double>(record.keys_deactivated)))
      .value();
}

napi_value describe(napi_env env, const std::vector<store::WitnessStatus>& witnesses) {
  return list_value(env, witnesses, [env](const store::WitnessStatus& witness) {
    return Object(env)
        .set("name", to_value(env, std::string_view(witness.name)))
        .set("generation", count_value(env, witness.checkpoint.generation))
        .set("head", to_hex_value(env, witness.checkpoint.head))
        .set("lagGenerations", count_value(env, witness.lag_generations))
        .set("movedMs", time_value(env, witness.moved_wall_ms))
        .set("failing", to_value(env, witness.failing))
        .value();
  });
}

std::string_view text_of(store::ProvisionState state) {
  switch (state) {
    case store::ProvisionState::kProvisioning:
      return "provisioning";
    case store::ProvisionState::kComplete:
      return "complete";
    case store::ProvisionState::kDecommissioning:
    case store::ProvisionState::kRemovingRoot:
      return "decommissioning";
  }
  return "unknown";
}

std::string_view text_of(store::SlotType type) {
  switch (type) {
    case store::SlotType::kSoftware:
      return "software";
    case store::SlotType::kTpm:
      return "tpm";
    case store::SlotType::kPkcs11:
      return "pkcs11";
    case store::SlotType::kPassword:
      return "password";
  }
  return "unknown";
}

napi_value describe(napi_env env, const std::vector<store::KeySlotStatus>& slots) {
  return list_value(env, slots, [env](const store::KeySlotStatus& slot) {
    return Object(env)
        .set("id", to_value(env, static_cast<double>(slot.id)))
        .set("type", to_value(env, text_of(slot.type)))
        .set("label", slot.label.empty() ? undefined(env) : to_value(env, std::string_view(slot.label)))
        .value();
  });
}

}  // namespace

napi_value describe(napi_env env, const std::vector<store::Leftover>& leftovers) {
  return list_value(env, leftovers, [env](const store::Leftover& leftover) {
    return Object(env)
        .set("name", to_value(env, std::string_view(leftover.name)))
        .set("place", to_value(env, std::string_view(leftover.place)))
        .set("storageId", leftover.storage_id ? to_hex_value(env, *leftover.storage_id) : undefined(env))
        .value();
  });
}

napi_value describe(napi_env env, const store::EngineStatus& status) {
  const bool has_secret_store = store::kind_of(status.protector).has_secrets();
  const bool age_off = status.age_ms_max == store::kMaxAgeOff;
  return Object(env)
      .set("provision", to_value(env, text_of(status.provision)))
      .set("startup",
           to_value(env, std::string_view(status.startup == store::StartupState::kColdstart ? "COLDSTART"
                                                                                            : "WARMSTART")))
      .set("instance", to_value(env, std::string_view(status.instance)))
      .set("storageId", to_hex_value(env, status.storage_id))
      .set("storage", to_value(env, store::protector_type_text(status.protector)))
      .set("tpm", status.tpm ? describe(env, *status.tpm) : undefined(env))
      .set("token", status.token ? describe(env, *status.token) : undefined(env))
      .set("restore", status.restore ? describe(env, *status.restore) : undefined(env))
      .set("lastWrittenHere", to_value(env, status.last_written_here))
      .set("fileSystem", describe(env, status.file_system))
      .set("passwordVerifiedMs", time_value(env, status.password_verified_ms))
      .set("newest", describe(env, status.newest))
      .set("tokenPoint", describe(env, status.permit_checkpoint))
      .set("newestMs", time_value(env, status.newest_wall_ms))
      .set("timeTamperMs", time_value(env, status.time_tamper.wall_ms))
      .set("ageMs", count_value(env, status.age_ms))
      .set("clockToleranceMs", count_value(env, status.clock_tolerance_ms))
      .set("maxAgeMs", age_off ? undefined(env) : count_value(env, status.age_ms_max))
      .set("windowMaxMs", count_value(env, status.window_ms_max))
      .set("waitingMs", count_value(env, status.waiting_ms))
      .set("rewindableByVendor", to_value(env, status.rewindable_by_vendor))
      .set("keySlots", describe(env, status.key_slots))
      .set("continuityUnproven", to_value(env, status.continuity_unproven))
      .set("tailRepaired", to_value(env, status.tail_repaired))
      .set("tamperFileAnew", to_value(env, status.tamper_file_anew))
      .set("persistenceRepaired", to_value(env, status.persistence_repaired))
      .set("secretRepaired", to_value(env, status.secret_repaired))
      .set("clockCorrected", to_value(env, status.clock_corrected))
      .set("clockUnsynchronised", to_value(env, status.clock_unsynchronised))
      .set("ageExcused", to_value(env, status.age_excused))
      .set("poisoned", to_value(env, status.poisoned))
      .set("keyId", to_value(env, static_cast<double>(status.key_id)))
      .set("rotationPending", to_value(env, status.rotation_pending))
      .set("formerFieldKeys", to_value(env, static_cast<double>(status.former_field_keys)))
      .set("records", count_value(env, status.records))
      .set("logBytes", count_value(env, status.log_bytes))
      .set("liveBytes", count_value(env, status.live_bytes))
      .set("secretStore", has_secret_store ? describe(env, status.secret_store) : undefined(env))
      .set("witnesses", describe(env, status.witnesses))
      .value();
}

napi_value describe(napi_env env, const store::VerifyReport& report) {
  return Object(env)
      .set("base", describe(env, report.snapshot))
      .set("newest", describe(env, report.newest))
      .set("commits", count_value(env, report.commits))
      .set("records", count_value(env, report.records))
      .set("operationEntries", count_value(env, report.audit_entries))
      .set("witnesses", describe(env, report.witnesses))
      .value();
}

napi_value describe(napi_env env, const store::AuditEntry& entry) {
  return Object(env)
      .set("generation", count_value(env, entry.generation))
      .set("timeMs", time_value(env, entry.wall_ms))
      .set("operation", to_value(env, log::commit_kind_text(entry.kind)))
      .set("operations", to_value(env, static_cast<double>(entry.operations)))
      .set("head", to_hex_value(env, entry.head))
      .value();
}

napi_value describe(napi_env env, const store::Inspection& inspection) {
  napi_value secret_store = undefined(env);
  napi_value tpm = undefined(env);
  napi_value token = undefined(env);
  store::ProtectorType protector = store::ProtectorType::kSoftware;
  for (const store::KeySlot& slot : inspection.header.slots) {
    if (slot.type == store::SlotType::kTpm) {
      protector = store::ProtectorType::kTpm;
      const auto named = store::parse_tpm_parameters(slot.parameters);
      if (!named.ok()) continue;
      tpm = Object(env)
                .set("tcti", to_value(env, std::string_view(named->tcti)))
                .set("pcrs", describe_pcrs(env, named->pcrs))
                .set("pin", to_value(env, named->has_pin))
                .value();
    }
    if (slot.type == store::SlotType::kPkcs11) {
      protector = store::ProtectorType::kPkcs11;
      const auto named = store::parse_token_parameters(slot.parameters);
      if (!named.ok()) continue;
      secret_store = describe(env, named->secret_store);
      token = Object(env)
                  .set("module", to_value(env, std::string_view(named->module)))
                  .set("label", to_value(env, std::string_view(named->token_label)))
                  .set("serial", to_value(env, std::string_view(named->token_serial)))
                  .set("kekLabel", to_value(env, std::string_view(named->kek_label)))
                  .set("kekId", to_hex_value(env, named->kek.id))
                  .set("kekType", to_value(env, text_of(named->kek.type)))
                  .value();
    }
    if (slot.type != store::SlotType::kSoftware) continue;
    const auto config = store::parse_software_parameters(slot.parameters);
    if (config.ok()) secret_store = describe(env, *config);
  }
  return Object(env)
      .set("provision", to_value(env, text_of(inspection.header.state)))
      .set("instance", to_value(env, std::string_view(inspection.header.instance)))
      .set("storageId", to_hex_value(env, inspection.header.storage_id))
      .set("keySlots", describe(env, store::key_slot_status(inspection.header)))
      .set("storage", to_value(env, store::protector_type_text(protector)))
      .set("tpm", tpm)
      .set("token", token)
      .set("secretStore", secret_store)
      .set("oneCopyDamaged", to_value(env, inspection.one_copy_damaged))
      .set("vaultFilePresent", to_value(env, inspection.vault_file_present))
      .set("vaultModifiedMs", time_value(env, inspection.vault_modified_ms))
      .set("tamperFilePresent", to_value(env, inspection.tamper_file_present))
      .value();
}

}  // namespace strongroom::addon
