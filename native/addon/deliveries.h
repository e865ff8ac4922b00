// Operations that were submitted, from their acceptance to the callback that settles their promises
//
// Invariants:
// - Belongs to the JavaScript thread; other threads reach its Completions only.
// - While an operation is pending the thread-safe function holds the event loop; an idle store does not.
// - Never more are pending than the engine's queue takes, so that it refuses nothing.
#pragma once

#include <node_api.h>

#include <deque>
#include <memory>
#include <vector>

#include "addon/completions.h"
#include "base/limits.h"
#include "base/status.h"

namespace strongroom::addon {

class Deliveries {
 public:
  explicit Deliveries(napi_env env) : env_(env) {}
  Deliveries(const Deliveries&) = delete;
  Deliveries& operator=(const Deliveries&) = delete;
  Deliveries(Deliveries&&) = delete;
  Deliveries& operator=(Deliveries&&) = delete;
  ~Deliveries() { disconnect(); }

  // `results` is memory that TypeScript keeps alive and undetached; native/border.mjs has its layout.
  [[nodiscard]] Status connect(napi_value callback, napi_value results);
  void disconnect();
  // The environment ends, and takes the rest down itself.
  void detach();

  [[nodiscard]] const std::shared_ptr<Completions>& completions() const { return completions_; }

  // Counts an operation in. kQueueFull.
  [[nodiscard]] Status accept(log::Durability durability, std::size_t bytes) {
    if (pending_ >= limits::kQueueOperationsMax || pending_bytes_ + bytes > limits::kQueueBytesMax) {
      return {Reason::kQueueFull, std::to_string(pending_) + " operations wait already"};
    }
    (durability == log::Durability::kWitnessed ? witnessed_bytes_ : journal_bytes_).push_back(bytes);
    pending_bytes_ += bytes;
    if (pending_++ == 0) napi_ref_threadsafe_function(env_, signal_);
    return {};
  }

  // Calls callback(count, errors, failures): `count` results stand in the shared memory in order of completion, `errors`
  // holds those of the failed ones in the same order, or is undefined. `failures` is what the store failed at by itself,
  // and comes in a call of its own. One call has 1,024 at most. deliver_some() makes one call and leaves the rest to another
  // turn of the event loop, so that a burst does not block it.
  void deliver_some(napi_env env, napi_value callback);
  void deliver_all(napi_env env, napi_value callback);

  // Where the progress of the task that runs goes; undefined: nowhere.
  void keep_progress(napi_value callback);
  [[nodiscard]] bool has_progress() const { return progress_ != nullptr; }
  // The newest report comes before the task's promise settles; its call may have been overtaken.
  void end_progress(napi_env env);

 private:
  static void on_signal(napi_env env, napi_value callback, void* context, void* data);
  // False when what was called threw.
  [[nodiscard]] bool begin(napi_env env, napi_value callback);
  [[nodiscard]] bool deliver_one(napi_env env, napi_value callback);
  [[nodiscard]] bool tell(napi_env env, const Completions::Progress& progress);

  napi_env env_;
  std::shared_ptr<Completions> completions_ = std::make_shared<Completions>();
  napi_threadsafe_function signal_ = nullptr;
  napi_ref results_ref_ = nullptr;
  std::uint8_t* results_ = nullptr;
  std::size_t pending_ = 0;  // accepted and not yet delivered
  std::size_t pending_bytes_ = 0;
  std::deque<std::size_t> journal_bytes_;  // of each pending operation, in order
  std::deque<std::size_t> witnessed_bytes_;
  std::deque<log::Completion> backlog_;
  napi_ref progress_ = nullptr;
};

}  // namespace strongroom::addon
