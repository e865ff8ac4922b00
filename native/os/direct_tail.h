// The end of a log written past the page cache: whole blocks, straight from memory of our own. For 20 KiB that saves a
// fifth of the time that a write and its sync take.
//
// Invariants:
// - Only blocks that are known to be written on the disk already, and to hold zeros behind the new data, are written,
//   so that neither size nor extents change and nothing that stands in the file is lost.
// - What is written of a block before `offset` is what stands there: the page cache writes a partly filled block whole,
//   too, and so a power cut can do no more than there.
// Used by one thread at a time.
#pragma once

#include <cstdlib>
#include <memory>

#include "base/bytes.h"

namespace strongroom::os {

class DirectTail {
 public:
  enum class Outcome : std::uint8_t {
    kDone,
    kNotSuited,  // nothing was done
    kFailed,     // the blocks are in doubt until content() was written to start() in another way
  };

  DirectTail() = default;
  DirectTail(const DirectTail&) = delete;
  DirectTail& operator=(const DirectTail&) = delete;
  DirectTail(DirectTail&&) = delete;
  DirectTail& operator=(DirectTail&&) = delete;
  ~DirectTail();

  // What happened to the file by other ways.
  void zeros_written(std::uint64_t from, std::uint64_t to);
  void written(std::uint64_t end);
  void truncated() { zeros_from_ = zeros_to_ = end_ = 0; }

  // `descriptor` is the file's usual one. A failure is remembered: later calls are kNotSuited.
  [[nodiscard]] Outcome write(int descriptor, std::uint64_t offset, ByteView data);

  [[nodiscard]] std::uint64_t start() const { return start_; }
  [[nodiscard]] ByteView content() const { return {buffer_.get(), static_cast<std::size_t>(end_ - start_)}; }

 private:
  struct Free {
    void operator()(std::uint8_t* memory) const { std::free(memory); }
  };

  [[nodiscard]] bool open(int descriptor);
  [[nodiscard]] bool make_room(std::size_t bytes);

  int direct_ = -1;
  bool refused_ = false;          // by the file system, or by a failure
  std::uint64_t zeros_from_ = 0;  // [zeros_from_, zeros_to_) holds zeros
  std::uint64_t zeros_to_ = 0;
  std::uint64_t start_ = 0;  // where the content of buffer_ stands in the file,
  std::uint64_t end_ = 0;    // and ends, without the zeros that fill the last block; 0: nothing
  std::unique_ptr<std::uint8_t, Free> buffer_;
  std::size_t capacity_ = 0;
};

}  // namespace strongroom::os
