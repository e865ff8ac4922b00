#include "addon/store.h"

#include <algorithm>

#include "os/posix.h"
#ifdef STRONGROOM_TESTING
#include "addon/testing.h"
#endif

namespace strongroom::addon {
namespace {

// The stores whose objects live on this thread: what another object wraps is none of them. Every call looks here, and
// a type tag takes several times as long.
thread_local std::vector<const void*> wrapped_stores;

std::size_t step_number(std::string_view step) {
  return static_cast<std::size_t>(std::ranges::find(kOperationSteps, step) - kOperationSteps.begin());
}

}  // namespace

Store::~Store() {
  std::erase(wrapped_stores, this);
  disconnect();
  engine_.reset();
}

void Store::disconnect() {
  completions_->detach();
  if (signal_ != nullptr) napi_release_threadsafe_function(signal_, napi_tsfn_abort);
  signal_ = nullptr;
  if (hooked_) napi_remove_env_cleanup_hook(env_, tear_down, this);
  hooked_ = false;
  if (results_ref_ != nullptr) napi_delete_reference(env_, results_ref_);
  results_ref_ = nullptr;
  results_ = nullptr;
  slab_ = {};
}

void Store::tear_down(void* data) {
  auto* self = static_cast<Store*>(data);
  self->hooked_ = false;
  self->completions_->detach();
  self->signal_ = nullptr;  // the environment takes it down itself
  self->phase_ = Phase::kClosed;
  self->cipher_.reset();
  self->fields_.reset();
  self->engine_.reset();
}

Store* Store::receiver(napi_env env, napi_value value) {
  void* self = nullptr;
  if (napi_unwrap(env, value, &self) != napi_ok ||
      std::find(wrapped_stores.begin(), wrapped_stores.end(), self) == wrapped_stores.end()) {
    throw_error(env, Reason::kInvalidArgument, "the method was called on something that is not a store");
    return nullptr;
  }
  return static_cast<Store*>(self);
}

Store* Store::open_receiver(napi_env env, napi_value value) {
  Store* self = receiver(env, value);
  return self != nullptr && self->check_open(env) ? self : nullptr;
}

bool Store::check_open(napi_env env) const {
  if (phase_ == Phase::kOpen && !shut_) return true;
  if (phase_ != Phase::kStarting) {
    throw_error(env, Reason::kClosed, "the store was closed");
  } else {
    throw_error(env, Reason::kNotOpen, "the store is not open yet");
  }
  return false;
}

// The calls that are made for every record are functions of the object's own and have their store as data: to unwrap a
// receiver takes a third of such a call. Each holds its object, and so its store.
Status Store::define_own(napi_value self) {
  using Method = std::pair<const char*, napi_callback>;
  constexpr std::array<Method, 8> kMethods{Method{"get", get},
                                           {"set", set},
                                           {"delete", remove},
                                           {"increment", increment},
                                           {"compareAndSet", compare_and_set},
                                           {"batch", batch},
                                           {"flush", js_flush},
                                           {"bootTimeMs", boot_time_ms}};
  for (const auto& [name, callback] : kMethods) {
    napi_value function = nullptr;
    napi_property_descriptor holder{"store", nullptr, nullptr, nullptr, nullptr, self, napi_default, nullptr};
    napi_property_descriptor property{name,    nullptr, nullptr,      nullptr,
                                      nullptr, nullptr, napi_default, nullptr};
    if (napi_create_function(env_, name, NAPI_AUTO_LENGTH, callback, this, &function) != napi_ok ||
        napi_define_properties(env_, function, 1, &holder) != napi_ok) {
      return {Reason::kInternal, "Node refused a function"};
    }
    property.value = function;
    if (napi_define_properties(env_, self, 1, &property) != napi_ok) {
      return {Reason::kInternal, "Node refused a function"};
    }
  }
  return {};
}

napi_value Store::construct(napi_env env, napi_callback_info info) {
  const Arguments<3> arguments(env, info);
  napi_value target = nullptr;
  napi_get_new_target(env, info, &target);
  if (target == nullptr) return throw_error(env, Reason::kInvalidArgument, "Store is a class");
  Result<StoreOptions> options = read_record<StoreOptions>(env, arguments[0], "");
  if (!options.ok()) return throw_error(env, options.error());

  std::unique_ptr<Store> self(new Store(env));
  self->owned_clock_ = options->clock;
  self->read_only_ = options->engine.read_only;
  self->clock_ = options->clock ? options->clock.get() : &os::posix_clock();
  if (const Status status = self->connect(arguments[1], arguments[2]); !status.ok()) {
    return throw_error(env, status.error());
  }
  options->engine.before_step = [completions = self->completions_,
                                 kill = options->kill_before_step](std::string_view step) -> Status {
#ifdef STRONGROOM_TESTING
    if (step == kill) testing::kill_this_process();
#endif
    const std::size_t number = step_number(step);
    if (number < kOperationSteps.size()) completions->report(number, kOperationSteps.size());
    return {};
  };
  options->engine.compaction_failed = [completions = self->completions_](const Status& failed) {
    completions->fail(failed.error());
  };
  self->engine_ = std::make_unique<store::Engine>(
      os::Environment{os::posix_files(), *self->clock_}, std::move(options->engine),
      [completions = self->completions_](std::vector<log::Completion> done) {
        completions->push(std::move(done));
      });
  if (napi_wrap(
          env, arguments.receiver, self.get(),
          [](napi_env, void* data, void*) { delete static_cast<Store*>(data); }, nullptr,
          nullptr) != napi_ok) {
    return throw_error(env, Reason::kInternal, "Node refused the object");
  }
  Store* const wrapped = self.release();  // the finalizer owns it
  wrapped_stores.push_back(wrapped);
  if (const Status status = wrapped->define_own(arguments.receiver); !status.ok()) {
    return throw_error(env, status.error());
  }
  return arguments.receiver;
}

Status Store::connect(napi_value callback, napi_value results) {
  void* data = nullptr;
  std::size_t size = 0;
  if (napi_get_arraybuffer_info(env_, results, &data, &size) != napi_ok || size != layout::kDeliveryBytes) {
    return {Reason::kInternal, "the memory for results has the wrong size"};
  }
  napi_create_reference(env_, results, 1, &results_ref_);
  results_ = static_cast<std::uint8_t*>(data);
  if (napi_create_threadsafe_function(env_, callback, nullptr, text_value(env_, "strongroom"), 0, 1, nullptr,
                                      nullptr, this, on_signal, &signal_) != napi_ok) {
    return {Reason::kInternal, "Node refused the thread-safe function"};
  }
  napi_unref_threadsafe_function(env_, signal_);
  completions_->attach(signal_);
  // After the thread-safe function, so that it runs before that one's own.
  hooked_ = napi_add_env_cleanup_hook(env_, tear_down, this) == napi_ok;
  return {};
}

void Store::on_signal(napi_env env, napi_value callback, void* context, void* /*data*/) {
  if (env != nullptr) static_cast<Store*>(context)->deliver(env, callback, false);
}

napi_value Store::js_deliver(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  if (Store* self = receiver(env, arguments.receiver)) self->deliver(env, arguments[0], true);
  return nullptr;
}

// False when the subscriber threw.
bool Store::tell(napi_env env, const Completions::Progress& progress) {
  if (!progress.news || progress_ == nullptr) return true;
  napi_value report = nullptr;
  napi_get_reference_value(env, progress_, &report);
  const std::array<napi_value, 2> values{count_value(env, progress.done), count_value(env, progress.all)};
  return napi_call_function(env, undefined(env), report, values.size(), values.data(), nullptr) == napi_ok;
}

// Calls callback(count, errors, failures): `count` results stand in the shared memory in order of completion, `errors`
// holds those of the failed ones in the same order, or is undefined. `failures` is what the store failed at by itself, and
// comes in a call of its own. One call has 1,024 at most, and without
// `all` the rest waits for another turn of the event loop, so that a burst does not block it.
void Store::deliver(napi_env env, napi_value callback, bool all) {
  Completions::Progress progress;
  for (log::Completion& completion : completions_->take(&progress)) backlog_.push_back(std::move(completion));
  napi_value receiver = undefined(env);
  if (!tell(env, progress)) return;
  if (const std::vector<Error> failures = completions_->take_failures(); !failures.empty()) {
    const std::array<napi_value, 3> values{count_value(env, 0), undefined(env), describe(env, failures)};
    if (napi_call_function(env, receiver, callback, values.size(), values.data(), nullptr) != napi_ok) return;
  }
  while (!backlog_.empty() && results_ != nullptr) {
    const std::size_t count = std::min<std::size_t>(backlog_.size(), layout::kDeliveryMax);
    napi_value errors = nullptr;
    std::uint32_t failed = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const log::Completion& completion = backlog_[i];
      const auto generation = static_cast<double>(completion.generation);
      std::memcpy(results_ + i * sizeof generation, &generation, sizeof generation);
      std::memcpy(results_ + layout::kDeliveryNumbersAt + i * sizeof completion.number, &completion.number,
                  sizeof completion.number);
      std::uint8_t flags = completion.swapped ? layout::kDeliverySwapped : 0;
      std::deque<std::size_t>* sizes = &journal_bytes_;
      if (completion.durability == log::Durability::kWitnessed) {
        flags |= layout::kDeliveryOfWitnessed;
        sizes = &witnessed_bytes_;
      }
      pending_bytes_ -= sizes->front();
      sizes->pop_front();
      if (!completion.status.ok()) {
        flags |= layout::kDeliveryFailed;
        if (errors == nullptr) napi_create_array(env, &errors);
        napi_set_element(env, errors, failed++, describe(env, completion.status.error()));
      }
      results_[layout::kDeliveryFlagsAt + i] = flags;
    }
    backlog_.erase(backlog_.begin(), backlog_.begin() + static_cast<std::ptrdiff_t>(count));
    pending_ -= count;
    if (pending_ == 0 && signal_ != nullptr) napi_unref_threadsafe_function(env, signal_);
    const std::array<napi_value, 2> values{count_value(env, count),
                                           errors != nullptr ? errors : undefined(env)};
    if (napi_call_function(env, receiver, callback, values.size(), values.data(), nullptr) != napi_ok) return;
    if (!all && !backlog_.empty()) {
      completions_->again();
      return;
    }
  }
}

void Store::define(napi_env env, napi_value exports) {
  using store::Engine;
  const auto method = [](const char* name, napi_callback callback) {
    return napi_property_descriptor{name,   nullptr, callback, nullptr, nullptr, nullptr, napi_default_method,
                                    nullptr};
  };
  const std::array methods{
      method("deliver", js_deliver),
      method("has", has),
      method("setSync", set_sync),
      method("deleteSync", remove_sync),
      method("size", size),
      method("scan", scan),
      method("setSlab", set_slab),
      method("validateBeforeWrite", validate_before_write),
      method("determineStartupState", determine_startup_state),
      method("setupPersistenceFiles", opening_step<&Engine::setup_persistence_files>),
      method("initializeColdstart", opening_step<&Engine::initialize_coldstart>),
      method("initializeWarmstart", opening_step<&Engine::initialize_warmstart>),
      method("initializeRecovery", initialize_recovery),
      method("createAndLoadVault", create_and_load_vault),
      method("initializeStorageIdentifier", opening_step<&Engine::initialize_storage_identifier>),
      method("validateVaultIntegrity", opening_step<&Engine::validate_vault_integrity>),
      method("validateTimeTamperAge", opening_step<&Engine::validate_time_tamper_age>),
      method("updateTimeTamper", update_time_tamper),
      method("reanchor", operate<&Engine::reanchor>),
      method("recover", operate<&Engine::recover>),
      method("reseal", operate<&Engine::reseal>),
      method("validateRestore", validate_restore),
      method("restore", restore),
      method("noteRestore", note_restore),
      method("completeRestore", step<&Engine::complete_restore>),
      method("rotateKek", rotate_kek),
      method("rotateDek", rotate_dek),
      method("decommission", decommission),
      method("findLeftovers", find_leftovers),
      method("removeLeftovers", step<&Engine::remove_leftovers>),
      method("shut", shut),
      method("close", close),
      method("abandon", abandon),
      method("cancel", cancel),
      method("anchor", step<&Engine::anchor>),
      method("refreshTimeTamper", step<&Engine::refresh_time_tamper>),
      method("compact", step<&Engine::compact>),
      method("relocate", step<&Engine::relocate>),
      method("changePassword", change_password),
      method("addPassword", add_password),
      method("removePassword", remove_password),
      method("verifyPassword", verify_password),
      method("setSystemRecord", set_system_record),
      method("getSystemRecord", get_system_record),
      method("verify", verify),
      method("auditLog", audit_log),
      method("status", status),
      method("sealField", field<&store::FieldSealer::seal>),
      method("openField", field<&store::FieldSealer::open>),
      method("fieldKeyId", field_key_id),
      method("fieldNeedsRotation", field_needs_rotation),
      method("generateKey", generate_key),
      method("attachKeyChain", attach_key_chain),
      method("deactivateKey", deactivate_key),
      method("reactivateKey", reactivate_key),
      method("removeKey", remove_key),
      method("findKey", find_key),
      method("listKeys", list_keys),
      method("signWithKey", sign_with_key),
      method("setTls", set_tls),
      method("tlsCertificate", tls_certificate),
      method("removeTls", remove_tls),
      method("extractTls", extract_tls),
  };
  napi_value constructor = nullptr;
  napi_define_class(env, "Store", NAPI_AUTO_LENGTH, construct, nullptr, methods.size(), methods.data(),
                    &constructor);
  napi_set_named_property(env, exports, "Store", constructor);
}

}  // namespace strongroom::addon
