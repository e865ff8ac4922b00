// The tamper file as a witness: what was found at a start, or the file that this process writes.
//
// Moves are serialised by the owner; position() and synced() are thread-safe.
#pragma once

#include <atomic>
#include <memory>
#include <optional>

#include "witnesses/audit_tail.h"
#include "witnesses/tamper_file/tamper_file.h"
#include "witnesses/vault_hash/vault_hash_witness.h"

namespace strongroom::store {

inline constexpr std::string_view kTamperFileName = "tmtmp.bin";

class TamperWitness {
 public:
  // What the file is authenticated with.
  struct Key {
    SecretBytes key;
    StorageId storage_id{};
    std::uint32_t key_id = 1;
  };

  TamperWitness(os::Directory& directory, Key key, std::uint32_t capacity)
      : directory_(directory), key_(std::move(key)), capacity_(capacity) {}

  // What was found at start, so that it is gone on with; empty: the file is begun anew from the tail. Entries beyond
  // `synced` may be in the page cache only; they are written anew with the next move.
  void adopt(std::optional<TamperContent> found, std::uint64_t synced);
  // The key became another one: the next move makes the file anew, from its own checkpoint where that leads to the tail.
  void rekeyed(Key key);
  [[nodiscard]] std::optional<TamperContent> content() const;
  // The newest generation that the file of this process holds; 0 before its first move.
  [[nodiscard]] std::uint64_t written() const { return file_ ? file_->newest().generation : 0; }
  [[nodiscard]] Status move(const AuditTail::Rest& rest);

  [[nodiscard]] WitnessPosition position() const;
  [[nodiscard]] std::uint64_t synced() const { return synced_; }

 private:
  [[nodiscard]] Status write(const AuditTail::Rest& rest);
  [[nodiscard]] Status resume(const AuditTail::Rest& rest);
  [[nodiscard]] Status make(const AuditTail::Rest& rest, const TamperContent* former);

  os::Directory& directory_;
  Key key_;
  const std::uint32_t capacity_;
  std::unique_ptr<TamperFile> file_;
  std::optional<TamperContent> found_;  // until there is a file_
  TamperFile::Entries found_entries_ = TamperFile::Entries::kDurable;
  std::atomic<std::uint64_t> synced_{0};
  mutable Mutex mutex_;
  WitnessPosition position_ SR_GUARDED_BY(mutex_);
};

}  // namespace strongroom::store
