// Private keys that sign: EC P-256 and P-384 (ECDSA, FIPS 186-5), RSA with 3072 bits (RSASSA-PSS, RFC 8017), Ed25519
// (RFC 8032), over OpenSSL 3.
//
// Invariants:
// - A private key leaves this module as PKCS#8 DER in SecretBytes and in no other form. What OpenSSL needs of it to sign
//   lives in OpenSSL's blocks for as long as the PrivateKey; these are wiped when they are freed (crypto/library.cc).
// - What a signature is made over is fixed by the algorithm: a digest, or for Ed25519 the message itself. Nobody chooses
//   a hash, so nobody can choose a weak one.
#pragma once

#include <cstdint>
#include <memory>

#include "base/bytes.h"
#include "base/secret_memory.h"
#include "base/status.h"

namespace strongroom::crypto {

enum class KeyAlgorithm : std::uint8_t { kEcP256 = 1, kEcP384 = 2, kRsa3072 = 3, kEd25519 = 4 };
enum class SignatureFormat : std::uint8_t { kDer = 1, kRaw = 2 };  // of ECDSA: ASN.1, or r | s (IEEE P1363)

// The size of the digest that is signed: 32 (SHA-256) for P-256 and RSA, 48 (SHA-384) for P-384; 0 for Ed25519, which
// signs messages only.
[[nodiscard]] std::size_t digest_bytes(KeyAlgorithm algorithm);
// What is signed in place of a message: its digest, or for Ed25519 the message.
[[nodiscard]] Bytes to_be_signed(KeyAlgorithm algorithm, ByteView message);

class PrivateKey {
 public:
  // RSA takes from a tenth of a second to some seconds.
  [[nodiscard]] static Result<PrivateKey> generate(KeyAlgorithm algorithm);
  // PKCS#8 DER (RFC 5208). kInvalidArgument when it is none, or one of another algorithm.
  [[nodiscard]] static Result<PrivateKey> parse(KeyAlgorithm algorithm, ByteView pkcs8);
  PrivateKey(PrivateKey&&) noexcept;
  PrivateKey& operator=(PrivateKey&&) noexcept;
  ~PrivateKey();

  [[nodiscard]] KeyAlgorithm algorithm() const;
  [[nodiscard]] Result<SecretBytes> pkcs8() const;
  // SubjectPublicKeyInfo, DER (RFC 5280).
  [[nodiscard]] Result<Bytes> public_key() const;
  // `input` is a digest of digest_bytes(), or for Ed25519 a message of at most 1 MiB: kInvalidArgument otherwise. RSA is
  // PSS with SHA-256, MGF1 with SHA-256 and a salt of 32 bytes. `format` matters to ECDSA only.
  [[nodiscard]] Result<Bytes> sign(ByteView input, SignatureFormat format) const;

 private:
  struct State;
  explicit PrivateKey(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Whether `signature` is one over `input` (as for PrivateKey::sign) under a SubjectPublicKeyInfo of this algorithm.
// Anything that is malformed is false.
[[nodiscard]] bool verify_signature(KeyAlgorithm algorithm, ByteView public_key, ByteView input,
                                    ByteView signature, SignatureFormat format);

}  // namespace strongroom::crypto
