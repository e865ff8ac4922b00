#include "roots/pkcs11/session.h"

#include <algorithm>
#include <limits>

#include "crypto/crypto.h"

namespace strongroom::roots {

std::optional<PinLimits> pin_limits(std::uint64_t min, std::uint64_t max) {
  if (max == 0 || max > std::numeric_limits<std::uint32_t>::max() || min > max) return std::nullopt;
  return PinLimits{static_cast<std::uint32_t>(min), static_cast<std::uint32_t>(max)};
}

}  // namespace strongroom::roots

namespace strongroom::roots::pkcs11 {
namespace {

constexpr CK_ULONG kSlotsMax = 4096;
constexpr int kListAttemptsMax = 16;

// Fixed-size text of Cryptoki, padded with blanks; some modules pad with NUL.
template <std::size_t N>
std::string padded_text(const unsigned char (&field)[N]) {
  std::string text(reinterpret_cast<const char*>(field), N);
  const std::size_t end = text.find_last_not_of(std::string_view(" \0", 2));
  text.resize(end == std::string::npos ? 0 : end + 1);
  return text;
}

Slot describe_token(CK_SLOT_ID id, const CK_TOKEN_INFO& token) {
  Slot slot;
  slot.flags = token.flags;
  slot.pin_bytes_min = token.ulMinPinLen;
  slot.pin_bytes_max = token.ulMaxPinLen;
  slot.info.slot_id = id;
  slot.info.label = padded_text(token.label);
  slot.info.serial = padded_text(token.serialNumber);
  slot.info.manufacturer = padded_text(token.manufacturerID);
  slot.info.model = padded_text(token.model);
  slot.info.initialised = (token.flags & CKF_TOKEN_INITIALIZED) != 0;
  slot.info.pin_initialised = (token.flags & CKF_USER_PIN_INITIALIZED) != 0;
  slot.info.pin_locked = (token.flags & CKF_USER_PIN_LOCKED) != 0;
  slot.info.pin_limits = roots::pin_limits(token.ulMinPinLen, token.ulMaxPinLen);
  return slot;
}

bool fits(const TokenLocator& locator, const TokenInfo& info) {
  return info.initialised && (!locator.label || *locator.label == info.label) &&
         (!locator.serial || *locator.serial == info.serial) &&
         (!locator.slot_id || *locator.slot_id == info.slot_id) &&
         (!locator.manufacturer || *locator.manufacturer == info.manufacturer) &&
         (!locator.model || *locator.model == info.model);
}

std::string description(const TokenLocator& locator) {
  std::string text;
  if (locator.label) text += " label '" + *locator.label + "'";
  if (locator.serial) text += " serial '" + *locator.serial + "'";
  if (locator.slot_id) text += " slot " + std::to_string(*locator.slot_id);
  return "token with" + text + " in " + locator.module;
}

}  // namespace

Result<std::vector<Slot>> list_slots(Worker& worker, Status* unreadable) {
  std::vector<CK_SLOT_ID> ids;
  for (int look = 1;; ++look) {
    CK_ULONG count = 0;
    SR_TRY(worker.check(SR_CALL(worker, C_GetSlotList, static_cast<CK_BBOOL>(CK_TRUE), nullptr, &count)));
    if (count > kSlotsMax) return Status(Reason::kHsmRefused, "the module has more than 4,096 slots");
    ids.resize(count);
    if (count == 0) break;
    const CK_RV value = SR_CALL(worker, C_GetSlotList, static_cast<CK_BBOOL>(CK_TRUE), ids.data(), &count);
    if (value == CKR_BUFFER_TOO_SMALL && look < kListAttemptsMax) continue;  // a token came in between
    SR_TRY(worker.check(value));
    ids.resize(std::min<std::size_t>(count, ids.size()));
    break;
  }
  std::vector<Slot> slots;
  for (const CK_SLOT_ID id : ids) {
    CK_TOKEN_INFO token{};
    const CK_RV value = SR_CALL(worker, C_GetTokenInfo, id, &token);
    if (value == CKR_OK) {
      slots.push_back(describe_token(id, token));
    } else if (value != CKR_TOKEN_NOT_PRESENT && value != CKR_SLOT_ID_INVALID) {
      *unreadable = worker.check(value);
    }
  }
  return slots;
}

Status Session::find_token(Worker& worker) {
  Status unreadable;
  SR_ASSIGN(const std::vector<Slot> slots, list_slots(worker, &unreadable));
  std::vector<const Slot*> fitting;
  std::vector<const Slot*> preferred;
  for (const Slot& slot : slots) {
    if (!fits(locator_, slot.info)) continue;
    fitting.push_back(&slot);
    if (locator_.preferred_serial == slot.info.serial) preferred.push_back(&slot);
  }
  if (fitting.size() > 1 && preferred.size() == 1) fitting = preferred;
  if (fitting.size() > 1) {
    std::string serials;
    for (const Slot* slot : fitting) serials += (serials.empty() ? "" : ", ") + slot->info.serial;
    return Status(Reason::kTokenAmbiguous,
                  "more than one " + description(locator_) + ": serial numbers " + serials);
  }
  if (!fitting.empty()) {
    slot_ = *fitting.front();
    return Status();
  }
  // It may be the token that could not be read.
  if (!unreadable.ok()) {
    worker.distrust();
    return Status(Reason::kHsmUnreachable, unreadable.error().detail);
  }
  // Without any slot there is no place where the token could be seen to be missing: the daemon behind the module does not
  // run, the device is unplugged, or the module reads another configuration.
  CK_ULONG places = slots.size();
  if (places == 0)
    SR_TRY(worker.check(SR_CALL(worker, C_GetSlotList, static_cast<CK_BBOOL>(CK_FALSE), nullptr, &places)));
  if (places == 0) {
    worker.distrust();
    return Status(Reason::kHsmUnreachable,
                  locator_.module +
                      " shows no slot: its device or daemon is not reachable, or its "
                      "configuration names none");
  }
  return Status(Reason::kTokenMissing, "no " + description(locator_));
}

CK_RV Session::send_pin(Worker& worker, const SecretBytes& pin) const {
  auto* const bytes = const_cast<CK_UTF8CHAR*>(pin.view().data());
  return SR_CALL(worker, C_Login, handle_, static_cast<CK_USER_TYPE>(CKU_USER), bytes,
                 static_cast<CK_ULONG>(pin.size()));
}

Status Session::log_in(Worker& worker) {
  // Without the flag some objects are open to everyone. Private ones still need the PIN, where there is one.
  const bool required = (slot_.flags & CKF_LOGIN_REQUIRED) != 0;
  if (!required && pin_.empty()) return Status();
  by_hand_ = pin_.empty();
  if (by_hand_ && (slot_.flags & CKF_PROTECTED_AUTHENTICATION_PATH) == 0) {
    return Status(Reason::kPinMissing, "the " + description(locator_) + " needs a PIN");
  }
  if (slot_.info.pin_locked) return Status(Reason::kPinLocked, description(locator_));
  if (was_open_ && (slot_.flags & CKF_USER_PIN_FINAL_TRY) != 0) {
    return Status(Reason::kPinWrong,
                  description(locator_) + ": one try is left, and it is not used without being asked for");
  }
  CK_RV value = send_pin(worker, pin_);
  if (value == CKR_USER_ALREADY_LOGGED_IN) {
    // The login belongs to the process, so the token compared nothing. It was a session of ours with this PIN, or other
    // code; a session of ours with another PIN is logged out, so that this one is put to the test.
    const auto other = std::find_if(worker.sessions.begin(), worker.sessions.end(), [&](const Session* s) {
      return s != this && s->open_ && s->epoch_ == worker.epoch() &&
             s->slot_.info.slot_id == slot_.info.slot_id && !s->by_hand_ &&
             !crypto::equal_constant_time(s->pin_.view(), pin_.view());
    });
    if (other == worker.sessions.end() || by_hand_) return Status();
    SR_TRY(worker.check(SR_CALL(worker, C_Logout, handle_)));
    value = send_pin(worker, pin_);
    if (value != CKR_OK) {
      Status refused = worker.check(value);
      if (send_pin(worker, (*other)->pin_) != CKR_OK) (*other)->close(worker);
      return refused;
    }
  }
  // A token that needs no login may have none.
  if (!required && (value == CKR_USER_PIN_NOT_INITIALIZED || value == CKR_FUNCTION_NOT_SUPPORTED ||
                    value == CKR_USER_TYPE_INVALID)) {
    return Status();
  }
  if (value == CKR_PIN_INCORRECT && !slot_.info.pin_initialised) {
    return Status(Reason::kPinNotInitialized, description(locator_));
  }
  return worker.check(value);
}

Status Session::ensure_open(Worker& worker) {
  if (pin_refused_)
    return Status(Reason::kPinWrong, "the " + description(locator_) + " refused the PIN before");
  SR_TRY(worker.ensure_ready());
  if (open_ && epoch_ == worker.epoch()) return Status();
  open_ = false;
  SR_TRY(find_token(worker));
  CK_FLAGS flags = CKF_SERIAL_SESSION;
  if ((slot_.flags & CKF_WRITE_PROTECTED) == 0) flags |= CKF_RW_SESSION;
  SR_TRY(worker.check(SR_CALL(worker, C_OpenSession, static_cast<CK_SLOT_ID>(slot_.info.slot_id), flags,
                              nullptr, nullptr, &handle_)));
  open_ = true;
  epoch_ = worker.epoch();
  Status logged_in = log_in(worker);
  if (!logged_in.ok()) {
    close(worker);
    // A status for which the token compared the PIN; the last try was only spared.
    pin_refused_ = logged_in.is(Reason::kPinWrong) && (slot_.flags & CKF_USER_PIN_FINAL_TRY) == 0;
    return logged_in;
  }
  was_open_ = true;
  return Status();
}

void Session::close(Worker& worker) {
  // A session of an earlier initialisation is gone, and its number may be another's.
  if (open_ && epoch_ == worker.epoch()) SR_CALL(worker, C_CloseSession, handle_);
  open_ = false;
}

Result<bool> Session::supports(Worker& worker, CK_MECHANISM_TYPE mechanism, CK_FLAGS flags,
                               CK_ULONG bits) const {
  CK_MECHANISM_INFO info{};
  const CK_RV value =
      SR_CALL(worker, C_GetMechanismInfo, static_cast<CK_SLOT_ID>(slot_.info.slot_id), mechanism, &info);
  if (value == CKR_MECHANISM_INVALID) return false;
  if (value != CKR_OK) {
    {
      // Of a mechanism that it does not have, a module may answer any error, also that of an outage: its list decides.
      const Worker::Cleanup aside(worker);
      const Result<bool> listed = lists(worker, mechanism);
      if (listed.ok() && !*listed) return false;
    }
    return worker.check(value);
  }
  if ((info.flags & flags) != flags) return false;
  // Sizes are in bits for RSA and EC. Some modules leave the maximum zero.
  return bits == 0 || (info.ulMinKeySize <= bits && (info.ulMaxKeySize == 0 || info.ulMaxKeySize >= bits));
}

Result<bool> Session::supports_all(Worker& worker, std::initializer_list<Mechanism> mechanisms) const {
  for (const Mechanism& one : mechanisms) {
    SR_ASSIGN(const bool there, supports(worker, one.type, one.flags, one.bits));
    if (!there) return false;
  }
  return true;
}

Result<bool> Session::lists(Worker& worker, CK_MECHANISM_TYPE mechanism) const {
  const CK_SLOT_ID id = slot_.info.slot_id;
  CK_ULONG count = 0;
  SR_TRY(worker.check(SR_CALL(worker, C_GetMechanismList, id, nullptr, &count)));
  std::vector<CK_MECHANISM_TYPE> mechanisms(count);
  SR_TRY(worker.check(SR_CALL(worker, C_GetMechanismList, id, mechanisms.data(), &count)));
  mechanisms.resize(std::min<std::size_t>(count, mechanisms.size()));
  return std::ranges::find(mechanisms, mechanism) != mechanisms.end();
}

}  // namespace strongroom::roots::pkcs11
