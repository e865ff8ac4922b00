#include "addon/deliveries.h"

#include <cstring>

#include "addon/border.h"

namespace strongroom::addon {

Status Deliveries::connect(napi_value callback, napi_value results) {
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
  return {};
}

void Deliveries::disconnect() {
  completions_->detach();
  if (signal_ != nullptr) napi_release_threadsafe_function(signal_, napi_tsfn_abort);
  signal_ = nullptr;
  if (results_ref_ != nullptr) napi_delete_reference(env_, results_ref_);
  results_ref_ = nullptr;
  results_ = nullptr;
}

void Deliveries::detach() {
  completions_->detach();
  signal_ = nullptr;
}

void Deliveries::on_signal(napi_env env, napi_value callback, void* context, void* /*data*/) {
  if (env != nullptr) static_cast<Deliveries*>(context)->deliver_some(env, callback);
}

void Deliveries::keep_progress(napi_value callback) {
  if (type_of(env_, callback) == napi_function) napi_create_reference(env_, callback, 1, &progress_);
}

void Deliveries::end_progress(napi_env env) {
  (void)tell(env, completions_->take_progress());
  if (progress_ != nullptr) napi_delete_reference(env, progress_);
  progress_ = nullptr;
}

bool Deliveries::tell(napi_env env, const Completions::Progress& progress) {
  if (!progress.news || progress_ == nullptr) return true;
  napi_value report = nullptr;
  napi_get_reference_value(env, progress_, &report);
  const std::array<napi_value, 2> values{count_value(env, progress.done), count_value(env, progress.all)};
  return napi_call_function(env, undefined(env), report, values.size(), values.data(), nullptr) == napi_ok;
}

bool Deliveries::begin(napi_env env, napi_value callback) {
  Completions::Progress progress;
  for (log::Completion& completion : completions_->take(&progress)) backlog_.push_back(std::move(completion));
  if (!tell(env, progress)) return false;
  const std::vector<Error> failures = completions_->take_failures();
  if (failures.empty()) return true;
  const std::array<napi_value, 3> values{count_value(env, 0), undefined(env), describe(env, failures)};
  return napi_call_function(env, undefined(env), callback, values.size(), values.data(), nullptr) == napi_ok;
}

bool Deliveries::deliver_one(napi_env env, napi_value callback) {
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
  return napi_call_function(env, undefined(env), callback, values.size(), values.data(), nullptr) == napi_ok;
}

void Deliveries::deliver_some(napi_env env, napi_value callback) {
  if (!begin(env, callback) || backlog_.empty() || results_ == nullptr) return;
  if (deliver_one(env, callback) && !backlog_.empty()) completions_->again();
}

void Deliveries::deliver_all(napi_env env, napi_value callback) {
  if (!begin(env, callback)) return;
  while (!backlog_.empty() && results_ != nullptr) {
    if (!deliver_one(env, callback)) return;
  }
}

}  // namespace strongroom::addon
