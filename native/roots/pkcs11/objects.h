// Objects of a session: templates, search, attributes. Touched on the module's thread only.
#pragma once

#include <deque>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/secret_memory.h"
#include "roots/pkcs11/session.h"

namespace strongroom::roots::pkcs11 {

inline constexpr std::size_t kLabelBytesMax = 128;
inline constexpr std::size_t kIdBytesMax = 64;

[[nodiscard]] Status check_label(std::string_view label);
[[nodiscard]] Status check_id(ByteView id);

// A list of attributes that owns its values, except those added by refer().
class Template {
 public:
  Template() = default;
  Template(const Template&) = delete;
  Template& operator=(const Template&) = delete;
  Template(Template&&) = delete;
  Template& operator=(Template&&) = delete;
  ~Template() = default;

  // Flags: CK_TRUE or CK_FALSE. One that is not named is as the token likes.
  Template& set(CK_ATTRIBUTE_TYPE type);
  Template& unset(CK_ATTRIBUTE_TYPE type);
  Template& number(CK_ATTRIBUTE_TYPE type, CK_ULONG value);
  Template& bytes(CK_ATTRIBUTE_TYPE type, ByteView value);
  Template& text(CK_ATTRIBUTE_TYPE type, std::string_view value) { return bytes(type, as_bytes(value)); }
  // `value` lives as long as the template: for secrets, which must not be copied.
  Template& refer(CK_ATTRIBUTE_TYPE type, ByteView value);

  [[nodiscard]] CK_ATTRIBUTE* data() { return attributes_.data(); }
  [[nodiscard]] CK_ULONG size() const { return attributes_.size(); }

 private:
  std::deque<Bytes> values_;
  std::vector<CK_ATTRIBUTE> attributes_;
};

// At most 256 of the objects that fit.
[[nodiscard]] Result<std::vector<CK_OBJECT_HANDLE>> find_objects(Worker& worker, const Session& session,
                                                                 Template& search);

// An attribute of at most `bytes_max` bytes. kHsmRefused when the object does not have it or does not reveal it.
[[nodiscard]] Result<Bytes> read_attribute(Worker& worker, const Session& session, CK_OBJECT_HANDLE object,
                                           CK_ATTRIBUTE_TYPE type, std::size_t bytes_max);
[[nodiscard]] Result<CK_ULONG> read_number(Worker& worker, const Session& session, CK_OBJECT_HANDLE object,
                                           CK_ATTRIBUTE_TYPE type);

struct ExpectedFlag {
  CK_ATTRIBUTE_TYPE type;
  const char* name;
  bool value;
};
// kHsmRefused names the first attribute that is not as expected.
[[nodiscard]] Status check_flags(Worker& worker, const Session& session, CK_OBJECT_HANDLE object,
                                 std::initializer_list<ExpectedFlag> expected);
// That a key that the token just made never can be outside it: private, sensitive, non-extractable, and always so; and that
// reading `value` is in fact refused. (CKA_LOCAL would say what is known, that it was made here, and NSS does not keep it.)
[[nodiscard]] Status check_confined(Worker& worker, const Session& session, CK_OBJECT_HANDLE key,
                                    CK_ATTRIBUTE_TYPE value);

void destroy_object(Worker& worker, const Session& session, CK_OBJECT_HANDLE object);

// A session object that is destroyed with this. (It goes with its session otherwise.)
class TemporaryObject {
 public:
  TemporaryObject(Worker& worker, const Session& session) : worker_(worker), session_(session) {}
  TemporaryObject(const TemporaryObject&) = delete;
  TemporaryObject& operator=(const TemporaryObject&) = delete;
  TemporaryObject(TemporaryObject&&) = delete;
  TemporaryObject& operator=(TemporaryObject&&) = delete;
  ~TemporaryObject() {
    if (handle != CK_INVALID_HANDLE) destroy_object(worker_, session_, handle);
  }
  CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;

 private:
  Worker& worker_;
  const Session& session_;
};

}  // namespace strongroom::roots::pkcs11
