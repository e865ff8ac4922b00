// The vault as a start reads it: once, from front to back, with what the witnesses remember; and the verdict.
//
// Invariants:
// - The witnesses are read before the vault. So beside a live writer the vault can only be newer than they are.
// - Damage is believed when a second look finds the same.
#pragma once

#include "store/engine.h"

namespace strongroom::store {

class VaultReading {
 public:
  explicit VaultReading(Engine::State& store) : store_(store) {}

  [[nodiscard]] Status read(const Engine::ProgressHook& progress);

 private:
  [[nodiscard]] Status load(const Engine::ProgressHook& progress);
  [[nodiscard]] Status read_log(const log::ReadOptions& how);
  // What the witnesses remember goes along with the log.
  [[nodiscard]] log::ReadOptions watch(const Engine::ProgressHook& progress);
  // Which DEK the vault file is of; then the witnesses are, too.
  [[nodiscard]] Status find_key(const log::FileHeader& file);
  [[nodiscard]] Result<bool> is_at_recorded_place();
  // Beside a live writer: whether what was read belongs together.
  [[nodiscard]] Result<bool> is_consistent();
  [[nodiscard]] Status read_persistence_again();

  Engine::State& store_;
};

}  // namespace strongroom::store
