#include "log/record_loader.h"

#include <algorithm>
#include <utility>

#include "base/limits.h"

namespace strongroom::log {
namespace {

constexpr std::size_t kPrefetchedKeys = 64;
constexpr std::size_t kVerifierJobRecords = 512;

}  // namespace

RecordLoader::RecordLoader(Index& index, const EpochKeys& keys, unsigned verifier_threads)
    : index_(index), cipher_(keys) {
  if (verifier_threads != 0) verifier_.emplace(keys, verifier_threads);
}

bool RecordLoader::apply(const FrameHeader& header, ByteView entry_table, ByteView values) {
  if (!parse(header, entry_table)) return false;
  make_records(header, values);
  if (!check_values()) return false;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    if (i % kPrefetchedKeys == 0) prefetch_from(i);
    Record::Pointer replaced =
        records_[i] ? index_.put(std::move(records_[i])) : index_.erase(as_text(entries_[i].key));
    if (verifier_ && replaced) retired_.push_back(std::move(replaced));
  }
  return true;
}

bool RecordLoader::parse(const FrameHeader& header, ByteView entry_table) {
  ByteReader reader(entry_table);
  std::uint64_t value_bytes = 0;
  entries_.clear();
  for (std::uint32_t i = 0; i < header.operations; ++i) {
    Entry entry;
    const auto operation = reader.number<std::uint8_t>();
    entry.operation = static_cast<Operation>(operation);
    entry.key = reader.prefixed();
    if (entry.key.empty() || entry.key.size() > limits::kKeyBytesMax) return false;
    if (entry.operation == Operation::kPut) {
      const std::uint64_t size = reader.varint();
      if (size > limits::kValueBytesMax) return false;
      entry.value_bytes = static_cast<std::uint32_t>(size);
      entry.tag = reader.bytes(crypto::kTagBytes);
      value_bytes += size;
    } else if (entry.operation != Operation::kDelete) {
      return false;
    }
    if (!reader.ok()) return false;
    entries_.push_back(entry);
  }
  return reader.done() && value_bytes == header.value_bytes;
}

void RecordLoader::make_records(const FrameHeader& header, ByteView values) {
  records_.clear();
  std::uint64_t counter = header.counter;
  for (const Entry& entry : entries_) {
    if (entry.operation == Operation::kDelete) {
      records_.push_back(nullptr);
      continue;
    }
    const ByteView sealed = values.first(entry.value_bytes);
    values = values.subspan(entry.value_bytes);
    Record::Pointer record =
        Record::make(header.generation, ++counter, header.epoch, entry.key, entry.value_bytes);
    std::copy(sealed.begin(), sealed.end(), record->sealed());
    std::copy(entry.tag.begin(), entry.tag.end(), record->tag());
    records_.push_back(std::move(record));
  }
}

// At once, or handed over: then the frame counts as authentic until finish() says otherwise for all.
bool RecordLoader::check_values() {
  if (!verifier_) {
    return std::all_of(records_.begin(), records_.end(), [this](const Record::Pointer& record) {
      if (!record) return true;
      if (plaintext_.size() < record->value_bytes()) plaintext_.resize(record->value_bytes());
      return cipher_.open(*record, plaintext_.span().data());
    });
  }
  for (const Record::Pointer& record : records_) {
    if (record) unchecked_.push_back(record.get());
  }
  if (unchecked_.size() >= kVerifierJobRecords) verifier_->check(std::exchange(unchecked_, {}));
  return true;
}

void RecordLoader::prefetch_from(std::size_t first) {
  prefetched_.clear();
  const std::size_t end = std::min(entries_.size(), first + kPrefetchedKeys);
  for (std::size_t i = first; i < end; ++i) prefetched_.push_back(as_text(entries_[i].key));
  index_.prefetch(prefetched_);
}

bool RecordLoader::finish() {
  if (!verifier_) return true;
  verifier_->check(std::move(unchecked_));
  return verifier_->finish();
}

void RecordLoader::discard() {
  if (verifier_) verifier_->discard();
}

}  // namespace strongroom::log
