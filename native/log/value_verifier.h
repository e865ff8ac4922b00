// Authenticates the values of a log beside the thread that reads it. Directories and the chain are checked by the
// reader as it goes; values, which are most of the bytes, are checked here, and nothing that was read is given to
// anyone before finish() has said that every one of them is authentic.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

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
  void check(std::vector<const Record*> records);
  // Waits for all checks. False when a value did not authenticate.
  [[nodiscard]] bool finish();
  // Drops the checks that wait: nothing of what was read is used.
  void discard();

 private:
  [[nodiscard]] bool authentic(ValueCipher& cipher, const std::vector<const Record*>& records,
                               WipedBuffer& out) const;
  void run();

  const EpochKeys& keys_;
  ValueCipher own_cipher_;
  WipedBuffer own_out_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::vector<const Record*>> jobs_;  // guarded by mutex_
  bool done_ = false;                            // guarded by mutex_
  bool failed_ = false;                          // guarded by mutex_ once there are threads
  std::atomic<bool> discarded_{false};
  std::vector<std::thread> threads_;
};

}  // namespace strongroom::log
