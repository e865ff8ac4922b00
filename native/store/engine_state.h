// The inside of an Engine, shared by its translation units and by nothing else.
#pragma once

#include <chrono>

#include "header/key_ring.h"
#include "protectors/pkcs11/token_kek.h"
#include "protectors/tpm/sealed_root.h"
#include "secret_store/items.h"
#include "store/anchor_keeper.h"
#include "store/compactor.h"
#include "store/engine.h"
#include "store/header_changes.h"
#include "store/store_locks.h"
#include "store/vault.h"
#include "store/witness_mover.h"
#include "time/time_keeper.h"
#include "witnesses/tamper_file/tamper_witness.h"
#include "witnesses/tpm_counter/counter_witness.h"
#include "witnesses/verdict.h"
#include "witnesses/witnesses.h"

namespace strongroom::store {

// System records of the vault.
inline constexpr std::string_view kStorageIdKey = "strongroom/storage-id";
inline constexpr std::string_view kTimeTamperKey = "strongroom/time-tamper";
inline constexpr std::string_view kReanchorKey = "strongroom/reanchor";
inline constexpr std::string_view kContinuityKey = "strongroom/continuity";
inline constexpr std::string_view kRestoreKey = "strongroom/restore";
inline constexpr std::string_view kResealKey =
    "strongroom/reseal";  // the checkpoint that its authority accepted
inline constexpr std::string_view kPasswordVerifiedKey = "strongroom/password-verified";  // i64 wall time, ms
// The directory in which the store was last opened for writing: its device and inode.
inline constexpr std::string_view kPlaceKey = "strongroom/place";

// What reanchor burnt into the history.
struct ReanchorRecord {
  log::Checkpoint checkpoint;  // that was accepted
  std::vector<UsedCheckpoint> used_checkpoints;
};
[[nodiscard]] Bytes encode_reanchor_record(const ReanchorRecord& record);
[[nodiscard]] std::optional<ReanchorRecord> parse_reanchor_record(ByteView bytes);

// What recover leaves until a reanchor: the checkpoint that its authority accepted.
[[nodiscard]] Bytes encode_continuity_record(const log::Checkpoint& accepted);
[[nodiscard]] std::optional<log::Checkpoint> parse_continuity_record(ByteView bytes);

// What a witness answered after an act that is durable whatever it answers.
[[nodiscard]] inline Status although_durable(const Status& moved) {
  if (moved.ok()) return {};
  Error error = moved.error();
  error.committed = true;
  return error;
}

struct Engine::State {
  enum class Stage : std::uint8_t {
    kNew,
    kDetermined,
    kSetUp,
    kRootOpen,
    kVaultLoaded,
    kIdentified,
    kIntegrityValid,
    kTimeValid,
    kOpen,
    kClosed,
  };

  State(os::Environment environment_in, EngineOptions options_in, CompletedHook completed_in)
      : environment(environment_in),
        options(std::move(options_in)),
        completed(std::move(completed_in)),
        locks(environment.files),
        time(environment.clock) {}

  os::Environment environment;
  EngineOptions options;
  CompletedHook completed;
  std::atomic<Stage> stage{Stage::kNew};
  StartupState startup = StartupState::kColdstart;
  bool recovering = false;

  std::shared_ptr<os::Directory> directory;
  FileSystemKind file_system;
  // Made by this COLDSTART, and removed again when it is refused.
  bool directory_made = false;
  bool secrets_directory_made = false;
  StoreLocks locks;
  SecretStoreConfig secret_config;
  std::unique_ptr<SecretStore> secrets;
  std::unique_ptr<KeyProtector> protector;  // null before its kind is known
  std::vector<std::string> left_behind;     // by a decommission

  KeyRing ring;
  bool persistence_damaged = false;  // one copy

  std::unique_ptr<Witnesses> witnesses;
  Vault vault;

  Evidence evidence;
  Verdict verdict;

  TimeKeeper time;
  bool clock_corrected = false;       // at this start
  bool clock_unsynchronised = false;  // at COLDSTART

  CounterWitness* counter = nullptr;  // of the witnesses; null without one
  Status refused_root;                // why the root did not open, before authority did
  bool age_excused = false;
  bool last_written_here = false;  // the directory is the one in which the store was last opened for writing
  bool restore_validated = false;
  bool password_proven = false;  // of a restore that continues

  HeaderChanges headers{{ring, vault, directory, protector}};
  Compactor compactor{{options, ring, vault, directory, witnesses,
                       [this](std::uint32_t key_id) { return witness_keys(key_id); }}};
  AnchorKeeper anchors{
      {environment.clock, ring, vault, headers, time, protector, witnesses, [this] { mover.anchored(); }}};
  WitnessMover mover{
      {environment.clock, options, ring, vault, headers, witnesses,
       [this] { return anchors.anchor(log::CommitKind::kAnchor, AnchorKeeper::Which::kUnlessConfirmed); },
       [this](std::vector<log::Completion> done) { completed(std::move(done)); },
       [this] { compactor.begin_if_worthwhile(); }}};
  bool tail_repaired = false;
  bool tamper_file_anew = false;

  [[nodiscard]] Status require(Stage stage_wanted) const;
  [[nodiscard]] Status accepts_writes() const;

  // Steps, shared.
  [[nodiscard]] Status open_root();
  [[nodiscard]] Status open_core(const ParsedPersistence& candidate, SecretBytes dek_in);
  [[nodiscard]] Status check_policy() const;
  [[nodiscard]] Status check_kind(const ProtectorKind& kind) const;
  void use_protector(const ProtectorKind& kind);
  [[nodiscard]] Status open_secrets_anew(const ProtectorKind& kind);
  [[nodiscard]] ProtectorContext protector_context();
  [[nodiscard]] std::uint8_t present_files(const std::vector<std::string>& names) const;
  void make_witnesses(std::uint32_t key_id);
  [[nodiscard]] log::ReadOptions watch_log(const ProgressHook& progress);
  [[nodiscard]] Status load_log(const ProgressHook& progress);
  [[nodiscard]] Status refuse_leftover_items(const std::optional<StorageId>& planned);
  [[nodiscard]] Status save_first_items(const log::Checkpoint& genesis);
  [[nodiscard]] Status create_vault();
  void make_queue();
  [[nodiscard]] Status check_persistence_record();
  [[nodiscard]] Status find_stamp();

  // From the verdicts to an open store: cut the torn tail, first commit, repairs, witnesses, threads.
  [[nodiscard]] Status try_witnesses();  // whether they can be written, before anything is
  void remove_what_was_made();           // of a COLDSTART that was refused
  [[nodiscard]] Status cut_tail();
  [[nodiscard]] Status begin_writing(log::CommitKind kind, SystemRecordChanges& changes,
                                     const TimeStamp& stamp_now);
  [[nodiscard]] Status finish_opening(Foreign foreign);
  // A start that failed can be repeated whether or not its commit is durable.
  [[nodiscard]] Status of_start(const Status& status) const {
    return status.is(Reason::kPoisoned) ? vault.writer->poison_cause() : status;
  }
  [[nodiscard]] Status repair_copies();

  void start_threads();
  void stop_threads() SR_REQUIRES(compactor.mutex());

  // Nothing for an opening that only reads.
  [[nodiscard]] Status lock_shared(const StorageId& storage_id, const ProtectorKind& kind);
  [[nodiscard]] Result<Bytes> place();  // the directory's identity: a copy has another one
  [[nodiscard]] Result<bool> is_at_recorded_place();

  [[nodiscard]] Result<SecretBytes> open_by_root(const PersistenceHeader& candidate, const KeySlot& slot);

  // engine_counter.cc
  // A read-only opening beside a live writer: whether what was read belongs together.
  [[nodiscard]] Result<bool> looks_consistent();
  [[nodiscard]] Status read_persistence_again();
  [[nodiscard]] Status check_time(const Now& now);

  [[nodiscard]] Status before_step(std::string_view step) const {
    return options.before_step ? options.before_step(step) : Status();
  }
  // engine_deks.cc
  [[nodiscard]] Witnesses::Keys witness_keys(std::uint32_t key_id);
  // Which DEK the vault file is of; then the witnesses are, too.
  [[nodiscard]] Status find_vault_key(const log::FileHeader& file);
  // A finding of a `read_only` start, unless persistence.bin was replaced meanwhile: then a writer is at work, and kLocked.
  [[nodiscard]] Status unless_changed(Status finding);

  // engine_authority.cc
  [[nodiscard]] SealedRoot& sealed_root() { return *protector->sealed_root(); }  // of a store with a counter
  // The token as a witness; null where there is none.
  [[nodiscard]] SecretStore* token_store() const { return protector ? protector->witness_store() : nullptr; }
  [[nodiscard]] log::Checkpoint authority_checkpoint(const log::Checkpoint& checkpoint) const {
    // An increment that is still to be finished counts as made, so that finishing it takes no permit's worth.
    const CounterObservation* const found = evidence.counter();
    return authority_checkpoint(
        checkpoint, (found != nullptr ? found->tpm.counter : 0) + (verdict.increment_pending ? 1 : 0));
  }
  [[nodiscard]] log::Checkpoint authority_checkpoint(const log::Checkpoint& checkpoint,
                                                     std::uint64_t counter_value) const;
  // The commit of an administrative operation with a new seal, and where the counter is lost a new counter. Leaves the
  // store open.
  [[nodiscard]] Status commit_with_new_seal(log::CommitKind kind, SystemRecordChanges& changes,
                                            const TimeStamp& stamp_now);

  [[nodiscard]] bool counter_unmoved() const {
    const CounterObservation* const found = evidence.counter();
    return found == nullptr || found->is_unmoved();
  }

  // engine_run.cc: for the status, with the ring's lock held.
  void describe_time(EngineStatus& out);
  void describe_witnesses(const AuditCheckpoint& newest, EngineStatus& out);

  // Commit hooks.
  void decorate(std::vector<log::Change>& changes);
  void on_committed(const log::CommitInfo& info);
};

}  // namespace strongroom::store
