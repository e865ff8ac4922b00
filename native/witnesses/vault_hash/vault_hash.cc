#include "witnesses/vault_hash/vault_hash.h"

#include <algorithm>

#include "crypto/crypto.h"

namespace strongroom::store {
namespace {

// u8 version | u8 kind | u16 zero | u32 key id | body | HMAC-SHA-256(witness key, storage id | all before)
constexpr std::uint8_t kVersion = 1;
constexpr std::uint8_t kVaultHashKind = 1;
constexpr std::uint8_t kTimeKind = 2;
constexpr std::size_t kPrefixBytes = 8;

void begin_value(ByteWriter& writer, std::uint8_t kind, std::uint32_t key_id) {
  writer.number(kVersion);
  writer.number(kind);
  writer.number(std::uint16_t{0});
  writer.number(key_id);
}

void authenticate(Bytes& value, ByteView witness_key, const StorageId& storage_id) {
  const Digest mac = crypto::hmac_sha256(witness_key, {storage_id, value});
  value.insert(value.end(), mac.begin(), mac.end());
}

Result<ByteView> authentic_body(ByteView bytes, std::uint8_t kind, ByteView witness_key,
                                const StorageId& storage_id) {
  const Status replaced(Reason::kWitnessReplaced, "does not authenticate");
  if (bytes.size() < kPrefixBytes + sizeof(Digest) || bytes[0] != kVersion || bytes[1] != kind)
    return replaced;
  const ByteView covered = bytes.first(bytes.size() - sizeof(Digest));
  if (!crypto::equal_constant_time(crypto::hmac_sha256(witness_key, {storage_id, covered}),
                                   bytes.last(sizeof(Digest)))) {
    return replaced;
  }
  return covered.subspan(kPrefixBytes);
}

}  // namespace

UsedCheckpoint used_checkpoint(const log::Checkpoint& checkpoint) {
  std::array<std::uint8_t, 8> generation{};
  store_le(generation.data(), checkpoint.generation);
  const Digest digest = crypto::sha256({generation, checkpoint.head});
  UsedCheckpoint out{};
  std::copy_n(digest.begin(), out.size(), out.begin());
  return out;
}

Bytes encode_vault_hash(const VaultHash& value, ByteView witness_key, const StorageId& storage_id,
                        std::uint32_t key_id) {
  Bytes out;
  ByteWriter writer(out);
  begin_value(writer, kVaultHashKind, key_id);
  writer.number(value.checkpoint.generation);
  writer.bytes(value.checkpoint.head);
  writer.number(static_cast<std::uint64_t>(value.wall_ms));
  writer.varint(value.used_checkpoints.size());
  for (const UsedCheckpoint& checkpoint : value.used_checkpoints) writer.bytes(checkpoint);
  authenticate(out, witness_key, storage_id);
  return out;
}

Result<VaultHash> parse_vault_hash(ByteView bytes, ByteView witness_key, const StorageId& storage_id) {
  SR_ASSIGN(const ByteView body, authentic_body(bytes, kVaultHashKind, witness_key, storage_id));
  ByteReader reader(body);
  VaultHash value;
  value.checkpoint.generation = reader.number<std::uint64_t>();
  value.checkpoint.head = reader.array<32>();
  value.wall_ms = static_cast<std::int64_t>(reader.number<std::uint64_t>());
  const std::uint64_t count = reader.varint();
  for (std::uint64_t i = 0; i < count && reader.ok(); ++i)
    value.used_checkpoints.push_back(reader.array<16>());
  if (!reader.done() || count > kUsedCheckpointsMax) {
    return Status(Reason::kWitnessReplaced, "is malformed");
  }
  return value;
}

std::optional<std::uint64_t> peek_generation(ByteView vault_hash) {
  if (vault_hash.size() < kPrefixBytes + 8 || vault_hash[0] != kVersion || vault_hash[1] != kVaultHashKind) {
    return std::nullopt;
  }
  return load_le<std::uint64_t>(vault_hash.data() + kPrefixBytes);
}

std::optional<std::uint32_t> peek_key_id(ByteView value) {
  if (value.size() < kPrefixBytes || value[0] != kVersion) return std::nullopt;
  return load_le<std::uint32_t>(value.data() + 4);
}

Bytes encode_witness_time(const TimeStamp& stamp, ByteView witness_key, const StorageId& storage_id,
                          std::uint32_t key_id) {
  Bytes out;
  ByteWriter writer(out);
  begin_value(writer, kTimeKind, key_id);
  writer.bytes(encode_time_stamp(stamp));
  authenticate(out, witness_key, storage_id);
  return out;
}

Result<TimeStamp> parse_witness_time(ByteView bytes, ByteView witness_key, const StorageId& storage_id) {
  SR_ASSIGN(const ByteView body, authentic_body(bytes, kTimeKind, witness_key, storage_id));
  return parse_time_stamp(body);
}

}  // namespace strongroom::store
