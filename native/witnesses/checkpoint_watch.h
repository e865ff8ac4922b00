// How a remembered checkpoint stands to the history, found out while the log goes by.
#pragma once

#include <optional>

#include "log/reader.h"

namespace strongroom::store {

enum class Standing : std::uint8_t {
  kContained,  // the history has this head at this generation
  kDiffers,    // it has another head there
  kAhead,      // the history ends before it
  kForgotten,  // it is older than the log's snapshot and not among the checkpoints that the snapshot keeps
};

class CheckpointWatch {
 public:
  explicit CheckpointWatch(const log::Checkpoint& wanted) : wanted_(wanted) {}
  // The history begins, perhaps again: what an earlier reading saw no longer counts.
  void begin() { standing_.reset(); }
  void see(const log::Checkpoint& checkpoint) {
    if (checkpoint.generation == wanted_.generation)
      standing_ = checkpoint == wanted_ ? Standing::kContained : Standing::kDiffers;
  }
  [[nodiscard]] Standing conclude(const log::LoadedLog& log) {
    if (standing_) return *standing_;
    if (wanted_.generation > log.newest.generation) return Standing::kAhead;
    for (const log::Checkpoint& checkpoint : log.witnessed) see(checkpoint);
    return standing_.value_or(Standing::kForgotten);
  }

 private:
  log::Checkpoint wanted_;
  std::optional<Standing> standing_;
};

}  // namespace strongroom::store
