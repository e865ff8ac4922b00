#include "store/operations/root_recovery.h"

#include "store/engine_state.h"
#include "store/operations/new_seal.h"
#include "store/start/first_writing.h"
#include "store/start/validation.h"

namespace strongroom::store {

Status RootRecovery::validate_history() const {
  const Validation validation(store_);
  SR_TRY(validation.verdict_without_root());
  return validation.persistence_record();
}

Result<log::Checkpoint> RootRecovery::accept(const Credential& credential, Purpose purpose,
                                             const log::Checkpoint& present, log::CommitKind kind,
                                             std::string_view record) const {
  const auto check = [&](const log::Checkpoint& over) {
    return check_authority(credential, purpose, store_.ring.core().authority, store_.ring.header(), over);
  };
  Status authority = check(present);
  if (authority.ok()) return present;
  const bool was_cut = store_.vault.loaded.newest_kind == kind && Validation(store_).is_counter_unmoved();
  if (!authority.is(Reason::kAuthorityRefused) || !was_cut) return authority;
  SR_ASSIGN(const std::optional<Bytes> stored, store_.vault.record(record));
  const std::optional<log::Checkpoint> earlier = stored ? parse_continuity_record(*stored) : std::nullopt;
  if (!earlier) return authority;
  SR_TRY(check(*earlier));
  return *earlier;
}

Status RootRecovery::recover(const Credential& credential) {
  SR_TRY(store_.life.require(Stage::kIdentified));
  if (!store_.life.opening().is_recovering)
    return {Reason::kNothingToDo, "the root key is there and opens the store"};
  if (store_.options.read_only) return {Reason::kReadOnly, "the store was opened for reading only"};
  if (const ProtectorKind& kind = store_.protector->kind(); kind.repair != RootRepair::kRecover)
    return {Reason::kNothingToDo, std::string(kind.other_repair)};
  SR_TRY(validate_history());
  const Validation validation(store_);
  const Now now = read_clock(store_.environment.clock);
  Status stamp = validation.stamp();
  if (!stamp.ok() && !stamp.is(Reason::kWitnessMissing)) return stamp;
  SR_TRY(validation.clock(now));
  SR_ASSIGN(const log::Checkpoint accepted, accept(credential, Purpose::kRecover, store_.vault.loaded.newest,
                                                   log::CommitKind::kRecover, kContinuityKey));

  PersistenceHeader header = store_.ring.header();
  SR_TRY(store_.protector->plan_new_root(header));
  SystemRecordChanges changes;
  changes.put(kContinuityKey, encode_continuity_record(accepted));
  SR_ASSIGN(KeyRing::Change change, store_.headers.plan(header, changes));
  FirstWriting writing(store_);
  SR_TRY(writing.cut_tail());
  SR_TRY(writing.begin(log::CommitKind::kRecover, changes, next_stamp(*store_.time.newest(), now)));
  store_.life.findings().tamper_file_anew = store_.life.opening().verdict.tamper_file_anew;
  store_.ring.begin(std::move(change));
  SR_TRY(store_.headers.settled().status());
  SR_TRY(store_.witnesses->try_move(Witnesses::Which::kFast, Foreign::kReplace));
  SR_TRY(store_.protector->provision());
  store_.life.root_replaced();
  return writing.finish(Foreign::kReplace);
}

Status RootRecovery::reseal(const Credential& credential) {
  SR_TRY(store_.life.require(Stage::kIdentified));
  if (store_.protector->kind().repair != RootRepair::kReseal)
    return {Reason::kNothingToDo,
            "this store has no root in a TPM; `strongroom recover` makes a new root key"};
  if (!store_.life.opening().is_recovering) return {Reason::kNothingToDo, "the TPM opens the root"};
  if (store_.options.read_only) return {Reason::kReadOnly, "the store was opened for reading only"};
  SR_TRY(validate_history());
  const Validation validation(store_);
  const Now now = read_clock(store_.environment.clock);
  SR_TRY(validation.stamp());
  NewSeal seal(store_);
  const bool counter_lost = seal.is_counter_lost();
  // Another TPM's clock says nothing of the former one's.
  if (counter_lost) store_.life.opening().evidence.counter()->newest.reset();
  SR_TRY(validation.clock(now));
  const log::Checkpoint present = validation.authority_checkpoint(store_.vault.loaded.newest);
  SR_ASSIGN(const log::Checkpoint accepted,
            accept(credential, Purpose::kReseal, present, log::CommitKind::kReseal, kResealKey));
  SystemRecordChanges changes;
  changes.put(kResealKey, encode_continuity_record(accepted));
  if (counter_lost) changes.put(kContinuityKey, encode_continuity_record(store_.vault.loaded.newest));
  return seal.commit(log::CommitKind::kReseal, changes, next_stamp(*store_.time.newest(), now));
}

}  // namespace strongroom::store
