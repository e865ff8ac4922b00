// The PKCS#11 header (OASIS, v2.40) as Debian's libp11-kit-dev has it, with its CK_ names, and what it lacks. Included by
// the files of this directory only, and by none of their public headers.
#pragma once

#include <p11-kit/pkcs11.h>

namespace strongroom::roots::pkcs11 {

// C_INITIALIZE_ARGS with room behind pReserved: NSS has its LibraryParameters in the place of pReserved, which comes after.
struct InitializeArguments {
  CK_C_INITIALIZE_ARGS standard{};
  void* behind = nullptr;
};

}  // namespace strongroom::roots::pkcs11
