#include "log/operation.h"

#include <algorithm>

namespace strongroom::log {

void KeyAndValue::set_value(ByteView value) {
  content_.resize(key_bytes_ + value.size());
  std::copy(value.begin(), value.end(), content_.span().begin() + static_cast<std::ptrdiff_t>(key_bytes_));
}

std::size_t QueuedOperation::bytes() const {
  std::size_t size = content.bytes();
  for (const BatchItem& item : batch) size += item.content.bytes();
  if (compare) {
    size += (compare->expected ? compare->expected->size() : 0) + (compare->next ? compare->next->size() : 0);
  }
  return size;
}

std::array<std::uint8_t, kCounterBytes> encode_counter(std::int64_t number) {
  std::array<std::uint8_t, kCounterBytes> out{};
  const auto bits = static_cast<std::uint64_t>(number);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::uint8_t>(bits >> (8 * (7 - i)));
  return out;
}

std::optional<std::int64_t> parse_counter(ByteView value) {
  if (value.size() != kCounterBytes) return std::nullopt;
  std::uint64_t bits = 0;
  for (const std::uint8_t byte : value) bits = (bits << 8) | byte;
  return static_cast<std::int64_t>(bits);
}

}  // namespace strongroom::log
