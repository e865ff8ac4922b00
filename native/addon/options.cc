// The options of a store as lib/store/open-options.ts hands them over: names and types were checked there, ranges here
// where a wrong one could do harm.
#include <cmath>

#include "addon/store.h"
#include "addon/tokens.h"
#ifdef STRONGROOM_TESTING
#include "addon/testing.h"
#endif

namespace strongroom::addon {
namespace {

constexpr double kPcrMax = 23;
constexpr double kAnchorsPerDayMax = 86'400;
constexpr double kTimeLimitMsMax = 3'600'000;

Status invalid(const char* name) {
  return {Reason::kInvalidOption,
          std::string("the option ") + name + " has the wrong type or is out of range"};
}

// A whole number within [0, max]; left alone when absent.
template <typename T>
Status read_whole(napi_env env, napi_value options, const char* name, double max, T* out) {
  const napi_value value = member(env, options, name);
  if (value == nullptr) return {};
  const std::optional<double> number = read_number(env, value);
  if (!number || !(*number >= 0) || *number > max || std::floor(*number) != *number) return invalid(name);
  *out = static_cast<T>(*number);
  return {};
}

Status read_text(napi_env env, napi_value options, const char* name, std::string* out) {
  const napi_value value = member(env, options, name);
  if (value == nullptr) return {};
  std::optional<std::string> text = read_string(env, value);
  if (!text) return invalid(name);
  *out = *std::move(text);
  return {};
}

Status read_secret_store(napi_env env, napi_value value, store::SecretStoreConfig* out) {
  std::string type;
  SR_TRY(read_text(env, value, "type", &type));
  if (type == "file") {
    out->type = store::SecretStoreType::kFile;
    return read_text(env, value, "directory", &out->directory);
  }
  if (type != "secret-service") return invalid("secretStore.type");
  out->type = store::SecretStoreType::kSecretService;
  return {};
}

// {type, module, label, serial, slotId, manufacturer, model, object, anotherToken, pin, initArguments, timeLimitMs}
Status read_token_storage(napi_env env, napi_value value, store::EngineOptions* out) {
  out->protector = store::ProtectorType::kPkcs11;
  SR_ASSIGN(out->pkcs11.locator, read_token_locator(env, value));
  out->pkcs11.another_token = read_boolean(env, member(env, value, "anotherToken")).value_or(false);
  double limit = static_cast<double>(out->pkcs11.limit.count());
  SR_TRY(read_whole(env, value, "timeLimitMs", kTimeLimitMsMax, &limit));
  out->pkcs11.limit = std::chrono::milliseconds(static_cast<std::int64_t>(limit));
  SR_ASSIGN(out->pkcs11.pin, read_secret(env, member(env, value, "pin"), "the PIN"));
  return {};
}

// {type, tcti, pcrs, pin, anchorsPerDay}
Status read_storage(napi_env env, napi_value value, store::EngineOptions* out) {
  std::string type;
  SR_TRY(read_text(env, value, "type", &type));
  if (type == "software") {
    out->protector = store::ProtectorType::kSoftware;
    return {};
  }
  if (type == "pkcs11") return read_token_storage(env, value, out);
  if (type != "tpm") return invalid("protector.type");
  out->protector = store::ProtectorType::kTpm;
  SR_TRY(read_text(env, value, "tcti", &out->tpm.tcti));
  SR_TRY(read_whole(env, value, "anchorsPerDay", kAnchorsPerDayMax, &out->tpm.anchors_per_day));
  if (const napi_value list = member(env, value, "pcrs")) {
    std::uint32_t count = 0;
    if (napi_get_array_length(env, list, &count) != napi_ok) return invalid("protector.pcrs");
    std::uint32_t& mask = out->tpm.pcrs.emplace(0);
    for (std::uint32_t at = 0; at < count; ++at) {
      napi_value element = nullptr;
      if (napi_get_element(env, list, at, &element) != napi_ok) return invalid("protector.pcrs");
      const std::optional<double> pcr = read_number(env, element);
      if (!pcr || !(*pcr >= 0) || *pcr > kPcrMax || std::floor(*pcr) != *pcr)
        return invalid("protector.pcrs");
      mask |= std::uint32_t{1} << static_cast<std::uint32_t>(*pcr);
    }
  }
  SR_ASSIGN(out->tpm.pin, read_secret(env, member(env, value, "pin"), "the PIN"));
  return {};
}

}  // namespace

Result<StoreOptions> read_options(napi_env env, napi_value options) {
  constexpr double kMsMax = 9007199254740991;  // 2^53 - 1
  constexpr double kWordMax = UINT32_MAX;
  StoreOptions out;
  store::EngineOptions& engine = out.engine;
  SR_TRY(read_text(env, options, "directory", &engine.directory));
  SR_TRY(read_text(env, options, "instance", &engine.instance));
  SR_TRY(read_text(env, options, "vaultFileName", &engine.vault_file_name));
  if (const napi_value value = member(env, options, "storage")) SR_TRY(read_storage(env, value, &engine));
  if (const napi_value value = member(env, options, "secretStore")) {
    engine.secret_store.emplace();
    SR_TRY(read_secret_store(env, value, &*engine.secret_store));
  }
  engine.read_only = read_boolean(env, member(env, options, "readOnly")).value_or(false);
  engine.allow_network_file_system =
      read_boolean(env, member(env, options, "allowNetworkFileSystem")).value_or(false);
  engine.removal = read_boolean(env, member(env, options, "removal")).value_or(false);
  engine.allow_leftovers = read_boolean(env, member(env, options, "allowLeftovers")).value_or(false);
  if (member(env, options, "clockToleranceMs") != nullptr) {
    SR_TRY(read_whole(env, options, "clockToleranceMs", kMsMax, &engine.clock_tolerance_ms.emplace()));
  }
  if (const napi_value value = member(env, options, "maxAgeMs")) {
    if (std::isinf(read_number(env, value).value_or(0))) {
      engine.age_ms_max = store::kMaxAgeOff;
    } else {
      SR_TRY(read_whole(env, options, "maxAgeMs", kMsMax, &engine.age_ms_max.emplace()));
    }
  }
  if (member(env, options, "windowMaxMs") != nullptr) {
    SR_TRY(read_whole(env, options, "windowMaxMs", kMsMax, &engine.window_ms_max.emplace()));
  }
  if (const napi_value value = member(env, options, "vendorPublicKey")) {
    ByteView bytes;
    SR_TRY(read_bytes(env, value, "vendorPublicKey", &bytes));
    if (bytes.size() != 32) return invalid("vendorPublicKey");
    std::copy(bytes.begin(), bytes.end(), engine.vendor_public_key.emplace().begin());
  }
  SR_ASSIGN(engine.recovery_password,
            read_secret(env, member(env, options, "recoveryPassword"), "the password"));
  engine.without_recovery = read_boolean(env, member(env, options, "withoutRecovery")).value_or(false);
  if (const napi_value kdf = member(env, options, "kdf")) {
    SR_TRY(read_whole(env, kdf, "memoryKiB", kWordMax, &engine.argon2.memory_kib));
    SR_TRY(read_whole(env, kdf, "passes", kWordMax, &engine.argon2.passes));
    SR_TRY(read_whole(env, kdf, "lanes", kWordMax, &engine.argon2.lanes));
  }
  SR_TRY(read_whole(env, options, "witnessIntervalMs", kWordMax, &engine.witness_interval_ms));
  SR_TRY(read_whole(env, options, "tamperCapacity", kWordMax, &engine.tamper_capacity));
  SR_TRY(read_whole(env, options, "reserveBytes", double{limits::kReserveBytesMax}, &engine.reserve_bytes));
  SR_TRY(read_whole(env, options, "compactionBytesMin", kMsMax, &engine.compaction_bytes_min));
#ifdef STRONGROOM_TESTING
  SR_TRY(read_text(env, options, "killBeforeStep", &out.kill_before_step));
  if (const napi_value clock = member(env, options, "clock")) {
    out.clock = testing::clock_of(env, clock);
    if (!out.clock) return invalid("clock");
  }
#endif
  return out;
}

}  // namespace strongroom::addon
