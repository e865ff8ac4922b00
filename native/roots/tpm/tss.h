// The part of tpm2-tss (3.0 and later) that the TPM root calls: the Enhanced System API, marshalling, and the loader of
// transports (TCTI). Types come from its headers, functions by dlopen, so that the addon needs none of it until a TPM is
// used.
#pragma once

#include <tss2/tss2_esys.h>
#include <tss2/tss2_mu.h>
#include <tss2/tss2_tctildr.h>

#include "base/status.h"

// One list for the table and for the loader.
// clang-format off
#define SR_TSS_ESYS(X) \
  X(Esys_Initialize) X(Esys_Finalize) X(Esys_Free) X(Esys_TR_FromTPMPublic) X(Esys_TR_Close) \
  X(Esys_TR_GetTpmHandle) X(Esys_TR_GetName) X(Esys_TR_SetAuth) X(Esys_TR_Serialize) X(Esys_TRSess_SetAttributes) \
  X(Esys_Startup) X(Esys_Shutdown) X(Esys_StartAuthSession) X(Esys_FlushContext) \
  X(Esys_CreatePrimary) X(Esys_Create) X(Esys_Load) X(Esys_Unseal) X(Esys_PolicyNV) \
  X(Esys_PolicyPCR) X(Esys_PolicyAuthValue) X(Esys_PolicySecret) X(Esys_PCR_Read) \
  X(Esys_GetCapability) X(Esys_GetRandom) X(Esys_ReadPublic) X(Esys_ReadClock) \
  X(Esys_NV_DefineSpace) X(Esys_NV_UndefineSpace) X(Esys_NV_ReadPublic) X(Esys_NV_Read) \
  X(Esys_NV_Increment) X(Esys_NV_Extend)
#define SR_TSS_MU(X) \
  X(Tss2_MU_TPM2B_PUBLIC_Marshal) X(Tss2_MU_TPM2B_PUBLIC_Unmarshal) \
  X(Tss2_MU_TPM2B_PRIVATE_Marshal) X(Tss2_MU_TPM2B_PRIVATE_Unmarshal) \
  X(Tss2_MU_TPMT_PUBLIC_Marshal)
#define SR_TSS_TCTILDR(X) \
  X(Tss2_TctiLdr_Initialize) X(Tss2_TctiLdr_Finalize)
// clang-format on

namespace strongroom::roots::tss {

struct Functions {
#define SR_MEMBER(name) decltype(&::name) name;
  SR_TSS_ESYS(SR_MEMBER) SR_TSS_MU(SR_MEMBER) SR_TSS_TCTILDR(SR_MEMBER)
#undef SR_MEMBER
};

// Loaded once per process and kept. kLibraryMissing says why not; the next call tries again.
[[nodiscard]] Result<const Functions*> functions();

}  // namespace strongroom::roots::tss
