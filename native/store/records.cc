#include "store/records.h"

#include "base/bytes.h"
#include "base/limits.h"

namespace strongroom::store {

Bytes encode_reanchor_record(const ReanchorRecord& record) {
  Bytes out;
  ByteWriter writer(out);
  writer.number(record.checkpoint.generation);
  writer.bytes(record.checkpoint.head);
  writer.varint(record.used_checkpoints.size());
  for (const UsedCheckpoint& checkpoint : record.used_checkpoints) writer.bytes(checkpoint);
  return out;
}

std::optional<ReanchorRecord> parse_reanchor_record(ByteView bytes) {
  ByteReader reader(bytes);
  ReanchorRecord record;
  record.checkpoint.generation = reader.number<std::uint64_t>();
  record.checkpoint.head = reader.array<32>();
  const std::uint64_t count = reader.varint();
  for (std::uint64_t i = 0; i < count && reader.ok(); ++i)
    record.used_checkpoints.push_back(reader.array<16>());
  if (!reader.done() || count > kUsedCheckpointsMax + 1) return std::nullopt;
  return record;
}

Bytes encode_continuity_record(const log::Checkpoint& accepted) {
  Bytes out;
  ByteWriter writer(out);
  writer.number(accepted.generation);
  writer.bytes(accepted.head);
  return out;
}

std::optional<log::Checkpoint> parse_continuity_record(ByteView bytes) {
  ByteReader reader(bytes);
  log::Checkpoint checkpoint;
  checkpoint.generation = reader.number<std::uint64_t>();
  checkpoint.head = reader.array<32>();
  return reader.done() ? std::optional(checkpoint) : std::nullopt;
}

Result<Bytes> place_record(os::Directory& directory) {
  SR_ASSIGN(const os::FileInfo info, directory.info());
  Bytes out(2 * sizeof(std::uint64_t));
  store_le(out.data(), info.device);
  store_le(out.data() + sizeof(std::uint64_t), info.inode);
  return out;
}

}  // namespace strongroom::store
