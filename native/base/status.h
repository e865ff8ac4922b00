// The one result type of the core. An Error names a reason of the error table (errors.json); its detail names
// the thing that is wrong and never holds a secret.
#pragma once

#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <variant>

#include "base/error_table.h"

namespace strongroom {

struct Error {
  Reason reason = Reason::kInternal;
  std::string detail;
  int system_error = 0;          // errno, or 0
  bool committed = false;        // the operation is durable although it failed
  bool outcome_unknown = false;  // whether it counts is not known; with `committed` false
};

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Error error)
      : error_(std::make_unique<Error>(std::move(error))) {}  // NOLINT(google-explicit-constructor)
  Status(Reason reason, std::string detail, int system_error = 0)
      : error_(std::make_unique<Error>(Error{reason, std::move(detail), system_error, false})) {}

  Status(const Status& other) : error_(other.error_ ? std::make_unique<Error>(*other.error_) : nullptr) {}
  Status& operator=(const Status& other) {
    if (this != &other) error_ = other.error_ ? std::make_unique<Error>(*other.error_) : nullptr;
    return *this;
  }
  Status(Status&&) noexcept = default;
  Status& operator=(Status&&) noexcept = default;
  ~Status() = default;

  [[nodiscard]] bool ok() const { return error_ == nullptr; }
  [[nodiscard]] const Error& error() const { return *error_; }
  [[nodiscard]] bool is(Reason reason) const { return error_ && error_->reason == reason; }

  // For places where a failure cannot change what happens next; the argument says why.
  void ignore(const char* /*why*/) const {}

 private:
  std::unique_ptr<Error> error_;
};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value)
      : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT(google-explicit-constructor)
  Result(Status status)
      : state_(std::in_place_index<1>, std::move(status)) {  // NOLINT(google-explicit-constructor)
    if (std::get<1>(state_).ok()) std::abort();  // a success without a value is a programming error
  }
  Result(Error error) : Result(Status(std::move(error))) {}  // NOLINT(google-explicit-constructor)

  [[nodiscard]] bool ok() const { return state_.index() == 0; }
  [[nodiscard]] Status status() const { return ok() ? Status() : std::get<1>(state_); }
  [[nodiscard]] const Error& error() const { return std::get<1>(state_).error(); }
  [[nodiscard]] bool is(Reason reason) const { return !ok() && error().reason == reason; }

  [[nodiscard]] T& operator*() & { return std::get<0>(state_); }
  [[nodiscard]] const T& operator*() const& { return std::get<0>(state_); }
  [[nodiscard]] T&& operator*() && { return std::get<0>(std::move(state_)); }
  [[nodiscard]] T* operator->() { return &std::get<0>(state_); }
  [[nodiscard]] const T* operator->() const { return &std::get<0>(state_); }

 private:
  std::variant<T, Status> state_;
};

}  // namespace strongroom

#define SR_CONCAT_INNER(a, b) a##b
#define SR_CONCAT(a, b) SR_CONCAT_INNER(a, b)

// Returns the error of a Status expression to the caller.
#define SR_TRY(expression)                                                \
  do {                                                                    \
    if (::strongroom::Status sr_status = (expression); !sr_status.ok()) { \
      return sr_status;                                                   \
    }                                                                     \
  } while (false)

// Declares `target` from a Result expression, or returns its error to the caller.
#define SR_ASSIGN(target, expression) SR_ASSIGN_INNER(SR_CONCAT(sr_result_, __LINE__), target, expression)
#define SR_ASSIGN_INNER(result, target, expression) \
  auto result = (expression);                       \
  if (!result.ok()) return result.status();         \
  target = *std::move(result)
