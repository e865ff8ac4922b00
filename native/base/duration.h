// Durations in messages, as lib/base/units.ts writes them.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>

namespace strongroom {

// The two largest units, such as "6 d 23 h".
[[nodiscard]] inline std::string duration_text(std::uint64_t ms) {
  if (ms < 1000) return std::to_string(ms) + " ms";
  constexpr std::array<std::pair<const char*, std::uint64_t>, 4> kUnits{
      {{" d", 86'400}, {" h", 3600}, {" min", 60}, {" s", 1}}};
  std::string text;
  std::uint64_t rest = ms / 1000;
  int parts = 0;
  for (const auto& [unit, seconds] : kUnits) {
    const std::uint64_t count = rest / seconds;
    rest -= count * seconds;
    if (count == 0 || parts == 2) continue;
    if (parts++ > 0) text += ' ';
    text += std::to_string(count) + unit;
  }
  return text;
}

}  // namespace strongroom
