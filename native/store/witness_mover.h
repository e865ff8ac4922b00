// When the witnesses of an open store move, and what waits for that.
//
// Witnesses that move each time follow at the interval of the options, and at once where an operation waits for them. A paced
// one, the TPM or the token, moves seldom by itself: each move costs time and wears it.
//
// Invariants:
// - Whoever waits was committed before it was queued here, so the next move covers it.
// - Every operation that waits is completed exactly once, also by stop() and without a thread.
// Without a thread everything happens in the caller's thread.
#pragma once

#include <chrono>
#include <functional>
#include <thread>

#include "store/header_changes.h"
#include "store/window.h"
#include "witnesses/witnesses.h"

namespace strongroom::store {

struct EngineOptions;

class WitnessMover {
 public:
  using Which = Witnesses::Which;

  // What it works on; all outlive it. What is null becomes something before start(), or never where a store has none.
  struct Parts {
    os::Clock& clock;
    const EngineOptions& options;
    KeyRing& ring;
    Vault& vault;
    HeaderChanges& headers;
    const std::unique_ptr<Witnesses>& witnesses;
    std::function<Status()> anchor_counter;                     // unless the TPM confirms everything
    std::function<void(std::vector<log::Completion>)> deliver;  // completions, to whoever submitted
    std::function<void()> all_moved;                            // on the thread, and no alarm is raised
  };
  explicit WitnessMover(Parts parts) : parts_(std::move(parts)) {}

  // The opening has moved all of them to the newest commit.
  void begin();
  void start();
  void stop();  // moves them for whoever waits

  // Hooks of the CommitQueue.
  [[nodiscard]] Status gate();
  void committed(const log::CommitInfo& info);
  void completed(std::vector<log::Completion> completions);

  // kAll: the slow one as well. kWitnessNotMoved on failure; kPoisoned where the anchor's commit poisoned the log.
  [[nodiscard]] Status move(Which which);
  void settle_waiting();  // without a thread: the operations that wait
  void anchored();        // an anchor was committed, by whomever

  // A witness says that this store is not the one it last saw.
  [[nodiscard]] Status alarm() const;
  [[nodiscard]] bool alarmed() const;
  // What an operation answers whose witnesses did not move.
  [[nodiscard]] Error error_of_move(const Status& moved) const;
  [[nodiscard]] std::uint64_t waiting_ms() const;  // how long the oldest commit has; 0: none does

 private:
  [[nodiscard]] bool has_slow() const { return parts_.witnesses->has(Pace::kPaced); }
  [[nodiscard]] CounterWitness* counter() const { return parts_.witnesses->counter(); }
  [[nodiscard]] Status move_listed(Which which);
  [[nodiscard]] Status move_all();
  [[nodiscard]] Status move_to_counter();
  // Looks whether another copy of the store has moved a witness.
  void check_witnesses();
  [[nodiscard]] std::optional<std::chrono::milliseconds> until_slow() const;
  [[nodiscard]] bool slow_is_due() const;
  void deliver(std::vector<log::Completion> waiting, const Status& moved);
  void run() SR_EXCLUDES(mutex_);
  [[nodiscard]] Which wait_for_work() SR_REQUIRES(mutex_);

  // When the slow witness moves next.
  struct Plan {
    std::atomic<std::uint64_t> moved_boot_ms{0};
    std::atomic<std::uint64_t> wanted{0};    // the newest generation that it should have
    std::atomic<bool> owed{false};           // a move was asked for and failed
    std::atomic<std::uint64_t> retry_ms{0};  // how long the next try waits
  };

  Parts parts_;
  Window fast_window_;
  Window slow_window_;
  Plan plan_;
  std::uint64_t checked_boot_ms_ = 0;  // by the opening, then the thread

  Mutex mutex_;
  CondVar wake_;
  bool stopping_ SR_GUARDED_BY(mutex_) = false;
  bool dirty_ SR_GUARDED_BY(mutex_) = false;
  bool urgent_ SR_GUARDED_BY(mutex_) = false;
  std::chrono::steady_clock::time_point due_ SR_GUARDED_BY(mutex_){};
  std::vector<log::Completion> waiting_ SR_GUARDED_BY(mutex_);  // in order of submission
  std::thread thread_;
};

}  // namespace strongroom::store
