// The witness in a TPM: an NV counter and an extend index, and the ANCHOR records that tie the vault to them.
// anchor_protocol.h has the rules.
//
// Invariants: never two anchors outstanding; a command that was not answered is never repeated before its index was read
// again; an anchor is complete only when both were read behind the last command and have reached it.
// Thread-safe; calls are serialised by the owner's anchor lock, but for position() and alarm().
#pragma once

#include <atomic>
#include <memory>
#include <optional>

#include "base/thread_annotations.h"
#include "roots/tpm/tpm.h"
#include "time/time_tamper.h"
#include "witnesses/tpm_counter/anchor_protocol.h"

namespace strongroom::store {

// An NV index of this store: where it is, and how it is recognised.
struct NvIndex {
  std::uint32_t index = 0;
  roots::TpmName name;
  SecretBytes secret;
};

class CounterWitness {
 public:
  // `extend` empty: a store of release 0.1 that was not taken over.
  CounterWitness(std::shared_ptr<roots::Tpm> tpm, NvIndex counter, std::optional<NvIndex> extend)
      : tpm_(std::move(tpm)), counter_(std::move(counter)), extend_(std::move(extend)) {}

  [[nodiscard]] Result<TpmObservation> read();
  [[nodiscard]] roots::Tpm& tpm() { return *tpm_; }

  enum class Reached : std::uint8_t { kUnknown, kByTpm };
  // What the vault was found to hold at `checkpoint`, and whether the TPM is known to have reached it. `confirmed` is the
  // commit up to which the TPM confirms the vault, as far as that is known.
  void adopt(const AnchorRecord& newest, const log::Checkpoint& checkpoint, Reached reached,
             const log::Checkpoint& confirmed);
  // The record of the next anchor, drawn for a history that ends at `head`. Only after reach() was ok.
  [[nodiscard]] AnchorRecord next(const StorageId& storage_id, const Digest& head, const Now& now,
                                  std::int64_t floor_ms);
  // The record is durable in a commit at `checkpoint`; reach() is to follow.
  void noted(const AnchorRecord& record, const log::Checkpoint& checkpoint);
  // Brings the TPM to the newest noted record: extends and increments at most once each, and reads after each. The reasons of
  // explain(), and kWitnessMissing; they remain as alarm().
  [[nodiscard]] Status reach(const Now& now);
  // Whether the TPM still confirms the newest record. Changes nothing but alarm(); kTpmUnavailable says nothing of it.
  [[nodiscard]] Status check();
  [[nodiscard]] bool settled() const;
  void failed();  // an anchor was not even begun

  struct Position {
    log::Checkpoint checkpoint;  // the newest commit that the TPM confirms
    std::int64_t moved_wall_ms = 0;
    bool failing = false;
    AnchorRecord newest;
  };
  [[nodiscard]] Position position() const;
  [[nodiscard]] Status alarm() const;
  [[nodiscard]] bool alarmed() const { return alarmed_; }

 private:
  [[nodiscard]] Result<Digest> read_head();
  [[nodiscard]] Status walk(const AnchorRecord& wanted, TpmObservation& tpm);
  void judge(const Status& found) SR_REQUIRES(mutex_);  // an outage neither raises the alarm nor ends it

  std::shared_ptr<roots::Tpm> tpm_;
  NvIndex counter_;
  std::optional<NvIndex> extend_;

  // What an anchor that is complete has left, and when. Another copy that goes on in between spoils nothing that is
  // acknowledged; so that it is met before anything is written, it is believed for a moment only.
  struct Left {
    TpmObservation tpm;
    std::uint64_t boot_ms;
  };
  std::optional<Left> left_;  // of the owner's anchor lock
  std::optional<std::uint64_t> clock_read_boot_ms_;

  mutable Mutex mutex_;
  Position position_ SR_GUARDED_BY(mutex_);
  log::Checkpoint noted_checkpoint_ SR_GUARDED_BY(mutex_);
  bool settled_ SR_GUARDED_BY(mutex_) = false;
  Status alarm_ SR_GUARDED_BY(mutex_);
  std::atomic<bool> alarmed_{false};  // as alarm_, for those who cannot wait for a lock
};

}  // namespace strongroom::store
