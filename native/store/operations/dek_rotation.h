// The DEK and its rotation.
//
// A rotation is a sequence of durable states, each of which opens as usual:
//   1. persistence.bin has the new DEK in every slot, and the former one in its core data ("pending"). The log goes on in
//      an epoch of the new DEK.
//   2. A compaction writes the vault under the new DEK; the tamper file and the witness values follow.
//   3. persistence.bin without the former DEK. What is still of the former DEK, from a copy, is refused from now on.
//
// Invariants:
// - Nothing is sealed under a new DEK before a persistence.bin that holds it is durable.
// - Nothing of the former DEK is left in the files and witnesses when persistence.bin gives it up.
// - No witness is of a later DEK than the vault file.
#pragma once

#include "store/engine.h"

namespace strongroom::store {

class DekRotation {
 public:
  explicit DekRotation(Engine& engine) : store_(engine.state()) {}

  // Gives the store a new DEK: every key slot is wrapped anew, and everything that was sealed or authenticated under the
  // former DEK is written anew, while commits and reads go on. Where there is a password slot, `password` must open one
  // (kPasswordMissing, kPasswordWrong; nothing is changed); the slots of other passwords cannot be wrapped anew and go,
  // if `remove_other_passwords` permits it, else kInvalidOption. Interrupted, by an error or a crash, it stays pending,
  // and the next call goes on with it; the password is not looked at then. `forget_field_keys`: fields that were sealed
  // under former DEKs open no more; without it there is room for 8 of them, then kInvalidOption. `progress` counts
  // records.
  [[nodiscard]] Status rotate(ByteView password, const Engine::ProgressHook& progress = {},
                              const RotationOptions& how = {});

 private:
  // With the lock of HeaderChanges held.
  [[nodiscard]] Status begin(ByteView password, const RotationOptions& how);
  [[nodiscard]] Result<PersistenceHeader> wrap_anew(const SecretBytes& dek_next, ByteView password,
                                                    std::uint32_t password_slot);
  // With the lock of maintenance held.
  [[nodiscard]] Status move_vault(const Engine::ProgressHook& progress);
  [[nodiscard]] Status end();

  Engine::State& store_;
};

}  // namespace strongroom::store
