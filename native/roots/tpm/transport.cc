#include "roots/tpm/transport.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>
#include <string_view>
#include <system_error>
#include <thread>

#include "base/bytes.h"
#include "base/cancellation.h"
#include "os/device.h"
#include "roots/tpm/tpm_errors.h"

namespace strongroom::roots {

// What the thread and the transport have in common; it lives until both are done with it.
struct Transport::Shared {
  std::mutex mutex;
  std::condition_variable to_thread;
  std::condition_variable to_caller;
  const std::string configuration;
  Bytes command;
  Bytes response;
  TSS2_RC rc = TSS2_RC_SUCCESS;
  bool busy = true;    // the thread connects, or has a command
  bool quit = false;   // the thread shall end
  bool ended = false;  // it has let go of the TCTI
  std::thread thread;

  explicit Shared(std::string text) : configuration(std::move(text)) {}
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
  std::mutex mutex;
  std::map<std::string, std::weak_ptr<void>> threads;
};
LeftBehind& left_behind() {
  static auto* const instance = new LeftBehind;  // outlives every thread
  return *instance;
}

bool is_stuck(const std::string& configuration) {
  LeftBehind& all = left_behind();
  const std::lock_guard guard(all.mutex);
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
  const auto run = [shared, &functions] {
    TSS2_TCTI_CONTEXT* tcti = nullptr;
    const std::string& text = shared->configuration;
    TSS2_RC rc = functions.Tss2_TctiLdr_Initialize(text.empty() ? nullptr : text.c_str(), &tcti);
    std::unique_lock lock(shared->mutex);
    for (;;) {
      shared->rc = rc;
      shared->busy = false;
      shared->to_caller.notify_all();
      shared->to_thread.wait(lock, [&] { return shared->busy || shared->quit; });
      if (shared->quit) break;
      lock.unlock();
      rc = exchange(tcti, shared->command, shared->response);
      lock.lock();
    }
    lock.unlock();
    if (tcti != nullptr) functions.Tss2_TctiLdr_Finalize(&tcti);
    lock.lock();
    shared->ended = true;
    shared->to_caller.notify_all();
  };
  // A thread takes over the mask of signals of the one that starts it.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  bool started = true;
  try {
    shared->thread = std::thread(run);
  } catch (const std::system_error&) {
    started = false;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (!started) return Status(Reason::kInternal, "no thread for the connection to the TPM");

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
  std::unique_lock lock(shared_->mutex);
  shared_->quit = true;
  shared_->to_thread.notify_all();
  // To finalise a TCTI may block, too.
  const bool ended =
      shared_->to_caller.wait_for(lock, context_->timed_out ? std::chrono::milliseconds(0) : context_->limit,
                                  [&] { return shared_->ended; });
  lock.unlock();
  if (ended) {
    shared_->thread.join();
    return;
  }
  {
    LeftBehind& all = left_behind();
    const std::lock_guard guard(all.mutex);
    all.threads[shared_->configuration] = shared_;
  }
  shared_->thread.detach();
}

TSS2_TCTI_CONTEXT* Transport::context() { return reinterpret_cast<TSS2_TCTI_CONTEXT*>(context_.get()); }
bool Transport::broken() const { return context_->broken; }
bool Transport::timed_out() const { return context_->timed_out; }

TSS2_RC Transport::Context::await() {
  const CancellationWakeup wakeup([this] {
    const std::lock_guard guard(shared->mutex);
    shared->to_caller.notify_all();
  });
  const auto answered = [this] { return !shared->busy; };
  std::unique_lock lock(shared->mutex);
  static_cast<void>(shared->to_caller.wait_for(lock, limit, [&] { return answered() || cancelled(); }));
  // A TPM that answers is left in order: what was loaded into it is flushed.
  if (cancelled())
    static_cast<void>(shared->to_caller.wait_for(lock, std::min(limit, kCancelledLimit), answered));
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
  const std::lock_guard guard(self.shared->mutex);
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
