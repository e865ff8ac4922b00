// One store as JavaScript sees it: the class `Store` of the binding. Arguments in, promises out.
//
// Invariants:
// - Belongs to the environment that made it, and to its thread; only tasks touch the engine from another one,
// one
//   task at a time, and never the flags here.
// - Once `close` or `abandon` was called no call reaches the engine any more; it is destroyed on the pool.
// - While an operation is pending the thread-safe function holds the event loop; an idle store does not.
// - When the environment ends first, the engine is destroyed there and then, like a crash: its threads are
// joined,
//   and nothing is called that the environment has taken down.
#pragma once

#include <node_api.h>

#include <deque>
#include <memory>
#include <optional>

#include "addon/border.h"
#include "addon/completions.h"
#include "addon/task.h"
#include "addon/value.h"
#include "log/records.h"
#include "store/engine.h"
#include "store/field_sealer.h"
#include "store/managed_keys.h"

namespace strongroom::addon {

class Store {
 public:
  // Defines the class and sets it as a property of `exports`.
  static void define(napi_env env, napi_value exports);

  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;
  Store(Store&&) = delete;
  Store& operator=(Store&&) = delete;
  ~Store();

 private:
  enum class Phase : std::uint8_t { kStarting, kOpen, kClosed };

  explicit Store(napi_env env) : env_(env) {}

  static napi_value construct(napi_env env, napi_callback_info info);
  [[nodiscard]] Status connect(napi_value callback, napi_value results);
  static void tear_down(void* data);
  void disconnect();

  // The receiver of a call, or null after throwing kInvalidArgument.
  static Store* receiver(napi_env env, napi_value value);
  // The same, and the store is open; kClosed, kNotOpen.
  static Store* open_receiver(napi_env env, napi_value value);
  // The store of one of its own functions: what napi_get_cb_info() gives as their data.
  static Store* own(void* data) { return static_cast<Store*>(data); }
  static Store* own_open(napi_env env, void* data) {
    return own(data)->check_open(env) ? own(data) : nullptr;
  }
  [[nodiscard]] bool check_open(napi_env env) const;
  [[nodiscard]] Status define_own(napi_value self);

  // --- store.cc: completions ---
  void deliver(napi_env env, napi_value callback, bool all);
  [[nodiscard]] bool tell(napi_env env, const Completions::Progress& progress);
  static void on_signal(napi_env env, napi_value callback, void* context, void* data);
  static napi_value js_deliver(napi_env env, napi_callback_info info);

  // --- store_vault.cc ---
  static napi_value get(napi_env env, napi_callback_info info);
  static napi_value has(napi_env env, napi_callback_info info);
  static napi_value set(napi_env env, napi_callback_info info);
  static napi_value set_sync(napi_env env, napi_callback_info info);
  static napi_value remove(napi_env env, napi_callback_info info);
  static napi_value remove_sync(napi_env env, napi_callback_info info);
  static napi_value increment(napi_env env, napi_callback_info info);
  static napi_value compare_and_set(napi_env env, napi_callback_info info);
  static napi_value batch(napi_env env, napi_callback_info info);
  static napi_value set_slab(napi_env env, napi_callback_info info);
  static napi_value validate_before_write(napi_env env, napi_callback_info info);
  static napi_value boot_time_ms(napi_env env, napi_callback_info info);
  static napi_value js_flush(napi_env env, napi_callback_info info);
  napi_value submit(log::QueuedOperation operation);
  void flush();
  napi_value commit_now(log::QueuedOperation operation);
  napi_value get_large(std::string_view key, std::size_t size);

  // --- store_scan.cc ---
  static napi_value size(napi_env env, napi_callback_info info);
  static napi_value scan(napi_env env, napi_callback_info info);

  // --- store_steps.cc ---
  static napi_value determine_startup_state(napi_env env, napi_callback_info info);
  template <Status (store::Engine::*kStep)()>
  static napi_value step(napi_env env, napi_callback_info info);
  template <Status (store::Engine::*kStep)()>
  static napi_value opening_step(napi_env env, napi_callback_info info);
  static napi_value initialize_recovery(napi_env env, napi_callback_info info);
  static napi_value create_and_load_vault(napi_env env, napi_callback_info info);
  static napi_value update_time_tamper(napi_env env, napi_callback_info info);
  template <Status (store::Engine::*kOperation)(const store::Credential&)>
  static napi_value operate(napi_env env, napi_callback_info info);
  static napi_value validate_restore(napi_env env, napi_callback_info info);
  static napi_value restore(napi_env env, napi_callback_info info);
  static napi_value note_restore(napi_env env, napi_callback_info info);
  static napi_value rotate_kek(napi_env env, napi_callback_info info);
  static napi_value rotate_dek(napi_env env, napi_callback_info info);
  // What a task reports goes to `callback`, unless it is undefined.
  void keep_progress(napi_value callback);
  // The same for a task that reports by a hook of its own; empty without a callback.
  store::Engine::ProgressHook progress_to(napi_value callback);
  static napi_value decommission(napi_env env, napi_callback_info info);
  static napi_value find_leftovers(napi_env env, napi_callback_info info);
  static napi_value shut(napi_env env, napi_callback_info info);
  static napi_value close(napi_env env, napi_callback_info info);
  static napi_value abandon(napi_env env, napi_callback_info info);
  static napi_value cancel(napi_env env, napi_callback_info info);
  static napi_value set_system_record(napi_env env, napi_callback_info info);
  static napi_value get_system_record(napi_env env, napi_callback_info info);
  static napi_value verify(napi_env env, napi_callback_info info);
  static napi_value audit_log(napi_env env, napi_callback_info info);
  static napi_value status(napi_env env, napi_callback_info info);

  // --- store_passwords.cc ---
  static napi_value change_password(napi_env env, napi_callback_info info);
  static napi_value add_password(napi_env env, napi_callback_info info);
  static napi_value remove_password(napi_env env, napi_callback_info info);
  static napi_value verify_password(napi_env env, napi_callback_info info);
  // A task that answers the id of a key slot.
  napi_value run_for_slot(napi_value self, const char* name,
                          std::function<Result<std::uint32_t>(store::Engine&)> work);

  // --- store_keys.cc ---
  // The sealer of this store, or null after throwing.
  static store::FieldSealer* fields(napi_env env, napi_value value);
  template <Status (store::FieldSealer::*kOperation)(ByteView, ByteView, MutableBytes)>
  static napi_value field(napi_env env, napi_callback_info info);
  static napi_value field_key_id(napi_env env, napi_callback_info info);
  static napi_value field_needs_rotation(napi_env env, napi_callback_info info);
  static napi_value generate_key(napi_env env, napi_callback_info info);
  static napi_value attach_key_chain(napi_env env, napi_callback_info info);
  static napi_value deactivate_key(napi_env env, napi_callback_info info);
  static napi_value reactivate_key(napi_env env, napi_callback_info info);
  static napi_value remove_key(napi_env env, napi_callback_info info);
  static napi_value find_key(napi_env env, napi_callback_info info);
  static napi_value list_keys(napi_env env, napi_callback_info info);
  static napi_value sign_with_key(napi_env env, napi_callback_info info);
  static napi_value set_tls(napi_env env, napi_callback_info info);
  static napi_value tls_certificate(napi_env env, napi_callback_info info);
  static napi_value remove_tls(napi_env env, napi_callback_info info);
  static napi_value extract_tls(napi_env env, napi_callback_info info);
  static napi_value change_key(napi_env env, napi_callback_info info, const char* name,
                               Status (*act)(store::ManagedKeys&, const std::string&, const std::string&));
  // As task_receiver(), and the store is open.
  static Store* open_task_receiver(napi_env env, napi_value value);

  // Starts a task on the engine; kInternal by throwing when another one runs.
  napi_value run(napi_value self, const char* name, std::function<Status(store::Engine&)> work,
                 std::function<napi_value(napi_env)> value = {}, std::function<void(napi_env)> settled = {});
  // The same for one that only reads, or can stop before it writes: cancel() ends it with kAborted.
  napi_value run_cancellable(napi_value self, const char* name, std::function<Status(store::Engine&)> work,
                             std::function<napi_value(napi_env)> value = {});
  // The receiver of a call that runs a task: closed, or another task under way, throws.
  static Store* task_receiver(napi_env env, napi_value value);
  void opened();

  napi_env env_;
  std::unique_ptr<store::Engine> engine_;
  std::shared_ptr<os::Clock> owned_clock_;  // a test's
  os::Clock* clock_ = nullptr;
  std::optional<log::ValueCipher> cipher_;  // of the JavaScript thread
  std::shared_ptr<Completions> completions_ = std::make_shared<Completions>();
  napi_threadsafe_function signal_ = nullptr;
  bool hooked_ = false;  // tear_down is registered
  Phase phase_ = Phase::kStarting;
  bool task_running_ = false;
  std::shared_ptr<Cancellation> cancellation_;  // of the task that runs, if it can be cancelled
  bool read_only_ = false;
  bool shut_ = false;  // close() was asked for; tasks asked for before it still run
  // Operations of this turn of the event loop, which go to the engine together, so that one sync makes all durable.
  std::vector<log::QueuedOperation> gathered_;
  std::size_t gathered_bytes_ = 0;
  // Accepted and not yet delivered: never more than the engine's queue takes, so that it refuses nothing.
  std::size_t pending_ = 0;
  std::size_t pending_bytes_ = 0;
  std::deque<std::size_t> journal_bytes_;  // of each pending operation, in order
  std::deque<std::size_t> witnessed_bytes_;
  std::deque<log::Completion> backlog_;
  napi_ref progress_ = nullptr;  // the callback of the task that runs, if it wants one
  std::optional<store::EngineStatus> last_status_;
  std::unique_ptr<store::FieldSealer> fields_;  // of the JavaScript thread; made when first asked for
  std::size_t signatures_ = 0;                  // on the pool, or waiting for it
  std::size_t signature_bytes_ = 0;

  // Memory shared with TypeScript, which keeps it alive and undetached: results of a delivery, see deliver(),
  // and the slab that small values are decrypted into.
  napi_ref results_ref_ = nullptr;
  std::uint8_t* results_ = nullptr;
  MutableBytes slab_;
  std::size_t slab_used_ = 0;
};

}  // namespace strongroom::addon
