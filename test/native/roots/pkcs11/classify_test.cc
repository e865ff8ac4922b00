// What each return value means. The groups are written out here once more, by hand and by another order than the table's.
#include "roots/pkcs11/classify.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <vector>

namespace strongroom::roots::pkcs11 {
namespace {

constexpr CK_RV kTokenResourceExceeded = 0x201;
constexpr CK_RV kOperationCancelFailed = 0x202;

struct Group {
  Meaning meaning;
  std::vector<CK_RV> values;
};

// Every other value of the table is a refusal of the call.
const std::vector<Group> kGroups = {
    {{Reason::kTokenMissing, Cure::kReinitialise}, {CKR_SLOT_ID_INVALID, CKR_TOKEN_NOT_PRESENT}},
    {{Reason::kPinWrong, Cure::kNone}, {CKR_PIN_INCORRECT, CKR_PIN_INVALID, CKR_PIN_LEN_RANGE}},
    {{Reason::kPinLocked, Cure::kNone}, {CKR_PIN_LOCKED}},
    {{Reason::kPinExpired, Cure::kNone}, {CKR_PIN_EXPIRED}},
    {{Reason::kPinLength, Cure::kNone}, {0x1c3}},  // CKR_PIN_TOO_WEAK
    {{Reason::kHsmAlgorithmMissing, Cure::kNone}, {CKR_MECHANISM_INVALID}},
    {{Reason::kTokenWriteFailed, Cure::kNone},
     {CKR_DEVICE_MEMORY, CKR_SESSION_READ_ONLY, CKR_TOKEN_WRITE_PROTECTED}},
    {{Reason::kPinNotInitialized, Cure::kNone}, {CKR_USER_PIN_NOT_INITIALIZED}},
    {{Reason::kHsmUnreachable, Cure::kReopen},
     {CKR_SESSION_CLOSED, CKR_SESSION_HANDLE_INVALID, CKR_USER_NOT_LOGGED_IN, CKR_OPERATION_ACTIVE,
      CKR_OPERATION_NOT_INITIALIZED, kOperationCancelFailed}},
    {{Reason::kHsmUnreachable, Cure::kReinitialise},
     {CKR_GENERAL_ERROR, CKR_FUNCTION_FAILED, CKR_DEVICE_ERROR, CKR_DEVICE_REMOVED, CKR_KEY_HANDLE_INVALID,
      CKR_OBJECT_HANDLE_INVALID, CKR_TOKEN_NOT_RECOGNIZED, CKR_UNWRAPPING_KEY_HANDLE_INVALID,
      CKR_WRAPPING_KEY_HANDLE_INVALID, CKR_CRYPTOKI_NOT_INITIALIZED, CKR_MUTEX_BAD, CKR_MUTEX_NOT_LOCKED,
      CKR_FIPS_SELF_TEST_FAILED, CKR_LIBRARY_LOAD_FAILED}},
    {{Reason::kHsmUnreachable, Cure::kNone},
     {CKR_CANCEL, CKR_HOST_MEMORY, CKR_NEED_TO_CREATE_THREADS, CKR_CANT_LOCK, CKR_FUNCTION_CANCELED,
      CKR_SESSION_COUNT, CKR_SESSION_EXISTS, CKR_SESSION_READ_ONLY_EXISTS, CKR_SESSION_READ_WRITE_SO_EXISTS,
      CKR_USER_ANOTHER_ALREADY_LOGGED_IN, CKR_USER_TOO_MANY_TYPES, CKR_CRYPTOKI_ALREADY_INITIALIZED,
      kTokenResourceExceeded}},
};

TEST(Pkcs11Classify, EveryValue) {
  std::map<CK_RV, Meaning> expected;
  for (const Group& group : kGroups) {
    for (const CK_RV value : group.values) expected[value] = group.meaning;
  }
  std::size_t listed = 0;
  for (const ReturnValue& entry : return_values()) {
    const auto at = expected.find(entry.value);
    const Meaning meaning = at != expected.end() ? at->second : Meaning{Reason::kHsmRefused, Cure::kNone};
    if (at != expected.end()) ++listed;
    EXPECT_EQ(classify(entry.value, Operation::kUse), meaning) << entry.name;
    EXPECT_EQ(entry.meaning, meaning) << entry.name;
  }
  EXPECT_EQ(listed, expected.size()) << "the table lacks a value";
  EXPECT_GE(return_values().size(), 90U);
}

TEST(Pkcs11Classify, WhatMayBeARefusal) {
  EXPECT_FALSE(may_be_refusal(CKR_OK));
  for (const CK_RV value :
       {CK_RV{CKR_GENERAL_ERROR}, CK_RV{CKR_FUNCTION_FAILED}, CK_RV{CKR_VENDOR_DEFINED} + 7,
        CK_RV{CKR_TEMPLATE_INCONSISTENT}, CK_RV{CKR_MECHANISM_INVALID}}) {
    EXPECT_TRUE(may_be_refusal(value)) << value;
  }
  for (const CK_RV value : {CKR_DEVICE_ERROR, CKR_DEVICE_REMOVED, CKR_TOKEN_NOT_PRESENT, CKR_PIN_INCORRECT,
                            CKR_SESSION_HANDLE_INVALID, CKR_DEVICE_MEMORY}) {
    EXPECT_FALSE(may_be_refusal(value)) << value;
  }
}

TEST(Pkcs11Classify, UnknownValuesAreAnOutage) {
  for (const CK_RV value :
       {CK_RV{0x4}, CK_RV{0x1ff}, CK_RV{CKR_VENDOR_DEFINED}, CK_RV{CKR_VENDOR_DEFINED | 0x123}, ~CK_RV{0}}) {
    for (const Operation operation : {Operation::kUse, Operation::kSetUp, Operation::kUnwrap})
      EXPECT_EQ(classify(value, operation), (Meaning{Reason::kHsmUnreachable, Cure::kReinitialise})) << value;
  }
}

// What may lead into a restore is answered on evidence only.
TEST(Pkcs11Classify, OnlyEvidenceMayLeadIntoARestore) {
  const std::set<CK_RV> corrupt = {
      CKR_DATA_INVALID,    CKR_DATA_LEN_RANGE,      CKR_ENCRYPTED_DATA_INVALID, CKR_ENCRYPTED_DATA_LEN_RANGE,
      CKR_KEY_SIZE_RANGE,  CKR_WRAPPED_KEY_INVALID, CKR_WRAPPED_KEY_LEN_RANGE,  CKR_GENERAL_ERROR,
      CKR_FUNCTION_FAILED, CKR_DEVICE_ERROR};
  for (CK_RV value = 1; value < 0x400; ++value) {
    for (const Operation operation :
         {Operation::kInitialise, Operation::kUse, Operation::kSetUp, Operation::kUnwrap}) {
      const Reason reason = classify(value, operation).reason;
      EXPECT_NE(reason, Reason::kKekMissing);
      EXPECT_NE(reason, Reason::kKekReplaced);
      EXPECT_EQ(reason == Reason::kWrappedDekCorrupt,
                operation == Operation::kUnwrap && corrupt.count(value) != 0)
          << value;
      if (reason == Reason::kTokenMissing) {
        EXPECT_TRUE(value == CKR_TOKEN_NOT_PRESENT || value == CKR_SLOT_ID_INVALID) << value;
      }
      if (operation == Operation::kInitialise) {
        EXPECT_EQ(reason, Reason::kHsmUnreachable) << value;
      }
    }
  }
}

TEST(Pkcs11Classify, ANewPinThatIsNotTakenIsRefused) {
  EXPECT_EQ(classify(CKR_PIN_LEN_RANGE, Operation::kSetUp).reason, Reason::kPinLength);
  EXPECT_EQ(classify(CKR_PIN_INVALID, Operation::kSetUp).reason, Reason::kPinLength);
  EXPECT_EQ(classify(CKR_PIN_INCORRECT, Operation::kSetUp).reason, Reason::kPinWrong);
}

TEST(Pkcs11Classify, Names) {
  EXPECT_EQ(describe(CKR_PIN_INCORRECT), "CKR_PIN_INCORRECT (0xa0)");
  EXPECT_EQ(describe(CKR_VENDOR_DEFINED | 0x123), "return value 0x80000123");
}

}  // namespace
}  // namespace strongroom::roots::pkcs11
