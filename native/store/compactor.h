// Compaction: a new log with the live records alone takes the place of the present one.
//
// With a new DEK the log moves to it: the snapshot and what follows are of that DEK, and so are the witnesses from the moment
// in which the file is published.
#pragma once

#include <atomic>
#include <functional>
#include <thread>

#include "store/vault.h"
#include "witnesses/witnesses.h"

namespace strongroom::store {

struct EngineOptions;

class Compactor {
 public:
  using ProgressHook = std::function<void(std::uint64_t done, std::uint64_t all)>;

  // What it works on; all outlive it. What is null becomes something before the first call.
  struct Parts {
    const EngineOptions& options;
    KeyRing& ring;
    Vault& vault;
    const std::shared_ptr<os::Directory>& directory;
    const std::unique_ptr<Witnesses>& witnesses;
    std::function<Witnesses::Keys(std::uint32_t key_id)> keys_of;
  };
  explicit Compactor(Parts parts) : parts_(std::move(parts)) {}

  // Maintenance: compaction, changes of passwords, rotations, close: one at a time; before HeaderChanges::mutex().
  [[nodiscard]] Mutex& mutex() SR_RETURN_CAPABILITY(mutex_) { return mutex_; }

  // Begins one on a thread of its own, if there is enough to gain and no other maintenance.
  void begin_if_worthwhile() SR_EXCLUDES(mutex_);
  void join() SR_REQUIRES(mutex_);  // waits for that one
  [[nodiscard]] Status compact(const ProgressHook& progress = {}) SR_REQUIRES(mutex_);
  // kNoSpace when the file system cannot hold a second log of the size of the live records.
  [[nodiscard]] Status check_space() const;

 private:
  void run();
  [[nodiscard]] Status compact_now(const ProgressHook& progress);

  Parts parts_;
  Mutex mutex_;
  std::thread thread_ SR_GUARDED_BY(mutex_);
  std::atomic<bool> running_{false};
  // After a failure: not before the log has grown to this, or not before the file system can hold a new log.
  std::atomic<std::uint64_t> bytes_next_{0};
  std::atomic<bool> lacks_space_{false};
};

}  // namespace strongroom::store
