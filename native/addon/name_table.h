// Tables from an enumeration to names or functions: what else would be a switch is data
#pragma once

#include <algorithm>
#include <array>
#include <initializer_list>
#include <string_view>
#include <utility>

namespace strongroom::addon {

template <typename Key, typename Value, std::size_t N>
using Table = std::array<std::pair<Key, Value>, N>;
template <typename Enum, std::size_t N>
using NameTable = Table<Enum, std::string_view, N>;

// Null when the key has no entry.
template <typename Key, typename Value, std::size_t N>
[[nodiscard]] constexpr const Value* find_in(const Table<Key, Value, N>& table, Key key) {
  const auto found = std::ranges::find(table, key, [](const auto& entry) { return entry.first; });
  return found == table.end() ? nullptr : &found->second;
}

template <typename Enum, std::size_t N>
[[nodiscard]] constexpr std::string_view name_of(Enum value, const NameTable<Enum, N>& table) {
  const std::string_view* const name = find_in(table, value);
  return name == nullptr ? "unknown" : *name;
}

// The first value of this name; null when the name is unknown.
template <typename Enum, std::size_t N>
[[nodiscard]] constexpr const Enum* of_name(std::string_view name, const NameTable<Enum, N>& table) {
  const auto found = std::ranges::find(table, name, [](const auto& entry) { return entry.second; });
  return found == table.end() ? nullptr : &found->first;
}

template <typename Enum>
[[nodiscard]] constexpr bool is_one_of(Enum value, std::initializer_list<Enum> values) {
  return std::ranges::find(values, value) != values.end();
}

}  // namespace strongroom::addon
