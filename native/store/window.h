// How long commits may wait for a witness.
//
// A commit that a witness does not hold yet can be rewound. Keeping the witness away must not stretch that without end: when
// the oldest such commit has waited for longer than the limit, and the witness could not be moved meanwhile, writes are
// refused until it has moved.
//
// Invariant: time in which the process did not run is not held against it. A window that has grown while the machine slept,
// or the process was stopped, refuses nothing before an attempt has failed, or was seen to hang.
// Thread-safe.
#pragma once

#include <cstdint>

#include "base/thread_annotations.h"

namespace strongroom::store {

class Window {
 public:
  // A commit became durable that the witness is to hold. Times are of CLOCK_BOOTTIME.
  void committed(std::uint64_t generation, std::uint64_t now_ms);
  // An attempt to move the witness: begun, and ended with what it holds now.
  void began(std::uint64_t now_ms);
  void moved(std::uint64_t generation);
  void failed();
  // Since when the oldest commit waits; 0: none does.
  [[nodiscard]] std::uint64_t waiting_since_ms() const;
  // `ran_ms` is of any clock that only grows; of two looks at it at most kLookMsMax count, whatever lies between them.
  [[nodiscard]] bool exceeded(std::uint64_t now_ms, std::uint64_t ran_ms, std::uint64_t limit_ms);

  static constexpr std::uint64_t kHangsMs = 60'000;
  static constexpr std::uint64_t kLookMsMax = 10'000;

 private:
  mutable Mutex mutex_;
  std::uint64_t newest_ SR_GUARDED_BY(mutex_) = 0;  // generation
  std::uint64_t since_ms_ SR_GUARDED_BY(mutex_) = 0;
  std::uint64_t attempt_ms_ SR_GUARDED_BY(mutex_) = 0;  // when the attempt under way began; 0: none is
  std::uint64_t looked_ms_ SR_GUARDED_BY(mutex_) = 0;   // of ran_ms, during this attempt; 0: not yet
  std::uint64_t hangs_ms_ SR_GUARDED_BY(mutex_) = 0;    // how long the attempt was seen under way
  bool failing_ SR_GUARDED_BY(mutex_) = false;
};

}  // namespace strongroom::store
