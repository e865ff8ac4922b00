// The witness in a TPM: an NV counter and an extend index, and the ANCHOR records that tie the vault to them.
// anchor_protocol.h has the rules.
//
// Invariants: never two anchors outstanding; a command that was not answered is never repeated before its index was read
// again; an anchor is complete only when both were read behind the last command and have reached it.
// It does not move by itself: an anchor is a commit, so that it moves by next(), noted() and reach().
// Thread-safe; calls are serialised by the owner's anchor lock, but for position(), anchored() and alarm().
#pragma once

#include <atomic>
#include <memory>
#include <optional>

#include "base/thread_annotations.h"
#include "roots/tpm/tpm.h"
#include "time/time_tamper.h"
#include "witnesses/tpm_counter/anchor_protocol.h"
#include "witnesses/witness.h"

namespace strongroom::store {

// An NV index of this store: where it is, and how it is recognised.
struct NvIndex {
  std::uint32_t index = 0;
  roots::TpmName name;
  SecretBytes secret;
};

// The commit of the newest anchor, whether the TPM has reached it, and the commit that the TPM confirms.
struct AnchoredCommit {
  log::Checkpoint checkpoint;
  bool settled = false;
  log::Checkpoint confirmed;
};

// A TPM's counter and extend index, and how the newest anchor of the history stands to them.
class CounterObservation final : public Observation {
 public:
  using Observation::Observation;

  Status damage;  // one of them is missing or another one
  TpmObservation tpm;
  bool has_extend = false;
  std::optional<AnchorRecord> newest;  // that the vault holds
  std::uint64_t synced = 0;  // the generation up to which the tamper file was synced before the TPM moved

  [[nodiscard]] std::uint64_t tamper_synced() const override { return synced; }
  [[nodiscard]] CounterObservation* counter() override { return this; }

  void on_snapshot(const log::SnapshotInfo& snapshot, const AuditTail& audit) override;
  void on_commit(const log::CommitInfo& commit, const AuditTail& audit) override;
  [[nodiscard]] Status conclude(const ReadHistory& history) override;
  [[nodiscard]] Status judge(const History& history, Verdict& verdict) const override;

  // What follows from the newest anchor and the TPM; again where another look at the TPM counts.
  void weigh();
  // Absent without an anchor.
  [[nodiscard]] const std::optional<AnchoredCommit>& anchored() const { return anchored_; }
  // Whether the anchor fits the TPM, moved or not: what an interrupted administrative operation left can be completed then,
  // and is an older copy otherwise.
  [[nodiscard]] bool is_unmoved() const;

 private:
  // The commits that may hold an anchor.
  std::vector<std::pair<log::Checkpoint, log::CommitKind>> places_;
  std::uint64_t snapshot_generation_ = 0;
  std::optional<std::uint64_t> anchor_generation_;
  std::optional<AnchoredCommit> anchored_;
};

class CounterWitness final : public Witness {
 public:
  CounterWitness(const WitnessKind& kind, const WitnessContext& context)
      : Witness(kind), ring_(context.ring), protector_(context.protector) {
    connect();
  }

  [[nodiscard]] Result<std::unique_ptr<Observation>> observe() override;
  // By the TPM's clock since the newest anchor.
  [[nodiscard]] Status check_time(const Observation& found, const Now& now,
                                  std::uint64_t tolerance_ms) override;
  [[nodiscard]] Status move(const Move& /*move*/) override { return {}; }
  [[nodiscard]] Status check() override;
  [[nodiscard]] Status alarm() const override;
  [[nodiscard]] bool alarmed() const override { return alarmed_; }
  [[nodiscard]] WitnessPosition position() const override;
  [[nodiscard]] CounterWitness* counter() override { return this; }

  [[nodiscard]] Result<TpmObservation> read();
  // The core data name other indices: nothing is known of them.
  void renew();

  enum class Reached : std::uint8_t { kUnknown, kByTpm };
  // What the vault was found to hold at `checkpoint`, and whether the TPM is known to have reached it. `confirmed` is the
  // commit up to which the TPM confirms the vault, as far as that is known.
  void start_from(const AnchorRecord& newest, const log::Checkpoint& checkpoint, Reached reached,
                  const log::Checkpoint& confirmed);
  void adopt_anchor(const CounterObservation& found);
  // The record of the next anchor, drawn for a history that ends at `head`. Only after reach() was ok.
  [[nodiscard]] AnchorRecord next(const StorageId& storage_id, const Digest& head, const Now& now,
                                  std::int64_t floor_ms);
  // The record is durable in a commit at `checkpoint`; reach() is to follow.
  void noted(const AnchorRecord& record, const log::Checkpoint& checkpoint);
  // Brings the TPM to the newest noted record: extends and increments at most once each, and reads after each. The reasons of
  // explain(), and kWitnessMissing; they remain as alarm().
  [[nodiscard]] Status reach(const Now& now);
  [[nodiscard]] bool settled() const;
  void failed();  // an anchor was not even begun

  [[nodiscard]] AnchorRecord newest() const;

 private:
  void connect();
  [[nodiscard]] Result<Digest> read_head();
  [[nodiscard]] Status walk(const AnchorRecord& wanted, TpmObservation& tpm);
  void judge(const Status& found) SR_REQUIRES(mutex_);  // an outage neither raises the alarm nor ends it

  KeyRing& ring_;
  const std::unique_ptr<KeyProtector>& protector_;
  std::shared_ptr<roots::Tpm> tpm_;
  NvIndex counter_;
  std::optional<NvIndex> extend_;  // empty: a store of release 0.1 that was not taken over

  // What an anchor that is complete has left, and when. Another copy that goes on in between spoils nothing that is
  // acknowledged; so that it is met before anything is written, it is believed for a moment only.
  struct Left {
    TpmObservation tpm;
    std::uint64_t boot_ms;
  };
  std::optional<Left> left_;  // of the owner's anchor lock
  std::optional<std::uint64_t> clock_read_boot_ms_;

  mutable Mutex mutex_;
  WitnessPosition position_ SR_GUARDED_BY(mutex_);  // the newest commit that the TPM confirms
  AnchorRecord newest_ SR_GUARDED_BY(mutex_);
  log::Checkpoint noted_checkpoint_ SR_GUARDED_BY(mutex_);
  bool settled_ SR_GUARDED_BY(mutex_) = false;
  Status alarm_ SR_GUARDED_BY(mutex_);
  std::atomic<bool> alarmed_{false};  // as alarm_, for those who cannot wait for a lock
};

}  // namespace strongroom::store
