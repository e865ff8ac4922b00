#include "crypto/private_key.h"

#include <openssl/core_names.h>
#include <openssl/decoder.h>
#include <openssl/ecdsa.h>
#include <openssl/encoder.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <algorithm>
#include <array>
#include <bit>

#include "base/limits.h"
#include "crypto/openssl.h"

namespace strongroom::crypto {
namespace {

using EncoderContext = std::unique_ptr<OSSL_ENCODER_CTX, Free<OSSL_ENCODER_CTX_free>>;
using DecoderContext = std::unique_ptr<OSSL_DECODER_CTX, Free<OSSL_DECODER_CTX_free>>;
using EcdsaSignature = std::unique_ptr<ECDSA_SIG, Free<ECDSA_SIG_free>>;
using BigNumber = std::unique_ptr<BIGNUM, Free<BN_free>>;

constexpr int kRsaBits = 3072;
constexpr int kPssSaltBytes = 32;
constexpr std::size_t kPkcs8BytesMax = 4096;  // RSA-3072 takes about 1,800

struct Traits {
  const char* type;
  const char* group;  // EC only
  const char* digest;
  std::size_t digest_bytes;
  std::size_t raw_half_bytes;  // of r and of s
};

const Traits& traits_of(KeyAlgorithm algorithm) {
  static constexpr Traits kP256{"EC", "prime256v1", "SHA256", 32, 32};
  static constexpr Traits kP384{"EC", "secp384r1", "SHA384", 48, 48};
  static constexpr Traits kRsa{"RSA", nullptr, "SHA256", 32, 0};
  static constexpr Traits kEd{"ED25519", nullptr, nullptr, 0, 0};
  switch (algorithm) {
    case KeyAlgorithm::kEcP256:
      return kP256;
    case KeyAlgorithm::kEcP384:
      return kP384;
    case KeyAlgorithm::kRsa3072:
      return kRsa;
    case KeyAlgorithm::kEd25519:
      return kEd;
  }
  std::abort();  // an enum that was read from somewhere is checked there
}

const EVP_MD* fetched_digest(KeyAlgorithm algorithm) {
  static const EVP_MD* const sha256 = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  static const EVP_MD* const sha384 = EVP_MD_fetch(nullptr, "SHA384", nullptr);
  SR_REQUIRE(sha256 != nullptr && sha384 != nullptr);
  return algorithm == KeyAlgorithm::kEcP384 ? sha384 : sha256;
}

bool is_ec(const Traits& traits) { return traits.raw_half_bytes != 0; }

// Leaves nothing in the thread's queue of errors for others to find.
Status failed(const char* what) {
  const unsigned long code = ERR_peek_last_error();
  const char* const reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  ERR_clear_error();
  return {Reason::kInternal, reason == nullptr ? std::string(what) : std::string(what) + ": " + reason};
}

bool fits(const EVP_PKEY* key, const Traits& traits) {
  if (EVP_PKEY_is_a(key, traits.type) != 1) return false;
  if (!is_ec(traits)) return traits.digest_bytes == 0 || EVP_PKEY_get_bits(key) == kRsaBits;
  std::array<char, 32> group{};
  std::size_t size = 0;
  return EVP_PKEY_get_group_name(key, group.data(), group.size(), &size) == 1 &&
         std::string_view(group.data(), size) == traits.group;
}

PublicKey decode_public(ByteView spki, const Traits& traits) {
  EVP_PKEY* decoded = nullptr;
  const DecoderContext decoder(OSSL_DECODER_CTX_new_for_pkey(
      &decoded, "DER", "SubjectPublicKeyInfo", traits.type, EVP_PKEY_PUBLIC_KEY, nullptr, nullptr));
  const std::uint8_t* at = spki.data();
  std::size_t size = spki.size();
  const bool whole =
      decoder != nullptr && OSSL_DECODER_from_data(decoder.get(), &at, &size) == 1 && size == 0;
  PublicKey key(decoded);
  return whole && key != nullptr && fits(key.get(), traits) ? std::move(key) : nullptr;
}

// OpenSSL's decoders take a tenth of a millisecond, several times what an EC or Ed25519 signature does. So the one form
// that generate() makes of each is taken apart here; null for any other.
PublicKey decode_own(KeyAlgorithm algorithm, ByteView pkcs8) {
  // PrivateKeyInfo (RFC 5208) with ECPrivateKey (RFC 5915), or with the seed (RFC 8410), up to the secret.
  static constexpr std::string_view kP256Start(
      "\x30\x81\x87\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03"
      "\x01\x07"
      "\x04\x6d\x30\x6b\x02\x01\x01\x04\x20",
      36);
  static constexpr std::string_view kP256Middle("\xa1\x44\x03\x42\x00", 5);
  static constexpr std::string_view kP384Start(
      "\x30\x81\xb6\x02\x01\x00\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22"
      "\x04\x81\x9e\x30\x81\x9b\x02\x01\x01\x04\x30",
      35);
  static constexpr std::string_view kP384Middle("\xa1\x64\x03\x62\x00", 5);
  static constexpr std::string_view kEdStart(
      "\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20", 16);
  constexpr std::size_t kEdSeedBytes = 32;

  if (algorithm == KeyAlgorithm::kRsa3072) return nullptr;
  if (algorithm == KeyAlgorithm::kEd25519) {
    if (pkcs8.size() != kEdStart.size() + kEdSeedBytes || !as_text(pkcs8).starts_with(kEdStart))
      return nullptr;
    const ByteView seed = pkcs8.last(kEdSeedBytes);
    return PublicKey(EVP_PKEY_new_raw_private_key_ex(nullptr, "ED25519", nullptr, seed.data(), seed.size()));
  }
  const Traits& traits = traits_of(algorithm);
  const bool p256 = algorithm == KeyAlgorithm::kEcP256;
  const std::string_view start = p256 ? kP256Start : kP384Start;
  const std::string_view middle = p256 ? kP256Middle : kP384Middle;
  const std::size_t scalar_bytes = traits.raw_half_bytes;
  const std::size_t point_bytes = 1 + 2 * scalar_bytes;
  if (pkcs8.size() != start.size() + scalar_bytes + middle.size() + point_bytes ||
      !as_text(pkcs8).starts_with(start) ||
      !as_text(pkcs8).substr(start.size() + scalar_bytes).starts_with(middle)) {
    return nullptr;
  }
  const ByteView scalar = pkcs8.subspan(start.size(), scalar_bytes);
  const ByteView point = pkcs8.last(point_bytes);
  SecretBytes number(scalar_bytes);  // OpenSSL's parameters hold numbers as the machine does
  if constexpr (std::endian::native == std::endian::little) {
    std::reverse_copy(scalar.begin(), scalar.end(), number.span().begin());
  } else {
    std::copy(scalar.begin(), scalar.end(), number.span().begin());
  }
  std::array<OSSL_PARAM, 4> parameters{
      OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, const_cast<char*>(traits.group), 0),
      OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, const_cast<std::uint8_t*>(point.data()),
                                        point.size()),
      OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_PRIV_KEY, number.span().data(), number.size()),
      OSSL_PARAM_construct_end()};
  const KeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, traits.type, nullptr));
  EVP_PKEY* key = nullptr;
  if (context == nullptr || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_KEYPAIR, parameters.data()) != 1) {
    return nullptr;
  }
  return PublicKey(key);
}

bool set_up(EVP_PKEY_CTX* context, KeyAlgorithm algorithm) {
  const EVP_MD* const digest = fetched_digest(algorithm);
  if (EVP_PKEY_CTX_set_signature_md(context, digest) != 1) return false;
  return algorithm != KeyAlgorithm::kRsa3072 ||
         (EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
          EVP_PKEY_CTX_set_rsa_pss_saltlen(context, kPssSaltBytes) == 1 &&
          EVP_PKEY_CTX_set_rsa_mgf1_md(context, digest) == 1);
}

Result<Bytes> raw_from_der(ByteView der, const Traits& traits) {
  const std::uint8_t* at = der.data();
  const EcdsaSignature signature(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size())));
  Bytes raw(2 * traits.raw_half_bytes);
  const auto half = static_cast<int>(traits.raw_half_bytes);
  if (signature == nullptr || BN_bn2binpad(ECDSA_SIG_get0_r(signature.get()), raw.data(), half) != half ||
      BN_bn2binpad(ECDSA_SIG_get0_s(signature.get()), raw.data() + half, half) != half) {
    return failed("ECDSA signature");
  }
  return raw;
}

Bytes der_from_raw(ByteView raw, const Traits& traits) {
  if (raw.size() != 2 * traits.raw_half_bytes) return {};
  const auto half = static_cast<int>(traits.raw_half_bytes);
  BigNumber r(BN_bin2bn(raw.data(), half, nullptr));
  BigNumber s(BN_bin2bn(raw.data() + half, half, nullptr));
  const EcdsaSignature signature(ECDSA_SIG_new());
  SR_REQUIRE(r != nullptr && s != nullptr && signature != nullptr);
  SR_REQUIRE(ECDSA_SIG_set0(signature.get(), r.release(), s.release()) == 1);
  const int size = i2d_ECDSA_SIG(signature.get(), nullptr);
  SR_REQUIRE(size > 0);
  Bytes der(static_cast<std::size_t>(size));
  std::uint8_t* at = der.data();
  SR_REQUIRE(i2d_ECDSA_SIG(signature.get(), &at) == size);
  return der;
}

bool acceptable_input(const Traits& traits, ByteView input) {
  return traits.digest_bytes == 0 ? input.size() <= limits::kSignedMessageBytesMax
                                  : input.size() == traits.digest_bytes;
}

}  // namespace

std::size_t digest_bytes(KeyAlgorithm algorithm) { return traits_of(algorithm).digest_bytes; }

Bytes to_be_signed(KeyAlgorithm algorithm, ByteView message) {
  prepare_library();
  const std::size_t size = digest_bytes(algorithm);
  if (size == 0) return {message.begin(), message.end()};
  Bytes digest(size);
  SR_REQUIRE(EVP_Digest(message.data(), message.size(), digest.data(), nullptr, fetched_digest(algorithm),
                        nullptr) == 1);
  return digest;
}

struct PrivateKey::State {
  KeyAlgorithm algorithm;
  PublicKey key;  // an EVP_PKEY with both halves
};

PrivateKey::PrivateKey(std::unique_ptr<State> state) : state_(std::move(state)) {}
PrivateKey::PrivateKey(PrivateKey&&) noexcept = default;
PrivateKey& PrivateKey::operator=(PrivateKey&&) noexcept = default;
PrivateKey::~PrivateKey() = default;

KeyAlgorithm PrivateKey::algorithm() const { return state_->algorithm; }

Result<PrivateKey> PrivateKey::generate(KeyAlgorithm algorithm) {
  prepare_library();
  const Traits& traits = traits_of(algorithm);
  const KeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, traits.type, nullptr));
  EVP_PKEY* made = nullptr;
  const bool ready =
      context != nullptr && EVP_PKEY_keygen_init(context.get()) == 1 &&
      (!is_ec(traits) || EVP_PKEY_CTX_set_group_name(context.get(), traits.group) == 1) &&
      (algorithm != KeyAlgorithm::kRsa3072 || EVP_PKEY_CTX_set_rsa_keygen_bits(context.get(), kRsaBits) == 1);
  if (!ready || EVP_PKEY_generate(context.get(), &made) != 1) return failed("generating a key");
  return PrivateKey(std::make_unique<State>(State{algorithm, PublicKey(made)}));
}

Result<PrivateKey> PrivateKey::parse(KeyAlgorithm algorithm, ByteView pkcs8) {
  prepare_library();
  if (PublicKey own = decode_own(algorithm, pkcs8); own != nullptr) {
    return PrivateKey(std::make_unique<State>(State{algorithm, std::move(own)}));
  }
  const Traits& traits = traits_of(algorithm);
  EVP_PKEY* decoded = nullptr;
  const DecoderContext decoder(OSSL_DECODER_CTX_new_for_pkey(&decoded, "DER", "PrivateKeyInfo", traits.type,
                                                             EVP_PKEY_KEYPAIR, nullptr, nullptr));
  const std::uint8_t* at = pkcs8.data();
  std::size_t size = pkcs8.size();
  const bool whole = decoder != nullptr && !pkcs8.empty() && size <= kPkcs8BytesMax &&
                     OSSL_DECODER_from_data(decoder.get(), &at, &size) == 1 && size == 0;
  PublicKey key(decoded);
  ERR_clear_error();
  if (!whole || key == nullptr || !fits(key.get(), traits)) {
    return Status(Reason::kInvalidArgument, "not a PKCS#8 private key of the expected algorithm");
  }
  return PrivateKey(std::make_unique<State>(State{algorithm, std::move(key)}));
}

Result<SecretBytes> PrivateKey::pkcs8() const {
  const EncoderContext encoder(
      OSSL_ENCODER_CTX_new_for_pkey(state_->key.get(), EVP_PKEY_KEYPAIR, "DER", "PrivateKeyInfo", nullptr));
  SecretBytes whole(kPkcs8BytesMax);
  std::uint8_t* at = whole.span().data();
  std::size_t left = whole.size();
  if (encoder == nullptr || OSSL_ENCODER_to_data(encoder.get(), &at, &left) != 1)
    return failed("encoding a key");
  return SecretBytes(whole.view().first(whole.size() - left));
}

Result<Bytes> PrivateKey::public_key() const {
  const int size = i2d_PUBKEY(state_->key.get(), nullptr);
  if (size <= 0) return failed("encoding a public key");
  Bytes out(static_cast<std::size_t>(size));
  std::uint8_t* at = out.data();
  if (i2d_PUBKEY(state_->key.get(), &at) != size) return failed("encoding a public key");
  return out;
}

Result<Bytes> PrivateKey::sign(ByteView input, SignatureFormat format) const {
  const Traits& traits = traits_of(state_->algorithm);
  if (!acceptable_input(traits, input)) {
    return Status(Reason::kInvalidArgument,
                  traits.digest_bytes == 0
                      ? std::string("a message has at most 1,048,576 bytes")
                      : "the digest must have " + std::to_string(traits.digest_bytes) + " bytes");
  }
  Bytes out(static_cast<std::size_t>(EVP_PKEY_get_size(state_->key.get())));
  std::size_t size = out.size();
  const std::uint8_t nothing = 0;
  if (traits.digest_bytes == 0) {
    const DigestContext context(EVP_MD_CTX_new());
    if (context == nullptr ||
        EVP_DigestSignInit_ex(context.get(), nullptr, nullptr, nullptr, nullptr, state_->key.get(),
                              nullptr) != 1 ||
        EVP_DigestSign(context.get(), out.data(), &size, non_null(input.data(), &nothing), input.size()) !=
            1) {
      return failed("signing");
    }
  } else {
    const KeyContext context(EVP_PKEY_CTX_new_from_pkey(nullptr, state_->key.get(), nullptr));
    if (context == nullptr || EVP_PKEY_sign_init(context.get()) != 1 ||
        !set_up(context.get(), state_->algorithm) ||
        EVP_PKEY_sign(context.get(), out.data(), &size, input.data(), input.size()) != 1) {
      return failed("signing");
    }
  }
  out.resize(size);
  if (is_ec(traits) && format == SignatureFormat::kRaw) return raw_from_der(out, traits);
  return out;
}

bool verify_signature(KeyAlgorithm algorithm, ByteView public_key, ByteView input, ByteView signature,
                      SignatureFormat format) {
  prepare_library();
  const Traits& traits = traits_of(algorithm);
  if (!acceptable_input(traits, input) || signature.empty()) return false;
  const PublicKey key = decode_public(public_key, traits);
  bool valid = false;
  if (key != nullptr && traits.digest_bytes == 0) {
    const DigestContext context(EVP_MD_CTX_new());
    const std::uint8_t nothing = 0;
    valid =
        context != nullptr &&
        EVP_DigestVerifyInit_ex(context.get(), nullptr, nullptr, nullptr, nullptr, key.get(), nullptr) == 1 &&
        EVP_DigestVerify(context.get(), signature.data(), signature.size(), non_null(input.data(), &nothing),
                         input.size()) == 1;
  } else if (key != nullptr) {
    Bytes der;
    if (is_ec(traits) && format == SignatureFormat::kRaw) {
      der = der_from_raw(signature, traits);
      signature = der;
    }
    const KeyContext context(EVP_PKEY_CTX_new_from_pkey(nullptr, key.get(), nullptr));
    valid =
        !signature.empty() && context != nullptr && EVP_PKEY_verify_init(context.get()) == 1 &&
        set_up(context.get(), algorithm) &&
        EVP_PKEY_verify(context.get(), signature.data(), signature.size(), input.data(), input.size()) == 1;
  }
  ERR_clear_error();
  return valid;
}

}  // namespace strongroom::crypto
