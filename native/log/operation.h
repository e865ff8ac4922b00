// Operations of the application: what waits for a commit, and how it ended
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"
#include "log/format.h"

namespace strongroom::log {

enum class Durability : std::uint8_t {
  kJournal,    // durable in the vault; the witnesses follow within the witness interval
  kWitnessed,  // every expected witness has moved as well
};

// Counters are values of 8 bytes: two's complement, big-endian.
inline constexpr std::size_t kCounterBytes = 8;
[[nodiscard]] std::array<std::uint8_t, kCounterBytes> encode_counter(std::int64_t number);
[[nodiscard]] std::optional<std::int64_t> parse_counter(ByteView value);

// A key and a value in one block of memory: one thread makes it and another gives it back, which is what it costs.
class KeyAndValue {
 public:
  KeyAndValue() = default;
  explicit KeyAndValue(ByteView key, ByteView value = {}) : content_(key, value), key_bytes_(key.size()) {}

  [[nodiscard]] ByteView key() const { return content_.view().first(key_bytes_); }
  [[nodiscard]] ByteView value() const { return content_.view().subspan(key_bytes_); }
  [[nodiscard]] std::size_t bytes() const { return content_.size(); }
  void set_value(ByteView value);  // views are void when it takes more room than there was

 private:
  WipedBuffer content_;
  std::size_t key_bytes_ = 0;
};

struct BatchItem {
  Operation operation = Operation::kPut;
  KeyAndValue content;
};

struct IncrementBounds {
  std::int64_t delta = 0;
  std::optional<std::int64_t> min;
  std::optional<std::int64_t> max;
};

struct CompareAndSet {
  std::optional<WipedBuffer> expected;  // nullopt: the key must be absent
  std::optional<WipedBuffer> next;      // nullopt: delete
};

// One call of the application.
struct QueuedOperation {
  enum class Type : std::uint8_t { kSet, kDelete, kIncrement, kCompareAndSet, kBatch };
  Type type = Type::kSet;
  Durability durability = Durability::kJournal;
  std::uint64_t ticket = 0;
  KeyAndValue content;  // a set's value; an increment's is what it comes to
  IncrementBounds increment;
  std::unique_ptr<CompareAndSet> compare;
  std::vector<BatchItem> batch;

  [[nodiscard]] std::size_t bytes() const;
};

struct Completion {
  std::uint64_t ticket = 0;
  Durability durability = Durability::kJournal;
  Status status;
  std::uint64_t generation = 0;  // of the commit; 0 when nothing was written
  std::int64_t number = 0;       // the counter after an increment
  bool swapped = false;          // compare-and-set took place
};

}  // namespace strongroom::log
