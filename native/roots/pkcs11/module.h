// A PKCS#11 module in this process: loaded once, initialised once, called from one thread of its own.
//
// Invariants:
// - Module::get() gives one Module for each real path; modules are neither closed nor freed, and their threads end with
//   the process.
// - Only the module's thread calls into the module, so no call ever meets a C_Finalize. What a job needs it owns: when its
//   caller has stopped waiting, the job goes on alone and its result is destroyed on that thread.
// - A job that exceeds its limit marks the module as hung: every job that waits or comes then fails at once with
//   kHsmUnreachable, which says so. When the call returns after all, the module is initialised again and serves again.
// - A caller whose task is cancelled stops waiting at once. That says nothing about the module: later jobs wait their turn.
// - C_Finalize is called only for a C_Initialize of ours.
// - In a child after fork() every call is refused before anything of the module is touched.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <future>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/thread_annotations.h"
#include "os/process.h"
#include "roots/pkcs11/classify.h"

namespace strongroom::roots::pkcs11 {

class Session;

// The module as its own thread sees it. Lives there only.
class Worker {
 public:
  class Cleanup;

  Worker(std::string path, std::string init_arguments, std::atomic<const char*>& current);

  // Loads and initialises the module unless that is done. kHsmUnreachable; the next call tries again.
  [[nodiscard]] Status ensure_ready();
  // C_Finalize (if ours) and C_Initialize: every session is lost, and what other processes did to the tokens is seen.
  [[nodiscard]] Status reinitialise();
  // A new C_Initialize has taken place in this job, so nothing that was found absent was only not seen.
  [[nodiscard]] bool fresh() const { return job_.is_fresh; }
  // Rises with every initialisation: a session of an earlier one is gone.
  [[nodiscard]] std::uint64_t epoch() const { return epoch_; }
  // No open session would have to be unlocked by hand (protected authentication path).
  [[nodiscard]] bool may_reinitialise() const;

  template <typename Function, typename... Arguments>
  CK_RV call(Function _CK_FUNCTION_LIST::*function, const char* name, Arguments... arguments) {
    called_ = name;
    if (functions_->*function == nullptr) return CKR_FUNCTION_NOT_SUPPORTED;
    current_.store(name, std::memory_order_relaxed);
    const CK_RV value = (functions_->*function)(arguments...);
    current_.store(nullptr, std::memory_order_relaxed);
    return value;
  }

  // OK for CKR_OK; otherwise the classified error of the newest call. Its cure is noted for heal().
  [[nodiscard]] Status check(CK_RV value, Operation operation = Operation::kUse);
  // The newest call's error without a note, for attempts that have an alternative.
  [[nodiscard]] Status error(CK_RV value, Operation operation = Operation::kUse) const;

  // The answer that check() last found not to be CKR_OK.
  [[nodiscard]] CK_RV failed() const { return failed_; }

  // The token has been shown to be well since the note: the failure needs no cure.
  void acquit() { attempt_.cure = Cure::kNone; }
  // The note asks for a new session and no more: the call was not carried out, and is worth repeating.
  [[nodiscard]] bool reopens() const { return attempt_.cure == Cure::kReopen; }
  // The module initialised anew may see what this one does not.
  void distrust() { attempt_.cure = std::max(attempt_.cure, Cure::kReinitialise); }

  // Before a call that changes the token. kHsmUnreachable when the caller has stopped waiting: then nothing more is changed.
  [[nodiscard]] Status begin_change();

  // Runs `work` with an open session, at most three times: a stale session is opened again, a device error and an answer
  // that something is absent are tried again on the module initialised anew. Work that may have changed the token is not
  // repeated.
  template <typename Work>
  auto perform(Session& session, Work work) -> decltype(work());

  // The thread's loop brackets every job with these.
  void begin_job(const std::atomic<bool>* given_up);
  void end_job() { job_.given_up = nullptr; }
  // The module is initialised again before the next job.
  void suspect() { suspect_ = true; }

  // Other users of the module's tokens.
  std::vector<Session*> sessions;
  // Names of objects that this process made since the module was last initialised. That the module shows them does not say
  // that it has stored them.
  std::set<std::string> made;
  // Replaces the arguments of C_Initialize; the module is initialised anew with them.
  [[nodiscard]] Status set_init_arguments(const std::string& arguments);

 private:
  struct CurrentJob {
    const std::atomic<bool>* given_up = nullptr;
    bool is_fresh = false;
    bool has_reopened = false;
    bool has_reinitialised = false;  // as a cure
    int looks = 0;                   // for a token that was missing on a fresh module
  };
  struct Attempt {
    Cure cure = Cure::kNone;
    bool has_changed = false;  // the token, or may have
  };

  [[nodiscard]] Status load();
  [[nodiscard]] bool heal(const Status& status, Session& session);

  const std::string path_;
  std::string init_arguments_;
  std::atomic<const char*>& current_;
  CK_FUNCTION_LIST* functions_ = nullptr;
  bool initialised_ = false;
  bool ours_ = false;
  bool not_finalised_ = false;  // C_Finalize failed: that it is initialised already is our own doing
  std::uint64_t epoch_ = 0;
  const char* called_ = "";
  CK_RV failed_ = CKR_OK;
  bool suspect_ = false;
  CurrentJob job_;
  Attempt attempt_;
};

// Calls that clean up after a failure: what they answer is neither the failure's name nor its cure.
class Worker::Cleanup {
 public:
  explicit Cleanup(Worker& worker)
      : worker_(worker), called_(worker.called_), failed_(worker.failed_), cure_(worker.attempt_.cure) {}
  ~Cleanup() {
    worker_.called_ = called_;
    worker_.failed_ = failed_;
    worker_.attempt_.cure = cure_;
  }
  Cleanup(const Cleanup&) = delete;
  Cleanup& operator=(const Cleanup&) = delete;
  Cleanup(Cleanup&&) = delete;
  Cleanup& operator=(Cleanup&&) = delete;

 private:
  Worker& worker_;
  const char* const called_;
  const CK_RV failed_;
  const Cure cure_;
};

#define SR_CALL(worker, function, ...) \
  (worker).call(&_CK_FUNCTION_LIST::function, #function __VA_OPT__(, ) __VA_ARGS__)

class Module {
 public:
  // `path` is absolute. kInvalidOption for another path or oversized arguments, kHsmUnreachable when there is no such file.
  [[nodiscard]] static Result<Module*> get(const std::string& path, const std::string& init_arguments);

  // Runs `work(Worker&)`, which returns a Status or Result, on the module's thread and waits for it. What `work` holds must
  // be its own.
  template <typename Work>
  auto run(std::chrono::milliseconds limit, Work work) -> decltype(work(std::declval<Worker&>())) {
    using Outcome = decltype(work(std::declval<Worker&>()));
    struct Typed final : Job {
      explicit Typed(Work w) : work(std::move(w)) {}
      void execute(Worker& worker) override { outcome.emplace(work(worker)); }
      Work work;
      std::optional<Outcome> outcome;
    };
    const auto job = std::make_shared<Typed>(std::move(work));
    if (Status waited = wait_for(job, limit); !waited.ok()) return waited;
    return std::move(*job->outcome);
  }

  // As post(), and waits until it is done, but not for long: a process that ends must not find the module's thread inside
  // the module, whose own state is taken down then. From any thread; does not wait in a job, nor for a module that hangs.
  template <typename Work>
  void settle(std::chrono::milliseconds at_most, Work work) {
    auto done = std::make_shared<std::promise<void>>();
    std::future<void> settled = done->get_future();
    post([work = std::move(work), done](Worker& worker) {
      work(worker);
      done->set_value();
    });
    if (may_wait()) settled.wait_for(at_most);
  }

  // Runs `work(Worker&)` when the module's thread comes to it; nobody waits. From any thread, also from a job.
  template <typename Work>
  void post(Work work) {
    struct Typed final : Job {
      explicit Typed(Work w) : work(std::move(w)) {}
      void execute(Worker& worker) override { work(worker); }
      Work work;
    };
    auto job = std::make_shared<Typed>(std::move(work));
    post_job(std::move(job));
  }

 private:
  enum class State : std::uint8_t { kWaiting, kPosted, kRunning, kDone, kRefused };
  struct Job {
    Job() = default;
    Job(const Job&) = delete;
    Job& operator=(const Job&) = delete;
    Job(Job&&) = delete;
    Job& operator=(Job&&) = delete;
    virtual ~Job() = default;
    virtual void execute(Worker& worker) = 0;
    std::atomic<bool> given_up{false};
    CondVar finished;

   private:
    friend class Module;
    State state_ = State::kWaiting;  // by Module::state() only
  };

  Module(const std::string& path, const std::string& init_arguments);
  [[nodiscard]] Status wait_for(const std::shared_ptr<Job>& job, std::chrono::milliseconds limit)
      SR_EXCLUDES(mutex_);
  void post_job(std::shared_ptr<Job> job) SR_EXCLUDES(mutex_);
  [[nodiscard]] bool may_wait() SR_EXCLUDES(mutex_);
  [[nodiscard]] State& state(Job& job) SR_REQUIRES(mutex_) { return job.state_; }
  [[nodiscard]] Status does_not_answer(std::string_view since) const SR_REQUIRES(mutex_);
  void refuse_waiting(std::vector<std::shared_ptr<Job>>& refused) SR_REQUIRES(mutex_);
  [[noreturn]] void loop() SR_EXCLUDES(mutex_);

  const std::string path_;
  const pid_t owner_ = os::process_id();
  std::thread::id thread_id_;
  std::atomic<const char*> current_{nullptr};  // the function that is being called
  Worker worker_;

  Mutex mutex_;
  CondVar wake_;
  std::deque<std::shared_ptr<Job>> queue_ SR_GUARDED_BY(mutex_);
  bool hung_ SR_GUARDED_BY(mutex_) = false;
  bool abandoned_ SR_GUARDED_BY(mutex_) = false;  // the running job's caller was cancelled
  const char* hung_in_ SR_GUARDED_BY(mutex_) = nullptr;
};

}  // namespace strongroom::roots::pkcs11
