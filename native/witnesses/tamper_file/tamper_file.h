// tmtmp.bin, the tamper file: the newest vault checkpoint it has seen and the audit log, one authenticated,
// chained entry for each commit of the vault, since a checkpoint. Its size is fixed when it is made (header,
// then `capacity` entries, zeros where none is yet), so that a cut file differs from an older one. When full
// it is replaced by a file whose checkpoint is the checkpoint in the middle.
//
// Invariants:
// - Entry i follows entry i-1 by exactly one generation, and chain(i) = HMAC(tamper key, chain(i-1) | entry
// i).
// - An entry is written only after its commit is durable in the vault: the tamper file may lag, never lead.
// - Reading changes nothing. Whether damage is a torn tail or tampering is decided by the engine, which knows
// what
//   had been synced.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/secret_memory.h"
#include "base/status.h"
#include "os/os.h"

namespace strongroom::store {

struct AuditEntry {
  std::uint64_t generation = 0;
  std::int64_t wall_ms = 0;
  std::uint8_t kind = 0;  // log::CommitKind
  std::uint32_t operations = 0;
  Digest head{};  // the vault's head at this generation
};

// A checkpoint of the audit log: the chain after the entry of `generation`.
struct AuditCheckpoint {
  std::uint64_t generation = 0;
  Digest head{};
  Digest chain{};
};

inline constexpr std::size_t kTamperHeaderBytes = 192;
inline constexpr std::size_t kTamperEntryBytes = 88;
inline constexpr std::uint32_t kTamperCapacityDefault = 4096;
inline constexpr std::uint32_t kTamperCapacityMin = 2;
inline constexpr std::uint32_t kTamperCapacityMax = 1'048'576;

// The file's exact size.
[[nodiscard]] constexpr std::size_t tamper_file_bytes(std::uint32_t capacity) {
  return kTamperHeaderBytes + std::size_t{capacity} * kTamperEntryBytes;
}

[[nodiscard]] Digest next_chain(ByteView tamper_key, const Digest& previous, const AuditEntry& entry);

// What a tamper file holds, as far as it authenticates.
struct TamperContent {
  AuditCheckpoint checkpoint;
  std::vector<AuditEntry> entries;  // the authentic run after the checkpoint
  AuditCheckpoint newest;           // the checkpoint when there is no entry
  std::uint32_t capacity = 0;
  std::uint32_t key_id = 0;  // which DEK the tamper key belongs to
  bool clean = true;         // every byte after the authentic run is zero and the size is exact
};

// kTamperFileTampered when the header does not authenticate (or names another storage id), kVersion for an
// unknown version in an otherwise plausible header, kNotFound when there is no file. Damage after the header
// is not an error here: the run ends before it and `clean` is false.
[[nodiscard]] Result<TamperContent> read_tamper_file(os::Directory& directory, std::string_view name,
                                                     ByteView tamper_key, const StorageId& storage_id);
// The same with the key that belongs to the DEK which the file names, unauthenticated. A file that is replaced meanwhile
// by one of another DEK is read as one or the other.
using TamperKeyOf = std::function<SecretBytes(std::uint32_t key_id)>;
[[nodiscard]] Result<TamperContent> read_tamper_file(os::Directory& directory, std::string_view name,
                                                     const TamperKeyOf& tamper_key_of,
                                                     const StorageId& storage_id);
// read_tamper_file() over bytes in memory (the fuzzer's entry).
[[nodiscard]] Result<TamperContent> parse_tamper_file(ByteView file, ByteView tamper_key,
                                                      const StorageId& storage_id);
// The clean file that holds this content; `newest` and `clean` are not looked at. kInvalidArgument for a
// capacity out of bounds, more entries than it, or a generation that does not follow.
[[nodiscard]] Result<Bytes> encode_tamper_file(const TamperContent& content, ByteView tamper_key,
                                               const StorageId& storage_id);

// The writing side, used by one thread at a time. `directory` outlives it. Its memory grows with the entries
// in the file, up to capacity * 88 bytes; replacing the file takes as much again for a moment.
class TamperFile {
 public:
  // Makes the file anew (atomically, durably) with this checkpoint and these entries. Entries beyond half of
  // the capacity are folded into the checkpoint. kInvalidArgument as encode_tamper_file.
  [[nodiscard]] static Result<std::unique_ptr<TamperFile>> create(
      os::Directory& directory, std::string name, SecretBytes tamper_key, const StorageId& storage_id,
      std::uint32_t key_id, const AuditCheckpoint& checkpoint, const std::vector<AuditEntry>& entries,
      std::uint32_t capacity);
  // Goes on with a file just read under the same key, or says kInvalidArgument. Bytes after the authentic run
  // are zeroed (and synced) if it was not clean; a file of the wrong size is replaced. Entries that may not be
  // durable make the next append write the whole file again.
  enum class Entries : std::uint8_t { kDurable, kMaybeNotDurable };
  [[nodiscard]] static Result<std::unique_ptr<TamperFile>> resume(
      os::Directory& directory, std::string name, SecretBytes tamper_key, const StorageId& storage_id,
      std::uint32_t key_id, const TamperContent& content, Entries entries = Entries::kDurable);

  TamperFile(const TamperFile&) = delete;
  TamperFile& operator=(const TamperFile&) = delete;

  // Appends entries, which must follow newest() without a gap (kInvalidArgument, and nothing is written), and
  // syncs; durable on return. One write and one sync, or a replaced file when they do not fit. After a
  // failure newest() is what it was, while the file may hold any part of the entries; a later append, even of
  // none, writes the whole file anew.
  [[nodiscard]] Status append(const std::vector<AuditEntry>& entries);
  [[nodiscard]] const AuditCheckpoint& newest() const { return newest_; }
  [[nodiscard]] TamperContent content() const;  // what the file holds after the last append

 private:
  TamperFile(os::Directory& directory, std::string name, SecretBytes tamper_key, const StorageId& storage_id,
             std::uint32_t key_id, std::uint32_t capacity);

  [[nodiscard]] Status open_file();
  [[nodiscard]] Status clear_tail();
  [[nodiscard]] Status replace_with(Bytes records, const AuditCheckpoint& newest, std::uint32_t entries_max);

  os::Directory& directory_;
  const std::string name_;
  const SecretBytes tamper_key_;
  const StorageId storage_id_;
  const std::uint32_t key_id_;
  const std::uint32_t capacity_;
  AuditCheckpoint checkpoint_;
  AuditCheckpoint newest_;
  Bytes records_;                   // the entries after the checkpoint as they stand in the file
  std::unique_ptr<os::File> file_;  // null when it must be opened again: a rename left the old inode behind
  bool file_known_ = true;          // false after a failure: what the file holds is no longer known
};

}  // namespace strongroom::store
