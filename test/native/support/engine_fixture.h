// An engine on the simulated disk, driven step by step as the TypeScript layer drives it.
#pragma once

#include <gtest/gtest.h>

#include "expect_status.h"
#include "os/testing/manual_clock.h"
#include "os/testing/simulated_disk.h"
#include "store/engine.h"
#include "store/start/start.h"

namespace strongroom::store::testing {

inline constexpr const char* kStore = "/srv/store";
inline constexpr const char* kSecrets = "/srv/secrets";
inline constexpr crypto::Argon2Parameters kFastArgon2{8, 1, 1};

inline EngineOptions store_options(std::string_view password = "") {
  EngineOptions options;
  options.directory = kStore;
  options.instance = "acme";
  options.secret_store = SecretStoreConfig{SecretStoreType::kFile, kSecrets};
  options.threads = false;
  options.recovery_password = SecretBytes(as_bytes(password));
  options.argon2 = kFastArgon2;
  options.tamper_capacity = 32;
  options.reserve_bytes = 4096;
  return options;
}

inline std::unique_ptr<os::testing::SimulatedDisk> make_disk() {
  auto disk = std::make_unique<os::testing::SimulatedDisk>();
  disk->make_directory("/srv");
  return disk;
}

// Collects completions; with `threads` the caller waits for them itself.
struct Completions {
  std::mutex mutex;
  std::vector<log::Completion> all;
  Engine::CompletedHook hook() {
    return [this](std::vector<log::Completion> completions) {
      const std::lock_guard lock(mutex);
      for (log::Completion& completion : completions) all.push_back(std::move(completion));
    };
  }
};

inline Status open_steps(Engine& engine) {
  SR_ASSIGN(const StartupState startup, Start(engine).determine_startup_state());
  SR_TRY(Start(engine).setup_persistence_files());
  SR_TRY(startup == StartupState::kColdstart ? Start(engine).initialize_coldstart()
                                             : Start(engine).initialize_warmstart());
  SR_TRY(Start(engine).create_and_load_vault());
  SR_TRY(Start(engine).initialize_storage_identifier());
  SR_TRY(Start(engine).validate_vault_integrity());
  SR_TRY(Start(engine).validate_time_tamper_age());
  return Start(engine).update_time_tamper();
}

class Opened {
 public:
  Opened(os::FileSystem& files, os::Clock& clock, EngineOptions options)
      : engine_(std::make_unique<Engine>(os::Environment{files, clock}, std::move(options),
                                         completions_.hook())) {}

  Status open() { return open_steps(*engine_); }
  Engine& operator*() { return *engine_; }
  Engine* operator->() { return engine_.get(); }

  log::Completion set(std::string_view key, std::string_view value,
                      log::Durability durability = log::Durability::kJournal) {
    log::QueuedOperation operation;
    operation.content = log::KeyAndValue(as_bytes(key), as_bytes(value));
    operation.durability = durability;
    return engine_->commit_now(std::move(operation));
  }
  log::Completion remove(std::string_view key) {
    log::QueuedOperation operation;
    operation.type = log::QueuedOperation::Type::kDelete;
    operation.content = log::KeyAndValue(as_bytes(key));
    return engine_->commit_now(std::move(operation));
  }
  log::Completion increment(std::string_view key, log::IncrementBounds bounds) {
    log::QueuedOperation operation;
    operation.type = log::QueuedOperation::Type::kIncrement;
    operation.content = log::KeyAndValue(as_bytes(key));
    operation.increment = bounds;
    return engine_->commit_now(std::move(operation));
  }
  std::optional<std::string> get(std::string_view key) {
    log::ValueCipher cipher(engine_->epoch_keys());
    std::string value;
    const auto size = engine_->queue().read(cipher, key, [&value](std::size_t bytes) {
      value.resize(bytes);
      return reinterpret_cast<std::uint8_t*>(value.data());
    });
    if (!size.ok() || !*size) return std::nullopt;
    return value;
  }

 private:
  Completions completions_;
  std::unique_ptr<Engine> engine_;
};

}  // namespace strongroom::store::testing
