// Auto-restore: a store whose token lost its KEK, or is lost itself, is given a new KEK by the backup password.
//
// Invariants:
// - Nothing is written, in files or token, before the password is proven and every witness that is left has agreed.
// - The token holds a witness of the present checkpoint before persistence.bin names the KEK in it: from then on a start by the
//   token expects one.
// - Cut anywhere, the store is either one whose root is lost, and the restore begins anew, or one whose restore is
//   recorded as not completed: then it serves nobody until the rest is done. The password is not needed again while the
//   token opens the store.
#pragma once

#include "protectors/pkcs11/token_kek.h"
#include "store/engine.h"

namespace strongroom::store {

struct Vault;

// Of the newest restore.
[[nodiscard]] std::optional<RestoreRecord> restore_record(Vault& vault);
[[nodiscard]] bool is_restore_pending(Vault& vault);

class Restoration {
 public:
  explicit Restoration(Engine& engine) : store_(engine.state()) {}

  // After initialize_recovery(), or after initialize_warmstart() of a store whose restore is not completed: what must hold
  // before restore() changes anything. Proves the authority and changes nothing. Where the token opens the store, the
  // password may be absent, and is checked where it is given. kNothingToDo when there is nothing to restore.
  [[nodiscard]] Status validate(const Credential& credential);
  // Makes a new KEK in the token that is there, wraps the DEK with it and registers its witness, in one commit; leaves the
  // store open with a restore that is not completed. Of a restore that was committed before, only the opening is left.
  // The token may be made between validate() and this; kTokenMissing without one.
  [[nodiscard]] Status restore(const Credential& credential);
  // The steps after restore(), for the audit log. kNothingToDo when no restore is under way.
  [[nodiscard]] Status note(RestoreNote note);
  // The last step, on the open store. kNothingToDo when none is under way.
  [[nodiscard]] Status complete();

 private:
  // Connects a token that was not there before; it must hold nothing of this instance.
  [[nodiscard]] Status connect_new_token(const TokenSlot& former);
  // The token remembers the present checkpoint before the KEK in it can open the store.
  [[nodiscard]] Status register_token_witness();
  [[nodiscard]] Status note_as(log::CommitKind kind);
  [[nodiscard]] Status resume();
  struct Planned {
    RestoreRecord record;
    bool is_fresh =
        false;  // else, older than the limit or without the SecretStore's word, only the data are back
  };
  [[nodiscard]] Planned plan(const TokenSlot& former, const Now& now);
  [[nodiscard]] Status commit(Planned planned, PersistenceHeader header, const TokenSlot& former);

  Engine::State& store_;
};

}  // namespace strongroom::store
