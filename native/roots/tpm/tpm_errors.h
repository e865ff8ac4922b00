// Response codes of a TPM (TPM 2.0 part 2, 6.6) and of the layers of tpm2-tss (TSS overview, 3) as reasons of the error
// table. What a code means depends on the command; a command that knows better says so before it asks here.
#pragma once

#include <tss2/tss2_common.h>
#include <tss2/tss2_tpm2_types.h>

#include <string>
#include <string_view>

#include "base/status.h"

namespace strongroom::roots {

// The TPM's own code without layer, handle, session and parameter numbers, comparable with TPM2_RC_...; 0 for success
// and for what another layer reported.
[[nodiscard]] TSS2_RC tpm_code(TSS2_RC rc);

// A handle or session that the connection was given is unknown, or the TPM was reset: it lost its volatile state. The
// command was not executed.
[[nodiscard]] bool lost_state(TSS2_RC rc);

// Not answered by a TPM: transport, marshalling, or an answer that does not authenticate. Whether the command was executed
// is unknown.
[[nodiscard]] bool not_from_tpm(TSS2_RC rc);

[[nodiscard]] bool is_wrong_authorisation(TSS2_RC rc);

// `command` such as "TPM2_Load". Never a success.
[[nodiscard]] Status tpm_error(std::string_view command, TSS2_RC rc);
[[nodiscard]] std::string describe_code(TSS2_RC rc);          // "TPM_RC_LOCKOUT (0x921)"
[[nodiscard]] std::string hexadecimal(std::uint32_t number);  // "0x1800000"

}  // namespace strongroom::roots
