#include "store/operations/reanchoring.h"

#include <algorithm>

#include "store/engine_state.h"
#include "store/operations/new_seal.h"
#include "store/start/first_writing.h"
#include "store/start/validation.h"

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

Status Reanchoring::refuse_other_stores() const {
  SR_TRY(Validation(store_).persistence_record());
  for (const std::unique_ptr<Witness>& witness : store_.witnesses->each()) {
    SR_ASSIGN(const bool is_foreign, witness->is_of_another_store());
    if (!is_foreign) continue;
    SR_TRY(store_.life.opening().verdict.status);
    return {Reason::kWitnessReplaced, "VaultHash in the " + std::string(witness->kind().noun) +
                                          " was replaced by another store's since the vault was read"};
  }
  return {};
}

bool Reanchoring::is_time_valid(const Now& now) const {
  const Validation validation(store_);
  if (!validation.stamp().ok() || !validation.clock(now).ok()) return false;
  return prove_freshness(*store_.witnesses) ||
         age_ms(*store_.time.newest(), now) <= store_.ring.core().age_ms_max;
}

Result<log::Checkpoint> Reanchoring::accept(const Credential& credential, const log::Checkpoint& present,
                                            const Earlier& earlier) const {
  const auto check = [&](const log::Checkpoint& over) {
    return check_authority(credential, Purpose::kReanchor, store_.ring.core().authority, store_.ring.header(),
                           over);
  };
  Status authority = check(present);
  if (authority.ok()) return present;
  // A reanchor that was cut between its commit and the witnesses is completed by the permit that began it.
  const bool was_cut = earlier && store_.vault.loaded.newest_kind == log::CommitKind::kReanchor &&
                       Validation(store_).is_counter_unmoved();
  if (!authority.is(Reason::kAuthorityRefused) || !was_cut) return authority;
  SR_TRY(check(earlier->checkpoint));
  return earlier->checkpoint;
}

Status Reanchoring::refuse_accepted(const log::Checkpoint& accepted, const log::Checkpoint& present,
                                    const Earlier& earlier) const {
  const bool burnt_here =
      earlier && accepted == present && contains(earlier->used_checkpoints, used_checkpoint(present));
  const std::string_view remembers = store_.life.opening().evidence.remembers(used_checkpoint(accepted));
  if (remembers.empty() && !burnt_here) return {};
  return {
      Reason::kAlreadyAccepted,
      "generation " + std::to_string(accepted.generation) + " of this store was accepted before, and " +
          (remembers.empty() ? "its history says so" : "the " + std::string(remembers) + " remembers it")};
}

Status Reanchoring::reanchor(const Credential& credential) {
  SR_TRY(store_.life.require(Stage::kIdentified));
  if (store_.options.read_only) return {Reason::kReadOnly, "the store was opened for reading only"};
  SR_TRY(refuse_other_stores());

  Opening& opening = store_.life.opening();
  const Now now = read_clock(store_.environment.clock);
  SR_ASSIGN(const std::optional<Bytes> continuity, store_.vault.record(kContinuityKey));
  const bool time_valid = is_time_valid(now);
  if (opening.verdict.status.ok() && time_valid && !continuity && !opening.is_recovering)
    return {Reason::kNothingToDo, "every verdict is ok"};

  const log::Checkpoint present = Validation(store_).authority_checkpoint(store_.vault.loaded.newest);
  SR_ASSIGN(const std::optional<Bytes> stored, store_.vault.record(kReanchorKey));
  const Earlier earlier = stored ? parse_reanchor_record(*stored) : std::nullopt;
  std::vector<UsedCheckpoint> used = opening.evidence.used_checkpoints();  // before any of it is dropped
  SR_ASSIGN(const log::Checkpoint accepted, accept(credential, present, earlier));
  SR_TRY(refuse_accepted(accepted, present, earlier));

  for (const std::unique_ptr<Observation>& each : opening.evidence.found) each->drop_what_contradicts();

  ReanchorRecord record{accepted, earlier ? earlier->used_checkpoints : std::vector<UsedCheckpoint>()};
  used.insert(used.end(), {used_checkpoint(accepted), used_checkpoint(present)});
  merge(used, record.used_checkpoints);

  SystemRecordChanges changes;
  changes.put(kReanchorKey, encode_reanchor_record(record));
  if (continuity) changes.remove(kContinuityKey);
  return commit(record, changes, now);
}

Status Reanchoring::commit(const ReanchorRecord& record, SystemRecordChanges& changes, const Now& now) {
  const TimeStamp stamp = first_stamp(now, WallClock::kSet);  // authority has looked at the clock
  store_.time.begin(stamp);
  if (store_.counter() != nullptr) return NewSeal(store_).commit(log::CommitKind::kReanchor, changes, stamp);
  store_.ring.put_done(changes);
  FirstWriting writing(store_);
  SR_TRY(writing.cut_tail());
  SR_TRY(writing.begin(log::CommitKind::kReanchor, changes, stamp));
  for (const UsedCheckpoint& checkpoint : record.used_checkpoints) store_.witnesses->burn(checkpoint);
  return writing.finish(Foreign::kReplace);
}

}  // namespace strongroom::store
