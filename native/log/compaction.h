// Compaction: a new log whose snapshot holds the live records at one checkpoint of the history, followed by the commit frames
// since then, byte for byte. It is published by a rename.
//
// Invariants:
// - The history does not change: the head of every generation from the snapshot on is the same in the old log and the new.
// - Before a snapshot is begun, every witness and the synced tamper file have reached its checkpoint; the snapshot keeps the checkpoints
//   of the last 1,024 witnessed commits for a witness that lost its last move.
// - When the DEK was changed, every frame behind the snapshot is of an epoch of the present one: the snapshot names its salt, and
//   the file's header the DEK. So a compaction is what moves the vault to a new DEK.
// - Until the rename the old log is the vault; a crash leaves at most a file ".new", which nothing reads.
#pragma once

#include "log/reader.h"
#include "log/writer.h"

namespace strongroom::log {

// Writes a whole new vault file up to the end of its snapshot.
class SnapshotWriter {
 public:
  // `epoch` is fresh (LogWriter::take_epoch()). The file is one of the DEK `key_id`.
  SnapshotWriter(os::File& file, EpochKeys& keys, std::uint32_t key_id, std::uint32_t epoch);

  [[nodiscard]] Status begin(const SnapshotInfo& info);
  // In key order or any other; each key once.
  [[nodiscard]] Status add(const Record& record);
  // Returns the offset behind the snapshot. Not yet synced.
  [[nodiscard]] Result<std::uint64_t> finish();

 private:
  // Records in the clear, gathered until they are worth a frame.
  class Gathered {
   public:
    void add(std::string_view key, WipedBuffer value);
    void clear();
    [[nodiscard]] const std::vector<Change>& changes() const { return changes_; }
    [[nodiscard]] std::size_t bytes() const { return bytes_; }

   private:
    std::vector<Change> changes_;
    std::vector<WipedBuffer> values_;  // what the changes point to
    std::size_t bytes_ = 0;
  };
  enum class Place : std::uint8_t { kInside, kLast };

  // Writes what was gathered as one frame.
  [[nodiscard]] Status write_frame(Place place);

  os::File& file_;
  EpochKeys& keys_;
  ValueCipher cipher_;
  std::uint32_t key_id_;
  std::uint32_t epoch_;
  EpochSalt salt_{};
  std::uint64_t counter_ = 1;
  std::uint64_t offset_ = 0;
  std::uint64_t generation_ = 0;
  Digest chain_{};
  Gathered gathered_;
  Bytes info_;
  bool head_written_ = false;
  Bytes frame_;
};

// Copies frames [from, to) of one file to `offset` of another.
[[nodiscard]] Status copy_frames(os::File& from_file, std::uint64_t from, std::uint64_t to, os::File& to_file,
                                 std::uint64_t offset);

}  // namespace strongroom::log
