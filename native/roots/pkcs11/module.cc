#include "roots/pkcs11/module.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <map>
#include <system_error>
#include <thread>

#include "base/cancellation.h"
#include "base/thread_refused.h"
#include "os/dynlib.h"
#include "roots/pkcs11/session.h"

namespace strongroom::roots::pkcs11 {
namespace {

constexpr std::size_t kInitArgumentsBytesMax = 1024;
constexpr int kLooksMax = 3;
constexpr std::chrono::milliseconds kLookPause{50};
constexpr std::string_view kSinceEarlier = "since an earlier call";

struct Registry {
  Mutex mutex;
  std::map<std::string, Module*> modules SR_GUARDED_BY(mutex);
};
// Never destroyed: the modules' threads outlive every destructor.
Registry& registry() {
  static auto* const instance = new Registry;
  return *instance;
}
// The process that uses modules. Set once by the first; a child has another number and must not take the mutex, which may
// be held by a thread that the child does not have.
std::atomic<pid_t> using_process{0};

Status after_fork() {
  return Status(Reason::kHsmUnreachable, "PKCS#11 modules cannot be used in a child process after fork()");
}

// Another process may have changed what these say; a module initialised anew knows.
bool is_absence(const Status& status) {
  return status.is(Reason::kTokenMissing) || status.is(Reason::kTokenAmbiguous) ||
         status.is(Reason::kPinNotInitialized) || status.is(Reason::kKekMissing) ||
         status.is(Reason::kKekDuplicate) || status.is(Reason::kNotFound);
}

}  // namespace

// --- Worker ---

Worker::Worker(std::string path, std::string init_arguments, std::atomic<const char*>& current)
    : path_(std::move(path)), init_arguments_(std::move(init_arguments)), current_(current) {}

Status Worker::load() {
  if (functions_ != nullptr) return Status();
  CK_RV (*get_function_list)(CK_FUNCTION_LIST**) = nullptr;
  const Status loaded =
      os::load_functions_at("PKCS#11 storage", path_, {{"C_GetFunctionList", get_function_list}});
  if (!loaded.ok()) return Status(Reason::kHsmUnreachable, loaded.error().detail);
  CK_FUNCTION_LIST* functions = nullptr;
  called_ = "C_GetFunctionList";
  const CK_RV value = get_function_list(&functions);
  if (value != CKR_OK) return error(value, Operation::kInitialise);
  // The list of version 3 begins with that of version 2.
  if (functions == nullptr || (functions->version.major != 2 && functions->version.major != 3)) {
    return Status(Reason::kHsmUnreachable, path_ + " has no function list of PKCS#11 version 2 or 3");
  }
  functions_ = functions;
  return Status();
}

Status Worker::ensure_ready() {
  if (initialised_) return Status();
  SR_TRY(load());
  std::string text = init_arguments_;
  InitializeArguments arguments;
  arguments.standard.flags = CKF_OS_LOCKING_OK;
  if (!text.empty()) arguments.standard.pReserved = text.data();
  const CK_RV value = SR_CALL(*this, C_Initialize, static_cast<void*>(&arguments));
  if (value != CKR_OK && value != CKR_CRYPTOKI_ALREADY_INITIALIZED)
    return error(value, Operation::kInitialise);
  ours_ = value == CKR_OK || not_finalised_;
  if (ours_) made.clear();
  initialised_ = true;
  job_.is_fresh = true;
  ++epoch_;
  return Status();
}

Status Worker::reinitialise() {
  if (initialised_) {
    // Closed one by one: an adopted module would keep them, and some modules leave loaded keys behind in the device when
    // they are finalised with open sessions (tpm2-pkcs11).
    for (Session* session : sessions) session->close(*this);
    if (ours_) {
      const CK_RV value = SR_CALL(*this, C_Finalize, static_cast<void*>(nullptr));
      not_finalised_ = value != CKR_OK && value != CKR_CRYPTOKI_NOT_INITIALIZED;
    }
    initialised_ = false;
  }
  return ensure_ready();
}

Status Worker::set_init_arguments(const std::string& arguments) {
  if (arguments == init_arguments_) return Status();
  if (!sessions.empty() || (initialised_ && !ours_)) {
    return Status(Reason::kInvalidOption, path_ + " is in use with other initialisation arguments");
  }
  init_arguments_ = arguments;
  return initialised_ ? reinitialise() : Status();
}

bool Worker::may_reinitialise() const {
  return std::none_of(sessions.begin(), sessions.end(),
                      [](const Session* session) { return session->unlocked_by_hand(); });
}

Status Worker::error(CK_RV value, Operation operation) const {
  return Status(classify(value, operation).reason,
                std::string(called_) + ": " + describe(value) + " from " + path_);
}

Status Worker::check(CK_RV value, Operation operation) {
  if (value == CKR_OK) return Status();
  failed_ = value;
  attempt_.cure = std::max(attempt_.cure, classify(value, operation).cure);
  return error(value, operation);
}

Status Worker::begin_change() {
  if (job_.given_up != nullptr && job_.given_up->load()) {
    return Status(Reason::kHsmUnreachable, "given up before the token was changed");
  }
  attempt_.has_changed = true;
  return Status();
}

void Worker::begin_job(const std::atomic<bool>* given_up) {
  job_ = {};
  job_.given_up = given_up;
  attempt_ = {};
  if (suspect_ && initialised_ && may_reinitialise())
    reinitialise().ignore("the job asks for a ready module and is told");
  suspect_ = false;
}

bool Worker::heal(const Status& status, Session& session) {
  if (status.ok()) return false;
  Cure cure = attempt_.cure;
  const bool repeatable = !attempt_.has_changed || cure == Cure::kReopen;
  if (cure == Cure::kReopen && job_.has_reopened) cure = Cure::kReinitialise;
  const bool absence = is_absence(status);
  if (absence) cure = Cure::kReinitialise;
  if (cure == Cure::kNone) return false;
  // Another process may be writing the token's own file at this moment, as SoftHSM does at each login: what it truncated
  // looks like no token. A token is missing when it stays so.
  if (status.is(Reason::kTokenMissing) && job_.is_fresh && !attempt_.has_changed && job_.looks < kLooksMax &&
      may_reinitialise() && !job_.given_up->load()) {
    ++job_.looks;
    std::this_thread::sleep_for(kLookPause);
    session.close(*this);
    reinitialise().ignore("the next attempt asks for a ready module and is told");
    return true;
  }
  // What came out of it is the answer.
  if (cure == Cure::kReinitialise && absence && job_.is_fresh) return false;
  if (cure == Cure::kReinitialise && job_.has_reinitialised) {
    suspect_ = true;
    return false;
  }
  if (cure == Cure::kReinitialise && !may_reinitialise()) {
    if (job_.has_reopened) return false;
    cure = Cure::kReopen;
  }
  session.close(*this);
  if (cure == Cure::kReopen) {
    job_.has_reopened = true;
  } else {
    reinitialise().ignore("the next attempt asks for a ready module and is told");
    job_.has_reinitialised = true;
  }
  return repeatable;
}

// --- Module ---

Module::Module(const std::string& path, const std::string& init_arguments)
    : path_(path), worker_(path, init_arguments, current_) {
  // Signals are for the threads of the application.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS}) sigdelset(&all, fault);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    std::thread thread([this] { loop(); });
    thread_id_ = thread.get_id();
    thread.detach();
  } catch (const std::system_error&) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    throw;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Result<Module*> Module::get(const std::string& path, const std::string& init_arguments) {
  const pid_t process = os::process_id();
  pid_t expected = 0;
  if (!using_process.compare_exchange_strong(expected, process) && expected != process) return after_fork();
  if (init_arguments.size() > kInitArgumentsBytesMax || init_arguments.find('\0') != std::string::npos) {
    return Status(Reason::kInvalidOption,
                  "initialisation arguments of a PKCS#11 module: at most 1,024 bytes, no NUL");
  }
  const Result<std::string> real = os::real_path(path);
  if (!real.ok()) {
    if (real.is(Reason::kInvalidArgument))
      return Status(Reason::kInvalidOption, "PKCS#11 module: " + real.error().detail);
    return Status(Reason::kHsmUnreachable, "PKCS#11 module " + real.error().detail,
                  real.error().system_error);
  }
  Registry& all = registry();
  const MutexLock lock(all.mutex);
  Module*& module = all.modules[*real];
  try {
    if (module == nullptr) module = new Module(*real, init_arguments);
  } catch (const std::system_error&) {
    return Status(Reason::kInternal, "for the PKCS#11 module " + path + ", " + kThreadRefused);
  }
  return module;
}

Status Module::does_not_answer(std::string_view since) const {
  const char* const function = hung_in_ != nullptr ? hung_in_ : "a call";
  return Status(
      Reason::kHsmUnreachable,
      std::string(function) + " of " + path_ + " has not returned " + std::string(since) +
          "; the module serves no call until that call returns. If it never does, restart this process");
}

Status Module::wait_for(const std::shared_ptr<Job>& job, std::chrono::milliseconds limit) {
  if (os::process_id() != owner_) return after_fork();
  const auto deadline = std::chrono::steady_clock::now() + limit;
  std::vector<std::shared_ptr<Job>> refused;  // destroyed without the lock, as the wake-up is
  const CancellationWakeup wakeup([this, &job] {
    const MutexLock lock(mutex_);
    job->finished.notify_all();
  });
  const MutexLock lock(mutex_);
  if (hung_) return does_not_answer(kSinceEarlier);
  SR_TRY(check_cancelled());
  queue_.push_back(job);
  wake_.notify_one();
  const State& state_now = state(*job);
  while (state_now != State::kDone && state_now != State::kRefused && !cancelled() &&
         job->finished.wait_until(mutex_, deadline) == std::cv_status::no_timeout) {
  }
  if (state_now == State::kDone) return Status();
  if (state_now == State::kRefused) return does_not_answer(kSinceEarlier);
  const bool waiting = state_now == State::kWaiting;
  if (waiting) std::erase(queue_, job);
  if (!waiting) job->given_up.store(true);
  if (cancelled()) {
    if (!waiting) abandoned_ = true;
    return check_cancelled();
  }
  if (waiting && !abandoned_) return Status(Reason::kHsmUnreachable, path_ + " is busy with earlier calls");
  hung_ = true;
  hung_in_ = current_.load(std::memory_order_relaxed);
  refuse_waiting(refused);
  return does_not_answer(waiting ? kSinceEarlier : "in time");
}

void Module::refuse_waiting(std::vector<std::shared_ptr<Job>>& refused) {
  for (auto at = queue_.begin(); at != queue_.end();) {
    if (state(**at) == State::kWaiting) {
      state(**at) = State::kRefused;
      (*at)->finished.notify_all();
      refused.push_back(std::move(*at));
      at = queue_.erase(at);
    } else {
      ++at;
    }
  }
}

void Module::post_job(std::shared_ptr<Job> job) {
  if (os::process_id() != owner_) return;
  const MutexLock lock(mutex_);
  state(*job) = State::kPosted;
  queue_.push_back(std::move(job));
  wake_.notify_one();
}

bool Module::may_wait() {
  const MutexLock lock(mutex_);
  return !hung_ && os::process_id() == owner_ && std::this_thread::get_id() != thread_id_;
}

void Module::loop() {
  MutexLock lock(mutex_);
  for (;;) {
    while (queue_.empty()) wake_.wait(mutex_);
    std::shared_ptr<Job> job = std::move(queue_.front());
    queue_.pop_front();
    state(*job) = State::kRunning;
    lock.unlock();
    worker_.begin_job(&job->given_up);
    job->execute(worker_);
    lock.lock();
    state(*job) = State::kDone;
    worker_.end_job();
    // A call that its caller only stopped waiting for says nothing about the module.
    if (hung_) worker_.suspect();
    if (job->given_up.load()) hung_ = abandoned_ = false;
    job->finished.notify_all();
    lock.unlock();
    job.reset();  // an outcome that nobody takes may close its session, which enqueues
    lock.lock();
  }
}

}  // namespace strongroom::roots::pkcs11
