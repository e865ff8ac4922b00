// The life of a store: the steps of its start in their order, then open, then closed.
#pragma once

#include <atomic>
#include <cstdlib>
#include <memory>

#include "store/start/opening.h"

namespace strongroom::store {

// After which step the store is.
enum class Stage : std::uint8_t {
  kNew,
  kDetermined,
  kSetUp,
  kRootOpen,
  kVaultLoaded,
  kIdentified,
  kIntegrityValid,
  kTimeValid,
  kOpen,
  kClosed,
};

class Lifecycle {
 public:
  explicit Lifecycle(const EngineOptions& options) : options_(options) {}

  // From any thread.
  [[nodiscard]] Stage stage() const { return stage_; }
  [[nodiscard]] bool is_open() const { return stage_ == Stage::kOpen; }
  // kAlreadyOpen, kClosed or kNotOpen where a step is called whose turn it is not.
  [[nodiscard]] Status require(Stage wanted) const;
  // kClosed, kNotOpen, kReadOnly.
  [[nodiscard]] Status accepts_reads() const;
  [[nodiscard]] Status accepts_writes() const;

  void reached(Stage stage) { stage_ = stage; }
  // The last step is done. For writing, what was found is no longer needed.
  void opened();

  // Only before the store is open for writing, on the thread of its start.
  [[nodiscard]] Opening& opening() {
    if (!opening_) std::abort();
    return *opening_;
  }
  // Null once the store is open for writing. Not while a start is under way on another thread.
  [[nodiscard]] const Opening* opening_if_any() const { return opening_.get(); }
  [[nodiscard]] StartFindings& findings() { return findings_; }
  [[nodiscard]] const StartFindings& findings() const { return findings_; }
  [[nodiscard]] bool has_damaged_secret() const;  // of a witness: one copy
  // Root and persistence.bin are new, and whole.
  void root_replaced();

 private:
  const EngineOptions& options_;
  std::atomic<Stage> stage_{Stage::kNew};
  std::unique_ptr<Opening> opening_ = std::make_unique<Opening>();
  StartFindings findings_;
};

}  // namespace strongroom::store
