// Rotation of the KEK in a token.
#include "store/engine_state.h"

namespace strongroom::store {

Status Engine::rotate_kek() {
  State& state = *state_;
  const MutexLock maintenance(state.compactor.mutex());
  SR_TRY(state.accepts_writes());
  TokenKek* const kek = state.protector->token_kek();
  if (kek == nullptr) return {Reason::kNothingToDo, "this store has no KEK in a token"};
  {
    const MutexLock persistence(state.headers.mutex());
    SR_TRY(state.headers.settle());  // before anything is taken for a stray
    SR_TRY(state.before_step("begin"));
    SR_TRY(kek->remove_strays());
    PersistenceHeader header = state.ring.header();
    const auto replace = [&]() -> Status {
      state.headers.mutex().assume_held();
      SR_TRY(state.before_step("kek"));
      SR_TRY(kek->make(header));
      SR_TRY(state.before_step("commit"));
      SystemRecordChanges changes;
      return state.headers.replace(header, log::CommitKind::kKek, changes);
    };
    if (Status replaced = replace(); !replaced.ok()) {
      state.headers.adopt_slot();  // of the file that is there
      return replaced;
    }
    SR_TRY(state.before_step("strays"));
    SR_TRY(kek->remove_strays());
  }
  return although_durable(state.mover.move(Witnesses::Which::kAll));
}

}  // namespace strongroom::store
