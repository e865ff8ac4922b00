// Making a token: C_InitToken, then the user's PIN. What would be erased is looked at on the module initialised anew,
// immediately before it is erased.
#include <algorithm>
#include <array>

#include "roots/pkcs11/token_state.h"

namespace strongroom::roots {

using namespace pkcs11;

namespace {

constexpr std::size_t kTokenLabelBytes = 32;

struct Plan {
  std::uint64_t slot_id = 0;
  std::string label;
  std::string confirmation;
  SecretBytes so_pin;
  SecretBytes user_pin;
};

Status may_be_erased(const std::vector<Slot>& slots, const Plan& plan) {
  const TokenInfo* target = nullptr;
  for (const Slot& slot : slots) {
    if (slot.info.slot_id == plan.slot_id) {
      target = &slot.info;
    } else if (slot.info.initialised && slot.info.label == plan.label) {
      return Status(Reason::kHsmRefused, "slot " + std::to_string(slot.info.slot_id) +
                                             " has a token with the label '" + plan.label + "' already");
    }
  }
  const std::string slot = "slot " + std::to_string(plan.slot_id);
  if (target == nullptr) return Status(Reason::kTokenMissing, slot + " holds no token");
  if (target->initialised && target->label != plan.confirmation) {
    return Status(Reason::kHsmRefused, slot + " holds the token '" + target->label +
                                           "', which would be erased: its label is the confirmation");
  }
  if (!target->initialised && !plan.confirmation.empty()) {
    return Status(Reason::kHsmRefused,
                  slot + " holds no token '" + plan.confirmation + "' that could be erased");
  }
  return Status();
}

// Compared before C_InitToken: a token that refuses its user's PIN afterwards is left without one, and what was on it is gone.
Status check_length(const Slot& slot, const SecretBytes& pin, const char* whose) {
  const bool known = slot.pin_bytes_max != 0 && slot.pin_bytes_max != CK_UNAVAILABLE_INFORMATION &&
                     slot.pin_bytes_min <= slot.pin_bytes_max;
  if (!known || (pin.size() >= slot.pin_bytes_min && pin.size() <= slot.pin_bytes_max)) return {};
  return {Reason::kPinLength, std::string("the PIN of the ") + whose + " is too " +
                                  (pin.size() < slot.pin_bytes_min ? "short" : "long") +
                                  ": the token in slot " + std::to_string(slot.info.slot_id) + " takes " +
                                  std::to_string(slot.pin_bytes_min) + " to " +
                                  std::to_string(slot.pin_bytes_max) + " bytes"};
}

Status check_lengths(const std::vector<Slot>& slots, const Plan& plan) {
  const auto slot = std::find_if(slots.begin(), slots.end(),
                                 [&](const Slot& other) { return other.info.slot_id == plan.slot_id; });
  if (slot == slots.end()) return {};
  SR_TRY(check_length(*slot, plan.user_pin, "user"));
  // The officer of an initialised token has a PIN already. Some tokens take an empty one at first.
  if (slot->info.initialised || plan.so_pin.empty()) return {};
  return check_length(*slot, plan.so_pin, "security officer");
}

CK_UTF8CHAR* pin_bytes(const SecretBytes& pin) {
  static CK_UTF8CHAR empty = 0;
  return pin.empty() ? &empty : const_cast<CK_UTF8CHAR*>(pin.view().data());
}

Status set_user_pin(Worker& worker, const Plan& plan) {
  CK_SESSION_HANDLE session = 0;
  SR_TRY(worker.check(
      SR_CALL(worker, C_OpenSession, static_cast<CK_SLOT_ID>(plan.slot_id),
              static_cast<CK_FLAGS>(CKF_SERIAL_SESSION | CKF_RW_SESSION), nullptr, nullptr, &session),
      Operation::kSetUp));
  Status status = worker.check(SR_CALL(worker, C_Login, session, static_cast<CK_USER_TYPE>(CKU_SO),
                                       pin_bytes(plan.so_pin), static_cast<CK_ULONG>(plan.so_pin.size())),
                               Operation::kSetUp);
  if (status.ok()) {
    status = worker.check(SR_CALL(worker, C_InitPIN, session, pin_bytes(plan.user_pin),
                                  static_cast<CK_ULONG>(plan.user_pin.size())),
                          Operation::kSetUp);
    SR_CALL(worker, C_Logout, session);
  }
  SR_CALL(worker, C_CloseSession, session);
  return status;
}

Result<TokenInfo> initialise_token(Worker& worker, const Plan& plan) {
  SR_TRY(worker.ensure_ready());
  // Our own sessions would forbid it, and are opened again when they are needed.
  if (!worker.fresh()) {
    if (!worker.may_reinitialise())
      return Status(Reason::kHsmRefused, "a token of this module is in use that was unlocked by hand");
    SR_TRY(worker.reinitialise());
  }
  Status unreadable;
  SR_ASSIGN(const std::vector<Slot> slots, list_slots(worker, &unreadable));
  SR_TRY(may_be_erased(slots, plan));
  SR_TRY(check_lengths(slots, plan));
  std::array<unsigned char, kTokenLabelBytes> label;  // padded with blanks, without a NUL
  label.fill(' ');
  std::copy(plan.label.begin(), plan.label.end(), label.begin());
  SR_TRY(worker.begin_change());
  SR_TRY(
      worker.check(SR_CALL(worker, C_InitToken, static_cast<CK_SLOT_ID>(plan.slot_id), pin_bytes(plan.so_pin),
                           static_cast<CK_ULONG>(plan.so_pin.size()), label.data()),
                   Operation::kSetUp));
  SR_TRY(set_user_pin(worker, plan));
  // Modules give the new token a slot only now.
  SR_TRY(worker.reinitialise());
  SR_ASSIGN(const std::vector<Slot> after, list_slots(worker, &unreadable));
  const auto is_made = [&](const Slot& slot) {
    return slot.info.label == plan.label && slot.info.initialised && slot.info.pin_initialised;
  };
  const auto made = std::find_if(after.begin(), after.end(), is_made);
  if (made != after.end() && std::find_if(made + 1, after.end(), is_made) == after.end()) return made->info;
  return Status(Reason::kHsmRefused,
                "the module made no token with the label '" + plan.label + "' and a user PIN");
}

}  // namespace

Result<TokenInfo> Token::initialise(const std::string& module, std::uint64_t slot_id,
                                    const std::string& label, const std::string& confirmation,
                                    SecretBytes so_pin, SecretBytes user_pin, std::chrono::milliseconds limit,
                                    const std::string& init_arguments) {
  if (label.empty() || label.size() > kTokenLabelBytes || label.front() == ' ' || label.back() == ' ' ||
      label.find('\0') != std::string::npos) {
    return Status(Reason::kInvalidArgument,
                  "the label of a token has 1 to 32 bytes and no blank at its ends");
  }
  if (user_pin.empty()) return Status(Reason::kPinMissing, "a new token needs a user PIN");
  SR_ASSIGN(Module* const loaded, Module::get(module, init_arguments));
  Plan plan{slot_id, label, confirmation, std::move(so_pin), std::move(user_pin)};
  return loaded->run(limit, [plan = std::move(plan), init_arguments](Worker& worker) -> Result<TokenInfo> {
    SR_TRY(worker.set_init_arguments(init_arguments));
    return initialise_token(worker, plan);
  });
}

}  // namespace strongroom::roots
