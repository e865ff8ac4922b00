// Auto-restore: a store whose token lost its KEK, or is lost itself, is given a new KEK by the backup password.
//
// Invariants:
// - Nothing is written, in files or token, before the password is proven and every witness that is left has agreed.
// - The token holds a witness of the present checkpoint before persistence.bin names the KEK in it: from then on a start by the
//   token expects one.
// - Cut anywhere, the store is either one whose root is lost, and the restore begins anew, or one whose restore is
//   recorded as not completed: then it serves nobody until the rest is done. The password is not needed again while the
//   token opens the store.
#include <algorithm>

#include "store/engine_state.h"
#include "store/token_keys.h"

namespace strongroom::store {
namespace {

constexpr std::size_t kTextBytesMax = 255;

Bytes encode_restore_record(const RestoreRecord& record) {
  Bytes out;
  ByteWriter writer(out);
  writer.number(std::uint8_t{1});  // version
  writer.number(static_cast<std::uint8_t>(record.completed ? 1 : 0));
  writer.number(record.generation);
  writer.number(static_cast<std::uint64_t>(record.wall_ms));
  writer.number(static_cast<std::uint64_t>(record.completed_wall_ms));
  writer.number(record.accepted.generation);
  writer.bytes(record.accepted.head);
  writer.number(record.keys_deactivated);
  writer.prefixed(as_bytes(record.cause));
  writer.prefixed(as_bytes(record.former_serial));
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
  record.completed_wall_ms = static_cast<std::int64_t>(reader.number<std::uint64_t>());
  record.accepted.generation = reader.number<std::uint64_t>();
  record.accepted.head = reader.array<32>();
  record.keys_deactivated = reader.number<std::uint32_t>();
  record.cause = as_text(reader.prefixed());
  record.former_serial = as_text(reader.prefixed());
  const bool fits = record.cause.size() <= kTextBytesMax && record.former_serial.size() <= kTextBytesMax;
  return reader.done() && version == 1 && completed <= 1 && fits ? std::optional(std::move(record))
                                                                 : std::nullopt;
}

}  // namespace

std::optional<RestoreRecord> Engine::State::restore_record() {
  const Result<std::optional<Bytes>> stored = vault.record(kRestoreKey);
  return stored.ok() && *stored ? parse_restore_record(**stored) : std::nullopt;
}

bool Engine::State::restore_pending() {
  const std::optional<RestoreRecord> record = restore_record();
  return record && !record->completed;
}

Status Engine::State::note(log::CommitKind kind) { return vault.commit(kind); }

Status Engine::State::connect_new_token(const TokenSlot& former) {
  SR_TRY(protector->token_kek()->connect(&former));
  witnesses->attach_token(*token_store());
  SR_ASSIGN(const std::optional<Secret> present, token_store()->load(SecretName::kVaultHash));
  if (!present) return {};
  // What it remembers was not judged with the history.
  return {Reason::kHsmUnreachable, "the token came back while the restore was under way; begin again"};
}

Status Engine::State::register_token_witness() {
  if (evidence.token.value) return {};  // judged, and contained in the history
  const AuditCheckpoint newest = witnesses->audit().newest();
  const VaultHash value{
      {newest.generation, newest.head}, vault.newest_wall_ms, witnesses->used_checkpoints()};
  // Of the DEK that the vault file names: while a rotation is pending that is the former one, and no witness is of a later.
  const Witnesses::Keys keys = witness_keys(vault.epoch_keys->file_key_id());
  Bytes raw = encode_vault_hash(value, keys.witness.view(), keys.storage_id, keys.key_id);
  SR_TRY(token_store()->save(SecretName::kVaultHash, ring.header().storage_id, raw));
  evidence.token.present = true;
  witnesses->adopt_token(value, std::move(raw));
  return {};
}

Status Engine::validate_restore(const Credential& credential) {
  State& state = *state_;
  SR_TRY(state.require(State::Stage::kIdentified));
  if (state.protector->kind().repair != RootRepair::kRestore)
    return {Reason::kNothingToDo, "this store has no root in a token"};
  if (state.options.read_only) return {Reason::kReadOnly, "the store was opened for reading only"};
  const std::optional<RestoreRecord> earlier = state.restore_record();
  const bool pending = earlier && !earlier->completed;
  if (!state.recovering && !pending) return {Reason::kNothingToDo, "the token opens the root"};
  if (state.recovering) {
    state.evidence.root_lost = true;
    state.verdict = judge(state.evidence);
  }
  SR_TRY(state.verdict.status);
  SR_TRY(state.check_persistence_record());
  Status stamp = state.find_stamp();
  if (!stamp.ok() && !(state.recovering && stamp.is(Reason::kWitnessMissing))) return stamp;
  SR_TRY(state.check_time(read_clock(state.environment.clock)));
  Status authority;
  if (state.recovering) {
    authority = check_authority(credential, Purpose::kRecover, state.ring.core().authority,
                                state.ring.header(), state.vault.loaded.newest);
    // A restore that was cut behind its commit is continued by the permit that began it.
    if (authority.is(Reason::kAuthorityRefused) && pending) {
      authority = check_authority(credential, Purpose::kRecover, state.ring.core().authority,
                                  state.ring.header(), earlier->accepted);
    }
  } else if (!credential.password.empty()) {
    // The commit was made under the password, and the token opens the root: both are enough. A wrong password is refused
    // all the same.
    authority = open_by_password(state.ring.header(), credential.password.view()).status();
    state.password_proven = authority.ok();
  }
  SR_TRY(authority);
  state.restore_validated = true;
  return {};
}

Status Engine::State::resume_restore() {
  SR_TRY(before_step("begin"));
  SR_TRY(cut_tail());
  SystemRecordChanges changes;
  ring.put_done(changes);
  const log::CommitKind kind =
      password_proven ? log::CommitKind::kRestorePassword : log::CommitKind::kRestoreDetected;
  SR_TRY(begin_writing(kind, changes, time.next()));
  tamper_file_anew = verdict.tamper_file_anew;
  SR_TRY(before_step("strays"));
  SR_TRY(protector->token_kek()->remove_strays());
  return finish_opening(Foreign::kRefuse);
}

Status Engine::restore(const Credential& credential) {
  State& state = *state_;
  if (!state.restore_validated) SR_TRY(validate_restore(credential));
  SR_TRY(state.require(State::Stage::kIdentified));
  if (!state.recovering) return state.resume_restore();

  const KeySlot* slot = root_slot(state.ring.header());
  if (slot == nullptr) return {Reason::kInternal, "a store with a token has a key slot for it"};
  SR_ASSIGN(const TokenSlot former, parse_token_parameters(slot->parameters));
  SR_TRY(state.before_step("begin"));
  TokenKek& kek = *state.protector->token_kek();
  if (!kek.token()) SR_TRY(state.connect_new_token(former));

  const Now now = read_clock(state.environment.clock);
  // By an attempt that was cut behind its commit.
  const std::optional<RestoreRecord> cut = state.restore_record();
  const std::uint32_t deactivated_before = cut && !cut->completed ? cut->keys_deactivated : 0;
  RestoreRecord record;
  record.accepted = state.vault.loaded.newest;
  record.cause = error_info(state.refused_root.error().reason).reason;
  record.former_serial = former.token_serial;
  // Older than the limit, or without the SecretStore's word: the data are back, their freshness is not proven.
  const bool unproven = !state.evidence.secret.present || !state.secret_stamp ||
                        age_ms(*state.time.newest(), now) > state.ring.core().age_ms_max;
  SR_TRY(state.cut_tail());
  SystemRecordChanges none;
  SR_TRY(state.begin_writing(log::CommitKind::kRestoreDetected, none, next_stamp(*state.time.newest(), now)));
  state.tamper_file_anew = state.verdict.tamper_file_anew;
  SR_TRY(state.note(log::CommitKind::kRestorePassword));
  SR_TRY(state.note(log::CommitKind::kRestoreToken));

  SR_TRY(state.before_step("kek"));
  kek.move_from(former);
  SR_TRY(kek.remove_strays());  // of an attempt that was cut before its commit
  PersistenceHeader header = state.ring.header();
  SR_TRY(kek.make(header));

  SR_TRY(state.before_step("witness"));
  SR_TRY(state.register_token_witness());

  SR_TRY(state.before_step("commit"));
  record.generation = state.witnesses->audit().newest().generation + 1;
  record.wall_ms = now.wall_ms;
  SystemRecordChanges changes;
  // In the same commit: the keys that are not in this token.
  log::ValueCipher cipher(*state.vault.epoch_keys);
  const KeyRecords keys(*state.vault.queue, cipher, token_keys());
  SR_ASSIGN(const auto lost, keys.deactivations("lost with the token '" + former.token_label +
                                                "', serial number " + former.token_serial));
  for (const auto& [name, value] : lost) changes.put(name, value);
  record.keys_deactivated = static_cast<std::uint32_t>(lost.size()) + deactivated_before;
  changes.put(kRestoreKey, encode_restore_record(record));
  if (unproven) changes.put(kContinuityKey, encode_continuity_record(record.accepted));
  SR_ASSIGN(KeyRing::Change change, state.headers.plan(std::move(header), changes));
  SR_TRY(state.vault.commit(log::CommitKind::kRestore, changes));

  state.ring.begin(std::move(change));

  SR_TRY(state.before_step("file"));
  SR_TRY(state.headers.settled().status());
  state.persistence_damaged = state.recovering = false;

  SR_TRY(state.before_step("settle"));
  SystemRecordChanges done;
  state.ring.put_done(done);
  SR_TRY(state.vault.commit(log::CommitKind::kPersistence, done));

  SR_TRY(state.note(log::CommitKind::kRestoreKeys));
  SR_TRY(state.before_step("strays"));
  SR_TRY(kek.remove_strays());
  return state.finish_opening(state.evidence.secret.present ? Foreign::kRefuse : Foreign::kReplace);
}

Status Engine::note_restore(RestoreNote note) {
  State& state = *state_;
  SR_TRY(state.accepts_writes());
  if (!state.restore_pending()) return {Reason::kNothingToDo, "no restore is under way"};
  return state.note(note == RestoreNote::kTls ? log::CommitKind::kRestoreTls : log::CommitKind::kRestoreHook);
}

Status Engine::complete_restore() {
  State& state = *state_;
  SR_TRY(state.accepts_writes());
  std::optional<RestoreRecord> record = state.restore_record();
  if (!record || record->completed) return {Reason::kNothingToDo, "no restore is under way"};
  record->completed = true;
  record->completed_wall_ms = state.environment.clock.wall_ms();
  SystemRecordChanges changes;
  changes.put(kRestoreKey, encode_restore_record(*record));
  SR_TRY(state.vault.commit(log::CommitKind::kRestoreCompleted, changes));
  return state.mover.move(Witnesses::Which::kAll);
}

}  // namespace strongroom::store
