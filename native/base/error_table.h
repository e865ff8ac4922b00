// Generated from native/base/errors.json by scripts/generate-errors.mjs; do not edit.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace strongroom {

enum class Reason : std::uint8_t {
  kInvalidArgument,
  kInvalidOption,
  kInvalidKey,
  kReservedKey,
  kValueTooLarge,
  kBatchTooLarge,
  kBelowMinimum,
  kAboveMaximum,
  kCounterOverflow,
  kNotACounter,
  kVaultTampered,
  kVaultRolledBack,
  kPersistenceTampered,
  kPersistenceRolledBack,
  kTamperFileTampered,
  kPartialRestore,
  kWitnessMissing,
  kWitnessReplaced,
  kClockRolledBack,
  kStateStale,
  kTimeTamperInvalid,
  kClosed,
  kNotOpen,
  kAlreadyOpen,
  kReadOnly,
  kPoisoned,
  kWitnessNotMoved,
  kQueueFull,
  kAborted,
  kIoError,
  kNoSpace,
  kPermissionDenied,
  kUnsafePath,
  kNotFound,
  kNoStore,
  kStoreExists,
  kLocked,
  kVersion,
  kPersistenceCorrupt,
  kRootUnavailable,
  kSecretStoreUnavailable,
  kLibraryMissing,
  kPasswordWrong,
  kPasswordMissing,
  kAuthorityRefused,
  kNothingToDo,
  kUnsupported,
  kInitializationFailed,
  kInternal,
};

struct ErrorInfo {
  std::string_view reason;
  std::string_view code;
  bool retryable;
};

inline constexpr std::array<ErrorInfo, 49> kErrorTable = {{
    {"invalid-argument", "PERS_8001", false},
    {"invalid-option", "PERS_8001", false},
    {"invalid-key", "PERS_8001", false},
    {"reserved-key", "PERS_8001", false},
    {"value-too-large", "PERS_8001", false},
    {"batch-too-large", "PERS_8001", false},
    {"below-minimum", "PERS_8002", false},
    {"above-maximum", "PERS_8002", false},
    {"counter-overflow", "PERS_8002", false},
    {"not-a-counter", "PERS_8002", false},
    {"vault-tampered", "PERS_8003", false},
    {"vault-rolled-back", "PERS_8003", false},
    {"persistence-tampered", "PERS_8003", false},
    {"persistence-rolled-back", "PERS_8003", false},
    {"tamper-file-tampered", "PERS_8003", false},
    {"partial-restore", "PERS_8003", false},
    {"witness-missing", "PERS_8003", false},
    {"witness-replaced", "PERS_8003", false},
    {"clock-rolled-back", "PERS_8003", true},
    {"state-stale", "PERS_8003", false},
    {"time-tamper-invalid", "PERS_8003", false},
    {"closed", "PERS_8004", false},
    {"not-open", "PERS_8004", false},
    {"already-open", "PERS_8004", false},
    {"read-only", "PERS_8004", false},
    {"poisoned", "PERS_8004", false},
    {"witness-not-moved", "PERS_8004", true},
    {"queue-full", "PERS_8004", true},
    {"aborted", "PERS_8004", true},
    {"io-error", "PERS_8005", true},
    {"no-space", "PERS_8005", true},
    {"permission-denied", "PERS_8005", true},
    {"unsafe-path", "PERS_8005", false},
    {"not-found", "PERS_8005", true},
    {"no-store", "PERS_8005", false},
    {"store-exists", "PERS_8005", false},
    {"locked", "PERS_8005", true},
    {"version", "PERS_8005", false},
    {"persistence-corrupt", "PERS_8005", false},
    {"root-unavailable", "PERS_8005", false},
    {"secret-store-unavailable", "PERS_8005", true},
    {"library-missing", "PERS_8005", true},
    {"password-wrong", "PERS_8005", false},
    {"password-missing", "PERS_8005", false},
    {"authority-refused", "PERS_8005", false},
    {"nothing-to-do", "PERS_8005", false},
    {"unsupported", "PERS_8005", false},
    {"initialization-failed", "PERS_8005", true},
    {"internal", "PERS_8005", false},
}};

[[nodiscard]] constexpr const ErrorInfo& error_info(Reason reason) {
  return kErrorTable[static_cast<std::size_t>(reason)];
}

}  // namespace strongroom
