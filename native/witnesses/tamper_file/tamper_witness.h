// The tamper file as a witness: what was found at a start, or the file that this process writes.
//
// position() and synced() are thread-safe.
#pragma once

#include <atomic>
#include <memory>
#include <optional>

#include "base/thread_annotations.h"
#include "witnesses/audit_tail.h"
#include "witnesses/checkpoint_watch.h"
#include "witnesses/tamper_file/tamper_file.h"
#include "witnesses/witness.h"

namespace strongroom::store {

inline constexpr std::string_view kTamperFileName = "tmtmp.bin";

class TamperObservation final : public Observation {
 public:
  using Observation::Observation;

  bool present = false;
  Status damage;
  std::optional<TamperContent> content;
  std::optional<std::uint32_t> named_key;  // the DEK that it names; believed only with `content`
  SecretBytes key;                         // that authenticated `content`
  Standing standing = Standing::kContained;

  [[nodiscard]] bool is_present() const override { return present; }
  [[nodiscard]] std::optional<log::Checkpoint> checkpoint() const override;
  [[nodiscard]] std::optional<std::uint32_t> key_id() const override { return named_key; }
  [[nodiscard]] std::size_t audit_entries() const override { return content ? content->entries.size() : 0; }

  void on_file(std::uint32_t key_id) override;
  void on_snapshot(const log::SnapshotInfo& snapshot, const AuditTail& audit) override;
  void on_commit(const log::CommitInfo& commit, const AuditTail& audit) override;
  [[nodiscard]] Status conclude(const ReadHistory& history) override;

  [[nodiscard]] Status judge(const History& history, Verdict& verdict) const override;
  void drop_what_contradicts() override;

 private:
  void see(const log::Checkpoint& checkpoint, const AuditTail& audit);
  [[nodiscard]] Status judge_content(const History& history) const;

  std::optional<CheckpointWatch> watch_;
  // Beside a vault that has just moved to another DEK the file may be one of the former, and so is its chain.
  bool is_former_ = false;
  std::optional<Digest> former_chain_;
  bool chain_differs_ = false;
};

// The store's tamper file, read with the key of the DEK that it names. `key_id`, when given, receives that DEK's.
[[nodiscard]] Result<TamperContent> read_tamper_file_of(os::Directory& directory, KeyRing& ring,
                                                        std::optional<std::uint32_t>* key_id = nullptr);

class TamperWitness final : public Witness {
 public:
  TamperWitness(const WitnessKind& kind, const WitnessContext& context)
      : Witness(kind),
        directory_(context.directory),
        ring_(context.ring),
        keys_(context.keys),
        capacity_(context.tamper_capacity) {}

  [[nodiscard]] Result<std::unique_ptr<Observation>> observe() override;
  [[nodiscard]] Status try_write(const Observation& found) override;
  // Without content the file is made again from the tail. Entries beyond `synced` may be in the page cache only; the next
  // move writes them again.
  void adopt(Observation& found, std::uint64_t synced) override;
  // The next move makes the file again, from its own checkpoint where that leads to the tail.
  void rekeyed() override;
  [[nodiscard]] Status move(const Move& move) override;
  [[nodiscard]] WitnessPosition position() const override;
  [[nodiscard]] TamperWitness* tamper_file() override { return this; }

  [[nodiscard]] std::optional<TamperContent> content() const;
  // The newest generation that the file of this process holds; 0 before its first move.
  [[nodiscard]] std::uint64_t written() const { return file_ ? file_->newest().generation : 0; }
  [[nodiscard]] std::uint64_t synced() const { return synced_; }

 private:
  [[nodiscard]] Status write(const AuditTail::Rest& rest);
  [[nodiscard]] Status resume(const AuditTail::Rest& rest);
  [[nodiscard]] Status make(const AuditTail::Rest& rest, const TamperContent* former);

  os::Directory& directory_;
  KeyRing& ring_;
  const WitnessKeys& keys_;
  const std::uint32_t capacity_;
  std::unique_ptr<TamperFile> file_;
  std::optional<TamperContent> found_;  // until there is a file_
  TamperFile::Entries found_entries_ = TamperFile::Entries::kDurable;
  std::atomic<std::uint64_t> synced_{0};
  mutable Mutex mutex_;
  WitnessPosition position_ SR_GUARDED_BY(mutex_);
};

}  // namespace strongroom::store
