// Storage 'pkcs11': the KEK in a token, from COLDSTART to restore and rotation.
#include <algorithm>

#include "store/engine_state.h"

namespace strongroom::store {
namespace {

Bytes encode_restore_record(const RestoreRecord& record) {
  Bytes out;
  ByteWriter writer(out);
  writer.number(std::uint8_t{1});  // version
  writer.number(static_cast<std::uint8_t>(record.completed ? 1 : 0));
  writer.number(record.generation);
  writer.number(static_cast<std::uint64_t>(record.wall_ms));
  return out;
}

std::optional<RestoreRecord> parse_restore_record(ByteView bytes) {
  ByteReader reader(bytes);
  const auto version = reader.number<std::uint8_t>();
  const auto completed = reader.number<std::uint8_t>();
  RestoreRecord record;
  record.completed = completed == 1;
  record.generation = reader.number<std::uint64_t>();
  record.wall_ms = static_cast<std::int64_t>(reader.number<std::uint64_t>());
  return reader.done() && version == 1 && completed <= 1 ? std::optional(record) : std::nullopt;
}

}  // namespace

// `named`: the slot, for what the caller left open.
Status Engine::State::connect_token(const TokenSlot* named) {
  if (token) {
    if (!token_store) token_store = std::make_unique<TokenStore>(token, header.instance);
    return {};
  }
  roots::TokenLocator locator = options.pkcs11.locator;
  if (locator.module.empty()) {
    return {Reason::kInvalidOption,
            "storage.module: needed" +
                (named != nullptr ? "; the store was made with " + named->module : std::string())};
  }
  if (named != nullptr && !locator.label && !locator.serial && !locator.slot_id) {
    locator.label = named->token_label;
    locator.serial = named->token_serial;
  }
  SR_ASSIGN(token, roots::Token::open(locator, options.pkcs11.pin.clone(), options.pkcs11.limit));
  token_store = std::make_unique<TokenStore>(token, header.instance);
  return {};
}

Result<SecretBytes> Engine::State::open_by_token(const PersistenceHeader& candidate, const KeySlot& slot) {
  SR_ASSIGN(TokenSlot named, parse_token_parameters(slot.parameters));
  secret_config = options.secret_store.value_or(named.secret_store);
  SR_ASSIGN(secrets, open_secret_store(environment, secret_config, candidate.instance, false));
  header.instance = candidate.instance;
  SR_TRY(connect_token(&named));
  SR_TRY(token->find_kek(named.kek_label, named.kek));
  Result<SecretBytes> opened = open_token_slot(*token, slot, named);
  if (opened.ok()) token_slot = std::move(named);
  return opened;
}

Status Engine::State::plan_kek() {
  core.witnesses = kWitnessTamperFile | kWitnessSecretStore | kWitnessToken;
  const roots::TokenLocator& locator = options.pkcs11.locator;
  if (locator.object.empty())
    return {Reason::kInvalidOption, "storage.object: the label of the KEK is needed at COLDSTART"};
  token_slot.module = locator.module;
  token_slot.token_label = token->info().label;
  token_slot.token_serial = token->info().serial;
  token_slot.kek_label = locator.object;
  token_slot.secret_store = secret_config;
  token_slot.kek.id = new_kek_id(header.storage_id);
  KeySlot planned;
  planned.id = next_slot_id();
  planned.type = SlotType::kPkcs11;
  planned.parameters = encode_token_parameters(token_slot);
  header.slots.push_back(std::move(planned));
  return {};
}

Status Engine::State::make_kek(PersistenceHeader& header_new) {
  SR_ASSIGN(token_slot.kek,
            token->generate_kek(token_slot.kek_label, std::nullopt, new_kek_id(header.storage_id)));
  SR_ASSIGN(KeySlot slot, wrap_token_slot(*token, next_slot_id(), token_slot, dek.view()));
  std::erase_if(header_new.slots, [](const KeySlot& other) { return other.type == SlotType::kPkcs11; });
  header_new.slots.push_back(std::move(slot));
  return {};
}

Status Engine::State::remove_stray_keks(const Bytes& kept) {
  const std::string& label =
      options.pkcs11.locator.object.empty() ? token_slot.kek_label : options.pkcs11.locator.object;
  SR_ASSIGN(const std::vector<roots::Kek> keks, token->find_keks(label));
  for (const roots::Kek& kek : keks) {
    if (kek.id == kept || !is_kek_id_of(kek.id, header.storage_id)) continue;
    SR_TRY(token->destroy_kek(label, kek));
  }
  return {};
}

TokenStatus Engine::State::describe_token() const {
  TokenStatus out;
  out.module = options.pkcs11.locator.module;
  out.token_label = token->info().label;
  out.token_serial = token->info().serial;
  out.token_model = token->info().model;
  out.kek_label = token_slot.kek_label;
  out.kek_id = token_slot.kek.id;
  out.kek_type = token_slot.kek.type;
  return out;
}

std::optional<RestoreRecord> Engine::State::restore_record() {
  const Result<std::optional<Bytes>> stored = reserved(kRestoreKey);
  return stored.ok() && *stored ? parse_restore_record(**stored) : std::nullopt;
}

Status Engine::restore(const Proof& proof) {
  State& state = *state_;
  SR_TRY(state.require(State::Stage::kIdentified));
  if (!state.has_token()) return {Reason::kNothingToDo, "this store has no root in a token"};
  if (!state.recovering) return {Reason::kNothingToDo, "the token opens the root"};
  if (state.options.read_only) return {Reason::kReadOnly, "the store was opened for reading only"};
  state.evidence.root_lost = true;
  state.verdict = judge(state.evidence);
  SR_TRY(state.verdict.status);
  SR_TRY(state.check_persistence_record());
  const Now now = read_clock(state.environment.clock);
  SR_TRY(state.find_stamp());
  SR_TRY(state.check_time(now));
  SR_TRY(check_authority(proof, Purpose::kRecover, state.core.authority, state.header, state.loaded.newest));

  const KeySlot* former = state.root_slot();
  SR_ASSIGN(state.token_slot, parse_token_parameters(former->parameters));
  const Bytes former_id = state.token_slot.kek.id;
  const roots::TokenLocator& locator = state.options.pkcs11.locator;
  if (!locator.object.empty()) state.token_slot.kek_label = locator.object;
  state.token_slot.secret_store = state.secret_config;
  state.token_slot.module = locator.module;
  state.token_slot.token_label = state.token->info().label;
  state.token_slot.token_serial = state.token->info().serial;
  SR_TRY(state.remove_stray_keks(former_id));  // of an attempt that was cut before its commit
  PersistenceHeader header = state.header;
  SR_TRY(state.make_kek(header));

  Digest hash{};
  SR_ASSIGN(const Bytes file, encode_persistence(header, state.core, state.dek.view(), &hash));
  ReservedChanges changes;
  changes.put(kRestoreKey, encode_restore_record({false, state.loaded.newest.generation + 1, now.wall_ms}));
  changes.put(kPersistenceKey, encode_persistence_record({true, state.persistence_hash, hash}));
  SR_TRY(state.cut_tail());
  SR_TRY(state.begin_writing(log::CommitKind::kRestore, changes, next_stamp(*state.stamp, now)));
  SR_TRY(os::replace_file(*state.directory, kPersistenceFileName, file));
  state.header = std::move(header);
  state.persistence_hash = hash;
  state.persistence_damaged = state.recovering = false;
  ReservedChanges done;
  done.put(kPersistenceKey, encode_persistence_record({false, hash, hash}));
  SR_TRY(state.queue->commit_reserved(log::CommitKind::kPersistence, done.list()).status());
  SR_TRY(state.remove_stray_keks(state.token_slot.kek.id));
  return state.finish_opening(false);
}

Status Engine::complete_restore() {
  State& state = *state_;
  SR_TRY(state.accepts_writes());
  std::optional<RestoreRecord> record = state.restore_record();
  if (!record || record->completed) return {Reason::kNothingToDo, "no restore is under way"};
  record->completed = true;
  ReservedChanges changes;
  changes.put(kRestoreKey, encode_restore_record(*record));
  SR_TRY(state.queue->commit_reserved(log::CommitKind::kRestore, changes.list()).status());
  return state.move_witnesses(true);
}

Status Engine::rotate_kek() {
  State& state = *state_;
  const std::lock_guard maintenance(state.maintenance_mutex);
  SR_TRY(state.accepts_writes());
  if (!state.has_token()) return {Reason::kNothingToDo, "this store has no KEK in a token"};
  {
    const std::lock_guard persistence(state.persistence_mutex);
    if (state.persistence_unsettled)
      return {Reason::kPoisoned, "persistence.bin could not be replaced before; open the store again"};
    SR_TRY(state.remove_stray_keks(state.token_slot.kek.id));
    PersistenceHeader header = state.header;
    const TokenSlot former = state.token_slot;
    Status replaced = state.make_kek(header);
    ReservedChanges changes;
    if (replaced.ok()) replaced = state.replace_persistence(header, log::CommitKind::kPersistence, changes);
    if (!replaced.ok()) {
      state.token_slot = former;
      return replaced;
    }
    SR_TRY(state.remove_stray_keks(state.token_slot.kek.id));
  }
  return state.move_witnesses(true);
}

}  // namespace strongroom::store
