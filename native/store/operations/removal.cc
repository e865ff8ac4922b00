#include "store/operations/removal.h"

#include <algorithm>

#include "store/engine_state.h"
#include "store/start/root_opening.h"
#include "store/start/validation.h"

namespace strongroom::store {
namespace {

constexpr std::array kSecretNames{SecretName::kVaultHash, SecretName::kTimeTamper, SecretName::kRootKey};

bool is_file_of_a_store(std::string_view name) {
  std::string_view stem = name;
  if (stem.ends_with(kNewSuffix)) stem.remove_suffix(kNewSuffix.size());
  return stem == kTamperFileName || stem == kPersistenceFileName || validate_vault_file_name(stem).ok();
}

}  // namespace

// Removed by a decommission that was cut.
Result<bool> Removal::root_is_gone() {
  if (store_.ring.header().state == ProvisionState::kRemovingRoot) return true;
  if (store_.ring.header().state != ProvisionState::kDecommissioning) return false;
  return store_.protector->removal().is_removed();
}

Status Removal::reach_secrets(const Status& opened, Reach& reach) {
  if (!store_.secrets.store) return opened;
  const StorageId& own = store_.ring.header().storage_id;
  const SecretName last = *store_.protector->kind().last_item;
  const bool ending = store_.ring.header().state == ProvisionState::kRemovingRoot;
  const bool has_root_key = last == SecretName::kRootKey;
  SR_ASSIGN(const ItemState marker, item_state(*store_.secrets.store, last, own));
  SR_ASSIGN(const ItemState time, item_state(*store_.secrets.store, SecretName::kTimeTamper, own));
  reach.secrets = true;
  const bool by_time = !has_root_key && time == ItemState::kOwn;
  if (marker == ItemState::kOwn || by_time || (ending && marker == ItemState::kAbsent)) return {};
  std::string what;
  for (const SecretName name : kSecretNames) {
    if (name == SecretName::kRootKey && !has_root_key) continue;
    SR_ASSIGN(const ItemState found, item_state(*store_.secrets.store, name, own));
    if (found != ItemState::kOwn) what += (what.empty() ? "" : ", ") + std::string(secret_name_text(name));
  }
  what += " of the instance '" + store_.ring.header().instance + "' in the SecretStore " +
          place_text(store_.secrets.config);
  if (marker == ItemState::kForeign) what += ", where another store has that name";
  if (marker == ItemState::kDamaged) what += ", where an item of that name is damaged";
  reach.missing.push_back(std::move(what));
  return {};
}

// With `allow_leftovers` what does not answer counts as not found.
Result<Removal::Reach> Removal::reach_items(const KeySlot& root, const Status& opened) {
  Reach reach;
  const auto look = [&](const Status& looked, std::string_view what) -> Status {
    if (looked.ok() || !store_.options.allow_leftovers) return looked;
    reach.missing.push_back(std::string(what) + " (" + looked.error().detail + ")");
    return {};
  };
  const Result<bool> reached = store_.protector->removal().reach(root, opened, reach.missing);
  reach.root = reached.ok() && *reached;
  SR_TRY(look(reached.status(), store_.protector->kind().items));
  if (store_.protector->kind().has_secrets())
    SR_TRY(look(reach_secrets(opened, reach), "what is in the SecretStore"));
  return reach;
}

Status Removal::enter_removal(ProvisionState next) {
  PersistenceHeader header_new = store_.ring.header();
  header_new.state = next;
  return store_.ring.write(*store_.directory, header_new);
}

Status Removal::decommission(const Credential& credential) {
  const Stage stage = store_.life.stage();
  if (stage < Stage::kSetUp || stage >= Stage::kOpen) {
    return {Reason::kNotOpen, "decommission begins after setup_persistence_files()"};
  }
  if (store_.life.findings().startup != StartupState::kWarmstart)
    return {Reason::kNoStore, "there is no store in " + store_.options.directory};
  if (store_.options.read_only) return {Reason::kReadOnly, "the store was opened for reading only"};
  std::optional<ParsedPersistence> candidate;
  Result<SecretBytes> opened = SecretBytes();
  if (store_.ring.dek().empty()) {  // interrupted, or the root is gone: the password alone opens what is left
    SR_ASSIGN(std::vector<ParsedPersistence> candidates, store_.ring.read(*store_.directory));
    candidate = std::move(candidates.front());
    store_.ring.planned_header() = candidate->header;
    const KeySlot* root = root_slot(store_.ring.header());
    if (root == nullptr) return {Reason::kRootUnavailable, "persistence.bin has no key slot of a root"};
    // Connects the root's store, too.
    opened = RootOpening(store_).unwrap(store_.ring.header(), *root);
    if (opened.is(Reason::kLocked)) return opened.status();
    const bool unreachable = !opened.ok() && error_info(opened.error().reason).retryable;
    if (unreachable && !store_.options.allow_leftovers) return opened.status();
  }
  const KeySlot* root = root_slot(store_.ring.header());
  if (root == nullptr) return {Reason::kRootUnavailable, "persistence.bin has no key slot of a root"};
  SR_ASSIGN(const Reach reach, reach_items(*root, opened.status()));
  left_behind_ = reach.missing;
  if (!reach.missing.empty() && !store_.options.allow_leftovers) {
    std::string names;
    for (const std::string& name : reach.missing) names += (names.empty() ? "" : "; ") + name;
    return {Reason::kItemsMissing, "not found: " + names};
  }
  if (candidate) {
    if (!opened.ok()) {
      SR_ASSIGN(const bool gone, root_is_gone());
      if (gone) {  // and so nothing is left that a credential could protect
        SR_TRY(remove_items(reach));
        return remove_persistence();
      }
    }
    SR_ASSIGN(SecretBytes dek, opened.ok()
                                   ? std::move(opened)
                                   : open_by_password(store_.ring.header(), credential.password.view()));
    SR_TRY(RootOpening(store_).adopt(*candidate, std::move(dek)));
  }
  const bool resumed = is_being_removed(store_.ring.header().state);
  // The checkpoint may be gone with the vault. That the removal was begun is authentic; its permit must be this store's still.
  const log::Checkpoint checkpoint =
      resumed && store_.ring.core().authority.vendor_public_key
          ? permit_checkpoint(credential.permit)
          : Validation(store_).authority_checkpoint(store_.vault.loaded.newest);
  SR_TRY(check_authority(credential, Purpose::kDecommission, store_.ring.core().authority,
                         store_.ring.header(), checkpoint));

  const std::string vault = store_.ring.core().vault_file_name;
  if (!resumed) SR_TRY(enter_removal(ProvisionState::kDecommissioning));
  // persistence.bin is last: until it is gone, the act can be repeated and completed.
  store_.vault.file.reset();
  for (const std::string& name : {vault, vault + std::string(kNewSuffix), std::string(kTamperFileName),
                                  std::string(kTamperFileName) + std::string(kNewSuffix)}) {
    SR_TRY(store_.directory->remove(name));
  }
  SR_TRY(store_.directory->sync());
  SR_TRY(remove_items(reach));
  return remove_persistence();
}

// Another store's item of the same name stays.
Status Removal::remove_own(SecretName name) {
  SR_ASSIGN(const ItemState found, item_state(*store_.secrets.store, name, store_.ring.header().storage_id));
  return found == ItemState::kForeign ? Status() : store_.secrets.store->remove(name);
}

Status Removal::remove_items(const Reach& reach) {
  ProtectorRemoval& removal = store_.protector->removal();
  const std::optional<SecretName> last = store_.protector->kind().last_item;
  if (reach.secrets) {
    for (const SecretName name : kSecretNames)
      if (name != last) SR_TRY(remove_own(name));
  }
  // A root that is removed with the SecretStore's items, or is out of reach, does not tell by its absence that it was removed.
  if ((last || !reach.root) && store_.ring.header().state != ProvisionState::kRemovingRoot)
    SR_TRY(enter_removal(ProvisionState::kRemovingRoot));
  if (reach.root) SR_TRY(removal.remove_witness());
  if (reach.secrets) SR_TRY(remove_own(*last));
  return reach.root ? removal.remove_root() : Status();
}

Status Removal::remove_persistence() {
  if (store_.secrets.store) {
    Status removed = store_.secrets.store->remove_lock();
    if (!removed.ok() && !store_.options.allow_leftovers) return removed;
  }
  SR_TRY(store_.directory->remove(std::string(kPersistenceFileName) + std::string(kNewSuffix)));
  SR_TRY(store_.directory->remove(kPersistenceFileName));
  SR_TRY(store_.directory->sync());
  store_.locks.release();
  store_.life.reached(Stage::kClosed);
  return {};
}

Result<std::vector<Leftover>> Removal::find_leftovers() {
  const EngineOptions& options = store_.options;
  if (store_.life.stage() != Stage::kNew)
    return Status(Reason::kNotOpen, "find_leftovers() takes the place of the steps of a start");
  std::vector<Leftover> found;
  store_.ring.planned_header().instance = options.instance;
  Result<std::shared_ptr<os::Directory>> directory =
      store_.environment.files.open_directory(options.directory, os::DirectoryMode::kExisting);
  if (directory.ok()) {
    store_.directory = *std::move(directory);
    const Result<std::vector<ParsedPersistence>> parsed = store_.ring.read(*store_.directory);
    if (parsed.ok() && parsed->front().header.state != ProvisionState::kProvisioning)
      return Status(Reason::kStoreExists,
                    "the persistence.bin in " + options.directory +
                        " names who may remove its store, so nothing here is left over");
    if (!parsed.ok() && !parsed.is(Reason::kNotFound) && !parsed.is(Reason::kPersistenceTampered))
      return parsed.status();
    SR_ASSIGN(const std::vector<std::string> names, store_.directory->list());
    for (const std::string& name : names)
      if (is_file_of_a_store(name)) found.push_back({name, options.directory, std::nullopt});
  } else if (!directory.is(Reason::kNotFound)) {
    return directory.status();
  }

  if (options.secret_store) {
    store_.secrets.config = *options.secret_store;
    if (store_.secrets.config.type == SecretStoreType::kFile) {
      // An item that is absent because its directory is not mounted must not pass for one that is gone.
      SR_TRY(store_.environment.files
                 .open_directory(store_.secrets.config.directory, os::DirectoryMode::kExisting)
                 .status());
    }
    SR_ASSIGN(store_.secrets.store,
              open_secret_store(store_.environment, store_.secrets.config, options.instance));
    SR_TRY(add_leftovers(*store_.secrets.store, "the SecretStore " + place_text(store_.secrets.config),
                         kSecretNames, found));
  }
  store_.use_protector(kind_of(options.protector.value_or(ProtectorType::kSoftware)));
  SR_TRY(store_.protector->removal().find_leftovers(found));
  return found;
}

// A store that is open holds one of these.
Status Removal::lock_leftovers(const std::vector<Leftover>& found) {
  if (store_.directory) SR_TRY(store_.locks.take_directory(*store_.directory));
  if (store_.secrets.store) SR_TRY(store_.locks.take_instance(*store_.secrets.store));
  std::vector<StorageId> ids;
  for (const Leftover& item : found)
    if (item.storage_id && std::find(ids.begin(), ids.end(), *item.storage_id) == ids.end())
      ids.push_back(*item.storage_id);
  return store_.locks.take_all(ids, store_.protector->kind());
}

Status Removal::remove_leftovers() {
  if (store_.options.read_only) return {Reason::kReadOnly, "the store was opened for reading only"};
  Status removed = remove_found();
  store_.locks.release();
  return removed;
}

Status Removal::remove_found() {
  SR_ASSIGN(const std::vector<Leftover> found, find_leftovers());
  if (found.empty()) {
    return {Reason::kNothingToDo, "nothing is left of a store with the instance name '" +
                                      store_.options.instance + "' in the places that the options name"};
  }
  SR_TRY(lock_leftovers(found));
  // What was found without the locks may be another process's work by now.
  SR_ASSIGN(const std::vector<Leftover> still, find_leftovers());
  const auto is_same = [](const Leftover& one, const Leftover& other) {
    return one.name == other.name && one.place == other.place && one.storage_id == other.storage_id;
  };
  if (!std::equal(found.begin(), found.end(), still.begin(), still.end(), is_same)) {
    return {Reason::kLocked,
            "another process changed what is left of the store while it was looked at; try again"};
  }
  SR_TRY(store_.protector->removal().remove_leftovers(found));
  if (store_.secrets.store) {
    for (const SecretName name : kSecretNames) SR_TRY(store_.secrets.store->remove(name));
    SR_TRY(store_.secrets.store->remove_lock());
  }
  if (store_.directory) {
    for (const Leftover& item : found)
      if (item.place == store_.options.directory && item.name != kPersistenceFileName)
        SR_TRY(store_.directory->remove(item.name));
    SR_TRY(store_.directory->remove(kPersistenceFileName));
    SR_TRY(store_.directory->sync());
  }
  store_.life.reached(Stage::kClosed);
  return {};
}

}  // namespace strongroom::store
