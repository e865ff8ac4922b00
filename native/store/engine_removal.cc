// Removal of a store, and of what is left of a store whose files are gone.
//
// Invariants:
// - A decommission that would leave an item behind is refused before it changes anything, unless its caller permits that.
// - The files go first, the root last but for persistence.bin. So the root proves who may repeat a decommission that was cut.
// - The root's absence is believed only where persistence.bin says that it is being removed.
#include <algorithm>

#include "store/engine_state.h"

namespace strongroom::store {
namespace {

constexpr std::array kSecretNames{SecretName::kVaultHash, SecretName::kTimeTamper, SecretName::kRootKey};

bool is_file_of_a_store(std::string_view name) {
  std::string_view stem = name;
  if (stem.ends_with(kNewSuffix)) stem.remove_suffix(kNewSuffix.size());
  return stem == kTamperFileName || stem == kPersistenceFileName || validate_vault_file_name(stem).ok();
}

}  // namespace

// What of a store can be removed now.
struct Engine::State::Reach {
  bool root = false;
  bool secrets = false;
  std::vector<std::string> missing;
};

// Removed by a decommission that was cut.
Result<bool> Engine::State::root_is_gone() {
  if (ring.header().state == ProvisionState::kRemovingRoot) return true;
  if (ring.header().state != ProvisionState::kDecommissioning) return false;
  return protector->removal().is_removed();
}

Status Engine::State::reach_secrets(const Status& opened, Reach& reach) {
  if (!secrets) return opened;
  const StorageId& own = ring.header().storage_id;
  const SecretName last = *protector->kind().last_item;
  const bool ending = ring.header().state == ProvisionState::kRemovingRoot;
  const bool has_root_key = last == SecretName::kRootKey;
  SR_ASSIGN(const ItemState marker, item_state(*secrets, last, own));
  SR_ASSIGN(const ItemState time, item_state(*secrets, SecretName::kTimeTamper, own));
  reach.secrets = true;
  const bool by_time = !has_root_key && time == ItemState::kOwn;
  if (marker == ItemState::kOwn || by_time || (ending && marker == ItemState::kAbsent)) return {};
  std::string what;
  for (const SecretName name : kSecretNames) {
    if (name == SecretName::kRootKey && !has_root_key) continue;
    SR_ASSIGN(const ItemState found, item_state(*secrets, name, own));
    if (found != ItemState::kOwn) what += (what.empty() ? "" : ", ") + std::string(secret_name_text(name));
  }
  what += " of the instance '" + ring.header().instance + "' in the SecretStore " + place_text(secret_config);
  if (marker == ItemState::kForeign) what += ", where another store has that name";
  if (marker == ItemState::kDamaged) what += ", where an item of that name is damaged";
  reach.missing.push_back(std::move(what));
  return {};
}

// With `allow_leftovers` what does not answer counts as not found.
Result<Engine::State::Reach> Engine::State::reach_items(const KeySlot& root, const Status& opened) {
  Reach reach;
  const auto look = [&](const Status& looked, std::string_view what) -> Status {
    if (looked.ok() || !options.allow_leftovers) return looked;
    reach.missing.push_back(std::string(what) + " (" + looked.error().detail + ")");
    return {};
  };
  const Result<bool> reached = protector->removal().reach(root, opened, reach.missing);
  reach.root = reached.ok() && *reached;
  SR_TRY(look(reached.status(), protector->kind().items));
  if (protector->kind().has_secrets())
    SR_TRY(look(reach_secrets(opened, reach), "what is in the SecretStore"));
  return reach;
}

Status Engine::State::enter_removal(ProvisionState next) {
  PersistenceHeader header_new = ring.header();
  header_new.state = next;
  return ring.write(*directory, header_new);
}

Status Engine::decommission(const Credential& credential) {
  State& state = *state_;
  if (state.stage < State::Stage::kSetUp || state.stage >= State::Stage::kOpen) {
    return {Reason::kNotOpen, "decommission begins after setup_persistence_files()"};
  }
  if (state.startup != StartupState::kWarmstart)
    return {Reason::kNoStore, "there is no store in " + state.options.directory};
  if (state.options.read_only) return {Reason::kReadOnly, "the store was opened for reading only"};
  std::optional<ParsedPersistence> candidate;
  Result<SecretBytes> opened = SecretBytes();
  if (state.ring.dek().empty()) {  // interrupted, or the root is gone: the password alone opens what is left
    SR_ASSIGN(std::vector<ParsedPersistence> candidates, state.ring.read(*state.directory));
    candidate = std::move(candidates.front());
    state.ring.planned_header() = candidate->header;
    const KeySlot* root = root_slot(state.ring.header());
    if (root == nullptr) return {Reason::kRootUnavailable, "persistence.bin has no key slot of a root"};
    // Connects the root's store, too.
    opened = state.open_by_root(state.ring.header(), *root);
    if (opened.is(Reason::kLocked)) return opened.status();
    const bool unreachable = !opened.ok() && error_info(opened.error().reason).retryable;
    if (unreachable && !state.options.allow_leftovers) return opened.status();
  }
  const KeySlot* root = root_slot(state.ring.header());
  if (root == nullptr) return {Reason::kRootUnavailable, "persistence.bin has no key slot of a root"};
  SR_ASSIGN(const State::Reach reach, state.reach_items(*root, opened.status()));
  state.left_behind = reach.missing;
  if (!reach.missing.empty() && !state.options.allow_leftovers) {
    std::string names;
    for (const std::string& name : reach.missing) names += (names.empty() ? "" : "; ") + name;
    return {Reason::kItemsMissing, "not found: " + names};
  }
  if (candidate) {
    if (!opened.ok()) {
      SR_ASSIGN(const bool gone, state.root_is_gone());
      if (gone) {  // and so nothing is left that a credential could protect
        SR_TRY(state.remove_items(reach));
        return state.remove_persistence();
      }
    }
    SR_ASSIGN(SecretBytes dek, opened.ok()
                                   ? std::move(opened)
                                   : open_by_password(state.ring.header(), credential.password.view()));
    SR_TRY(state.open_core(*candidate, std::move(dek)));
  }
  const bool resumed = is_being_removed(state.ring.header().state);
  // The checkpoint may be gone with the vault. That the removal was begun is authentic; its permit must be this store's still.
  const log::Checkpoint checkpoint = resumed && state.ring.core().authority.vendor_public_key
                                         ? permit_checkpoint(credential.permit)
                                         : state.authority_checkpoint(state.vault.loaded.newest);
  SR_TRY(check_authority(credential, Purpose::kDecommission, state.ring.core().authority, state.ring.header(),
                         checkpoint));

  const std::string vault = state.ring.core().vault_file_name;
  if (!resumed) SR_TRY(state.enter_removal(ProvisionState::kDecommissioning));
  // persistence.bin is last: until it is gone, the act can be repeated and completed.
  state.vault.file.reset();
  for (const std::string& name : {vault, vault + std::string(kNewSuffix), std::string(kTamperFileName),
                                  std::string(kTamperFileName) + std::string(kNewSuffix)}) {
    SR_TRY(state.directory->remove(name));
  }
  SR_TRY(state.directory->sync());
  SR_TRY(state.remove_items(reach));
  return state.remove_persistence();
}

const std::vector<std::string>& Engine::left_behind() const { return state_->left_behind; }

// Another store's item of the same name stays.
Status Engine::State::remove_own(SecretName name) {
  SR_ASSIGN(const ItemState found, item_state(*secrets, name, ring.header().storage_id));
  return found == ItemState::kForeign ? Status() : secrets->remove(name);
}

Status Engine::State::remove_items(const Reach& reach) {
  ProtectorRemoval& removal = protector->removal();
  const std::optional<SecretName> last = protector->kind().last_item;
  if (reach.secrets) {
    for (const SecretName name : kSecretNames)
      if (name != last) SR_TRY(remove_own(name));
  }
  // A root that is removed with the SecretStore's items, or is out of reach, does not tell by its absence that it was removed.
  if ((last || !reach.root) && ring.header().state != ProvisionState::kRemovingRoot)
    SR_TRY(enter_removal(ProvisionState::kRemovingRoot));
  if (reach.root) SR_TRY(removal.remove_witness());
  if (reach.secrets) SR_TRY(remove_own(*last));
  return reach.root ? removal.remove_root() : Status();
}

Status Engine::State::remove_persistence() {
  if (secrets) {
    Status removed = secrets->remove_lock();
    if (!removed.ok() && !options.allow_leftovers) return removed;
  }
  SR_TRY(directory->remove(std::string(kPersistenceFileName) + std::string(kNewSuffix)));
  SR_TRY(directory->remove(kPersistenceFileName));
  SR_TRY(directory->sync());
  locks.release();
  stage = Stage::kClosed;
  return {};
}

Result<std::vector<Leftover>> Engine::find_leftovers() {
  State& state = *state_;
  const EngineOptions& options = state.options;
  if (state.stage != State::Stage::kNew)
    return Status(Reason::kNotOpen, "find_leftovers() takes the place of the steps of a start");
  std::vector<Leftover> found;
  state.ring.planned_header().instance = options.instance;
  Result<std::shared_ptr<os::Directory>> directory =
      state.environment.files.open_directory(options.directory, os::DirectoryMode::kExisting);
  if (directory.ok()) {
    state.directory = *std::move(directory);
    const Result<std::vector<ParsedPersistence>> parsed = state.ring.read(*state.directory);
    if (parsed.ok() && parsed->front().header.state != ProvisionState::kProvisioning)
      return Status(Reason::kStoreExists,
                    "the persistence.bin in " + options.directory +
                        " names who may remove its store, so nothing here is left over");
    if (!parsed.ok() && !parsed.is(Reason::kNotFound) && !parsed.is(Reason::kPersistenceTampered))
      return parsed.status();
    SR_ASSIGN(const std::vector<std::string> names, state.directory->list());
    for (const std::string& name : names)
      if (is_file_of_a_store(name)) found.push_back({name, options.directory, std::nullopt});
  } else if (!directory.is(Reason::kNotFound)) {
    return directory.status();
  }

  if (options.secret_store) {
    state.secret_config = *options.secret_store;
    if (state.secret_config.type == SecretStoreType::kFile) {
      // An item that is absent because its directory is not mounted must not pass for one that is gone.
      SR_TRY(
          state.environment.files.open_directory(state.secret_config.directory, os::DirectoryMode::kExisting)
              .status());
    }
    SR_ASSIGN(state.secrets, open_secret_store(state.environment, state.secret_config, options.instance));
    SR_TRY(add_leftovers(*state.secrets, "the SecretStore " + place_text(state.secret_config), kSecretNames,
                         found));
  }
  state.use_protector(kind_of(options.protector.value_or(ProtectorType::kSoftware)));
  SR_TRY(state.protector->removal().find_leftovers(found));
  return found;
}

// A store that is open holds one of these.
Status Engine::State::lock_leftovers(const std::vector<Leftover>& found) {
  if (directory) SR_TRY(locks.take_directory(*directory));
  if (secrets) SR_TRY(locks.take_instance(*secrets));
  std::vector<StorageId> ids;
  for (const Leftover& item : found)
    if (item.storage_id && std::find(ids.begin(), ids.end(), *item.storage_id) == ids.end())
      ids.push_back(*item.storage_id);
  return locks.take_all(ids, protector->kind());
}

Status Engine::remove_leftovers() {
  State& state = *state_;
  SR_ASSIGN(const std::vector<Leftover> found, find_leftovers());
  if (found.empty()) {
    return {Reason::kNothingToDo, "nothing is left of a store with the instance name '" +
                                      state.options.instance + "' in the places that the options name"};
  }
  SR_TRY(state.lock_leftovers(found));
  // What was found without the locks may be another process's work by now.
  SR_ASSIGN(const std::vector<Leftover> still, find_leftovers());
  const auto is_same = [](const Leftover& one, const Leftover& other) {
    return one.name == other.name && one.place == other.place && one.storage_id == other.storage_id;
  };
  if (!std::equal(found.begin(), found.end(), still.begin(), still.end(), is_same)) {
    return {Reason::kLocked,
            "another process changed what is left of the store while it was looked at; try again"};
  }
  SR_TRY(state.protector->removal().remove_leftovers(found));
  if (state.secrets) {
    for (const SecretName name : kSecretNames) SR_TRY(state.secrets->remove(name));
    SR_TRY(state.secrets->remove_lock());
  }
  if (state.directory) {
    for (const Leftover& item : found)
      if (item.place == state.options.directory && item.name != kPersistenceFileName)
        SR_TRY(state.directory->remove(item.name));
    SR_TRY(state.directory->remove(kPersistenceFileName));
    SR_TRY(state.directory->sync());
  }
  state.locks.release();
  state.stage = State::Stage::kClosed;
  return {};
}

}  // namespace strongroom::store
