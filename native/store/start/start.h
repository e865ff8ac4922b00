// The steps of a start, in the document's order (store/start/planned_start.h).
//
// Each answers kNotOpen when called out of turn, and a failed step leaves nothing changed that the next start could take for
// an attack:
//
//   determine_startup_state -> setup_persistence_files -> initialize_coldstart | initialize_warmstart
//     -> create_and_load_vault -> initialize_storage_identifier -> validate_vault_integrity
//     -> validate_time_tamper_age -> update_time_tamper
//
// Until update_time_tamper() a WARMSTART writes nothing at all. With `read_only`, update_time_tamper() writes nothing
// either and no lock is taken, so that a live store can be looked at.
//
// An administrative operation (store/operations) takes the place of the last three steps: reanchor, recover, reseal, restore.
// One step at a time, from one thread.
#pragma once

#include "store/engine.h"

namespace strongroom::store {

class Start {
 public:
  explicit Start(Engine& engine) : store_(engine.state()) {}

  // Which of the store's files exist decides: none, or an interrupted provisioning: COLDSTART; all: WARMSTART; only
  // tmtmp.bin missing: WARMSTART (the fallback); every other set: kPartialRestore. Changes nothing.
  [[nodiscard]] Result<StartupState> determine_startup_state();
  // Makes the directory (0700) at COLDSTART, checks owner and mode, takes the lock.
  [[nodiscard]] Status setup_persistence_files();

  // Refuses leftovers that remember more than their initial checkpoint: kPartialRestore. Part of initialize_coldstart().
  [[nodiscard]] Status validate_coldstart_secret_store();
  [[nodiscard]] Status initialize_coldstart();
  [[nodiscard]] Status initialize_warmstart();
  // In place of initialize_warmstart() when the root is lost: opens the DEK by password. kNothingToDo when the root
  // opens it after all.
  [[nodiscard]] Status initialize_recovery(ByteView password);

  [[nodiscard]] Status create_and_load_vault(const Engine::ProgressHook& progress = {});
  [[nodiscard]] Status initialize_storage_identifier();
  [[nodiscard]] Status validate_vault_integrity();
  [[nodiscard]] Status validate_time_tamper_age();
  [[nodiscard]] Status update_time_tamper();

 private:
  [[nodiscard]] bool is_coldstart() const;
  [[nodiscard]] Result<StartupState> determine_by_files();
  [[nodiscard]] Status commit_opening();
  [[nodiscard]] Status not_poisoned(const Status& status) const;

  Engine::State& store_;
};

}  // namespace strongroom::store
