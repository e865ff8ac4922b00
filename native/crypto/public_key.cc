#include "crypto/public_key.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "crypto/openssl.h"

namespace strongroom::crypto {
namespace {

constexpr std::size_t kRsaModulusBytesMax = 1024;  // 8192 bits

using Number = std::unique_ptr<BIGNUM, Free<BN_free>>;
using ParamBuilder = std::unique_ptr<OSSL_PARAM_BLD, Free<OSSL_PARAM_BLD_free>>;
using Params = std::unique_ptr<OSSL_PARAM, Free<OSSL_PARAM_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, Free<EVP_PKEY_CTX_free>>;
using Signature = std::unique_ptr<ECDSA_SIG, Free<ECDSA_SIG_free>>;

Status invalid(const char* what) { return Status(Reason::kInvalidArgument, what); }

Number number(ByteView bytes) {
  Number value(BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), nullptr));
  SR_REQUIRE(value != nullptr);
  return value;
}

// Null when the algorithm does not take the parameters for a key.
PublicKey key_from(const char* algorithm, const OSSL_PARAM* params) {
  prepare_library();
  const KeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, algorithm, nullptr));
  SR_REQUIRE(context != nullptr);
  EVP_PKEY* key = nullptr;
  if (EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, const_cast<OSSL_PARAM*>(params)) != 1) {
    return nullptr;
  }
  return PublicKey(key);
}

bool is_valid(EVP_PKEY* key) {
  const KeyContext context(EVP_PKEY_CTX_new_from_pkey(nullptr, key, nullptr));
  SR_REQUIRE(context != nullptr);
  return EVP_PKEY_public_check(context.get()) == 1;
}

Result<Bytes> encode(EVP_PKEY* key) {
  const int size = i2d_PUBKEY(key, nullptr);
  if (size <= 0) return Status(Reason::kInternal, "a public key cannot be encoded");
  Bytes out(static_cast<std::size_t>(size));
  unsigned char* at = out.data();
  SR_REQUIRE(i2d_PUBKEY(key, &at) == size);
  return out;
}

PublicKey rsa_key(const RsaPublicKey& key) {
  if (key.modulus.empty() || key.modulus.size() > kRsaModulusBytesMax || key.exponent.empty() ||
      key.exponent.size() > sizeof(std::uint64_t)) {
    return nullptr;
  }
  const Number modulus = number(key.modulus);
  const Number exponent = number(key.exponent);
  const ParamBuilder builder(OSSL_PARAM_BLD_new());
  SR_REQUIRE(builder != nullptr &&
             OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, modulus.get()) == 1 &&
             OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, exponent.get()) == 1);
  const Params params(OSSL_PARAM_BLD_to_param(builder.get()));
  SR_REQUIRE(params != nullptr);
  return key_from("RSA", params.get());
}

}  // namespace

Result<Bytes> ec_public_key(EcCurve curve, ByteView point) {
  if (point.size() != 1 + 2 * ec_field_bytes(curve) || point[0] != 4)
    return invalid("not an uncompressed point of the curve");
  char p256[] = "P-256";
  char p384[] = "P-384";
  const OSSL_PARAM params[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, curve == EcCurve::kP256 ? p256 : p384, 0),
      OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, const_cast<std::uint8_t*>(point.data()),
                                        point.size()),
      OSSL_PARAM_construct_end()};
  const PublicKey key = key_from("EC", params);
  if (key == nullptr || !is_valid(key.get())) return invalid("not a point of the curve");
  return encode(key.get());
}

Result<Bytes> rsa_public_key(const RsaPublicKey& key) {
  const PublicKey handle = rsa_key(key);
  if (handle == nullptr || !is_valid(handle.get())) return invalid("not an RSA public key");
  return encode(handle.get());
}

Result<Bytes> ed25519_public_key(ByteView key) {
  if (key.size() != 32) return invalid("an Ed25519 public key has 32 bytes");
  prepare_library();
  const PublicKey handle(EVP_PKEY_new_raw_public_key_ex(nullptr, "ED25519", nullptr, key.data(), key.size()));
  if (handle == nullptr) return invalid("not an Ed25519 public key");
  return encode(handle.get());
}

Result<Bytes> ecdsa_signature_to_der(ByteView raw) {
  if (raw.empty() || raw.size() % 2 != 0 || raw.size() > 2 * ec_field_bytes(EcCurve::kP384))
    return invalid("not two halves of an ECDSA signature");
  prepare_library();
  const Signature signature(ECDSA_SIG_new());
  SR_REQUIRE(signature != nullptr);
  Number r = number(raw.first(raw.size() / 2));
  Number s = number(raw.subspan(raw.size() / 2));
  SR_REQUIRE(ECDSA_SIG_set0(signature.get(), r.release(), s.release()) == 1);
  const int size = i2d_ECDSA_SIG(signature.get(), nullptr);
  SR_REQUIRE(size > 0);
  Bytes out(static_cast<std::size_t>(size));
  unsigned char* at = out.data();
  SR_REQUIRE(i2d_ECDSA_SIG(signature.get(), &at) == size);
  return out;
}

Result<Bytes> rsa_oaep_encrypt(const RsaPublicKey& key, OaepHash hash, ByteView message) {
  const PublicKey handle = rsa_key(key);
  if (handle == nullptr || !is_valid(handle.get())) return invalid("not an RSA public key");
  const KeyContext context(EVP_PKEY_CTX_new_from_pkey(nullptr, handle.get(), nullptr));
  SR_REQUIRE(context != nullptr);
  char padding[] = OSSL_PKEY_RSA_PAD_MODE_OAEP;
  char sha256[] = "SHA256";
  char sha1[] = "SHA1";
  char* const name = hash == OaepHash::kSha256 ? sha256 : sha1;
  const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_ASYM_CIPHER_PARAM_PAD_MODE, padding, 0),
                               OSSL_PARAM_construct_utf8_string(OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST, name, 0),
                               OSSL_PARAM_construct_utf8_string(OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST, name, 0),
                               OSSL_PARAM_construct_end()};
  std::size_t size = 0;
  if (EVP_PKEY_encrypt_init_ex(context.get(), params) != 1 ||
      EVP_PKEY_encrypt(context.get(), nullptr, &size, message.data(), message.size()) != 1) {
    return Status(Reason::kInternal, "RSA-OAEP cannot be set up");
  }
  Bytes out(size);
  if (EVP_PKEY_encrypt(context.get(), out.data(), &size, message.data(), message.size()) != 1)
    return invalid("the message is too long for RSA-OAEP with this key");
  out.resize(size);
  return out;
}

}  // namespace strongroom::crypto
