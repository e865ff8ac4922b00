#include "log/format.h"

#include <algorithm>

namespace strongroom::log {
namespace {

constexpr std::array<std::uint8_t, 8> kFileMagic = {'S', 'R', 'V', 'A', 'U', 'L', 'T', '1'};
constexpr std::uint32_t kFrameMagic = 0x52465253;  // "SRFR"
constexpr std::uint16_t kVersion = 1;
constexpr std::size_t kCheckOffset = 56;
static_assert(kCheckOffset + 8 == kFrameHeaderBytes);
static_assert(8 + 2 + 2 + 4 + 16 + 16 + 16 == kFileHeaderBytes);

std::uint64_t header_check(const StorageId& storage_id, const std::uint8_t* header) {
  const Digest digest = crypto::sha256({storage_id, ByteView{header, kCheckOffset}});
  return load_le<std::uint64_t>(digest.data());
}

}  // namespace

std::string_view commit_kind_text(std::uint8_t kind) {
  switch (static_cast<CommitKind>(kind)) {
    case CommitKind::kData:
      return "data";
    case CommitKind::kOpen:
      return "open";
    case CommitKind::kTime:
      return "time";
    case CommitKind::kClose:
      return "close";
    case CommitKind::kPersistence:
      return "persistence";
    case CommitKind::kReanchor:
      return "reanchor";
    case CommitKind::kTamperFileAnew:
      return "tamper-file-anew";
    case CommitKind::kRecover:
      return "recover";
    case CommitKind::kAnchor:
      return "anchor";
    case CommitKind::kReseal:
      return "reseal";
    case CommitKind::kRestore:
      return "restore";
    case CommitKind::kRestoreDetected:
      return "restore-detected";
    case CommitKind::kRestorePassword:
      return "restore-password";
    case CommitKind::kRestoreToken:
      return "restore-token";
    case CommitKind::kRestoreKeys:
      return "restore-keys";
    case CommitKind::kRestoreTls:
      return "restore-tls";
    case CommitKind::kRestoreHook:
      return "restore-hook";
    case CommitKind::kRestoreCompleted:
      return "restore-completed";
    case CommitKind::kKek:
      return "kek";
    case CommitKind::kRotation:
      return "rotation";
    case CommitKind::kTakeOver:
      return "take-over";
    case CommitKind::kSnapshotHead:
    case CommitKind::kSnapshotData:
      return "snapshot";
  }
  return "unknown";
}

void encode_file_header(const FileHeader& header, std::uint8_t* out) {
  std::fill_n(out, kFileHeaderBytes, std::uint8_t{0});
  std::copy(kFileMagic.begin(), kFileMagic.end(), out);
  store_le(out + 8, kVersion);
  store_le(out + 12, header.key_id);
  std::copy(header.storage_id.begin(), header.storage_id.end(), out + 16);
  std::copy(header.log_id.begin(), header.log_id.end(), out + 32);
}

Result<FileHeader> parse_file_header(ByteView bytes, const StorageId& storage_id) {
  if (bytes.size() < kFileHeaderBytes || !equal(bytes.first(kFileMagic.size()), kFileMagic)) {
    return Status(Reason::kVaultTampered, "the vault file is cut short or is not a vault");
  }
  if (load_le<std::uint16_t>(bytes.data() + 8) != kVersion) {
    return Status(Reason::kVaultTampered, "the vault file's version does not fit persistence.bin");
  }
  FileHeader header;
  header.key_id = load_le<std::uint32_t>(bytes.data() + 12);
  std::copy_n(bytes.begin() + 16, header.storage_id.size(), header.storage_id.begin());
  std::copy_n(bytes.begin() + 32, header.log_id.size(), header.log_id.begin());
  if (header.storage_id != storage_id) {
    return Status(Reason::kVaultTampered, "the vault file belongs to another store");
  }
  return header;
}

void encode_frame_header(const FrameHeader& header, const StorageId& storage_id, std::uint8_t* out) {
  store_le(out, kFrameMagic);
  store_le(out + 4, static_cast<std::uint16_t>(header.kind));
  store_le(out + 6, header.flags);
  store_le(out + 8, header.generation);
  store_le(out + 16, static_cast<std::uint64_t>(header.wall_ms));
  store_le(out + 24, header.counter);
  store_le(out + 32, header.epoch);
  store_le(out + 36, header.operations);
  store_le(out + 40, header.entry_table_bytes);
  store_le(out + 44, header.value_bytes);
  store_le(out + 48, header.tamper_synced);
  store_le(out + kCheckOffset, header_check(storage_id, out));
}

std::optional<FrameHeader> parse_frame_header(ByteView bytes, const StorageId& storage_id) {
  if (bytes.size() < kFrameHeaderBytes) return std::nullopt;
  const std::uint8_t* in = bytes.data();
  if (load_le<std::uint32_t>(in) != kFrameMagic) return std::nullopt;
  if (load_le<std::uint64_t>(in + kCheckOffset) != header_check(storage_id, in)) return std::nullopt;
  FrameHeader header;
  const auto kind = load_le<std::uint16_t>(in + 4);
  if (commit_kind_text(static_cast<std::uint8_t>(kind)) == "unknown" || kind > 0xFF) return std::nullopt;
  header.kind = static_cast<CommitKind>(kind);
  header.flags = load_le<std::uint16_t>(in + 6);
  header.generation = load_le<std::uint64_t>(in + 8);
  header.wall_ms = static_cast<std::int64_t>(load_le<std::uint64_t>(in + 16));
  header.counter = load_le<std::uint64_t>(in + 24);
  header.epoch = load_le<std::uint32_t>(in + 32);
  header.operations = load_le<std::uint32_t>(in + 36);
  header.entry_table_bytes = load_le<std::uint32_t>(in + 40);
  header.value_bytes = load_le<std::uint32_t>(in + 44);
  header.tamper_synced = load_le<std::uint64_t>(in + 48);
  if (std::uint64_t{header.entry_table_bytes} + header.value_bytes > kFrameBodyBytesMax) return std::nullopt;
  return header;
}

crypto::Nonce counter_nonce(std::uint64_t counter) {
  crypto::Nonce nonce{};
  store_le(nonce.data() + 4, counter);
  return nonce;
}

Digest snapshot_chain_start(ByteView file_header) {
  return crypto::sha256({as_bytes("strongroom/v5 base"), file_header});
}

Digest genesis_head(const StorageId& storage_id, ByteView vault_salt) {
  return crypto::sha256({as_bytes("strongroom/v5 genesis"), storage_id, vault_salt});
}

Digest next_link(const Digest& previous, ByteView header_and_salt, ByteView tag) {
  return crypto::sha256({previous, header_and_salt, tag});
}

}  // namespace strongroom::log
