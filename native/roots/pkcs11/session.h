// One login on one token, found again by its locator whenever the module was initialised anew.
//
// Invariants:
// - Touched on the module's thread only.
// - Handles of objects are never kept beyond a job: between two jobs the session may have become another one.
// - A PIN that the token refused is not sent again: a stale PIN must not use up the token's tries.
#pragma once

#include <string>
#include <vector>

#include "roots/pkcs11/module.h"
#include "roots/pkcs11/token.h"

namespace strongroom::roots::pkcs11 {

struct Slot {
  TokenInfo info;
  CK_FLAGS flags = 0;  // of CK_TOKEN_INFO
  CK_ULONG pin_bytes_min = 0;
  CK_ULONG pin_bytes_max = 0;  // 0, or all ones: the token does not say
};

// The slots that hold a token, initialised or not. A slot that cannot be read is left out and its error stored in
// `unreadable`, if any.
[[nodiscard]] Result<std::vector<Slot>> list_slots(Worker& worker, Status* unreadable);

class Session {
 public:
  Session(TokenLocator locator, SecretBytes pin) : locator_(std::move(locator)), pin_(std::move(pin)) {}
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  Session(Session&&) = delete;
  Session& operator=(Session&&) = delete;
  ~Session() = default;

  [[nodiscard]] Status ensure_open(Worker& worker);
  void close(Worker& worker);

  [[nodiscard]] CK_SESSION_HANDLE handle() const { return handle_; }
  [[nodiscard]] const TokenInfo& info() const { return slot_.info; }
  [[nodiscard]] bool unlocked_by_hand() const { return open_ && by_hand_; }
  // Whether the token has the mechanism with all of `flags`, for keys of `bits` or of any size (0). An outage is no answer.
  [[nodiscard]] Result<bool> supports(Worker& worker, CK_MECHANISM_TYPE mechanism, CK_FLAGS flags,
                                      CK_ULONG bits) const;
  struct Mechanism {
    CK_MECHANISM_TYPE type;
    CK_FLAGS flags;
    CK_ULONG bits;
  };
  // Asks for each until one is missing.
  [[nodiscard]] Result<bool> supports_all(Worker& worker, std::initializer_list<Mechanism> mechanisms) const;

 private:
  [[nodiscard]] Result<bool> lists(Worker& worker, CK_MECHANISM_TYPE mechanism) const;
  [[nodiscard]] Status find_token(Worker& worker);
  [[nodiscard]] Status log_in(Worker& worker);
  [[nodiscard]] CK_RV send_pin(Worker& worker, const SecretBytes& pin) const;

  const TokenLocator locator_;
  const SecretBytes pin_;
  Slot slot_;
  CK_SESSION_HANDLE handle_ = 0;
  std::uint64_t epoch_ = 0;  // of the module when the session was opened
  bool open_ = false;
  bool was_open_ = false;
  bool by_hand_ = false;
  bool pin_refused_ = false;
};

[[nodiscard]] inline const Status& as_status(const Status& status) { return status; }
template <typename T>
[[nodiscard]] Status as_status(const Result<T>& result) {
  return result.status();
}

template <typename Work>
auto Worker::perform(Session& session, Work work) -> decltype(work()) {
  for (;;) {
    attempt_ = {};
    const Status ready = session.ensure_open(*this);
    auto outcome = ready.ok() ? work() : decltype(work())(ready);
    if (!heal(as_status(outcome), session)) return outcome;
  }
}

}  // namespace strongroom::roots::pkcs11
