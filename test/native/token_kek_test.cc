// The key-encryption key, on SoftHSM2.
#include <chrono>

#include "crypto/crypto.h"
#include "private_token.h"

namespace strongroom::roots {
namespace {

using testing::pin;
using testing::PrivateToken;

class TokenKek : public ::testing::Test {
 protected:
  void SetUp() override {
    hsm.make("acme");
    auto opened = hsm.open("acme");
    ASSERT_TRUE(opened.ok()) << opened.error().detail;
    token = std::move(*opened);
  }
  PrivateToken hsm;
  std::unique_ptr<Token> token;
  Digest secret = crypto::random_array<32>();
};

TEST_F(TokenKek, WrapsAndUnwraps) {
  const auto kek = token->generate_kek("kek");
  ASSERT_TRUE(kek.ok()) << kek.error().detail;
  EXPECT_EQ(kek->type, KekType::kAesKeyWrap);
  EXPECT_EQ(kek->id.size(), 16U);
  EXPECT_TRUE(token->find_kek("kek", *kek).ok());
  const auto wrapped = token->wrap("kek", *kek, secret);
  ASSERT_TRUE(wrapped.ok()) << wrapped.error().detail;
  EXPECT_EQ(wrapped->size(), 40U);
  const auto unwrapped = token->unwrap("kek", *kek, *wrapped);
  ASSERT_TRUE(unwrapped.ok()) << unwrapped.error().detail;
  EXPECT_TRUE(equal(unwrapped->view(), secret));
  const auto check = token->kek_check_value("kek", *kek);
  ASSERT_TRUE(check.ok()) << check.error().detail;
  EXPECT_EQ(check->size(), 8U);
}

TEST_F(TokenKek, RsaWhereItIsAskedFor) {
  const auto kek = token->generate_kek("kek", KekType::kRsaOaepSha1);
  ASSERT_TRUE(kek.ok()) << kek.error().detail;
  const auto wrapped = token->wrap("kek", *kek, secret);
  ASSERT_TRUE(wrapped.ok()) << wrapped.error().detail;
  const auto unwrapped = token->unwrap("kek", *kek, *wrapped);
  ASSERT_TRUE(unwrapped.ok()) << unwrapped.error().detail;
  EXPECT_TRUE(equal(unwrapped->view(), secret));
  const auto sha256 = token->generate_kek("kek", KekType::kRsaOaep);
  EXPECT_TRUE(sha256.is(Reason::kHsmRefused));
  printf("%s\n", sha256.error().detail.c_str());
}

}  // namespace
}  // namespace strongroom::roots
