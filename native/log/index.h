// The live records of a vault: a hash table for point reads and an ordered set of the same records for ranges.
//
// Invariants: a key has one record at most; a record's id is stable while its key lives, so that replacing a value
// touches the hash slot's record only. Not thread-safe: the owner guards it.
#pragma once

#include <functional>
#include <vector>

#include "log/records.h"
#include "log/sorted_keys.h"

namespace strongroom::log {

// Bounds of a scan, by unsigned bytes. An absent bound is open.
struct KeyRange {
  std::optional<std::string> lower;
  bool lower_inclusive = true;
  std::optional<std::string> upper;
  bool upper_inclusive = false;
  bool reverse = false;
};

// What becomes of the record that a put replaces.
enum class OldRecord : std::uint8_t {
  kKept,         // it is returned as it was
  kOverwritten,  // by a value of the same size, so a steady vault asks for no memory and its records stay in place
};

class Index {
 public:
  Index();
  Index(const Index&) = delete;
  Index& operator=(const Index&) = delete;
  Index(Index&&) = delete;
  Index& operator=(Index&&) = delete;
  // Gives the memory of a large index back to the system.
  ~Index();

  [[nodiscard]] const Record* find(std::string_view key) const;
  // Returns the record that it replaced, if any, so that the caller decides when to free it.
  Record::Pointer put(Record::Pointer record);
  // The same from a frame.
  Record::Pointer put(ByteView key, const SealedValue& sealed, OldRecord old);
  Record::Pointer erase(std::string_view key);
  // Asks for the memory that the next changes of these keys will touch, all at once instead of one after the other.
  void prefetch(const std::vector<std::string_view>& keys) const;

  void clear();
  void reserve(std::size_t records);

  // Between these two calls the order is not kept; end_bulk() sorts once, and of keys that came in order (a snapshot, a load)
  // only those behind them.
  void begin_bulk();
  void end_bulk();

  [[nodiscard]] std::size_t size() const { return size_; }
  // Bytes that the live records take in a freshly compacted log, without frame headers.
  [[nodiscard]] std::uint64_t live_bytes() const { return live_bytes_; }

  // Calls `visit` for each record in order until it answers false.
  void scan(const KeyRange& range, const std::function<bool(const Record&)>& visit) const;
  // All records in key order.
  [[nodiscard]] std::vector<const Record*> all_records() const;

 private:
  struct Slot {
    std::uint32_t hash = 0;
    std::uint32_t id_plus_one = 0;  // 0: empty
  };
  struct KeyOf {
    const std::vector<Record::Pointer>* records;
    std::string_view operator()(std::uint32_t id) const { return (*records)[id]->key(); }
  };

  [[nodiscard]] static std::uint32_t hash_of(std::string_view key);
  [[nodiscard]] std::size_t slot_of(std::string_view key,
                                    std::uint32_t hash) const;  // the key's slot, or the empty one
  void grow();

  std::vector<Slot> slots_;  // a power of two, at most 3/4 full
  std::vector<Record::Pointer> records_;
  std::vector<std::uint32_t> free_ids_;
  SortedKeys<KeyOf> order_;
  bool bulk_ = false;
  std::uint32_t ascending_ = 0;  // in bulk: the ids below it are all in use, and in the order of their keys
  std::size_t size_ = 0;
  std::uint64_t live_bytes_ = 0;
};

}  // namespace strongroom::log
