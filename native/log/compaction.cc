#include "log/compaction.h"

#include <algorithm>

namespace strongroom::log {
namespace {

constexpr std::size_t kFrameTargetBytes = std::size_t{1} << 20;
constexpr std::size_t kCopyBytes = std::size_t{1} << 20;

}  // namespace

SnapshotWriter::SnapshotWriter(os::File& file, EpochKeys& keys, std::uint32_t key_id, std::uint32_t epoch)
    : file_(file), keys_(keys), cipher_(keys), key_id_(key_id), epoch_(epoch) {}

Status SnapshotWriter::begin(const SnapshotInfo& info) {
  std::array<std::uint8_t, kFileHeaderBytes> header{};
  encode_file_header(FileHeader{key_id_, keys_.storage_id(), crypto::random_array<16>()}, header.data());
  SR_TRY(file_.write_at(0, header));
  offset_ = header.size();
  chain_ = snapshot_chain_start(header);
  generation_ = info.checkpoint.generation;
  info_ = encode_snapshot_info(info);
  salt_ = crypto::random_array<kSaltBytes>();
  keys_.add_of(key_id_, epoch_, salt_);
  return {};
}

// A buffer that moves keeps its memory, so the views of the changes stay valid.
void SnapshotWriter::Gathered::add(std::string_view key, WipedBuffer value) {
  values_.push_back(std::move(value));
  changes_.push_back(Change{Operation::kPut, as_bytes(key), values_.back().view()});
  bytes_ += key.size() + values_.back().size();
}

void SnapshotWriter::Gathered::clear() {
  changes_.clear();
  values_.clear();
  bytes_ = 0;
}

Status SnapshotWriter::add(const Record& record) {
  if (!head_written_) SR_TRY(write_frame(Place::kInside));
  WipedBuffer value;
  value.resize(record.value_bytes());
  if (!cipher_.open(record, value.span().data())) {
    return {Reason::kInternal, "a record in memory does not authenticate"};
  }
  gathered_.add(record.key(), std::move(value));
  return gathered_.bytes() >= kFrameTargetBytes ? write_frame(Place::kInside) : Status();
}

Result<std::uint64_t> SnapshotWriter::finish() {
  SR_TRY(write_frame(Place::kLast));
  return offset_;
}

Status SnapshotWriter::write_frame(Place place) {
  FrameHeader header;
  header.kind = head_written_ ? CommitKind::kSnapshotData : CommitKind::kSnapshotHead;
  header.flags =
      static_cast<std::uint16_t>((head_written_ ? 0 : kHasSalt) | (place == Place::kLast ? kLast : 0));
  header.generation = generation_;
  header.counter = counter_;
  header.epoch = epoch_;
  counter_ += 1 + gathered_.changes().size();
  chain_ =
      build_frame(header, salt_, chain_, gathered_.changes(), head_written_ ? ByteView{} : ByteView(info_),
                  *cipher_.find(epoch_), cipher_, keys_.storage_id(), frame_, nullptr);
  head_written_ = true;
  gathered_.clear();
  SR_TRY(file_.write_at(offset_, frame_));
  offset_ += frame_.size();
  return {};
}

Status copy_frames(os::File& from_file, std::uint64_t from, std::uint64_t to, os::File& to_file,
                   std::uint64_t offset) {
  Bytes buffer(static_cast<std::size_t>(std::min<std::uint64_t>(kCopyBytes, to - from)));
  while (from < to) {
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), to - from));
    SR_ASSIGN(const std::size_t got, from_file.read_at(from, MutableBytes(buffer).first(size)));
    if (got != size) return {Reason::kIoError, "the vault file became shorter while it was open"};
    SR_TRY(to_file.write_at(offset, ByteView(buffer).first(size)));
    from += size;
    offset += size;
  }
  return {};
}

}  // namespace strongroom::log
