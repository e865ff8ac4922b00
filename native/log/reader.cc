#include "log/reader.h"

#include <algorithm>

#include "base/cancellation.h"
#include "base/limits.h"
#include "log/record_loader.h"

namespace strongroom::log {
namespace {

constexpr std::size_t kChunkBytes = std::size_t{1} << 20;
// How far the newest synced tamper entry may trail and its checkpoint still be remembered for the snapshot.
constexpr std::size_t kRecentHeadsMax = 16384;
// A log below this is checked by the thread that reads it.
constexpr std::uint64_t kVerifierFileBytesMin = std::uint64_t{4} << 20;
constexpr unsigned kVerifierThreadsMax = 4;
constexpr std::uint64_t kReserveRecordsMax = std::uint64_t{1} << 24;

// A window over the file that only moves forward: every byte is read from the system once.
class Window {
 public:
  Window(os::File& file, std::uint64_t file_bytes) : file_(file), file_bytes_(file_bytes) {}

  // The next `size` bytes without consuming them; fewer at the end of the file.
  [[nodiscard]] Result<ByteView> peek(std::size_t size) {
    if (filled_ - start_ < size && read_offset_ < file_bytes_) {
      const std::size_t kept = filled_ - start_;
      const std::size_t wanted = std::max(size, kChunkBytes);
      if (buffer_.size() < wanted) {
        Bytes larger(wanted);
        std::copy_n(buffer_.begin() + static_cast<std::ptrdiff_t>(start_), kept, larger.begin());
        buffer_.swap(larger);
      } else {
        std::copy_n(buffer_.begin() + static_cast<std::ptrdiff_t>(start_), kept, buffer_.begin());
      }
      start_ = 0;
      filled_ = kept;
      const std::size_t room = static_cast<std::size_t>(
          std::min<std::uint64_t>(buffer_.size() - filled_, file_bytes_ - read_offset_));
      SR_ASSIGN(const std::size_t got,
                file_.read_at(read_offset_, MutableBytes(buffer_).subspan(filled_, room)));
      filled_ += got;
      read_offset_ += got;
      if (got < room) file_bytes_ = read_offset_;  // it became shorter under our hands
    }
    return ByteView(buffer_).subspan(start_, std::min(size, filled_ - start_));
  }
  [[nodiscard]] MutableBytes mutable_view(std::size_t size) {
    return MutableBytes(buffer_).subspan(start_, size);
  }
  void consume(std::size_t size) { start_ += size; }
  [[nodiscard]] std::uint64_t offset() const { return read_offset_ - (filled_ - start_); }
  // What the file still has.
  [[nodiscard]] std::uint64_t left() const { return file_bytes_ - offset(); }

 private:
  os::File& file_;
  std::uint64_t file_bytes_;
  std::uint64_t read_offset_ = 0;
  Bytes buffer_;
  std::size_t start_ = 0;
  std::size_t filled_ = 0;
};

class LogReader {
 public:
  LogReader(os::File& file, std::uint64_t file_bytes, const StorageId& storage_id, EpochKeys& keys,
            Index& index, const ReadOptions& options, unsigned verifier_threads)
      : window_(file, file_bytes),
        storage_id_(storage_id),
        keys_(keys),
        cipher_(keys),
        index_(index),
        options_(options),
        loader_(index, keys, verifier_threads) {
    loaded_.file_bytes = file_bytes;
  }

  // nullopt when a value did not authenticate that had been handed over: the log is to be read again, strictly.
  Result<std::optional<LoadedLog>> run() {
    SR_TRY(read_file_header());
    index_.begin_bulk();
    const Status status = read_frames();
    index_.end_bulk();
    if (status.is(Reason::kAborted)) {
      loader_.discard();
      return status;
    }
    if (!loader_.finish()) return std::optional<LoadedLog>();
    if (!status.ok()) return status;
    return std::optional(std::move(loaded_));
  }

 private:
  static Status damaged_snapshot() {
    return {Reason::kVaultTampered, "the snapshot of the vault file does not authenticate or is cut short"};
  }

  Status read_file_header() {
    SR_ASSIGN(const ByteView bytes, window_.peek(kFileHeaderBytes));
    SR_ASSIGN(loaded_.file_header, parse_file_header(bytes, storage_id_));
    if (!all_zero(bytes.subspan(10, 2)) || !all_zero(bytes.subspan(48))) return damaged_snapshot();
    if (options_.on_file) SR_TRY(options_.on_file(loaded_.file_header));
    if (!keys_.set_file_key(loaded_.file_header.key_id)) return damaged_snapshot();
    chain_ = snapshot_chain_start(bytes);
    window_.consume(kFileHeaderBytes);
    return {};
  }

  Status read_frames() {
    bool snapshot_done = false;
    SnapshotInfo snapshot;
    bool have_snapshot_head = false;
    for (;;) {
      SR_TRY(check_cancelled());
      SR_ASSIGN(const std::optional<FrameHeader> header,
                read_frame(snapshot_done, have_snapshot_head, snapshot));
      if (!header) {
        if (!snapshot_done) return damaged_snapshot();
        break;
      }
      if (snapshot_done) continue;
      have_snapshot_head = true;
      if ((header->flags & kLast) == 0) continue;
      if (index_.size() != snapshot.records) return damaged_snapshot();
      snapshot_done = true;
      loaded_.snapshot = loaded_.newest = snapshot.checkpoint;
      loaded_.snapshot_audit_chain = snapshot.audit_chain;
      loaded_.witnessed = snapshot.witnessed;
      loaded_.tamper_synced = snapshot.checkpoint.generation;
      for (const auto& [epoch, salt] : snapshot.epochs) {
        // An epoch has one salt; that of the snapshot itself was announced by the snapshot.
        if (const auto known = keys_.salt(epoch); known && *known != salt) return damaged_snapshot();
        keys_.add_of_file(epoch, salt);
        loaded_.epoch_highest = std::max(loaded_.epoch_highest, epoch);
      }
      chain_ = snapshot.checkpoint.head;
      if (options_.on_snapshot) options_.on_snapshot(snapshot);
    }
    loaded_.end_offset = window_.offset();
    return classify_end();
  }

  // One frame, applied if it authenticates; nullopt (nothing consumed) where the history ends.
  Result<std::optional<FrameHeader>> read_frame(bool snapshot_done, bool have_snapshot_head,
                                                SnapshotInfo& snapshot) {
    const std::optional<FrameHeader> end;
    SR_ASSIGN(ByteView bytes, window_.peek(kFrameHeaderBytes));
    const std::optional<FrameHeader> parsed = parse_frame_header(bytes, storage_id_);
    if (!parsed || !follows(*parsed, snapshot_done, have_snapshot_head, snapshot)) return end;
    const FrameHeader& header = *parsed;
    if (header.frame_bytes() > window_.left()) return end;  // before memory is taken for it
    SR_ASSIGN(bytes, window_.peek(header.frame_bytes()));
    if (bytes.size() < header.frame_bytes() || !all_zero(bytes.subspan(header.content_bytes()))) return end;

    const ByteView header_and_salt = bytes.first(kFrameHeaderBytes + header.salt_bytes());
    if (header.salt_bytes() != 0) {
      EpochSalt salt{};
      std::copy_n(header_and_salt.begin() + kFrameHeaderBytes, kSaltBytes, salt.begin());
      if (header.epoch <= loaded_.epoch_highest) return end;  // an epoch begins once
      if ((header.flags & kNextKey) == 0) {
        keys_.add_of_file(header.epoch, salt);
      } else if (!snapshot_done) {
        return end;
      } else if (keys_.key_id() != loaded_.file_header.key_id) {
        keys_.add(header.epoch, salt);
      } else {
        // The new DEK was in persistence.bin before any frame was sealed under it.
        return Status(Reason::kPersistenceRolledBack,
                      "the vault goes on under a DEK that persistence.bin does not hold");
      }
    }
    crypto::Aead* cipher = cipher_.find(header.epoch);
    if (cipher == nullptr) return end;

    const ByteView sealed = bytes.subspan(header_and_salt.size(), header.entry_table_bytes);
    const ByteView tag = bytes.subspan(header_and_salt.size() + header.entry_table_bytes, crypto::kTagBytes);
    associated_data_.assign(storage_id_.begin(), storage_id_.end());
    associated_data_.insert(associated_data_.end(), chain_.begin(), chain_.end());
    associated_data_.insert(associated_data_.end(), header_and_salt.begin(), header_and_salt.end());
    entry_table_.resize(header.entry_table_bytes);
    if (!cipher->open(counter_nonce(header.counter), associated_data_, sealed, tag.data(),
                      entry_table_.data())) {
      return end;
    }
    const ByteView values = bytes.subspan(
        header_and_salt.size() + header.entry_table_bytes + crypto::kTagBytes, header.value_bytes);
    if (header.kind == CommitKind::kSnapshotHead) {
      std::optional<SnapshotInfo> info = parse_snapshot_info(entry_table_);
      if (!info || !values.empty()) return end;
      snapshot = *std::move(info);
      index_.reserve(static_cast<std::size_t>(std::min<std::uint64_t>(snapshot.records, kReserveRecordsMax)));
    } else if (!loader_.apply(header, entry_table_, values)) {
      return end;
    }
    chain_ = next_link(chain_, header_and_salt, tag);
    loaded_.epoch_highest = std::max(loaded_.epoch_highest, header.epoch);
    if (snapshot_done) {
      loaded_.newest_offset = window_.offset();
      note_commit(header);
    }
    window_.consume(header.frame_bytes());
    if (options_.on_progress) options_.on_progress(window_.offset(), loaded_.file_bytes);
    return std::optional(header);
  }

  [[nodiscard]] bool follows(const FrameHeader& header, bool snapshot_done, bool have_snapshot_head,
                             const SnapshotInfo& snapshot) const {
    const bool is_snapshot =
        header.kind == CommitKind::kSnapshotHead || header.kind == CommitKind::kSnapshotData;
    if (snapshot_done) return !is_snapshot && header.generation == loaded_.newest.generation + 1;
    if (!have_snapshot_head) return header.kind == CommitKind::kSnapshotHead;
    return header.kind == CommitKind::kSnapshotData && header.generation == snapshot.checkpoint.generation;
  }

  void note_commit(const FrameHeader& header) {
    loaded_.newest = Checkpoint{header.generation, chain_};
    loaded_.newest_kind = header.kind;
    recent_.push_back(loaded_.newest);
    if (recent_.size() > kRecentHeadsMax) recent_.pop_front();
    if (header.tamper_synced > loaded_.tamper_synced) {
      loaded_.tamper_synced = header.tamper_synced;
      const std::uint64_t oldest = recent_.front().generation;
      if (header.tamper_synced >= oldest && header.tamper_synced < header.generation) {
        loaded_.witnessed.push_back(recent_[static_cast<std::size_t>(header.tamper_synced - oldest)]);
        if (loaded_.witnessed.size() > limits::kWitnessedCheckpointsMax) loaded_.witnessed.pop_front();
      }
    }
    if (options_.on_commit) {
      options_.on_commit(CommitInfo{header.kind, loaded_.newest, header.wall_ms, header.operations});
    }
  }

  // Zeros, or damage; and whether an intact header of a later generation stands behind the damage, which a torn tail
  // cannot leave: a frame is written only after the one before it is durable. More than a tail can have is not looked at.
  Status classify_end() {
    loaded_.end = window_.left() > kTailBytesMax ? LogEnd::kTooLong : LogEnd::kExact;
    if (loaded_.end == LogEnd::kTooLong) return {};
    bool first = true;
    for (;;) {
      SR_TRY(check_cancelled());
      SR_ASSIGN(const ByteView bytes, window_.peek(kChunkBytes));
      if (bytes.empty()) return {};
      if (loaded_.end != LogEnd::kDamaged) {
        loaded_.end = all_zero(bytes) ? LogEnd::kPadded : LogEnd::kDamaged;
      }
      if (loaded_.end == LogEnd::kDamaged) {
        for (std::size_t at = first ? kFrameAlignment : 0; at + kFrameHeaderBytes <= bytes.size();
             at += kFrameAlignment) {
          const std::optional<FrameHeader> header = parse_frame_header(bytes.subspan(at), storage_id_);
          if (header && header->generation > loaded_.newest.generation + 1) {
            loaded_.end = LogEnd::kDamagedInside;
            return {};
          }
        }
      }
      // The last part of a chunk is looked at again with the next one, so that no header is missed at the seam.
      const bool last = bytes.size() < kChunkBytes;
      window_.consume(last ? bytes.size() : bytes.size() - kFrameHeaderBytes);
      first = false;
      if (last) return {};
    }
  }

  Window window_;
  const StorageId& storage_id_;
  EpochKeys& keys_;
  ValueCipher cipher_;
  Index& index_;
  const ReadOptions& options_;
  LoadedLog loaded_;
  Digest chain_{};
  std::deque<Checkpoint> recent_;
  Bytes associated_data_;
  Bytes entry_table_;
  RecordLoader loader_;
};

}  // namespace

Bytes encode_snapshot_info(const SnapshotInfo& info) {
  Bytes out;
  ByteWriter writer(out);
  writer.number(info.checkpoint.generation);
  writer.bytes(info.checkpoint.head);
  writer.bytes(info.audit_chain);
  writer.number(info.records);
  writer.varint(info.epochs.size());
  for (const auto& [epoch, salt] : info.epochs) {
    writer.number(epoch);
    writer.bytes(salt);
  }
  writer.varint(info.witnessed.size());
  for (const Checkpoint& checkpoint : info.witnessed) {
    writer.number(checkpoint.generation);
    writer.bytes(checkpoint.head);
  }
  if (info.former_chain) writer.bytes(*info.former_chain);
  return out;
}

std::optional<SnapshotInfo> parse_snapshot_info(ByteView bytes) {
  ByteReader reader(bytes);
  SnapshotInfo info;
  info.checkpoint.generation = reader.number<std::uint64_t>();
  info.checkpoint.head = reader.array<32>();
  info.audit_chain = reader.array<32>();
  info.records = reader.number<std::uint64_t>();
  const std::uint64_t epochs = reader.varint();
  for (std::uint64_t i = 0; i < epochs && reader.ok(); ++i) {
    const auto epoch = reader.number<std::uint32_t>();
    info.epochs[epoch] = reader.array<kSaltBytes>();
  }
  const std::uint64_t checkpoints = reader.varint();
  if (checkpoints > limits::kWitnessedCheckpointsMax) return std::nullopt;
  for (std::uint64_t i = 0; i < checkpoints && reader.ok(); ++i) {
    Checkpoint checkpoint;
    checkpoint.generation = reader.number<std::uint64_t>();
    checkpoint.head = reader.array<32>();
    info.witnessed.push_back(checkpoint);
  }
  if (reader.ok() && reader.remaining() != 0) info.former_chain = reader.array<32>();
  if (!reader.done()) return std::nullopt;
  return info;
}

Result<LoadedLog> read_log(os::File& file, const StorageId& storage_id, EpochKeys& keys, Index& index,
                           const ReadOptions& options) {
  SR_ASSIGN(const os::FileInfo info, file.info());
  if (info.size_bytes >= kVerifierFileBytesMin) {
    const unsigned threads = std::clamp(std::thread::hardware_concurrency(), 2U, kVerifierThreadsMax + 1) - 1;
    LogReader reader(file, info.size_bytes, storage_id, keys, index, options, threads);
    SR_ASSIGN(std::optional<LoadedLog> loaded, reader.run());
    if (loaded) return *std::move(loaded);
    index.clear();
  }
  LogReader reader(file, info.size_bytes, storage_id, keys, index, options, 0);
  SR_ASSIGN(std::optional<LoadedLog> loaded, reader.run());
  return *std::move(loaded);
}

}  // namespace strongroom::log
