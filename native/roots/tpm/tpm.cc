#include "roots/tpm/tpm.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/cancellation.h"
#include "base/thread_annotations.h"
#include "crypto/crypto.h"
#include "roots/tpm/connection.h"
#include "roots/tpm/nv.h"
#include "roots/tpm/policy.h"
#include "roots/tpm/tpm_errors.h"

namespace strongroom::roots {
namespace {

constexpr std::size_t kSecretMax = 128;
constexpr unsigned kPcrCount = 24;
// At boot, and where runtime measurement is on, PCRs are extended many times a second.
constexpr int kPolicyAttemptsMax = 30;

Status invalid(const char* what) { return Status(Reason::kInvalidArgument, what); }

TPML_PCR_SELECTION selection_of(std::uint32_t pcrs) {
  TPML_PCR_SELECTION out{};
  out.count = 1;
  out.pcrSelections[0].hash = TPM2_ALG_SHA256;
  out.pcrSelections[0].sizeofSelect = 3;
  std::ranges::copy(pcr_selection(pcrs), out.pcrSelections[0].pcrSelect);
  return out;
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
  SR_ASSIGN(const Connection::Index* const index,
            nv::expected(connection, bound.index, bound.name, nv::Unwritten::kRefused));
  TPM2B_OPERAND operand{};
  const auto bytes = counter_bytes(bound.at_most);
  operand.size = bytes.size();
  std::ranges::copy(bytes, operand.buffer);
  const TSS2_RC rc = connection.tss().Esys_PolicyNV(connection.esys(), ESYS_TR_RH_OWNER, index->handle,
                                                    policy_session, connection.session(), ESYS_TR_NONE,
                                                    ESYS_TR_NONE, &operand, 0, kPolicyNvAtMost);
  if (rc == TSS2_RC_SUCCESS) return Status();
  Status error = nv::check_owner(connection, "TPM2_PolicyNV", rc);
  if (!connection.lost() && tpm_code(rc) == TPM2_RC_POLICY) {
    return Status(Reason::kVaultRolledBack, "the TPM's counter " + hexadecimal(bound.index) +
                                                " is past what this root key was sealed to");
  }
  SR_TRY(nv::look_again(connection, bound.index, bound.name, nv::Unwritten::kRefused));
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
    Status error = connection.check("TPM2_PolicyPCR", rc);
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

// `interrupted`: a PCR was extended between the policy and the unsealing.
Result<SecretBytes> unseal_loaded(Connection& connection, ESYS_TR object, ByteView authorisation,
                                  const SealPolicy& policy, bool& interrupted) {
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
    return SecretBytes(ByteView(data->buffer, data->size));
  }
  Status error = connection.check("TPM2_Unseal", rc);
  interrupted = tpm_code(rc) == TPM2_RC_PCR_CHANGED && !connection.lost();
  if (policy.authorisation && is_wrong_authorisation(rc) && !connection.lost()) {
    return Status(Reason::kPinWrong, "the TPM refused the PIN");
  }
  return error;
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

class EsysTpm final : public Tpm {
 public:
  struct State;
  explicit EsysTpm(std::unique_ptr<State> state) : state_(std::move(state)) {}
  [[nodiscard]] Status shut_down() override;
  [[nodiscard]] Result<TpmName> parent_name() override;
  [[nodiscard]] Result<TpmName> endorsement_name() override;
  [[nodiscard]] Result<std::vector<Digest>> pcr_values(std::uint32_t pcrs) override;
  [[nodiscard]] Result<SealedObject> seal(ByteView secret, ByteView authorisation,
                                          const SealPolicy& policy) override;
  [[nodiscard]] Result<SecretBytes> unseal(const SealedObject& object, ByteView authorisation,
                                           const SealPolicy& policy) override;
  [[nodiscard]] Result<std::vector<NvIndexInfo>> find_indices(std::uint32_t first,
                                                              std::uint32_t count) override;
  [[nodiscard]] Status define(NvKind kind, std::uint32_t index, const Digest& label,
                              ByteView secret) override;
  [[nodiscard]] Status undefine(std::uint32_t index) override;
  [[nodiscard]] Result<std::uint64_t> read_counter(std::uint32_t index, const TpmName& name,
                                                   ByteView secret) override;
  [[nodiscard]] Status increment_counter(std::uint32_t index, const TpmName& name, ByteView secret) override;
  [[nodiscard]] Result<Digest> read_extend(std::uint32_t index, const TpmName& name,
                                           ByteView secret) override;
  [[nodiscard]] Status extend(std::uint32_t index, const TpmName& name, ByteView secret,
                              const Digest& data) override;
  [[nodiscard]] Result<TpmClock> clock() override;
  [[nodiscard]] Result<std::string> description() override;

 private:
  std::unique_ptr<State> state_;
};

struct EsysTpm::State {
  Mutex mutex;
  const std::string tcti;
  const TpmName endorsement_name;
  const std::chrono::milliseconds limit;
  TpmName parent_name SR_GUARDED_BY(mutex);  // as pinned by the caller, or as first seen
  std::unique_ptr<Connection> connection SR_GUARDED_BY(mutex);
  std::string description SR_GUARDED_BY(mutex);  // empty: not asked for yet

  State(std::string tcti_in, TpmName parent_name_in, TpmName endorsement_name_in,
        std::chrono::milliseconds limit_in)
      : tcti(std::move(tcti_in)),
        endorsement_name(std::move(endorsement_name_in)),
        limit(limit_in),
        parent_name(std::move(parent_name_in)) {}

  Status connect() SR_REQUIRES(mutex) {
    if (connection) return Status();
    SR_ASSIGN(connection, Connection::open(tcti, parent_name, endorsement_name, limit));
    parent_name = connection->parent_name();
    return Status();
  }

  // `body` is a callable with a Connection& that returns a Status or a Result. With `again`, it is called a second time
  // on a new connection when the TPM turned out to have been restarted; only for what can be done twice.
  template <typename Body>
  auto run(const Body& body, bool again = true) -> decltype(body(*connection)) {
    const MutexLock lock(mutex);
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

}  // namespace

Result<std::unique_ptr<Tpm>> Tpm::open(const std::string& tcti, const TpmName& parent_name,
                                       const TpmName& endorsement_name, std::chrono::milliseconds limit) {
  auto state = std::make_unique<EsysTpm::State>(tcti, parent_name, endorsement_name, limit);
  {
    const MutexLock lock(state->mutex);
    SR_TRY(state->connect());
  }
  return std::unique_ptr<Tpm>(new EsysTpm(std::move(state)));
}

Status EsysTpm::shut_down() {
  Status done = state_->run([](Connection& connection) { return connection.shut_down(); });
  const MutexLock lock(state_->mutex);
  state_->connection.reset();
  return done;
}

Result<TpmName> EsysTpm::parent_name() {
  return state_->run([](Connection& connection) -> Result<TpmName> { return connection.parent_name(); });
}

Result<TpmName> EsysTpm::endorsement_name() {
  return state_->run([](Connection& connection) { return connection.endorsement_name(); });
}

Result<std::vector<Digest>> EsysTpm::pcr_values(std::uint32_t pcrs) {
  if (pcrs >> kPcrCount != 0) return invalid("PCRs are numbered from 0 to 23");
  return state_->run([&](Connection& connection) -> Result<std::vector<Digest>> {
    std::vector<Digest> found;
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
      if (values->count != static_cast<UINT32>(std::popcount(read)))
        return Status(Reason::kTpmRefused, "the TPM answered with fewer PCRs than it names");
      for (UINT32 i = 0; i < values->count; ++i) {
        const TPM2B_DIGEST& value = values->digests[i];
        if (value.size != Digest{}.size())
          return Status(Reason::kTpmRefused, "the TPM answered with a PCR of another bank");
        std::copy_n(value.buffer, value.size, found.emplace_back().begin());
      }
      left &= ~read;
    }
    return found;
  });
}

Result<SealedObject> EsysTpm::seal(ByteView secret, ByteView authorisation, const SealPolicy& policy) {
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

Result<SecretBytes> EsysTpm::unseal(const SealedObject& object, ByteView authorisation,
                                    const SealPolicy& policy) {
  if (authorisation.empty() == policy.authorisation)
    return invalid("an authorisation and a policy without one");
  std::string description;
  auto unsealed = state_->run([&](Connection& connection) -> Result<SecretBytes> {
    Flushed handle(connection);
    SR_TRY(load(connection, object, handle));
    for (int attempt = 1;; ++attempt) {
      bool interrupted = false;
      auto secret = unseal_loaded(connection, handle.get(), authorisation, policy, interrupted);
      if (secret.ok()) {
        // The library decrypts an answer where it received it, in a buffer that it does not wipe. The next long answer
        // takes the place of what lies there: this one, which is wanted anyway.
        Result<std::string> described = describe(connection);
        if (described.ok()) description = *std::move(described);
        return secret;
      }
      if (!interrupted || attempt == kPolicyAttemptsMax) return secret;
      SR_TRY(check_cancelled());
    }
  });
  const MutexLock lock(state_->mutex);
  if (!description.empty()) state_->description = std::move(description);
  return unsealed;
}

Result<std::vector<NvIndexInfo>> EsysTpm::find_indices(std::uint32_t first, std::uint32_t count) {
  return state_->run([&](Connection& connection) { return nv::find(connection, first, count); });
}

Status EsysTpm::define(NvKind kind, std::uint32_t index, const Digest& label, ByteView secret) {
  return state_->run(
      [&](Connection& connection) { return nv::define(connection, kind, index, label, secret); });
}

Status EsysTpm::undefine(std::uint32_t index) {
  return state_->run([&](Connection& connection) { return nv::undefine(connection, index); });
}

Result<std::uint64_t> EsysTpm::read_counter(std::uint32_t index, const TpmName& name, ByteView secret) {
  return state_->run(
      [&](Connection& connection) { return nv::read_counter(connection, index, name, secret); });
}

Status EsysTpm::increment_counter(std::uint32_t index, const TpmName& name, ByteView secret) {
  return state_->run([&](Connection& connection) { return nv::increment(connection, index, name, secret); },
                     false);
}

Result<Digest> EsysTpm::read_extend(std::uint32_t index, const TpmName& name, ByteView secret) {
  return state_->run(
      [&](Connection& connection) { return nv::read_extend(connection, index, name, secret); });
}

Status EsysTpm::extend(std::uint32_t index, const TpmName& name, ByteView secret, const Digest& data) {
  return state_->run(
      [&](Connection& connection) { return nv::extend(connection, index, name, secret, data); }, false);
}

Result<TpmClock> EsysTpm::clock() {
  return state_->run([](Connection& connection) -> Result<TpmClock> {
    Owned<TPMS_TIME_INFO> time(connection.tss());
    SR_TRY(connection.check("TPM2_ReadClock",
                            connection.tss().Esys_ReadClock(connection.esys(), ESYS_TR_NONE, ESYS_TR_NONE,
                                                            ESYS_TR_NONE, time.out())));
    const TPMS_CLOCK_INFO& info = time->clockInfo;
    return TpmClock{info.clock, info.resetCount, info.restartCount, info.safe == TPM2_YES};
  });
}

Result<std::string> EsysTpm::description() {
  {
    const MutexLock lock(state_->mutex);
    if (!state_->description.empty()) return state_->description;
  }
  SR_ASSIGN(std::string description,
            state_->run([](Connection& connection) { return describe(connection); }));
  const MutexLock lock(state_->mutex);
  state_->description = description;
  return description;
}

}  // namespace strongroom::roots
