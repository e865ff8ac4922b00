#include "roots/tpm/policy.h"

#include <algorithm>

#include "crypto/crypto.h"

namespace strongroom::roots {
namespace {

constexpr std::uint32_t kCommandPolicyNv = 0x00000149;
constexpr std::uint32_t kCommandPolicyAuthValue = 0x0000016B;
constexpr std::uint32_t kCommandPolicyPcr = 0x0000017F;
constexpr std::uint16_t kSha256 = 0x000B;

// A TPM marshals big-endian.
template <typename T>
std::array<std::uint8_t, sizeof(T)> big_endian(T value) {
  std::array<std::uint8_t, sizeof(T)> out{};
  for (std::size_t i = 0; i < sizeof(T); ++i)
    out[i] = static_cast<std::uint8_t>(value >> (8 * (sizeof(T) - 1 - i)));
  return out;
}

}  // namespace

Digest pcr_digest(const std::vector<Digest>& values) {
  crypto::Sha256 hash;
  for (const Digest& value : values) hash.update(value);
  return hash.finish();
}

std::array<std::uint8_t, 8> counter_bytes(std::uint64_t value) { return big_endian(value); }

std::array<std::uint8_t, 3> pcr_selection(std::uint32_t pcrs) {
  return {static_cast<std::uint8_t>(pcrs), static_cast<std::uint8_t>(pcrs >> 8),
          static_cast<std::uint8_t>(pcrs >> 16)};
}

Digest policy_digest(const SealPolicy& policy) {
  Digest digest{};
  if (policy.bound) {
    constexpr std::uint16_t kOffset = 0;
    const Digest arguments = crypto::sha256(
        {counter_bytes(policy.bound->at_most), big_endian(kOffset), big_endian(kPolicyNvAtMost)});
    digest = crypto::sha256({digest, big_endian(kCommandPolicyNv), arguments, policy.bound->name});
  }
  if (policy.pcrs != 0) {
    // TPML_PCR_SELECTION with one entry: count, bank, size of the selection, selection.
    constexpr std::array<std::uint8_t, 1> kSelectionSize = {3};
    digest =
        crypto::sha256({digest, big_endian(kCommandPolicyPcr), big_endian(std::uint32_t{1}),
                        big_endian(kSha256), kSelectionSize, pcr_selection(policy.pcrs), policy.pcr_digest});
  }
  if (policy.authorisation) digest = crypto::sha256({digest, big_endian(kCommandPolicyAuthValue)});
  return digest;
}

TpmName nv_name(std::uint32_t index, std::uint32_t attributes, ByteView auth_policy, std::uint16_t size) {
  const Digest digest = crypto::sha256({big_endian(index), big_endian(kSha256), big_endian(attributes),
                                        big_endian(static_cast<std::uint16_t>(auth_policy.size())),
                                        auth_policy, big_endian(size)});
  TpmName name(2 + digest.size());
  std::ranges::copy(big_endian(kSha256), name.begin());
  std::ranges::copy(digest, name.begin() + 2);
  return name;
}

TpmName counter_name(std::uint32_t index, const Digest& label) {
  return nv_name(index, kCounterAttributes | kWrittenAttribute, label, kCounterSize);
}

TpmName extend_name(std::uint32_t index, const Digest& label) {
  return nv_name(index, kExtendAttributes | kWrittenAttribute, label, kExtendSize);
}

Digest extended(const Digest& value, const Digest& data) { return crypto::sha256({value, data}); }

}  // namespace strongroom::roots
