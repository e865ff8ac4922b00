// The key-encryption key.
//
// Invariants:
// - An AES KEK may wrap and unwrap and nothing else; an RSA KEK may decrypt.
// - The key to be wrapped exists in the token as a session object during one job only.
// - A new key is used after the module, initialised again, has shown it: an older one is destroyed for its sake.
// - A wrap is believed after it was unwrapped and compared; a refused unwrap is believed to be the wrap's fault after the
//   same KEK has unwrapped a wrap of its own.
#include <algorithm>

#include "crypto/crypto.h"
#include "crypto/public_key.h"
#include "roots/pkcs11/token_state.h"

namespace strongroom::roots {

using namespace pkcs11;

namespace {

constexpr CK_ULONG kKekBytes = 32;
constexpr std::size_t kWrappedBytes = 40;  // RFC 3394: eight more
constexpr CK_ULONG kRsaBits = 3072;
constexpr std::size_t kRsaBytes = kRsaBits / 8;
constexpr std::size_t kKekIdBytes = 16;
constexpr std::size_t kCheckValueBytes = 8;
constexpr std::string_view kCheckValueLabel = "strongroom/v5 key check value";

bool is_rsa(KekType type) { return type != KekType::kAesKeyWrap; }
crypto::OaepHash oaep_hash(KekType type) {
  return type == KekType::kRsaOaep ? crypto::OaepHash::kSha256 : crypto::OaepHash::kSha1;
}

struct OaepMechanism {
  explicit OaepMechanism(KekType type) {
    const bool sha256 = oaep_hash(type) == crypto::OaepHash::kSha256;
    parameters.hashAlg = sha256 ? CKM_SHA256 : CKM_SHA_1;
    parameters.mgf = sha256 ? CKG_MGF1_SHA256 : CKG_MGF1_SHA1;
    parameters.source = CKZ_DATA_SPECIFIED;
  }
  OaepMechanism(const OaepMechanism&) = delete;
  OaepMechanism& operator=(const OaepMechanism&) = delete;
  OaepMechanism(OaepMechanism&&) = delete;
  OaepMechanism& operator=(OaepMechanism&&) = delete;
  ~OaepMechanism() = default;
  CK_RSA_PKCS_OAEP_PARAMS parameters{};
  CK_MECHANISM mechanism{CKM_RSA_PKCS_OAEP, &parameters, sizeof(parameters)};
};

CK_MECHANISM aes_key_wrap() { return {CKM_AES_KEY_WRAP, nullptr, 0}; }

Status check_kek(const std::string& label, const Kek& kek) {
  SR_TRY(check_label(label));
  SR_TRY(check_id(kek.id));
  if (kek.type == KekType::kAesKeyWrap || kek.type == KekType::kRsaOaep || kek.type == KekType::kRsaOaepSha1)
    return Status();
  return Status(Reason::kInvalidArgument, "unknown type of a key-encryption key");
}

// The KEK of one job.
struct Access {
  Worker& worker;
  const Session& session;
  const std::string& label;
  const Kek& kek;

  [[nodiscard]] Result<std::vector<CK_OBJECT_HANDLE>> find(CK_OBJECT_CLASS kind) const {
    Template search;
    search.number(CKA_CLASS, kind).set(CKA_TOKEN).text(CKA_LABEL, label).bytes(CKA_ID, kek.id);
    return find_objects(worker, session, search);
  }

  [[nodiscard]] Result<CK_OBJECT_HANDLE> find() const {
    SR_ASSIGN(const auto found, find(is_rsa(kek.type) ? CKO_PRIVATE_KEY : CKO_SECRET_KEY));
    if (found.empty()) {
      return Status(Reason::kKekMissing, "no key '" + label + "' with id " + to_hex(kek.id) + " in token '" +
                                             session.info().label + "'");
    }
    if (found.size() > 1) {
      return Status(Reason::kKekDuplicate,
                    std::to_string(found.size()) + " keys '" + label + "' with id " + to_hex(kek.id));
    }
    return found.front();
  }

  // The key to be wrapped as a session object. Which type of key a token wraps differs; the wrap holds its value only.
  [[nodiscard]] Status import_key(ByteView key, TemporaryObject& object) const {
    CK_RV first = CKR_OK;
    for (const CK_KEY_TYPE type : {CKK_GENERIC_SECRET, CKK_AES}) {
      Template attributes;
      attributes.number(CKA_CLASS, CKO_SECRET_KEY)
          .number(CKA_KEY_TYPE, type)
          .unset(CKA_TOKEN)
          .set(CKA_PRIVATE)
          .unset(CKA_SENSITIVE)
          .set(CKA_EXTRACTABLE)
          .refer(CKA_VALUE, key);
      const CK_RV value = SR_CALL(worker, C_CreateObject, session.handle(), attributes.data(),
                                  attributes.size(), &object.handle);
      if (!may_be_refusal(value)) return worker.check(value);
      if (first == CKR_OK) first = value;
    }
    return worker.check(first);
  }

  [[nodiscard]] Result<Bytes> wrap_aes(CK_OBJECT_HANDLE kek_handle, ByteView key) const {
    TemporaryObject object(worker, session);
    SR_TRY(import_key(key, object));
    CK_MECHANISM mechanism = aes_key_wrap();
    Bytes wrapped(kWrappedBytes + 64);
    CK_ULONG size = wrapped.size();
    SR_TRY(worker.check(SR_CALL(worker, C_WrapKey, session.handle(), &mechanism, kek_handle, object.handle,
                                wrapped.data(), &size)));
    if (size != kWrappedBytes) {
      return Status(Reason::kHsmRefused,
                    "CKM_AES_KEY_WRAP of the token made " + std::to_string(size) + " bytes, not 40");
    }
    wrapped.resize(size);
    return wrapped;
  }

  [[nodiscard]] Result<SecretBytes> unwrap_aes(CK_OBJECT_HANDLE kek_handle, ByteView wrapped) const {
    if (wrapped.size() != kWrappedBytes) {
      return Status(Reason::kWrappedDekCorrupt, "a key wrapped by AES key wrap has 40 bytes");
    }
    TemporaryObject object(worker, session);
    CK_RV said = CKR_OK;
    for (const CK_KEY_TYPE type : {CKK_GENERIC_SECRET, CKK_AES}) {
      for (const bool with_length : {false, true}) {
        Template attributes;
        attributes.number(CKA_CLASS, CKO_SECRET_KEY)
            .number(CKA_KEY_TYPE, type)
            .unset(CKA_TOKEN)
            .set(CKA_PRIVATE)
            .unset(CKA_SENSITIVE)
            .set(CKA_EXTRACTABLE);
        if (with_length) attributes.number(CKA_VALUE_LEN, kKekBytes);
        CK_MECHANISM mechanism = aes_key_wrap();
        const CK_RV value =
            SR_CALL(worker, C_UnwrapKey, session.handle(), &mechanism, kek_handle,
                    const_cast<CK_BYTE*>(wrapped.data()), static_cast<CK_ULONG>(wrapped.size()),
                    attributes.data(), attributes.size(), &object.handle);
        // Only what is said of the template has an alternative, or may be said of it.
        const bool of_template = value == CKR_TEMPLATE_INCOMPLETE || value == CKR_TEMPLATE_INCONSISTENT ||
                                 value == CKR_ATTRIBUTE_VALUE_INVALID || value == CKR_ATTRIBUTE_TYPE_INVALID;
        const bool unclear =
            may_be_refusal(value) && classify(value, Operation::kUse).reason == Reason::kHsmUnreachable;
        if (!of_template && !unclear) {
          SR_TRY(worker.check(value, Operation::kUnwrap));
          return read_key(object.handle);
        }
        if (said == CKR_OK || unclear) said = value;
      }
    }
    return worker.check(said, Operation::kUnwrap);
  }

  [[nodiscard]] Result<SecretBytes> read_key(CK_OBJECT_HANDLE object) const {
    SecretBytes key(crypto::kKeyBytes);
    CK_ATTRIBUTE attribute = {CKA_VALUE, key.span().data(), static_cast<CK_ULONG>(key.size())};
    SR_TRY(worker.check(SR_CALL(worker, C_GetAttributeValue, session.handle(), object, &attribute,
                                static_cast<CK_ULONG>(1))));
    if (attribute.ulValueLen != key.size())
      return Status(Reason::kWrappedDekCorrupt, "the unwrapped key has not 32 bytes");
    return key;
  }

  // The public half, as the private key names it: the other object may have been exchanged.
  [[nodiscard]] Result<crypto::RsaPublicKey> rsa_public_key(CK_OBJECT_HANDLE kek_handle) const {
    crypto::RsaPublicKey key;
    SR_ASSIGN(key.modulus, read_attribute(worker, session, kek_handle, CKA_MODULUS, 1024));
    SR_ASSIGN(key.exponent, read_attribute(worker, session, kek_handle, CKA_PUBLIC_EXPONENT, 8));
    return key;
  }

  [[nodiscard]] Result<SecretBytes> decrypt_rsa(CK_OBJECT_HANDLE kek_handle, ByteView wrapped) const {
    if (wrapped.size() != kRsaBytes)
      return Status(Reason::kWrappedDekCorrupt, "a key wrapped by RSA-3072 has 384 bytes");
    // A number beyond the modulus is of another key; modules call that an argument error, or worse.
    SR_ASSIGN(const crypto::RsaPublicKey public_key, rsa_public_key(kek_handle));
    if (public_key.modulus.size() == wrapped.size() &&
        !std::lexicographical_compare(wrapped.begin(), wrapped.end(), public_key.modulus.begin(),
                                      public_key.modulus.end())) {
      return Status(Reason::kWrappedDekCorrupt, "the wrapped key is not one of this RSA key");
    }
    OaepMechanism oaep(kek.type);
    SR_TRY(worker.check(SR_CALL(worker, C_DecryptInit, session.handle(), &oaep.mechanism, kek_handle)));
    SecretBytes out(kRsaBytes);
    CK_ULONG size = out.size();
    SR_TRY(worker.check(SR_CALL(worker, C_Decrypt, session.handle(), const_cast<CK_BYTE*>(wrapped.data()),
                                static_cast<CK_ULONG>(wrapped.size()), out.span().data(), &size),
                        Operation::kUnwrap));
    if (size != crypto::kKeyBytes)
      return Status(Reason::kWrappedDekCorrupt, "the unwrapped key has not 32 bytes");
    return SecretBytes(out.view().first(size));
  }

  [[nodiscard]] Result<SecretBytes> unwrap_once(CK_OBJECT_HANDLE kek_handle, ByteView wrapped) const {
    return is_rsa(kek.type) ? decrypt_rsa(kek_handle, wrapped) : unwrap_aes(kek_handle, wrapped);
  }

  [[nodiscard]] Result<Bytes> wrap(CK_OBJECT_HANDLE kek_handle, ByteView key) const {
    Bytes wrapped;
    if (is_rsa(kek.type)) {
      SR_ASSIGN(const crypto::RsaPublicKey public_key, rsa_public_key(kek_handle));
      SR_ASSIGN(wrapped, crypto::rsa_oaep_encrypt(public_key, oaep_hash(kek.type), key));
    } else {
      SR_ASSIGN(wrapped, wrap_aes(kek_handle, key));
    }
    const Result<SecretBytes> again = unwrap_once(kek_handle, wrapped);
    if (!again.ok()) {
      // Its own wrap: what the unwrap says of wrapped bytes is said of the token here.
      if (!again.is(Reason::kWrappedDekCorrupt)) return again.status();
      return Status(Reason::kHsmRefused,
                    "the token does not unwrap what it wrapped: " + again.error().detail);
    }
    if (!crypto::equal_constant_time(again->view(), key))
      return Status(Reason::kHsmRefused, "the token unwraps another key than it wrapped");
    return wrapped;
  }

  // A key of ours that is no secret.
  [[nodiscard]] static Digest constant_key() { return crypto::sha256({as_bytes(kCheckValueLabel)}); }

  [[nodiscard]] Result<SecretBytes> unwrap(CK_OBJECT_HANDLE kek_handle, ByteView wrapped) const {
    Result<SecretBytes> key = unwrap_once(kek_handle, wrapped);
    if (!key.is(Reason::kWrappedDekCorrupt)) return key;
    const Digest probe = constant_key();
    const Result<Bytes> proof = wrap(kek_handle, probe);
    if (proof.ok()) {
      worker.acquit();
      return key;
    }
    return Status(Reason::kHsmUnreachable, "the token unwraps nothing now: " + proof.error().detail);
  }
};

Template& confined(Template& attributes, const std::string& label, ByteView id) {
  return attributes.set(CKA_TOKEN)
      .set(CKA_PRIVATE)
      .set(CKA_SENSITIVE)
      .unset(CKA_EXTRACTABLE)
      .text(CKA_LABEL, label)
      .bytes(CKA_ID, id);
}

Result<CK_OBJECT_HANDLE> generate_aes(const Access& access) {
  Template attributes;
  attributes.number(CKA_CLASS, CKO_SECRET_KEY)
      .number(CKA_KEY_TYPE, CKK_AES)
      .number(CKA_VALUE_LEN, kKekBytes)
      .set(CKA_WRAP)
      .set(CKA_UNWRAP)
      .unset(CKA_ENCRYPT)
      .unset(CKA_DECRYPT)
      .unset(CKA_SIGN)
      .unset(CKA_VERIFY)
      .unset(CKA_DERIVE);
  confined(attributes, access.label, access.kek.id);
  CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, nullptr, 0};
  CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
  SR_TRY(access.worker.begin_change());
  SR_TRY(access.worker.check(SR_CALL(access.worker, C_GenerateKey, access.session.handle(), &mechanism,
                                     attributes.data(), attributes.size(), &key)));
  return key;
}

void destroy_all(const Access& access) {
  const Worker::Cleanup cleanup(access.worker);
  for (const CK_OBJECT_CLASS kind : {CKO_PRIVATE_KEY, CKO_PUBLIC_KEY, CKO_SECRET_KEY}) {
    const auto found = access.find(kind);
    if (!found.ok()) continue;
    for (const CK_OBJECT_HANDLE object : *found) destroy_object(access.worker, access.session, object);
  }
}

// The uses that a key is not to have are denied where the token lets them be (tpm2-pkcs11 does not). They would give nobody
// anything: an RSA key that decrypts does what they do.
Result<CK_OBJECT_HANDLE> generate_rsa(const Access& access) {
  const std::uint8_t exponent[] = {1, 0, 1};
  CK_RV value = CKR_OK;
  for (const bool deny : {true, false}) {
    Template public_half;
    public_half.set(CKA_TOKEN)
        .number(CKA_MODULUS_BITS, kRsaBits)
        .bytes(CKA_PUBLIC_EXPONENT, exponent)
        .set(CKA_ENCRYPT)
        .text(CKA_LABEL, access.label)
        .bytes(CKA_ID, access.kek.id);
    if (deny) public_half.unset(CKA_VERIFY).unset(CKA_WRAP);
    Template private_half;
    private_half.set(CKA_DECRYPT);
    if (deny) private_half.unset(CKA_UNWRAP).unset(CKA_SIGN);
    confined(private_half, access.label, access.kek.id);
    CK_MECHANISM mechanism = {CKM_RSA_PKCS_KEY_PAIR_GEN, nullptr, 0};
    CK_OBJECT_HANDLE public_key = CK_INVALID_HANDLE;
    CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
    SR_TRY(access.worker.begin_change());
    value = SR_CALL(access.worker, C_GenerateKeyPair, access.session.handle(), &mechanism, public_half.data(),
                    public_half.size(), private_half.data(), private_half.size(), &public_key, &key);
    if (value == CKR_OK) return key;
    destroy_all(access);
    if (!may_be_refusal(value)) break;
  }
  return access.worker.check(value);
}

Status check_generated(const Access& access, CK_OBJECT_HANDLE key) {
  if (is_rsa(access.kek.type)) {
    SR_TRY(check_confined(access.worker, access.session, key, CKA_PRIVATE_EXPONENT));
    SR_TRY(check_flags(access.worker, access.session, key, {{CKA_DECRYPT, "CKA_DECRYPT", true}}));
    SR_ASSIGN(const crypto::RsaPublicKey public_key, access.rsa_public_key(key));
    if (public_key.modulus.size() == kRsaBytes) return Status();
  } else {
    SR_TRY(check_confined(access.worker, access.session, key, CKA_VALUE));
    SR_TRY(check_flags(access.worker, access.session, key,
                       {{CKA_WRAP, "CKA_WRAP", true},
                        {CKA_UNWRAP, "CKA_UNWRAP", true},
                        {CKA_ENCRYPT, "CKA_ENCRYPT", false},
                        {CKA_DECRYPT, "CKA_DECRYPT", false}}));
    SR_ASSIGN(const CK_ULONG size, read_number(access.worker, access.session, key, CKA_VALUE_LEN));
    if (size == kKekBytes) return Status();
  }
  return Status(Reason::kHsmRefused, "the token made a key of another size than it was asked for");
}

// Asks the module initialised again, where that is possible: a module may answer CKR_OK, show the key and have stored none of
// it, or a part.
Status check_stored(const Access& access, Session& session) {
  if (access.worker.may_reinitialise()) {
    SR_TRY(access.worker.reinitialise());
    SR_TRY(session.ensure_open(access.worker));
  }
  Status found = access.find().status();
  if (!found.is(Reason::kKekMissing)) return found;
  return {Reason::kTokenWriteFailed, "the token '" + session.info().label +
                                         "' answered CKR_OK and does not hold the key '" + access.label +
                                         "'"};
}

// While a key is being made, an unclear error of a token that still answers is a refusal: nothing is decided by it that a
// later start could not correct. At a start the same error is an outage.
Status as_refusal(const Access& access, Status status) {
  if (!status.is(Reason::kHsmUnreachable) || !may_be_refusal(access.worker.failed())) return status;
  const Status found = access.find().status();
  if (!found.ok() && !found.is(Reason::kKekMissing)) return status;
  access.worker.acquit();
  return {Reason::kHsmRefused, status.error().detail};
}

bool is_refusal(const Status& status) {
  return status.is(Reason::kHsmRefused) || status.is(Reason::kHsmAlgorithmMissing);
}

// One key, and the first of `forms` in which the token wraps and unwraps by it.
Result<Kek> generate_for(Worker& worker, Session& session, const std::string& label, const Bytes& id,
                         const std::vector<KekType>& forms) {
  Kek kek;
  kek.type = forms.front();
  kek.id = id;
  const Access access{worker, session, label, kek};
  const Result<CK_OBJECT_HANDLE> key = is_rsa(kek.type) ? generate_rsa(access) : generate_aes(access);
  if (!key.ok()) {
    Status refused = as_refusal(access, key.status());
    if (is_refusal(refused)) destroy_all(access);
    return refused;
  }
  SR_TRY(check_stored(access, session));
  const Result<CK_OBJECT_HANDLE> stored = access.find();
  Status status = stored.ok() ? check_generated(access, *stored) : stored.status();
  if (status.ok()) {
    for (const KekType form : forms) {
      kek.type = form;
      status = access.wrap(*stored, Access::constant_key()).status();
      if (status.ok()) return kek;
      status = as_refusal(access, std::move(status));
      if (!is_refusal(status)) break;
    }
  }
  destroy_all(access);
  return status;
}

// AES key wrap is deterministic, so the wrap of a key that everyone knows names the KEK; a secure wrap tells nothing of
// other wraps (RFC 3394, NIST SP 800-38F), and the hash leaves nothing that could be unwrapped.
Result<Bytes> check_value_of(const Access& access, CK_OBJECT_HANDLE handle) {
  Digest digest;
  if (is_rsa(access.kek.type)) {
    SR_ASSIGN(const crypto::RsaPublicKey key, access.rsa_public_key(handle));
    digest = crypto::sha256({as_bytes(kCheckValueLabel), key.modulus, key.exponent});
  } else {
    SR_ASSIGN(const Bytes wrapped, access.wrap_aes(handle, Access::constant_key()));
    digest = crypto::sha256({as_bytes(kCheckValueLabel), wrapped});
  }
  return Bytes(digest.begin(), digest.begin() + kCheckValueBytes);
}

Status replaced(const std::string& label, const std::string& token) {
  return {Reason::kKekReplaced,
          "the key '" + label + "' in token '" + token + "' is another one than the store was sealed with"};
}

// What the token has, best first: for each kind of key the forms of wrapping.
Result<std::vector<std::vector<KekType>>> possible_forms(Worker& worker, const Session& session,
                                                         std::optional<KekType> only) {
  std::vector<std::vector<KekType>> kinds;
  SR_ASSIGN(const bool aes, session.supports_all(worker, {{CKM_AES_KEY_GEN, CKF_GENERATE, 0},
                                                          {CKM_AES_KEY_WRAP, CKF_WRAP | CKF_UNWRAP, 0}}));
  if (aes) kinds.push_back({KekType::kAesKeyWrap});
  SR_ASSIGN(const bool rsa,
            session.supports_all(worker, {{CKM_RSA_PKCS_KEY_PAIR_GEN, CKF_GENERATE_KEY_PAIR, kRsaBits},
                                          {CKM_RSA_PKCS_OAEP, CKF_DECRYPT, kRsaBits}}));
  if (rsa) kinds.push_back({KekType::kRsaOaep, KekType::kRsaOaepSha1});
  if (only) {
    for (std::vector<KekType>& forms : kinds)
      std::erase_if(forms, [&](KekType form) { return form != *only; });
    std::erase_if(kinds, [](const std::vector<KekType>& forms) { return forms.empty(); });
  }
  return kinds;
}

}  // namespace

Result<Kek> Token::generate_kek(const std::string& label, std::optional<KekType> type, Bytes id) {
  SR_TRY(check_label(label));
  if (id.empty()) {
    id.resize(kKekIdBytes);
    crypto::random_bytes(id);
  }
  SR_TRY(check_id(id));
  return state_->run(
      [label, type, id](Worker& worker, Session& session) -> Result<Kek> {
        Status refused(Reason::kHsmAlgorithmMissing,
                       "the token has neither AES key wrap nor RSA-OAEP with keys of 3072 bits");
        SR_ASSIGN(const std::vector<std::vector<KekType>> kinds, possible_forms(worker, session, type));
        for (const std::vector<KekType>& forms : kinds) {
          Result<Kek> made = generate_for(worker, session, label, id, forms);
          if (!is_refusal(made.status())) return made;
          refused = made.status();
        }
        return refused;
      },
      kKeyGenerationTimeLimit);
}

Result<std::vector<Kek>> Token::find_keks(const std::string& label) {
  SR_TRY(check_label(label));
  return state_->run([label](Worker& worker, Session& session) -> Result<std::vector<Kek>> {
    std::vector<Kek> keks;
    for (const KekType type : {KekType::kAesKeyWrap, KekType::kRsaOaep}) {
      Template search;
      search.number(CKA_CLASS, is_rsa(type) ? CKO_PRIVATE_KEY : CKO_SECRET_KEY)
          .set(CKA_TOKEN)
          .text(CKA_LABEL, label);
      SR_ASSIGN(const std::vector<CK_OBJECT_HANDLE> found, find_objects(worker, session, search));
      for (const CK_OBJECT_HANDLE object : found) {
        SR_ASSIGN(Bytes id, read_attribute(worker, session, object, CKA_ID, kIdBytesMax));
        keks.push_back(Kek{type, std::move(id)});
      }
    }
    return keks;
  });
}

Status Token::find_kek(const std::string& label, const Kek& kek) {
  SR_TRY(check_kek(label, kek));
  return state_->run([label, kek](Worker& worker, Session& session) {
    return Access{worker, session, label, kek}.find().status();
  });
}

Status Token::destroy_kek(const std::string& label, const Kek& kek) {
  SR_TRY(check_kek(label, kek));
  return state_->run([label, kek](Worker& worker, Session& session) -> Status {
    const Access access{worker, session, label, kek};
    SR_ASSIGN(const CK_OBJECT_HANDLE key, access.find());
    SR_TRY(worker.begin_change());
    SR_TRY(worker.check(SR_CALL(worker, C_DestroyObject, session.handle(), key)));
    destroy_all(access);  // the public half
    return Status();
  });
}

Result<Bytes> Token::wrap(const std::string& label, const Kek& kek, ByteView key) {
  SR_TRY(check_kek(label, kek));
  if (key.size() != crypto::kKeyBytes)
    return Status(Reason::kInvalidArgument, "a key to be wrapped has 32 bytes");
  return state_->run(
      [label, kek, secret = SecretBytes(key)](Worker& worker, Session& session) -> Result<Bytes> {
        const Access access{worker, session, label, kek};
        SR_ASSIGN(const CK_OBJECT_HANDLE handle, access.find());
        return access.wrap(handle, secret.view());
      });
}

Result<SecretBytes> Token::unwrap(const std::string& label, const Kek& kek, ByteView wrapped) {
  SR_TRY(check_kek(label, kek));
  if (wrapped.size() > kRsaBytes)
    return Status(Reason::kWrappedDekCorrupt, "more bytes than any wrapped key has");
  return state_->run([label, kek, wrapped = Bytes(wrapped.begin(), wrapped.end())](
                         Worker& worker, Session& session) -> Result<SecretBytes> {
    const Access access{worker, session, label, kek};
    SR_ASSIGN(const CK_OBJECT_HANDLE handle, access.find());
    return access.unwrap(handle, wrapped);
  });
}

Result<SecretBytes> Token::unwrap_verified(const std::string& label, const Kek& kek, ByteView check_value,
                                           ByteView wrapped) {
  SR_TRY(check_kek(label, kek));
  return state_->run(
      [label, kek, check_value = Bytes(check_value.begin(), check_value.end()),
       wrapped = Bytes(wrapped.begin(), wrapped.end())](Worker& worker,
                                                        Session& session) -> Result<SecretBytes> {
        const Access access{worker, session, label, kek};
        SR_ASSIGN(const CK_OBJECT_HANDLE handle, access.find());
        SR_ASSIGN(const Bytes present, check_value_of(access, handle));
        if (!equal(present, check_value)) return replaced(label, session.info().label);
        if (wrapped.size() > kRsaBytes)
          return Status(Reason::kWrappedDekCorrupt, "more bytes than any wrapped key has");
        return access.unwrap(handle, wrapped);
      },
      3 * state_->limit);  // it finds, checks and unwraps
}

Result<Bytes> Token::kek_check_value(const std::string& label, const Kek& kek) {
  SR_TRY(check_kek(label, kek));
  return state_->run([label, kek](Worker& worker, Session& session) -> Result<Bytes> {
    const Access access{worker, session, label, kek};
    SR_ASSIGN(const CK_OBJECT_HANDLE handle, access.find());
    return check_value_of(access, handle);
  });
}

Status Token::verify_kek(const std::string& label, const Kek& kek, ByteView check_value) {
  SR_ASSIGN(const Bytes present, kek_check_value(label, kek));
  return equal(present, check_value) ? Status() : replaced(label, state_->info.label);
}

}  // namespace strongroom::roots
