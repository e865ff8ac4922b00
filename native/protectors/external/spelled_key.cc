#include "protectors/external/spelled_key.h"

#include <algorithm>
#include <cstdint>
#include <vector>

namespace strongroom::store {
namespace {

// What a text holds of one form, in its order.
using Symbols = std::vector<std::uint32_t>;

constexpr std::string_view kHexDigits = "0123456789abcdef";
constexpr std::string_view kBase64Digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

bool is_digit(char c) { return c >= '0' && c <= '9'; }

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// `expected(i)` is the i-th of `count` symbols; consecutive ones of them stand `stride` apart.
template <typename Expected>
bool holds(const Symbols& symbols, std::size_t count, std::size_t stride, const Expected& expected) {
  if (count == 0) return false;
  for (std::size_t start = 0; start + (count - 1) * stride < symbols.size(); ++start) {
    std::size_t same = 0;
    while (same < count && symbols[start + same * stride] == expected(same)) ++same;
    if (same == count) return true;
  }
  return false;
}

bool holds_hex(std::string_view text, ByteView key) {
  Symbols nibbles;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool is_prefix = text[i] == '0' && i + 1 < text.size() && lower(text[i + 1]) == 'x';
    const std::size_t nibble = kHexDigits.find(lower(text[i]));
    if (!is_prefix && nibble != std::string_view::npos) nibbles.push_back(static_cast<std::uint32_t>(nibble));
  }
  return holds(nibbles, key.size() * 2, 1, [key](std::size_t i) -> std::uint32_t {
    return i % 2 == 0 ? key[i / 2] >> 4 : key[i / 2] & 15;
  });
}

// Of the digits that the key fills alone; where it begins within three bytes decides which those are.
bool holds_base64(std::string_view text, ByteView key) {
  Symbols digits;
  for (const char c : text) {
    const std::size_t digit = kBase64Digits.find(c == '-' ? '+' : c == '_' ? '/' : c);
    if (digit != std::string_view::npos) digits.push_back(static_cast<std::uint32_t>(digit));
  }
  const std::size_t bits = key.size() * 8;
  for (const std::size_t skipped : {0U, 2U, 4U}) {
    if (bits < skipped) continue;
    const auto expected = [key, skipped](std::size_t i) {
      std::uint32_t digit = 0;
      for (std::size_t bit = skipped + i * 6; bit < skipped + (i + 1) * 6; ++bit)
        digit = digit << 1 | (key[bit / 8] >> (7 - bit % 8) & 1U);
      return digit;
    };
    if (holds(digits, (bits - skipped) / 6, 1, expected)) return true;
  }
  return false;
}

bool holds_decimals(std::string_view text, ByteView key) {
  constexpr std::uint32_t kNoByte = 256;
  Symbols numbers;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (!is_digit(text[i])) continue;
    if (i == 0 || !is_digit(text[i - 1])) numbers.push_back(0);
    numbers.back() = std::min(numbers.back() * 10 + static_cast<std::uint32_t>(text[i] - '0'), kNoByte);
  }
  const auto expected = [key](std::size_t i) -> std::uint32_t { return key[i]; };
  return holds(numbers, key.size(), 1, expected) || holds(numbers, key.size(), 2, expected);
}

// Characters beyond ASCII depend on the encoding, and so count on neither side.
bool holds_characters(std::string_view text, ByteView key) {
  Symbols characters;
  for (const char c : text)
    if (static_cast<std::uint8_t>(c) < 0x80) characters.push_back(static_cast<std::uint8_t>(c));
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < key.size(); ++i)
    if (key[i] < 0x80) places.push_back(i);
  return holds(characters, key.size(), 1, [key](std::size_t i) -> std::uint32_t { return key[i] & 0x7f; }) ||
         holds(characters, places.size(), 1,
               [key, &places](std::size_t i) -> std::uint32_t { return key[places[i]]; });
}

}  // namespace

bool is_spelled_in(std::string_view text, ByteView key) {
  return holds_hex(text, key) || holds_base64(text, key) || holds_decimals(text, key) ||
         holds_characters(text, key);
}

}  // namespace strongroom::store
