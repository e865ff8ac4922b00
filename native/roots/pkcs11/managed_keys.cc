// Managed keys: made in the token, never outside it, named by CKA_ID.
#include <algorithm>

#include "crypto/crypto.h"
#include "crypto/public_key.h"
#include "roots/pkcs11/token_state.h"

namespace strongroom::roots {

using namespace pkcs11;

namespace {

constexpr std::size_t kMessageBytesMax = std::size_t{1} << 20;
constexpr CK_ULONG kRsaBits = 3072;
constexpr CK_ULONG kPssSaltBytes = 32;
constexpr std::size_t kSignatureBytesMax = 1024;

// DER of the curve's object identifier (RFC 5480, RFC 8410); the name, which PKCS#11 v3.0 allows too, is all that some
// modules know of Ed25519.
constexpr std::uint8_t kP256Oid[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
constexpr std::uint8_t kP384Oid[] = {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22};
constexpr std::uint8_t kEd25519Oid[] = {0x06, 0x03, 0x2b, 0x65, 0x70};
constexpr std::uint8_t kEd25519Name[] = {0x13, 0x0c, 'e', 'd', 'w', 'a', 'r',
                                         'd',  's',  '2', '5', '5', '1', '9'};

struct Algorithm {
  CK_KEY_TYPE key_type;
  CK_MECHANISM_TYPE generation;
  CK_MECHANISM_TYPE signing;
  std::size_t digest_bytes;     // 0: the message itself
  std::size_t signature_bytes;  // raw
  std::vector<ByteView> parameters;
};

// Empty for a value that is none of the enumeration.
std::optional<Algorithm> algorithm_of(KeyAlgorithm algorithm) {
  switch (algorithm) {
    case KeyAlgorithm::kEcP256:
      return Algorithm{CKK_EC, CKM_EC_KEY_PAIR_GEN, CKM_ECDSA, 32, 64, {kP256Oid}};
    case KeyAlgorithm::kEcP384:
      return Algorithm{CKK_EC, CKM_EC_KEY_PAIR_GEN, CKM_ECDSA, 48, 96, {kP384Oid}};
    case KeyAlgorithm::kRsa3072:
      return Algorithm{CKK_RSA, CKM_RSA_PKCS_KEY_PAIR_GEN, CKM_RSA_PKCS_PSS, 32, kRsaBits / 8, {ByteView()}};
    case KeyAlgorithm::kEd25519:
      return Algorithm{
          CKK_EC_EDWARDS, CKM_EC_EDWARDS_KEY_PAIR_GEN, CKM_EDDSA, 0, 64, {kEd25519Oid, kEd25519Name}};
  }
  return std::nullopt;
}

Result<std::vector<CK_OBJECT_HANDLE>> find_halves(Worker& worker, const Session& session,
                                                  CK_OBJECT_CLASS half, ByteView id) {
  Template search;
  search.number(CKA_CLASS, half).set(CKA_TOKEN).bytes(CKA_ID, id);
  return find_objects(worker, session, search);
}

Result<CK_OBJECT_HANDLE> find_private(Worker& worker, const Session& session, ByteView id) {
  SR_ASSIGN(const auto found, find_halves(worker, session, CKO_PRIVATE_KEY, id));
  if (found.empty()) {
    return Status(Reason::kNotFound,
                  "no key with id " + to_hex(id) + " in token '" + session.info().label + "'");
  }
  if (found.size() > 1) return Status(Reason::kKekDuplicate, "more than one key with id " + to_hex(id));
  return found.front();
}

// The point as the token has it: the DER of an OCTET STRING (PKCS#11 v2.40, 2.3.3), or bare.
Bytes ec_point(const Bytes& attribute, std::size_t point_bytes) {
  constexpr std::uint8_t kOctetString = 0x04;
  const ByteView view = attribute;
  if (view.size() == 2 + point_bytes && view[0] == kOctetString && view[1] == point_bytes)
    return Bytes(view.begin() + 2, view.end());
  return attribute;
}

Result<Bytes> read_public_key(Worker& worker, const Session& session, ByteView id) {
  SR_ASSIGN(const CK_OBJECT_HANDLE private_half, find_private(worker, session, id));
  SR_ASSIGN(const CK_ULONG type, read_number(worker, session, private_half, CKA_KEY_TYPE));
  if (type == CKK_RSA) {
    crypto::RsaPublicKey key;
    SR_ASSIGN(key.modulus, read_attribute(worker, session, private_half, CKA_MODULUS, kSignatureBytesMax));
    SR_ASSIGN(key.exponent, read_attribute(worker, session, private_half, CKA_PUBLIC_EXPONENT, 8));
    return crypto::rsa_public_key(key);
  }
  SR_ASSIGN(const auto halves, find_halves(worker, session, CKO_PUBLIC_KEY, id));
  if (halves.empty()) return Status(Reason::kNotFound, "the public half of key " + to_hex(id));
  SR_ASSIGN(const Bytes point, read_attribute(worker, session, halves.front(), CKA_EC_POINT, 256));
  if (type == CKK_EC_EDWARDS) return crypto::ed25519_public_key(ec_point(point, 32));
  SR_ASSIGN(const Bytes curve, read_attribute(worker, session, private_half, CKA_EC_PARAMS, 256));
  if (equal(curve, kP256Oid)) return crypto::ec_public_key(crypto::EcCurve::kP256, ec_point(point, 65));
  if (equal(curve, kP384Oid)) return crypto::ec_public_key(crypto::EcCurve::kP384, ec_point(point, 97));
  return Status(Reason::kHsmRefused, "the key " + to_hex(id) + " has an unknown curve");
}

Status generate_pair(Worker& worker, const Session& session, const std::string& label, ByteView id,
                     const Algorithm& algorithm) {
  CK_RV value = CKR_OK;
  for (const ByteView parameters : algorithm.parameters) {
    Template public_half;
    public_half.set(CKA_TOKEN).unset(CKA_PRIVATE).set(CKA_VERIFY).text(CKA_LABEL, label).bytes(CKA_ID, id);
    if (algorithm.key_type == CKK_RSA) {
      const std::uint8_t exponent[] = {1, 0, 1};
      public_half.number(CKA_MODULUS_BITS, kRsaBits).bytes(CKA_PUBLIC_EXPONENT, exponent);
    } else {
      public_half.bytes(CKA_EC_PARAMS, parameters);
    }
    Template private_half;
    private_half.set(CKA_TOKEN)
        .set(CKA_PRIVATE)
        .set(CKA_SENSITIVE)
        .unset(CKA_EXTRACTABLE)
        .set(CKA_SIGN)
        .text(CKA_LABEL, label)
        .bytes(CKA_ID, id);
    // Not asked for where the attribute does not belong to the type of key.
    if (algorithm.key_type == CKK_RSA) private_half.unset(CKA_DECRYPT).unset(CKA_UNWRAP);
    CK_MECHANISM mechanism = {algorithm.generation, nullptr, 0};
    CK_OBJECT_HANDLE public_key = CK_INVALID_HANDLE;
    CK_OBJECT_HANDLE private_key = CK_INVALID_HANDLE;
    SR_TRY(worker.begin_change());
    value = SR_CALL(worker, C_GenerateKeyPair, session.handle(), &mechanism, public_half.data(),
                    public_half.size(), private_half.data(), private_half.size(), &public_key, &private_key);
    if (value == CKR_OK) {
      if (find_private(worker, session, id).is(Reason::kNotFound)) {
        return Status(Reason::kTokenWriteFailed, "the token '" + session.info().label +
                                                     "' answered CKR_OK and does not hold the key with id " +
                                                     to_hex(id));
      }
      Status checked = check_confined(worker, session, private_key,
                                      algorithm.key_type == CKK_RSA ? CKA_PRIVATE_EXPONENT : CKA_VALUE);
      if (checked.ok()) checked = read_public_key(worker, session, id).status();
      if (checked.ok()) return checked;
      destroy_object(worker, session, private_key);
      destroy_object(worker, session, public_key);
      return checked;
    }
    if (!may_be_refusal(value)) break;
  }
  Status failed = worker.check(value);
  if (!failed.is(Reason::kHsmUnreachable) || !may_be_refusal(value)) return failed;
  // A token that still answers has refused it in words of its own.
  if (!find_halves(worker, session, CKO_PRIVATE_KEY, id).ok()) return failed;
  worker.acquit();
  return {Reason::kHsmRefused, failed.error().detail};
}

// DigestInfo is not involved: PSS and ECDSA take the digest itself.
Result<Bytes> sign_once(Worker& worker, const Session& session, CK_OBJECT_HANDLE key,
                        const Algorithm& algorithm, ByteView input) {
  CK_RSA_PKCS_PSS_PARAMS pss = {CKM_SHA256, CKG_MGF1_SHA256, kPssSaltBytes};
  CK_MECHANISM mechanism = {algorithm.signing, nullptr, 0};
  if (algorithm.signing == CKM_RSA_PKCS_PSS) {
    mechanism.pParameter = &pss;
    mechanism.ulParameterLen = sizeof(pss);
  }
  SR_TRY(worker.check(SR_CALL(worker, C_SignInit, session.handle(), &mechanism, key)));
  Bytes signature(kSignatureBytesMax);
  CK_ULONG size = signature.size();
  std::uint8_t nothing = 0;
  auto* const data = input.empty() ? &nothing : const_cast<std::uint8_t*>(input.data());
  SR_TRY(worker.check(SR_CALL(worker, C_Sign, session.handle(), data, static_cast<CK_ULONG>(input.size()),
                              signature.data(), &size)));
  if (size != algorithm.signature_bytes) {
    return Status(Reason::kHsmRefused, "the token made a signature of " + std::to_string(size) + " bytes");
  }
  signature.resize(size);
  return signature;
}

}  // namespace

Status Token::generate_key(const std::string& label, ByteView id, KeyAlgorithm algorithm) {
  SR_TRY(check_label(label));
  SR_TRY(check_id(id));
  const std::optional<Algorithm> wanted = algorithm_of(algorithm);
  if (!wanted) return Status(Reason::kInvalidArgument, "unknown algorithm of a key");
  return state_->run(
      [label, id = Bytes(id.begin(), id.end()), wanted = *wanted](Worker& worker,
                                                                  Session& session) -> Status {
        for (const CK_OBJECT_CLASS half : {CKO_PRIVATE_KEY, CKO_PUBLIC_KEY}) {
          SR_ASSIGN(const auto found, find_halves(worker, session, half, id));
          if (!found.empty())
            return Status(Reason::kHsmRefused, "the token has a key with id " + to_hex(id) + " already");
        }
        SR_ASSIGN(const bool supported,
                  session.supports_all(worker, {{wanted.generation, CKF_GENERATE_KEY_PAIR, 0},
                                                {wanted.signing, CKF_SIGN, 0}}));
        if (!supported) {
          return Status(Reason::kHsmAlgorithmMissing, "the token has no keys of this algorithm");
        }
        return generate_pair(worker, session, label, id, wanted);
      },
      kKeyGenerationTimeLimit);
}

Result<Bytes> Token::public_key(ByteView id) {
  SR_TRY(check_id(id));
  return state_->run([id = Bytes(id.begin(), id.end())](Worker& worker, Session& session) {
    return read_public_key(worker, session, id);
  });
}

Result<Bytes> Token::sign(ByteView id, KeyAlgorithm algorithm, ByteView digest_or_message,
                          SignatureFormat format) {
  SR_TRY(check_id(id));
  const std::optional<Algorithm> known = algorithm_of(algorithm);
  if (!known) return Status(Reason::kInvalidArgument, "unknown algorithm of a key");
  if (known->digest_bytes != 0 ? digest_or_message.size() != known->digest_bytes
                               : digest_or_message.size() > kMessageBytesMax) {
    return Status(Reason::kInvalidArgument, known->digest_bytes != 0
                                                ? "a digest of " + std::to_string(known->digest_bytes) +
                                                      " bytes is signed with this key"
                                                : "a message to be signed has at most 1 MiB");
  }
  SR_ASSIGN(Bytes signature, state_->run([id = Bytes(id.begin(), id.end()), known = *known,
                                          input = Bytes(digest_or_message.begin(), digest_or_message.end())](
                                             Worker& worker, Session& session) -> Result<Bytes> {
    SR_ASSIGN(const CK_OBJECT_HANDLE key, find_private(worker, session, id));
    return sign_once(worker, session, key, known, input);
  }));
  if (format == SignatureFormat::kDer && known->key_type == CKK_EC)
    return crypto::ecdsa_signature_to_der(signature);
  return signature;
}

Status Token::destroy_key(ByteView id) {
  SR_TRY(check_id(id));
  return state_->run([id = Bytes(id.begin(), id.end())](Worker& worker, Session& session) -> Status {
    // The private half last: while it is there, the key is found and can be removed again.
    SR_ASSIGN(const CK_OBJECT_HANDLE key, find_private(worker, session, id));
    SR_ASSIGN(const auto halves, find_halves(worker, session, CKO_PUBLIC_KEY, id));
    SR_TRY(worker.begin_change());
    for (const CK_OBJECT_HANDLE half : halves)
      SR_TRY(worker.check(SR_CALL(worker, C_DestroyObject, session.handle(), half)));
    return worker.check(SR_CALL(worker, C_DestroyObject, session.handle(), key));
  });
}

}  // namespace strongroom::roots
