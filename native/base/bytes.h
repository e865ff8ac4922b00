// Byte views, fixed-size identities and bounds-checked little-endian coding. All integers on disk are little-endian.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace strongroom {

using ByteView = std::span<const std::uint8_t>;
using MutableBytes = std::span<std::uint8_t>;
using Bytes = std::vector<std::uint8_t>;
using Digest = std::array<std::uint8_t, 32>;     // SHA-256
using StorageId = std::array<std::uint8_t, 16>;  // 128 random bits

[[nodiscard]] inline ByteView as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
[[nodiscard]] inline std::string_view as_text(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
[[nodiscard]] inline bool equal(ByteView a, ByteView b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}
[[nodiscard]] bool all_zero(ByteView bytes);
[[nodiscard]] std::string to_hex(ByteView bytes);
[[nodiscard]] std::optional<Bytes> from_hex(std::string_view text);

template <typename T>
inline void store_le(std::uint8_t* out, T value) {
  static_assert(std::is_unsigned_v<T>);
  for (std::size_t i = 0; i < sizeof(T); ++i) out[i] = static_cast<std::uint8_t>(value >> (8 * i));
}
template <typename T>
[[nodiscard]] inline T load_le(const std::uint8_t* in) {
  static_assert(std::is_unsigned_v<T>);
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i)
    value = static_cast<T>(value | (static_cast<T>(in[i]) << (8 * i)));
  return value;
}

// Appends to a buffer.
class ByteWriter {
 public:
  explicit ByteWriter(Bytes& out) : out_(out) {}
  template <typename T>
  void number(T value) {
    std::uint8_t raw[sizeof(T)];
    store_le(raw, value);
    out_.insert(out_.end(), raw, raw + sizeof(T));
  }
  void varint(std::uint64_t value);  // LEB128, 1 to 10 bytes
  void bytes(ByteView data) { out_.insert(out_.end(), data.begin(), data.end()); }
  void prefixed(ByteView data) {  // varint length, then the bytes
    varint(data.size());
    bytes(data);
  }

 private:
  Bytes& out_;
};

// Reads from a view; after the first read past the end every answer is empty and ok() is false.
class ByteReader {
 public:
  explicit ByteReader(ByteView in) : in_(in) {}
  template <typename T>
  [[nodiscard]] T number() {
    const ByteView raw = bytes(sizeof(T));
    return raw.size() == sizeof(T) ? load_le<T>(raw.data()) : T{};
  }
  [[nodiscard]] std::uint64_t varint();
  [[nodiscard]] ByteView bytes(std::size_t size) {
    if (!ok_ || in_.size() - at_ < size) {
      ok_ = false;
      return {};
    }
    at_ += size;
    return in_.subspan(at_ - size, size);
  }
  [[nodiscard]] ByteView prefixed() {
    const std::uint64_t size = varint();
    if (size > remaining()) {
      ok_ = false;
      return {};
    }
    return bytes(static_cast<std::size_t>(size));
  }
  template <std::size_t N>
  [[nodiscard]] std::array<std::uint8_t, N> array() {
    std::array<std::uint8_t, N> out{};
    const ByteView raw = bytes(N);
    if (raw.size() == N) std::memcpy(out.data(), raw.data(), N);
    return out;
  }
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] std::size_t remaining() const { return ok_ ? in_.size() - at_ : 0; }
  [[nodiscard]] bool done() const { return ok_ && at_ == in_.size(); }  // everything read, nothing left over

 private:
  ByteView in_;
  std::size_t at_ = 0;
  bool ok_ = true;
};

}  // namespace strongroom
