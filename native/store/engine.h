// One open store: the steps of the persistence workflow, then the vault with its witnesses, until close().
//
// The steps are called in the document's order; each answers kNotOpen when called out of turn, and a failed step
// leaves nothing changed that the next start could take for an attack:
//
//   determine_startup_state -> setup_persistence_files -> initialize_coldstart | initialize_warmstart
//     -> create_and_load_vault -> initialize_storage_identifier -> validate_vault_integrity
//     -> validate_time_tamper_age -> update_time_tamper
//
// Until update_time_tamper() a WARMSTART writes nothing at all. With `read_only`, update_time_tamper() writes nothing
// either and no lock is taken, so that a live store can be looked at.
//
// Threads: the steps and maintenance calls come from one thread at a time. submit(), read(), scan(), status(),
// validate_before_write() may be called from any thread once open. Without `threads` everything happens in the
// caller's thread and in a fixed order, which is what the crash tests number.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

#include "log/commit_queue.h"
#include "log/compaction.h"
#include "os/os.h"
#include "store/authority.h"
#include "store/persistence_file.h"
#include "store/secret_store.h"
#include "store/tamper_file.h"
#include "store/time_tamper.h"
#include "store/witness_point.h"

namespace strongroom::store {

class FieldSealer;

enum class StartupState : std::uint8_t { kColdstart, kWarmstart };

inline constexpr std::string_view kReservedPrefix = "strongroom/";

struct EngineOptions {
  std::string directory;  // absolute
  std::string instance = "default";
  // Needed at COLDSTART. At WARMSTART, when absent, the place that the software key slot names.
  std::optional<SecretStoreConfig> secret_store;
  bool read_only = false;
  bool threads = true;

  // Fixed at COLDSTART. Given at a WARMSTART they must agree with what the store has, or the answer is kInvalidOption.
  std::optional<std::uint64_t> clock_tolerance_ms;
  std::optional<std::uint64_t> age_ms_max;  // kMaxAgeOff: no limit
  std::optional<std::array<std::uint8_t, 32>> vendor_public_key;
  // COLDSTART only; ignored later.
  SecretBytes recovery_password;  // empty: no password slot
  crypto::Argon2Parameters argon2;
  std::string vault_file_name = "vault.bin";

  // How far the witnesses may lag behind a `journal` commit before they are moved.
  std::uint32_t witness_interval_ms = 1000;
  std::uint32_t tamper_capacity = kTamperCapacityDefault;
  std::uint64_t reserve_bytes = std::uint64_t{1} << 20;         // log space reserved ahead; 0: none
  std::uint64_t compaction_bytes_min = std::uint64_t{4} << 20;  // no compaction below this much garbage
};

struct WitnessStatus {
  std::string name;  // "tamper-file", "secret-store"
  log::Point point;
  std::uint64_t lag_generations = 0;
  std::int64_t moved_wall_ms = 0;  // 0: not in this opening
  bool failing = false;            // the last attempt to move it failed
};

struct EngineStatus {
  ProvisionState provision = ProvisionState::kComplete;
  StartupState startup = StartupState::kWarmstart;
  bool open = false;
  std::string instance;
  StorageId storage_id{};
  log::Point newest;
  std::int64_t newest_wall_ms = 0;
  TimeStamp time_tamper;
  std::uint64_t age_ms = 0;
  std::uint64_t clock_tolerance_ms = 0;
  std::uint64_t age_ms_max = 0;
  bool rewindable_by_vendor = false;  // else by the password, or by nobody without a password slot
  bool has_password_slot = false;
  bool continuity_unproven = false;   // opened by password after a lost root and not reanchored since
  bool tail_repaired = false;         // this opening cut a torn tail
  bool tamper_file_anew = false;      // this opening began the tamper file anew
  bool persistence_repaired = false;  // one of two copies was damaged
  bool secret_repaired = false;
  bool clock_corrected = false;  // a clock that had run ahead was put right
  bool poisoned = false;
  std::uint64_t records = 0;
  std::uint64_t log_bytes = 0;
  std::uint64_t live_bytes = 0;
  SecretStoreConfig secret_store;
  std::vector<WitnessStatus> witnesses;
};

struct VerifyReport {
  log::Point base;  // the point that the log's base holds
  log::Point newest;
  std::uint64_t commits = 0;  // frames behind the base
  std::uint64_t records = 0;
  std::uint64_t operation_entries = 0;
  std::vector<WitnessStatus> witnesses;
};

class Engine {
 public:
  // Called with the results of submitted operations; from the writer or the witness thread. Two runs of completions,
  // journal and witnessed, are each in order of submission.
  using CompletedHook = std::function<void(std::vector<log::Completion>)>;
  using ProgressHook = std::function<void(std::uint64_t done, std::uint64_t all)>;

  Engine(os::Environment environment, EngineOptions options, CompletedHook completed);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  Engine(Engine&&) = delete;
  Engine& operator=(Engine&&) = delete;
  ~Engine();  // commits what waits, and otherwise like a crash: no stamp, no last move of the witnesses

  // Which of the store's files exist decides: none, or an interrupted provisioning: COLDSTART; all: WARMSTART; only
  // tmtmp.bin missing: WARMSTART (the fallback); every other set: kPartialRestore. Changes nothing.
  [[nodiscard]] Result<StartupState> determine_startup_state();
  // Makes the directory (0700) at COLDSTART, checks owner and mode, takes the lock.
  [[nodiscard]] Status setup_persistence_files();

  // Refuses leftovers that remember more than their initial point: kPartialRestore. Part of initialize_coldstart().
  [[nodiscard]] Status validate_coldstart_secret_store();
  [[nodiscard]] Status initialize_coldstart();
  [[nodiscard]] Status initialize_warmstart();
  // In place of initialize_warmstart() when the root is lost: opens the DEK by password. kNothingToDo when the root
  // opens it after all.
  [[nodiscard]] Status initialize_recovery(ByteView password);

  [[nodiscard]] Status create_and_load_vault(const ProgressHook& progress = {});
  [[nodiscard]] Status initialize_storage_identifier();
  [[nodiscard]] Status validate_vault_integrity();
  [[nodiscard]] Status validate_time_tamper_age();
  [[nodiscard]] Status update_time_tamper();

  // In place of the last three steps. reanchor(): accepts the present state as the new truth; kNothingToDo when every
  // verdict is ok. recover(): after initialize_recovery(), a new root; continuity stays unproven. Both leave the
  // store open.
  [[nodiscard]] Status reanchor(const Proof& proof);
  [[nodiscard]] Status recover(const Proof& proof);
  // After create_and_load_vault(): removes the store with its secrets, restartable at every step.
  [[nodiscard]] Status decommission(const Proof& proof);

  // Commits what waits, stamps TIME_TAMPER, moves every witness, releases the lock. Idempotent. An error of a witness
  // is reported, and the store is closed all the same.
  [[nodiscard]] Status close();

  [[nodiscard]] Status submit(log::QueuedOperation operation);
  // All of them or none, in order; moved from on success.
  [[nodiscard]] Status submit_all(std::vector<log::QueuedOperation>& operations);
  [[nodiscard]] log::Completion commit_now(log::QueuedOperation operation);
  [[nodiscard]] log::CommitQueue& queue();  // for reads and scans; only while open
  [[nodiscard]] const log::EpochKeys& epoch_keys() const;

  // Poison, a witness that was changed from outside while open, and the clock against TIME_TAMPER. No I/O.
  [[nodiscard]] Status validate_before_write();
  // Moves every witness to the newest point. kWitnessNotMoved on failure.
  [[nodiscard]] Status anchor();
  [[nodiscard]] Status refresh_time_tamper();
  [[nodiscard]] Status compact();
  [[nodiscard]] Status change_password(ByteView current, SecretBytes next);
  [[nodiscard]] Status verify_password(ByteView password);
  // Reserved records of the layer above (the manifests' CreatedUtc); `name` is put behind "strongroom/".
  [[nodiscard]] Status set_reserved(std::string_view name, ByteView value);
  [[nodiscard]] Result<std::optional<Bytes>> get_reserved(std::string_view name);

  // Reads everything again from disk and witnesses, without changing anything; works on an open store and, with
  // `read_only`, on a closed or live one after validate_time_tamper_age().
  [[nodiscard]] Result<VerifyReport> verify(const ProgressHook& progress);
  // The operation log, oldest first, at most `count_max` newest entries.
  [[nodiscard]] Result<std::vector<OperationEntry>> operation_log(std::size_t count_max);
  [[nodiscard]] EngineStatus status();

  // Seals fields of the user's own database under the present DEK; one for each thread. In engine_keys.cc.
  [[nodiscard]] Result<std::unique_ptr<FieldSealer>> field_sealer();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// What can be told of a store without its keys and without changing anything.
struct Inspection {
  PersistenceHeader header;
  bool one_copy_damaged = false;
  bool vault_file_present = false;
  bool tamper_file_present = false;
};
[[nodiscard]] Result<Inspection> inspect(os::Environment environment, const std::string& directory);

}  // namespace strongroom::store
