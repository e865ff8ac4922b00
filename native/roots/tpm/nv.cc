#include "roots/tpm/nv.h"

#include <algorithm>

#include "roots/tpm/policy.h"
#include "roots/tpm/tpm_errors.h"

namespace strongroom::roots::nv {
namespace {

Status invalid(const char* what) { return Status(Reason::kInvalidArgument, what); }

NvKind kind_of(const Connection::Index& index) {
  if (index.auth_policy.size() != Digest{}.size() || index.name.empty()) return NvKind::kForeign;
  const std::uint32_t attributes = index.attributes & ~kWrittenAttribute;
  if (attributes == kCounterAttributes && index.size == kCounterSize) return NvKind::kCounter;
  if (attributes == kExtendAttributes && index.size == kExtendSize) return NvKind::kExtend;
  return NvKind::kForeign;
}

bool is_ours(const Connection::Index& index) { return kind_of(index) != NvKind::kForeign; }

TpmName written_name(std::uint32_t number, const Connection::Index& index) {
  return nv_name(number, index.attributes | kWrittenAttribute, index.auth_policy, index.size);
}

Status replaced(std::uint32_t number) {
  return Status(Reason::kWitnessReplaced, "the TPM's NV index " + hexadecimal(number) + " is another one");
}
Status never_written(std::uint32_t number) {
  return Status(Reason::kTpmRefused, "the TPM's NV index " + hexadecimal(number) + " was never written");
}
Status other_secret(std::uint32_t number) {
  return Status(Reason::kWitnessReplaced,
                "the TPM's NV index " + hexadecimal(number) + " does not know our secret");
}

// Runs a command with the secret in the library's copy of the index, and takes it out again before anything else happens
// to that copy.
template <typename Command>
Result<TSS2_RC> with_secret(Connection& connection, ESYS_TR handle, ByteView secret, const Command& command) {
  const tss::Functions& tss = connection.tss();
  Wiped<TPM2B_AUTH> auth;
  SR_TRY(set_authorisation(secret, auth.value));
  SR_TRY(connection.check("Esys_TR_SetAuth", tss.Esys_TR_SetAuth(connection.esys(), handle, &auth.value)));
  const TSS2_RC rc = command();
  const TPM2B_AUTH nothing{};
  (void)tss.Esys_TR_SetAuth(connection.esys(), handle, &nothing);
  return rc;
}

// What a command that needs the index's secret answered, where it is not known to have been executed.
Status refused(Connection& connection, std::uint32_t number, const TpmName& name, Unwritten unwritten,
               std::string_view command, TSS2_RC rc) {
  Status error = connection.check(command, rc);
  if (error.is(Reason::kTpmUnavailable)) return error;
  SR_TRY(look_again(connection, number, name, unwritten));
  if (connection.lost()) return error;
  return is_wrong_authorisation(rc) ? other_secret(number) : error;
}

Status read_bytes(Connection& connection, std::uint32_t number, const TpmName& name, ByteView secret,
                  MutableBytes out) {
  SR_ASSIGN(const Connection::Index* const index, expected(connection, number, name, Unwritten::kRefused));
  Owned<TPM2B_MAX_NV_BUFFER> data(connection.tss());
  SR_ASSIGN(const TSS2_RC rc, with_secret(connection, index->handle, secret, [&] {
              return connection.tss().Esys_NV_Read(connection.esys(), index->handle, index->handle,
                                                   connection.session(), ESYS_TR_NONE, ESYS_TR_NONE,
                                                   static_cast<UINT16>(out.size()), 0, data.out());
            }));
  if (rc != TSS2_RC_SUCCESS)
    return refused(connection, number, name, Unwritten::kRefused, "TPM2_NV_Read", rc);
  if (data->size != out.size())
    return {Reason::kTpmRefused, "the TPM's NV index " + hexadecimal(number) + " has another size"};
  std::copy_n(data->buffer, out.size(), out.begin());
  return {};
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

}  // namespace

Status check_owner(Connection& connection, std::string_view command, TSS2_RC rc) {
  Status error = connection.check(command, rc);
  if (!is_wrong_authorisation(rc) || connection.lost()) return error;
  return Status(Reason::kTpmRefused, "the TPM, " + std::string(command) +
                                         ": the owner hierarchy has a password (" + describe_code(rc) + ")");
}

Result<const Connection::Index*> expected(Connection& connection, std::uint32_t number, const TpmName& name,
                                          Unwritten unwritten) {
  SR_ASSIGN(const Connection::Index* index, connection.index(number, name));
  if (index->name == name) return index;
  connection.forget_index(number);
  SR_ASSIGN(index, connection.index(number));
  if (index->name == name) return index;
  if (!is_ours(*index) || written_name(number, *index) != name) return replaced(number);
  if (unwritten == Unwritten::kRefused) return never_written(number);
  return index;
}

Status look_again(Connection& connection, std::uint32_t number, const TpmName& name, Unwritten unwritten) {
  connection.forget_index(number);
  if (connection.lost()) return Status();
  SR_TRY(connection.index(number).status());  // with the session: a refusal is a verdict
  return expected(connection, number, name, unwritten).status();
}

Result<std::vector<NvIndexInfo>> find(Connection& connection, std::uint32_t first, std::uint32_t count) {
  if (count == 0 || first < kNvIndexFirst || first > kNvIndexLast || count > kNvIndexLast - first + 1) {
    return invalid("indices are in the owner range of NV indices");
  }
  // "None" is only believed from the right TPM.
  if (!connection.alive()) return Status(Reason::kTpmUnavailable, "the TPM was restarted or replaced");
  SR_ASSIGN(const std::vector<std::uint32_t> numbers, nv_indices(connection, first, first + count - 1));
  std::vector<NvIndexInfo> found;
  for (const std::uint32_t number : numbers) {
    connection.forget_index(number);
    const auto index = connection.index(number);
    if (index.is(Reason::kWitnessMissing)) continue;  // removed in between
    SR_TRY(index.status());
    NvIndexInfo& info = found.emplace_back();
    info.index = number;
    info.kind = kind_of(**index);
    if (info.kind == NvKind::kForeign) {
      connection.forget_index(number);
      continue;
    }
    info.written = ((*index)->attributes & kWrittenAttribute) != 0;
    std::ranges::copy((*index)->auth_policy, info.label.begin());
  }
  return found;
}

Status define(Connection& connection, NvKind kind, std::uint32_t index, const Digest& label,
              ByteView secret) {
  if (index < kNvIndexFirst || index > kNvIndexLast) return invalid("not an NV index of the owner range");
  if (kind == NvKind::kForeign) return invalid("only a counter or an extend index is made");
  const bool counter = kind == NvKind::kCounter;
  connection.forget_index(index);
  Wiped<TPM2B_AUTH> auth;
  SR_TRY(set_authorisation(secret, auth.value));
  TPM2B_NV_PUBLIC area{};
  area.nvPublic.nvIndex = index;
  area.nvPublic.nameAlg = TPM2_ALG_SHA256;
  area.nvPublic.attributes = counter ? kCounterAttributes : kExtendAttributes;
  area.nvPublic.authPolicy.size = static_cast<UINT16>(label.size());
  std::ranges::copy(label, area.nvPublic.authPolicy.buffer);
  area.nvPublic.dataSize = counter ? kCounterSize : kExtendSize;
  ESYS_TR handle = ESYS_TR_NONE;
  const TSS2_RC rc =
      connection.tss().Esys_NV_DefineSpace(connection.esys(), ESYS_TR_RH_OWNER, connection.session(),
                                           ESYS_TR_NONE, ESYS_TR_NONE, &auth.value, &area, &handle);
  if (rc == TSS2_RC_SUCCESS) connection.tss().Esys_TR_Close(connection.esys(), &handle);
  return check_owner(connection, "TPM2_NV_DefineSpace", rc);
}

Status undefine(Connection& connection, std::uint32_t number) {
  connection.forget_index(number);
  SR_ASSIGN(const Connection::Index* const index, connection.index(number));
  if (!is_ours(*index)) {
    return Status(Reason::kTpmRefused, "the TPM's NV index " + hexadecimal(number) + " is not one of ours");
  }
  ESYS_TR handle = index->handle;
  const TSS2_RC rc = connection.tss().Esys_NV_UndefineSpace(connection.esys(), ESYS_TR_RH_OWNER, handle,
                                                            connection.session(), ESYS_TR_NONE, ESYS_TR_NONE);
  connection.forget_index(number);
  return check_owner(connection, "TPM2_NV_UndefineSpace", rc);
}

Result<std::uint64_t> read_counter(Connection& connection, std::uint32_t number, const TpmName& name,
                                   ByteView secret) {
  std::array<std::uint8_t, kCounterSize> bytes{};
  SR_TRY(read_bytes(connection, number, name, secret, bytes));
  std::uint64_t value = 0;
  for (const std::uint8_t byte : bytes) value = value << 8 | byte;
  return value;
}

Result<Digest> read_extend(Connection& connection, std::uint32_t number, const TpmName& name,
                           ByteView secret) {
  Digest value{};
  SR_TRY(read_bytes(connection, number, name, secret, value));
  return value;
}

// The library sends a command again, up to five times in all, when the TPM answers TPM_RC_RETRY ("was not able to start
// the command"), TPM_RC_TESTING, or TPM_RC_YIELDED ("suspended operation on the command; forward progress was made and
// the command may be retried": TPM 2.0 part 2, 6.6.3), and for nothing else. None of them is an answer to an index that
// has moved; and a command that was executed has changed the session's nonce, so that its bytes, sent again, would not
// authenticate.
Status increment(Connection& connection, std::uint32_t number, const TpmName& name, ByteView secret) {
  SR_ASSIGN(const Connection::Index* const index, expected(connection, number, name, Unwritten::kAllowed));
  SR_ASSIGN(const TSS2_RC rc, with_secret(connection, index->handle, secret, [&] {
              return connection.tss().Esys_NV_Increment(connection.esys(), index->handle, index->handle,
                                                        connection.session(), ESYS_TR_NONE, ESYS_TR_NONE);
            }));
  if (rc != TSS2_RC_SUCCESS)
    return refused(connection, number, name, Unwritten::kAllowed, "TPM2_NV_Increment", rc);
  connection.index_written(number);
  return {};
}

Status extend(Connection& connection, std::uint32_t number, const TpmName& name, ByteView secret,
              const Digest& data) {
  SR_ASSIGN(const Connection::Index* const index, expected(connection, number, name, Unwritten::kAllowed));
  TPM2B_MAX_NV_BUFFER buffer{};
  buffer.size = static_cast<UINT16>(data.size());
  std::ranges::copy(data, buffer.buffer);
  SR_ASSIGN(const TSS2_RC rc, with_secret(connection, index->handle, secret, [&] {
              return connection.tss().Esys_NV_Extend(connection.esys(), index->handle, index->handle,
                                                     connection.session(), ESYS_TR_NONE, ESYS_TR_NONE,
                                                     &buffer);
            }));
  if (rc != TSS2_RC_SUCCESS)
    return refused(connection, number, name, Unwritten::kAllowed, "TPM2_NV_Extend", rc);
  connection.index_written(number);
  return {};
}

}  // namespace strongroom::roots::nv
