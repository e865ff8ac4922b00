#include "roots/tpm/tpm.h"

#include <algorithm>
#include <cstring>
#include <mutex>

#include "crypto/crypto.h"
#include "roots/tpm/connection.h"
#include "roots/tpm/policy.h"
#include "roots/tpm/tpm_errors.h"

namespace strongroom::roots {
namespace {

constexpr std::size_t kSecretMax = 128;
constexpr std::size_t kAuthorisationMax = 32;
constexpr unsigned kPcrCount = 24;

Status invalid(const char* what) { return Status(Reason::kInvalidArgument, what); }

// The TPM takes zero bytes off the end of every authorisation that it is given; the library does not.
Status set_authorisation(ByteView bytes, TPM2B_AUTH& out) {
  if (bytes.size() > kAuthorisationMax) return invalid("a TPM authorisation has at most 32 bytes");
  while (!bytes.empty() && bytes.back() == 0) bytes = bytes.first(bytes.size() - 1);
  out.size = static_cast<UINT16>(bytes.size());
  std::ranges::copy(bytes, out.buffer);
  return Status();
}

bool is_wrong_authorisation(TSS2_RC rc) {
  return tpm_code(rc) == TPM2_RC_BAD_AUTH || tpm_code(rc) == TPM2_RC_AUTH_FAIL;
}

// The owner hierarchy's authorisation is empty unless somebody set one.
Status check_owner(Connection& connection, std::string_view command, TSS2_RC rc) {
  const Status error = connection.check(command, rc);
  if (!is_wrong_authorisation(rc) || connection.lost()) return error;
  return Status(Reason::kTpmRefused, "the TPM, " + std::string(command) +
                                         ": the owner hierarchy has a password (" + describe_code(rc) + ")");
}

TPML_PCR_SELECTION selection_of(std::uint32_t pcrs) {
  TPML_PCR_SELECTION out{};
  out.count = 1;
  out.pcrSelections[0].hash = TPM2_ALG_SHA256;
  out.pcrSelections[0].sizeofSelect = 3;
  std::ranges::copy(pcr_selection(pcrs), out.pcrSelections[0].pcrSelect);
  return out;
}

bool is_ours(const Connection::Index& index) {
  return (index.attributes & ~kWrittenAttribute) == kCounterAttributes && index.size == kCounterSize &&
         index.auth_policy.size() == Digest{}.size() && !index.name.empty();
}

TpmName written_name(std::uint32_t number, const Connection::Index& index) {
  return nv_name(number, index.attributes | kWrittenAttribute, index.auth_policy, index.size);
}

Status replaced(std::uint32_t number) {
  return Status(Reason::kWitnessReplaced,
                "the TPM's NV index " + hexadecimal(number) + " is another counter");
}
Status unwritten(std::uint32_t number) {
  return Status(Reason::kTpmRefused, "the TPM's counter " + hexadecimal(number) + " was never incremented");
}

// An index whose name is the expected one. What the library kept of it may be out of date, so "no" is only said after
// it was read anew.
Result<const Connection::Index*> expected_index(Connection& connection, std::uint32_t number,
                                                const TpmName& name, bool may_be_unwritten) {
  SR_ASSIGN(const Connection::Index* index, connection.index(number));
  if (index->name == name) return index;
  connection.forget_index(number);
  SR_ASSIGN(index, connection.index(number));
  if (index->name == name) return index;
  if (!is_ours(*index) || written_name(number, *index) != name) return replaced(number);
  if (!may_be_unwritten) return unwritten(number);
  return index;
}

// After an error of a command on an index: what reading the index anew says about it; ok when the index is as it should be.
Status look_again(Connection& connection, std::uint32_t number, const TpmName& name, bool may_be_unwritten) {
  connection.forget_index(number);
  if (connection.lost()) return Status();
  return expected_index(connection, number, name, may_be_unwritten).status();
}

Status load(Connection& connection, const SealedObject& object, Flushed& handle) {
  const tss::Functions& tss = connection.tss();
  TPM2B_PUBLIC area{};
  TPM2B_PRIVATE sealed{};
  std::size_t public_size = 0;
  std::size_t private_size = 0;
  const bool read =
      tss.Tss2_MU_TPM2B_PUBLIC_Unmarshal(object.public_area.data(), object.public_area.size(), &public_size,
                                         &area) == TSS2_RC_SUCCESS &&
      public_size == object.public_area.size() &&
      tss.Tss2_MU_TPM2B_PRIVATE_Unmarshal(object.private_area.data(), object.private_area.size(),
                                          &private_size, &sealed) == TSS2_RC_SUCCESS &&
      private_size == object.private_area.size();
  if (!read) return Status(Reason::kTpmRefused, "the sealed object is damaged");
  return connection.check(
      "TPM2_Load", tss.Esys_Load(connection.esys(), connection.parent(), connection.session(), ESYS_TR_NONE,
                                 ESYS_TR_NONE, &sealed, &area, handle.out()));
}

Status satisfy_bound(Connection& connection, const CounterBound& bound, ESYS_TR policy_session) {
  SR_ASSIGN(const Connection::Index* const index, expected_index(connection, bound.index, bound.name, false));
  TPM2B_OPERAND operand{};
  const auto bytes = counter_bytes(bound.at_most);
  operand.size = bytes.size();
  std::ranges::copy(bytes, operand.buffer);
  const TSS2_RC rc = connection.tss().Esys_PolicyNV(connection.esys(), ESYS_TR_RH_OWNER, index->handle,
                                                    policy_session, connection.session(), ESYS_TR_NONE,
                                                    ESYS_TR_NONE, &operand, 0, kPolicyNvAtMost);
  if (rc == TSS2_RC_SUCCESS) return Status();
  const Status error = check_owner(connection, "TPM2_PolicyNV", rc);
  if (!connection.lost() && tpm_code(rc) == TPM2_RC_POLICY) {
    return Status(Reason::kVaultRolledBack, "the TPM's counter " + hexadecimal(bound.index) +
                                                " is past what this root key was sealed to");
  }
  SR_TRY(look_again(connection, bound.index, bound.name, false));
  return error;
}

Status satisfy(Connection& connection, const SealPolicy& policy, ESYS_TR policy_session) {
  const tss::Functions& tss = connection.tss();
  if (policy.bound) SR_TRY(satisfy_bound(connection, *policy.bound, policy_session));
  if (policy.pcrs != 0) {
    const TPML_PCR_SELECTION selection = selection_of(policy.pcrs);
    TPM2B_DIGEST digest{};
    digest.size = static_cast<UINT16>(policy.pcr_digest.size());
    std::ranges::copy(policy.pcr_digest, digest.buffer);
    const TSS2_RC rc = tss.Esys_PolicyPCR(connection.esys(), policy_session, ESYS_TR_NONE, ESYS_TR_NONE,
                                          ESYS_TR_NONE, &digest, &selection);
    const Status error = connection.check("TPM2_PolicyPCR", rc);
    if (tpm_code(rc) == TPM2_RC_VALUE && !connection.lost()) {
      return Status(Reason::kTpmPcrChanged, "the TPM's platform configuration registers have changed");
    }
    SR_TRY(error);
  }
  if (policy.authorisation) {
    SR_TRY(connection.check("TPM2_PolicyAuthValue",
                            tss.Esys_PolicyAuthValue(connection.esys(), policy_session, ESYS_TR_NONE,
                                                     ESYS_TR_NONE, ESYS_TR_NONE)));
  }
  return Status();
}

// The library decrypts an answer where it received it, in a buffer that it does not wipe. The next long answer takes the
// place of what lies there.
void overwrite_response(Connection& connection) {
  Owned<TPMS_CAPABILITY_DATA> data(connection.tss());
  TPMI_YES_NO more = TPM2_NO;
  connection.note(connection.tss().Esys_GetCapability(connection.esys(), ESYS_TR_NONE, ESYS_TR_NONE,
                                                      ESYS_TR_NONE, TPM2_CAP_TPM_PROPERTIES, TPM2_PT_FIXED,
                                                      TPM2_MAX_TPM_PROPERTIES, &more, data.out()));
}

Result<SecretBytes> unseal_loaded(Connection& connection, ESYS_TR object, ByteView authorisation,
                                  const SealPolicy& policy) {
  const tss::Functions& tss = connection.tss();
  // Salted only where an authorisation goes into its HMACs: who listens on the bus could otherwise try PINs at home.
  Flushed session(connection);
  TSS2_RC rc =
      tss.Esys_StartAuthSession(connection.esys(), policy.authorisation ? connection.parent() : ESYS_TR_NONE,
                                ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, nullptr,
                                TPM2_SE_POLICY, &kSessionCipher, TPM2_ALG_SHA256, session.out());
  SR_TRY(connection.check("TPM2_StartAuthSession", rc));
  constexpr TPMA_SESSION kContinue = TPMA_SESSION_CONTINUESESSION;
  SR_TRY(connection.check("Esys_TRSess_SetAttributes",
                          tss.Esys_TRSess_SetAttributes(connection.esys(), session.get(), kContinue, 0xFF)));
  SR_TRY(satisfy(connection, policy, session.get()));
  if (policy.authorisation) {
    Wiped<TPM2B_AUTH> auth;
    SR_TRY(set_authorisation(authorisation, auth.value));
    SR_TRY(connection.check("Esys_TR_SetAuth", tss.Esys_TR_SetAuth(connection.esys(), object, &auth.value)));
  }
  Owned<TPM2B_SENSITIVE_DATA> data(tss);
  rc = tss.Esys_Unseal(connection.esys(), object, session.get(), connection.session(), ESYS_TR_NONE,
                       data.out());
  if (rc == TSS2_RC_SUCCESS) {
    SecretBytes secret(ByteView(data->buffer, data->size));
    overwrite_response(connection);
    return secret;
  }
  const Status error = connection.check("TPM2_Unseal", rc);
  if (policy.authorisation && is_wrong_authorisation(rc) && !connection.lost()) {
    return Status(Reason::kPinWrong, "the TPM refused the PIN");
  }
  return error;
}

Result<std::vector<std::uint32_t>> nv_indices(Connection& connection, std::uint32_t first,
                                              std::uint32_t last) {
  std::vector<std::uint32_t> found;
  for (std::uint32_t from = first;;) {
    Owned<TPMS_CAPABILITY_DATA> data(connection.tss());
    TPMI_YES_NO more = TPM2_NO;
    const TSS2_RC rc = connection.tss().Esys_GetCapability(
        connection.esys(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_CAP_HANDLES, from,
        std::min<std::uint32_t>(last - from + 1, TPM2_MAX_CAP_HANDLES), &more, data.out());
    SR_TRY(connection.check("TPM2_GetCapability", rc));
    const TPML_HANDLE& handles = data->data.handles;
    for (UINT32 i = 0; i < handles.count && i < TPM2_MAX_CAP_HANDLES; ++i) {
      const std::uint32_t handle = handles.handle[i];
      if (handle > last) return found;
      if (handle >= from) found.push_back(handle);
    }
    if (more != TPM2_YES || found.empty() || found.back() < from || found.back() == last) return found;
    from = found.back() + 1;
  }
}

Result<std::string> describe(Connection& connection) {
  Owned<TPMS_CAPABILITY_DATA> data(connection.tss());
  TPMI_YES_NO more = TPM2_NO;
  const TSS2_RC rc = connection.tss().Esys_GetCapability(connection.esys(), ESYS_TR_NONE, ESYS_TR_NONE,
                                                         ESYS_TR_NONE, TPM2_CAP_TPM_PROPERTIES, TPM2_PT_FIXED,
                                                         TPM2_MAX_TPM_PROPERTIES, &more, data.out());
  SR_TRY(connection.check("TPM2_GetCapability", rc));
  std::string text;
  const auto add = [&text](char c) {
    const bool printable = c > ' ' && c <= '~';
    if (printable) text.push_back(c);
    if (!printable && !text.empty() && text.back() != ' ') text.push_back(' ');
  };
  std::uint32_t firmware = 0;
  const TPML_TAGGED_TPM_PROPERTY& all = data->data.tpmProperties;
  for (UINT32 i = 0; i < all.count && i < TPM2_MAX_TPM_PROPERTIES; ++i) {
    const auto& [property, value] = all.tpmProperty[i];
    if (property == TPM2_PT_FIRMWARE_VERSION_1) firmware = value;
    const bool vendor = property >= TPM2_PT_VENDOR_STRING_1 && property <= TPM2_PT_VENDOR_STRING_4;
    if (property != TPM2_PT_MANUFACTURER && !vendor) continue;
    for (int shift = 24; shift >= 0; shift -= 8) add(static_cast<char>(value >> shift));
    if (property == TPM2_PT_MANUFACTURER) add(' ');
  }
  if (!text.empty() && text.back() != ' ') text.push_back(' ');
  text += std::to_string(firmware >> 16) + "." + std::to_string(firmware & 0xFFFF);
  return text.substr(0, 64);
}

}  // namespace

struct Tpm::State {
  std::mutex mutex;
  std::string tcti;
  TpmName parent_name;  // as pinned by the caller, or as first seen
  TpmName endorsement_name;
  std::chrono::milliseconds limit{};
  std::unique_ptr<Connection> connection;

  Status connect() {
    if (connection) return Status();
    SR_ASSIGN(connection, Connection::open(tcti, parent_name, endorsement_name, limit));
    parent_name = connection->parent_name();
    return Status();
  }

  // `body` is a callable with a Connection& that returns a Status or a Result. With `again`, it is called a second time
  // on a new connection when the TPM turned out to have been restarted; only for what can be done twice.
  template <typename Body>
  auto run(const Body& body, bool again = true) -> decltype(body(*connection)) {
    const std::lock_guard guard(mutex);
    for (;;) {
      SR_TRY(connect());
      auto result = body(*connection);
      if (!connection->lost()) return result;
      const bool repeat = again && connection->restarted();
      connection.reset();
      if (!repeat) return result;
      again = false;
    }
  }
};

Tpm::Tpm(std::unique_ptr<State> state) : state_(std::move(state)) {}
Tpm::~Tpm() = default;

Result<std::unique_ptr<Tpm>> Tpm::open(const std::string& tcti, const TpmName& parent_name,
                                       const TpmName& endorsement_name, std::chrono::milliseconds limit) {
  auto state = std::make_unique<State>();
  state->tcti = tcti;
  state->parent_name = parent_name;
  state->endorsement_name = endorsement_name;
  state->limit = limit;
  SR_TRY(state->connect());
  return std::unique_ptr<Tpm>(new Tpm(std::move(state)));
}

Status Tpm::shut_down() {
  const Status done = state_->run([](Connection& connection) { return connection.shut_down(); });
  const std::lock_guard guard(state_->mutex);
  state_->connection.reset();
  return done;
}

Result<TpmName> Tpm::parent_name() {
  return state_->run([](Connection& connection) -> Result<TpmName> { return connection.parent_name(); });
}

Result<TpmName> Tpm::endorsement_name() {
  return state_->run([](Connection& connection) { return connection.endorsement_name(); });
}

Result<Digest> Tpm::pcr_digest(std::uint32_t pcrs) {
  if (pcrs >> kPcrCount != 0) return invalid("PCRs are numbered from 0 to 23");
  return state_->run([&](Connection& connection) -> Result<Digest> {
    crypto::Sha256 hash;
    // The TPM answers with as many as fit, in ascending order, and names them.
    for (std::uint32_t left = pcrs; left != 0;) {
      const TPML_PCR_SELECTION selection = selection_of(left);
      Owned<TPML_PCR_SELECTION> answered(connection.tss());
      Owned<TPML_DIGEST> values(connection.tss());
      UINT32 updates = 0;
      const TSS2_RC rc =
          connection.tss().Esys_PCR_Read(connection.esys(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                         &selection, &updates, answered.out(), values.out());
      SR_TRY(connection.check("TPM2_PCR_Read", rc));
      std::uint32_t read = 0;
      if (answered->count == 1 && answered->pcrSelections[0].sizeofSelect >= 3) {
        const BYTE* const select = answered->pcrSelections[0].pcrSelect;
        read = static_cast<std::uint32_t>(select[0] | select[1] << 8 | select[2] << 16) & left;
      }
      if (read == 0 || values->count == 0) {
        return Status(Reason::kTpmRefused, "the TPM has no SHA-256 bank of these PCRs");
      }
      for (UINT32 i = 0; i < values->count; ++i)
        hash.update({values->digests[i].buffer, values->digests[i].size});
      left &= ~read;
    }
    return hash.finish();
  });
}

Result<SealedObject> Tpm::seal(ByteView secret, ByteView authorisation, const SealPolicy& policy) {
  if (secret.empty() || secret.size() > kSecretMax) return invalid("a sealed secret has 1 to 128 bytes");
  if (authorisation.empty() == policy.authorisation)
    return invalid("an authorisation and a policy without one");
  return state_->run([&](Connection& connection) -> Result<SealedObject> {
    const tss::Functions& tss = connection.tss();
    Wiped<TPM2B_SENSITIVE_CREATE> sensitive;
    SR_TRY(set_authorisation(authorisation, sensitive.value.sensitive.userAuth));
    sensitive.value.sensitive.data.size = static_cast<UINT16>(secret.size());
    std::ranges::copy(secret, sensitive.value.sensitive.data.buffer);
    TPM2B_PUBLIC area{};
    area.publicArea.type = TPM2_ALG_KEYEDHASH;
    area.publicArea.nameAlg = TPM2_ALG_SHA256;
    // Without USERWITHAUTH the policy is the only way to it.
    area.publicArea.objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_NODA;
    area.publicArea.parameters.keyedHashDetail.scheme.scheme = TPM2_ALG_NULL;
    const Digest digest = policy_digest(policy);
    area.publicArea.authPolicy.size = static_cast<UINT16>(digest.size());
    std::ranges::copy(digest, area.publicArea.authPolicy.buffer);
    const TPM2B_DATA outside{};
    const TPML_PCR_SELECTION no_pcrs{};
    Owned<TPM2B_PRIVATE> private_area(tss);
    Owned<TPM2B_PUBLIC> public_area(tss);
    TSS2_RC rc = tss.Esys_Create(connection.esys(), connection.parent(), connection.session(), ESYS_TR_NONE,
                                 ESYS_TR_NONE, &sensitive.value, &area, &outside, &no_pcrs,
                                 private_area.out(), public_area.out(), nullptr, nullptr, nullptr);
    SR_TRY(connection.check("TPM2_Create", rc));
    SealedObject object;
    object.public_area.resize(sizeof(TPM2B_PUBLIC));
    object.private_area.resize(sizeof(TPM2B_PRIVATE));
    std::size_t size = 0;
    rc = tss.Tss2_MU_TPM2B_PUBLIC_Marshal(&*public_area, object.public_area.data(), object.public_area.size(),
                                          &size);
    SR_TRY(connection.check("TPM2B_PUBLIC", rc));
    object.public_area.resize(size);
    size = 0;
    rc = tss.Tss2_MU_TPM2B_PRIVATE_Marshal(&*private_area, object.private_area.data(),
                                           object.private_area.size(), &size);
    SR_TRY(connection.check("TPM2B_PRIVATE", rc));
    object.private_area.resize(size);
    return object;
  });
}

Result<SecretBytes> Tpm::unseal(const SealedObject& object, ByteView authorisation,
                                const SealPolicy& policy) {
  if (authorisation.empty() == policy.authorisation)
    return invalid("an authorisation and a policy without one");
  return state_->run([&](Connection& connection) -> Result<SecretBytes> {
    Flushed handle(connection);
    SR_TRY(load(connection, object, handle));
    return unseal_loaded(connection, handle.get(), authorisation, policy);
  });
}

Result<std::vector<CounterInfo>> Tpm::find_counters(std::uint32_t first, std::uint32_t count) {
  if (count == 0 || first < kCounterIndexFirst || first > kCounterIndexLast ||
      count > kCounterIndexLast - first + 1) {
    return invalid("counters are in the owner range of NV indices");
  }
  return state_->run([&](Connection& connection) -> Result<std::vector<CounterInfo>> {
    // "None" is only believed from the right TPM.
    if (!connection.alive()) return Status(Reason::kTpmUnavailable, "the TPM was restarted or replaced");
    SR_ASSIGN(const std::vector<std::uint32_t> numbers, nv_indices(connection, first, first + count - 1));
    std::vector<CounterInfo> found;
    for (const std::uint32_t number : numbers) {
      connection.forget_index(number);
      const auto index = connection.index(number);
      if (index.is(Reason::kWitnessMissing)) continue;  // removed in between
      SR_TRY(index.status());
      CounterInfo& info = found.emplace_back();
      info.index = number;
      info.fits = is_ours(**index);
      info.written = info.fits && ((*index)->attributes & kWrittenAttribute) != 0;
      if (info.fits) std::ranges::copy((*index)->auth_policy, info.label.begin());
      if (!info.fits) connection.forget_index(number);
    }
    return found;
  });
}

Status Tpm::define_counter(std::uint32_t index, const Digest& label, ByteView secret) {
  if (index < kCounterIndexFirst || index > kCounterIndexLast)
    return invalid("not an NV index of the owner range");
  return state_->run([&](Connection& connection) -> Status {
    connection.forget_index(index);
    Wiped<TPM2B_AUTH> auth;
    SR_TRY(set_authorisation(secret, auth.value));
    TPM2B_NV_PUBLIC area{};
    area.nvPublic.nvIndex = index;
    area.nvPublic.nameAlg = TPM2_ALG_SHA256;
    area.nvPublic.attributes = kCounterAttributes;
    area.nvPublic.authPolicy.size = static_cast<UINT16>(label.size());
    std::ranges::copy(label, area.nvPublic.authPolicy.buffer);
    area.nvPublic.dataSize = kCounterSize;
    ESYS_TR handle = ESYS_TR_NONE;
    const TSS2_RC rc =
        connection.tss().Esys_NV_DefineSpace(connection.esys(), ESYS_TR_RH_OWNER, connection.session(),
                                             ESYS_TR_NONE, ESYS_TR_NONE, &auth.value, &area, &handle);
    if (rc == TSS2_RC_SUCCESS) connection.tss().Esys_TR_Close(connection.esys(), &handle);
    return check_owner(connection, "TPM2_NV_DefineSpace", rc);
  });
}

Status Tpm::undefine_counter(std::uint32_t number) {
  return state_->run([&](Connection& connection) -> Status {
    connection.forget_index(number);
    SR_ASSIGN(const Connection::Index* const index, connection.index(number));
    if (!is_ours(*index)) {
      return Status(Reason::kTpmRefused,
                    "the TPM's NV index " + hexadecimal(number) + " is not a counter of ours");
    }
    ESYS_TR handle = index->handle;
    const TSS2_RC rc = connection.tss().Esys_NV_UndefineSpace(
        connection.esys(), ESYS_TR_RH_OWNER, handle, connection.session(), ESYS_TR_NONE, ESYS_TR_NONE);
    connection.forget_index(number);
    return check_owner(connection, "TPM2_NV_UndefineSpace", rc);
  });
}

Result<std::uint64_t> Tpm::read_counter(std::uint32_t number, const TpmName& name) {
  return state_->run([&](Connection& connection) -> Result<std::uint64_t> {
    SR_ASSIGN(const Connection::Index* const index, expected_index(connection, number, name, false));
    Owned<TPM2B_MAX_NV_BUFFER> data(connection.tss());
    const TSS2_RC rc = connection.tss().Esys_NV_Read(connection.esys(), ESYS_TR_RH_OWNER, index->handle,
                                                     connection.session(), ESYS_TR_NONE, ESYS_TR_NONE,
                                                     kCounterSize, 0, data.out());
    if (rc != TSS2_RC_SUCCESS) {
      const Status error = check_owner(connection, "TPM2_NV_Read", rc);
      SR_TRY(look_again(connection, number, name, false));
      return error;
    }
    if (data->size != kCounterSize) return Status(Reason::kTpmRefused, "the TPM's counter has another size");
    std::uint64_t value = 0;
    for (UINT16 i = 0; i < kCounterSize; ++i) value = value << 8 | data->buffer[i];
    return value;
  });
}

Status Tpm::increment_counter(std::uint32_t number, const TpmName& name, ByteView secret) {
  return state_->run(
      [&](Connection& connection) -> Status {
        SR_ASSIGN(const Connection::Index* const index, expected_index(connection, number, name, true));
        Wiped<TPM2B_AUTH> auth;
        SR_TRY(set_authorisation(secret, auth.value));
        const tss::Functions& tss = connection.tss();
        SR_TRY(connection.check("Esys_TR_SetAuth",
                                tss.Esys_TR_SetAuth(connection.esys(), index->handle, &auth.value)));
        // The library sends a command again when the TPM answers TPM_RC_RETRY ("not able to start the command"),
        // TPM_RC_TESTING or TPM_RC_YIELDED, up to five times. That is safe: TPM 2.0 part 2, table 17 has the first two
        // for commands that were not begun, and the third asks for the same command again in order to complete it (part
        // 1, "multi-tasking"); none of them is answered after a counter has moved. On everything else it sends once.
        const TSS2_RC rc = tss.Esys_NV_Increment(connection.esys(), index->handle, index->handle,
                                                 connection.session(), ESYS_TR_NONE, ESYS_TR_NONE);
        const TPM2B_AUTH nothing{};
        (void)tss.Esys_TR_SetAuth(connection.esys(), index->handle, &nothing);
        if (rc == TSS2_RC_SUCCESS) {
          connection.index_written(number);
          return Status();
        }
        const Status error = connection.check("TPM2_NV_Increment", rc);
        SR_TRY(look_again(connection, number, name, true));
        if (connection.lost()) return error;
        if (is_wrong_authorisation(rc)) {
          return Status(Reason::kWitnessReplaced,
                        "the TPM's counter " + hexadecimal(number) + " does not know our secret");
        }
        return error;
      },
      false);
}

Result<TpmClock> Tpm::clock() {
  return state_->run([](Connection& connection) -> Result<TpmClock> {
    Owned<TPMS_TIME_INFO> time(connection.tss());
    SR_TRY(connection.check("TPM2_ReadClock",
                            connection.tss().Esys_ReadClock(connection.esys(), ESYS_TR_NONE, ESYS_TR_NONE,
                                                            ESYS_TR_NONE, time.out())));
    const TPMS_CLOCK_INFO& info = time->clockInfo;
    return TpmClock{info.clock, info.resetCount, info.restartCount, info.safe == TPM2_YES};
  });
}

Result<std::string> Tpm::description() {
  return state_->run([](Connection& connection) { return describe(connection); });
}

}  // namespace strongroom::roots
