// Policy digests and names, computed without a TPM (TPM 2.0 part 3, 23 and part 1, 16; SHA-256 throughout).
#pragma once

#include "base/bytes.h"
#include "roots/tpm/tpm.h"

namespace strongroom::roots {

// TPM2_PolicyNV(UNSIGNED_LE), then TPM2_PolicyPCR, then TPM2_PolicyAuthValue, as far as the policy asks for them; 32 zero
// bytes when it asks for nothing.
[[nodiscard]] Digest policy_digest(const SealPolicy& policy);

// What TPM2_PolicyPCR compares: SHA-256 over the values of the selected PCRs, in ascending order.
[[nodiscard]] Digest pcr_digest(const std::vector<Digest>& values);

// The operand of TPM2_PolicyNV and the contents of a counter: big-endian.
[[nodiscard]] std::array<std::uint8_t, 8> counter_bytes(std::uint64_t value);

// TPMA_NV of a counter of ours, before and after its first increment.
inline constexpr std::uint32_t kCounterAttributes = 0x02060014;
inline constexpr std::uint16_t kCounterSize = 8;
// The same of an extend index of ours: without OWNERREAD, so that only who knows its secret reads it.
inline constexpr std::uint32_t kExtendAttributes = 0x02040044;
inline constexpr std::uint16_t kExtendSize = 32;  // SHA-256, its name algorithm
inline constexpr std::uint32_t kWrittenAttribute = 0x20000000;
inline constexpr std::uint16_t kPolicyNvAtMost = 9;  // TPM_EO_UNSIGNED_LE

// The three octets of TPMS_PCR_SELECTION for PCRs 0 to 23.
[[nodiscard]] std::array<std::uint8_t, 3> pcr_selection(std::uint32_t pcrs);

// The name of an NV index from the parts of TPMS_NV_PUBLIC.
[[nodiscard]] TpmName nv_name(std::uint32_t index, std::uint32_t attributes, ByteView auth_policy,
                              std::uint16_t size);

}  // namespace strongroom::roots
