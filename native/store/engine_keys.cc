// What an open store gives of its DEK to the layer above: sealed fields.
#include "store/engine_state.h"
#include "store/field_sealer.h"
#include "store/token_keys.h"

namespace strongroom::store {

Result<std::unique_ptr<FieldSealer>> Engine::field_sealer() {
  State& state = *state_;
  if (state.stage == State::Stage::kClosed) return Status(Reason::kClosed, "the store was closed");
  if (state.stage != State::Stage::kOpen) return Status(Reason::kNotOpen, "the store is not open");
  const MutexLock lock(state.ring.mutex());
  auto sealer = std::make_unique<FieldSealer>(
      state.ring.header().key_id, field_key(state.ring.dek().view(), state.ring.header().storage_id));
  for (const IdentifiedKey& key : state.ring.core().former_field_keys)
    sealer->add_former_key(key.key_id, key.key.clone());
  return sealer;
}

std::shared_ptr<TokenKeys> Engine::token_keys() const {
  TokenKek* const kek = state_->protector ? state_->protector->token_kek() : nullptr;
  return kek != nullptr && kek->token() ? std::make_shared<KeysInToken>(kek->token()) : nullptr;
}

}  // namespace strongroom::store
