#include "addon/byte_calls.h"

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "addon/value.h"
#include "base/cancellation.h"
#include "base/thread_annotations.h"

namespace strongroom::addon {
namespace {

// What a thread of the core waits for.
class Answer {
 public:
  // Of several the first counts.
  void give(Result<SecretBytes> value) {
    const MutexLock lock(mutex_);
    if (!value_ && !dropped_) value_ = std::move(value);
    changed_.notify_all();
  }
  Result<SecretBytes> wait(std::chrono::milliseconds limit) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    const CancellationWakeup wakeup([this] {
      const MutexLock lock(mutex_);
      changed_.notify_all();
    });
    const MutexLock lock(mutex_);
    while (!value_ && !cancelled() && changed_.wait_until(mutex_, deadline) != std::cv_status::timeout) {
    }
    dropped_ = true;
    if (value_) return *std::exchange(value_, std::nullopt);
    SR_TRY(check_cancelled());
    return Status(Reason::kIoError, "no answer within " + std::to_string(limit.count()) + " ms (timeoutMs)");
  }
  [[nodiscard]] bool is_awaited() {
    const MutexLock lock(mutex_);
    return !value_ && !dropped_;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  std::optional<Result<SecretBytes>> value_ SR_GUARDED_BY(mutex_);
  bool dropped_ SR_GUARDED_BY(mutex_) = false;
};

struct Question {
  SecretBytes input;
  Bytes context;
  std::shared_ptr<Answer> answer;
};

Reason reason_of(std::string_view name) {
  for (std::size_t i = 0; i < kErrorTable.size(); ++i)
    if (name == error_info(static_cast<Reason>(i)).reason) return static_cast<Reason>(i);
  return Reason::kIoError;
}

napi_value settle(napi_env env, napi_callback_info info) {
  const Arguments<3> arguments(env, info);
  Answer& answer = **static_cast<std::shared_ptr<Answer>*>(arguments.data);
  if (is_undefined(env, arguments[0])) {
    answer.give(Status(reason_of(read_string(env, arguments[1]).value_or("")),
                       read_string(env, arguments[2]).value_or("")));
    return nullptr;
  }
  ByteView bytes;
  const Status read = read_bytes(env, arguments[0], "the answer", &bytes);
  answer.give(read.ok() ? Result<SecretBytes>(SecretBytes(bytes))
                        : Result<SecretBytes>(Status(Reason::kIoError, read.error().detail)));
  return nullptr;
}

// Null when Node refuses it.
napi_value settle_function(napi_env env, const std::shared_ptr<Answer>& answer) {
  auto kept = std::make_unique<std::shared_ptr<Answer>>(answer);
  napi_value function = nullptr;
  const auto release = [](napi_env, void* data, void*) {
    delete static_cast<std::shared_ptr<Answer>*>(data);
  };
  if (napi_create_function(env, "settle", NAPI_AUTO_LENGTH, settle, kept.get(), &function) != napi_ok ||
      napi_add_finalizer(env, function, kept.get(), release, nullptr, nullptr) != napi_ok) {
    return nullptr;
  }
  kept.release();  // the finalizer owns it
  return function;
}

void on_question(napi_env env, napi_value callback, void* /*context*/, void* data) {
  const std::unique_ptr<Question> question(static_cast<Question*>(data));
  // The event loop may have been busy for longer than the limit.
  if (env == nullptr || !question->answer->is_awaited()) return;
  const napi_value function = settle_function(env, question->answer);
  const std::array<napi_value, 3> values{to_buffer(env, question->input.view()),
                                         to_buffer(env, question->context), function};
  if (function != nullptr &&
      napi_call_function(env, undefined(env), callback, values.size(), values.data(), nullptr) == napi_ok) {
    return;
  }
  napi_value thrown = nullptr;
  napi_get_and_clear_last_exception(env, &thrown);
  question->answer->give(Status(Reason::kIoError, "the function could not be called"));
}

class Caller {
 public:
  Caller() = default;
  Caller(const Caller&) = delete;
  Caller& operator=(const Caller&) = delete;
  Caller(Caller&&) = delete;
  Caller& operator=(Caller&&) = delete;
  ~Caller() {
    const MutexLock lock(mutex_);
    if (signal_ != nullptr) napi_release_threadsafe_function(signal_, napi_tsfn_release);
  }

  Status connect(napi_env env, napi_value function) {
    const MutexLock lock(mutex_);
    if (napi_create_threadsafe_function(env, function, nullptr, text_value(env, "strongroom.ask"), 0, 1,
                                        nullptr, nullptr, nullptr, on_question, &signal_) != napi_ok) {
      return {Reason::kInternal, "Node refused the thread-safe function"};
    }
    // The task that waits holds the event loop.
    napi_unref_threadsafe_function(env, signal_);
    return {};
  }
  Result<SecretBytes> ask(ByteView input, ByteView context, std::chrono::milliseconds limit) {
    if (std::this_thread::get_id() == javascript_)
      return Status(Reason::kInternal, "the thread of JavaScript cannot wait for JavaScript");
    auto answer = std::make_shared<Answer>();
    auto question = std::make_unique<Question>();
    question->input = SecretBytes(input);
    question->context.assign(context.begin(), context.end());
    question->answer = answer;
    {
      const MutexLock lock(mutex_);
      if (signal_ == nullptr ||
          napi_call_threadsafe_function(signal_, question.get(), napi_tsfn_nonblocking) != napi_ok) {
        return ended();
      }
      question.release();  // on_question() owns it
      waiting_.push_back(answer);
    }
    Result<SecretBytes> value = answer->wait(limit);
    const MutexLock lock(mutex_);
    std::erase(waiting_, answer);
    return value;
  }
  // The environment takes the function down itself.
  void end() {
    const MutexLock lock(mutex_);
    signal_ = nullptr;
    for (const std::shared_ptr<Answer>& answer : waiting_) answer->give(ended());
  }

 private:
  static Status ended() { return {Reason::kIoError, "the thread that the functions belong to has ended"}; }

  const std::thread::id javascript_ = std::this_thread::get_id();
  Mutex mutex_;
  napi_threadsafe_function signal_ SR_GUARDED_BY(mutex_) = nullptr;
  std::vector<std::shared_ptr<Answer>> waiting_ SR_GUARDED_BY(mutex_);
};

thread_local std::vector<std::weak_ptr<Caller>> callers;

}  // namespace

Result<ByteCall> make_byte_call(napi_env env, napi_value function) {
  const auto caller = std::make_shared<Caller>();
  SR_TRY(caller->connect(env, function));
  std::erase_if(callers, [](const std::weak_ptr<Caller>& each) { return each.expired(); });
  callers.push_back(caller);
  return ByteCall([caller](ByteView input, ByteView context, std::chrono::milliseconds limit) {
    return caller->ask(input, context, limit);
  });
}

void end_byte_calls() {
  for (const std::weak_ptr<Caller>& each : callers)
    if (const std::shared_ptr<Caller> caller = each.lock()) caller->end();
  callers.clear();
}

}  // namespace strongroom::addon
