// One connection to a TPM: the ESAPI context, the storage parent, and the session that is salted with it. Made anew after
// the TPM or the way to it failed.
//
// The parent is the persistent object 0x81000001 where it fits (a restricted decryption key made in this TPM, ECC P-256 or
// RSA-2048 with AES-128-CFB, noDA, empty authorisation), else a primary key of the owner hierarchy after the TCG template
// for an ECC P-256 storage root key (TCG TPM v2.0 Provisioning Guidance, 7.5.1), which is flushed at the end.
#pragma once

#include <array>
#include <chrono>
#include <map>
#include <memory>
#include <string_view>
#include <utility>

#include "roots/tpm/tpm.h"
#include "roots/tpm/transport.h"
#include "roots/tpm/tss.h"

namespace strongroom::roots {

// What the library hands out: freed, and wiped first.
template <typename T>
class Owned {
 public:
  explicit Owned(const tss::Functions& functions) : functions_(functions) {}
  ~Owned() {
    if (pointer_ == nullptr) return;
    wipe({reinterpret_cast<std::uint8_t*>(pointer_), sizeof(T)});
    functions_.Esys_Free(pointer_);
  }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  T** out() { return &pointer_; }
  T* operator->() const { return pointer_; }
  T& operator*() const { return *pointer_; }

 private:
  const tss::Functions& functions_;
  T* pointer_ = nullptr;
};

// A structure of the TPM that holds a secret for the length of a call.
template <typename T>
struct Wiped {
  T value{};
  Wiped() = default;
  Wiped(const Wiped&) = delete;
  Wiped& operator=(const Wiped&) = delete;
  ~Wiped() { wipe({reinterpret_cast<std::uint8_t*>(&value), sizeof value}); }
};

class Connection {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Connection>> open(const std::string& tcti,
                                                                const TpmName& parent_name,
                                                                const TpmName& endorsement_name,
                                                                std::chrono::milliseconds limit);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  Connection(Connection&&) = delete;
  Connection& operator=(Connection&&) = delete;
  ~Connection();  // flushes the session and a parent that was created

  // After a command: counts it as this connection's end when its state is gone. An error that only the right TPM's word
  // could justify is asked about once more, by a command that the session authenticates.
  [[nodiscard]] Status check(std::string_view command, TSS2_RC rc);
  // The same, without an error to report.
  void note(TSS2_RC rc);
  // Whether the TPM at the other end still holds our session and the parent; otherwise it is another one, was reset or was
  // cleared.
  [[nodiscard]] bool alive();
  [[nodiscard]] bool lost() const { return lost_ || transport_->broken(); }
  // Lost because the TPM had no more state of ours, and the last command was not executed.
  [[nodiscard]] bool restarted() const { return restarted_; }

  // An NV index as the ESAPI knows it.
  struct Index {
    ESYS_TR handle = ESYS_TR_NONE;
    TpmName name;
    // Of one that was read with the session.
    std::uint32_t attributes = 0;
    Bytes auth_policy;
    std::uint16_t size = 0;
  };
  // Read with the session. kWitnessMissing when there is none.
  [[nodiscard]] Result<const Index*> index(std::uint32_t number);
  // The same for one that is expected to have this name; where the library hears that name, it is not read with the session.
  // Whoever answered in the TPM's place gains nothing by it: every command on the index, under our session, proves its name.
  [[nodiscard]] Result<const Index*> index(std::uint32_t number, const TpmName& name);
  void forget_index(std::uint32_t number);
  void index_written(std::uint32_t number);  // after a first increment

  [[nodiscard]] Status shut_down();
  [[nodiscard]] Result<TpmName> endorsement_name();
  [[nodiscard]] Result<TpmName> name_of(const TPMT_PUBLIC& public_area);

  [[nodiscard]] const tss::Functions& tss() const { return functions_; }
  [[nodiscard]] ESYS_CONTEXT* esys() { return esys_; }
  [[nodiscard]] ESYS_TR session();
  [[nodiscard]] ESYS_TR parent() const { return parent_; }
  [[nodiscard]] const TpmName& parent_name() const { return parent_name_; }
  void flush(ESYS_TR handle);

 private:
  [[nodiscard]] Result<ESYS_TR> find_index(std::uint32_t number);
  explicit Connection(const tss::Functions& functions) : functions_(functions) {}
  Status start();
  Status use_parent(const TpmName& pinned, const TpmName& endorsement);
  Result<bool> use_persistent_parent(const TpmName& pinned);
  Status use_created_parent(const TpmName& pinned, const TpmName& endorsement);
  // Makes a primary key of the owner hierarchy, and takes it as the parent when it is `pinned` or nothing is.
  Result<bool> create_parent(const TPM2B_PUBLIC& area, const TpmName& pinned);
  Status start_session();
  bool session_is_ours();
  Result<bool> empty_authorisation(ESYS_TR handle);

  const tss::Functions& functions_;
  std::unique_ptr<Transport> transport_;
  ESYS_CONTEXT* esys_ = nullptr;
  ESYS_TR parent_ = ESYS_TR_NONE;
  bool created_parent_ = false;
  ESYS_TR session_ = ESYS_TR_NONE;
  TpmName parent_name_;
  TpmName endorsement_name_;
  std::map<std::uint32_t, Index> indices_;
  bool lost_ = false;
  bool restarted_ = false;
};

// A session or object that is flushed at the end of the scope.
class Flushed {
 public:
  explicit Flushed(Connection& connection) : connection_(connection) {}
  ~Flushed() {
    if (handle_ != ESYS_TR_NONE) connection_.flush(handle_);
  }
  Flushed(const Flushed&) = delete;
  Flushed& operator=(const Flushed&) = delete;
  ESYS_TR* out() { return &handle_; }
  [[nodiscard]] ESYS_TR get() const { return handle_; }
  ESYS_TR release() { return std::exchange(handle_, ESYS_TR_NONE); }

 private:
  Connection& connection_;
  ESYS_TR handle_ = ESYS_TR_NONE;
};

// The TPM takes zero bytes off the end of every authorisation that it is given; the library does not. kInvalidArgument for
// more than 32 bytes.
[[nodiscard]] Status set_authorisation(ByteView bytes, TPM2B_AUTH& out);

// AES-128-CFB, the only symmetric definition that the PC client profile makes mandatory for sessions and parents.
inline constexpr TPMT_SYM_DEF kSessionCipher = {
    .algorithm = TPM2_ALG_AES, .keyBits = {.aes = 128}, .mode = {.aes = TPM2_ALG_CFB}};

}  // namespace strongroom::roots
