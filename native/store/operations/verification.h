// Reading a store again from disk and witnesses.
#pragma once

#include "store/engine.h"

namespace strongroom::store {

class Verification {
 public:
  explicit Verification(Engine& engine) : store_(engine.state()) {}

  // Reads everything again from disk and witnesses, without changing anything; works on an open store and, with
  // `read_only`, on a closed or live one after validate_time_tamper_age(). kLocked where persistence.bin is replaced during
  // each of 20 readings.
  [[nodiscard]] Result<VerifyReport> verify(const Engine::ProgressHook& progress);
  // The audit log, oldest first, at most `count_max` newest entries.
  [[nodiscard]] Result<std::vector<AuditEntry>> audit_log(std::size_t count_max);

 private:
  [[nodiscard]] Result<VerifyReport> read(const Engine::ProgressHook& progress);

  Engine::State& store_;
};

}  // namespace strongroom::store
