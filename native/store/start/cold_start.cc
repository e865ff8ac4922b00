#include "store/start/cold_start.h"

#include <algorithm>

#include "base/cancellation.h"
#include "base/limits.h"
#include "log/compaction.h"
#include "store/engine_state.h"
#include "store/start/first_writing.h"

namespace strongroom::store {

Status ColdStart::check_options(const ProtectorKind& kind) const {
  const EngineOptions& options = store_.options;
  if (const Status name = validate_vault_file_name(options.vault_file_name); !name.ok())
    return {Reason::kInvalidOption, "vaultFileName: " + name.error().detail};
  if (options.window_ms_max && *options.window_ms_max < kWindowMsMin)
    return {Reason::kInvalidOption, "windowMaxMs: at least 60,000 ms"};
  if (options.recovery_password.size() > limits::kPasswordBytesMax)
    return {Reason::kInvalidOption, "recovery.password: longer than 4,096 bytes"};
  if (!crypto::acceptable(options.argon2))
    return {Reason::kInvalidOption, "recovery.kdf: outside the permitted range"};
  if (kind.needs_recovery_choice && options.recovery_password.empty() && !options.without_recovery) {
    return {Reason::kInvalidOption, "recovery: protector '" + std::string(kind.name) +
                                        "' needs a backup password, or `recovery: 'none'` in so many words"};
  }
  return {};
}

Status ColdStart::open_secrets(const ProtectorKind& kind) {
  const EngineOptions& options = store_.options;
  if (!kind.has_secrets() && options.secret_store)
    return {Reason::kInvalidOption, "secretStore: protector '" + std::string(kind.name) + "' has none"};
  if (!kind.has_secrets() || store_.secrets.store) return {};
  if (!options.secret_store) return {Reason::kInvalidOption, "secretStore: needed at COLDSTART"};
  SecretPlace& secrets = store_.secrets;
  secrets.config = *options.secret_store;
  store_.life.opening().secrets_directory_made =
      secrets.config.type == SecretStoreType::kFile &&
      store_.environment.files.open_directory(secrets.config.directory, os::DirectoryMode::kExisting)
          .is(Reason::kNotFound);
  SR_ASSIGN(secrets.store, open_secret_store(store_.environment, secrets.config, options.instance,
                                             os::DirectoryMode::kCreate));
  return {};
}

Status ColdStart::lock_planned(const std::optional<StorageId>& planned, const ProtectorKind& kind) {
  if (planned) return store_.lock_shared(*planned, kind);
  if (!store_.secrets.store) return {};
  Status locked = store_.locks.take_instance(*store_.secrets.store);
  if (!locked.is(Reason::kLocked)) return locked;
  return {Reason::kLocked,
          "another store with the instance name '" + store_.options.instance + "' is being made (" +
              locked.error().detail + ")",
          locked.error().system_error};
}

// Of another store, or of this one behind its initial checkpoint.
Status ColdStart::refuse_items(const std::optional<StorageId>& planned) {
  for (const SecretName name : {SecretName::kVaultHash, SecretName::kTimeTamper, SecretName::kRootKey}) {
    SR_ASSIGN(const std::optional<Secret> present, store_.secrets.store->load(name));
    if (!present) continue;
    const bool ours = planned && present->storage_id == *planned;
    const bool initial = name != SecretName::kVaultHash || peek_generation(present->value.view()) == 0;
    if (!ours || !initial) {
      return {Reason::kPartialRestore, "the SecretStore remembers a store with the instance name '" +
                                           store_.options.instance + "' (" +
                                           std::string(secret_name_text(name)) +
                                           "), and its files are not in " + store_.options.directory};
    }
  }
  return {};
}

Status ColdStart::refuse_token_item(const std::optional<StorageId>& planned) {
  SecretStore* const device = store_.token_store();
  if (device == nullptr) return {};
  SR_ASSIGN(const std::optional<Secret> present, device->load(SecretName::kVaultHash));
  if (!present) return {};
  const bool ours = planned && present->storage_id == *planned;
  if (ours && peek_generation(present->value.view()) == 0) return {};
  return {Reason::kPartialRestore, "the token remembers a store with the instance name '" +
                                       store_.options.instance + "', and its files are not in " +
                                       store_.options.directory};
}

Status ColdStart::validate_secret_store() {
  const ProtectorKind& kind = kind_of(store_.options.protector.value_or(ProtectorType::kSoftware));
  SR_TRY(open_secrets(kind));
  std::optional<StorageId> planned;
  Result<std::vector<ParsedPersistence>> parsed = store_.ring.read(*store_.directory);
  if (parsed.ok()) {
    planned = parsed->front().header.storage_id;
    if (parsed->front().header.instance != store_.options.instance) {
      return {Reason::kInvalidOption, "instance: the interrupted COLDSTART had the instance name '" +
                                          parsed->front().header.instance + "'"};
    }
  } else if (!parsed.is(Reason::kNotFound)) {
    return parsed.status();
  }
  // What is left of another store is the better answer than the lock that this store may hold.
  const Status locked = lock_planned(planned, kind);
  if (!kind.has_secrets()) SR_TRY(locked);
  store_.use_protector(kind);
  SR_TRY(store_.protector->refuse_leftovers(parsed.ok() ? &parsed->front() : nullptr));
  SR_TRY(refuse_token_item(planned));
  if (store_.secrets.store) {
    SR_TRY(refuse_items(planned));
    SR_TRY(locked);
    SR_TRY(store_.secrets.store->try_write());
  }
  if (planned) store_.ring.planned_header().storage_id = *planned;
  TokenKek* const kek = store_.protector->token_kek();
  return kek != nullptr && planned ? kek->remove_all_but({}) : Status();
}

Status ColdStart::plan_password_slot() {
  const EngineOptions& options = store_.options;
  if (options.recovery_password.empty()) return {};
  PersistenceHeader& header = store_.ring.planned_header();
  const PasswordParameters parameters{crypto::random_array<16>(), options.argon2};
  SR_ASSIGN(const SecretBytes kek, password_kek(options.recovery_password.view(), parameters));
  header.slots.push_back(wrap_password_slot(store_.headers.next_slot_id(), parameters, kek.view(),
                                            store_.ring.dek().view(), header));
  return {};
}

Status ColdStart::provision() {
  const EngineOptions& options = store_.options;
  os::Clock& clock = store_.environment.clock;
  SR_TRY(check_first_clock(read_clock(clock)));
  store_.life.findings().clock_unsynchronised = clock.unsynchronised();
  const ProtectorKind& kind = kind_of(options.protector.value_or(ProtectorType::kSoftware));
  SR_TRY(check_options(kind));
  SR_TRY(validate_secret_store());

  const Uncancellable writes;
  PersistenceHeader& header = store_.ring.planned_header();
  if (all_zero(header.storage_id)) header.storage_id = crypto::random_array<16>();
  SR_TRY(store_.lock_shared(header.storage_id, kind));
  header.state = ProvisionState::kProvisioning;
  header.instance = options.instance;
  CoreData& core = store_.ring.planned_core();
  core.vault_file_name = options.vault_file_name;
  core.vault_salt = crypto::random_array<32>();
  if (options.clock_tolerance_ms) core.clock_tolerance_ms = *options.clock_tolerance_ms;
  if (options.age_ms_max) core.age_ms_max = *options.age_ms_max;
  if (options.window_ms_max) core.window_ms_max = *options.window_ms_max;
  core.authority.vendor_public_key = options.vendor_public_key;

  store_.ring.draw_dek();
  SR_TRY(store_.protector->plan());
  SR_TRY(plan_password_slot());

  SR_TRY(store_.ring.write(*store_.directory, header));
  store_.make_witnesses(header.key_id);
  const log::Checkpoint genesis{0, log::genesis_head(header.storage_id, core.vault_salt)};
  const TimeStamp stamp = first_stamp(read_clock(clock), wall_clock(clock));
  store_.time.begin(stamp);
  store_.witnesses->audit().begin(AuditCheckpoint{0, genesis.head, {}});
  SR_TRY(store_.protector->provision());
  // What remembers the genesis, so that a COLDSTART elsewhere finds it.
  const VaultHash first{genesis, stamp.wall_ms, {}};
  for (const std::unique_ptr<Witness>& witness : store_.witnesses->each())
    SR_TRY(witness->begin(first, stamp));
  return {};
}

Status ColdStart::create_vault() {
  const KeyRing& ring = store_.ring;
  Vault& vault = store_.vault;
  os::Directory& directory = *store_.directory;
  const log::Checkpoint genesis{0, log::genesis_head(ring.header().storage_id, ring.core().vault_salt)};
  vault.make_epoch_keys(ring);
  const std::string fresh = ring.core().vault_file_name + std::string(kNewSuffix);
  SR_TRY(directory.remove(fresh));
  SR_ASSIGN(vault.file, directory.open(fresh, os::OpenMode::kCreate));
  constexpr std::uint32_t kFirstEpoch = 1;
  log::SnapshotWriter snapshot(*vault.file, *vault.epoch_keys, ring.header().key_id, kFirstEpoch);
  log::SnapshotInfo info;
  info.checkpoint = genesis;
  SR_TRY(snapshot.begin(info));
  SR_ASSIGN(const std::uint64_t offset, snapshot.finish());
  SR_TRY(vault.file->sync());
  SR_TRY(directory.replace(fresh, ring.core().vault_file_name));
  SR_TRY(directory.sync());
  vault.loaded.newest = vault.loaded.snapshot = genesis;
  vault.loaded.epoch_highest = kFirstEpoch;
  vault.loaded.end_offset = offset;
  vault.loaded.witnessed.push_back(genesis);
  store_.witnesses->adopt(store_.life.opening().evidence, vault.loaded.witnessed);
  return {};
}

Status ColdStart::commit_first() {
  PersistenceHeader complete = store_.ring.header();
  complete.state = ProvisionState::kComplete;
  SystemRecordChanges changes;
  changes.put(kStorageIdKey, store_.ring.header().storage_id);
  SR_ASSIGN(KeyRing::Change completion, store_.headers.plan(std::move(complete), changes));
  std::optional<AnchorRecord> anchor;
  CounterWitness* const counter = store_.counter();
  if (counter != nullptr) {
    anchor = store_.anchors.first(store_.sealed_root().at_most(),
                                  first_extend_value(store_.ring.core().extend_secret.view()));
    changes.put(kAnchorKey, encode_anchor_record(*anchor));
  }
  SR_TRY(FirstWriting(store_).begin(log::CommitKind::kOpen, changes, *store_.time.newest()));
  if (anchor) {
    const AuditCheckpoint first = store_.witnesses->audit().newest();
    const log::Checkpoint checkpoint{first.generation, first.head};
    counter->start_from(*anchor, checkpoint, CounterWitness::Reached::kByTpm, checkpoint);
  }
  store_.ring.begin(std::move(completion));
  return {};
}

void ColdStart::take_back() {
  const Opening* const opening = store_.life.opening_if_any();
  if (opening == nullptr || !(opening->directory_made || opening->secrets_directory_made)) return;
  // Without the lock the directory may be one that another process has made meanwhile.
  if (!store_.locks.has_directory()) return;
  const Result<std::vector<std::string>> names = store_.directory->list();
  const bool empty = names.ok() && std::all_of(names->begin(), names->end(),
                                               [](const std::string& name) { return name == kLockFileName; });
  if (!empty) return;
  constexpr const char* kWhy = "the refusal is what there is to report";
  os::FileSystem& files = store_.environment.files;
  if (opening->secrets_directory_made && store_.secrets.store) {
    if (store_.locks.has_instance()) store_.secrets.store->remove_lock().ignore(kWhy);
    files.remove_directory(store_.secrets.config.directory).ignore("other instances may be there by now");
  }
  if (!opening->directory_made) return;
  store_.directory->remove(kLockFileName).ignore(kWhy);
  files.remove_directory(store_.options.directory).ignore(kWhy);
}

}  // namespace strongroom::store
