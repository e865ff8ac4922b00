#include "log/writer.h"

#include <algorithm>

namespace strongroom::log {
namespace {

constexpr std::size_t kFrameBytesKept = std::size_t{4} << 20;

std::size_t varint_bytes(std::uint64_t value) {
  std::size_t size = 1;
  for (; value >= 0x80; value >>= 7) ++size;
  return size;
}

std::uint8_t* put_varint(std::uint8_t* out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) *out++ = static_cast<std::uint8_t>(value) | 0x80;
  *out++ = static_cast<std::uint8_t>(value);
  return out;
}

std::size_t entry_table_bytes_of(const std::vector<Change>& changes) {
  std::size_t size = 0;
  for (const Change& change : changes) {
    size += 1 + varint_bytes(change.key.size()) + change.key.size();
    if (change.operation == Operation::kPut) size += varint_bytes(change.value.size()) + crypto::kTagBytes;
  }
  return size;
}

}  // namespace

Digest build_frame(FrameHeader header, const EpochSalt& salt, const Digest& previous,
                   const std::vector<Change>& changes, ByteView raw_entry_table, crypto::Aead& cipher,
                   ValueCipher& values, const StorageId& storage_id, Bytes& frame,
                   std::vector<SealedValue>* sealed) {
  std::size_t value_bytes = 0;
  for (const Change& change : changes) {
    if (change.operation == Operation::kPut) value_bytes += change.value.size();
  }
  header.operations = static_cast<std::uint32_t>(changes.size());
  header.entry_table_bytes = static_cast<std::uint32_t>(
      raw_entry_table.empty() ? entry_table_bytes_of(changes) : raw_entry_table.size());
  header.value_bytes = static_cast<std::uint32_t>(value_bytes);
  frame.resize(header.frame_bytes());
  std::uint8_t* const begin = frame.data();
  encode_frame_header(header, storage_id, begin);
  const std::size_t header_and_salt = kFrameHeaderBytes + header.salt_bytes();
  if (header.salt_bytes() != 0) std::copy(salt.begin(), salt.end(), begin + kFrameHeaderBytes);

  std::uint8_t* const entry_table = begin + header_and_salt;
  std::uint8_t* const tag = entry_table + header.entry_table_bytes;
  std::uint8_t* value = tag + crypto::kTagBytes;
  std::uint8_t* out = entry_table;
  std::copy(raw_entry_table.begin(), raw_entry_table.end(), out);
  std::uint64_t counter = header.counter;
  for (const Change& change : changes) {
    *out++ = static_cast<std::uint8_t>(change.operation);
    out = put_varint(out, change.key.size());
    out = std::copy(change.key.begin(), change.key.end(), out);
    if (change.operation != Operation::kPut) {
      if (sealed != nullptr) sealed->emplace_back();
      continue;
    }
    out = put_varint(out, change.value.size());
    values.seal(cipher, header.generation, ++counter, change.key, change.value, value, out);
    if (sealed != nullptr) {
      SealedValue& entry = sealed->emplace_back(
          SealedValue{header.generation, counter, header.epoch, {value, change.value.size()}, {}});
      std::copy_n(out, crypto::kTagBytes, entry.tag.begin());
    }
    out += crypto::kTagBytes;
    value += change.value.size();
  }
  std::fill(value, begin + frame.size(), std::uint8_t{0});

  // storage id | previous chain | header | salt
  std::array<std::uint8_t, 16 + 32 + kFrameHeaderBytes + kSaltBytes> associated_data{};
  std::copy(storage_id.begin(), storage_id.end(), associated_data.begin());
  std::copy(previous.begin(), previous.end(), associated_data.begin() + 16);
  std::copy_n(begin, header_and_salt, associated_data.begin() + 48);
  cipher.seal(counter_nonce(header.counter), ByteView(associated_data).first(48 + header_and_salt),
              {entry_table, header.entry_table_bytes}, entry_table, tag);
  return next_link(previous, {begin, header_and_salt}, {tag, crypto::kTagBytes});
}

LogWriter::LogWriter(std::unique_ptr<os::File> file, std::uint64_t offset, const Checkpoint& newest,
                     std::uint32_t epoch_highest, EpochKeys& keys, std::uint64_t reserve_bytes)
    : file_(std::move(file)),
      offset_(offset),
      newest_(newest),
      keys_(keys),
      cipher_(keys),
      epoch_highest_(epoch_highest),
      reserve_bytes_(std::min<std::uint64_t>(reserve_bytes, limits::kReserveBytesMax)),
      reserved_to_(offset) {}

Status LogWriter::poison(const Status& cause) {
  if (poisoned_.ok()) {
    poison_cause_ = cause;
    poisoned_ = Status(Reason::kPoisoned, "no write is accepted since: " + cause.error().detail,
                       cause.error().system_error);
    poisoned_flag_ = true;
  }
  return Error{
      Reason::kPoisoned,
      cause.error().detail +
          "; whether this is durable is not known: open the store again and read before you repeat it",
      cause.error().system_error, false, true};
}

Result<Appended> LogWriter::append(CommitKind kind, const std::vector<Change>& changes, std::int64_t wall_ms,
                                   std::uint64_t tamper_synced) {
  SR_TRY(poisoned_);
  FrameHeader header;
  header.kind = kind;
  header.generation = newest_.generation + 1;
  header.wall_ms = wall_ms;
  header.tamper_synced = tamper_synced;
  EpochSalt salt{};
  const bool begins_epoch = epoch_ == 0;
  if (begins_epoch) {
    salt = crypto::random_array<kSaltBytes>();
    epoch_ = take_epoch();
    keys_.add(epoch_, salt);
    header.flags = keys_.announcement();
    counter_ = 1;
  }
  header.epoch = epoch_;
  header.counter = counter_;
  counter_ += 1 + changes.size();

  if (frame_.capacity() > kFrameBytesKept) Bytes().swap(frame_);
  Appended appended;
  appended.values.reserve(changes.size());
  const Digest head = build_frame(header, salt, newest_.head, changes, {}, *cipher_.find(epoch_), cipher_,
                                  keys_.storage_id(), frame_, &appended.values);
  const Status written = write_durably(frame_);
  if (!written.ok()) {
    if (begins_epoch) epoch_ = 0;  // its announcement is not in the file
    return written;
  }
  offset_ += frame_.size();
  newest_ = Checkpoint{header.generation, head};
  appended.info = CommitInfo{kind, newest_, wall_ms, static_cast<std::uint32_t>(changes.size())};
  return appended;
}

Status LogWriter::write_durably(ByteView frame) {
  const std::uint64_t end = offset_ + frame.size();
  if (reserve_bytes_ != 0 && end > reserved_to_) {
    const std::uint64_t to = (end / reserve_bytes_ + 1) * reserve_bytes_;
    // Reserving only saves the file system work; where it fails the write itself decides.
    if (file_->allocate(offset_, to - offset_).ok()) reserved_to_ = to;
  }
  Status written = file_->append_at(offset_, frame);
  if (!written.ok()) {
    // Part of the frame may be in the file, or all of it on the disk. Only when its removal is durable can the caller be
    // told that nothing was committed: a power cut could bring the frame back.
    Status cut = file_->truncate(offset_);
    if (cut.ok()) cut = file_->sync();
    reserved_to_ = offset_;
    return cut.ok() ? written : poison(written);
  }
  const Status synced = file_->sync();
  return synced.ok() ? synced : poison(synced);
}

Status LogWriter::finish() {
  SR_TRY(poisoned_);
  SR_TRY(file_->truncate(offset_));
  reserved_to_ = offset_;
  return file_->sync();
}

std::unique_ptr<os::File> LogWriter::switch_file(std::unique_ptr<os::File> file, std::uint64_t offset) {
  file_.swap(file);
  offset_ = offset;
  reserved_to_ = offset;
  return file;
}

}  // namespace strongroom::log
