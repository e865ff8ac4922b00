#include "store/operations/restoration.h"

#include <algorithm>

#include "store/engine_state.h"
#include "store/start/first_writing.h"
#include "store/start/validation.h"
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

std::optional<RestoreRecord> restore_record(Vault& vault) {
  const Result<std::optional<Bytes>> stored = vault.record(kRestoreKey);
  return stored.ok() && *stored ? parse_restore_record(**stored) : std::nullopt;
}

bool is_restore_pending(Vault& vault) {
  const std::optional<RestoreRecord> newest = restore_record(vault);
  return newest && !newest->completed;
}

Status Restoration::note_as(log::CommitKind kind) { return store_.vault.commit(kind); }

Status Restoration::connect_new_token(const TokenSlot& former) {
  SR_TRY(store_.protector->token_kek()->connect(&former));
  SR_ASSIGN(const std::optional<Secret> present, store_.token_store()->load(SecretName::kVaultHash));
  if (!present) return {};
  // What it remembers was not judged with the history.
  return {Reason::kHsmUnreachable, "the token came back while the restore was under way; begin again"};
}

Status Restoration::register_token_witness() {
  const AuditCheckpoint newest = store_.witnesses->audit().newest();
  const VaultHash value{
      {newest.generation, newest.head}, store_.vault.newest_wall_ms, store_.witnesses->used_checkpoints()};
  for (const std::unique_ptr<Witness>& witness : store_.witnesses->each()) {
    if (witness->kind().pace != Pace::kPaced) continue;
    const Observation* const found = store_.life.opening().evidence.of(witness->kind());
    if (found != nullptr && found->checkpoint()) continue;  // judged, and contained in the history
    SR_TRY(witness->begin(value, std::nullopt));
  }
  return {};
}

Status Restoration::validate(const Credential& credential) {
  SR_TRY(store_.life.require(Stage::kIdentified));
  if (store_.protector->kind().repair != RootRepair::kRestore)
    return {Reason::kNothingToDo, "this store has no root in a token"};
  if (store_.options.read_only) return {Reason::kReadOnly, "the store was opened for reading only"};
  const std::optional<RestoreRecord> earlier = restore_record(store_.vault);
  const bool pending = earlier && !earlier->completed;
  Opening& opening = store_.life.opening();
  const Validation validation(store_);
  if (!opening.is_recovering && !pending) return {Reason::kNothingToDo, "the token opens the root"};
  SR_TRY(opening.is_recovering ? validation.verdict_without_root() : opening.verdict.status);
  SR_TRY(validation.persistence_record());
  Status stamp = validation.stamp();
  if (!stamp.ok() && !(opening.is_recovering && stamp.is(Reason::kWitnessMissing))) return stamp;
  SR_TRY(validation.clock(read_clock(store_.environment.clock)));
  Status authority;
  if (opening.is_recovering) {
    authority = check_authority(credential, Purpose::kRecover, store_.ring.core().authority,
                                store_.ring.header(), store_.vault.loaded.newest);
    // A restore that was cut behind its commit is continued by the permit that began it.
    if (authority.is(Reason::kAuthorityRefused) && pending) {
      authority = check_authority(credential, Purpose::kRecover, store_.ring.core().authority,
                                  store_.ring.header(), earlier->accepted);
    }
  } else if (!credential.password.empty()) {
    // The commit was made under the password, and the token opens the root: both are enough. A wrong password is refused
    // all the same.
    authority = open_by_password(store_.ring.header(), credential.password.view()).status();
    opening.password_proven = authority.ok();
  }
  SR_TRY(authority);
  opening.restore_validated = true;
  return {};
}

Status Restoration::resume() {
  SR_TRY(store_.before_step("begin"));
  const Opening& opening = store_.life.opening();
  FirstWriting writing(store_);
  SR_TRY(writing.cut_tail());
  SystemRecordChanges changes;
  store_.ring.put_done(changes);
  const log::CommitKind kind =
      opening.password_proven ? log::CommitKind::kRestorePassword : log::CommitKind::kRestoreDetected;
  SR_TRY(writing.begin(kind, changes, store_.time.next()));
  store_.life.findings().tamper_file_anew = opening.verdict.tamper_file_anew;
  SR_TRY(store_.before_step("strays"));
  SR_TRY(store_.protector->token_kek()->remove_strays());
  return writing.finish(Foreign::kRefuse);
}

// Of what is there before the restore writes anything.
Restoration::Planned Restoration::plan(const TokenSlot& former, const Now& now) {
  const Opening& opening = store_.life.opening();
  Planned planned;
  RestoreRecord& record = planned.record;
  record.accepted = store_.vault.loaded.newest;
  record.cause = error_info(opening.refused_root.error().reason).reason;
  record.former_serial = former.token_serial;
  record.wall_ms = now.wall_ms;
  // By an attempt that was cut behind its commit.
  const std::optional<RestoreRecord> cut = restore_record(store_.vault);
  record.keys_deactivated = cut && !cut->completed ? cut->keys_deactivated : 0;
  planned.is_fresh = opening.evidence.has_confirming() && opening.evidence.stamp() &&
                     age_ms(*store_.time.newest(), now) <= store_.ring.core().age_ms_max;
  return planned;
}

Status Restoration::restore(const Credential& credential) {
  SR_TRY(store_.life.require(Stage::kIdentified));
  const Opening& opening = store_.life.opening();
  if (!opening.restore_validated) SR_TRY(validate(credential));
  if (!opening.is_recovering) return resume();

  const KeySlot* slot = root_slot(store_.ring.header());
  if (slot == nullptr) return {Reason::kInternal, "a store with a token has a key slot for it"};
  SR_ASSIGN(const TokenSlot former, parse_token_parameters(slot->parameters));
  SR_TRY(store_.before_step("begin"));
  TokenKek& kek = *store_.protector->token_kek();
  if (!kek.token()) SR_TRY(connect_new_token(former));

  const Now now = read_clock(store_.environment.clock);
  Planned planned = plan(former, now);
  FirstWriting writing(store_);
  SR_TRY(writing.cut_tail());
  SystemRecordChanges none;
  SR_TRY(writing.begin(log::CommitKind::kRestoreDetected, none, next_stamp(*store_.time.newest(), now)));
  store_.life.findings().tamper_file_anew = opening.verdict.tamper_file_anew;
  SR_TRY(note_as(log::CommitKind::kRestorePassword));
  SR_TRY(note_as(log::CommitKind::kRestoreToken));

  SR_TRY(store_.before_step("kek"));
  kek.move_from(former);
  SR_TRY(kek.remove_strays());  // of an attempt that was cut before its commit
  PersistenceHeader header = store_.ring.header();
  SR_TRY(kek.make(header));

  SR_TRY(store_.before_step("witness"));
  SR_TRY(register_token_witness());

  SR_TRY(store_.before_step("commit"));
  SR_TRY(commit(std::move(planned), std::move(header), former));

  SR_TRY(note_as(log::CommitKind::kRestoreKeys));
  SR_TRY(store_.before_step("strays"));
  SR_TRY(kek.remove_strays());
  return writing.finish(opening.evidence.has_confirming() ? Foreign::kRefuse : Foreign::kReplace);
}

Status Restoration::commit(Planned planned, PersistenceHeader header, const TokenSlot& former) {
  RestoreRecord& record = planned.record;
  record.generation = store_.witnesses->audit().newest().generation + 1;
  SystemRecordChanges changes;
  // In the same commit: the keys that are not in this token.
  log::ValueCipher cipher(*store_.vault.epoch_keys);
  const KeyRecords keys(*store_.vault.queue, cipher,
                        std::make_shared<KeysInToken>(store_.protector->token_kek()->token()));
  SR_ASSIGN(const auto lost, keys.deactivations("lost with the token '" + former.token_label +
                                                "', serial number " + former.token_serial));
  for (const auto& [name, value] : lost) changes.put(name, value);
  record.keys_deactivated += static_cast<std::uint32_t>(lost.size());
  changes.put(kRestoreKey, encode_restore_record(record));
  if (!planned.is_fresh) changes.put(kContinuityKey, encode_continuity_record(record.accepted));
  SR_ASSIGN(KeyRing::Change change, store_.headers.plan(std::move(header), changes));
  SR_TRY(store_.vault.commit(log::CommitKind::kRestore, changes));
  store_.ring.begin(std::move(change));

  SR_TRY(store_.before_step("file"));
  SR_TRY(store_.headers.settled().status());
  store_.life.root_replaced();

  SR_TRY(store_.before_step("settle"));
  SystemRecordChanges done;
  store_.ring.put_done(done);
  return store_.vault.commit(log::CommitKind::kPersistence, done);
}

Status Restoration::note(RestoreNote note) {
  SR_TRY(store_.life.accepts_writes());
  if (!is_restore_pending(store_.vault)) return {Reason::kNothingToDo, "no restore is under way"};
  return note_as(note == RestoreNote::kTls ? log::CommitKind::kRestoreTls : log::CommitKind::kRestoreHook);
}

Status Restoration::complete() {
  SR_TRY(store_.life.accepts_writes());
  std::optional<RestoreRecord> record = restore_record(store_.vault);
  if (!record || record->completed) return {Reason::kNothingToDo, "no restore is under way"};
  record->completed = true;
  record->completed_wall_ms = store_.environment.clock.wall_ms();
  SystemRecordChanges changes;
  changes.put(kRestoreKey, encode_restore_record(*record));
  SR_TRY(store_.vault.commit(log::CommitKind::kRestoreCompleted, changes));
  return store_.mover.move(Witnesses::Which::kAll);
}

}  // namespace strongroom::store
