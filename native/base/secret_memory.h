// Memory for keys and passwords: its pages are locked (mlock), left out of core files (MADV_DONTDUMP) and wiped
// before they are given back. Allocation never fails for want of locked memory: where the limit forbids mlock, the
// pages are still wiped and not dumped.
#pragma once

#include <cstddef>
#include <utility>

#include "base/bytes.h"

namespace strongroom {

// Overwrites in a way that the compiler cannot remove.
void wipe(MutableBytes bytes);

// A move-only run of secret bytes in locked pages. Sizes of 0 hold no memory.
class SecretBytes {
 public:
  SecretBytes() = default;
  explicit SecretBytes(std::size_t size);  // zero-filled
  explicit SecretBytes(ByteView copy_of);
  SecretBytes(SecretBytes&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  SecretBytes& operator=(SecretBytes&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  SecretBytes(const SecretBytes&) = delete;
  SecretBytes& operator=(const SecretBytes&) = delete;
  ~SecretBytes();

  [[nodiscard]] SecretBytes clone() const { return SecretBytes(view()); }
  [[nodiscard]] ByteView view() const { return {data_, size_}; }
  [[nodiscard]] MutableBytes span() { return {data_, size_}; }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }

 private:
  std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
};

// Grows like a vector of bytes and wipes what it held, on growth and at its end. For short-lived plaintext; the pages
// are not locked, because values may be large.
class WipedBuffer {
 public:
  WipedBuffer() = default;
  ~WipedBuffer() { wipe(bytes_); }
  WipedBuffer(WipedBuffer&&) noexcept = default;
  WipedBuffer& operator=(WipedBuffer&& other) noexcept {
    wipe(bytes_);
    bytes_ = std::move(other.bytes_);
    return *this;
  }
  WipedBuffer(const WipedBuffer&) = delete;
  WipedBuffer& operator=(const WipedBuffer&) = delete;

  explicit WipedBuffer(ByteView copy_of) : bytes_(copy_of.begin(), copy_of.end()) {}
  WipedBuffer(ByteView first, ByteView second) {
    bytes_.reserve(first.size() + second.size());
    bytes_.assign(first.begin(), first.end());
    bytes_.insert(bytes_.end(), second.begin(), second.end());
  }
  void resize(std::size_t size);
  [[nodiscard]] ByteView view() const { return bytes_; }
  [[nodiscard]] MutableBytes span() { return bytes_; }
  [[nodiscard]] std::size_t size() const { return bytes_.size(); }

 private:
  Bytes bytes_;
};

}  // namespace strongroom
