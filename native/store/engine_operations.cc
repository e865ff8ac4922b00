// The operations of an engine, each of them a class of its own.
#include "store/engine_state.h"
#include "store/operations/dek_rotation.h"
#include "store/operations/kek_rotation.h"
#include "store/operations/passwords.h"
#include "store/operations/relocation.h"
#include "store/operations/removal.h"
#include "store/operations/restoration.h"
#include "store/operations/verification.h"

namespace strongroom::store {

Status Engine::compact() {
  State& state = *state_;
  const MutexLock maintenance(state.compactor.mutex());
  if (state.stage != State::Stage::kOpen) return {Reason::kNotOpen, "the store is not open"};
  if (state.options.read_only) return {Reason::kReadOnly, "the store was opened for reading only"};
  return state.compactor.compact();
}

Status Engine::rotate_kek() { return KekRotation(*state_).rotate(); }

Status Engine::rotate_dek(ByteView password, const ProgressHook& progress, const RotationOptions& how) {
  return DekRotation(*state_).rotate(password, progress, how);
}

Status Engine::relocate() { return Relocation(*state_).relocate(); }

Result<std::uint32_t> Engine::change_password(ByteView current, SecretBytes next,
                                              std::optional<std::string> label) {
  return Passwords(*state_).change(current, std::move(next), std::move(label));
}

Result<std::uint32_t> Engine::add_password(ByteView current, SecretBytes next, std::string label) {
  return Passwords(*state_).add(current, std::move(next), std::move(label));
}

Status Engine::remove_password(ByteView staying, std::uint32_t slot_id) {
  return Passwords(*state_).remove(staying, slot_id);
}

Result<std::uint32_t> Engine::verify_password(ByteView password) {
  return Passwords(*state_).verify(password);
}

Status Engine::validate_restore(const Credential& credential) {
  return Restoration(*state_).validate(credential);
}

Status Engine::restore(const Credential& credential) { return Restoration(*state_).restore(credential); }

Status Engine::note_restore(RestoreNote note) { return Restoration(*state_).note(note); }

Status Engine::complete_restore() { return Restoration(*state_).complete(); }

Status Engine::decommission(const Credential& credential) {
  return Removal(*state_).decommission(credential);
}

const std::vector<std::string>& Engine::left_behind() const { return state_->left_behind; }

Result<std::vector<Leftover>> Engine::find_leftovers() { return Removal(*state_).find_leftovers(); }

Status Engine::remove_leftovers() { return Removal(*state_).remove_leftovers(); }

Result<VerifyReport> Engine::verify(const ProgressHook& progress) {
  return Verification(*state_).verify(progress);
}

Result<std::vector<AuditEntry>> Engine::audit_log(std::size_t count_max) {
  return Verification(*state_).audit_log(count_max);
}

}  // namespace strongroom::store
