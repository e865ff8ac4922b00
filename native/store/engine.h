// One store: its vault and witnesses from the end of a start to close().
//
// What opens it is made of it: Start (store/start/start.h), the steps of the persistence workflow. So is what is done to it
// apart from reads and writes: the classes in store/operations.
//
// Threads: steps, operations and maintenance calls come from one thread at a time. submit(), read(), scan(), status(),
// validate_before_write() may be called from any thread once open. Without `threads` everything happens in the
// caller's thread and in a fixed order, which is what the crash tests number.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "log/commit_queue.h"
#include "log/compaction.h"
#include "os/os.h"
#include "protectors/registry.h"
#include "store/authority.h"
#include "time/time_tamper.h"
#include "witnesses/tamper_file/tamper_file.h"
#include "witnesses/vault_hash/vault_hash.h"

namespace strongroom::store {

class FieldSealer;
class TokenKeys;

enum class StartupState : std::uint8_t { kColdstart, kWarmstart };

inline constexpr std::string_view kSystemPrefix = "strongroom/";

// What a file system means for a store.
struct FileSystemKind {
  std::string name;      // "ext4", "nfs"; hexadecimal for one that is not known; empty: not known at all
  bool network = false;  // others may write to it, and locks may not reach them
  bool memory = false;   // a restart of the machine empties it
  bool fuse = false;     // a program decides what a lock and a sync mean
};
[[nodiscard]] FileSystemKind file_system_kind(std::uint64_t type);

struct EngineOptions : ProtectorOptions {
  bool read_only = false;
  bool threads = true;
  bool removal = false;                    // decommission(): a vault file that is missing is no refusal
  bool allow_leftovers = false;            // decommission(): items that are not found may be left behind
  bool allow_network_file_system = false;  // COLDSTART only: else a directory on one is kInvalidOption

  // Fixed at COLDSTART. Given at a WARMSTART they must agree with what the store has, or the answer is kInvalidOption.
  std::optional<std::uint64_t> clock_tolerance_ms;
  std::optional<std::uint64_t> age_ms_max;     // kMaxAgeOff: no limit
  std::optional<std::uint64_t> window_ms_max;  // kWindowMsMin at least
  std::optional<std::array<std::uint8_t, 32>> vendor_public_key;
  // COLDSTART only; ignored later.
  SecretBytes recovery_password;  // empty: no password slot
  bool without_recovery = false;  // a hardware root without a password slot is asked for in so many words
  std::string vault_file_name = "vault.bin";

  // Asked before each step of restore(), rotate_kek() and rotate_dek(), by its name; a refusal ends the call there and
  // then, as a crash would. Steps: `begin`, `kek`, `witness`, `commit`, `file`, `settle`, `strays`; of rotate_dek() `dek`,
  // `dek-begun`, `vault`, `publish`, `witnesses`, `dek-end`, `dek-ended`.
  std::function<Status(std::string_view step)> before_step;
  // A compaction that the store began by itself failed, or could not begin. On the thread of the compaction or that of the
  // witnesses; it calls nothing of the engine.
  std::function<void(const Status& failed)> compaction_failed;

  // How far the witnesses may lag behind a `journal` commit before they are moved.
  std::uint32_t witness_interval_ms = 1000;
  std::uint32_t tamper_capacity = kTamperCapacityDefault;
  std::uint64_t reserve_bytes = std::uint64_t{1} << 20;          // log space reserved ahead; 0: none
  std::uint64_t compaction_bytes_min = std::uint64_t{16} << 20;  // no compaction below this much garbage
};

struct WitnessStatus {
  std::string name;  // "tamper-file", "secret-store", "tpm-counter", "token"
  log::Checkpoint checkpoint;
  std::uint64_t lag_generations = 0;
  std::int64_t moved_wall_ms = 0;  // 0: not in this opening
  bool failing = false;            // the last attempt to move it failed
};

// Where an auto-restore stands; kept in the vault.
struct RestoreRecord {
  bool completed = false;
  std::uint64_t generation = 0;        // of the commit that gave the store its new KEK
  std::int64_t wall_ms = 0;            // of that commit
  std::int64_t completed_wall_ms = 0;  // 0: not completed
  log::Checkpoint accepted;            // the checkpoint that its authority accepted
  std::string cause;                   // why the token did not open the root: a reason
  std::string former_serial;           // of the token before
  std::uint32_t keys_deactivated = 0;
};
// What is noted in the audit log while a restore goes on.
enum class RestoreNote : std::uint8_t { kTls, kHook };

// A way to open the DEK, as far as it may be told.
struct KeySlotStatus {
  std::uint32_t id = 0;
  SlotType type = SlotType::kSoftware;
  std::string label;  // of a password; may be empty
};
[[nodiscard]] std::vector<KeySlotStatus> key_slot_status(const PersistenceHeader& header);

struct RotationOptions {
  bool forget_field_keys = false;
  bool remove_other_passwords = false;
};

struct EngineStatus : ProtectorStatus {
  std::optional<RestoreRecord> restore;  // the newest one
  std::int64_t password_verified_ms =
      0;  // when a backup password was last proven on purpose; 0: never since one was changed or removed
  bool last_written_here =
      false;  // else this is a copy, or the files were restored or moved across file systems
  bool age_excused =
      false;  // TIME_TAMPER was older than the limit, and the TPM's counter vouched for the state
  FileSystemKind file_system;  // of the directory
  ProvisionState provision = ProvisionState::kComplete;
  StartupState startup = StartupState::kWarmstart;
  bool open = false;
  std::string instance;
  StorageId storage_id{};
  log::Checkpoint newest;
  log::Checkpoint
      permit_checkpoint;  // what a vendor's permit must name now; with a TPM it moves with the counter
  std::int64_t newest_wall_ms = 0;
  TimeStamp time_tamper;
  std::uint64_t age_ms = 0;
  std::uint64_t clock_tolerance_ms = 0;
  std::uint64_t age_ms_max = 0;
  std::uint64_t window_ms_max = 0;
  std::uint64_t waiting_ms = 0;       // how long the oldest commit has waited for a witness; 0: none does
  bool rewindable_by_vendor = false;  // else by the password, or by nobody without a password slot
  std::vector<KeySlotStatus> key_slots;
  bool continuity_unproven = false;   // opened by password after a lost root and not reanchored since
  bool tail_repaired = false;         // this opening cut a torn tail
  bool tamper_file_anew = false;      // this opening began the tamper file anew
  bool persistence_repaired = false;  // one of two copies was damaged
  bool secret_repaired = false;
  bool clock_corrected = false;       // a clock that had run ahead was put right
  bool clock_unsynchronised = false;  // COLDSTART under a clock that nothing had set
  bool poisoned = false;
  std::uint32_t key_id = 1;       // of the DEK: one more with each rotation
  bool rotation_pending = false;  // of the DEK; the next rotate_dek() goes on with it
  std::uint32_t former_field_keys = 0;
  std::uint64_t records = 0;
  std::uint64_t log_bytes = 0;
  std::uint64_t live_bytes = 0;
  SecretStoreConfig secret_store;
  std::vector<WitnessStatus> witnesses;
};

struct VerifyReport {
  log::Checkpoint snapshot;  // the checkpoint that the log's snapshot holds
  log::Checkpoint newest;
  std::uint64_t commits = 0;  // frames behind the snapshot
  std::uint64_t records = 0;
  std::uint64_t audit_entries = 0;
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

  // Commits what waits, stamps TIME_TAMPER, moves every witness, releases the lock. Idempotent. An error of a witness
  // is reported, and the store is closed all the same.
  [[nodiscard]] Status close();

  [[nodiscard]] Status submit(log::QueuedOperation operation);
  // All of them or none, in order; moved from on success.
  [[nodiscard]] Status submit_all(std::vector<log::QueuedOperation>& operations);
  [[nodiscard]] log::Completion commit_now(log::QueuedOperation operation);
  [[nodiscard]] log::CommitQueue& queue();  // for reads and scans; only while open
  [[nodiscard]] const log::EpochKeys& epoch_keys() const;

  // Whether a witness says that this store is not the one it last saw: then nothing that was validated before counts.
  [[nodiscard]] bool alarmed() const;
  // Poison, a witness that was changed from outside while open, one that could not be moved for too long, and the clock
  // against TIME_TAMPER. No I/O.
  [[nodiscard]] Status validate_before_write();
  // Moves every witness to the newest checkpoint. kWitnessNotMoved on failure.
  [[nodiscard]] Status anchor();
  [[nodiscard]] Status refresh_time_tamper();
  [[nodiscard]] Status compact();
  // System records of the layer above (the manifests' CreatedUtc); `name` is put behind "strongroom/".
  [[nodiscard]] Status set_system_record(std::string_view name, ByteView value);
  [[nodiscard]] Result<std::optional<Bytes>> get_system_record(std::string_view name);

  [[nodiscard]] EngineStatus status();

  // Seals fields of the user's own database under the present DEK, opens those of former ones too; one for each thread.
  // Made before a rotation of the DEK it goes on under what was the DEK then.
  [[nodiscard]] Result<std::unique_ptr<FieldSealer>> field_sealer();
  // The store's token as a place of managed keys; null where it has none. From any thread, once open.
  [[nodiscard]] std::shared_ptr<TokenKeys> token_keys() const;

  // For the steps of a start and the operations, which are classes of their own.
  struct State;  // engine_state.h
  [[nodiscard]] State& state() { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

// What can be told of a store without its keys and without changing anything.
struct Inspection {
  PersistenceHeader header;
  bool one_copy_damaged = false;
  bool vault_file_present = false;
  std::int64_t vault_modified_ms = 0;  // by the clock of the file system, since 1970; 0: not known
  bool tamper_file_present = false;
};
[[nodiscard]] Result<Inspection> inspect(os::Environment environment, const std::string& directory);

}  // namespace strongroom::store
