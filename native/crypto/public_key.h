// Public keys as DER SubjectPublicKeyInfo (RFC 5280, 4.1.2.7), ECDSA signatures as DER, RSA-OAEP encryption: what is needed
// around keys that live in a token. Numbers are big-endian and unsigned. A key that is not valid is kInvalidArgument.
#pragma once

#include "base/bytes.h"
#include "base/status.h"

namespace strongroom::crypto {

enum class EcCurve : std::uint8_t { kP256, kP384 };
[[nodiscard]] constexpr std::size_t ec_field_bytes(EcCurve curve) {
  return curve == EcCurve::kP256 ? 32 : 48;
}

struct RsaPublicKey {
  Bytes modulus;
  Bytes exponent;
};

// `point` is uncompressed: 04, x, y (SEC 1, 2.3.3), and lies on the curve. RFC 5480.
[[nodiscard]] Result<Bytes> ec_public_key(EcCurve curve, ByteView point);
[[nodiscard]] Result<Bytes> rsa_public_key(const RsaPublicKey& key);  // RFC 3279
[[nodiscard]] Result<Bytes> ed25519_public_key(ByteView key);         // 32 bytes; RFC 8410

// r | s in two equal halves (IEEE P1363) as SEQUENCE { INTEGER r, INTEGER s } (RFC 3279, 2.2.3).
[[nodiscard]] Result<Bytes> ecdsa_signature_to_der(ByteView raw);

// RFC 8017, 7.1, with an empty label; MGF1 with the same hash.
enum class OaepHash : std::uint8_t { kSha256, kSha1 };
[[nodiscard]] Result<Bytes> rsa_oaep_encrypt(const RsaPublicKey& key, OaepHash hash, ByteView message);

}  // namespace strongroom::crypto
