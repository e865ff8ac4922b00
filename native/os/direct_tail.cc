#include "os/direct_tail.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "os/descriptor.h"

namespace strongroom::os {
namespace {

// The block of nearly every file system, and what the page cache would write: a smaller one could be torn inside a
// physical sector. A device with larger blocks refuses, and the page cache is used.
constexpr std::uint64_t kBlockBytes = 4096;
// Below this the page cache is as fast, and writes less than whole blocks into the count of bytes.
constexpr std::size_t kDataBytesMin = 8192;
constexpr std::size_t kDataBytesMax = std::size_t{1} << 20;

constexpr std::uint64_t block_of(std::uint64_t offset) { return offset / kBlockBytes * kBlockBytes; }

}  // namespace

DirectTail::~DirectTail() {
  if (direct_ >= 0) ::close(direct_);
}

void DirectTail::zeros_written(std::uint64_t from, std::uint64_t to) {
  if (from != zeros_to_) zeros_from_ = from;
  zeros_to_ = to;
}

void DirectTail::written(std::uint64_t end) {
  zeros_from_ = std::max(zeros_from_, end);
  end_ = 0;
}

// A description of its own: O_DIRECT on the usual one would bind reads to whole blocks, too.
bool DirectTail::open(int descriptor) {
  if (direct_ >= 0) return true;
  const std::string path = "/proc/self/fd/" + std::to_string(descriptor);
  direct_ = apart(Fd(::open(path.c_str(), O_WRONLY | O_DIRECT | O_CLOEXEC))).release();
  refused_ = direct_ < 0;
  return !refused_;
}

bool DirectTail::make_room(std::size_t bytes) {
  if (bytes <= capacity_) return true;
  std::unique_ptr<std::uint8_t, Free> larger(
      static_cast<std::uint8_t*>(std::aligned_alloc(kBlockBytes, bytes)));
  if (!larger) return false;
  if (end_ != 0) std::memcpy(larger.get(), buffer_.get(), content().size());
  buffer_ = std::move(larger);
  capacity_ = bytes;
  return true;
}

DirectTail::Outcome DirectTail::write(int descriptor, std::uint64_t offset, ByteView data) {
  if (refused_ || data.size() < kDataBytesMin || data.size() > kDataBytesMax) return Outcome::kNotSuited;
  const std::uint64_t start = block_of(offset);
  const std::uint64_t end = offset + data.size();
  const std::uint64_t blocks_end = block_of(end + kBlockBytes - 1);
  if (offset < zeros_from_ || blocks_end > zeros_to_) return Outcome::kNotSuited;
  const auto blocks_bytes = static_cast<std::size_t>(blocks_end - start);
  if (!open(descriptor) || !make_room(blocks_bytes)) return Outcome::kNotSuited;

  const auto before = static_cast<std::size_t>(offset - start);
  if (end_ == offset && start >= start_) {
    std::memmove(buffer_.get(), buffer_.get() + (start - start_), before);
  } else {
    std::size_t read = 0;
    while (read < before) {
      const ssize_t got =
          ::pread(descriptor, buffer_.get() + read, before - read, static_cast<off_t>(start + read));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) break;
      read += static_cast<std::size_t>(got);
    }
    end_ = 0;
    if (read < before) return Outcome::kNotSuited;
  }
  std::memcpy(buffer_.get() + before, data.data(), data.size());
  std::memset(buffer_.get() + before + data.size(), 0, blocks_bytes - before - data.size());
  start_ = start;
  end_ = end;
  ssize_t put = 0;
  do {
    put = ::pwrite(direct_, buffer_.get(), blocks_bytes, static_cast<off_t>(start));
  } while (put < 0 && errno == EINTR);
  if (put == static_cast<ssize_t>(blocks_bytes)) {
    zeros_from_ = end;
    return Outcome::kDone;
  }
  refused_ = true;
  return Outcome::kFailed;
}

}  // namespace strongroom::os
