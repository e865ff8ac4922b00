#include "roots/tpm/tpm_errors.h"

#include <gtest/gtest.h>

namespace strongroom::roots {
namespace {

constexpr TSS2_RC kOtherManager = TSS2_RESMGR_TPM_RC_LAYER;  // tpm2-abrmd
constexpr TSS2_RC kLinuxManager = TSS2_RESMGR_RC_LAYER;      // /dev/tpmrm0

TEST(TpmErrors, HandleSessionAndParameterNumbersAreTakenOff) {
  struct Case {
    TSS2_RC rc;
    TSS2_RC code;
  };
  for (const Case& c : {
           Case{0x08B, TPM2_RC_HANDLE},
           Case{0x18B, TPM2_RC_HANDLE},       // handle 1
           Case{0x28B, TPM2_RC_HANDLE},       // handle 2
           Case{0x1C4, TPM2_RC_VALUE},        // parameter 1
           Case{0x7C4, TPM2_RC_VALUE},        // parameter 7
           Case{0x184, TPM2_RC_VALUE},        // handle 1
           Case{0x98E, TPM2_RC_AUTH_FAIL},    // session 1
           Case{0x9A2, TPM2_RC_BAD_AUTH},     // session 1
           Case{0xAA2, TPM2_RC_BAD_AUTH},     // session 2
           Case{0x99D, TPM2_RC_POLICY_FAIL},  // session 1
           Case{0x1DF, TPM2_RC_INTEGRITY},    // parameter 1
           Case{0x126, TPM2_RC_POLICY},       // format zero has no such numbers
           Case{0x14C, TPM2_RC_NV_DEFINED},
           Case{0x921, TPM2_RC_LOCKOUT},
           Case{0x918, TPM2_RC_REFERENCE_S0},
           Case{kOtherManager | 0x9A2, TPM2_RC_BAD_AUTH},
           Case{kLinuxManager | 0x143, TPM2_RC_COMMAND_CODE},
           Case{0, 0},
           Case{kLinuxManager | 0x02, 0},  // the manager's own
           Case{TSS2_TCTI_RC_IO_ERROR, 0},
           Case{TSS2_ESYS_RC_RSP_AUTH_FAILED, 0},
       }) {
    EXPECT_EQ(tpm_code(c.rc), c.code) << describe_code(c.rc);
  }
}

TEST(TpmErrors, HaveAReason) {
  struct Case {
    TSS2_RC rc;
    Reason reason;
  };
  for (const Case& c : {
           Case{0x921, Reason::kTpmLockedOut},
           Case{kLinuxManager | 0x921, Reason::kTpmLockedOut},
           Case{0x920, Reason::kTpmUnavailable},  // NV_RATE
           Case{0x922, Reason::kTpmUnavailable},  // RETRY
           Case{0x923, Reason::kTpmUnavailable},  // NV_UNAVAILABLE
           Case{0x908, Reason::kTpmUnavailable},  // YIELDED
           Case{0x90A, Reason::kTpmUnavailable},  // TESTING
           Case{0x902, Reason::kTpmUnavailable},  // OBJECT_MEMORY
           Case{0x903, Reason::kTpmUnavailable},  // SESSION_MEMORY
           Case{0x910, Reason::kTpmUnavailable},  // REFERENCE_H0
           Case{0x100, Reason::kTpmUnavailable},  // INITIALIZE
           Case{0x101, Reason::kTpmUnavailable},  // FAILURE
           Case{0x128, Reason::kTpmUnavailable},
           Case{0x14B, Reason::kTpmRefused},  // NV_SPACE
           Case{0x14C, Reason::kTpmRefused},
           Case{0x1DF, Reason::kTpmRefused},
           Case{0x9A2, Reason::kTpmRefused},
           Case{0x5FF, Reason::kTpmRefused},  // vendor's, unknown
           Case{TSS2_TCTI_RC_IO_ERROR, Reason::kTpmUnavailable},
           Case{TSS2_ESYS_RC_RSP_AUTH_FAILED, Reason::kTpmUnavailable},
           Case{TSS2_SYS_RC_MALFORMED_RESPONSE, Reason::kTpmUnavailable},
           Case{TSS2_ESYS_RC_MEMORY, Reason::kInternal},
           Case{TSS2_ESYS_RC_BAD_TR, Reason::kInternal},
           Case{kLinuxManager | 0x02, Reason::kTpmUnavailable},
       }) {
    const Status status = tpm_error("TPM2_Test", c.rc);
    EXPECT_TRUE(status.is(c.reason)) << status.error().detail;
    EXPECT_NE(status.error().detail.find("TPM2_Test"), std::string::npos);
    EXPECT_NE(status.error().detail.find(hexadecimal(c.rc)), std::string::npos) << status.error().detail;
  }
}

TEST(TpmErrors, LostState) {
  for (const TSS2_RC rc : {0x100u, 0x910u, 0x916u, 0x918u, 0x91Eu, kOtherManager | 0x918u})
    EXPECT_TRUE(lost_state(rc));
  for (const TSS2_RC rc : {0u, 0x90Fu, 0x91Fu, 0x921u, 0x18Bu, 0x9A2u, TSS2_RC(TSS2_TCTI_RC_IO_ERROR)}) {
    EXPECT_FALSE(lost_state(rc)) << rc;
  }
  EXPECT_TRUE(not_from_tpm(TSS2_TCTI_RC_IO_ERROR));
  EXPECT_TRUE(not_from_tpm(TSS2_ESYS_RC_RSP_AUTH_FAILED));
  EXPECT_FALSE(not_from_tpm(0x18B));
  EXPECT_FALSE(not_from_tpm(TSS2_RC_SUCCESS));
}

TEST(TpmErrors, Describe) {
  EXPECT_EQ(describe_code(0x98E), "TPM_RC_AUTH_FAIL (0x98e): wrong authorisation");
  EXPECT_EQ(describe_code(0x5FF), "response code 0x5ff");
  EXPECT_EQ(describe_code(TSS2_TCTI_RC_IO_ERROR), "the connection to it failed (0xa000a)");
}

}  // namespace
}  // namespace strongroom::roots
