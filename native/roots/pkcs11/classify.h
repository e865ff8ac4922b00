// What a return value of a PKCS#11 module means. Pure; every value of PKCS#11 v2.40 and v3.0 stands in one table.
//
// Invariants:
// - Only evidence becomes kTokenMissing or kWrappedDekCorrupt, because these may lead into a restore; what may be an
//   outage, unknown and vendor-defined values included, is kHsmUnreachable.
// - A cure says what makes the next attempt worth while. After kReopen the call is known not to have been carried out;
//   after kReinitialise that is unknown.
#pragma once

#include <span>
#include <string>

#include "base/status.h"
#include "roots/pkcs11/cryptoki.h"

namespace strongroom::roots::pkcs11 {

enum class Operation : std::uint8_t {
  kInitialise,  // C_GetFunctionList, C_Initialize
  kUse,         // slots, tokens, sessions, login, objects, keys
  kSetUp,       // C_InitToken, C_InitPIN and the security officer's login
  kUnwrap,      // C_UnwrapKey and C_Decrypt of a wrapped key
};

enum class Cure : std::uint8_t {
  kNone,
  kReopen,        // a new session and login
  kReinitialise,  // C_Finalize, C_Initialize, then the same
};

struct Meaning {
  Reason reason = Reason::kHsmUnreachable;
  Cure cure = Cure::kNone;
  friend bool operator==(const Meaning&, const Meaning&) = default;
};

// `value` is not CKR_OK.
[[nodiscard]] Meaning classify(CK_RV value, Operation operation);

// `value` refuses what was asked for, or may do so: some HSMs refuse a template or a mechanism with CKR_GENERAL_ERROR,
// CKR_FUNCTION_FAILED or a code of their vendor. For calls that have an alternative.
[[nodiscard]] bool may_be_refusal(CK_RV value);

// "CKR_PIN_INCORRECT (0xa0)", "return value 0x80000123".
[[nodiscard]] std::string describe(CK_RV value);

struct ReturnValue {
  CK_RV value;
  const char* name;
  Meaning meaning;  // for Operation::kUse
};
[[nodiscard]] std::span<const ReturnValue> return_values();  // ascending

}  // namespace strongroom::roots::pkcs11
