// Authenticates the values of a log beside the thread that reads it. Entry tables and the chain are checked by the
// reader as it goes; values, which are most of the bytes, are checked here, and nothing that was read is given to
// anyone before finish() has said that every one of them is authentic.
#pragma once

#include <atomic>
#include <deque>
#include <thread>

#include "base/thread_annotations.h"
#include "log/records.h"

namespace strongroom::log {

class ValueVerifier {
 public:
  // Without threads the checks are made in check() itself.
  ValueVerifier(const EpochKeys& keys, unsigned threads);
  ValueVerifier(const ValueVerifier&) = delete;
  ValueVerifier& operator=(const ValueVerifier&) = delete;
  ValueVerifier(ValueVerifier&&) = delete;
  ValueVerifier& operator=(ValueVerifier&&) = delete;
  ~ValueVerifier();

  // The records outlive finish(). Waits while too much is waiting already.
  void check(std::vector<const Record*> records) SR_EXCLUDES(mutex_);
  // Waits for all checks. False when a value did not authenticate.
  [[nodiscard]] bool finish() SR_EXCLUDES(mutex_);
  // Drops the checks that wait: nothing of what was read is used.
  void discard() SR_EXCLUDES(mutex_);

 private:
  [[nodiscard]] bool authentic(ValueCipher& cipher, const std::vector<const Record*>& records,
                               WipedBuffer& out) const;
  void run() SR_EXCLUDES(mutex_);

  const EpochKeys& keys_;
  ValueCipher own_cipher_;
  WipedBuffer own_out_;
  Mutex mutex_;
  CondVar changed_;
  std::deque<std::vector<const Record*>> jobs_ SR_GUARDED_BY(mutex_);
  bool done_ SR_GUARDED_BY(mutex_) = false;
  bool failed_ SR_GUARDED_BY(mutex_) = false;
  std::atomic<bool> discarded_{false};
  std::vector<std::thread> threads_;
};

}  // namespace strongroom::log
