// An ordered set of record ids, ordered by the bytes of the keys that a caller's accessor gives for them
// (memcmp order, a prefix before what it begins). It holds ids only, 4 bytes each in blocks that are at least
// half full on the average: 5 to 8 bytes an id.
//
// Invariants:
// - Blocks are never empty; ids ascend by key within a block and from block to block; no two have the same
// key.
// - An inserted id's key can be read, and does not change, until the id is erased (during erase() too).
// - Every change invalidates iterators.
// - One block moves at an insertion or erasure, and the list of blocks when one is made or dropped.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

namespace strongroom::log {

// KeyOf: copyable, std::string_view operator()(std::uint32_t id) const.
template <typename KeyOf>
class SortedKeys {
 public:
  static constexpr std::size_t kBlockIdsMax = 512;

  explicit SortedKeys(KeyOf key_of) : key_of_(std::move(key_of)) {}

  // Gives ids in the order of their keys.
  class Iterator {
   public:
    using iterator_category = std::bidirectional_iterator_tag;
    using value_type = std::uint32_t;
    using difference_type = std::ptrdiff_t;
    using pointer = const std::uint32_t*;
    using reference = const std::uint32_t&;

    Iterator() = default;
    reference operator*() const { return set_->blocks_[block_]->ids[at_]; }
    Iterator& operator++() {
      if (++at_ == set_->blocks_[block_]->size) {
        ++block_;
        at_ = 0;
      }
      return *this;
    }
    // Not at begin(). From end() it moves to the last id.
    Iterator& operator--() {
      if (at_ == 0) at_ = set_->blocks_[--block_]->size;
      --at_;
      return *this;
    }
    Iterator operator++(int) {
      Iterator before = *this;
      ++*this;
      return before;
    }
    Iterator operator--(int) {
      Iterator before = *this;
      --*this;
      return before;
    }
    bool operator==(const Iterator& other) const { return block_ == other.block_ && at_ == other.at_; }

   private:
    friend class SortedKeys;
    Iterator(const SortedKeys* set, std::size_t block, std::size_t at) : set_(set), block_(block), at_(at) {
      if (block_ < set_->blocks_.size() && at_ == set_->blocks_[block_]->size) {
        ++block_;
        at_ = 0;
      }
    }
    const SortedKeys* set_ = nullptr;
    std::size_t block_ = 0;
    std::size_t at_ = 0;
  };

  [[nodiscard]] Iterator begin() const { return {this, 0, 0}; }
  [[nodiscard]] Iterator end() const { return {this, blocks_.size(), 0}; }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] std::size_t memory_bytes() const {
    return blocks_.size() * sizeof(Block) + blocks_.capacity() * sizeof(blocks_[0]);
  }

  // The first id whose key is not less than `key`.
  [[nodiscard]] Iterator lower_bound(std::string_view key) const {
    const auto [block, at] = place_of(key);
    return {this, block, at};
  }
  // The first id whose key is greater than `key`.
  [[nodiscard]] Iterator upper_bound(std::string_view key) const {
    Iterator found = lower_bound(key);
    if (found != end() && key_of_(*found) == key) ++found;
    return found;
  }
  [[nodiscard]] Iterator find(std::string_view key) const {
    const Iterator found = lower_bound(key);
    return found != end() && key_of_(*found) == key ? found : end();
  }

  // Its key is not in the set yet.
  void insert(std::uint32_t id) {
    ++size_;
    if (blocks_.empty()) {
      blocks_.push_back(std::make_unique<Block>());
      blocks_[0]->insert(0, id);
      return;
    }
    auto [block, at] = place_of(key_of_(id));
    if (blocks_[block]->size == kBlockIdsMax) {
      // Keys that come in ascending order leave full blocks behind, not halves.
      const bool at_the_end = block + 1 == blocks_.size() && at == kBlockIdsMax;
      const std::size_t kept = at_the_end ? kBlockIdsMax : kBlockIdsMax / 2;
      auto upper = std::make_unique<Block>();
      upper->append(*blocks_[block], kept);
      blocks_[block]->size = static_cast<std::uint32_t>(kept);
      blocks_.insert(blocks_.begin() + static_cast<std::ptrdiff_t>(block) + 1, std::move(upper));
      if (at > kept || at_the_end) {
        ++block;
        at -= kept;
      }
    }
    blocks_[block]->insert(at, id);
  }

  // False when no id has this key.
  bool erase(std::string_view key) {
    const Iterator found = find(key);
    if (found == end()) return false;
    --size_;
    std::size_t block = found.block_;
    blocks_[block]->erase(found.at_);
    if (blocks_[block]->size == 0) {
      drop(block);
      return true;
    }
    // Merging only to half a block leaves room, so that a split does not follow at once.
    if (block > 0 && blocks_[block - 1]->size + blocks_[block]->size <= kBlockIdsMax / 2) --block;
    if (block + 1 < blocks_.size() && blocks_[block]->size + blocks_[block + 1]->size <= kBlockIdsMax / 2) {
      blocks_[block]->append(*blocks_[block + 1], 0);
      drop(block + 1);
    }
    return true;
  }

  void clear() {
    blocks_.clear();
    size_ = 0;
  }

  // Replaces the content. `ids` in any order, their keys all different; the first `sorted` of them in order already.
  // Takes 16 bytes an id while it works.
  void build(const std::vector<std::uint32_t>& ids, std::size_t sorted = 0) {
    clear();
    std::vector<Cached> order(ids.size());
    for (std::size_t i = 0; i < ids.size(); ++i) order[i].id = ids[i];
    const auto middle = order.begin() + static_cast<std::ptrdiff_t>(sorted);
    sort(order.data() + sorted, order.data() + order.size(), 0);
    std::inplace_merge(order.begin(), middle, order.end(), by_key());
    blocks_.reserve((order.size() + kBuildFill - 1) / kBuildFill);
    for (std::size_t from = 0; from < order.size(); from += kBuildFill) {
      const std::size_t count = std::min(kBuildFill, order.size() - from);
      auto block = std::make_unique<Block>();
      for (std::size_t i = 0; i < count; ++i) block->ids[i] = order[from + i].id;
      block->size = static_cast<std::uint32_t>(count);
      blocks_.push_back(std::move(block));
    }
    size_ = order.size();
  }

 private:
  static constexpr std::size_t kBuildFill = kBlockIdsMax * 7 / 8;  // room for later insertions
  static constexpr std::ptrdiff_t kSmallRun = 32;

  struct Block {
    std::uint32_t size = 0;
    std::array<std::uint32_t, kBlockIdsMax> ids;

    void insert(std::size_t at, std::uint32_t id) {
      std::memmove(&ids[0] + at + 1, &ids[0] + at, (size - at) * sizeof(id));
      ids[at] = id;
      ++size;
    }
    void erase(std::size_t at) {
      std::memmove(&ids[0] + at, &ids[0] + at + 1, (size - at - 1) * sizeof(ids[0]));
      --size;
    }
    void append(const Block& other, std::size_t from) {
      std::copy(other.ids.begin() + from, other.ids.begin() + other.size, ids.begin() + size);
      size += other.size - static_cast<std::uint32_t>(from);
    }
  };

  // Eight bytes of a key, big-endian, so that they compare as a number; zeros after its end.
  struct Cached {
    std::uint64_t window = 0;
    std::uint32_t id = 0;
  };

  void drop(std::size_t block) { blocks_.erase(blocks_.begin() + static_cast<std::ptrdiff_t>(block)); }

  // The block that holds or would take `key`, and the place of the first id there whose key is not less; the
  // place may be the end of the block. Block 0 of an empty set does not exist.
  [[nodiscard]] std::pair<std::size_t, std::size_t> place_of(std::string_view key) const {
    const auto after = std::upper_bound(
        blocks_.begin(), blocks_.end(), key,
        [this](std::string_view wanted, const auto& block) { return wanted < key_of_(block->ids[0]); });
    if (after == blocks_.begin()) return {0, 0};
    const auto index = static_cast<std::size_t>(after - blocks_.begin()) - 1;
    const Block& block = *blocks_[index];
    const auto place =
        std::lower_bound(block.ids.begin(), block.ids.begin() + block.size, key,
                         [this](std::uint32_t id, std::string_view wanted) { return key_of_(id) < wanted; });
    return {index, static_cast<std::size_t>(place - block.ids.begin())};
  }

  static std::uint64_t window_of(std::string_view key, std::size_t from) {
    std::uint64_t window = 0;
    if (from < key.size())
      std::memcpy(&window, key.data() + from, std::min(sizeof(window), key.size() - from));
    if constexpr (std::endian::native == std::endian::little) window = __builtin_bswap64(window);
    return window;
  }

  [[nodiscard]] auto by_key() const {
    return [this](const Cached& a, const Cached& b) { return key_of_(a.id) < key_of_(b.id); };
  }

  // Sorts a run of ids whose keys agree in the first `agreed` bytes: skips what they agree in further, sorts
  // by the eight bytes behind it, then each run of ties in the same way. Every level agrees in at least eight
  // bytes more, so the depth is an eighth of the longest key at most.
  void sort(Cached* first, Cached* last, std::size_t agreed) {
    if (last - first <= kSmallRun) return std::sort(first, last, by_key());

    const std::string_view model = key_of_(first->id);
    std::size_t common = model.size();
    for (const Cached* one = first + 1; one != last; ++one) {
      const std::string_view key = key_of_(one->id);
      common = std::min(common, key.size());
      if (std::memcmp(key.data() + agreed, model.data() + agreed, common - agreed) == 0) continue;
      common = static_cast<std::size_t>(
          std::mismatch(key.begin() + agreed, key.begin() + common, model.begin() + agreed).first -
          key.begin());
    }
    for (Cached* one = first; one != last; ++one) one->window = window_of(key_of_(one->id), common);
    std::sort(first, last, [](const Cached& a, const Cached& b) { return a.window < b.window; });

    for (Cached* run = first; run != last;) {
      Cached* end =
          std::find_if(run + 1, last, [run](const Cached& one) { return one.window != run->window; });
      if (end - run > 1) {
        // A key that ends inside the window ties with one that goes on with zero bytes; they agree in less
        // than it.
        const std::size_t next = common + sizeof(run->window);
        if (std::all_of(run, end, [&](const Cached& one) { return key_of_(one.id).size() >= next; })) {
          sort(run, end, next);
        } else {
          std::sort(run, end, by_key());
        }
      }
      run = end;
    }
  }

  KeyOf key_of_;
  std::vector<std::unique_ptr<Block>> blocks_;
  std::size_t size_ = 0;
};

}  // namespace strongroom::log
