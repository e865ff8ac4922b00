#include "roots/pkcs11/objects.h"

#include <algorithm>

namespace strongroom::roots::pkcs11 {
namespace {

constexpr std::size_t kObjectsMax = 256;

}  // namespace

Status check_label(std::string_view label) {
  if (!label.empty() && label.size() <= kLabelBytesMax) return Status();
  return Status(Reason::kInvalidArgument, "the label of an object in a token has 1 to 128 bytes");
}

Status check_id(ByteView id) {
  if (!id.empty() && id.size() <= kIdBytesMax) return Status();
  return Status(Reason::kInvalidArgument, "the id of a key in a token has 1 to 64 bytes");
}

Template& Template::set(CK_ATTRIBUTE_TYPE type) {
  constexpr std::uint8_t kByte = CK_TRUE;
  return bytes(type, ByteView(&kByte, 1));
}

Template& Template::unset(CK_ATTRIBUTE_TYPE type) {
  constexpr std::uint8_t kByte = CK_FALSE;
  return bytes(type, ByteView(&kByte, 1));
}

Template& Template::number(CK_ATTRIBUTE_TYPE type, CK_ULONG value) {
  std::uint8_t raw[sizeof(value)];
  std::memcpy(raw, &value, sizeof(value));  // as the machine has it
  return bytes(type, raw);
}

Template& Template::bytes(CK_ATTRIBUTE_TYPE type, ByteView value) {
  values_.emplace_back(value.begin(), value.end());
  return refer(type, values_.back());
}

Template& Template::refer(CK_ATTRIBUTE_TYPE type, ByteView value) {
  attributes_.push_back({type, const_cast<std::uint8_t*>(value.data()), static_cast<CK_ULONG>(value.size())});
  return *this;
}

Result<std::vector<CK_OBJECT_HANDLE>> find_objects(Worker& worker, const Session& session, Template& search) {
  SR_TRY(worker.check(SR_CALL(worker, C_FindObjectsInit, session.handle(), search.data(), search.size())));
  std::vector<CK_OBJECT_HANDLE> found;
  Status status;
  for (;;) {
    CK_OBJECT_HANDLE part[16];
    CK_ULONG count = 0;
    status = worker.check(SR_CALL(worker, C_FindObjects, session.handle(), &part[0],
                                  static_cast<CK_ULONG>(std::size(part)), &count));
    if (!status.ok() || count == 0) break;
    found.insert(found.end(), part, part + std::min<std::size_t>(count, std::size(part)));
    if (found.size() >= kObjectsMax) {
      status = Status(Reason::kHsmRefused, "more than 256 objects of one label in the token");
      break;
    }
  }
  const Worker::Cleanup cleanup(worker);
  SR_CALL(worker, C_FindObjectsFinal, session.handle());
  if (!status.ok()) return status;
  return found;
}

Result<Bytes> read_attribute(Worker& worker, const Session& session, CK_OBJECT_HANDLE object,
                             CK_ATTRIBUTE_TYPE type, std::size_t bytes_max) {
  Bytes value(bytes_max);
  CK_ATTRIBUTE attribute = {type, value.data(), static_cast<CK_ULONG>(value.size())};
  const CK_RV answered =
      SR_CALL(worker, C_GetAttributeValue, session.handle(), object, &attribute, static_cast<CK_ULONG>(1));
  if (answered != CKR_BUFFER_TOO_SMALL) SR_TRY(worker.check(answered));
  // PKCS #11 v2.40, 5.7: the size where it fits, else CK_UNAVAILABLE_INFORMATION; older modules give the size that it has.
  if (answered == CKR_BUFFER_TOO_SMALL || attribute.ulValueLen > bytes_max)
    return Status(Reason::kHsmRefused, "an attribute of an object in the token has no acceptable size");
  value.resize(attribute.ulValueLen);
  return value;
}

Result<CK_ULONG> read_number(Worker& worker, const Session& session, CK_OBJECT_HANDLE object,
                             CK_ATTRIBUTE_TYPE type) {
  CK_ULONG number = 0;
  SR_ASSIGN(const Bytes raw, read_attribute(worker, session, object, type, sizeof(number)));
  if (raw.size() != sizeof(number)) return Status(Reason::kHsmRefused, "an attribute is not a number");
  std::memcpy(&number, raw.data(), sizeof(number));
  return number;
}

Status check_flags(Worker& worker, const Session& session, CK_OBJECT_HANDLE object,
                   std::initializer_list<ExpectedFlag> expected) {
  for (const ExpectedFlag& flag : expected) {
    SR_ASSIGN(const Bytes raw, read_attribute(worker, session, object, flag.type, 1));
    if (raw.size() != 1 || (raw[0] != CK_FALSE) != flag.value) {
      return Status(Reason::kHsmRefused, std::string("the token made a key whose ") + flag.name + " is not " +
                                             (flag.value ? "true" : "false"));
    }
  }
  return Status();
}

Status check_confined(Worker& worker, const Session& session, CK_OBJECT_HANDLE key, CK_ATTRIBUTE_TYPE value) {
  SR_TRY(check_flags(worker, session, key,
                     {{CKA_TOKEN, "CKA_TOKEN", true},
                      {CKA_PRIVATE, "CKA_PRIVATE", true},
                      {CKA_SENSITIVE, "CKA_SENSITIVE", true},
                      {CKA_EXTRACTABLE, "CKA_EXTRACTABLE", false},
                      {CKA_ALWAYS_SENSITIVE, "CKA_ALWAYS_SENSITIVE", true},
                      {CKA_NEVER_EXTRACTABLE, "CKA_NEVER_EXTRACTABLE", true}}));
  SecretBytes revealed(1024);
  CK_ATTRIBUTE attribute = {value, revealed.span().data(), static_cast<CK_ULONG>(revealed.size())};
  const CK_RV answer =
      SR_CALL(worker, C_GetAttributeValue, session.handle(), key, &attribute, static_cast<CK_ULONG>(1));
  if (answer == CKR_OK) return Status(Reason::kHsmRefused, "the token reveals the value of a sensitive key");
  return Status();
}

void destroy_object(Worker& worker, const Session& session, CK_OBJECT_HANDLE object) {
  const Worker::Cleanup cleanup(worker);
  SR_CALL(worker, C_DestroyObject, session.handle(), object);
}

}  // namespace strongroom::roots::pkcs11
