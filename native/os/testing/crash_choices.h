// How the states after a power cut are enumerated: which subsets of the pending file operations, torn how.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "os/testing/disk_model.h"

namespace strongroom::os::testing {

// Which pending operations survive, said briefly: a disk that lies about sync has thousands of them.
struct FileChoice {
  enum class Kind : std::uint8_t {
    kNone,
    kAll,
    kPrefix,
    kAlone,
    kMissing,
    kTornAlone,
    kTornLast,
    kTornAmongAll
  };
  Kind kind = Kind::kNone;
  std::size_t index = 0;  // the operation in question; of a prefix, the first one lost
  Survival torn;

  [[nodiscard]] Survival of(std::size_t operation) const {
    const auto survives = [](bool yes) {
      return Survival{yes ? Survival::Kind::kWhole : Survival::Kind::kLost, 0};
    };
    switch (kind) {
      case Kind::kNone:
        return survives(false);
      case Kind::kAll:
        return survives(true);
      case Kind::kPrefix:
        return survives(operation < index);
      case Kind::kAlone:
        return survives(operation == index);
      case Kind::kMissing:
        return survives(operation != index);
      case Kind::kTornAlone:
        return operation == index ? torn : survives(false);
      case Kind::kTornLast:
        return operation == index ? torn : survives(operation < index);
      case Kind::kTornAmongAll:
        return operation == index ? torn : survives(true);
    }
    std::abort();
  }

  [[nodiscard]] std::string description() const {
    static constexpr const char* kKinds[] = {"none",    "all",        "prefix before", "only",
                                             "all but", "torn alone", "torn last",     "torn among all"};
    static constexpr const char* kTears[] = {
        "", "", " first", " last", " even sectors", " odd sectors", " size only"};
    std::string text = kKinds[static_cast<std::size_t>(kind)];
    if (kind == Kind::kNone || kind == Kind::kAll) return text;
    text += " #" + std::to_string(index) + kTears[static_cast<std::size_t>(torn.kind)];
    if (torn.sectors != 0) text += " " + std::to_string(torn.sectors) + " sectors";
    return text;
  }
};

inline std::vector<Survival> tears_of(const FileOperation& operation) {
  std::vector<Survival> tears;
  if (operation.kind != FileOperation::Kind::kWrite) return tears;
  const std::size_t sectors = operation.sectors();
  const std::size_t boundaries = std::min(sectors - 1, kTornBoundariesMax);
  for (std::size_t i = 1; i <= boundaries; ++i) {
    const std::size_t kept = i * sectors / (boundaries + 1);
    tears.push_back({Survival::Kind::kFirstSectors, kept});
    tears.push_back({Survival::Kind::kLastSectors, kept});
  }
  if (sectors > 1) {
    tears.push_back({Survival::Kind::kEvenSectors, 0});
    tears.push_back({Survival::Kind::kOddSectors, 0});
  }
  if (operation.grows) tears.push_back({Survival::Kind::kSizeOnly, 0});
  return tears;
}

using Pending = std::vector<std::pair<const Node*, const FileOperation*>>;

inline std::vector<FileChoice> file_choices(const Pending& pending) {
  using Kind = FileChoice::Kind;
  std::vector<FileChoice> choices{{Kind::kNone, 0, {}}};
  for (std::size_t i = 0; i < pending.size(); ++i) {
    if (i > 0) choices.push_back({Kind::kPrefix, i, {}});
    choices.push_back({Kind::kAlone, i, {}});
    choices.push_back({Kind::kMissing, i, {}});
    for (const Survival& tear : tears_of(*pending[i].second)) {
      for (const Kind kind : {Kind::kTornLast, Kind::kTornAmongAll, Kind::kTornAlone})
        choices.push_back({kind, i, tear});
    }
  }
  if (!pending.empty()) choices.push_back({Kind::kAll, 0, {}});
  return choices;
}

// At most `limit` of `count` indices, ascending, the first and the last among them: one of each of equal
// strata, at a place that a fixed mix chooses, because a constant step would hit the same name choice every
// time.
inline std::vector<std::size_t> sample(std::size_t count, std::size_t limit) {
  std::vector<std::size_t> indices;
  if (count <= limit) {
    for (std::size_t i = 0; i < count; ++i) indices.push_back(i);
    return indices;
  }
  indices.push_back(0);
  const std::size_t strata = limit - 2;
  for (std::size_t i = 0; i < strata; ++i) {
    const std::size_t from = 1 + i * (count - 2) / strata;
    const std::size_t to = 1 + (i + 1) * (count - 2) / strata;
    const std::uint64_t mix = (i + 1) * 0x9E3779B97F4A7C15U;
    indices.push_back(from + static_cast<std::size_t>(mix >> 32) % (to - from));
  }
  indices.push_back(count - 1);
  return indices;
}

inline std::vector<Survival> survivals_of(const FileChoice& choice, std::size_t operations) {
  std::vector<Survival> survivals(operations);
  for (std::size_t i = 0; i < operations; ++i) survivals[i] = choice.of(i);
  return survivals;
}

// Contents of the files that have pending operations; every other file holds its base.
inline std::map<const Node*, Bytes> contents_after(const Pending& pending,
                                                   const std::vector<Survival>& survivals) {
  std::map<const FileOperation*, Survival> of_operation;
  std::map<const Node*, Bytes> contents;
  for (std::size_t i = 0; i < pending.size(); ++i) {
    of_operation[pending[i].second] = survivals[i];
    contents[pending[i].first] = {};
  }
  for (auto& [node, image] : contents) {
    image = node->base;
    for (const FileOperation& operation : node->operations) {
      const auto found = of_operation.find(&operation);
      apply(image, operation,
            found == of_operation.end() ? Survival{Survival::Kind::kWhole, 0} : found->second);
    }
  }
  return contents;
}

inline std::string fingerprint(const Bytes& image) {
  return std::to_string(image.size()) + ":" + std::to_string(std::hash<std::string_view>()(as_text(image)));
}

}  // namespace strongroom::os::testing
