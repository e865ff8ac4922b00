// The bytes of vault.bin.
//
//   file header (64 bytes)
//     0  magic "SRVAULT1"     8  u16 version = 1    10  u16 zero    12  u32 key id
//    16  storage id (16)     32  log id (16 random bytes)           48  zero (16)
//   snapshot frames:   one SNAPSHOT_HEAD, then SNAPSHOT_DATA frames; the last of them has flag kLast
//   commit frames: generation snapshot + 1, snapshot + 2, …
//
// Frame
//     0  u32 magic "SRFR"     4  u16 kind            6  u16 flags
//     8  u64 generation      16  i64 wall time, ms  24  u64 counter: nonce of the entry table
//    32  u32 epoch           36  u32 operations     40  u32 entry table bytes  44  u32 value bytes
//    48  u64 generation up to which the tamper file is known to be synced
//    56  u64 check: first 8 bytes of SHA-256(storage id | header 0..55)
//    64  epoch salt (32), when flags has kHasSalt
//        entry table, sealed; its GCM tag (16); the values, each sealed on its own; zeros to a multiple of 8
//
// Entry table (plaintext), one entry an operation: u8 operation, varint key length, key, and for a put: varint value
// length, the value's GCM tag (16). The value of put i uses nonce counter + 1 + i.
//
// Associated data of an entry table: storage id | previous chain (32) | frame header | salt if any.
// Associated data of a value:     storage id | generation (8) | key.
// Chain: SHA-256(previous chain | frame header | salt if any | entry table tag). GCM authenticates the content, the
// chain orders it; the chain after a commit frame is the head of that generation.
//
// Invariants: a nonce is never used twice, because every open draws a fresh epoch salt and counts within it; and
// every byte of the file is either authenticated or checked to be zero.
#pragma once

#include "base/bytes.h"
#include "base/limits.h"
#include "base/status.h"
#include "crypto/crypto.h"

namespace strongroom::log {

inline constexpr std::size_t kFileHeaderBytes = 64;
inline constexpr std::size_t kFrameHeaderBytes = 64;
inline constexpr std::size_t kSaltBytes = 32;
inline constexpr std::size_t kFrameAlignment = 8;
// Beyond this a length in a header is damage: the largest batch, its entry table, and room for system records.
inline constexpr std::size_t kFrameBodyBytesMax = std::size_t{160} << 20;
inline constexpr std::size_t kFrameBytesMax =
    kFrameHeaderBytes + kSaltBytes + kFrameBodyBytesMax + crypto::kTagBytes + kFrameAlignment;
// What may stand behind the newest durable frame: one frame that a crash cut short, in space that was reserved for it and
// for those behind it. A failed write is cut off before the next one, so two frames never lie there.
inline constexpr std::size_t kTailBytesMax = kFrameBytesMax + limits::kReserveBytesMax;

enum class CommitKind : std::uint8_t {
  kData = 1,            // operations of the application
  kOpen = 2,            // first commit of an opening; begins an epoch
  kTime = 3,            // TIME_TAMPER alone
  kClose = 4,           // last commit before a clean close
  kPersistence = 5,     // intent or completion of a change of persistence.bin
  kReanchor = 6,        // the present state was accepted by authority
  kTamperFileAnew = 7,  // the tamper file was missing and begun anew
  kRecover = 8,         // opened by password after a lost root
  kAnchor = 9,          // precedes an increment of the TPM's counter
  kReseal = 10,         // the root was sealed anew by authority
  kRestore = 11,        // a token was given a new KEK by the backup password
  // The story of a restore besides: nothing of the state changes with these.
  kRestoreDetected = 12,   // a restore begins, or continues without the password
  kRestorePassword = 13,   // the backup password was proven
  kRestoreToken = 14,      // the token is there: found, or set up
  kRestoreKeys = 15,       // managed keys were looked at; those that are lost were deactivated
  kRestoreTls = 16,        // the files of the web server were written
  kRestoreHook = 17,       // the hook ended well
  kRestoreCompleted = 18,  // the store serves again
  kKek = 19,               // the KEK was replaced in the token
  kRotation = 20,          // the DEK is rotated: a new one begins, or the former one is given up
  kTakeOver = 21,          // a store of release 0.1 gets a counter of its own kind and an extend index
  kSnapshotHead = 32,
  kSnapshotData = 33,
};
[[nodiscard]] std::string_view commit_kind_text(std::uint8_t kind);  // "data", "open", …; "unknown"

// kNextKey: the epoch that is announced is one of the DEK after that of the file's header (a rotation is under way).
enum FrameFlags : std::uint16_t { kHasSalt = 1, kLast = 2, kNextKey = 4 };
enum class Operation : std::uint8_t { kPut = 1, kDelete = 2, kSnapshot = 3 };

using EpochSalt = std::array<std::uint8_t, kSaltBytes>;

struct FileHeader {
  std::uint32_t key_id = 1;
  StorageId storage_id{};
  std::array<std::uint8_t, 16> log_id{};
};

struct FrameHeader {
  CommitKind kind = CommitKind::kData;
  std::uint16_t flags = 0;
  std::uint64_t generation = 0;
  std::int64_t wall_ms = 0;
  std::uint64_t counter = 0;
  std::uint32_t epoch = 0;
  std::uint32_t operations = 0;
  std::uint32_t entry_table_bytes = 0;
  std::uint32_t value_bytes = 0;
  std::uint64_t tamper_synced = 0;

  [[nodiscard]] std::size_t salt_bytes() const { return (flags & kHasSalt) != 0 ? kSaltBytes : 0; }
  // Header, salt, entry table, tag, values, without padding.
  [[nodiscard]] std::size_t content_bytes() const {
    return kFrameHeaderBytes + salt_bytes() + entry_table_bytes + crypto::kTagBytes + value_bytes;
  }
  [[nodiscard]] std::size_t frame_bytes() const {
    return (content_bytes() + kFrameAlignment - 1) / kFrameAlignment * kFrameAlignment;
  }
};

void encode_file_header(const FileHeader& header, std::uint8_t* out);
// kVaultTampered for anything but a header of this storage id. persistence.bin names the format's version, so another
// version here is damage.
[[nodiscard]] Result<FileHeader> parse_file_header(ByteView bytes, const StorageId& storage_id);

void encode_frame_header(const FrameHeader& header, const StorageId& storage_id, std::uint8_t* out);
// nullopt when the check, the magic or a length does not fit.
[[nodiscard]] std::optional<FrameHeader> parse_frame_header(ByteView bytes, const StorageId& storage_id);

[[nodiscard]] crypto::Nonce counter_nonce(std::uint64_t counter);

// The chain that the snapshot frames start from.
[[nodiscard]] Digest snapshot_chain_start(ByteView file_header);
// The head of generation 0.
[[nodiscard]] Digest genesis_head(const StorageId& storage_id, ByteView vault_salt);

[[nodiscard]] Digest next_link(const Digest& previous, ByteView header_and_salt, ByteView tag);

// A checkpoint of the history.
struct Checkpoint {
  std::uint64_t generation = 0;
  Digest head{};
  friend bool operator==(const Checkpoint&, const Checkpoint&) = default;
};

// What is known of one commit; the audit log is made of these.
struct CommitInfo {
  CommitKind kind = CommitKind::kData;
  Checkpoint checkpoint;
  std::int64_t wall_ms = 0;
  std::uint32_t operations = 0;
};

}  // namespace strongroom::log
