#include "roots/tpm/connection.h"

#include <algorithm>
#include <cstring>

#include "base/cancellation.h"
#include "crypto/crypto.h"
#include "roots/tpm/policy.h"
#include "roots/tpm/tpm_errors.h"

namespace strongroom::roots {
namespace {

constexpr TPM2_HANDLE kPersistentParent = 0x81000001;

constexpr TPMA_OBJECT kParentAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                                          TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH |
                                          TPMA_OBJECT_NODA | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT;

// PolicySecret(TPM_RH_ENDORSEMENT), the policy of every EK (TCG EK Credential Profile 2.x, B.3).
constexpr std::array<std::uint8_t, 32> kEndorsementPolicy = {
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xB3, 0xF8, 0x1A, 0x90, 0xCC, 0x8D, 0x46, 0xA5, 0xD7, 0x24,
    0xFD, 0x52, 0xD7, 0x6E, 0x06, 0x52, 0x0B, 0x64, 0xF2, 0xA1, 0xDA, 0x1B, 0x33, 0x14, 0x69, 0xAA};

// Both templates of the TCG differ only in attributes and policy; `unique` is two times 32 zero bytes.
TPM2B_PUBLIC primary_template(TPMA_OBJECT attributes, ByteView auth_policy) {
  TPM2B_PUBLIC out{};
  TPMT_PUBLIC& area = out.publicArea;
  area.type = TPM2_ALG_ECC;
  area.nameAlg = TPM2_ALG_SHA256;
  area.objectAttributes = attributes;
  area.authPolicy.size = static_cast<UINT16>(auth_policy.size());
  std::ranges::copy(auth_policy, area.authPolicy.buffer);
  TPMS_ECC_PARMS& ecc = area.parameters.eccDetail;
  ecc.symmetric.algorithm = TPM2_ALG_AES;
  ecc.symmetric.keyBits.aes = 128;
  ecc.symmetric.mode.aes = TPM2_ALG_CFB;
  ecc.scheme.scheme = TPM2_ALG_NULL;
  ecc.curveID = TPM2_ECC_NIST_P256;
  ecc.kdf.scheme = TPM2_ALG_NULL;
  area.unique.ecc.x.size = 32;
  area.unique.ecc.y.size = 32;
  return out;
}

// What installers and tpm2-tools make a storage key by: the SRK template of the TCG for RSA, and both without `unique`.
std::array<TPM2B_PUBLIC, 3> persistent_templates() {
  TPM2B_PUBLIC ecc = primary_template(kParentAttributes, {});
  ecc.publicArea.unique.ecc.x.size = ecc.publicArea.unique.ecc.y.size = 0;
  TPM2B_PUBLIC rsa = ecc;
  rsa.publicArea.type = TPM2_ALG_RSA;
  TPMS_RSA_PARMS& parameters = rsa.publicArea.parameters.rsaDetail;
  parameters = {};
  parameters.symmetric = ecc.publicArea.parameters.eccDetail.symmetric;
  parameters.scheme.scheme = TPM2_ALG_NULL;
  parameters.keyBits = 2048;
  TPM2B_PUBLIC rsa_tcg = rsa;
  rsa.publicArea.unique.rsa.size = 0;
  rsa_tcg.publicArea.unique.rsa.size = 256;
  return {ecc, rsa_tcg, rsa};
}

bool fits_as_parent(const TPMT_PUBLIC& area) {
  const TPMA_OBJECT must_be_clear = TPMA_OBJECT_SIGN_ENCRYPT | TPMA_OBJECT_STCLEAR;
  if ((area.objectAttributes & kParentAttributes) != kParentAttributes ||
      (area.objectAttributes & must_be_clear) != 0 || area.nameAlg != TPM2_ALG_SHA256) {
    return false;
  }
  // The symmetric definition is the first member for both types.
  const TPMT_SYM_DEF_OBJECT& symmetric = area.parameters.asymDetail.symmetric;
  const bool cipher = symmetric.algorithm == TPM2_ALG_AES && symmetric.keyBits.aes == 128 &&
                      symmetric.mode.aes == TPM2_ALG_CFB;
  const bool ecc = area.type == TPM2_ALG_ECC && area.parameters.eccDetail.curveID == TPM2_ECC_NIST_P256;
  const bool rsa = area.type == TPM2_ALG_RSA && area.parameters.rsaDetail.keyBits == 2048;
  return cipher && (ecc || rsa);
}

Status other_parent(const std::string& why, Reason reason) {
  return Status(reason, "the storage parent that sealed the root key is not in this TPM: " + why);
}

Status refused_by_password(const std::string& hierarchy, const std::string& key, TSS2_RC rc) {
  return Status(Reason::kTpmRefused, "the TPM's " + hierarchy + " hierarchy has a password, so no " + key +
                                         " key can be made in it: " + describe_code(rc));
}

}  // namespace

Status set_authorisation(ByteView bytes, TPM2B_AUTH& out) {
  constexpr std::size_t kMax = 32;
  if (bytes.size() > kMax)
    return Status(Reason::kInvalidArgument, "a TPM authorisation has at most 32 bytes");
  while (!bytes.empty() && bytes.back() == 0) bytes = bytes.first(bytes.size() - 1);
  out.size = static_cast<UINT16>(bytes.size());
  std::ranges::copy(bytes, out.buffer);
  return Status();
}

Result<std::unique_ptr<Connection>> Connection::open(const std::string& tcti, const TpmName& parent_name,
                                                     const TpmName& endorsement_name,
                                                     std::chrono::milliseconds limit) {
  SR_ASSIGN(const tss::Functions* const functions, tss::functions());
  std::unique_ptr<Connection> connection(new Connection(*functions));
  SR_ASSIGN(connection->transport_, Transport::connect(*functions, tcti, limit));
  const TSS2_RC rc =
      functions->Esys_Initialize(&connection->esys_, connection->transport_->context(), nullptr);
  if (rc != TSS2_RC_SUCCESS) return tpm_error("Esys_Initialize", rc);
  SR_TRY(connection->start());
  SR_TRY(connection->use_parent(parent_name, endorsement_name));
  SR_TRY(connection->start_session());
  return connection;
}

Connection::~Connection() {
  if (esys_ == nullptr) return;
  const Uncancellable flushes;
  // A TPM that was cleared, or whose parent was flushed by another program, still has the session.
  if (restarted_ && !transport_->broken() && session_ != ESYS_TR_NONE && session_is_ours()) {
    (void)functions_.Esys_FlushContext(esys_, session_);
  }
  if (session_ != ESYS_TR_NONE) flush(session_);
  if (created_parent_) flush(parent_);
  functions_.Esys_Finalize(&esys_);
}

void Connection::flush(ESYS_TR handle) {
  const Uncancellable flushes;
  // Of a TPM that was reset nothing is left to flush.
  if (transport_->broken() || restarted_) return;
  if (!lost_) {
    note(functions_.Esys_FlushContext(esys_, handle));
    return;
  }
  // After an error of its own the library takes no command any more; without a resource manager what is loaded would stay.
  TPM2_HANDLE raw = 0;
  if (functions_.Esys_TR_GetTpmHandle(esys_, handle, &raw) != TSS2_RC_SUCCESS) return;
  // Tag, size, command code, and the handle.
  std::array<std::uint8_t, 14> command = {
      0x80, 0x01, 0, 0, 0, 14, 0, 0, TPM2_CC_FlushContext >> 8, TPM2_CC_FlushContext & 0xFF};
  for (unsigned i = 0; i < 4; ++i) command[10 + i] = static_cast<std::uint8_t>(raw >> (24 - 8 * i));
  std::uint8_t response[64];
  std::size_t size = sizeof response;
  TSS2_TCTI_CONTEXT* const tcti = transport_->context();
  if (Tss2_Tcti_Transmit(tcti, command.size(), command.data()) == TSS2_RC_SUCCESS) {
    (void)Tss2_Tcti_Receive(tcti, &size, response, TSS2_TCTI_TIMEOUT_BLOCK);
  }
}

void Connection::note(TSS2_RC rc) {
  if (rc == TSS2_RC_SUCCESS) return;
  if (not_from_tpm(rc)) lost_ = true;
  if (lost_state(rc)) lost_ = restarted_ = true;
}

bool Connection::alive() {
  if (lost()) return false;
  Owned<TPM2B_PUBLIC> area(functions_);
  const TSS2_RC rc = functions_.Esys_ReadPublic(esys_, parent_, session(), ESYS_TR_NONE, ESYS_TR_NONE,
                                                area.out(), nullptr, nullptr);
  // The session's handle may by now be that of somebody else's session, whose HMAC differs; a clear takes the parent.
  if (rc != TSS2_RC_SUCCESS) lost_ = restarted_ = true;
  if (not_from_tpm(rc)) restarted_ = false;
  return rc == TSS2_RC_SUCCESS;
}

bool Connection::session_is_ours() {
  Owned<TPM2B_DIGEST> random(functions_);
  return functions_.Esys_GetRandom(esys_, session(), ESYS_TR_NONE, ESYS_TR_NONE, 8, random.out()) ==
         TSS2_RC_SUCCESS;
}

Status Connection::check(std::string_view command, TSS2_RC rc) {
  if (rc == TSS2_RC_SUCCESS) return Status();
  Status error = tpm_error(command, rc);
  if (transport_->timed_out()) {
    return Status(Reason::kTpmUnavailable, "the TPM, " + std::string(command) + ": it does not answer");
  }
  // The library refuses all that follows an error of its own, and blames the caller.
  const bool was_lost = lost();
  note(rc);
  if (was_lost && not_from_tpm(rc)) {
    return Status(Reason::kTpmUnavailable,
                  "the TPM, " + std::string(command) + ": the connection to it failed before");
  }
  if (lost() || error.is(Reason::kTpmUnavailable) || session_ == ESYS_TR_NONE || alive()) return error;
  return Status(Reason::kTpmUnavailable,
                "the TPM, " + std::string(command) + ": it was restarted or replaced");
}

Status Connection::start() {
  // Any first command tells whether somebody (the firmware) has started the TPM.
  Owned<TPMS_CAPABILITY_DATA> data(functions_);
  TPMI_YES_NO more = TPM2_NO;
  const auto ask = [&] {
    return functions_.Esys_GetCapability(esys_, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                         TPM2_CAP_TPM_PROPERTIES, TPM2_PT_FAMILY_INDICATOR, 1, &more,
                                         data.out());
  };
  TSS2_RC rc = ask();
  if (tpm_code(rc) == TPM2_RC_INITIALIZE) {
    rc = functions_.Esys_Startup(esys_, TPM2_SU_CLEAR);
    if (tpm_code(rc) == TPM2_RC_INITIALIZE) rc = TSS2_RC_SUCCESS;  // by another program, just now
    return check("TPM2_Startup", rc);
  }
  return check("TPM2_GetCapability", rc);
}

Result<TpmName> Connection::name_of(const TPMT_PUBLIC& public_area) {
  std::uint8_t bytes[sizeof(TPMT_PUBLIC)];
  std::size_t size = 0;
  const TSS2_RC rc = functions_.Tss2_MU_TPMT_PUBLIC_Marshal(&public_area, bytes, sizeof bytes, &size);
  if (rc != TSS2_RC_SUCCESS) return tpm_error("TPMT_PUBLIC", rc);
  const Digest digest = crypto::sha256({ByteView(bytes, size)});
  TpmName name(2 + digest.size());
  name[0] = TPM2_ALG_SHA256 >> 8;
  name[1] = TPM2_ALG_SHA256 & 0xFF;
  std::ranges::copy(digest, name.begin() + 2);
  return name;
}

Status Connection::use_parent(const TpmName& pinned, const TpmName& endorsement) {
  SR_ASSIGN(const bool persistent, use_persistent_parent(pinned));
  if (persistent) return Status();
  return use_created_parent(pinned, endorsement);
}

Result<bool> Connection::use_persistent_parent(const TpmName& pinned) {
  ESYS_TR handle = ESYS_TR_NONE;
  TSS2_RC rc = functions_.Esys_TR_FromTPMPublic(esys_, kPersistentParent, ESYS_TR_NONE, ESYS_TR_NONE,
                                                ESYS_TR_NONE, &handle);
  if (tpm_code(rc) == TPM2_RC_HANDLE) return false;
  SR_TRY(check("TPM2_ReadPublic", rc));
  // What the library has kept of the object, because it will encrypt the session's salt with just that: handle, name and
  // kind, then TPM2B_PUBLIC.
  Owned<std::uint8_t> kept(functions_);
  std::size_t size = 0;
  rc = functions_.Esys_TR_Serialize(esys_, handle, kept.out(), &size);
  SR_TRY(check("Esys_TR_Serialize", rc));
  const ByteView bytes(&*kept, size);
  const std::size_t name_size = size >= 6 ? static_cast<std::size_t>(bytes[4] << 8 | bytes[5]) : 0;
  std::size_t at = 4 + 2 + name_size + 4;
  TPM2B_PUBLIC area{};
  const bool readable = at < size && functions_.Tss2_MU_TPM2B_PUBLIC_Unmarshal(bytes.data(), size, &at,
                                                                               &area) == TSS2_RC_SUCCESS;
  if (readable && fits_as_parent(area.publicArea)) {
    SR_ASSIGN(TpmName name, name_of(area.publicArea));
    bool usable = name == pinned;
    if (pinned.empty()) {
      SR_ASSIGN(usable, empty_authorisation(handle));
    }
    if (usable) {
      parent_ = handle;
      parent_name_ = std::move(name);
      return true;
    }
  }
  functions_.Esys_TR_Close(esys_, &handle);
  return false;
}

// PolicySecret proves an authorisation and changes nothing; noDA, so that a wrong one costs nothing.
Result<bool> Connection::empty_authorisation(ESYS_TR handle) {
  constexpr TPMT_SYM_DEF kNone = {.algorithm = TPM2_ALG_NULL, .keyBits = {}, .mode = {}};
  Flushed trial(*this);
  TSS2_RC rc = functions_.Esys_StartAuthSession(esys_, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                                ESYS_TR_NONE, nullptr, TPM2_SE_TRIAL, &kNone, TPM2_ALG_SHA256,
                                                trial.out());
  SR_TRY(check("TPM2_StartAuthSession", rc));
  Owned<TPM2B_TIMEOUT> timeout(functions_);
  Owned<TPMT_TK_AUTH> ticket(functions_);
  rc = functions_.Esys_PolicySecret(esys_, handle, trial.get(), ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
                                    nullptr, nullptr, nullptr, 0, timeout.out(), ticket.out());
  if (tpm_code(rc) == TPM2_RC_BAD_AUTH) return false;
  SR_TRY(check("TPM2_PolicySecret", rc));
  return true;
}

Status Connection::use_created_parent(const TpmName& pinned, const TpmName& endorsement) {
  SR_ASSIGN(const bool usual, create_parent(primary_template(kParentAttributes, {}), pinned));
  if (usual) return Status();
  if (endorsement.empty()) return other_parent("it is another one", Reason::kTpmReplaced);
  SR_ASSIGN(const TpmName here, endorsement_name());
  if (here != endorsement) return other_parent("it is another one", Reason::kTpmReplaced);
  // The root may be sealed under a persistent key that is there no more. A primary key comes from the hierarchy's seed and
  // its template, so it can be made again.
  for (const TPM2B_PUBLIC& area : persistent_templates()) {
    const Result<bool> again = create_parent(area, pinned);
    // A TPM that lacks the algorithm never made such a key.
    if (again.is(Reason::kTpmRefused)) continue;
    if (!again.ok()) return again.status();
    if (*again) return Status();
  }
  return other_parent("it was cleared", Reason::kTpmCleared);
}

Result<bool> Connection::create_parent(const TPM2B_PUBLIC& area, const TpmName& pinned) {
  const TPM2B_SENSITIVE_CREATE sensitive{};
  const TPM2B_DATA outside{};
  const TPML_PCR_SELECTION no_pcrs{};
  Owned<TPM2B_PUBLIC> made(functions_);
  Flushed handle(*this);
  const TSS2_RC rc = functions_.Esys_CreatePrimary(esys_, ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                                   ESYS_TR_NONE, &sensitive, &area, &outside, &no_pcrs,
                                                   handle.out(), made.out(), nullptr, nullptr, nullptr);
  if (is_wrong_authorisation(rc)) return refused_by_password("owner", "storage", rc);
  SR_TRY(check("TPM2_CreatePrimary", rc));
  SR_ASSIGN(TpmName name, name_of(made->publicArea));
  if (!pinned.empty() && name != pinned) return false;
  parent_ = handle.release();
  created_parent_ = true;
  parent_name_ = std::move(name);
  return true;
}

Result<TpmName> Connection::endorsement_name() {
  if (!endorsement_name_.empty()) return endorsement_name_;
  constexpr TPMA_OBJECT kAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                                      TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_ADMINWITHPOLICY |
                                      TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT;
  const TPM2B_PUBLIC area = primary_template(kAttributes, kEndorsementPolicy);
  const TPM2B_SENSITIVE_CREATE sensitive{};
  const TPM2B_DATA outside{};
  const TPML_PCR_SELECTION no_pcrs{};
  Owned<TPM2B_PUBLIC> made(functions_);
  Flushed handle(*this);
  // With the session, once there is one: its answer is then the right TPM's.
  const TSS2_RC rc = functions_.Esys_CreatePrimary(
      esys_, ESYS_TR_RH_ENDORSEMENT, session_ == ESYS_TR_NONE ? ESYS_TR_PASSWORD : session(), ESYS_TR_NONE,
      ESYS_TR_NONE, &sensitive, &area, &outside, &no_pcrs, handle.out(), made.out(), nullptr, nullptr,
      nullptr);
  if (is_wrong_authorisation(rc)) return refused_by_password("endorsement", "endorsement", rc);
  SR_TRY(check("TPM2_CreatePrimary (endorsement)", rc));
  SR_ASSIGN(endorsement_name_, name_of(made->publicArea));
  return endorsement_name_;
}

Status Connection::start_session() {
  TSS2_RC rc =
      functions_.Esys_StartAuthSession(esys_, parent_, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                       nullptr, TPM2_SE_HMAC, &kSessionCipher, TPM2_ALG_SHA256, &session_);
  return check("TPM2_StartAuthSession", rc);
}

ESYS_TR Connection::session() {
  // The library takes out the attributes that a command does not allow, and forgets to put them back when that command
  // fails: the next one would go unencrypted. So they are set before every use. (It sends nothing, and fails only for
  // what is no session; then the command does, too.)
  constexpr TPMA_SESSION kAttributes =
      TPMA_SESSION_CONTINUESESSION | TPMA_SESSION_DECRYPT | TPMA_SESSION_ENCRYPT;
  (void)functions_.Esys_TRSess_SetAttributes(esys_, session_, kAttributes, 0xFF);
  return session_;
}

// The library reads its public area, without a session: a session's HMAC takes in the name, which is not known before.
Result<ESYS_TR> Connection::find_index(std::uint32_t number) {
  ESYS_TR handle = ESYS_TR_NONE;
  const TSS2_RC rc =
      functions_.Esys_TR_FromTPMPublic(esys_, number, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &handle);
  if (rc == TSS2_RC_SUCCESS) return handle;
  Status error = check("TPM2_NV_ReadPublic", rc);
  if (lost() || tpm_code(rc) != TPM2_RC_HANDLE) return error;
  return Status(Reason::kWitnessMissing, "the TPM has no NV index " + hexadecimal(number));
}

Result<const Connection::Index*> Connection::index(std::uint32_t number, const TpmName& name) {
  if (const auto at = indices_.find(number); at != indices_.end()) return &at->second;
  Index index;
  SR_ASSIGN(index.handle, find_index(number));
  Owned<TPM2B_NAME> found(functions_);
  const TSS2_RC rc = functions_.Esys_TR_GetName(esys_, index.handle, found.out());
  if (rc == TSS2_RC_SUCCESS && equal(ByteView(found->name, found->size), name)) {
    index.name = name;
    return &indices_.emplace(number, std::move(index)).first->second;
  }
  functions_.Esys_TR_Close(esys_, &index.handle);
  return this->index(number);
}

Result<const Connection::Index*> Connection::index(std::uint32_t number) {
  if (const auto at = indices_.find(number); at != indices_.end()) return &at->second;
  Index index;
  SR_ASSIGN(index.handle, find_index(number));
  Owned<TPM2B_NV_PUBLIC> area(functions_);
  const TSS2_RC rc = functions_.Esys_NV_ReadPublic(esys_, index.handle, session(), ESYS_TR_NONE, ESYS_TR_NONE,
                                                   area.out(), nullptr);
  if (rc != TSS2_RC_SUCCESS) {
    functions_.Esys_TR_Close(esys_, &index.handle);
    return check("TPM2_NV_ReadPublic", rc);
  }
  const TPMS_NV_PUBLIC& nv = area->nvPublic;
  index.attributes = nv.attributes;
  index.auth_policy.assign(nv.authPolicy.buffer, nv.authPolicy.buffer + nv.authPolicy.size);
  index.size = nv.dataSize;
  if (nv.nameAlg == TPM2_ALG_SHA256)
    index.name = nv_name(number, nv.attributes, index.auth_policy, nv.dataSize);
  return &indices_.emplace(number, std::move(index)).first->second;
}

void Connection::forget_index(std::uint32_t number) {
  const auto at = indices_.find(number);
  if (at == indices_.end()) return;
  functions_.Esys_TR_Close(esys_, &at->second.handle);
  indices_.erase(at);
}

void Connection::index_written(std::uint32_t number) {
  const auto at = indices_.find(number);
  // One that was found by the name of a written index is written.
  if (at == indices_.end() || at->second.attributes == 0) return;
  at->second.attributes |= kWrittenAttribute;
  at->second.name = nv_name(number, at->second.attributes, at->second.auth_policy, at->second.size);
}

Status Connection::shut_down() {
  if (session_ != ESYS_TR_NONE) flush(std::exchange(session_, ESYS_TR_NONE));
  if (created_parent_) flush(std::exchange(parent_, ESYS_TR_NONE));
  created_parent_ = false;
  return check("TPM2_Shutdown",
               functions_.Esys_Shutdown(esys_, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_SU_CLEAR));
}

}  // namespace strongroom::roots
