// The witness in a TPM: an NV counter that nobody can turn back, and the ANCHOR records that tie the vault to it.
//
// v is the number in the newest durable ANCHOR record, c the counter. To anchor: ANCHOR(v + 1) becomes durable, then the
// counter is incremented. So at a start v = c is usual, v = c + 1 an increment that was cut off, v < c an older vault, and
// anything else another counter.
//
// Invariants: never two anchors outstanding; an increment that was not answered is never repeated before the counter was
// read again.
// Thread-safe; calls are serialised by the owner's anchor lock, but for position() and alarm().
#pragma once

#include <memory>
#include <mutex>

#include "log/format.h"
#include "roots/tpm/tpm.h"
#include "store/time_tamper.h"

namespace strongroom::store {

struct AnchorRecord {
  std::uint64_t number = 0;        // of the counter, once the anchor is complete
  std::uint64_t increments = 0;    // of the counter by this store, this one included
  std::int64_t first_wall_ms = 0;  // when the counter was made
  std::uint64_t clock_ms = 0;      // the TPM's clock
  std::int64_t floor_ms = 0;       // the earliest wall time that TIME_TAMPER permitted at this point
  friend bool operator==(const AnchorRecord&, const AnchorRecord&) = default;
};
[[nodiscard]] Bytes encode_anchor_record(const AnchorRecord& record);
[[nodiscard]] std::optional<AnchorRecord> parse_anchor_record(ByteView bytes);

// The earliest wall time that the TPM's clock permits. A TPM's clock may be wrong by 15 % (TPM 2.0 part 1, 36.3), so only
// 85 % of what it counted is believed.
[[nodiscard]] std::int64_t tpm_floor_ms(const AnchorRecord& anchor, const roots::TpmClock& clock);

class CounterWitness {
 public:
  CounterWitness(std::shared_ptr<roots::Tpm> tpm, std::uint32_t index, roots::TpmName name,
                 SecretBytes secret)
      : tpm_(std::move(tpm)), index_(index), name_(std::move(name)), secret_(std::move(secret)) {}

  [[nodiscard]] Result<std::uint64_t> read() { return tpm_->read_counter(index_, name_); }
  [[nodiscard]] roots::Tpm& tpm() { return *tpm_; }

  // What the vault was found to hold at `point`; `settled` when the counter is known to have reached it. `vouched` is the
  // commit up to which the counter vouches for the vault, as far as that is known.
  void adopt(const AnchorRecord& newest, const log::Point& point, bool settled, const log::Point& vouched);
  // The record of the next anchor. Only after reach() was ok.
  [[nodiscard]] AnchorRecord next(std::int64_t wall_ms, std::int64_t floor_ms);
  // The record is durable in a commit at `point`; reach() is to follow.
  void noted(const AnchorRecord& record, const log::Point& point);
  // Brings the counter to the newest noted record: reads, increments at most once, reads again. kVaultRolledBack when the
  // counter is beyond it, kWitnessReplaced when it is more than one behind or was moved by somebody else; they stay as
  // alarm().
  [[nodiscard]] Status reach(std::int64_t wall_ms);
  [[nodiscard]] bool settled() const;
  void failed();  // an anchor was not even begun

  struct Position {
    log::Point point;  // the newest commit that the counter vouches for
    std::int64_t moved_wall_ms = 0;
    bool failing = false;
    AnchorRecord newest;
  };
  [[nodiscard]] Position position() const;
  [[nodiscard]] Status alarm() const;

 private:
  std::shared_ptr<roots::Tpm> tpm_;
  std::uint32_t index_;
  roots::TpmName name_;
  SecretBytes secret_;

  mutable std::mutex mutex_;
  Position position_;
  log::Point noted_point_;
  bool settled_ = false;
  bool sent_ = false;  // the newest record's increment, whatever became of it
  Status alarm_;
};

}  // namespace strongroom::store
