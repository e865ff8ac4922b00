// Acts of authority and upkeep: reanchor, recover, decommission, a change of password, compaction, verification.
#include <algorithm>

#include "base/limits.h"
#include "store/engine_state.h"

namespace strongroom::store {
namespace {

bool contains(const std::vector<UsedPoint>& points, const UsedPoint& point) {
  return std::find(points.begin(), points.end(), point) != points.end();
}

}  // namespace

Status Engine::reanchor(const Proof& proof) {
  State& state = *state_;
  SR_TRY(state.require(State::Stage::kIdentified));
  if (state.options.read_only) return {Reason::kReadOnly, "the store was opened for reading only"};
  // What authority cannot heal: another store's SecretStore, and a persistence.bin with keys of the past.
  SR_TRY(state.check_persistence_record());
  const Result<std::optional<Secret>> vault_hash = state.secrets->load(SecretName::kVaultHash);
  if (!vault_hash.ok() && !vault_hash.is(Reason::kWitnessReplaced)) return vault_hash.status();
  const bool another = vault_hash.ok() && *vault_hash && (*vault_hash)->storage_id != state.header.storage_id;
  if (another) return state.verdict.status;

  const Now now = read_clock(state.environment.clock);
  SR_ASSIGN(const std::optional<Bytes> continuity, state.reserved(kContinuityKey));
  const Status stamp = state.find_stamp();
  const bool time_valid = stamp.ok() && check_clock(*state.stamp, now, state.core.clock_tolerance_ms).ok() &&
                          check_clock(*state.secret_stamp, now, state.core.clock_tolerance_ms).ok() &&
                          age_ms(*state.stamp, now) <= state.core.age_ms_max;
  if (state.verdict.status.ok() && time_valid && !continuity) {
    return {Reason::kNothingToDo, "every verdict is ok"};
  }

  const log::Point present = state.loaded.newest;
  SR_ASSIGN(const std::optional<Bytes> stored, state.reserved(kReanchorKey));
  const std::optional<ReanchorRecord> earlier = stored ? parse_reanchor_record(*stored) : std::nullopt;
  const std::vector<UsedPoint> witnessed =
      state.evidence.secret.value ? state.evidence.secret.value->used_points : std::vector<UsedPoint>();
  log::Point accepted = present;
  Status authority = check_authority(proof, Purpose::kReanchor, state.core.authority, state.header, present);
  // A reanchor that was cut between its commit and the witnesses is completed by the token that began it.
  if (authority.is(Reason::kAuthorityRefused) && earlier &&
      state.loaded.newest_kind == log::CommitKind::kReanchor) {
    accepted = earlier->point;
    authority = check_authority(proof, Purpose::kReanchor, state.core.authority, state.header, accepted);
  }
  SR_TRY(authority);
  const bool burnt_here =
      earlier && accepted == present && contains(earlier->used_points, used_point(present));
  if (contains(witnessed, used_point(accepted)) || burnt_here) {
    return {Reason::kAuthorityRefused, "reanchor was used at this point before"};
  }

  const TamperEvidence& tamper = state.evidence.tamper;
  const bool tamper_serves =
      tamper.content && tamper.damage.ok() && tamper.content->clean &&
      (tamper.standing == Standing::kContained || tamper.standing == Standing::kForgotten);
  if (!tamper_serves) state.evidence.tamper.content.reset();
  if (!state.evidence.secret.damage.ok()) state.evidence.secret.value.reset();
  // Its lead is what is given up; it must not count as a point of this history.
  if (state.evidence.secret.standing != Standing::kContained) state.evidence.secret.value.reset();

  ReanchorRecord record{accepted, earlier ? earlier->used_points : std::vector<UsedPoint>()};
  for (const UsedPoint& point : witnessed) {
    if (!contains(record.used_points, point)) record.used_points.push_back(point);
  }
  if (!contains(record.used_points, used_point(accepted))) record.used_points.push_back(used_point(accepted));
  if (!contains(record.used_points, used_point(present))) record.used_points.push_back(used_point(present));
  while (record.used_points.size() > kUsedPointsMax) record.used_points.erase(record.used_points.begin());

  ReservedChanges changes;
  changes.put(kReanchorKey, encode_reanchor_record(record));
  changes.put(kPersistenceKey,
              encode_persistence_record({false, state.persistence_hash, state.persistence_hash}));
  if (continuity) changes.remove(kContinuityKey);
  SR_TRY(state.cut_tail());
  state.stamp = first_stamp(now);
  SR_TRY(state.begin_writing(log::CommitKind::kReanchor, changes, *state.stamp));
  for (const UsedPoint& point : record.used_points) state.witnesses->burn(point);
  return state.finish_opening(true);
}

Status Engine::recover(const Proof& proof) {
  State& state = *state_;
  SR_TRY(state.require(State::Stage::kIdentified));
  if (!state.recovering) return {Reason::kNothingToDo, "the root key is there and opens the store"};
  if (state.options.read_only) return {Reason::kReadOnly, "the store was opened for reading only"};
  state.evidence.secret_lost = true;
  state.verdict = judge(state.evidence);
  SR_TRY(state.verdict.status);
  SR_TRY(state.check_persistence_record());
  const Now now = read_clock(state.environment.clock);
  Status stamp = state.find_stamp();
  if (!stamp.ok() && !stamp.is(Reason::kWitnessMissing)) return stamp;
  SR_TRY(check_clock(*state.stamp, now, state.core.clock_tolerance_ms));
  if (state.secret_stamp) SR_TRY(check_clock(*state.secret_stamp, now, state.core.clock_tolerance_ms));
  log::Point accepted = state.loaded.newest;
  Status authority = check_authority(proof, Purpose::kRecover, state.core.authority, state.header, accepted);
  // A recovery that was cut behind its commit is completed by the token that began it.
  if (authority.is(Reason::kAuthorityRefused) && state.loaded.newest_kind == log::CommitKind::kRecover) {
    SR_ASSIGN(const std::optional<Bytes> stored, state.reserved(kContinuityKey));
    const std::optional<log::Point> earlier = stored ? parse_continuity_record(*stored) : std::nullopt;
    if (earlier) {
      accepted = *earlier;
      authority = check_authority(proof, Purpose::kRecover, state.core.authority, state.header, accepted);
    }
  }
  SR_TRY(authority);

  SecretBytes root(crypto::kKeyBytes);
  crypto::random_bytes(root.span());
  PersistenceHeader header = state.header;
  std::uint32_t slot_id = 0;
  for (const KeySlot& slot : header.slots) slot_id = std::max(slot_id, slot.id);
  std::erase_if(header.slots, [](const KeySlot& slot) { return slot.type == SlotType::kSoftware; });
  header.slots.push_back(wrap_dek(slot_id + 1, SlotType::kSoftware,
                                  encode_software_parameters(state.secret_config),
                                  software_kek(root.view(), header.storage_id).view(), state.dek.view(),
                                  header.storage_id, header.key_id));
  Digest hash{};
  SR_ASSIGN(const Bytes file, encode_persistence(header, state.core, state.dek.view(), &hash));
  ReservedChanges changes;
  changes.put(kContinuityKey, encode_continuity_record(accepted));
  changes.put(kPersistenceKey, encode_persistence_record({true, state.persistence_hash, hash}));
  SR_TRY(state.cut_tail());
  SR_TRY(state.begin_writing(log::CommitKind::kRecover, changes, next_stamp(*state.stamp, now)));
  state.tamper_file_anew = state.verdict.tamper_file_anew;
  // The file before the root: a root that fits no slot would look like a replaced one. The witnesses before the
  // root, too: with it the store opens as usual, and must not find them missing.
  SR_TRY(os::replace_file(*state.directory, kPersistenceFileName, file));
  if (const Status moved = state.witnesses->move(true); !moved.ok()) {
    return {Reason::kSecretStoreUnavailable, moved.error().detail, moved.error().system_error};
  }
  SR_TRY(state.secrets->save(SecretName::kRootKey, header.storage_id, root.view()));
  state.header = header;
  state.persistence_hash = hash;
  state.persistence_damaged = false;
  state.recovering = false;
  return state.finish_opening(true);
}

Status Engine::decommission(const Proof& proof) {
  State& state = *state_;
  if (state.stage < State::Stage::kSetUp || state.stage >= State::Stage::kOpen) {
    return {Reason::kNotOpen, "decommission begins after setup_persistence_files()"};
  }
  if (state.startup != StartupState::kWarmstart)
    return {Reason::kNoStore, "there is no store in " + state.options.directory};
  if (state.options.read_only) return {Reason::kReadOnly, "the store was opened for reading only"};
  if (state.dek.empty()) {  // interrupted, or the root is gone: the password alone opens what is left
    SR_ASSIGN(const std::vector<ParsedPersistence> candidates, state.read_persistence());
    const ParsedPersistence& candidate = candidates.front();
    state.header = candidate.header;
    if (state.secrets == nullptr) {
      for (const KeySlot& slot : state.header.slots) {
        if (slot.type != SlotType::kSoftware) continue;
        SR_ASSIGN(const SecretStoreConfig named, parse_software_parameters(slot.parameters));
        state.secret_config = state.options.secret_store.value_or(named);
        SR_ASSIGN(state.secrets,
                  open_secret_store(state.environment, state.secret_config, state.header.instance, false));
        break;
      }
    }
    if (state.secrets == nullptr)
      return {Reason::kRootUnavailable, "persistence.bin has no software key slot"};
    if (state.header.state == ProvisionState::kDecommissioning) {
      SR_ASSIGN(const bool secrets_gone, state.secrets_are_gone());
      // They go last but for persistence.bin: nothing is left that a proof could protect.
      if (secrets_gone) return state.remove_persistence();
    }
    SR_ASSIGN(SecretBytes dek, [&]() -> Result<SecretBytes> {
      SR_ASSIGN(const std::optional<Secret> root, state.secrets->load(SecretName::kRootKey));
      for (const KeySlot& slot : state.header.slots) {
        if (!root || slot.type != SlotType::kSoftware) continue;
        bool fits = false;
        Result<SecretBytes> opened =
            unwrap_dek(slot, software_kek(root->value.view(), state.header.storage_id).view(),
                       state.header.storage_id, state.header.key_id, &fits);
        if (opened.ok()) return opened;
      }
      return open_by_password(state.header, proof.password.view());
    }());
    SR_TRY(state.open_core(candidate, std::move(dek)));
  }
  const bool resumed = state.header.state == ProvisionState::kDecommissioning;
  // The point may be gone with the vault. That the act was begun is authentic; its token must be this store's still.
  const log::Point point =
      resumed && state.core.authority.vendor_public_key ? token_point(proof.token) : state.loaded.newest;
  SR_TRY(check_authority(proof, Purpose::kDecommission, state.core.authority, state.header, point));

  const std::string vault = state.core.vault_file_name;
  if (!resumed) {
    PersistenceHeader header = state.header;
    header.state = ProvisionState::kDecommissioning;
    SR_ASSIGN(const Bytes file, encode_persistence(header, state.core, state.dek.view(), nullptr));
    SR_TRY(os::replace_file(*state.directory, kPersistenceFileName, file));
    state.header = header;
  }
  // persistence.bin is last: until it is gone, the act can be repeated and completed.
  state.vault_file.reset();
  for (const std::string& name : {vault, vault + std::string(kNewSuffix), std::string(kTamperFileName),
                                  std::string(kTamperFileName) + std::string(kNewSuffix)}) {
    SR_TRY(state.directory->remove(name));
  }
  SR_TRY(state.directory->sync());
  for (const SecretName name : {SecretName::kVaultHash, SecretName::kTimeTamper, SecretName::kRootKey}) {
    SR_TRY(state.secrets->remove(name));
  }
  return state.remove_persistence();
}

Result<bool> Engine::State::secrets_are_gone() {
  for (const SecretName name : {SecretName::kVaultHash, SecretName::kTimeTamper, SecretName::kRootKey}) {
    SR_ASSIGN(const std::optional<Secret> secret, secrets->load(name));
    if (secret) return false;
  }
  return true;
}

Status Engine::State::remove_persistence() {
  SR_TRY(directory->remove(std::string(kPersistenceFileName) + std::string(kNewSuffix)));
  SR_TRY(directory->remove(kPersistenceFileName));
  SR_TRY(directory->sync());
  lock.reset();
  stage = Stage::kClosed;
  return {};
}

Status Engine::State::replace_persistence(const PersistenceHeader& header_new, log::CommitKind kind,
                                          ReservedChanges& changes) {
  if (persistence_unsettled) {
    return {Reason::kPoisoned, "persistence.bin could not be replaced before; open the store again"};
  }
  Digest hash{};
  SR_ASSIGN(const Bytes file, encode_persistence(header_new, core, dek.view(), &hash));
  changes.put(kPersistenceKey, encode_persistence_record({true, persistence_hash, hash}));
  SR_TRY(queue->commit_reserved(kind, changes.list()).status());
  // The intent permits two files. Another one before it is known which of them is there would make a third.
  persistence_unsettled = true;
  SR_TRY(os::replace_file(*directory, kPersistenceFileName, file));
  persistence_unsettled = false;
  {
    const std::lock_guard lock(header_mutex);
    header = header_new;
  }
  persistence_hash = hash;
  ReservedChanges done;
  done.put(kPersistenceKey, encode_persistence_record({false, hash, hash}));
  return queue->commit_reserved(kind, done.list()).status();
}

Status Engine::change_password(ByteView current, SecretBytes next) {
  State& state = *state_;
  const std::lock_guard maintenance(state.maintenance_mutex);
  if (state.stage != State::Stage::kOpen) return {Reason::kNotOpen, "the store is not open"};
  if (state.options.read_only) return {Reason::kReadOnly, "the store was opened for reading only"};
  if (next.empty() || next.size() > limits::kPasswordBytesMax) {
    return {Reason::kInvalidArgument, "the new password must have 1 to 4,096 bytes"};
  }
  // Whoever can open the store must not be able to make himself its authority.
  SR_TRY(open_by_password(state.header, current).status());
  PersistenceHeader header = state.header;
  std::uint32_t slot_id = 0;
  for (const KeySlot& slot : header.slots) slot_id = std::max(slot_id, slot.id);
  std::erase_if(header.slots, [](const KeySlot& slot) { return slot.type == SlotType::kPassword; });
  const PasswordParameters parameters{crypto::random_array<16>(), state.options.argon2};
  SR_ASSIGN(const SecretBytes kek, password_kek(next.view(), parameters));
  header.slots.push_back(wrap_dek(slot_id + 1, SlotType::kPassword, encode_password_parameters(parameters),
                                  kek.view(), state.dek.view(), header.storage_id, header.key_id));
  ReservedChanges changes;
  SR_TRY(state.replace_persistence(header, log::CommitKind::kPersistence, changes));
  return state.witnesses->move();
}

Status Engine::verify_password(ByteView password) {
  State& state = *state_;
  if (state.dek.empty()) return {Reason::kNotOpen, "the store is not open"};
  return open_by_password(state.header, password).status();
}

Status Engine::compact() {
  State& state = *state_;
  const std::lock_guard maintenance(state.maintenance_mutex);
  if (state.stage != State::Stage::kOpen) return {Reason::kNotOpen, "the store is not open"};
  if (state.options.read_only) return {Reason::kReadOnly, "the store was opened for reading only"};
  if (state.compaction_thread.joinable()) state.compaction_thread.join();
  return state.compact_now();
}

void Engine::State::compact_if_worthwhile() {
  if (compacting || stage != Stage::kOpen) return;
  const std::uint64_t live = queue->live_bytes();
  if (log_bytes < live + std::max(options.compaction_bytes_min, live) || log_bytes < compaction_bytes_next)
    return;
  const std::unique_lock maintenance(maintenance_mutex, std::try_to_lock);
  if (!maintenance.owns_lock()) return;
  if (compaction_thread.joinable()) compaction_thread.join();
  compacting = true;
  compaction_thread = std::thread([this] {
    // On failure the old log stays in use, and the next attempt waits until there is more to gain.
    compaction_bytes_next = compact_now().ok() ? 0 : log_bytes + options.compaction_bytes_min;
    compacting = false;
  });
}

Status Engine::State::compact_now() {
  log::BaseInfo info;
  std::vector<const log::Record*> records;
  std::uint64_t from = 0;
  std::uint32_t epoch = 0;
  Status poisoned;
  queue->exclusively([&] {
    poisoned = writer->poisoned();
    info.point = writer->newest();
    info.operation_chain = witnesses->newest().chain;
    info.epochs[writer->current_epoch()] = *epoch_keys->salt(writer->current_epoch());
    from = writer->offset();
    epoch = writer->take_epoch();
    records = queue->hold_snapshot();
  });
  info.records = records.size();
  const std::string fresh = core.vault_file_name + std::string(kNewSuffix);
  const auto attempt = [&]() -> Status {
    SR_TRY(poisoned);
    SR_TRY(witnesses->move());
    info.witnessed = witnesses->witnessed_points();
    SR_TRY(directory->remove(fresh));
    SR_ASSIGN(std::unique_ptr<os::File> file, directory->open(fresh, os::OpenMode::kCreate));
    log::BaseWriter base(*file, *epoch_keys, header.key_id, epoch);
    SR_TRY(base.begin(info));
    for (const log::Record* record : records) SR_TRY(base.add(*record));
    SR_ASSIGN(std::uint64_t offset, base.finish());
    SR_TRY(file->sync());
    // The bulk of what was committed meanwhile is copied beside the writer; only the rest with the lock held.
    for (std::uint64_t to = log_bytes; to > from; to = log_bytes) {
      SR_TRY(log::copy_frames(writer->file(), from, to, *file, offset));
      offset += to - from;
      from = to;
      SR_TRY(file->sync());
      if (log_bytes - to < (std::uint64_t{1} << 20)) break;
    }
    Status published;
    std::unique_ptr<os::File> old;  // closed without the lock
    queue->exclusively([&] {
      const std::uint64_t to = writer->offset();
      published = [&]() -> Status {
        SR_TRY(writer->poisoned());
        if (to > from) SR_TRY(log::copy_frames(writer->file(), from, to, *file, offset));
        offset += to - from;
        SR_TRY(file->sync());
        SR_TRY(directory->replace(fresh, core.vault_file_name));
        if (Status synced = directory->sync(); !synced.ok()) {
          // Which of the two files a power cut leaves is unknown, and later commits would be in one only.
          writer->poison(synced);
          return synced;
        }
        return {};
      }();
      if (published.ok()) {
        old = writer->switch_file(std::move(file), offset);
        log_bytes = offset;
      }
    });
    return published;
  };
  Status status = attempt();
  queue->release_snapshot();
  return status;
}

Result<VerifyReport> Engine::verify(const ProgressHook& progress) {
  State& state = *state_;
  if (!state.directory || state.dek.empty()) return Status(Reason::kNotOpen, "the store is not open");
  EngineOptions options;
  options.directory = state.options.directory;
  options.instance = state.header.instance;
  options.secret_store = state.secret_config;
  options.read_only = true;
  Engine reader(state.environment, std::move(options), {});
  SR_TRY(reader.determine_startup_state().status());
  SR_TRY(reader.setup_persistence_files());
  SR_TRY(reader.initialize_warmstart());
  SR_TRY(reader.create_and_load_vault(progress));
  SR_TRY(reader.initialize_storage_identifier());
  SR_TRY(reader.validate_vault_integrity());
  SR_TRY(reader.validate_time_tamper_age());
  SR_TRY(reader.update_time_tamper());
  const State& read = *reader.state_;
  VerifyReport report;
  report.base = read.loaded.base;
  report.newest = read.loaded.newest;
  report.commits = read.loaded.newest.generation - read.loaded.base.generation;
  report.records = read.index.size();
  if (read.evidence.tamper.content) report.operation_entries = read.evidence.tamper.content->entries.size();
  report.witnesses = reader.status().witnesses;
  return report;
}

Result<std::vector<OperationEntry>> Engine::operation_log(std::size_t count_max) {
  State& state = *state_;
  if (!state.directory || !state.witnesses) return Status(Reason::kNotOpen, "the store is not open");
  std::vector<OperationEntry> entries;
  Result<TamperContent> content =
      read_tamper_file(*state.directory, kTamperFileName,
                       tamper_key(state.dek.view(), state.header.storage_id).view(), state.header.storage_id);
  if (content.ok()) {
    entries = std::move(content->entries);
  } else if (!content.is(Reason::kNotFound)) {
    return content.status();
  }
  for (const OperationEntry& entry : state.witnesses->noted()) {
    if (entries.empty() || entry.generation > entries.back().generation) entries.push_back(entry);
  }
  if (entries.size() > count_max) {
    entries.erase(entries.begin(), entries.end() - static_cast<std::ptrdiff_t>(count_max));
  }
  return entries;
}

Result<Inspection> inspect(os::Environment environment, const std::string& path) {
  SR_ASSIGN(const std::shared_ptr<os::Directory> directory,
            environment.files.open_directory(path, os::DirectoryMode::kExisting));
  Result<Bytes> file = os::read_whole(*directory, kPersistenceFileName, limits::kPersistenceFileBytesMax);
  if (file.is(Reason::kNotFound)) return Status(Reason::kNoStore, "there is no store in " + path);
  if (!file.ok()) return file.status();
  SR_ASSIGN(const std::vector<ParsedPersistence> parsed, parse_persistence(*file));
  Inspection out;
  out.header = parsed.front().header;
  out.one_copy_damaged = parsed.front().one_copy_damaged;
  SR_ASSIGN(const std::vector<std::string> names, directory->list());
  for (const std::string& name : names) {
    out.tamper_file_present |= name == kTamperFileName;
    out.vault_file_present |= !name.ends_with(kNewSuffix) && validate_vault_file_name(name).ok();
  }
  return out;
}

}  // namespace strongroom::store
