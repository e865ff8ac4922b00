#include "store/start/planned_start.h"

#include "base/cancellation.h"
#include "store/engine_state.h"
#include "store/operations/restoration.h"
#include "store/start/start.h"

namespace strongroom::store {

PlannedStart::PlannedStart(Engine& engine, StartPlan plan, Credential credential)
    : engine_(engine), plan_(plan), credential_(std::move(credential)) {
  step(StartStep::kDetermineStartupState, [this] { return determine(); });
}

Result<StartReport> PlannedStart::run(const Engine::ProgressHook& progress) {
  progress_ = progress;
  StartReport report;
  Status status = run_steps(report.steps);
  if (!status.ok()) {
    steps_.clear();
    if (plan_.purpose != StartPurpose::kInspect) {
      // Whoever continues all the same is refused again, and no later step runs.
      steps_.push_back(
          {StartStep::kDetermineStartupState, Hearing::kNever, [status]() -> Status { return {status}; }});
      return status;
    }
    reached_.refusal = status.error();
  }
  report.startup = reached_.startup;
  report.loaded = reached_.loaded;
  report.opened = reached_.opened;
  report.refusal = reached_.refusal;
  return report;
}

Status PlannedStart::run_steps(std::vector<StartStep>& heard) {
  while (!steps_.empty()) {
    Step& next = steps_.front();
    const bool wanted =
        next.hearing == Hearing::kAlways || (next.hearing == Hearing::kIfWanted && plan_.tells_steps);
    if (wanted && !next.heard) heard.push_back(next.name);
    next.heard = true;
    if (next.work && !heard.empty()) return {};
    // A step may put others in front of those that follow it.
    const std::function<Status()> work = std::move(next.work);
    steps_.pop_front();
    if (!work) continue;
    SR_TRY(check_cancelled());
    SR_TRY(work());
  }
  return {};
}

void PlannedStart::supply(StartSecrets secrets) {
  EngineOptions& options = engine_.state().options;
  options.take_late(std::move(secrets.protector));
  if (secrets.instance) options.instance = *std::move(secrets.instance);
  options.recovery_password = std::move(secrets.recovery_password);
}

Status PlannedStart::determine() {
  SR_ASSIGN(reached_.startup, Start(engine_).determine_startup_state());
  const bool cold = reached_.startup == StartupState::kColdstart;
  if (plan_.asks_for_secrets || cold) steps_.push_back(need(StartStep::kSecrets));
  step(StartStep::kSetupPersistenceFiles, [this] { return Start(engine_).setup_persistence_files(); });
  if (plan_.has_manifests) {
    steps_.push_back(need(StartStep::kLoadLicenseProviderManifests));
  } else {
    step(StartStep::kLoadLicenseProviderManifests, {});
  }
  plan_protector();
  plan_vault();
  return {};
}

void PlannedStart::plan_protector() {
  if (plan_.purpose == StartPurpose::kRestore) {
    steps_.push_back(need(StartStep::kRestorePassword));
    steps_.push_back({StartStep::kInitializeWarmstart, Hearing::kNever, [this] { return open_root(); }});
    return;
  }
  const bool cold = reached_.startup == StartupState::kColdstart;
  step(cold ? StartStep::kInitializeColdstart : StartStep::kInitializeWarmstart,
       [this] { return open_root(); });
}

Status PlannedStart::open_root() {
  switch (plan_.purpose) {
    case StartPurpose::kOpen:
      if (reached_.startup == StartupState::kColdstart) return Start(engine_).initialize_coldstart();
      break;
    case StartPurpose::kRecover:
    case StartPurpose::kReseal:
      return Start(engine_).initialize_recovery(credential_.password.view());
    case StartPurpose::kReanchor:
      return open_root_for_reanchor();
    case StartPurpose::kDecommission:
      return open_root_for_decommission();
    case StartPurpose::kRestore:
      return open_root_for_restore();
    case StartPurpose::kInspect:
      break;
  }
  return Start(engine_).initialize_warmstart();
}

// The root may be kept from just the state that is to be accepted; the caller knows whether the password opens it.
Status PlannedStart::open_root_for_reanchor() {
  Status opened = Start(engine_).initialize_warmstart();
  if (opened.ok() || cancelled()) return opened;
  reached_.refusal = opened.error();
  steps_.push_front({StartStep::kInitializeWarmstart, Hearing::kNever, [this] {
                       reached_.refusal.reset();
                       return Start(engine_).initialize_recovery(credential_.password.view());
                     }});
  steps_.push_front(need(StartStep::kRootRefused));
  return {};
}

// A store whose root is lost, or whose decommission was interrupted, can still be removed by its password.
Status PlannedStart::open_root_for_decommission() {
  Status opened = Start(engine_).initialize_warmstart();
  if (opened.ok() || !error_info(opened.error().reason).retryable) return {};
  const bool may_be_left = plan_.allow_leftovers && !opened.is(Reason::kLocked) && !cancelled();
  if (!may_be_left) return opened;
  opened.ignore("the plan permits that the root is left behind");
  return {};
}

Status PlannedStart::open_root_for_restore() {
  Status opened = Start(engine_).initialize_recovery(credential_.password.view());
  // The token opens the store: a restore that was interrupted behind its commit, or none.
  if (!opened.is(Reason::kNothingToDo)) return opened;
  steps_.push_front({StartStep::kInitializeWarmstart, Hearing::kNever,
                     [this] { return Start(engine_).initialize_warmstart(); }});
  if (credential_.password.empty()) steps_.push_front(need(StartStep::kRestoreWithoutPassword));
  return {};
}

void PlannedStart::plan_vault() {
  switch (plan_.purpose) {
    case StartPurpose::kDecommission:
      // A vendor's permit names the current checkpoint, which the vault holds.
      steps_.push_back({StartStep::kCreateAndLoadVault, Hearing::kNever, [this] {
                          load_vault().ignore("a store whose vault cannot be read can be removed too");
                          return Status();
                        }});
      return;
    case StartPurpose::kRestore:
      return plan_restore();
    default:
      step(StartStep::kLoadVaultAndValidate, {});
      step(StartStep::kValidateVaultFilename, {});
      step(StartStep::kCreateAndLoadVault, [this] { return load_vault(); });
      step(StartStep::kInitializeStorageIdentifier,
           [this] { return Start(engine_).initialize_storage_identifier(); });
  }
  if (plan_.purpose == StartPurpose::kOpen || plan_.purpose == StartPurpose::kInspect) plan_opening();
}

void PlannedStart::plan_opening() {
  step(StartStep::kValidateVaultIntegrity, [this] { return Start(engine_).validate_vault_integrity(); });
  step(StartStep::kValidateTimeTamperAge, [this] { return Start(engine_).validate_time_tamper_age(); });
  step(StartStep::kUpdateTimeTamper, [this] {
    const Uncancellable writing;
    SR_TRY(Start(engine_).update_time_tamper());
    reached_.opened = true;
    return Status();
  });
}

void PlannedStart::plan_restore() {
  const auto silent = [this](StartStep name, std::function<Status()> work) {
    steps_.push_back({name, Hearing::kNever, std::move(work)});
  };
  silent(StartStep::kCreateAndLoadVault, [this] { return load_vault(); });
  silent(StartStep::kInitializeStorageIdentifier,
         [this] { return Start(engine_).initialize_storage_identifier(); });
  steps_.push_back(need(StartStep::kRestoreWitnesses));
  silent(StartStep::kRestoreWitnesses, [this] { return Restoration(engine_).validate(credential_); });
}

Status PlannedStart::load_vault() {
  SR_TRY(Start(engine_).create_and_load_vault(progress_));
  reached_.loaded = true;
  return {};
}

}  // namespace strongroom::store
