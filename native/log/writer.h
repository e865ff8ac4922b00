// Appends commits to vault.bin: one frame, one write, one sync each.
//
// Invariants:
// - A commit is durable when append() returns ok; only then do newest() and the caller's memory move.
// - Two frames are never outstanding: the next is written after the sync of the one before it.
// - After a failed sync nothing more is accepted: the kernel may have dropped the pages that it could not write, so a
//   later sync that succeeds would prove nothing about them.
// - append() answers kPoisoned with `outcome_unknown` when the commit may be in the file after a restart. Any other error
//   says that it is not.
// - A nonce counter is never set back, not even when a write fails.
// - Behind the newest durable frame the file never has more than kTailBytesMax, whatever fails and whenever it is cut off.
// Used by one thread at a time; the owner guards it.
#pragma once

#include <atomic>

#include "log/records.h"
#include "os/os.h"

namespace strongroom::log {

// One operation of a commit. The views live until append() returns.
struct Change {
  Operation operation = Operation::kPut;
  ByteView key;
  ByteView value;
};

struct Appended {
  CommitInfo info;
  // One a change, where it stands in the frame: until the next append(). Nothing for a delete.
  std::vector<SealedValue> values;
};

class LogWriter {
 public:
  // `offset` is where the next frame goes; what stands behind it in the file was cut off before.
  LogWriter(std::unique_ptr<os::File> file, std::uint64_t offset, const Checkpoint& newest,
            std::uint32_t epoch_highest, EpochKeys& keys, std::uint64_t reserve_bytes);

  // The first append after construction draws the epoch salt and announces it.
  [[nodiscard]] Result<Appended> append(CommitKind kind, const std::vector<Change>& changes,
                                        std::int64_t wall_ms, std::uint64_t tamper_synced);

  // Cuts the reserved space off and syncs.
  [[nodiscard]] Status finish();

  // Takes over the file of a compacted log that holds the same history. Gives back the one before: to close it may take
  // long, when it has no name any more and the file system frees its space.
  [[nodiscard]] std::unique_ptr<os::File> switch_file(std::unique_ptr<os::File> file, std::uint64_t offset);

  // For a snapshot that is written beside the log: epochs come from one counter.
  [[nodiscard]] std::uint32_t take_epoch() { return ++epoch_highest_; }
  [[nodiscard]] std::uint32_t current_epoch() const { return epoch_; }  // 0 before the first append
  void end_epoch() { epoch_ = 0; }                                      // the next append begins another

  [[nodiscard]] const Checkpoint& newest() const { return newest_; }
  [[nodiscard]] std::uint64_t offset() const { return offset_; }
  [[nodiscard]] os::File& file() { return *file_; }
  [[nodiscard]] const Status& poisoned() const { return poisoned_; }
  [[nodiscard]] bool is_poisoned() const { return poisoned_flag_; }  // from any thread
  [[nodiscard]] const Status& poison_cause() const { return poison_cause_; }
  // Returns what the operation answers after which the content of the file is not known.
  [[nodiscard]] Status poison(const Status& cause);

 private:
  [[nodiscard]] Status write_durably(ByteView frame);

  std::unique_ptr<os::File> file_;
  std::uint64_t offset_;
  Checkpoint newest_;
  EpochKeys& keys_;
  ValueCipher cipher_;
  std::uint32_t epoch_highest_;
  std::uint32_t epoch_ = 0;
  std::uint64_t counter_ = 0;
  std::uint64_t reserve_bytes_;
  std::uint64_t reserved_to_;
  Status poisoned_;
  Status poison_cause_;
  std::atomic<bool> poisoned_flag_{false};
  Bytes frame_;
};

// Lays out one frame into `frame` (header, salt, sealed entry_table, tag, sealed values, padding) and says where its
// values stand. Shared by the writer of commits and the writer of snapshots. Returns the link that follows `previous`.
[[nodiscard]] Digest build_frame(FrameHeader header, const EpochSalt& salt, const Digest& previous,
                                 const std::vector<Change>& changes, ByteView raw_entry_table,
                                 crypto::Aead& cipher, ValueCipher& values, const StorageId& storage_id,
                                 Bytes& frame, std::vector<SealedValue>* sealed);

}  // namespace strongroom::log
