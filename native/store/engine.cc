#include "store/engine.h"

#include <algorithm>

#include "base/cancellation.h"
#include "base/duration.h"
#include "base/limits.h"
#include "store/engine_state.h"
#include "store/operations/restoration.h"

namespace strongroom::store {
namespace {

enum FileBits : std::uint8_t { kHasPersistence = 1, kHasVault = 2, kHasTamper = 4 };

}  // namespace

Bytes encode_reanchor_record(const ReanchorRecord& record) {
  Bytes out;
  ByteWriter writer(out);
  writer.number(record.checkpoint.generation);
  writer.bytes(record.checkpoint.head);
  writer.varint(record.used_checkpoints.size());
  for (const UsedCheckpoint& checkpoint : record.used_checkpoints) writer.bytes(checkpoint);
  return out;
}

std::optional<ReanchorRecord> parse_reanchor_record(ByteView bytes) {
  ByteReader reader(bytes);
  ReanchorRecord record;
  record.checkpoint.generation = reader.number<std::uint64_t>();
  record.checkpoint.head = reader.array<32>();
  const std::uint64_t count = reader.varint();
  for (std::uint64_t i = 0; i < count && reader.ok(); ++i)
    record.used_checkpoints.push_back(reader.array<16>());
  if (!reader.done() || count > kUsedCheckpointsMax + 1) return std::nullopt;
  return record;
}

Bytes encode_continuity_record(const log::Checkpoint& accepted) {
  Bytes out;
  ByteWriter writer(out);
  writer.number(accepted.generation);
  writer.bytes(accepted.head);
  return out;
}

std::optional<log::Checkpoint> parse_continuity_record(ByteView bytes) {
  ByteReader reader(bytes);
  log::Checkpoint checkpoint;
  checkpoint.generation = reader.number<std::uint64_t>();
  checkpoint.head = reader.array<32>();
  return reader.done() ? std::optional(checkpoint) : std::nullopt;
}

Engine::Engine(os::Environment environment, EngineOptions options, CompletedHook completed)
    : state_(std::make_unique<State>(environment, std::move(options), std::move(completed))) {}

Engine::~Engine() {
  if (state_->stage != State::Stage::kClosed) {
    const MutexLock maintenance(state_->compactor.mutex());
    state_->stop_threads();
    state_->remove_what_was_made();
  }
  state_->vault.close();  // the queue before what its hooks refer to
}

Status Engine::State::require(Stage stage_wanted) const {
  if (stage == stage_wanted) return {};
  if (stage == Stage::kClosed) return {Reason::kClosed, "the store was closed"};
  if (stage == Stage::kOpen) return {Reason::kAlreadyOpen, "the store is open"};
  return {Reason::kNotOpen, "a step was called out of order"};
}

std::uint8_t Engine::State::present_files(const std::vector<std::string>& names) const {
  std::uint8_t present = 0;
  for (const std::string& name : names) {
    if (name == kPersistenceFileName) present |= kHasPersistence;
    if (name == kTamperFileName) present |= kHasTamper;
    if (!name.ends_with(kNewSuffix) && validate_vault_file_name(name).ok()) present |= kHasVault;
  }
  return present;
}

Result<StartupState> Engine::determine_startup_state() {
  State& state = *state_;
  if (state.stage != State::Stage::kNew && state.stage != State::Stage::kDetermined) {
    return state.require(State::Stage::kNew);
  }
  Result<std::shared_ptr<os::Directory>> directory =
      state.environment.files.open_directory(state.options.directory, os::DirectoryMode::kExisting);
  if (directory.is(Reason::kNotFound)) {
    if (state.options.read_only)
      return Status(Reason::kNoStore, "there is no store in " + state.options.directory);
    state.startup = StartupState::kColdstart;
    state.stage = State::Stage::kDetermined;
    return state.startup;
  }
  if (!directory.ok()) return directory.status();
  state.directory = *std::move(directory);
  // stat() refuses links and foreign files by name; list() would pass over them.
  for (const std::string_view name :
       {kPersistenceFileName, std::string_view(state.options.vault_file_name), kTamperFileName}) {
    SR_TRY(state.directory->stat(name).status());
  }
  SR_ASSIGN(const std::vector<std::string> names, state.directory->list());
  const std::uint8_t present = state.present_files(names);
  state.startup = StartupState::kWarmstart;
  if (present == 0) {
    if (state.options.read_only)
      return Status(Reason::kNoStore, "there is no store in " + state.options.directory);
    state.startup = StartupState::kColdstart;
  } else if ((present & kHasPersistence) == 0) {
    return Status(Reason::kPartialRestore,
                  "persistence.bin is missing, and other files of the store are there");
  } else {
    const Result<std::vector<ParsedPersistence>> parsed = state.ring.read(*state.directory);
    if (parsed.ok() && parsed->front().header.state == ProvisionState::kProvisioning) {
      if (state.options.read_only) {
        return Status(Reason::kNoStore,
                      "the COLDSTART of the store in " + state.options.directory + " was not completed");
      }
      state.startup = StartupState::kColdstart;
    } else if ((present & kHasVault) == 0 && !state.options.removal &&
               !(parsed.ok() && is_being_removed(parsed->front().header.state))) {
      return Status(Reason::kPartialRestore, "the vault file is missing, and persistence.bin is there");
    }
  }
  state.stage = State::Stage::kDetermined;
  return state.startup;
}

Status Engine::setup_persistence_files() {
  State& state = *state_;
  SR_TRY(state.require(State::Stage::kDetermined));
  // Also when it is there already: a process that was killed may have made it and not its name durable.
  if (state.startup == StartupState::kColdstart) {
    state.directory_made = !state.directory;
    SR_ASSIGN(state.directory,
              state.environment.files.open_directory(state.options.directory, os::DirectoryMode::kCreate));
  }
  if (!state.options.read_only) {
    SR_TRY(state.locks.take_directory(*state.directory));
    // What was determined without the lock may have changed under the hands of the process that had it.
    SR_TRY(determine_startup_state().status());
  }
  if (const Result<os::FileSystemInfo> found = state.directory->file_system(); found.ok())
    state.file_system = file_system_kind(found->type);
  if (state.file_system.network && state.startup == StartupState::kColdstart &&
      !state.options.allow_network_file_system) {
    return {Reason::kInvalidOption, "allowNetworkFileSystem: " + state.options.directory +
                                        " is on a network file system (" + state.file_system.name +
                                        "), where two machines could write to one store at a time"};
  }
  state.stage = State::Stage::kSetUp;
  return {};
}

// Of another store, or of this one behind its initial checkpoint.
Status Engine::State::refuse_leftover_items(const std::optional<StorageId>& planned) {
  for (const SecretName name : {SecretName::kVaultHash, SecretName::kTimeTamper, SecretName::kRootKey}) {
    SR_ASSIGN(const std::optional<Secret> present, secrets->load(name));
    if (!present) continue;
    const bool ours = planned && present->storage_id == *planned;
    const bool initial = name != SecretName::kVaultHash || peek_generation(present->value.view()) == 0;
    if (!ours || !initial) {
      return {Reason::kPartialRestore, "the SecretStore remembers a store with the instance name '" +
                                           options.instance + "' (" + std::string(secret_name_text(name)) +
                                           "), and its files are not in " + options.directory};
    }
  }
  return {};
}

Status Engine::validate_coldstart_secret_store() {
  State& state = *state_;
  SR_TRY(state.require(State::Stage::kSetUp));
  const ProtectorKind& kind = kind_of(state.options.protector.value_or(ProtectorType::kSoftware));
  if (!kind.has_secrets() && state.options.secret_store)
    return {Reason::kInvalidOption, "secretStore: protector '" + std::string(kind.name) + "' has none"};
  if (kind.has_secrets() && !state.secrets) {
    if (!state.options.secret_store) return {Reason::kInvalidOption, "secretStore: needed at COLDSTART"};
    state.secret_config = *state.options.secret_store;
    state.secrets_directory_made =
        state.secret_config.type == SecretStoreType::kFile &&
        state.environment.files.open_directory(state.secret_config.directory, os::DirectoryMode::kExisting)
            .is(Reason::kNotFound);
    SR_ASSIGN(state.secrets, open_secret_store(state.environment, state.secret_config, state.options.instance,
                                               os::DirectoryMode::kCreate));
  }
  std::optional<StorageId> planned;
  Result<std::vector<ParsedPersistence>> parsed = state.ring.read(*state.directory);
  if (parsed.ok()) {
    planned = parsed->front().header.storage_id;
    if (parsed->front().header.instance != state.options.instance) {
      return {Reason::kInvalidOption, "instance: the interrupted COLDSTART had the instance name '" +
                                          parsed->front().header.instance + "'"};
    }
  } else if (!parsed.is(Reason::kNotFound)) {
    return parsed.status();
  }
  // What is left of another store is the better answer than the lock that this store may hold.
  Status locked;
  if (planned) {
    locked = state.lock_shared(*planned, kind);
  } else if (state.secrets) {
    locked = state.locks.take_instance(*state.secrets);
  }
  if (!planned && locked.is(Reason::kLocked)) {
    locked = Status(Reason::kLocked,
                    "another store with the instance name '" + state.options.instance + "' is being made (" +
                        locked.error().detail + ")",
                    locked.error().system_error);
  }
  if (!kind.has_secrets()) SR_TRY(locked);
  state.use_protector(kind);
  SR_TRY(state.protector->refuse_leftovers(parsed.ok() ? &parsed->front() : nullptr));
  if (SecretStore* const device = state.token_store()) {
    SR_ASSIGN(const std::optional<Secret> present, device->load(SecretName::kVaultHash));
    if (present &&
        !(planned && present->storage_id == *planned && peek_generation(present->value.view()) == 0)) {
      return {Reason::kPartialRestore, "the token remembers a store with the instance name '" +
                                           state.options.instance + "', and its files are not in " +
                                           state.options.directory};
    }
  }
  if (state.secrets) {
    SR_TRY(state.refuse_leftover_items(planned));
    SR_TRY(locked);
    SR_TRY(state.secrets->try_write());
  }
  if (planned) state.ring.planned_header().storage_id = *planned;
  TokenKek* const kek = state.protector->token_kek();
  return kek != nullptr && planned ? kek->remove_all_but({}) : Status();
}

Status Engine::initialize_coldstart() {
  State& state = *state_;
  SR_TRY(state.require(State::Stage::kSetUp));
  if (state.startup != StartupState::kColdstart)
    return {Reason::kStoreExists, "the directory holds a store already"};
  const EngineOptions& options = state.options;
  SR_TRY(check_first_clock(read_clock(state.environment.clock)));
  state.clock_unsynchronised = state.environment.clock.unsynchronised();
  if (const Status name = validate_vault_file_name(options.vault_file_name); !name.ok()) {
    return {Reason::kInvalidOption, "vaultFileName: " + name.error().detail};
  }
  if (options.window_ms_max && *options.window_ms_max < kWindowMsMin)
    return {Reason::kInvalidOption, "windowMaxMs: at least 60,000 ms"};
  if (options.recovery_password.size() > limits::kPasswordBytesMax) {
    return {Reason::kInvalidOption, "recovery.password: longer than 4,096 bytes"};
  }
  if (!crypto::acceptable(options.argon2))
    return {Reason::kInvalidOption, "recovery.kdf: outside the permitted range"};
  const ProtectorKind& kind = kind_of(options.protector.value_or(ProtectorType::kSoftware));
  if (kind.needs_recovery_choice && options.recovery_password.empty() && !options.without_recovery) {
    return {Reason::kInvalidOption, "recovery: protector '" + std::string(kind.name) +
                                        "' needs a backup password, or `recovery: 'none'` in so many words"};
  }
  SR_TRY(validate_coldstart_secret_store());

  const Uncancellable writes;
  PersistenceHeader& header = state.ring.planned_header();
  if (all_zero(header.storage_id)) header.storage_id = crypto::random_array<16>();
  SR_TRY(state.lock_shared(header.storage_id, kind));
  header.state = ProvisionState::kProvisioning;
  header.instance = options.instance;
  CoreData& core = state.ring.planned_core();
  core.vault_file_name = options.vault_file_name;
  core.vault_salt = crypto::random_array<32>();
  if (options.clock_tolerance_ms) core.clock_tolerance_ms = *options.clock_tolerance_ms;
  if (options.age_ms_max) core.age_ms_max = *options.age_ms_max;
  if (options.window_ms_max) core.window_ms_max = *options.window_ms_max;
  core.authority.vendor_public_key = options.vendor_public_key;

  state.ring.draw_dek();
  SR_TRY(state.protector->plan());
  if (!options.recovery_password.empty()) {
    const PasswordParameters parameters{crypto::random_array<16>(), options.argon2};
    SR_ASSIGN(const SecretBytes kek, password_kek(options.recovery_password.view(), parameters));
    header.slots.push_back(wrap_password_slot(state.headers.next_slot_id(), parameters, kek.view(),
                                              state.ring.dek().view(), header));
  }

  // Provisioning order: persistence.bin first, so that everything after it is known to belong to this attempt.
  SR_TRY(state.ring.write(*state.directory, header));
  state.make_witnesses(header.key_id);
  const log::Checkpoint genesis{0, log::genesis_head(header.storage_id, core.vault_salt)};
  const TimeStamp stamp =
      first_stamp(read_clock(state.environment.clock), wall_clock(state.environment.clock));
  state.time.begin(stamp);
  state.witnesses->audit().begin(AuditCheckpoint{0, genesis.head, {}});
  SR_TRY(state.protector->provision());
  // What remembers the genesis, so that a COLDSTART elsewhere finds it.
  const VaultHash first{genesis, stamp.wall_ms, {}};
  for (const std::unique_ptr<Witness>& witness : state.witnesses->each())
    SR_TRY(witness->begin(first, stamp));
  state.stage = State::Stage::kRootOpen;
  return {};
}

Status Engine::State::create_vault() {
  const log::Checkpoint genesis{0, log::genesis_head(ring.header().storage_id, ring.core().vault_salt)};
  vault.make_epoch_keys(ring);
  const std::string fresh = ring.core().vault_file_name + std::string(kNewSuffix);
  SR_TRY(directory->remove(fresh));
  SR_ASSIGN(vault.file, directory->open(fresh, os::OpenMode::kCreate));
  constexpr std::uint32_t kFirstEpoch = 1;
  log::SnapshotWriter snapshot(*vault.file, *vault.epoch_keys, ring.header().key_id, kFirstEpoch);
  log::SnapshotInfo info;
  info.checkpoint = genesis;
  SR_TRY(snapshot.begin(info));
  SR_ASSIGN(const std::uint64_t offset, snapshot.finish());
  SR_TRY(vault.file->sync());
  SR_TRY(directory->replace(fresh, ring.core().vault_file_name));
  SR_TRY(directory->sync());
  vault.loaded.newest = vault.loaded.snapshot = genesis;
  vault.loaded.epoch_highest = kFirstEpoch;
  vault.loaded.end_offset = offset;
  vault.loaded.witnessed.push_back(genesis);
  witnesses->adopt(evidence, vault.loaded.witnessed);
  return {};
}

Status Engine::create_and_load_vault(const ProgressHook& progress) {
  State& state = *state_;
  SR_TRY(state.require(State::Stage::kRootOpen));
  if (state.startup == StartupState::kColdstart) {
    SR_TRY(state.create_vault());
  } else {
    constexpr int kLooksMax = 20;
    for (int look = 1;; ++look) {
      SR_TRY(state.witnesses->observe(state.evidence));
      SR_TRY(state.unless_changed(state.load_log(progress)));
      if (!state.options.read_only || state.counter == nullptr || look == kLooksMax) break;
      SR_ASSIGN(const bool consistent, state.looks_consistent());
      if (consistent) break;
      state.evidence = Evidence();
      state.vault.index.clear();
    }
  }
  state.stage = State::Stage::kVaultLoaded;
  return {};
}

Status Engine::initialize_storage_identifier() {
  State& state = *state_;
  SR_TRY(state.require(State::Stage::kVaultLoaded));
  if (state.startup == StartupState::kColdstart) {
    // The first commit. It names the persistence.bin that will complete the provisioning; the file itself is last.
    PersistenceHeader complete = state.ring.header();
    complete.state = ProvisionState::kComplete;
    SystemRecordChanges changes;
    changes.put(kStorageIdKey, state.ring.header().storage_id);
    SR_ASSIGN(KeyRing::Change completion, state.headers.plan(std::move(complete), changes));
    std::optional<AnchorRecord> anchor;
    if (state.counter != nullptr) {
      anchor = state.anchors.first(state.sealed_root().at_most(),
                                   first_extend_value(state.ring.core().extend_secret.view()));
      changes.put(kAnchorKey, encode_anchor_record(*anchor));
    }
    SR_TRY(state.of_start(state.begin_writing(log::CommitKind::kOpen, changes, *state.time.newest())));
    if (anchor) {
      const AuditCheckpoint first = state.witnesses->audit().newest();
      const log::Checkpoint checkpoint{first.generation, first.head};
      state.counter->start_from(*anchor, checkpoint, CounterWitness::Reached::kByTpm, checkpoint);
    }
    state.ring.begin(std::move(completion));
  } else {
    SR_ASSIGN(const std::optional<Bytes> stored, state.vault.record(kStorageIdKey));
    if (!stored || !equal(*stored, state.ring.header().storage_id)) {
      return {Reason::kVaultTampered, "the vault's storage id is missing or differs from persistence.bin"};
    }
  }
  state.stage = State::Stage::kIdentified;
  return {};
}

Status Engine::validate_vault_integrity() {
  State& state = *state_;
  SR_TRY(state.require(State::Stage::kIdentified));
  if (state.startup == StartupState::kWarmstart) {
    SR_TRY(state.unless_changed(state.verdict.status));
    SR_TRY(state.unless_changed(state.check_persistence_record()));
    if (is_restore_pending(state.vault)) {
      return {Reason::kRestoreRequired, "a restore of this store was begun and is not completed"};
    }
  }
  state.stage = State::Stage::kIntegrityValid;
  return {};
}

Status Engine::validate_time_tamper_age() {
  State& state = *state_;
  SR_TRY(state.require(State::Stage::kIntegrityValid));
  if (state.startup == StartupState::kWarmstart) {
    SR_TRY(state.find_stamp());
    const Now now = read_clock(state.environment.clock);
    SR_TRY(state.check_time(now));
    const TimeStamp stamp = *state.time.newest();
    const std::uint64_t age =
        std::min(age_ms(stamp, now), age_ms(state.evidence.stamp().value_or(stamp), now));
    state.age_excused = age > state.ring.core().age_ms_max && prove_freshness(*state.witnesses);
    if (age > state.ring.core().age_ms_max && !state.age_excused) {
      return {Reason::kStateStale, "the newest stamp is " + duration_text(age) + " old; the limit is " +
                                       limit_text(state.ring.core().age_ms_max)};
    }
    // Behind what the stamp claimed, but not behind what it could explain: the clock had run ahead and was put right.
    const auto slack = static_cast<std::int64_t>(state.ring.core().clock_tolerance_ms);
    const std::int64_t claimed = time_floor_ms(stamp, now) + static_cast<std::int64_t>(stamp.jump_ms);
    state.clock_corrected = now.wall_ms + slack < claimed;
  }
  state.stage = State::Stage::kTimeValid;
  return {};
}

Status Engine::update_time_tamper() {
  State& state = *state_;
  SR_TRY(state.require(State::Stage::kTimeValid));
  if (state.options.read_only) {
    state.make_queue();
    state.stage = State::Stage::kOpen;
    return {};
  }
  if (state.startup == StartupState::kColdstart) {
    // Where no witness would confirm a vault without it, the tamper file comes before the completion.
    if (!confirm_alone(*state.witnesses)) SR_TRY(state.witnesses->try_move());
    SR_TRY(state.headers.settled().status());
    return state.of_start(state.finish_opening(Foreign::kRefuse));
  }
  SR_TRY(state.cut_tail());
  SystemRecordChanges changes;
  state.ring.put_done(changes);
  const log::CommitKind kind =
      state.verdict.tamper_file_anew ? log::CommitKind::kTamperFileAnew : log::CommitKind::kOpen;
  SR_TRY(state.of_start(state.begin_writing(kind, changes, state.time.next())));
  state.tamper_file_anew = state.verdict.tamper_file_anew;
  // Which KEK the store has was just committed; others of it are what an interrupted rotation left.
  if (TokenKek* const kek = state.protector->token_kek())
    kek->remove_strays().ignore("the next start tries again");
  return state.of_start(state.finish_opening(Foreign::kRefuse));
}

Status Engine::close() {
  State& state = *state_;
  const MutexLock maintenance(state.compactor.mutex());
  if (state.stage == State::Stage::kClosed) return {};
  const bool was_open = state.stage == State::Stage::kOpen && !state.options.read_only;
  state.stage = State::Stage::kClosed;
  Status first;
  const auto keep = [&first](const Status& status) {
    if (first.ok() && !status.ok()) first = status;
  };
  state.stop_threads();
  if (was_open) {
    state.mover.settle_waiting();
    Status committed = state.vault.writer->poisoned();
    if (committed.ok()) {
      state.time.force(state.time.next());
      if (state.counter != nullptr)
        keep(state.anchors.anchor(log::CommitKind::kClose, AnchorKeeper::Which::kAlways));
      // Without a TPM, or with one that does not answer.
      if (state.vault.newest_kind != log::CommitKind::kClose) {
        committed = state.vault.commit(log::CommitKind::kClose);
        if (committed.ok()) keep(state.witnesses->move(Witnesses::Which::kAll));
      }
    }
    keep(committed);
    if (state.vault.writer->poisoned().ok()) keep(state.vault.writer->finish());
    keep(state.protector->shut_down());
  }
  if (state.protector) state.protector->forget_secrets();
  state.vault.close();
  state.locks.release();
  state.ring.close();
  return first;
}

}  // namespace strongroom::store
