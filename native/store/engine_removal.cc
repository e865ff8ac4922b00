// Removal of a store, and of what is left of a store whose files are gone.
//
// Invariants:
// - A decommission that would leave an item behind is refused before it changes anything, unless its caller permits that.
// - The files go first, the root last but for persistence.bin. So the root proves who may repeat a decommission that was cut.
// - The root's absence is believed only where persistence.bin says that it is being removed.
#include <algorithm>

#include "base/limits.h"
#include "store/engine_state.h"

namespace strongroom::store {
namespace {

constexpr std::array kSecretNames{SecretName::kVaultHash, SecretName::kTimeTamper, SecretName::kRootKey};

std::string index_name(std::uint32_t index) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out = "NV index 0x00000000";
  for (std::size_t at = out.size(); index != 0; index >>= 4) out[--at] = kDigits[index & 15];
  return out;
}

// The item that is removed with the root, and so tells the right SecretStore from another.
SecretName marker_of(SlotType root) {
  return root == SlotType::kSoftware ? SecretName::kRootKey : SecretName::kVaultHash;
}

bool is_file_of_a_store(std::string_view name) {
  std::string_view stem = name;
  if (stem.ends_with(kNewSuffix)) stem.remove_suffix(kNewSuffix.size());
  return stem == kTamperFileName || stem == kPersistenceFileName || validate_vault_file_name(stem).ok();
}

}  // namespace

// What of a store can be removed now.
struct Engine::State::Reach {
  bool tpm = false;
  bool secrets = false;
  bool token = false;
  std::vector<std::string> missing;
};

Result<Engine::State::ItemState> Engine::State::item_state(SecretStore& store, SecretName name) {
  const Result<std::optional<Secret>> found = store.load(name);
  if (found.is(Reason::kWitnessReplaced) || found.is(Reason::kRootUnavailable)) return ItemState::kDamaged;
  if (!found.ok()) return found.status();
  if (!*found) return ItemState::kAbsent;
  return (*found)->storage_id == ring.header().storage_id ? ItemState::kOwn : ItemState::kForeign;
}

Result<bool> Engine::State::has_own_indices() {
  SR_ASSIGN(const std::vector<roots::NvIndexInfo> found, find_indices());
  return std::any_of(found.begin(), found.end(), [this](const roots::NvIndexInfo& info) {
    return info.label == index_label(ring.header().instance, ring.header().storage_id);
  });
}

// Removed by a decommission that was cut.
Result<bool> Engine::State::root_is_gone() {
  if (ring.header().state == ProvisionState::kRemovingRoot) return true;
  if (ring.header().state != ProvisionState::kDecommissioning || !tpm) return false;
  SR_ASSIGN(const bool present, has_own_indices());
  return !present;
}

Status Engine::State::reach_tpm(const KeySlot& root, Reach& reach) {
  if (!tpm) SR_TRY(connect_tpm_for_reseal());
  SR_ASSIGN(const TpmSlot named, parse_tpm_parameters(root.parameters));
  SR_ASSIGN(const bool present, has_own_indices());
  SR_ASSIGN(const roots::TpmName endorsement, tpm->endorsement_name());
  reach.tpm = true;
  // In the TPM that sealed the root they are gone for good: it was cleared, or a decommission was cut behind them.
  if (!present && endorsement != named.endorsement_name)
    reach.missing.push_back("the NV indices of the instance '" + ring.header().instance +
                            "', because this is another TPM than the one that sealed the root");
  return {};
}

Status Engine::State::reach_secrets(const KeySlot& root, const Status& opened, Reach& reach) {
  if (!secrets) return opened;
  const bool ending = ring.header().state == ProvisionState::kRemovingRoot;
  SR_ASSIGN(const ItemState marker, item_state(*secrets, marker_of(root.type)));
  SR_ASSIGN(const ItemState time, item_state(*secrets, SecretName::kTimeTamper));
  reach.secrets = true;
  const bool by_time = root.type == SlotType::kPkcs11 && time == ItemState::kOwn;
  if (marker == ItemState::kOwn || by_time || (ending && marker == ItemState::kAbsent)) return {};
  std::string what;
  for (const SecretName name : kSecretNames) {
    if (name == SecretName::kRootKey && root.type != SlotType::kSoftware) continue;
    SR_ASSIGN(const ItemState found, item_state(*secrets, name));
    if (found != ItemState::kOwn) what += (what.empty() ? "" : ", ") + std::string(secret_name_text(name));
  }
  what += " of the instance '" + ring.header().instance + "' in the SecretStore " + place_text(secret_config);
  if (marker == ItemState::kForeign) what += ", where another store has that name";
  if (marker == ItemState::kDamaged) what += ", where an item of that name is damaged";
  reach.missing.push_back(std::move(what));
  return {};
}

Status Engine::State::reach_token(const KeySlot& root, const Status& opened, Reach& reach) {
  SR_ASSIGN(TokenSlot named, parse_token_parameters(root.parameters));
  const std::string what = "the key '" + named.kek_label + "' and VaultHash in the token '" +
                           named.token_label + "' (serial number " + named.token_serial + ")";
  // A token that is there and does not open, such as with a wrong PIN, is not missing.
  const bool is_correctable =
      !opened.ok() && (token ? opened.is(Reason::kTokenMisnamed) : !opened.is(Reason::kTokenMissing));
  if (is_correctable) return opened;
  if (!token) {
    reach.missing.push_back(what + ", which does not open: " + (opened.ok() ? "" : opened.error().detail));
    return {};
  }
  SR_ASSIGN(const ItemState witness, item_state(*token_store, SecretName::kVaultHash));
  const bool has_key = token->find_kek(named.kek_label, named.kek).ok();
  reach.token = true;
  if (!has_key && witness != ItemState::kOwn && ring.header().state != ProvisionState::kRemovingRoot)
    reach.missing.push_back(what);
  if (token_slot.kek_label.empty()) token_slot = std::move(named);
  return {};
}

// With `allow_leftovers` what does not answer counts as not found.
Result<Engine::State::Reach> Engine::State::reach_items(const KeySlot& root, const Status& opened) {
  Reach reach;
  const auto look = [&](const Status& looked, const char* what) -> Status {
    if (looked.ok() || !options.allow_leftovers) return looked;
    reach.missing.push_back(std::string(what) + " (" + looked.error().detail + ")");
    return {};
  };
  if (root.type == SlotType::kTpm) {
    SR_TRY(look(reach_tpm(root, reach), "the NV indices in the TPM"));
    return reach;
  }
  if (root.type == SlotType::kPkcs11) SR_TRY(look(reach_token(root, opened, reach), "what is in the token"));
  SR_TRY(look(reach_secrets(root, opened, reach), "what is in the SecretStore"));
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
    const KeySlot* root = state.root_slot();
    if (root == nullptr) return {Reason::kRootUnavailable, "persistence.bin has no key slot of a root"};
    // Connects the root's store, too.
    opened = state.open_by_root(state.ring.header(), *root);
    if (opened.is(Reason::kLocked)) return opened.status();
    const bool unreachable = !opened.ok() && error_info(opened.error().reason).retryable;
    if (unreachable && !state.options.allow_leftovers) return opened.status();
  }
  const KeySlot* root = state.root_slot();
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
                                         : state.authority_checkpoint(state.loaded.newest);
  SR_TRY(check_authority(credential, Purpose::kDecommission, state.ring.core().authority, state.ring.header(),
                         checkpoint));

  const std::string vault = state.ring.core().vault_file_name;
  if (!resumed) SR_TRY(state.enter_removal(ProvisionState::kDecommissioning));
  // persistence.bin is last: until it is gone, the act can be repeated and completed.
  state.vault_file.reset();
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
  SR_ASSIGN(const ItemState found, item_state(*secrets, name));
  return found == ItemState::kForeign ? Status() : secrets->remove(name);
}

Status Engine::State::remove_items(const Reach& reach) {
  if (reach.tpm) return remove_indices();
  const KeySlot* root = root_slot();
  const SecretName marker = marker_of(root != nullptr ? root->type : SlotType::kSoftware);
  if (reach.secrets) {
    for (const SecretName name : kSecretNames)
      if (name != marker) SR_TRY(remove_own(name));
  }
  if (ring.header().state != ProvisionState::kRemovingRoot)
    SR_TRY(enter_removal(ProvisionState::kRemovingRoot));
  if (reach.token) {
    SR_ASSIGN(const ItemState witness, item_state(*token_store, SecretName::kVaultHash));
    if (witness != ItemState::kForeign) SR_TRY(token_store->remove(SecretName::kVaultHash));
  }
  if (reach.secrets) SR_TRY(remove_own(marker));
  return reach.token ? remove_stray_keks({}) : Status();
}

const KeySlot* Engine::State::root_slot() const {
  const auto slot =
      std::find_if(ring.header().slots.begin(), ring.header().slots.end(),
                   [](const KeySlot& candidate) { return candidate.type != SlotType::kPassword; });
  return slot == ring.header().slots.end() ? nullptr : &*slot;
}

Status Engine::State::remove_persistence() {
  if (secrets) {
    Status removed = secrets->remove_lock();
    if (!removed.ok() && !options.allow_leftovers) return removed;
  }
  SR_TRY(directory->remove(std::string(kPersistenceFileName) + std::string(kNewSuffix)));
  SR_TRY(directory->remove(kPersistenceFileName));
  SR_TRY(directory->sync());
  release_locks();
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

  std::vector<StorageId> ids;
  const auto add_items = [&](SecretStore& store, const std::string& place,
                             const auto& secret_names) -> Status {
    for (const SecretName name : secret_names) {
      const Result<std::optional<Secret>> item = store.load(name);
      const bool damaged = item.is(Reason::kWitnessReplaced) || item.is(Reason::kRootUnavailable);
      if (!item.ok() && !damaged) return item.status();
      if (item.ok() && !*item) continue;
      const auto id = damaged ? std::nullopt : std::optional((*item)->storage_id);
      if (id) ids.push_back(*id);
      found.push_back({std::string(secret_name_text(name)), place, id});
    }
    return {};
  };
  if (options.secret_store) {
    state.secret_config = *options.secret_store;
    if (state.secret_config.type == SecretStoreType::kFile) {
      // An item that is absent because its directory is not mounted must not pass for one that is gone.
      SR_TRY(
          state.environment.files.open_directory(state.secret_config.directory, os::DirectoryMode::kExisting)
              .status());
    }
    SR_ASSIGN(state.secrets, open_secret_store(state.environment, state.secret_config, options.instance));
    SR_TRY(add_items(*state.secrets, "the SecretStore " + place_text(state.secret_config), kSecretNames));
  }
  if (options.protector == ProtectorType::kTpm) {
    SR_TRY(state.connect_tpm(options.tpm.tcti, {}, {}));
    SR_ASSIGN(const std::vector<roots::NvIndexInfo> indices, state.find_indices());
    for (const roots::NvIndexInfo& info : indices)
      found.push_back({index_name(info.index), "the TPM", storage_id_of(info.label)});
  }
  if (options.protector == ProtectorType::kPkcs11) {
    SR_TRY(state.connect_token(nullptr));
    const std::string place = "the token '" + state.token->info().label + "'";
    SR_TRY(add_items(*state.token_store, place, std::array{SecretName::kVaultHash}));
    const std::string& label = options.pkcs11.locator.object;
    SR_ASSIGN(const std::vector<roots::Kek> keks, state.token->find_keks(label));
    for (const roots::Kek& kek : keks) {
      const auto id = std::find_if(ids.begin(), ids.end(),
                                   [&](const StorageId& known) { return is_kek_id_of(kek.id, known); });
      if (id != ids.end()) found.push_back({"the key '" + label + "'", place, *id});
    }
  }
  return found;
}

// A store that is open holds one of these.
Result<Engine::State::Locks> Engine::State::lock_leftovers(const std::vector<Leftover>& found) {
  Locks locks;
  if (directory) {
    SR_ASSIGN(lock, directory->lock_directory(kLockFileName));
  }
  SR_TRY(lock_secrets());
  if (secrets_lock && !token) return locks;
  std::vector<StorageId> ids;
  for (const Leftover& item : found) {
    if (!item.storage_id || std::find(ids.begin(), ids.end(), *item.storage_id) != ids.end()) continue;
    SR_TRY(lock_storage_id(*item.storage_id));
    ids.push_back(*item.storage_id);
    locks.push_back(std::move(storage_id_lock));
  }
  storage_id_locked.reset();
  return locks;
}

Status Engine::remove_leftovers() {
  State& state = *state_;
  SR_ASSIGN(const std::vector<Leftover> found, find_leftovers());
  if (found.empty()) {
    return {Reason::kNothingToDo, "nothing is left of a store with the instance name '" +
                                      state.options.instance + "' in the places that the options name"};
  }
  SR_ASSIGN(const State::Locks locks, state.lock_leftovers(found));
  // What was found without the locks may be another process's work by now.
  SR_ASSIGN(const std::vector<Leftover> still, find_leftovers());
  const auto is_same = [](const Leftover& one, const Leftover& other) {
    return one.name == other.name && one.place == other.place && one.storage_id == other.storage_id;
  };
  if (!std::equal(found.begin(), found.end(), still.begin(), still.end(), is_same)) {
    return {Reason::kLocked,
            "another process changed what is left of the store while it was looked at; try again"};
  }
  if (state.tpm) {
    SR_ASSIGN(const std::vector<roots::NvIndexInfo> indices, state.find_indices());
    for (const roots::NvIndexInfo& info : indices) SR_TRY(state.tpm->undefine(info.index));
  }
  if (state.token) {
    for (const Leftover& item : found) {
      if (!item.storage_id) continue;
      state.ring.planned_header().storage_id = *item.storage_id;
      SR_TRY(state.remove_stray_keks({}));
    }
    SR_TRY(state.token_store->remove(SecretName::kVaultHash));
  }
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
  state.release_locks();
  state.stage = State::Stage::kClosed;
  return {};
}

}  // namespace strongroom::store
