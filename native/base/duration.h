// Durations in messages, as lib/base/units.ts writes them.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>

namespace strongroom {

namespace duration_detail {

inline std::string parts_text(std::uint64_t ms, int parts_max) {
  constexpr std::array<std::pair<const char*, std::uint64_t>, 5> kUnits{
      {{" d", 86'400'000}, {" h", 3'600'000}, {" min", 60'000}, {" s", 1000}, {" ms", 1}}};
  std::string text;
  int parts = 0;
  for (const auto& [unit, size] : kUnits) {
    const std::uint64_t count = ms / size;
    ms -= count * size;
    if (count == 0 || parts == parts_max) continue;
    if (parts++ > 0) text += ' ';
    text += std::to_string(count) + unit;
  }
  return text.empty() ? "0 ms" : text;
}

}  // namespace duration_detail

// How long something took: the two largest units, such as "6 d 23 h".
[[nodiscard]] inline std::string duration_text(std::uint64_t ms) {
  return duration_detail::parts_text(ms < 1000 ? ms : ms / 1000 * 1000, 2);
}

// A limit that someone has set: nothing of it is dropped.
[[nodiscard]] inline std::string limit_text(std::uint64_t ms) { return duration_detail::parts_text(ms, 5); }

}  // namespace strongroom
