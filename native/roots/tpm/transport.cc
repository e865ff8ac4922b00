#include "roots/tpm/transport.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <string_view>
#include <system_error>
#include <thread>

#include "base/bytes.h"
#include "base/cancellation.h"
#include "base/thread_annotations.h"
#include "base/thread_refused.h"
#include "os/device.h"
#include "roots/tpm/tpm_errors.h"

namespace strongroom::roots {

// What the thread and the transport have in common; it lives until both are done with it.
struct Transport::Shared {
  Mutex mutex;
  CondVar to_thread;
  CondVar to_caller;
  const std::string configuration;
  // The thread's while it is busy, and the caller's otherwise.
  Bytes command;
  Bytes response;
  TSS2_RC rc SR_GUARDED_BY(mutex) = TSS2_RC_SUCCESS;
  bool busy SR_GUARDED_BY(mutex) = true;    // the thread connects, or has a command
  bool quit SR_GUARDED_BY(mutex) = false;   // the thread shall end
  bool ended SR_GUARDED_BY(mutex) = false;  // it has released the TCTI
  std::thread thread;

  explicit Shared(std::string text) : configuration(std::move(text)) {}
  void serve(const tss::Functions& functions) SR_EXCLUDES(mutex);  // the thread
};

// Laid out as a TCTI must be (TSS TCTI specification, 3.2): the common part first.
struct Transport::Context {
  TSS2_TCTI_CONTEXT_COMMON_V2 common{};
  Shared* shared = nullptr;
  std::chrono::milliseconds limit{};
  bool waiting = false;  // a command was given to the thread and its response not yet taken
  bool broken = false;
  bool timed_out = false;

  static Context* of(TSS2_TCTI_CONTEXT* context) { return reinterpret_cast<Context*>(context); }
  static TSS2_RC transmit(TSS2_TCTI_CONTEXT* context, size_t size, uint8_t const* command);
  static TSS2_RC receive(TSS2_TCTI_CONTEXT* context, size_t* size, uint8_t* response, int32_t timeout);
  TSS2_RC await();
};

namespace {

constexpr std::uint64_t kMagic = 0x73747267726F6F6D;
// For the answer to the command that a cancelled task has sent.
constexpr std::chrono::milliseconds kCancelledLimit{2000};

// The configurations whose thread was left behind.
struct LeftBehind {
  Mutex mutex;
  std::map<std::string, std::weak_ptr<void>> threads SR_GUARDED_BY(mutex);
};
LeftBehind& left_behind() {
  static auto* const instance = new LeftBehind;  // outlives every thread
  return *instance;
}

bool is_stuck(const std::string& configuration) {
  LeftBehind& all = left_behind();
  const MutexLock lock(all.mutex);
  std::erase_if(all.threads, [](const auto& entry) { return entry.second.expired(); });
  return all.threads.contains(configuration);
}

Status silent(const std::string& configuration) {
  return Status(Reason::kTpmUnavailable,
                "the TPM does not answer" + (configuration.empty() ? "" : " (" + configuration + ")"));
}

Status check_configuration(const std::string& configuration) {
  const std::string name = configuration.substr(0, configuration.find(':'));
  const bool plain = std::ranges::all_of(
      name, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'; });
  if (plain && !(name.empty() && !configuration.empty()) && configuration.find('\0') == std::string::npos) {
    return Status();
  }
  return Status(Reason::kInvalidOption, "tcti: it begins with a name such as 'device' or 'swtpm'");
}

// The transports of tpm2-tss, and of its resource manager.
constexpr std::array<std::string_view, 11> kTransports = {"cmd",        "device", "i2c-ftdi", "i2c-helper",
                                                          "libtpms",    "mssim",  "pcap",     "spi-helper",
                                                          "spi-ltt2go", "swtpm",  "tabrmd"};

constexpr const char* kDefaultDevice = "/dev/tpmrm0";

Status no_library(const std::string& name) {
  if (std::ranges::find(kTransports, name) == kTransports.end()) {
    std::string known;
    for (const std::string_view each : kTransports) known += (known.empty() ? "" : ", ") + std::string(each);
    return Status(Reason::kInvalidOption, "tcti: there is no transport '" + name + "'; there are " + known);
  }
  return Status(Reason::kLibraryMissing,
                "the TPM needs a library that cannot be loaded: libtss2-tcti-" + name +
                    ".so.0 (Debian and Ubuntu: apt-get install libtss2-tcti-" + name + "0)");
}

Status connect_error(const std::string& configuration, TSS2_RC rc) {
  const std::size_t colon = configuration.find(':');
  const std::string name = configuration.substr(0, colon);
  if (rc == TSS2_TCTI_RC_NOT_SUPPORTED && !name.empty()) return no_library(name);
  // tpm2-tss has one code for a device that is not there, not permitted, or in use.
  std::string why;
  if (name.empty() || name == "device") {
    const bool named = colon != std::string::npos && colon + 1 < configuration.size();
    why = os::why_not_opened(named ? configuration.substr(colon + 1) : kDefaultDevice);
  }
  const std::string said = why.empty() ? describe_code(rc) : why + " (" + hexadecimal(rc) + ")";
  return Status(Reason::kTpmUnavailable, configuration.empty()
                                             ? "no TPM was found: " + said
                                             : "no connection to the TPM (" + configuration + "): " + said);
}

TSS2_RC exchange(TSS2_TCTI_CONTEXT* tcti, const Bytes& command, Bytes& response) {
  TSS2_RC rc = Tss2_Tcti_Transmit(tcti, command.size(), command.data());
  if (rc != TSS2_RC_SUCCESS) return rc;
  response.resize(TPM2_MAX_RESPONSE_SIZE);
  std::size_t size = response.size();
  do {
    rc = Tss2_Tcti_Receive(tcti, &size, response.data(), TSS2_TCTI_TIMEOUT_BLOCK);
  } while (rc == TSS2_TCTI_RC_TRY_AGAIN);
  response.resize(rc == TSS2_RC_SUCCESS ? size : 0);
  return rc;
}

}  // namespace

void Transport::Shared::serve(const tss::Functions& functions) {
  TSS2_TCTI_CONTEXT* tcti = nullptr;
  TSS2_RC result =
      functions.Tss2_TctiLdr_Initialize(configuration.empty() ? nullptr : configuration.c_str(), &tcti);
  MutexLock lock(mutex);
  for (;;) {
    rc = result;
    busy = false;
    to_caller.notify_all();
    while (!busy && !quit) to_thread.wait(mutex);
    if (quit) break;
    lock.unlock();
    result = exchange(tcti, command, response);
    lock.lock();
  }
  lock.unlock();
  if (tcti != nullptr) functions.Tss2_TctiLdr_Finalize(&tcti);
  lock.lock();
  ended = true;
  to_caller.notify_all();
}

Result<std::unique_ptr<Transport>> Transport::connect(const tss::Functions& functions,
                                                      const std::string& configuration,
                                                      std::chrono::milliseconds limit) {
  SR_TRY(check_configuration(configuration));
  if (is_stuck(configuration)) {
    return Status(Reason::kTpmUnavailable,
                  silent(configuration).error().detail +
                      ": an earlier call has not returned, and none is made until that call returns");
  }
  auto shared = std::make_shared<Shared>(configuration);
  // A thread takes over the mask of signals of the one that starts it.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  bool started = true;
  try {
    shared->thread = std::thread([shared, &functions] { shared->serve(functions); });
  } catch (const std::system_error&) {
    started = false;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (!started)
    return Status(Reason::kInternal, std::string("for the connection to the TPM, ") + kThreadRefused);

  std::unique_ptr<Transport> transport(new Transport(shared, limit));
  const TSS2_RC rc = transport->context_->await();
  if (transport->timed_out()) return silent(configuration);
  if (rc != TSS2_RC_SUCCESS) return connect_error(configuration, rc);
  return transport;
}

Transport::Transport(std::shared_ptr<Shared> shared, std::chrono::milliseconds limit)
    : shared_(std::move(shared)), context_(std::make_unique<Context>()) {
  context_->common.v1.magic = kMagic;
  context_->common.v1.version = 2;
  context_->common.v1.transmit = &Context::transmit;
  context_->common.v1.receive = &Context::receive;
  context_->shared = shared_.get();
  context_->limit = limit;
}

Transport::~Transport() {
  bool ended = false;
  {
    const MutexLock lock(shared_->mutex);
    shared_->quit = true;
    shared_->to_thread.notify_all();
    // To finalise a TCTI may block, too.
    const auto deadline = std::chrono::steady_clock::now() +
                          (context_->timed_out ? std::chrono::milliseconds(0) : context_->limit);
    while (!shared_->ended &&
           shared_->to_caller.wait_until(shared_->mutex, deadline) == std::cv_status::no_timeout) {
    }
    ended = shared_->ended;
  }
  if (ended) {
    shared_->thread.join();
    return;
  }
  {
    LeftBehind& all = left_behind();
    const MutexLock lock(all.mutex);
    all.threads[shared_->configuration] = shared_;
  }
  shared_->thread.detach();
}

TSS2_TCTI_CONTEXT* Transport::context() { return reinterpret_cast<TSS2_TCTI_CONTEXT*>(context_.get()); }
bool Transport::broken() const { return context_->broken; }
bool Transport::timed_out() const { return context_->timed_out; }

TSS2_RC Transport::Context::await() {
  const CancellationWakeup wakeup([this] {
    const MutexLock lock(shared->mutex);
    shared->to_caller.notify_all();
  });
  const MutexLock lock(shared->mutex);
  auto deadline = std::chrono::steady_clock::now() + limit;
  while (shared->busy && !cancelled() &&
         shared->to_caller.wait_until(shared->mutex, deadline) == std::cv_status::no_timeout) {
  }
  // A TPM that answers is left in order: what was loaded into it is flushed.
  if (cancelled()) {
    deadline = std::chrono::steady_clock::now() + std::min(limit, kCancelledLimit);
    while (shared->busy &&
           shared->to_caller.wait_until(shared->mutex, deadline) == std::cv_status::no_timeout) {
    }
  }
  if (shared->busy) {
    broken = timed_out = true;
    return TSS2_TCTI_RC_IO_ERROR;
  }
  if (shared->rc != TSS2_RC_SUCCESS) broken = true;
  return shared->rc;
}

TSS2_RC Transport::Context::transmit(TSS2_TCTI_CONTEXT* context, size_t size, uint8_t const* command) {
  Context& self = *of(context);
  if (self.broken || cancelled()) return TSS2_TCTI_RC_IO_ERROR;
  if (self.waiting) return TSS2_TCTI_RC_BAD_SEQUENCE;
  const MutexLock lock(self.shared->mutex);
  self.shared->command.assign(command, command + size);
  self.shared->busy = true;
  self.waiting = true;
  self.shared->to_thread.notify_all();
  return TSS2_RC_SUCCESS;
}

// The library's `timeout` is always "block" here, because only its synchronous calls are used; the limit is ours.
TSS2_RC Transport::Context::receive(TSS2_TCTI_CONTEXT* context, size_t* size, uint8_t* response,
                                    int32_t /*timeout*/) {
  Context& self = *of(context);
  if (self.broken) return TSS2_TCTI_RC_IO_ERROR;
  if (!self.waiting) return TSS2_TCTI_RC_BAD_SEQUENCE;
  if (const TSS2_RC rc = self.await(); rc != TSS2_RC_SUCCESS) return rc;
  const Bytes& answer = self.shared->response;
  const std::size_t room = *size;
  *size = answer.size();
  if (response == nullptr) return TSS2_RC_SUCCESS;  // asked for the size only
  if (room < answer.size()) return TSS2_TCTI_RC_INSUFFICIENT_BUFFER;
  std::copy(answer.begin(), answer.end(), response);
  self.waiting = false;
  return TSS2_RC_SUCCESS;
}

}  // namespace strongroom::roots
