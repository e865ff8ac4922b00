// The changes of one commit of system records
#pragma once

#include <deque>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "log/writer.h"

namespace strongroom::store {

// Owns the values that its views refer to.
class SystemRecordChanges {
 public:
  void put(std::string_view key, ByteView value) {
    values_.emplace_back(value.begin(), value.end());
    changes_.push_back(log::Change{log::Operation::kPut, as_bytes(key), values_.back()});
  }
  void remove(std::string_view key) {
    changes_.push_back(log::Change{log::Operation::kDelete, as_bytes(key), {}});
  }
  [[nodiscard]] const std::vector<log::Change>& list() const { return changes_; }

 private:
  std::deque<Bytes> values_;
  std::vector<log::Change> changes_;
};

}  // namespace strongroom::store
