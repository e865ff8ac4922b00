// Managed keys: signing keys that the application names and the store keeps, in the vault or in a token.
//
// System records (integers little-endian, "prefixed" is a varint length and the bytes):
//   strongroom/keys/<id>           u8 version, 1 | u8 algorithm | u8 location | u8 state | u64 created, wall ms |
//                                  prefixed: SubjectPublicKeyInfo (DER), certificate chain (PEM), reason of the
//                                  deactivation, serial number of the token, CKA_ID in the token
//   strongroom/keys/<id>/private   PKCS#8 DER; only for a key in the vault
//
// Invariants:
// - The private half is a record of its own: finding and listing keys never decrypts it.
// - Both records of a key come and go in one commit. In a token the key is made before the commit and destroyed after it,
//   so that no record is without its key; a crash between leaves a key in the token that nothing names.
// - A key that is deactivated does not sign. It becomes active again only by signing a random challenge that verifies
//   under the stored public key.
// - Changes are as durable as `witnessed`: a deactivation cannot be rewound unnoticed once it was acknowledged.
// Writing calls come from one thread at a time; find(), list() and signer() may run beside them.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "crypto/private_key.h"
#include "store/system_records.h"

namespace strongroom::store {

using crypto::KeyAlgorithm;
using crypto::SignatureFormat;

enum class KeyLocation : std::uint8_t { kVault = 1, kHsm = 2 };
enum class KeyState : std::uint8_t { kActive = 1, kDeactivated = 2 };

struct ManagedKey {
  std::string id;  // 1 to 64 of [A-Za-z0-9._-]
  KeyAlgorithm algorithm = KeyAlgorithm::kEcP256;
  KeyLocation location = KeyLocation::kVault;
  KeyState state = KeyState::kActive;
  std::int64_t created_wall_ms = 0;
  Bytes public_key;          // SubjectPublicKeyInfo, DER
  std::string chain;         // PEM, the key's own certificate first; empty: none attached
  std::string reason;        // of the deactivation
  std::string token_serial;  // kHsm
  Bytes token_key_id;        // kHsm: CKA_ID
};

[[nodiscard]] Status check_key_id(std::string_view id);
[[nodiscard]] Bytes encode_managed_key(const ManagedKey& key);
// kInternal: what a vault holds is authentic, so anything malformed was written by a newer release or by mistake.
[[nodiscard]] Result<ManagedKey> parse_managed_key(std::string_view id, ByteView record);

// The token that keys at kHsm live in; roots::Token has these calls. Thread-safe.
class TokenKeys {
 public:
  TokenKeys() = default;
  TokenKeys(const TokenKeys&) = delete;
  TokenKeys& operator=(const TokenKeys&) = delete;
  TokenKeys(TokenKeys&&) = delete;
  TokenKeys& operator=(TokenKeys&&) = delete;
  virtual ~TokenKeys() = default;
  [[nodiscard]] virtual std::string serial() const = 0;
  [[nodiscard]] virtual Status generate(const std::string& label, ByteView key_id,
                                        KeyAlgorithm algorithm) = 0;
  [[nodiscard]] virtual Result<Bytes> public_key(ByteView key_id) = 0;
  // kNotFound when the token does not hold the key.
  [[nodiscard]] virtual Result<Bytes> sign(ByteView key_id, KeyAlgorithm algorithm, ByteView input,
                                           SignatureFormat format) = 0;
  [[nodiscard]] virtual Status destroy(ByteView key_id) = 0;
};

// One key at one moment, ready to sign on any thread, also when the store was closed meanwhile.
class KeySigner {
 public:
  KeySigner(KeyAlgorithm algorithm, SecretBytes pkcs8) : algorithm_(algorithm), pkcs8_(std::move(pkcs8)) {}
  KeySigner(KeyAlgorithm algorithm, std::shared_ptr<TokenKeys> token, Bytes token_key_id)
      : algorithm_(algorithm), token_(std::move(token)), token_key_id_(std::move(token_key_id)) {}

  [[nodiscard]] KeyAlgorithm algorithm() const { return algorithm_; }
  // As crypto::PrivateKey::sign(). kKeyNotFound when the token lost the key, and the token's own reasons.
  [[nodiscard]] Result<Bytes> sign(ByteView input, SignatureFormat format) const;

 private:
  KeyAlgorithm algorithm_;
  SecretBytes pkcs8_;
  std::shared_ptr<TokenKeys> token_;
  Bytes token_key_id_;
};

// Looking, from any thread; `cipher` is the thread's.
class KeyRecords {
 public:
  // `token` is null where the store has none.
  KeyRecords(const log::CommitQueue& queue, log::ValueCipher& cipher, std::shared_ptr<TokenKeys> token)
      : reader_(queue, cipher), token_(std::move(token)) {}

  // kKeyNotFound; kInvalidArgument for what is no id. In all that follows, too.
  [[nodiscard]] Result<ManagedKey> find(std::string_view id) const;
  [[nodiscard]] Result<std::vector<ManagedKey>> list() const;  // by id
  // kKeyDeactivated; kKeyNotFound also when the private half is out of reach for good.
  [[nodiscard]] Result<KeySigner> signer(std::string_view id) const;
  // Of any state: for the proof of a reactivation.
  [[nodiscard]] Result<KeySigner> signer_of(const ManagedKey& key) const;
  // What the records become of all active keys at kHsm that the token does not hold: names and new values, for the commit
  // of a restore. The token's own reasons when it cannot be asked.
  [[nodiscard]] Result<std::vector<std::pair<std::string, Bytes>>> deactivations(
      std::string_view reason) const;

 private:
  SystemRecordReader reader_;
  std::shared_ptr<TokenKeys> token_;
};

// Changing. `token` as above.
class ManagedKeys {
 public:
  ManagedKeys(Engine& engine, std::shared_ptr<TokenKeys> token)
      : engine_(engine),
        cipher_(engine.epoch_keys()),
        token_(std::move(token)),
        records_(engine.queue(), cipher_, token_) {}

  // kKeyExists. kUnsupported at kHsm without a token.
  [[nodiscard]] Result<ManagedKey> generate(std::string_view id, KeyAlgorithm algorithm, KeyLocation location,
                                            std::int64_t now_wall_ms);
  // Replaces the chain; an empty one removes it. At most 256 KiB. kCertificateMismatch when the first certificate is for
  // another key.
  [[nodiscard]] Status attach_chain(std::string_view id, std::string_view pem);
  // `reason`: 1 to 1,024 bytes. A key that is deactivated keeps its first reason.
  [[nodiscard]] Status deactivate(std::string_view id, std::string_view reason);
  // kKeyNotProven.
  [[nodiscard]] Status reactivate(std::string_view id);
  [[nodiscard]] Status remove(std::string_view id);

 private:
  [[nodiscard]] Status save(const ManagedKey& key);

  Engine& engine_;
  log::ValueCipher cipher_;
  std::shared_ptr<TokenKeys> token_;
  KeyRecords records_;
};

}  // namespace strongroom::store
