// The TPM root on a real swtpm.
#include "roots/tpm/tpm.h"

#include <gtest/gtest.h>

#include <chrono>

#include "crypto/crypto.h"
#include "private_tpm.h"

namespace strongroom::roots {
namespace {

using testing::PrivateTpm;
using testing::Relay;

constexpr std::uint32_t kIndex = 0x01800042;
const Digest kLabel = crypto::sha256({as_bytes("label")});
const Bytes kSecret(32, 0x5A);
const Bytes kPin = {'1', '2', '3', '4', '-', 'p', 'i', 'n'};
const Bytes kRoot = [] {
  Bytes bytes(32);
  crypto::random_bytes(bytes);
  return bytes;
}();

std::string why(const Status& status) { return status.ok() ? "ok" : status.error().detail; }

#define EXPECT_OK(expression)                      \
  do {                                             \
    const Status sr_status = (expression);         \
    EXPECT_TRUE(sr_status.ok()) << why(sr_status); \
  } while (false)
#define EXPECT_REASON(expected, expression)                                                                 \
  do {                                                                                                      \
    const Status sr_status = (expression);                                                                  \
    EXPECT_TRUE(sr_status.is(expected))                                                                     \
        << "expected " #expected ", got "                                                                   \
        << (sr_status.ok() ? "ok" : kErrorTable[static_cast<std::size_t>(sr_status.error().reason)].reason) \
        << ": " << why(sr_status);                                                                          \
  } while (false)

struct TpmTest : ::testing::Test {
  PrivateTpm device;

  std::unique_ptr<Tpm> open(const TpmName& parent = {}, const TpmName& endorsement = {}) const {
    auto tpm = Tpm::open(device.tcti(), parent, endorsement);
    EXPECT_TRUE(tpm.ok()) << why(tpm.status());
    return tpm.ok() ? *std::move(tpm) : nullptr;
  }
  static void expect_root(Result<SecretBytes> secret) {
    ASSERT_TRUE(secret.ok()) << why(secret.status());
    EXPECT_TRUE(equal(secret->view(), kRoot));
  }
  // A counter at its first value.
  static CounterBound make_counter(Tpm& tpm, std::uint64_t slack = 0) {
    EXPECT_OK(tpm.define_counter(kIndex, kLabel, kSecret));
    CounterBound bound{kIndex, counter_name(kIndex, kLabel), 0};
    EXPECT_OK(tpm.increment_counter(kIndex, bound.name, kSecret));
    const auto value = tpm.read_counter(kIndex, bound.name);
    EXPECT_TRUE(value.ok()) << why(value.status());
    bound.at_most = (value.ok() ? *value : 0) + slack;
    return bound;
  }
  void expect_nothing_loaded() const {
    EXPECT_TRUE(device.handles("handles-transient").empty());
    EXPECT_TRUE(device.handles("handles-loaded-session").empty());
    EXPECT_TRUE(device.handles("handles-saved-session").empty());
  }
};

TEST_F(TpmTest, SealsAndUnseals) {
  auto tpm = open();
  const auto object = tpm->seal(kRoot, {}, {});
  ASSERT_TRUE(object.ok()) << why(object.status());
  expect_root(tpm->unseal(*object, {}, {}));
  const TpmName parent = *tpm->parent_name();
  EXPECT_EQ(parent.size(), 34u);
  tpm.reset();
  expect_nothing_loaded();
  tpm = open(parent);
  expect_root(tpm->unseal(*object, {}, {}));
}

TEST_F(TpmTest, CounterGoesOn) {
  auto tpm = open();
  const CounterBound bound = make_counter(*tpm);
  EXPECT_OK(tpm->increment_counter(kIndex, bound.name, kSecret));
  EXPECT_EQ(*tpm->read_counter(kIndex, bound.name), bound.at_most + 1);
}

}  // namespace
}  // namespace strongroom::roots
