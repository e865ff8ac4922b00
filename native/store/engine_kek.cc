// Rotation of the KEK in a token.
#include "store/engine_state.h"

namespace strongroom::store {

Status Engine::rotate_kek() {
  State& state = *state_;
  const std::lock_guard maintenance(state.maintenance_mutex);
  SR_TRY(state.accepts_writes());
  TokenKek* const kek = state.protector->token_kek();
  if (kek == nullptr) return {Reason::kNothingToDo, "this store has no KEK in a token"};
  {
    const std::lock_guard persistence(state.persistence_mutex);
    SR_TRY(state.settle_header());  // before anything is taken for a stray
    SR_TRY(state.before_step("begin"));
    SR_TRY(kek->remove_strays());
    PersistenceHeader header = state.ring.header();
    const auto replace = [&]() -> Status {
      SR_TRY(state.before_step("kek"));
      SR_TRY(kek->make(header));
      SR_TRY(state.before_step("commit"));
      SystemRecordChanges changes;
      return state.replace_header(header, log::CommitKind::kKek, changes);
    };
    if (Status replaced = replace(); !replaced.ok()) {
      state.adopt_slot();  // of the file that is there
      return replaced;
    }
    SR_TRY(state.before_step("strays"));
    SR_TRY(kek->remove_strays());
  }
  return although_durable(state.move_witnesses(State::Which::kAll));
}

}  // namespace strongroom::store
