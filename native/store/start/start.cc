#include "store/start/start.h"

#include "store/engine_state.h"
#include "store/operations/relocation.h"
#include "store/operations/restoration.h"
#include "store/start/cold_start.h"
#include "store/start/first_writing.h"
#include "store/start/root_opening.h"
#include "store/start/validation.h"
#include "store/start/vault_reading.h"

namespace strongroom::store {
namespace {

enum FileBits : std::uint8_t { kHasPersistence = 1, kHasVault = 2, kHasTamper = 4 };

std::uint8_t present_files(const std::vector<std::string>& names) {
  std::uint8_t present = 0;
  for (const std::string& name : names) {
    if (name == kPersistenceFileName) present |= kHasPersistence;
    if (name == kTamperFileName) present |= kHasTamper;
    if (!name.ends_with(kNewSuffix) && validate_vault_file_name(name).ok()) present |= kHasVault;
  }
  return present;
}

Status no_store_in(const std::string& directory) {
  return {Reason::kNoStore, "there is no store in " + directory};
}

}  // namespace

bool Start::is_coldstart() const { return store_.life.findings().startup == StartupState::kColdstart; }

// A start that failed can be repeated whether or not its commit is durable.
Status Start::not_poisoned(const Status& status) const {
  return status.is(Reason::kPoisoned) ? store_.vault.writer->poison_cause() : status;
}

Result<StartupState> Start::determine_startup_state() {
  const Stage stage = store_.life.stage();
  if (stage != Stage::kNew && stage != Stage::kDetermined) return store_.life.require(Stage::kNew);
  const EngineOptions& options = store_.options;
  Result<std::shared_ptr<os::Directory>> directory =
      store_.environment.files.open_directory(options.directory, os::DirectoryMode::kExisting);
  StartupState startup = StartupState::kColdstart;
  if (directory.ok()) {
    store_.directory = *std::move(directory);
    SR_ASSIGN(startup, determine_by_files());
  } else if (!directory.is(Reason::kNotFound)) {
    return directory.status();
  } else if (options.read_only) {
    return no_store_in(options.directory);
  }
  store_.life.findings().startup = startup;
  store_.life.reached(Stage::kDetermined);
  return startup;
}

Result<StartupState> Start::determine_by_files() {
  const EngineOptions& options = store_.options;
  // stat() refuses links and foreign files by name; list() would pass over them.
  for (const std::string_view name :
       {kPersistenceFileName, std::string_view(options.vault_file_name), kTamperFileName}) {
    SR_TRY(store_.directory->stat(name).status());
  }
  SR_ASSIGN(const std::vector<std::string> names, store_.directory->list());
  store_.life.findings().startup = StartupState::kWarmstart;
  const std::uint8_t present = present_files(names);
  if (present == 0)
    return options.read_only ? Result<StartupState>(no_store_in(options.directory))
                             : StartupState::kColdstart;
  if ((present & kHasPersistence) == 0) {
    return Status(Reason::kPartialRestore,
                  "persistence.bin is missing, and other files of the store are there");
  }
  const Result<std::vector<ParsedPersistence>> parsed = store_.ring.read(*store_.directory);
  if (parsed.ok() && parsed->front().header.state == ProvisionState::kProvisioning) {
    if (!options.read_only) return StartupState::kColdstart;
    return Status(Reason::kNoStore,
                  "the COLDSTART of the store in " + options.directory + " was not completed");
  }
  if ((present & kHasVault) == 0 && !options.removal &&
      !(parsed.ok() && is_being_removed(parsed->front().header.state))) {
    return Status(Reason::kPartialRestore, "the vault file is missing, and persistence.bin is there");
  }
  return StartupState::kWarmstart;
}

Status Start::setup_persistence_files() {
  SR_TRY(store_.life.require(Stage::kDetermined));
  const EngineOptions& options = store_.options;
  StartFindings& findings = store_.life.findings();
  // Also when it is there already: a process that was killed may have made it and not its name durable.
  if (findings.startup == StartupState::kColdstart) {
    store_.life.opening().directory_made = !store_.directory;
    SR_ASSIGN(store_.directory,
              store_.environment.files.open_directory(options.directory, os::DirectoryMode::kCreate));
  }
  if (!options.read_only) {
    SR_TRY(store_.locks.take_directory(*store_.directory));
    // What was determined without the lock may have changed under the hands of the process that had it.
    SR_TRY(determine_startup_state().status());
  }
  FileSystemKind& file_system = findings.file_system;
  if (const Result<os::FileSystemInfo> found = store_.directory->file_system(); found.ok())
    file_system = file_system_kind(found->type);
  if (file_system.network && findings.startup == StartupState::kColdstart &&
      !options.allow_network_file_system) {
    return {Reason::kInvalidOption, "allowNetworkFileSystem: " + options.directory +
                                        " is on a network file system (" + file_system.name +
                                        "), where two machines could write to one store at a time"};
  }
  store_.life.reached(Stage::kSetUp);
  return {};
}

Status Start::validate_coldstart_secret_store() {
  SR_TRY(store_.life.require(Stage::kSetUp));
  return ColdStart(store_).validate_secret_store();
}

Status Start::initialize_coldstart() {
  SR_TRY(store_.life.require(Stage::kSetUp));
  if (!is_coldstart()) return {Reason::kStoreExists, "the directory holds a store already"};
  SR_TRY(ColdStart(store_).provision());
  store_.life.reached(Stage::kRootOpen);
  return {};
}

Status Start::initialize_warmstart() {
  SR_TRY(store_.life.require(Stage::kSetUp));
  if (is_coldstart()) return no_store_in(store_.options.directory);
  RootOpening root(store_);
  Status opened = root.open();
  // Beside a live writer: the file that was read may be one epoch behind the counter by now.
  constexpr int kLooksMax = 20;
  for (int look = 1; !opened.ok() && store_.options.read_only && look < kLooksMax; ++look) {
    const Bytes seen = store_.ring.file();
    if (!store_.ring.read(*store_.directory).ok() || store_.ring.file() == seen) break;
    opened = root.open();
  }
  SR_TRY(opened);
  store_.make_witnesses(store_.ring.header().key_id);
  store_.life.reached(Stage::kRootOpen);
  return {};
}

Status Start::initialize_recovery(ByteView password) {
  SR_TRY(store_.life.require(Stage::kSetUp));
  if (is_coldstart()) return no_store_in(store_.options.directory);
  Status as_usual = initialize_warmstart();
  if (as_usual.ok()) {
    store_.life.reached(Stage::kSetUp);
    return nothing_to_recover(store_);
  }
  if (as_usual.is(Reason::kLocked)) return as_usual;
  SR_TRY(RootOpening(store_).open_by_password(password, as_usual));
  store_.make_witnesses(store_.ring.header().key_id);
  store_.life.opening().is_recovering = true;
  store_.life.reached(Stage::kRootOpen);
  return {};
}

Status Start::create_and_load_vault(const Engine::ProgressHook& progress) {
  SR_TRY(store_.life.require(Stage::kRootOpen));
  SR_TRY(is_coldstart() ? ColdStart(store_).create_vault() : VaultReading(store_).read(progress));
  store_.life.reached(Stage::kVaultLoaded);
  return {};
}

Status Start::initialize_storage_identifier() {
  SR_TRY(store_.life.require(Stage::kVaultLoaded));
  if (is_coldstart()) {
    SR_TRY(not_poisoned(ColdStart(store_).commit_first()));
  } else {
    SR_ASSIGN(const std::optional<Bytes> stored, store_.vault.record(kStorageIdKey));
    if (!stored || !equal(*stored, store_.ring.header().storage_id))
      return {Reason::kVaultTampered, "the vault's storage id is missing or differs from persistence.bin"};
  }
  store_.life.reached(Stage::kIdentified);
  return {};
}

Status Start::validate_vault_integrity() {
  SR_TRY(store_.life.require(Stage::kIdentified));
  if (!is_coldstart()) {
    SR_TRY(store_.unless_changed(store_.life.opening().verdict.status));
    SR_TRY(store_.unless_changed(Validation(store_).persistence_record()));
    if (is_restore_pending(store_.vault))
      return {Reason::kRestoreRequired, "a restore of this store was begun and is not completed"};
  }
  store_.life.reached(Stage::kIntegrityValid);
  return {};
}

Status Start::validate_time_tamper_age() {
  SR_TRY(store_.life.require(Stage::kIntegrityValid));
  if (!is_coldstart()) {
    const Validation validation(store_);
    SR_TRY(validation.stamp());
    const Now now = read_clock(store_.environment.clock);
    SR_TRY(validation.clock(now));
    SR_TRY(validation.age(now));
  }
  store_.life.reached(Stage::kTimeValid);
  return {};
}

Status Start::update_time_tamper() {
  SR_TRY(store_.life.require(Stage::kTimeValid));
  if (store_.options.read_only) {
    store_.make_queue();
    store_.life.opened();
    return {};
  }
  if (is_coldstart()) {
    // Where no witness would confirm a vault without it, the tamper file comes before the completion.
    if (!confirm_alone(*store_.witnesses)) SR_TRY(store_.witnesses->try_move());
    SR_TRY(store_.headers.settled().status());
  } else {
    SR_TRY(commit_opening());
  }
  return not_poisoned(FirstWriting(store_).finish(Foreign::kRefuse));
}

Status Start::commit_opening() {
  FirstWriting writing(store_);
  SR_TRY(writing.cut_tail());
  SystemRecordChanges changes;
  store_.ring.put_done(changes);
  const bool recreates = store_.life.opening().verdict.tamper_file_anew;
  const log::CommitKind kind = recreates ? log::CommitKind::kTamperFileAnew : log::CommitKind::kOpen;
  SR_TRY(not_poisoned(writing.begin(kind, changes, store_.time.next())));
  store_.life.findings().tamper_file_anew = recreates;
  // Which KEK the store has was just committed; others of it are what an interrupted rotation left.
  if (TokenKek* const kek = store_.protector->token_kek())
    kek->remove_strays().ignore("the next start tries again");
  return {};
}

}  // namespace strongroom::store
