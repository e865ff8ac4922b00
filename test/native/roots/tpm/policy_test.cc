// Policy digests and names against values that tpm2-tools 5.4 and swtpm 0.7 made; tpm_test.cc compares live.
#include "roots/tpm/policy.h"

#include <gtest/gtest.h>

#include "crypto/crypto.h"

namespace strongroom::roots {
namespace {

std::string hex(const Digest& digest) { return to_hex(digest); }

TEST(TpmPolicy, NothingAskedForIsZero) { EXPECT_EQ(policy_digest({}), Digest{}); }

TEST(TpmPolicy, AuthValue) {
  SealPolicy policy;
  policy.authorisation = true;
  EXPECT_EQ(hex(policy_digest(policy)), "8fcd2169ab92694e0c633f1ab772842b8241bbc20288981fc7ac1eddc1fddb0e");
}

TEST(TpmPolicy, Pcrs) {
  SealPolicy policy;
  policy.pcrs = 1;
  policy.pcr_digest = crypto::sha256({Bytes(32)});  // PCR 0 as it is after a reset
  EXPECT_EQ(hex(policy_digest(policy)), "093ceb41181d47808862d7946268ee6a17a10e3d1b79b32351bc56e4beaceff0");
}

TEST(TpmPolicy, OperandIsBigEndian) {
  EXPECT_EQ(counter_bytes(0x0102030405060708), (std::array<std::uint8_t, 8>{1, 2, 3, 4, 5, 6, 7, 8}));
}

TEST(TpmPolicy, SelectionHasTheLowestPcrFirst) {
  EXPECT_EQ(pcr_selection(1u | 1u << 9 | 1u << 23), (std::array<std::uint8_t, 3>{0x01, 0x02, 0x80}));
}

TEST(TpmPolicy, EveryPartChangesTheDigest) {
  SealPolicy policy;
  policy.bound = CounterBound{0x01800001, counter_name(0x01800001, {}), 7};
  policy.pcrs = 3;
  policy.authorisation = true;
  const Digest all = policy_digest(policy);
  const auto changed = [&](auto&& change) {
    SealPolicy other = policy;
    change(other);
    return policy_digest(other) != all;
  };
  EXPECT_TRUE(changed([](SealPolicy& p) { p.bound->at_most = 8; }));
  EXPECT_TRUE(changed([](SealPolicy& p) { p.bound->name.back() ^= 1; }));
  EXPECT_TRUE(changed([](SealPolicy& p) { p.bound.reset(); }));
  EXPECT_TRUE(changed([](SealPolicy& p) { p.pcrs = 5; }));
  EXPECT_TRUE(changed([](SealPolicy& p) { p.pcr_digest[0] = 1; }));
  EXPECT_TRUE(changed([](SealPolicy& p) { p.authorisation = false; }));
}

TEST(TpmPolicy, CounterNamesDiffer) {
  EXPECT_EQ(counter_name(0x01800001, {}).size(), 34u);
  EXPECT_NE(counter_name(0x01800001, {}), counter_name(0x01800002, {}));
  EXPECT_NE(counter_name(0x01800001, {}), counter_name(0x01800001, crypto::sha256({})));
}

}  // namespace
}  // namespace strongroom::roots
