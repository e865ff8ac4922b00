#include "store/witness_mover.h"

#include <algorithm>
#include <utility>

#include "base/duration.h"
#include "store/engine.h"
#include "witnesses/tpm_counter/counter_witness.h"

namespace strongroom::store {
namespace {

using Clock = std::chrono::steady_clock;

// How often witnesses are asked, while there are commits, whether another copy has moved them.
constexpr std::uint64_t kCheckMs = 10'000;
constexpr std::uint64_t kTokenRetryMsMax = 60'000;
constexpr std::chrono::milliseconds kDay{24 * 3600 * 1000};

bool is_witnessed(const log::Completion& completion) {
  return completion.durability == log::Durability::kWitnessed;
}

}  // namespace

void WitnessMover::begin() {
  const std::uint64_t newest = parts_.witnesses->audit().newest().generation;
  fast_window_.moved(newest);
  slow_window_.moved(newest);
  checked_boot_ms_ = parts_.clock.boot_ms();
  if (has_slow() && counter() == nullptr) anchored();
}

void WitnessMover::start() {
  {
    const MutexLock lock(mutex_);
    stopping_ = false;
  }
  thread_ = std::thread([this] { run(); });
}

void WitnessMover::stop() {
  if (!thread_.joinable()) return;
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

Status WitnessMover::alarm() const { return parts_.witnesses->alarm(); }

bool WitnessMover::alarmed() const { return parts_.witnesses->alarmed(); }

Status WitnessMover::gate() {
  if (alarmed()) SR_TRY(alarm());
  const std::uint64_t now_ms = parts_.clock.boot_ms();
  const auto ran_ms = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now().time_since_epoch()).count());
  const std::uint64_t limit_ms = parts_.ring.core().window_ms_max;
  for (Window* window : {&fast_window_, &slow_window_}) {
    if (!window->exceeded(now_ms, ran_ms, limit_ms)) continue;
    const Pace pace = window == &fast_window_ ? Pace::kEachMove : Pace::kPaced;
    return {Reason::kWitnessUnavailable, "the " + std::string(parts_.witnesses->last_noun(pace)) +
                                             " could not be moved for " +
                                             duration_text(now_ms - window->waiting_since_ms()) +
                                             "; the limit is " + limit_text(limit_ms) + " (windowMaxMs)"};
  }
  return {};
}

std::uint64_t WitnessMover::waiting_ms() const {
  const std::uint64_t now_ms = parts_.clock.boot_ms();
  std::uint64_t longest_ms = 0;
  for (const Window* window : {&fast_window_, &slow_window_}) {
    const std::uint64_t since_ms = window->waiting_since_ms();
    if (since_ms != 0) longest_ms = std::max(longest_ms, now_ms - std::min(now_ms, since_ms));
  }
  return longest_ms;
}

void WitnessMover::committed(const log::CommitInfo& info) {
  if (info.kind == log::CommitKind::kData) {
    const std::uint64_t now_ms = parts_.clock.boot_ms();
    fast_window_.committed(info.checkpoint.generation, now_ms);
    if (has_slow()) slow_window_.committed(info.checkpoint.generation, now_ms);
  }
  if (has_slow() && info.kind != log::CommitKind::kAnchor && info.kind != log::CommitKind::kTime)
    plan_.wanted = info.checkpoint.generation;
  if (!thread_.joinable()) return;
  const MutexLock lock(mutex_);
  if (dirty_) return;
  dirty_ = true;
  due_ = Clock::now() + std::chrono::milliseconds(parts_.options.witness_interval_ms);
  wake_.notify_one();
}

void WitnessMover::completed(std::vector<log::Completion> completions) {
  if (std::none_of(completions.begin(), completions.end(), is_witnessed)) {
    parts_.deliver(std::move(completions));
    return;
  }
  std::vector<log::Completion> journal;
  std::vector<log::Completion> witnessed;
  for (log::Completion& completion : completions)
    (is_witnessed(completion) ? witnessed : journal).push_back(std::move(completion));
  if (!journal.empty()) parts_.deliver(std::move(journal));
  if (witnessed.empty()) return;
  const bool alone = !thread_.joinable();
  if (alone && counter() == nullptr) {
    const Status moved = move(Which::kAll);
    deliver(std::move(witnessed), moved);
    return;
  }
  const MutexLock lock(mutex_);
  waiting_.insert(waiting_.end(), std::make_move_iterator(witnessed.begin()),
                  std::make_move_iterator(witnessed.end()));
  // An anchor is a commit, and the commit lock is held here: settle_waiting() comes after.
  if (alone) return;
  dirty_ = urgent_ = true;
  wake_.notify_one();
}

// With an alarm another copy of the store goes on, and whether the commits of this one count is for authority to say.
Error WitnessMover::error_of_move(const Status& moved) const {
  const Status raised = alarmed() ? alarm() : Status();
  Error error = raised.ok() ? moved.error() : raised.error();
  error.committed = raised.ok();
  error.outcome_unknown = !raised.ok();
  return error;
}

void WitnessMover::deliver(std::vector<log::Completion> waiting, const Status& moved) {
  if (!moved.ok()) {
    const Error error = error_of_move(moved);
    for (log::Completion& completion : waiting)
      if (completion.status.ok() && completion.generation != 0) completion.status = Status(error);
  }
  parts_.deliver(std::move(waiting));
}

Status WitnessMover::move_listed(Which which) {
  const std::uint64_t now_ms = parts_.clock.boot_ms();
  fast_window_.began(now_ms);
  if (which == Which::kAll) slow_window_.began(now_ms);
  Status moved = parts_.witnesses->move(which);
  const std::uint64_t generation = parts_.witnesses->generation_of(Pace::kEachMove);
  for (Window* window : {&fast_window_, &slow_window_}) {
    if (window == &slow_window_ && which == Which::kFast) continue;
    if (moved.ok()) {
      window->moved(generation);
    } else {
      window->failed();
    }
  }
  return moved;
}

Status WitnessMover::move(Which which) {
  if (which == Which::kAll && has_slow()) return counter() != nullptr ? move_to_counter() : move_all();
  Status moved = move_listed(Which::kFast);
  check_witnesses();
  return moved;
}

Status WitnessMover::move_all() {
  anchored();
  Status moved = move_listed(Which::kAll);
  plan_.owed = !moved.ok();
  // Each try may leave something behind in a token without room, such as an empty file of SoftHSM2.
  const std::uint64_t shortest_ms = parts_.options.witness_interval_ms;
  const std::uint64_t longest_ms = std::max(kTokenRetryMsMax, shortest_ms);
  plan_.retry_ms = moved.ok() ? 0 : std::clamp<std::uint64_t>(2 * plan_.retry_ms, shortest_ms, longest_ms);
  return moved;
}

Status WitnessMover::move_to_counter() {
  slow_window_.began(parts_.clock.boot_ms());
  Status moved = parts_.anchor_counter();
  plan_.owed = !moved.ok();
  if (moved.ok()) {
    fast_window_.moved(parts_.witnesses->generation_of(Pace::kEachMove));
    slow_window_.moved(parts_.witnesses->generation_of(Pace::kPaced));
    return moved;
  }
  slow_window_.failed();
  // The operations that wait are durable. What is not known concerns the anchor alone.
  if (moved.is(Reason::kPoisoned)) return parts_.vault.writer->poisoned();
  counter()->failed();
  move_listed(Which::kFast)
      .ignore("the tamper file need not wait for the TPM; the anchor's error is the one to report");
  return {Reason::kWitnessNotMoved, moved.error().detail, moved.error().system_error};
}

void WitnessMover::check_witnesses() {
  const std::uint64_t now_ms = parts_.clock.boot_ms();
  const bool recent = now_ms - std::min(now_ms, checked_boot_ms_) < kCheckMs;
  if (recent && !alarmed()) return;
  // An anchor that is under way reads the TPM itself.
  if (!parts_.headers.mutex().try_lock()) return;
  const MutexLock lock(parts_.headers.mutex(), MutexLock::Adopt());
  checked_boot_ms_ = now_ms;
  for (const std::unique_ptr<Witness>& witness : parts_.witnesses->each())
    witness->check().ignore("an alarm remains with the witness, and an outage says nothing");
}

void WitnessMover::settle_waiting() {
  if (thread_.joinable()) return;
  std::vector<log::Completion> waiting;
  {
    const MutexLock lock(mutex_);
    waiting.swap(waiting_);
  }
  if (waiting.empty()) return;
  const Status moved = move(Which::kAll);
  deliver(std::move(waiting), moved);
}

void WitnessMover::anchored() { plan_.moved_boot_ms = parts_.clock.boot_ms(); }

std::optional<std::chrono::milliseconds> WitnessMover::until_slow() const {
  if (!has_slow()) return std::nullopt;
  const bool retries = counter() == nullptr && plan_.owed;
  if (plan_.wanted <= parts_.witnesses->generation_of(Pace::kPaced) && !retries) return std::nullopt;
  const std::uint64_t now_ms = parts_.clock.boot_ms();
  const std::uint64_t since_ms = now_ms - std::min<std::uint64_t>(now_ms, plan_.moved_boot_ms);
  // Halfway through the window it moves by itself however seldom it is to.
  std::uint64_t interval_ms = parts_.ring.core().window_ms_max / 2;
  const std::uint32_t per_day = parts_.options.tpm.anchors_per_day;
  if (per_day != 0) interval_ms = std::min(interval_ms, static_cast<std::uint64_t>(kDay.count()) / per_day);
  if (retries) interval_ms = plan_.retry_ms;
  return std::chrono::milliseconds(interval_ms - std::min(interval_ms, since_ms));
}

bool WitnessMover::slow_is_due() const {
  if (!has_slow()) return false;
  return (plan_.owed && counter() != nullptr) || until_slow() == std::chrono::milliseconds(0);
}

// Which witnesses are to move now.
WitnessMover::Which WitnessMover::wait_for_work() {
  if (!dirty_) {
    const std::optional<std::chrono::milliseconds> remaining = until_slow();
    const auto until = Clock::now() + remaining.value_or(std::chrono::milliseconds(0));
    while (!dirty_ && !stopping_) {
      if (!remaining) {
        wake_.wait(mutex_);
      } else if (wake_.wait_until(mutex_, until) == std::cv_status::timeout) {
        break;
      }
    }
  }
  while (dirty_ && !urgent_ && !stopping_)
    if (wake_.wait_until(mutex_, due_) == std::cv_status::timeout) break;
  return urgent_ || slow_is_due() ? Which::kAll : Which::kFast;
}

void WitnessMover::run() {
  MutexLock lock(mutex_);
  for (;;) {
    const Which which = wait_for_work();
    if (stopping_ && waiting_.empty()) return;
    dirty_ = urgent_ = false;
    std::vector<log::Completion> waiting = std::move(waiting_);
    waiting_.clear();
    lock.unlock();
    const Status moved = move(which);
    if (!waiting.empty()) deliver(std::move(waiting), moved);
    const bool all_moved = moved.ok() && !alarmed();
    if (all_moved) parts_.all_moved();
    lock.lock();
    if (all_moved || dirty_) continue;
    dirty_ = true;  // try again, in the same measured way
    due_ = Clock::now() + std::chrono::milliseconds(parts_.options.witness_interval_ms);
  }
}

}  // namespace strongroom::store
