// The backup passwords and their key slots. Each password has a slot of its own, so that each of those who keep one can be
// given one, and lose it, without the others. Any of them is the authority of a store without a vendor's key.
//
// Invariants:
// - Nobody becomes the authority of a store by being able to open it: every change asks for a password that is there,
//   and a store that has none never gets one.
// - The last password is never removed, and what is removed is not what was proven: a slot that stays has just opened.
// - No two slots have one password, so that a password that was removed opens nothing.
// - A slot id is never used again: the history remembers the highest that was removed.
#pragma once

#include "store/engine.h"

namespace strongroom::store {

class Passwords {
 public:
  explicit Passwords(Engine& engine) : store_(engine.state()) {}

  // Each answers the id of a key slot. kPasswordMissing where the store has no backup password: then it cannot get one.
  // kPasswordWrong; kInvalidArgument for a new password that another slot has, or an unusable label. Without a label
  // change() keeps the one that is there.
  [[nodiscard]] Result<std::uint32_t> change(ByteView current, SecretBytes next,
                                             std::optional<std::string> label = std::nullopt);
  // kInvalidArgument at the 9th.
  [[nodiscard]] Result<std::uint32_t> add(ByteView current, SecretBytes next, std::string label);
  // `staying` opens another slot than the one that goes; so the last one stays. kInvalidArgument for a slot that is none
  // of a password, and for that of `staying` itself.
  [[nodiscard]] Status remove(ByteView staying, std::uint32_t slot_id);
  // On a store that is open for writing the date is kept, for the status.
  [[nodiscard]] Result<std::uint32_t> verify(ByteView password);

 private:
  [[nodiscard]] Result<std::uint32_t> replace(std::optional<std::uint32_t> former, ByteView password,
                                              std::string label);

  Engine::State& store_;
};

}  // namespace strongroom::store
