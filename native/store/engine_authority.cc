// Administrative operations: reanchor, recover, reseal.
#include <algorithm>

#include "base/limits.h"
#include "store/engine_state.h"

namespace strongroom::store {
namespace {

bool contains(const std::vector<UsedCheckpoint>& checkpoints, const UsedCheckpoint& checkpoint) {
  return std::find(checkpoints.begin(), checkpoints.end(), checkpoint) != checkpoints.end();
}

// Those of `more` that are not there yet; the oldest go.
void merge(const std::vector<UsedCheckpoint>& more, std::vector<UsedCheckpoint>& into) {
  for (const UsedCheckpoint& checkpoint : more)
    if (!contains(into, checkpoint)) into.push_back(checkpoint);
  while (into.size() > kUsedCheckpointsMax) into.erase(into.begin());
}

}  // namespace

Status Engine::reanchor(const Credential& credential) {
  State& state = *state_;
  SR_TRY(state.require(State::Stage::kIdentified));
  if (state.options.read_only) return {Reason::kReadOnly, "the store was opened for reading only"};
  // What authority cannot heal: another store's SecretStore, and a persistence.bin with keys of the past.
  SR_TRY(state.check_persistence_record());
  for (const std::unique_ptr<Witness>& witness : state.witnesses->each()) {
    SR_ASSIGN(const bool is_foreign, witness->is_of_another_store());
    if (is_foreign) return state.verdict.status;
  }

  const Now now = read_clock(state.environment.clock);
  SR_ASSIGN(const std::optional<Bytes> continuity, state.vault.record(kContinuityKey));
  const Status stamp = state.find_stamp();
  const bool time_valid = stamp.ok() && state.check_time(now).ok() &&
                          (prove_freshness(*state.witnesses) ||
                           age_ms(*state.time.newest(), now) <= state.ring.core().age_ms_max);
  if (state.verdict.status.ok() && time_valid && !continuity && !state.recovering) {
    return {Reason::kNothingToDo, "every verdict is ok"};
  }

  const log::Checkpoint present = state.authority_checkpoint(state.vault.loaded.newest);
  SR_ASSIGN(const std::optional<Bytes> stored, state.vault.record(kReanchorKey));
  const std::optional<ReanchorRecord> earlier = stored ? parse_reanchor_record(*stored) : std::nullopt;
  std::vector<UsedCheckpoint> used = state.evidence.used_checkpoints();  // before any of it is dropped
  log::Checkpoint accepted = present;
  Status authority = check_authority(credential, Purpose::kReanchor, state.ring.core().authority,
                                     state.ring.header(), present);
  // A reanchor that was cut between its commit and the witnesses is completed by the permit that began it.
  if (authority.is(Reason::kAuthorityRefused) && earlier &&
      state.vault.loaded.newest_kind == log::CommitKind::kReanchor && state.counter_unmoved()) {
    accepted = earlier->checkpoint;
    authority = check_authority(credential, Purpose::kReanchor, state.ring.core().authority,
                                state.ring.header(), accepted);
  }
  SR_TRY(authority);
  const bool burnt_here =
      earlier && accepted == present && contains(earlier->used_checkpoints, used_checkpoint(present));
  const std::string_view remembers = state.evidence.remembers(used_checkpoint(accepted));
  if (!remembers.empty() || burnt_here) {
    return {
        Reason::kAlreadyAccepted,
        "generation " + std::to_string(accepted.generation) + " of this store was accepted before, and " +
            (remembers.empty() ? "its history says so" : "the " + std::string(remembers) + " remembers it")};
  }

  for (const std::unique_ptr<Observation>& each : state.evidence.found) each->drop_what_contradicts();

  ReanchorRecord record{accepted, earlier ? earlier->used_checkpoints : std::vector<UsedCheckpoint>()};
  used.insert(used.end(), {used_checkpoint(accepted), used_checkpoint(present)});
  merge(used, record.used_checkpoints);

  SystemRecordChanges changes;
  changes.put(kReanchorKey, encode_reanchor_record(record));
  if (continuity) changes.remove(kContinuityKey);
  const TimeStamp anew = first_stamp(now, WallClock::kSet);  // authority has looked at the clock
  state.time.begin(anew);
  if (state.counter != nullptr) return state.commit_with_new_seal(log::CommitKind::kReanchor, changes, anew);
  state.ring.put_done(changes);
  SR_TRY(state.cut_tail());
  SR_TRY(state.begin_writing(log::CommitKind::kReanchor, changes, anew));
  for (const UsedCheckpoint& checkpoint : record.used_checkpoints) state.witnesses->burn(checkpoint);
  return state.finish_opening(Foreign::kReplace);
}

Status Engine::recover(const Credential& credential) {
  State& state = *state_;
  SR_TRY(state.require(State::Stage::kIdentified));
  if (!state.recovering) return {Reason::kNothingToDo, "the root key is there and opens the store"};
  if (state.options.read_only) return {Reason::kReadOnly, "the store was opened for reading only"};
  if (const ProtectorKind& kind = state.protector->kind(); kind.repair != RootRepair::kRecover)
    return {Reason::kNothingToDo, std::string(kind.other_repair)};
  state.evidence.history.is_root_lost = true;
  state.verdict = judge(state.evidence);
  SR_TRY(state.verdict.status);
  SR_TRY(state.check_persistence_record());
  const Now now = read_clock(state.environment.clock);
  Status stamp = state.find_stamp();
  if (!stamp.ok() && !stamp.is(Reason::kWitnessMissing)) return stamp;
  SR_TRY(state.check_time(now));
  log::Checkpoint accepted = state.vault.loaded.newest;
  Status authority = check_authority(credential, Purpose::kRecover, state.ring.core().authority,
                                     state.ring.header(), accepted);
  // A recovery that was cut behind its commit is completed by the permit that began it.
  if (authority.is(Reason::kAuthorityRefused) &&
      state.vault.loaded.newest_kind == log::CommitKind::kRecover) {
    SR_ASSIGN(const std::optional<Bytes> stored, state.vault.record(kContinuityKey));
    const std::optional<log::Checkpoint> earlier = stored ? parse_continuity_record(*stored) : std::nullopt;
    if (earlier) {
      accepted = *earlier;
      authority = check_authority(credential, Purpose::kRecover, state.ring.core().authority,
                                  state.ring.header(), accepted);
    }
  }
  SR_TRY(authority);

  PersistenceHeader header = state.ring.header();
  SR_TRY(state.protector->plan_new_root(header));
  SystemRecordChanges changes;
  changes.put(kContinuityKey, encode_continuity_record(accepted));
  SR_ASSIGN(KeyRing::Change change, state.headers.plan(header, changes));
  SR_TRY(state.cut_tail());
  SR_TRY(state.begin_writing(log::CommitKind::kRecover, changes, next_stamp(*state.time.newest(), now)));
  state.tamper_file_anew = state.verdict.tamper_file_anew;
  // The file before the root: a root that fits no slot would look like a replaced one. The witnesses before the
  // root, too: with it the store opens as usual, and must not find them missing.
  state.ring.begin(std::move(change));
  SR_TRY(state.headers.settled().status());
  SR_TRY(state.witnesses->try_move(Witnesses::Which::kFast, Foreign::kReplace));
  SR_TRY(state.protector->provision());
  state.persistence_damaged = state.recovering = false;
  return state.finish_opening(Foreign::kReplace);
}

// The TPM's counter is part of what a permit is signed over: the checkpoint alone may come back with older files, the counter
// does not, and so a permit serves once.
log::Checkpoint Engine::State::authority_checkpoint(const log::Checkpoint& checkpoint,
                                                    std::uint64_t counter_value) const {
  if (counter == nullptr) return checkpoint;
  std::array<std::uint8_t, 8> count{};
  store_le(count.data(), counter_value);
  return {checkpoint.generation,
          crypto::sha256({as_bytes("strongroom/v5 authority"), checkpoint.head, count})};
}

Status Engine::State::commit_with_new_seal(log::CommitKind kind, SystemRecordChanges& changes,
                                           const TimeStamp& stamp_now) {
  const CounterObservation& found = *evidence.counter();
  const bool counter_lost = !found.damage.ok();
  SealedRoot& root = sealed_root();
  SR_TRY(root.connect_anew(root_slot(ring.header())));
  SR_TRY(root.indices().refuse_those_of_another_store());
  SR_TRY(cut_tail());
  AnchorRecord fresh;
  if (counter_lost) {
    // As at COLDSTART: what it will say is durable before it is made, so that no cut leaves a counter that the vault
    // does not know.
    SR_TRY(root.indices().remove());  // left by an attempt that was cut, or what is there of two
    SR_TRY(root.plan_indices());
    SR_ASSIGN(const std::uint64_t foreseen, root.indices().foresee_counter(ring.core().counter_index));
    fresh = anchors.first(foreseen, first_extend_value(ring.core().extend_secret.view()));
  } else {
    const TpmObservation& tpm_now = found.tpm;
    fresh = anchors.first(tpm_now.counter + (verdict.increment_pending ? 1 : 0), tpm_now.head);
    if (const std::optional<AnchorRecord>& newest = found.newest) {
      // What the counter was moved by since, a copy of this store moved it.
      fresh.increments = newest->increments + fresh.number - std::min(fresh.number, newest->number);
      fresh.first_wall_ms = newest->first_wall_ms;
      fresh.first_number = newest->first_number;
    }
  }
  PersistenceHeader header_new = ring.header();
  SR_TRY(root.seal(header_new, fresh.number));
  changes.put(kAnchorKey, encode_anchor_record(fresh));
  SR_ASSIGN(KeyRing::Change change, headers.plan(std::move(header_new), changes));
  SR_TRY(begin_writing(kind, changes, stamp_now));
  const AuditCheckpoint newest = witnesses->audit().newest();
  ring.begin(std::move(change));
  SR_TRY(headers.settled().status());
  persistence_damaged = recovering = false;
  if (counter_lost) {
    SR_TRY(protector->provision());
    counter->renew();
  }
  const log::Checkpoint checkpoint{newest.generation, newest.head};
  using Reached = CounterWitness::Reached;
  counter->start_from(fresh, checkpoint,
                      counter_lost || !verdict.increment_pending ? Reached::kByTpm : Reached::kUnknown,
                      checkpoint);
  // Last, so that an act that was cut can be told by its commit being the newest.
  SystemRecordChanges done;
  ring.put_done(done);
  SR_TRY(vault.commit(log::CommitKind::kPersistence, done));
  return finish_opening(Foreign::kReplace);
}

Status Engine::reseal(const Credential& credential) {
  State& state = *state_;
  SR_TRY(state.require(State::Stage::kIdentified));
  if (state.protector->kind().repair != RootRepair::kReseal)
    return {Reason::kNothingToDo,
            "this store has no root in a TPM; `strongroom recover` makes a new root key"};
  if (!state.recovering) return {Reason::kNothingToDo, "the TPM opens the root"};
  if (state.options.read_only) return {Reason::kReadOnly, "the store was opened for reading only"};
  state.evidence.history.is_root_lost = true;
  state.verdict = judge(state.evidence);
  SR_TRY(state.verdict.status);
  SR_TRY(state.check_persistence_record());
  const Now now = read_clock(state.environment.clock);
  SR_TRY(state.find_stamp());
  CounterObservation& found = *state.evidence.counter();
  const bool counter_lost = !found.damage.ok();
  if (counter_lost) found.newest.reset();  // another TPM's clock says nothing of the former one's
  SR_TRY(state.check_time(now));
  log::Checkpoint accepted = state.authority_checkpoint(state.vault.loaded.newest);
  Status authority = check_authority(credential, Purpose::kReseal, state.ring.core().authority,
                                     state.ring.header(), accepted);
  // A reseal that was cut behind its commit is completed by the permit that began it.
  if (authority.is(Reason::kAuthorityRefused) && state.vault.loaded.newest_kind == log::CommitKind::kReseal &&
      state.counter_unmoved()) {
    SR_ASSIGN(const std::optional<Bytes> stored, state.vault.record(kResealKey));
    const std::optional<log::Checkpoint> earlier = stored ? parse_continuity_record(*stored) : std::nullopt;
    if (earlier) {
      accepted = *earlier;
      authority = check_authority(credential, Purpose::kReseal, state.ring.core().authority,
                                  state.ring.header(), accepted);
    }
  }
  SR_TRY(authority);
  SystemRecordChanges changes;
  changes.put(kResealKey, encode_continuity_record(accepted));
  if (counter_lost) changes.put(kContinuityKey, encode_continuity_record(state.vault.loaded.newest));
  return state.commit_with_new_seal(log::CommitKind::kReseal, changes, next_stamp(*state.time.newest(), now));
}

}  // namespace strongroom::store
