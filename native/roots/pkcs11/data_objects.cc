// Data objects in the token: a value of ours under a label.
//
// Layout of the value: sequence number (8 bytes, little-endian), then what the caller gave. The sequence number is part of
// the value, because tokens that take data objects do not all keep CKA_OBJECT_ID. The object with the highest number counts.
//
// CKR_OK proves nothing: a module can answer it and store nothing. A new object that is read back proves what the module
// shows, and a second session proves no more, because both ask the same module. What an initialisation of the module shows
// that is later than the object was stored. Such an object is proven.
//
// Invariants:
// - A save fails when its object cannot be read back, and has removed nothing then.
// - A save leaves two objects: the new one and the newest proven one, or the previous one where none is proven. So no number
//   of saves that the module did not store takes the last object that it did store.
// - What a save removes, it removes after its object was read back. A label with more than two objects has a newest one that
//   no save has acknowledged.
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
  attributes.set(CKA_TOKEN).set(CKA_PRIVATE);
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

// What names an object among those that this process made.
std::string made_name(const Session& session, const std::string& label, std::uint64_t sequence) {
  return session.info().serial + '\0' + label + '\0' + std::to_string(sequence);
}

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
    if (!may_be_refusal(value)) return worker.check(value);
    if (status.ok()) status = worker.error(value);
  }
  return status;
}

// Destroys what `before` does not have. Best effort.
void destroy_new(Worker& worker, const Session& session, const std::vector<Stored>& before,
                 const std::vector<Stored>& now) {
  for (const Stored& stored : now) {
    const bool known = std::any_of(before.begin(), before.end(),
                                   [&](const Stored& other) { return other.handle == stored.handle; });
    if (!known) destroy_object(worker, session, stored.handle);
  }
}

Status not_kept(const Session& session, const std::string& label) {
  return {Reason::kTokenWriteFailed,
          "the token '" + session.info().label +
              "' answered CKR_OK to C_CreateObject and does not hold the object '" + label + "'"};
}

// A token that still answers a search is there, and was only not written: SoftHSM2 says CKR_GENERAL_ERROR when its files are
// read-only.
Status not_written(Worker& worker, const Session& session, const std::string& label, Status why) {
  if (why.is(Reason::kHsmUnreachable)) {
    if (worker.reopens() || !find_stored(worker, session, label).ok()) return why;
    worker.acquit();
  } else if (!why.is(Reason::kTokenWriteFailed)) {
    return why;
  }
  return {Reason::kTokenWriteFailed, "the token '" + session.info().label + "' does not take the object '" +
                                         label + "': " + why.error().detail};
}

}  // namespace

Result<std::vector<Bytes>> Token::Objects::load_all(const std::string& label) {
  SR_TRY(check_label(label));
  Result<std::vector<Bytes>> found =
      state_.run([label](Worker& worker, Session& session) -> Result<std::vector<Bytes>> {
        SR_ASSIGN(std::vector<Stored> all, find_stored(worker, session, label));
        // As an error, so that it is asked for again on the module initialised anew before it is believed.
        if (all.empty()) return Status(Reason::kNotFound, label);
        std::vector<Bytes> values;
        values.reserve(all.size());
        for (auto stored = all.rbegin(); stored != all.rend(); ++stored)
          values.push_back(std::move(stored->value));
        return values;
      });
  if (found.is(Reason::kNotFound)) return std::vector<Bytes>();
  return found;
}

Result<std::optional<Bytes>> Token::Objects::load(const std::string& label) {
  SR_ASSIGN(std::vector<Bytes> values, load_all(label));
  if (values.empty()) return std::optional<Bytes>();
  return std::optional<Bytes>(std::move(values.front()));
}

Status Token::Objects::save(const std::string& label, ByteView value) {
  SR_TRY(check_label(label));
  if (value.size() > kValueBytesMax)
    return Status(Reason::kInvalidArgument, "an object in a token has at most 4,096 bytes");
  return state_.run(
      [label, value = Bytes(value.begin(), value.end())](Worker& worker, Session& session) -> Status {
        SR_ASSIGN(const std::vector<Stored> former, find_stored(worker, session, label));
        const std::uint64_t sequence = former.empty() ? 1 : former.back().sequence + 1;
        Bytes raw;
        ByteWriter writer(raw);
        writer.number(sequence);
        writer.bytes(value);
        if (Status created = create(worker, session, label, raw); !created.ok())
          return not_written(worker, session, label, std::move(created));
        worker.made.insert(made_name(session, label, sequence));
        SR_ASSIGN(const std::vector<Stored> present, find_stored(worker, session, label));
        if (present.empty() || present.back().sequence != sequence || present.back().value != value) {
          destroy_new(worker, session, former, present);
          return not_kept(session, label);
        }
        const Stored* kept = former.empty() ? nullptr : &former.back();
        for (const Stored& stored : former) {
          if (worker.made.count(made_name(session, label, stored.sequence)) == 0) kept = &stored;
        }
        // An object that stays is removed by the next save.
        for (const Stored& stored : former) {
          if (&stored == kept) continue;
          destroy_object(worker, session, stored.handle);
          worker.made.erase(made_name(session, label, stored.sequence));
        }
        return Status();
      });
}

Status Token::Objects::keep_newest(const std::string& label) {
  SR_TRY(check_label(label));
  return state_.run([label](Worker& worker, Session& session) -> Status {
    SR_ASSIGN(std::vector<Stored> all, find_stored(worker, session, label));
    if (all.size() < 2) return Status();
    const std::uint64_t sequence = all.back().sequence;
    if (worker.made.count(made_name(session, label, sequence)) != 0 && worker.may_reinitialise()) {
      SR_TRY(worker.reinitialise());
      SR_TRY(session.ensure_open(worker));
      SR_ASSIGN(all, find_stored(worker, session, label));
      if (all.empty() || all.back().sequence != sequence) return not_kept(session, label);
    }
    all.pop_back();
    for (const Stored& stored : all) {
      SR_TRY(worker.begin_change());
      SR_TRY(worker.check(SR_CALL(worker, C_DestroyObject, session.handle(), stored.handle)));
    }
    return Status();
  });
}

Status Token::Objects::remove(const std::string& label) {
  SR_TRY(check_label(label));
  return state_.run([label](Worker& worker, Session& session) -> Status {
    SR_ASSIGN(const std::vector<Stored> all, find_stored(worker, session, label));
    // The newest last: what remains of an interrupted removal is not an earlier state.
    for (const Stored& stored : all) {
      SR_TRY(worker.begin_change());
      SR_TRY(worker.check(SR_CALL(worker, C_DestroyObject, session.handle(), stored.handle)));
      worker.made.erase(made_name(session, label, stored.sequence));
    }
    return Status();
  });
}

}  // namespace strongroom::roots
