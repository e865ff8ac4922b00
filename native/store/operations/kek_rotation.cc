#include "store/operations/kek_rotation.h"

#include "store/engine_state.h"

namespace strongroom::store {

Status KekRotation::rotate() {
  const MutexLock maintenance(store_.compactor.mutex());
  SR_TRY(store_.life.accepts_writes());
  TokenKek* const kek = store_.protector->token_kek();
  if (kek == nullptr) return {Reason::kNothingToDo, "this store has no KEK in a token"};
  {
    const MutexLock persistence(store_.headers.mutex());
    SR_TRY(store_.headers.settle());  // before anything is taken for a stray
    SR_TRY(store_.before_step("begin"));
    SR_TRY(kek->remove_strays());
    PersistenceHeader header = store_.ring.header();
    const auto replace = [&]() -> Status {
      store_.headers.mutex().assume_held();
      SR_TRY(store_.before_step("kek"));
      SR_TRY(kek->make(header));
      SR_TRY(store_.before_step("commit"));
      SystemRecordChanges changes;
      return store_.headers.replace(header, log::CommitKind::kKek, changes);
    };
    if (Status replaced = replace(); !replaced.ok()) {
      store_.headers.adopt_slot();  // of the file that is there
      return replaced;
    }
    SR_TRY(store_.before_step("strays"));
    SR_TRY(kek->remove_strays());
  }
  return although_durable(store_.mover.move(Witnesses::Which::kAll));
}

}  // namespace strongroom::store
