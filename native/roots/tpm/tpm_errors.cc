#include "roots/tpm/tpm_errors.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace strongroom::roots {
namespace {

constexpr TSS2_RC kLayerMask = 0x00FF0000;

struct Entry {
  TSS2_RC code;
  const char* name;
  Reason reason;
  const char* meaning;  // what the operator needs beyond the name, or nullptr
};

// Everything that is not listed is kTpmRefused.
constexpr std::array kTable = {
    // Passing conditions. None of these executed the command: part 2, table 17 (warnings) and part 1, 39 (rate limits).
    Entry{TPM2_RC_RETRY, "TPM_RC_RETRY", Reason::kTpmUnavailable, nullptr},
    Entry{TPM2_RC_YIELDED, "TPM_RC_YIELDED", Reason::kTpmUnavailable, nullptr},
    Entry{TPM2_RC_TESTING, "TPM_RC_TESTING", Reason::kTpmUnavailable, "it is testing itself"},
    Entry{TPM2_RC_CANCELED, "TPM_RC_CANCELED", Reason::kTpmUnavailable, nullptr},
    Entry{TPM2_RC_NV_RATE, "TPM_RC_NV_RATE", Reason::kTpmUnavailable, "it limits the rate of NV writes"},
    Entry{TPM2_RC_NV_UNAVAILABLE, "TPM_RC_NV_UNAVAILABLE", Reason::kTpmUnavailable, nullptr},
    // Any PCR counts, also one that the policy does not name (part 3, 23.7).
    Entry{TPM2_RC_PCR_CHANGED, "TPM_RC_PCR_CHANGED", Reason::kTpmUnavailable,
          "its PCRs are being extended all the time"},
    Entry{TPM2_RC_MEMORY, "TPM_RC_MEMORY", Reason::kTpmUnavailable, nullptr},
    Entry{TPM2_RC_OBJECT_MEMORY, "TPM_RC_OBJECT_MEMORY", Reason::kTpmUnavailable,
          "programs that use it without a resource manager have filled its memory for objects"},
    Entry{TPM2_RC_OBJECT_HANDLES, "TPM_RC_OBJECT_HANDLES", Reason::kTpmUnavailable, nullptr},
    Entry{TPM2_RC_SESSION_MEMORY, "TPM_RC_SESSION_MEMORY", Reason::kTpmUnavailable,
          "programs that use it without a resource manager have filled its memory for sessions"},
    Entry{TPM2_RC_SESSION_HANDLES, "TPM_RC_SESSION_HANDLES", Reason::kTpmUnavailable, nullptr},
    Entry{TPM2_RC_CONTEXT_GAP, "TPM_RC_CONTEXT_GAP", Reason::kTpmUnavailable, nullptr},
    Entry{TPM2_RC_INITIALIZE, "TPM_RC_INITIALIZE", Reason::kTpmUnavailable, "it was not started"},
    Entry{TPM2_RC_FAILURE, "TPM_RC_FAILURE", Reason::kTpmUnavailable, "it is in failure mode"},
    Entry{TPM2_RC_REBOOT, "TPM_RC_REBOOT", Reason::kTpmUnavailable, "it needs a restart of the machine"},
    Entry{TPM2_RC_UPGRADE, "TPM_RC_UPGRADE", Reason::kTpmUnavailable, "its firmware is being changed"},
    // Dictionary attacks.
    Entry{TPM2_RC_LOCKOUT, "TPM_RC_LOCKOUT", Reason::kTpmLockedOut, nullptr},
    // Named so that a reader of the message need not look them up.
    Entry{TPM2_RC_AUTH_FAIL, "TPM_RC_AUTH_FAIL", Reason::kTpmRefused, "wrong authorisation"},
    Entry{TPM2_RC_BAD_AUTH, "TPM_RC_BAD_AUTH", Reason::kTpmRefused, "wrong authorisation"},
    Entry{TPM2_RC_AUTH_MISSING, "TPM_RC_AUTH_MISSING", Reason::kTpmRefused, nullptr},
    Entry{TPM2_RC_AUTH_UNAVAILABLE, "TPM_RC_AUTH_UNAVAILABLE", Reason::kTpmRefused, nullptr},
    Entry{TPM2_RC_AUTH_TYPE, "TPM_RC_AUTH_TYPE", Reason::kTpmRefused, nullptr},
    Entry{TPM2_RC_POLICY_FAIL, "TPM_RC_POLICY_FAIL", Reason::kTpmRefused, "the object has another policy"},
    Entry{TPM2_RC_POLICY, "TPM_RC_POLICY", Reason::kTpmRefused, nullptr},
    Entry{TPM2_RC_PCR, "TPM_RC_PCR", Reason::kTpmRefused, nullptr},
    Entry{TPM2_RC_INTEGRITY, "TPM_RC_INTEGRITY", Reason::kTpmRefused,
          "the object was damaged or belongs to another parent"},
    Entry{TPM2_RC_BINDING, "TPM_RC_BINDING", Reason::kTpmRefused, "public and private part differ"},
    Entry{TPM2_RC_HANDLE, "TPM_RC_HANDLE", Reason::kTpmRefused, nullptr},
    Entry{TPM2_RC_VALUE, "TPM_RC_VALUE", Reason::kTpmRefused, nullptr},
    Entry{TPM2_RC_SIZE, "TPM_RC_SIZE", Reason::kTpmRefused, nullptr},
    Entry{TPM2_RC_ATTRIBUTES, "TPM_RC_ATTRIBUTES", Reason::kTpmRefused, nullptr},
    Entry{TPM2_RC_TYPE, "TPM_RC_TYPE", Reason::kTpmRefused, nullptr},
    Entry{TPM2_RC_SCHEME, "TPM_RC_SCHEME", Reason::kTpmRefused, nullptr},
    Entry{TPM2_RC_CURVE, "TPM_RC_CURVE", Reason::kTpmRefused, "it has no curve P-256"},
    Entry{TPM2_RC_SYMMETRIC, "TPM_RC_SYMMETRIC", Reason::kTpmRefused, nullptr},
    Entry{TPM2_RC_HIERARCHY, "TPM_RC_HIERARCHY", Reason::kTpmRefused, "the hierarchy is disabled"},
    Entry{TPM2_RC_COMMAND_CODE, "TPM_RC_COMMAND_CODE", Reason::kTpmRefused, "it has no such command"},
    Entry{TPM2_RC_NV_SPACE, "TPM_RC_NV_SPACE", Reason::kTpmRefused, "its NV memory is full"},
    Entry{TPM2_RC_NV_DEFINED, "TPM_RC_NV_DEFINED", Reason::kTpmRefused, "the index is taken"},
    Entry{TPM2_RC_NV_AUTHORIZATION, "TPM_RC_NV_AUTHORIZATION", Reason::kTpmRefused, nullptr},
    Entry{TPM2_RC_NV_LOCKED, "TPM_RC_NV_LOCKED", Reason::kTpmRefused, nullptr},
    Entry{TPM2_RC_NV_RANGE, "TPM_RC_NV_RANGE", Reason::kTpmRefused, nullptr},
    Entry{TPM2_RC_NV_UNINITIALIZED, "TPM_RC_NV_UNINITIALIZED", Reason::kTpmRefused,
          "the index was not yet written"},
    Entry{TPM2_RC_BAD_CONTEXT, "TPM_RC_BAD_CONTEXT", Reason::kTpmRefused, nullptr},
    Entry{TPM2_RC_REFERENCE_H0, "TPM_RC_REFERENCE_H0", Reason::kTpmUnavailable, "it was restarted"},
    Entry{TPM2_RC_REFERENCE_H1, "TPM_RC_REFERENCE_H1", Reason::kTpmUnavailable, "it was restarted"},
    Entry{TPM2_RC_REFERENCE_H2, "TPM_RC_REFERENCE_H2", Reason::kTpmUnavailable, "it was restarted"},
    Entry{TPM2_RC_REFERENCE_S0, "TPM_RC_REFERENCE_S0", Reason::kTpmUnavailable, "it was restarted"},
    Entry{TPM2_RC_REFERENCE_S1, "TPM_RC_REFERENCE_S1", Reason::kTpmUnavailable, "it was restarted"},
    Entry{TPM2_RC_REFERENCE_S2, "TPM_RC_REFERENCE_S2", Reason::kTpmUnavailable, "it was restarted"},
};

const Entry* find(TSS2_RC code) {
  const auto* const at = std::ranges::find(kTable, code, &Entry::code);
  return at == kTable.end() ? nullptr : at;
}

// Errors of tpm2-tss itself (and of a resource manager) have one numbering for all layers.
Reason reason_of_layer(TSS2_RC rc) {
  switch (rc & ~kLayerMask) {
    case TSS2_BASE_RC_MEMORY:
    case TSS2_BASE_RC_BAD_REFERENCE:
    case TSS2_BASE_RC_BAD_SEQUENCE:
    case TSS2_BASE_RC_BAD_TR:
    case TSS2_BASE_RC_ABI_MISMATCH:
      return Reason::kInternal;
    default:
      return Reason::kTpmUnavailable;
  }
}

const char* name_of_layer(TSS2_RC rc) {
  switch (rc & kLayerMask) {
    case TSS2_TCTI_RC_LAYER:
      return "the connection to it failed";
    case TSS2_RESMGR_RC_LAYER:
      return "its resource manager failed";
    default:
      return (rc & ~kLayerMask) == TSS2_BASE_RC_RSP_AUTH_FAILED ? "its answer does not authenticate"
                                                                : "tpm2-tss failed";
  }
}

}  // namespace

TSS2_RC tpm_code(TSS2_RC rc) {
  const TSS2_RC layer = rc & kLayerMask;
  // A resource manager that answers with a TPM's code marks it with a layer of its own; Linux takes the one that the TSS
  // specification means for the manager's own errors, whose numbers are below 0x80.
  const bool from_tpm = layer == TSS2_TPM_RC_LAYER || layer == TSS2_RESMGR_TPM_RC_LAYER ||
                        (layer == TSS2_RESMGR_RC_LAYER && (rc & (TPM2_RC_FMT1 | TPM2_RC_VER1)) != 0);
  if (!from_tpm) return 0;
  // Format one (bit 7): the number is in bits 0 to 5; bit 6 and bits 8 to 11 tell which handle, session or parameter.
  // Format zero: all of bits 0 to 11 count.
  return (rc & TPM2_RC_FMT1) != 0 ? rc & (TPM2_RC_FMT1 | 0x3F) : rc & 0xFFF;
}

bool lost_state(TSS2_RC rc) {
  const TSS2_RC code = tpm_code(rc);
  return code == TPM2_RC_INITIALIZE || (code >= TPM2_RC_REFERENCE_H0 && code <= TPM2_RC_REFERENCE_S6);
}

bool is_wrong_authorisation(TSS2_RC rc) {
  return tpm_code(rc) == TPM2_RC_BAD_AUTH || tpm_code(rc) == TPM2_RC_AUTH_FAIL;
}

bool not_from_tpm(TSS2_RC rc) { return rc != TSS2_RC_SUCCESS && tpm_code(rc) == 0; }

std::string hexadecimal(std::uint32_t number) {
  char text[16];
  (void)std::snprintf(text, sizeof text, "0x%x", static_cast<unsigned>(number));
  return text;
}

std::string describe_code(TSS2_RC rc) {
  const TSS2_RC code = tpm_code(rc);
  if (code == 0) return std::string(name_of_layer(rc)) + " (" + hexadecimal(rc) + ")";
  const Entry* const entry = find(code);
  if (entry == nullptr) return "response code " + hexadecimal(rc);
  return std::string(entry->name) + " (" + hexadecimal(rc) + ")" +
         (entry->meaning != nullptr ? std::string(": ") + entry->meaning : "");
}

Status tpm_error(std::string_view command, TSS2_RC rc) {
  const TSS2_RC code = tpm_code(rc);
  Reason reason = Reason::kTpmRefused;
  if (code == 0) {
    reason = reason_of_layer(rc);
  } else if (const Entry* const entry = find(code)) {
    reason = entry->reason;
  }
  return Status(reason, "the TPM, " + std::string(command) + ": " + describe_code(rc));
}

}  // namespace strongroom::roots
