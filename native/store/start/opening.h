// The findings of a start.
#pragma once

#include "store/engine.h"
#include "witnesses/verdict.h"

namespace strongroom::store {

// What the steps of a start find and tell each other. It ends when the store is open for writing. A store that is open for
// reading keeps it: what its witnesses remember was found then.
struct Opening {
  Evidence evidence;
  Verdict verdict;
  bool is_recovering = false;  // the root is lost or refused, and a password has opened the DEK
  Status refused_root;         // why the root did not open, before authority did
  // Made by this COLDSTART, and removed again when it is refused.
  bool directory_made = false;
  bool secrets_directory_made = false;
  // Of a restore: everything is proven; of one that continues, the password too.
  bool restore_validated = false;
  bool password_proven = false;
};

// What the status reports of a start as long as the engine lives.
struct StartFindings {
  StartupState startup = StartupState::kColdstart;
  FileSystemKind file_system;
  bool persistence_damaged = false;  // one copy
  bool secret_damaged = false;       // one copy of a witness's secret
  bool clock_corrected = false;
  bool clock_unsynchronised = false;  // at COLDSTART
  bool age_excused = false;
  bool last_written_here = false;  // the directory is the one in which the store was last opened for writing
  bool tail_repaired = false;
  bool tamper_file_anew = false;
};

}  // namespace strongroom::store
