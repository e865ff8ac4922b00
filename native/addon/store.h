// One store as JavaScript sees it: the class `Store` of the binding. Arguments in, promises out.
//
// The calls of the vault are here, by Node-API's own functions, since they are made for every record. The rest are calls of
// the store's parts (addon/store_parts.h): `store.start`, `store.keys` and so on.
//
// Invariants:
// - Belongs to the environment that made it, and to its thread; only tasks touch the engine from another one, one task at a
//   time, and never the members here.
// - Once `close` or `abandon` was called no call reaches the engine any more; it is destroyed on the pool.
// - When the environment ends first, the engine is destroyed there and then, like a crash: its threads are joined, and
//   nothing is called that the environment has taken down.
#pragma once

#include <node_api.h>

#include <memory>
#include <optional>

#include "addon/border.h"
#include "addon/deliveries.h"
#include "addon/task.h"
#include "addon/value.h"
#include "log/records.h"
#include "store/engine.h"
#include "store/field_sealer.h"
#include "store/start/planned_start.h"

namespace strongroom::addon {

class Store {
 public:
  using Work = std::function<Status(store::Engine&)>;
  using MakeValue = std::function<napi_value(napi_env)>;

  // Defines the class and sets it as a property of `exports`.
  static void define(napi_env env, napi_value exports);
  // Null after throwing kInvalidArgument.
  [[nodiscard]] static Store* of(napi_env env, napi_value value);

  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;
  Store(Store&&) = delete;
  Store& operator=(Store&&) = delete;
  ~Store();

  // The store is open, else kClosed or kNotOpen was thrown.
  [[nodiscard]] bool check_open(napi_env env) const;
  // A task can be started, else kClosed or kInternal was thrown.
  [[nodiscard]] bool check_task(napi_env env) const;
  // The store is open, or shut, and a task can be started; else what check_task() or check_open() throws.
  [[nodiscard]] bool check_open_task(napi_env env) const;

  // Where tasks run with a protector of these options, from now on.
  void place_tasks(const store::KindOptions& options);
  // Starts a task on the engine after check_task(). `self` is the store's object.
  napi_value run(napi_value self, const char* name, Work work, MakeValue value = {},
                 std::function<void(napi_env)> settled = {});
  // The same for one that only reads, or can stop before it writes: cancel() ends it with kAborted.
  napi_value run_cancellable(napi_value self, const char* name, Work work, MakeValue value = {});
  // The same for one after which the vault can be used.
  napi_value run_to_open(napi_value self, const char* name, Work work);

  // What the task that is about to start reports goes to `callback`, unless that is undefined.
  void keep_progress(napi_value callback) { deliveries_.keep_progress(callback); }
  // The same for a task that reports by a hook of its own; empty without a callback.
  [[nodiscard]] store::Engine::ProgressHook progress_to(napi_value callback);

  // The start that is under way; null when none is.
  [[nodiscard]] const std::shared_ptr<store::PlannedStart>& start() const { return start_; }
  void keep_start(std::shared_ptr<store::PlannedStart> start) { start_ = std::move(start); }
  // From now on the vault can be used.
  void start_ended();

  // Until the store is closed.
  [[nodiscard]] store::Engine& engine() const { return *engine_; }
  [[nodiscard]] log::ValueCipher& cipher() { return *cipher_; }
  [[nodiscard]] os::Clock& clock() const { return *clock_; }
  // The sealer of the data encryption key of now.
  [[nodiscard]] Result<store::FieldSealer*> fields();

  // From now on every call of the vault answers kClosed; tasks asked for before still run.
  void shut();

  // Signatures on the pool, or waiting for it.
  struct Signatures {
    std::size_t count = 0;
    std::size_t bytes = 0;
  };
  [[nodiscard]] Signatures& signatures() { return signatures_; }

 private:
  enum class Phase : std::uint8_t { kStarting, kOpen, kShut, kClosed };

  struct RunningTask {
    bool is_running = false;
    std::shared_ptr<Cancellation> cancellation;  // null where it cannot be cancelled
    Task::Place place = Task::Place::kPool;      // of every task of the store
  };
  // Operations of this turn of the event loop, which go to the engine together, so that one sync makes all durable.
  struct Gathered {
    std::vector<log::QueuedOperation> operations;
    std::size_t bytes = 0;
  };
  // What small values are decrypted into; TypeScript keeps it alive and undetached.
  struct Slab {
    MutableBytes memory;
    std::size_t used = 0;
  };

  explicit Store(napi_env env) : env_(env), deliveries_(env) {}

  static napi_value construct(napi_env env, napi_callback_info info);
  void make_engine(StoreOptions options);
  [[nodiscard]] Status define_own(napi_value self);
  static void tear_down(void* data);
  void disconnect();
  void forget_secrets();

  // The same as of(), and the store is open.
  static Store* open_receiver(napi_env env, napi_value value);
  // The store of one of its own functions: what napi_get_cb_info() gives as their data.
  static Store* own(void* data) { return static_cast<Store*>(data); }
  static Store* own_open(napi_env env, void* data) {
    return own(data)->check_open(env) ? own(data) : nullptr;
  }

  // --- store.cc ---
  static napi_value js_deliver(napi_env env, napi_callback_info info);
  static napi_value status(napi_env env, napi_callback_info info);
  static napi_value cancel(napi_env env, napi_callback_info info);
  static napi_value close(napi_env env, napi_callback_info info);
  static napi_value abandon(napi_env env, napi_callback_info info);
  [[nodiscard]] Status close_engine();

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

  napi_env env_;
  std::shared_ptr<os::Clock> clock_;
  Deliveries deliveries_;
  std::unique_ptr<store::Engine> engine_;
  std::shared_ptr<store::PlannedStart> start_;
  std::optional<log::ValueCipher> cipher_;      // of the JavaScript thread
  std::unique_ptr<store::FieldSealer> sealer_;  // the same; made when first asked for
  bool hooked_ = false;                         // tear_down is registered
  bool read_only_ = false;
  Phase phase_ = Phase::kStarting;
  RunningTask task_;
  Gathered gathered_;
  Slab slab_;
  std::optional<store::EngineStatus> last_status_;  // of a closed store
  Signatures signatures_;
};

}  // namespace strongroom::addon
