// A start as one plan: the steps of the persistence workflow, in the documents' order, on one engine
//
// run() continues until the plan is complete or the caller is needed: to hear of a step before it begins, or for what only
// the caller has. The caller then calls run() again, after supply() where the report asks for secrets.
//
// Invariants:
// - Each step begins once, after those before it succeeded.
// - Cancellation takes effect before each step, and in each step but the last one of an opening, which writes.
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "store/engine.h"

namespace strongroom::store {

// What a start is for, and so where its plan ends.
enum class StartPurpose : std::uint8_t {
  kOpen,          // with the open store
  kReanchor,      // before the operation: with the root open, the vault read, and the store identified
  kRecover,       // the same
  kReseal,        // the same
  kDecommission,  // the same, as far as each part can be had
  kRestore,       // with Restoration::validate()
  kInspect,       // as kOpen, or with the first refusal, which is reported and not returned
};

enum class StartStep : std::uint8_t {
  // The documents' steps. The caller hears of them where the plan says so.
  kDetermineStartupState,
  kSetupPersistenceFiles,
  kLoadLicenseProviderManifests,
  kInitializeColdstart,
  kInitializeWarmstart,
  kLoadVaultAndValidate,
  kValidateVaultFilename,
  kCreateAndLoadVault,
  kInitializeStorageIdentifier,
  kValidateVaultIntegrity,
  kValidateTimeTamperAge,
  kUpdateTimeTamper,
  // Where the caller is always needed.
  kSecrets,                 // supply() what the start needs, now that its kind is known
  kRootRefused,             // of a reanchor: to continue means to open the DEK by the password
  kRestorePassword,         // the password is tried next
  kRestoreWithoutPassword,  // it is not needed, and none was given
  kRestoreWitnesses,        // the witnesses are asked next
};

struct StartPlan {
  StartPurpose purpose = StartPurpose::kOpen;
  bool asks_for_secrets = false;  // at a WARMSTART too
  bool has_manifests = false;     // the caller loads them in their step
  bool tells_steps = false;       // the caller hears of each of the documents' steps
  // kDecommission: a key protector that cannot be reached is no refusal.
  bool allow_leftovers = false;
};

// What a start is given late, because only some need it.
struct StartSecrets {
  ProtectorOptions
      protector;  // the protector's own options; without a type those that were given before stay
  std::optional<std::string> instance;
  SecretBytes recovery_password;
};

struct StartReport {
  std::vector<StartStep> steps;  // that begin with the next run(); empty: the plan is complete
  StartupState startup = StartupState::kColdstart;
  bool loaded = false;           // the vault was read
  bool opened = false;           // the store is open
  std::optional<Error> refusal;  // at kRootRefused; where the plan of kInspect ended
};

class PlannedStart {
 public:
  // The engine is new, and outlives the start.
  PlannedStart(Engine& engine, StartPlan plan, Credential credential);

  // An error ends the start. `progress` counts the bytes of the vault.
  [[nodiscard]] Result<StartReport> run(const Engine::ProgressHook& progress = {});
  void supply(StartSecrets secrets);

 private:
  enum class Hearing : std::uint8_t { kNever, kIfWanted, kAlways };
  struct Step {
    StartStep name;
    Hearing hearing;
    std::function<Status()> work;  // empty: the step is a name only
    bool heard = false;
  };

  [[nodiscard]] Status run_steps(std::vector<StartStep>& heard);
  void step(StartStep name, std::function<Status()> work) {
    steps_.push_back({name, Hearing::kIfWanted, std::move(work)});
  }
  [[nodiscard]] static Step need(StartStep name) {
    return {name, Hearing::kAlways, [] { return Status(); }};
  }

  [[nodiscard]] Status determine();
  void plan_protector();
  void plan_vault();
  void plan_opening();
  void plan_restore();
  [[nodiscard]] Status open_root();
  [[nodiscard]] Status open_root_for_reanchor();
  [[nodiscard]] Status open_root_for_decommission();
  [[nodiscard]] Status open_root_for_restore();
  [[nodiscard]] Status load_vault();

  Engine& engine_;
  const StartPlan plan_;
  const Credential credential_;
  std::deque<Step> steps_;
  Engine::ProgressHook progress_;
  StartReport reached_;
};

}  // namespace strongroom::store
