#include "log/index.h"

#include <malloc.h>

#include <algorithm>
#include <array>

namespace strongroom::log {
namespace {

constexpr std::size_t kSlotsMin = 64;
constexpr std::uint64_t kGivenBackBytesMin = std::uint64_t{16} << 20;

std::uint64_t stored_bytes(const Record& record) {
  return record.key().size() + record.value_bytes() + crypto::kTagBytes + 5;
}

}  // namespace

Index::Index() : slots_(kSlotsMin), order_(KeyOf{&records_}) {}

// glibc keeps freed blocks in the arena of the thread that asked for them. A start runs on any thread of a pool, so a
// process that opened and closed one large store again and again would come to hold it once for every thread.
Index::~Index() {
  const bool large = live_bytes_ >= kGivenBackBytesMin;
  clear();
#ifdef __GLIBC__
  if (large) malloc_trim(0);
#else
  static_cast<void>(large);
#endif
}

std::uint32_t Index::hash_of(std::string_view key) {
  const std::uint64_t hash = std::hash<std::string_view>{}(key);
  return static_cast<std::uint32_t>(hash ^ (hash >> 32));
}

std::size_t Index::slot_of(std::string_view key, std::uint32_t hash) const {
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t at = hash & mask;; at = (at + 1) & mask) {
    const Slot& slot = slots_[at];
    if (slot.id_plus_one == 0) return at;
    if (slot.hash == hash && records_[slot.id_plus_one - 1]->key() == key) return at;
  }
}

void Index::grow() {
  std::vector<Slot> old(slots_.size() * 2);
  old.swap(slots_);
  const std::size_t mask = slots_.size() - 1;
  for (const Slot& slot : old) {
    if (slot.id_plus_one == 0) continue;
    std::size_t at = slot.hash & mask;
    while (slots_[at].id_plus_one != 0) at = (at + 1) & mask;
    slots_[at] = slot;
  }
}

const Record* Index::find(std::string_view key) const {
  const Slot& slot = slots_[slot_of(key, hash_of(key))];
  return slot.id_plus_one == 0 ? nullptr : records_[slot.id_plus_one - 1].get();
}

void Index::prefetch(const std::vector<std::string_view>& keys) const {
  constexpr std::size_t kLineBytes = 64;
  constexpr std::size_t kKeysMax = 256;  // what the cache keeps until it is used
  const std::size_t count = std::min(keys.size(), kKeysMax);
  const std::size_t mask = slots_.size() - 1;
  std::array<std::uint32_t, kKeysMax> hashes;
  for (std::size_t i = 0; i < count; ++i) {
    hashes[i] = hash_of(keys[i]);
    __builtin_prefetch(&slots_[hashes[i] & mask]);
  }
  std::array<const Record::Pointer*, kKeysMax> places;  // of the record with this hash; very likely the key's
  for (std::size_t i = 0; i < count; ++i) {
    std::size_t at = hashes[i] & mask;
    while (slots_[at].id_plus_one != 0 && slots_[at].hash != hashes[i]) at = (at + 1) & mask;
    places[i] = slots_[at].id_plus_one == 0 ? nullptr : &records_[slots_[at].id_plus_one - 1];
    if (places[i] != nullptr) __builtin_prefetch(places[i]);
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (places[i] == nullptr) continue;
    const auto* record = reinterpret_cast<const std::uint8_t*>(places[i]->get());
    for (std::size_t line = 0; line < 6; ++line) __builtin_prefetch(record + line * kLineBytes, 1);
  }
}

Record::Pointer Index::put(ByteView key, const SealedValue& sealed, OldRecord old) {
  if (old == OldRecord::kOverwritten) {
    const Slot& slot = slots_[slot_of(as_text(key), hash_of(as_text(key)))];
    if (slot.id_plus_one != 0) {
      Record& record = *records_[slot.id_plus_one - 1];
      if (record.value_bytes() == sealed.value.size()) {
        record.replace(sealed);
        return nullptr;
      }
    }
  }
  return put(Record::make(key, sealed));
}

Record::Pointer Index::put(Record::Pointer record) {
  const std::uint32_t hash = hash_of(record->key());
  std::size_t at = slot_of(record->key(), hash);
  live_bytes_ += stored_bytes(*record);
  if (slots_[at].id_plus_one != 0) {
    Record::Pointer& place = records_[slots_[at].id_plus_one - 1];
    live_bytes_ -= stored_bytes(*place);
    place.swap(record);
    return record;
  }
  if ((size_ + 1) * 4 > slots_.size() * 3) {
    grow();
    at = slot_of(record->key(), hash);
  }
  std::uint32_t id = 0;
  if (free_ids_.empty()) {
    id = static_cast<std::uint32_t>(records_.size());
    records_.push_back(std::move(record));
  } else {
    id = free_ids_.back();
    free_ids_.pop_back();
    records_[id] = std::move(record);
  }
  slots_[at] = Slot{hash, id + 1};
  ++size_;
  if (!bulk_) {
    order_.insert(id);
  } else if (id == ascending_ && (id == 0 || records_[id - 1]->key() < records_[id]->key())) {
    ++ascending_;
  }
  return nullptr;
}

Record::Pointer Index::erase(std::string_view key) {
  const std::size_t mask = slots_.size() - 1;
  std::size_t hole = slot_of(key, hash_of(key));
  if (slots_[hole].id_plus_one == 0) return nullptr;
  const std::uint32_t id = slots_[hole].id_plus_one - 1;
  if (!bulk_) order_.erase(key);
  ascending_ = std::min(ascending_, id);
  Record::Pointer record = std::move(records_[id]);
  free_ids_.push_back(id);
  // Linear probing without tombstones: later members of the run move back over the hole when their home allows it.
  for (std::size_t at = (hole + 1) & mask; slots_[at].id_plus_one != 0; at = (at + 1) & mask) {
    const std::size_t home = slots_[at].hash & mask;
    if (((at - home) & mask) >= ((at - hole) & mask)) {
      slots_[hole] = slots_[at];
      hole = at;
    }
  }
  slots_[hole] = Slot{};
  --size_;
  live_bytes_ -= stored_bytes(*record);
  return record;
}

void Index::clear() {
  order_.clear();
  slots_.assign(kSlotsMin, Slot{});
  records_.clear();
  free_ids_.clear();
  ascending_ = 0;
  size_ = 0;
  live_bytes_ = 0;
}

void Index::reserve(std::size_t records) {
  records_.reserve(records);
  while (records * 4 > slots_.size() * 3) grow();
}

void Index::begin_bulk() {
  bulk_ = true;
  ascending_ = 0;
  order_.clear();
}

void Index::end_bulk() {
  bulk_ = false;
  std::vector<std::uint32_t> ids;
  ids.reserve(size_);
  for (std::uint32_t id = 0; id < records_.size(); ++id) {
    if (records_[id]) ids.push_back(id);
  }
  order_.build(ids, ascending_);
}

void Index::scan(const KeyRange& range, const std::function<bool(const Record&)>& visit) const {
  const auto begin = !range.lower ? order_.begin()
                                  : (range.lower_inclusive ? order_.lower_bound(*range.lower)
                                                           : order_.upper_bound(*range.lower));
  auto end = !range.upper ? order_.end()
                          : (range.upper_inclusive ? order_.upper_bound(*range.upper)
                                                   : order_.lower_bound(*range.upper));
  if (range.lower && range.upper && *range.lower > *range.upper) return;
  if (range.lower && range.upper && *range.lower == *range.upper &&
      !(range.lower_inclusive && range.upper_inclusive)) {
    return;
  }
  if (range.reverse) {
    while (end != begin) {
      --end;
      if (!visit(*records_[*end])) return;
    }
  } else {
    for (auto at = begin; at != end; ++at) {
      if (!visit(*records_[*at])) return;
    }
  }
}

std::vector<const Record*> Index::all_records() const {
  std::vector<const Record*> all;
  all.reserve(size_);
  for (auto at = order_.begin(); at != order_.end(); ++at) all.push_back(records_[*at].get());
  return all;
}

}  // namespace strongroom::log
