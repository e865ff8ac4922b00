#include "store/managed_keys.h"

#include <algorithm>

#include "base/limits.h"
#include "crypto/certificate.h"
#include "crypto/crypto.h"

namespace strongroom::store {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::string_view kPrefix = "strongroom/keys/";
constexpr std::string_view kPrivateSuffix = "/private";
constexpr std::size_t kTokenKeyIdBytes = 16;
constexpr std::size_t kChallengeBytes = 32;

std::string record_name(std::string_view id) { return std::string(kPrefix) + std::string(id); }
std::string private_name(std::string_view id) { return record_name(id) + std::string(kPrivateSuffix); }

Status not_found(std::string_view id) {
  return {Reason::kKeyNotFound, "there is no managed key '" + std::string(id) + "'"};
}

Status half_is_lost(const ManagedKey& key) {
  return {Reason::kKeyNotFound,
          "the private half of the key '" + key.id + "' is not there" +
              (key.location == KeyLocation::kHsm ? ": it lives in the token " + key.token_serial
                                                 : std::string())};
}

log::Change put(const std::string& name, ByteView value) {
  return {log::Operation::kPut, as_bytes(name), value};
}
log::Change erase(const std::string& name) { return {log::Operation::kDelete, as_bytes(name), {}}; }

Status prove(const ManagedKey& key, const KeySigner& signer) {
  const auto challenge = crypto::random_array<kChallengeBytes>();
  const Bytes input = crypto::to_be_signed(key.algorithm, challenge);
  SR_ASSIGN(const Bytes signature, signer.sign(input, SignatureFormat::kRaw));
  if (crypto::verify_signature(key.algorithm, key.public_key, input, signature, SignatureFormat::kRaw))
    return {};
  return {Reason::kKeyNotProven, "the key '" + key.id + "' answered with a signature of another key"};
}

}  // namespace

Status check_key_id(std::string_view id) {
  const bool plain = std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
  if (plain && !id.empty() && id.size() <= limits::kManagedKeyIdBytesMax) return {};
  return {Reason::kInvalidArgument,
          "the id of a key has 1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-'"};
}

Bytes encode_managed_key(const ManagedKey& key) {
  Bytes out;
  ByteWriter writer(out);
  writer.number(kVersion);
  writer.number(static_cast<std::uint8_t>(key.algorithm));
  writer.number(static_cast<std::uint8_t>(key.location));
  writer.number(static_cast<std::uint8_t>(key.state));
  writer.number(static_cast<std::uint64_t>(key.created_wall_ms));
  writer.prefixed(key.public_key);
  writer.prefixed(as_bytes(key.chain));
  writer.prefixed(as_bytes(key.reason));
  writer.prefixed(as_bytes(key.token_serial));
  writer.prefixed(key.token_key_id);
  return out;
}

Result<ManagedKey> parse_managed_key(std::string_view id, ByteView record) {
  ByteReader reader(record);
  ManagedKey key;
  key.id = id;
  const auto version = reader.number<std::uint8_t>();
  const auto algorithm = reader.number<std::uint8_t>();
  const auto location = reader.number<std::uint8_t>();
  const auto state = reader.number<std::uint8_t>();
  key.created_wall_ms = static_cast<std::int64_t>(reader.number<std::uint64_t>());
  const ByteView public_key = reader.prefixed();
  key.public_key.assign(public_key.begin(), public_key.end());
  key.chain = as_text(reader.prefixed());
  key.reason = as_text(reader.prefixed());
  key.token_serial = as_text(reader.prefixed());
  const ByteView token_key_id = reader.prefixed();
  key.token_key_id.assign(token_key_id.begin(), token_key_id.end());
  if (!reader.done() || version != kVersion || algorithm < 1 || algorithm > 4 || location < 1 ||
      location > 2 || state < 1 || state > 2) {
    return Status(Reason::kInternal,
                  "the record of the key '" + key.id + "' is not one that this release writes");
  }
  key.algorithm = static_cast<KeyAlgorithm>(algorithm);
  key.location = static_cast<KeyLocation>(location);
  key.state = static_cast<KeyState>(state);
  return key;
}

Result<Bytes> KeySigner::sign(ByteView input, SignatureFormat format) const {
  if (token_ != nullptr) {
    Result<Bytes> signature = token_->sign(token_key_id_, algorithm_, input, format);
    if (signature.is(Reason::kNotFound)) return Status(Reason::kKeyNotFound, signature.error().detail);
    return signature;
  }
  const Result<crypto::PrivateKey> key = crypto::PrivateKey::parse(algorithm_, pkcs8_.view());
  if (!key.ok()) return Status(Reason::kInternal, key.error().detail);
  return key->sign(input, format);
}

Result<ManagedKey> KeyRecords::find(std::string_view id) const {
  SR_TRY(check_key_id(id));
  SR_ASSIGN(const std::optional<Bytes> record, reader_.read(record_name(id)));
  if (!record) return not_found(id);
  return parse_managed_key(id, *record);
}

Result<std::vector<ManagedKey>> KeyRecords::list() const {
  std::vector<ManagedKey> found;
  for (const std::string& name : reader_.keys(kPrefix)) {
    if (name.ends_with(kPrivateSuffix)) continue;
    SR_ASSIGN(const std::optional<Bytes> record, reader_.read(name));
    if (!record) continue;  // removed meanwhile
    SR_ASSIGN(ManagedKey key, parse_managed_key(std::string_view(name).substr(kPrefix.size()), *record));
    found.push_back(std::move(key));
  }
  // "a-b" sorts before "a/private" and after "a": the records' order is not that of the ids alone.
  std::sort(found.begin(), found.end(), [](const ManagedKey& a, const ManagedKey& b) { return a.id < b.id; });
  return found;
}

Result<KeySigner> KeyRecords::signer(std::string_view id) const {
  SR_ASSIGN(const ManagedKey key, find(id));
  if (key.state == KeyState::kDeactivated) {
    return Status(Reason::kKeyDeactivated, "the key '" + key.id + "' is deactivated: " + key.reason);
  }
  return signer_of(key);
}

Result<KeySigner> KeyRecords::signer_of(const ManagedKey& key) const {
  if (key.location == KeyLocation::kHsm) {
    if (token_ == nullptr || token_->serial() != key.token_serial) return half_is_lost(key);
    return KeySigner(key.algorithm, token_, key.token_key_id);
  }
  SR_ASSIGN(std::optional<SecretBytes> pkcs8, reader_.read_secret(private_name(key.id)));
  if (!pkcs8) return half_is_lost(key);
  return KeySigner(key.algorithm, *std::move(pkcs8));
}

Result<std::vector<std::pair<std::string, Bytes>>> KeyRecords::deactivations(std::string_view reason) const {
  SR_ASSIGN(std::vector<ManagedKey> keys, list());
  std::vector<std::pair<std::string, Bytes>> records;
  for (ManagedKey& key : keys) {
    if (key.location != KeyLocation::kHsm || key.state != KeyState::kActive) continue;
    // A token that was set up anew may have kept its serial number.
    if (token_ != nullptr && token_->serial() == key.token_serial) {
      const Result<Bytes> there = token_->public_key(key.token_key_id);
      if (there.ok()) continue;
      if (!there.is(Reason::kNotFound)) return there.status();
    }
    key.state = KeyState::kDeactivated;
    key.reason = reason;
    records.emplace_back(record_name(key.id), encode_managed_key(key));
  }
  return records;
}

Result<ManagedKey> ManagedKeys::generate(std::string_view id, KeyAlgorithm algorithm, KeyLocation location,
                                         std::int64_t now_wall_ms) {
  SR_TRY(engine_.validate_before_write());  // before the work, and before a token is touched
  if (const Result<ManagedKey> present = records_.find(id); !present.is(Reason::kKeyNotFound)) {
    if (!present.ok()) return present.status();
    return Status(Reason::kKeyExists, "there is a managed key '" + std::string(id) + "' already");
  }
  ManagedKey key;
  key.id = id;
  key.algorithm = algorithm;
  key.location = location;
  key.created_wall_ms = now_wall_ms;
  if (location == KeyLocation::kVault) {
    SR_ASSIGN(const crypto::PrivateKey made, crypto::PrivateKey::generate(algorithm));
    SR_ASSIGN(key.public_key, made.public_key());
    SR_ASSIGN(const SecretBytes pkcs8, made.pkcs8());
    const std::string name = record_name(id);
    const std::string half_name = private_name(id);
    const Bytes record = encode_managed_key(key);
    SR_TRY(commit_system(engine_, {put(name, record), put(half_name, pkcs8.view())}));
    return key;
  }
  if (token_ == nullptr) return Status(Reason::kUnsupported, "location 'hsm': this store has no token");
  key.token_serial = token_->serial();
  key.token_key_id.resize(kTokenKeyIdBytes);
  crypto::random_bytes(key.token_key_id);
  SR_TRY(token_->generate(key.id, key.token_key_id, algorithm));
  const auto commit = [&]() -> Status {
    SR_ASSIGN(key.public_key, token_->public_key(key.token_key_id));
    SR_TRY(prove(key, KeySigner(algorithm, token_, key.token_key_id)));
    return save(key);
  };
  if (const Status status = commit(); !status.ok()) {
    if (!status.error().committed) {
      token_->destroy(key.token_key_id)
          .ignore("the first failure is told; nothing names the key that is left");
    }
    return status;
  }
  return key;
}

Status ManagedKeys::save(const ManagedKey& key) {
  const std::string name = record_name(key.id);
  const Bytes record = encode_managed_key(key);
  return commit_system(engine_, {put(name, record)});
}

Status ManagedKeys::attach_chain(std::string_view id, std::string_view pem) {
  if (pem.size() > limits::kCertificatePemBytesMax)
    return {Reason::kInvalidArgument, "a chain has at most 262,144 bytes"};
  SR_ASSIGN(ManagedKey key, records_.find(id));
  if (!pem.empty()) SR_TRY(crypto::check_chain(key.public_key, as_bytes(pem)));
  key.chain = pem;
  return save(key);
}

Status ManagedKeys::deactivate(std::string_view id, std::string_view reason) {
  if (reason.empty() || reason.size() > limits::kDeactivationReasonBytesMax) {
    return {Reason::kInvalidArgument, "the reason of a deactivation has 1 to 1,024 bytes"};
  }
  SR_ASSIGN(ManagedKey key, records_.find(id));
  if (key.state == KeyState::kDeactivated) return {};
  key.state = KeyState::kDeactivated;
  key.reason = reason;
  return save(key);
}

Status ManagedKeys::reactivate(std::string_view id) {
  SR_ASSIGN(ManagedKey key, records_.find(id));
  SR_ASSIGN(const KeySigner signer, records_.signer_of(key));
  SR_TRY(prove(key, signer));
  if (key.state == KeyState::kActive) return {};
  key.state = KeyState::kActive;
  key.reason.clear();
  return save(key);
}

Status ManagedKeys::remove(std::string_view id) {
  SR_ASSIGN(const ManagedKey key, records_.find(id));
  const std::string name = record_name(id);
  std::vector<log::Change> changes{erase(name)};
  const std::string half_name = private_name(id);
  if (key.location == KeyLocation::kVault) changes.push_back(erase(half_name));
  Status committed = commit_system(engine_, changes);
  if (!committed.ok() && !committed.error().committed) return committed;
  if (key.location == KeyLocation::kHsm && token_ != nullptr && token_->serial() == key.token_serial) {
    const Status destroyed = token_->destroy(key.token_key_id);
    if (!destroyed.ok() && !destroyed.is(Reason::kNotFound)) {
      Error error = destroyed.error();
      error.committed = true;
      return error;
    }
  }
  return committed;
}

}  // namespace strongroom::store
