// What the tests of the TPM root have in common: a private swtpm, a root to seal, a counter.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "crypto/crypto.h"
#include "expect_status.h"
#include "private_tpm.h"
#include "roots/tpm/policy.h"
#include "roots/tpm/tpm.h"

namespace strongroom::roots {

inline std::string why(const Status& status) { return status.ok() ? "ok" : status.error().detail; }
template <typename T>
std::string why(const Result<T>& result) {
  return why(result.status());
}

inline constexpr std::uint32_t kIndex = 0x01800042;
inline const Digest kLabel = crypto::sha256({as_bytes("the label of a counter")});
inline const Bytes kPin = {'1', '2', '3', '4', '-', 'p', 'i', 'n'};
inline const Bytes kWrongPin = {'1', '2', '3', '4', '-', 'n', 'i', 'p'};
inline constexpr std::uint32_t kPcrs = 1u << 7 | 1u << 16;

struct TpmTest : ::testing::Test {
  testing::PrivateTpm device;
  Bytes root = Bytes(32);
  Bytes secret = Bytes(32);

  TpmTest() {
    crypto::random_bytes(root);
    crypto::random_bytes(secret);
  }

  [[nodiscard]] std::unique_ptr<Tpm> open(const std::string& tcti, const TpmName& parent = {},
                                          const TpmName& endorsement = {},
                                          std::chrono::milliseconds limit = kTpmTimeLimit) const {
    auto tpm = Tpm::open(tcti, parent, endorsement, limit);
    EXPECT_OK(tpm);
    if (!tpm.ok()) std::abort();
    return *std::move(tpm);
  }
  [[nodiscard]] std::unique_ptr<Tpm> open(const TpmName& parent = {}, const TpmName& endorsement = {}) const {
    return open(device.tcti(), parent, endorsement);
  }

  [[nodiscard]] SealedObject seal(Tpm& tpm, const SealPolicy& policy = {}) const {
    auto object = tpm.seal(root, policy.authorisation ? kPin : Bytes{}, policy);
    EXPECT_OK(object);
    if (!object.ok()) std::abort();
    return *std::move(object);
  }
  void expect_root(const Result<SecretBytes>& unsealed) const {
    ASSERT_TRUE(unsealed.ok()) << why(unsealed);
    EXPECT_TRUE(equal(unsealed->view(), root));
  }

  // A counter of ours that was incremented once; the bound is its value.
  [[nodiscard]] CounterBound make_counter(Tpm& tpm, std::uint32_t index = kIndex) const {
    EXPECT_OK(tpm.define(NvKind::kCounter, index, kLabel, secret));
    CounterBound bound{index, counter_name(index, kLabel), 0};
    EXPECT_OK(tpm.increment_counter(index, bound.name, secret));
    const auto value = tpm.read_counter(index, bound.name, secret);
    EXPECT_OK(value);
    if (!value.ok()) std::abort();
    bound.at_most = *value;
    return bound;
  }
  // Every part of a policy at once.
  [[nodiscard]] SealPolicy full_policy(Tpm& tpm) const {
    const auto values = tpm.pcr_values(kPcrs);
    EXPECT_OK(values);
    return {make_counter(tpm), kPcrs, values.ok() ? pcr_digest(*values) : Digest{}, true};
  }

  void expect_nothing_loaded() const {
    EXPECT_EQ(device.handles("handles-transient"), std::vector<std::string>{});
    EXPECT_EQ(device.handles("handles-loaded-session"), std::vector<std::string>{});
    EXPECT_EQ(device.handles("handles-saved-session"), std::vector<std::string>{});
  }
  // Failed authorisations that count towards a lockout.
  void expect_no_failures_counted() const {
    const std::string text = device.output({"getcap", "properties-variable"});
    const auto at = text.find("TPM2_PT_LOCKOUT_COUNTER: ");
    ASSERT_NE(at, std::string::npos) << text;
    EXPECT_EQ(text.substr(at, 28), "TPM2_PT_LOCKOUT_COUNTER: 0x0");
    EXPECT_NE(text.find("inLockout:                 0"), std::string::npos) << text;
  }

  [[nodiscard]] std::string file(const std::string& name) const { return device.directory() + "/" + name; }
  void write(const std::string& name, ByteView bytes) const {
    std::ofstream out(file(name), std::ios::binary);
    out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }
  [[nodiscard]] Bytes read(const std::string& name) const {
    std::ifstream in(file(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  }
  void tool(std::vector<std::string> words) const {
    const std::string name = words.front();
    EXPECT_TRUE(device.tool(std::move(words))) << name;
    // These leave what they load; so they are not for tests that have a connection open.
    const std::string leaving[] = {"createprimary", "createek", "load", "evictcontrol", "readpublic"};
    if (std::ranges::find(leaving, name) != std::end(leaving)) {
      EXPECT_TRUE(device.tool({"flushcontext", "-t"}));
    }
  }
};

}  // namespace strongroom::roots
