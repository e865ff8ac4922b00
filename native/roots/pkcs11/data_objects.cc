// Data objects in the token: a value of ours under a label.
//
// Layout of the value: sequence number (8 bytes, little-endian), then what the caller gave. The sequence number stands in
// the value, because tokens that take data objects do not all keep CKA_OBJECT_ID.
//
// Invariants:
// - A new object is there before an older one is removed, so at every moment one of them is; the highest number is it.
// - Where a token has no private data objects (NSS), a secret key of no use carries the value in its CKA_ID, the one
//   attribute of free content that every object of a key has.
#include <algorithm>

#include "crypto/crypto.h"
#include "roots/pkcs11/token_state.h"

namespace strongroom::roots {

using namespace pkcs11;

namespace {

constexpr std::size_t kValueBytesMax = 4096;
constexpr std::size_t kSequenceBytes = 8;
constexpr std::string_view kApplication = "strongroom";

enum class Carrier : std::uint8_t { kData, kKeyId };
constexpr CK_ATTRIBUTE_TYPE value_attribute(Carrier carrier) {
  return carrier == Carrier::kData ? CKA_VALUE : CKA_ID;
}
constexpr Carrier kCarriers[] = {Carrier::kData, Carrier::kKeyId};

// What names the object, for a search and for a new one.
void name_object(Template& attributes, Carrier carrier, const std::string& label) {
  attributes.flag(CKA_TOKEN, true).flag(CKA_PRIVATE, true);
  if (carrier == Carrier::kData) {
    attributes.number(CKA_CLASS, CKO_DATA).text(CKA_APPLICATION, kApplication).text(CKA_LABEL, label);
  } else {
    attributes.number(CKA_CLASS, CKO_SECRET_KEY)
        .number(CKA_KEY_TYPE, CKK_GENERIC_SECRET)
        .text(CKA_LABEL, std::string(kApplication) + "/" + label);
  }
}

struct Stored {
  CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
  std::uint64_t sequence = 0;
  Bytes value;
};

Result<std::vector<Stored>> find_stored(Worker& worker, const Session& session, const std::string& label) {
  std::vector<Stored> all;
  for (const Carrier carrier : kCarriers) {
    Template search;
    name_object(search, carrier, label);
    SR_ASSIGN(const auto found, find_objects(worker, session, search));
    for (const CK_OBJECT_HANDLE handle : found) {
      Stored stored;
      stored.handle = handle;
      SR_ASSIGN(const Bytes raw, read_attribute(worker, session, handle, value_attribute(carrier),
                                                kSequenceBytes + kValueBytesMax));
      // A value that is none of ours counts as the oldest.
      if (raw.size() >= kSequenceBytes) {
        stored.sequence = load_le<std::uint64_t>(raw.data());
        if (stored.sequence == UINT64_MAX) stored.sequence = 0;
        stored.value.assign(raw.begin() + kSequenceBytes, raw.end());
      }
      all.push_back(std::move(stored));
    }
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const Stored& a, const Stored& b) { return a.sequence < b.sequence; });
  return all;
}

Status create(Worker& worker, const Session& session, const std::string& label, ByteView raw) {
  const auto no_key = crypto::random_array<16>();
  Status status;
  for (const Carrier carrier : kCarriers) {
    Template attributes;
    name_object(attributes, carrier, label);
    attributes.refer(value_attribute(carrier), raw);
    if (carrier == Carrier::kKeyId) attributes.refer(CKA_VALUE, no_key);
    CK_OBJECT_HANDLE object = CK_INVALID_HANDLE;
    SR_TRY(worker.begin_change());
    const CK_RV value =
        SR_CALL(worker, C_CreateObject, session.handle(), attributes.data(), attributes.size(), &object);
    // Only a refusal of this kind of object has an alternative.
    if (value == CKR_OK || classify(value, Operation::kUse).reason != Reason::kHsmRefused ||
        value == CKR_DEVICE_MEMORY || value == CKR_TOKEN_WRITE_PROTECTED) {
      return worker.check(value);
    }
    if (status.ok()) status = worker.error(value);
  }
  return status;
}

}  // namespace

Result<std::optional<Bytes>> Token::load_object(const std::string& label) {
  SR_TRY(check_label(label));
  Result<Bytes> found = state_->run([label](Worker& worker, Session& session) -> Result<Bytes> {
    SR_ASSIGN(std::vector<Stored> all, find_stored(worker, session, label));
    // As an error, so that it is asked for again on the module initialised anew before it is believed.
    if (all.empty()) return Status(Reason::kNotFound, label);
    return std::move(all.back().value);
  });
  if (found.is(Reason::kNotFound)) return std::optional<Bytes>();
  if (!found.ok()) return found.status();
  return std::optional<Bytes>(*std::move(found));
}

Status Token::save_object(const std::string& label, ByteView value) {
  SR_TRY(check_label(label));
  if (value.size() > kValueBytesMax)
    return Status(Reason::kInvalidArgument, "an object in a token has at most 4,096 bytes");
  return state_->run(
      [label, value = Bytes(value.begin(), value.end())](Worker& worker, Session& session) -> Status {
        SR_ASSIGN(const std::vector<Stored> former, find_stored(worker, session, label));
        const std::uint64_t sequence = former.empty() ? 1 : former.back().sequence + 1;
        Bytes raw;
        ByteWriter writer(raw);
        writer.number(sequence);
        writer.bytes(value);
        SR_TRY(create(worker, session, label, raw));
        // One that stays is older than the new one, and goes with the next.
        for (const Stored& stored : former) destroy_object(worker, session, stored.handle);
        return Status();
      });
}

Status Token::remove_object(const std::string& label) {
  SR_TRY(check_label(label));
  return state_->run([label](Worker& worker, Session& session) -> Status {
    SR_ASSIGN(const std::vector<Stored> all, find_stored(worker, session, label));
    // The newest last: what remains of an interrupted removal is not an earlier state.
    for (const Stored& stored : all) {
      SR_TRY(worker.begin_change());
      SR_TRY(worker.check(SR_CALL(worker, C_DestroyObject, session.handle(), stored.handle)));
    }
    return Status();
  });
}

}  // namespace strongroom::roots
