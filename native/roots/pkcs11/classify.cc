#include "roots/pkcs11/classify.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace strongroom::roots::pkcs11 {
namespace {

constexpr Meaning kRefused = {Reason::kHsmRefused, Cure::kNone};
constexpr Meaning kUnreachable = {Reason::kHsmUnreachable, Cure::kNone};
constexpr Meaning kNotWritten = {Reason::kTokenWriteFailed, Cure::kNone};
constexpr Meaning kStaleSession = {Reason::kHsmUnreachable, Cure::kReopen};
constexpr Meaning kDevice = {Reason::kHsmUnreachable, Cure::kReinitialise};

// The numbers are written out, because headers differ in which of them they have.
constexpr auto kReturnValues = std::to_array<ReturnValue>({
    {0x1, "CKR_CANCEL", kUnreachable},
    {0x2, "CKR_HOST_MEMORY", kUnreachable},
    {0x3, "CKR_SLOT_ID_INVALID", {Reason::kTokenMissing, Cure::kReinitialise}},
    {0x5, "CKR_GENERAL_ERROR", kDevice},
    {0x6, "CKR_FUNCTION_FAILED", kDevice},
    {0x7, "CKR_ARGUMENTS_BAD", kRefused},
    {0x8, "CKR_NO_EVENT", kRefused},
    {0x9, "CKR_NEED_TO_CREATE_THREADS", kUnreachable},
    {0xa, "CKR_CANT_LOCK", kUnreachable},
    {0x10, "CKR_ATTRIBUTE_READ_ONLY", kRefused},
    {0x11, "CKR_ATTRIBUTE_SENSITIVE", kRefused},
    {0x12, "CKR_ATTRIBUTE_TYPE_INVALID", kRefused},
    {0x13, "CKR_ATTRIBUTE_VALUE_INVALID", kRefused},
    {0x1b, "CKR_ACTION_PROHIBITED", kRefused},
    {0x20, "CKR_DATA_INVALID", kRefused},
    {0x21, "CKR_DATA_LEN_RANGE", kRefused},
    {0x30, "CKR_DEVICE_ERROR", kDevice},
    {0x31, "CKR_DEVICE_MEMORY", kNotWritten},
    {0x32, "CKR_DEVICE_REMOVED", kDevice},
    {0x40, "CKR_ENCRYPTED_DATA_INVALID", kRefused},
    {0x41, "CKR_ENCRYPTED_DATA_LEN_RANGE", kRefused},
    {0x42, "CKR_AEAD_DECRYPT_FAILED", kRefused},
    {0x50, "CKR_FUNCTION_CANCELED", kUnreachable},
    {0x51, "CKR_FUNCTION_NOT_PARALLEL", kRefused},
    {0x54, "CKR_FUNCTION_NOT_SUPPORTED", kRefused},
    {0x60, "CKR_KEY_HANDLE_INVALID", kDevice},
    {0x62, "CKR_KEY_SIZE_RANGE", kRefused},
    {0x63, "CKR_KEY_TYPE_INCONSISTENT", kRefused},
    {0x64, "CKR_KEY_NOT_NEEDED", kRefused},
    {0x65, "CKR_KEY_CHANGED", kRefused},
    {0x66, "CKR_KEY_NEEDED", kRefused},
    {0x67, "CKR_KEY_INDIGESTIBLE", kRefused},
    {0x68, "CKR_KEY_FUNCTION_NOT_PERMITTED", kRefused},
    {0x69, "CKR_KEY_NOT_WRAPPABLE", kRefused},
    {0x6a, "CKR_KEY_UNEXTRACTABLE", kRefused},
    {0x70, "CKR_MECHANISM_INVALID", {Reason::kHsmAlgorithmMissing, Cure::kNone}},
    {0x71, "CKR_MECHANISM_PARAM_INVALID", kRefused},
    {0x82, "CKR_OBJECT_HANDLE_INVALID", kDevice},
    {0x90, "CKR_OPERATION_ACTIVE", kStaleSession},
    {0x91, "CKR_OPERATION_NOT_INITIALIZED", kStaleSession},
    {0xa0, "CKR_PIN_INCORRECT", {Reason::kPinWrong, Cure::kNone}},
    {0xa1, "CKR_PIN_INVALID", {Reason::kPinWrong, Cure::kNone}},
    {0xa2, "CKR_PIN_LEN_RANGE", {Reason::kPinWrong, Cure::kNone}},
    {0xa3, "CKR_PIN_EXPIRED", {Reason::kPinExpired, Cure::kNone}},
    {0xa4, "CKR_PIN_LOCKED", {Reason::kPinLocked, Cure::kNone}},
    {0xb0, "CKR_SESSION_CLOSED", kStaleSession},
    {0xb1, "CKR_SESSION_COUNT", kUnreachable},
    {0xb3, "CKR_SESSION_HANDLE_INVALID", kStaleSession},
    {0xb4, "CKR_SESSION_PARALLEL_NOT_SUPPORTED", kRefused},
    {0xb5, "CKR_SESSION_READ_ONLY", kNotWritten},
    {0xb6, "CKR_SESSION_EXISTS", kUnreachable},
    {0xb7, "CKR_SESSION_READ_ONLY_EXISTS", kUnreachable},
    {0xb8, "CKR_SESSION_READ_WRITE_SO_EXISTS", kUnreachable},
    {0xc0, "CKR_SIGNATURE_INVALID", kRefused},
    {0xc1, "CKR_SIGNATURE_LEN_RANGE", kRefused},
    {0xd0, "CKR_TEMPLATE_INCOMPLETE", kRefused},
    {0xd1, "CKR_TEMPLATE_INCONSISTENT", kRefused},
    {0xe0, "CKR_TOKEN_NOT_PRESENT", {Reason::kTokenMissing, Cure::kReinitialise}},
    {0xe1, "CKR_TOKEN_NOT_RECOGNIZED", kDevice},
    {0xe2, "CKR_TOKEN_WRITE_PROTECTED", kNotWritten},
    {0xf0, "CKR_UNWRAPPING_KEY_HANDLE_INVALID", kDevice},
    {0xf1, "CKR_UNWRAPPING_KEY_SIZE_RANGE", kRefused},
    {0xf2, "CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT", kRefused},
    {0x100, "CKR_USER_ALREADY_LOGGED_IN", kRefused},
    {0x101, "CKR_USER_NOT_LOGGED_IN", kStaleSession},
    {0x102, "CKR_USER_PIN_NOT_INITIALIZED", {Reason::kPinNotInitialized, Cure::kNone}},
    {0x103, "CKR_USER_TYPE_INVALID", kRefused},
    {0x104, "CKR_USER_ANOTHER_ALREADY_LOGGED_IN", kUnreachable},
    {0x105, "CKR_USER_TOO_MANY_TYPES", kUnreachable},
    {0x110, "CKR_WRAPPED_KEY_INVALID", kRefused},
    {0x112, "CKR_WRAPPED_KEY_LEN_RANGE", kRefused},
    {0x113, "CKR_WRAPPING_KEY_HANDLE_INVALID", kDevice},
    {0x114, "CKR_WRAPPING_KEY_SIZE_RANGE", kRefused},
    {0x115, "CKR_WRAPPING_KEY_TYPE_INCONSISTENT", kRefused},
    {0x120, "CKR_RANDOM_SEED_NOT_SUPPORTED", kRefused},
    {0x121, "CKR_RANDOM_NO_RNG", kRefused},
    {0x130, "CKR_DOMAIN_PARAMS_INVALID", kRefused},
    {0x140, "CKR_CURVE_NOT_SUPPORTED", kRefused},
    {0x150, "CKR_BUFFER_TOO_SMALL", kRefused},
    {0x160, "CKR_SAVED_STATE_INVALID", kRefused},
    {0x170, "CKR_INFORMATION_SENSITIVE", kRefused},
    {0x180, "CKR_STATE_UNSAVEABLE", kRefused},
    {0x190, "CKR_CRYPTOKI_NOT_INITIALIZED", kDevice},
    {0x191, "CKR_CRYPTOKI_ALREADY_INITIALIZED", kUnreachable},
    {0x1a0, "CKR_MUTEX_BAD", kDevice},
    {0x1a1, "CKR_MUTEX_NOT_LOCKED", kDevice},
    {0x1b0, "CKR_NEW_PIN_MODE", kRefused},
    {0x1b1, "CKR_NEXT_OTP", kRefused},
    {0x1c0, "CKR_EXCEEDED_MAX_ITERATIONS", kRefused},
    {0x1c1, "CKR_FIPS_SELF_TEST_FAILED", kDevice},
    {0x1c2, "CKR_LIBRARY_LOAD_FAILED", kDevice},
    {0x1c3, "CKR_PIN_TOO_WEAK", {Reason::kPinLength, Cure::kNone}},
    {0x1c4, "CKR_PUBLIC_KEY_INVALID", kRefused},
    {0x200, "CKR_FUNCTION_REJECTED", kRefused},
    {0x201, "CKR_TOKEN_RESOURCE_EXCEEDED", kUnreachable},
    {0x202, "CKR_OPERATION_CANCEL_FAILED", kStaleSession},
    {0x203, "CKR_KEY_EXHAUSTED", kRefused},
});
static_assert(std::is_sorted(kReturnValues.begin(), kReturnValues.end(),
                             [](const ReturnValue& a, const ReturnValue& b) { return a.value < b.value; }));

const ReturnValue* find(CK_RV value) {
  const auto* const at = std::lower_bound(kReturnValues.begin(), kReturnValues.end(), value,
                                          [](const ReturnValue& entry, CK_RV v) { return entry.value < v; });
  return at != kReturnValues.end() && at->value == value ? &*at : nullptr;
}

// Modules disagree on how a wrapped key that does not authenticate is refused: SoftHSM says CKR_GENERAL_ERROR, NSS
// CKR_ENCRYPTED_DATA_INVALID, others CKR_WRAPPED_KEY_INVALID or CKR_DEVICE_ERROR. The unclear ones are believed only
// when they come again from a module initialised anew (and the caller then tries the key on a wrap of its own).
Meaning classify_unwrap(CK_RV value, const Meaning& otherwise) {
  switch (value) {
    case CKR_DATA_INVALID:
    case CKR_DATA_LEN_RANGE:
    case CKR_ENCRYPTED_DATA_INVALID:
    case CKR_ENCRYPTED_DATA_LEN_RANGE:
    case CKR_KEY_SIZE_RANGE:
    case CKR_WRAPPED_KEY_INVALID:
    case CKR_WRAPPED_KEY_LEN_RANGE:
      return {Reason::kWrappedDekCorrupt, Cure::kNone};
    case CKR_GENERAL_ERROR:
    case CKR_FUNCTION_FAILED:
    case CKR_DEVICE_ERROR:
      return {Reason::kWrappedDekCorrupt, Cure::kReinitialise};
    default:
      return otherwise;
  }
}

Meaning classify_set_up(CK_RV value, const Meaning& otherwise) {
  switch (value) {
    case CKR_PIN_INVALID:  // a new PIN that the token does not take
    case CKR_PIN_LEN_RANGE:
      return {Reason::kPinLength, Cure::kNone};
    default:
      return otherwise;
  }
}

}  // namespace

std::span<const ReturnValue> return_values() { return kReturnValues; }

Meaning classify(CK_RV value, Operation operation) {
  const ReturnValue* const known = find(value);
  const Meaning meaning = known != nullptr ? known->meaning : kDevice;
  switch (operation) {
    case Operation::kInitialise:
      return kUnreachable;
    case Operation::kSetUp:
      return classify_set_up(value, meaning);
    case Operation::kUnwrap:
      return classify_unwrap(value, meaning);
    case Operation::kUse:
      break;
  }
  return meaning;
}

bool may_be_refusal(CK_RV value) {
  if (value == CKR_OK) return false;
  const ReturnValue* const known = find(value);
  if (known == nullptr || value == CKR_GENERAL_ERROR || value == CKR_FUNCTION_FAILED) return true;
  return known->meaning.reason == Reason::kHsmRefused ||
         known->meaning.reason == Reason::kHsmAlgorithmMissing;
}

std::string describe(CK_RV value) {
  std::array<char, 2 * sizeof(value)> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value, 16).ptr;
  const std::string number = "0x" + std::string(digits.data(), end);
  const ReturnValue* const known = find(value);
  if (known == nullptr) return std::string("return value ") + number;
  return std::string(known->name) + " (" + number + ")";
}

}  // namespace strongroom::roots::pkcs11
