// A word of a command that a message tells the reader to run.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

namespace strongroom::os {

// As it is where no shell would take it apart, else in single quotes.
[[nodiscard]] inline std::string shell_word(std::string_view text) {
  const bool is_plain = !text.empty() && text.front() != '-' && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("/._-+:,@%").find(c) != std::string_view::npos;
  });
  if (is_plain) return std::string(text);
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'')
      quoted += "'\\''";
    else
      quoted += c;
  }
  return quoted + "'";
}

}  // namespace strongroom::os
