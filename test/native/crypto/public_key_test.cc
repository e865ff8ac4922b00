#include "crypto/public_key.h"

#include <gtest/gtest.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "crypto/crypto.h"

namespace strongroom::crypto {
namespace {

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

Bytes spki_of(EVP_PKEY* key) {
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key, &der);
  Bytes out(der, der + size);
  OPENSSL_free(der);
  return out;
}

Bytes octets(EVP_PKEY* key, const char* name) {
  std::size_t size = 0;
  EVP_PKEY_get_octet_string_param(key, name, nullptr, 0, &size);
  Bytes out(size);
  EVP_PKEY_get_octet_string_param(key, name, out.data(), out.size(), &size);
  return out;
}

Bytes number(EVP_PKEY* key, const char* name) {
  BIGNUM* value = nullptr;
  EVP_PKEY_get_bn_param(key, name, &value);
  Bytes out(static_cast<std::size_t>(BN_num_bytes(value)));
  BN_bn2bin(value, out.data());
  BN_free(value);
  return out;
}

TEST(PublicKey, EllipticCurves) {
  for (const auto& [curve, name] : {std::pair(EcCurve::kP256, "P-256"), {EcCurve::kP384, "P-384"}}) {
    const Key key(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", name), EVP_PKEY_free);
    ASSERT_NE(key, nullptr);
    Bytes point = octets(key.get(), "pub");
    ASSERT_EQ(point.size(), 1 + 2 * ec_field_bytes(curve));
    const auto spki = ec_public_key(curve, point);
    ASSERT_TRUE(spki.ok()) << spki.error().detail;
    EXPECT_EQ(*spki, spki_of(key.get()));
    point.back() ^= 1;
    EXPECT_TRUE(ec_public_key(curve, point).is(Reason::kInvalidArgument)) << "not on the curve";
    point.pop_back();
    EXPECT_TRUE(ec_public_key(curve, point).is(Reason::kInvalidArgument));
    EXPECT_TRUE(ec_public_key(curve, Bytes()).is(Reason::kInvalidArgument));
  }
}

TEST(PublicKey, Ed25519) {
  const Key key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"), EVP_PKEY_free);
  Bytes raw(32);
  std::size_t size = raw.size();
  ASSERT_EQ(EVP_PKEY_get_raw_public_key(key.get(), raw.data(), &size), 1);
  EXPECT_EQ(*ed25519_public_key(raw), spki_of(key.get()));
  EXPECT_TRUE(ed25519_public_key(Bytes(31)).is(Reason::kInvalidArgument));
}

TEST(PublicKey, RsaAndOaep) {
  const Key key(EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", std::size_t{2048}), EVP_PKEY_free);
  const RsaPublicKey parts = {number(key.get(), "n"), number(key.get(), "e")};
  EXPECT_EQ(*rsa_public_key(parts), spki_of(key.get()));
  EXPECT_TRUE(rsa_public_key({Bytes(), parts.exponent}).is(Reason::kInvalidArgument));
  EXPECT_TRUE(rsa_public_key({parts.modulus, Bytes(9, 1)}).is(Reason::kInvalidArgument));
  EXPECT_TRUE(rsa_public_key({Bytes(1025, 0xff), parts.exponent}).is(Reason::kInvalidArgument));
  const Digest message = random_array<32>();
  for (const OaepHash hash : {OaepHash::kSha256, OaepHash::kSha1}) {
    const auto sealed = rsa_oaep_encrypt(parts, hash, message);
    ASSERT_TRUE(sealed.ok()) << sealed.error().detail;
    const std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)> context(
        EVP_PKEY_CTX_new(key.get(), nullptr), EVP_PKEY_CTX_free);
    const EVP_MD* const digest = hash == OaepHash::kSha256 ? EVP_sha256() : EVP_sha1();
    ASSERT_EQ(EVP_PKEY_decrypt_init(context.get()), 1);
    ASSERT_EQ(EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_OAEP_PADDING), 1);
    ASSERT_EQ(EVP_PKEY_CTX_set_rsa_oaep_md(context.get(), digest), 1);
    ASSERT_EQ(EVP_PKEY_CTX_set_rsa_mgf1_md(context.get(), digest), 1);
    Bytes opened(256);
    std::size_t size = opened.size();
    ASSERT_EQ(EVP_PKEY_decrypt(context.get(), opened.data(), &size, sealed->data(), sealed->size()), 1);
    opened.resize(size);
    EXPECT_TRUE(equal(opened, message));
  }
  EXPECT_TRUE(rsa_oaep_encrypt(parts, OaepHash::kSha256, Bytes(191)).is(Reason::kInvalidArgument));
}

TEST(PublicKey, EcdsaSignature) {
  Bytes raw(64, 0);
  raw[31] = 1;     // r = 1
  raw[32] = 0x80;  // s has its highest bit set: one more byte
  const Bytes der = *ecdsa_signature_to_der(raw);
  Bytes expected = {0x30, 0x26, 0x02, 0x01, 0x01, 0x02, 0x21, 0x00, 0x80};
  expected.resize(expected.size() + 31, 0);
  EXPECT_EQ(der, expected);
  EXPECT_TRUE(ecdsa_signature_to_der(Bytes()).is(Reason::kInvalidArgument));
  EXPECT_TRUE(ecdsa_signature_to_der(Bytes(63)).is(Reason::kInvalidArgument));
  EXPECT_TRUE(ecdsa_signature_to_der(Bytes(98)).is(Reason::kInvalidArgument));
}

}  // namespace
}  // namespace strongroom::crypto
