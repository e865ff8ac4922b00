// Anchors: how the TPM's counter follows an open vault, and how the sealed root follows the counter.
//
// Invariants:
// - ANCHOR(n) is committed only while the persistence.bin on disk holds a root that the TPM gives out at n.
// - An epoch is as short as the pace of anchors allows: one anchor, or up to kSealEpochAnchorsMax where they come thick and
//   fast. The close ends it, so that no copy of a former persistence.bin can be unsealed after the next start.
// - The TPM moves only when the tamper file was synced up to the anchor. So where they agree, damage in the tamper file
//   before the anchor is no torn append.
// - An anchor that is not known to be complete is completed before anything else, and costs no second write.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "protectors/tpm/sealed_root.h"
#include "store/header_changes.h"
#include "time/time_keeper.h"
#include "witnesses/tpm_counter/counter_witness.h"
#include "witnesses/witnesses.h"

namespace strongroom::store {

class AnchorKeeper {
 public:
  // kUnlessConfirmed: not where the counter confirms everything that was committed.
  enum class Which : std::uint8_t { kAlways, kUnlessConfirmed };

  // What it works on; all outlive it. What is null becomes something before the first call. Only a store with a counter
  // calls it.
  struct Parts {
    os::Clock& clock;
    KeyRing& ring;
    Vault& vault;
    HeaderChanges& headers;
    TimeKeeper& time;
    const std::unique_ptr<KeyProtector>& protector;
    const std::unique_ptr<Witnesses>& witnesses;
    std::function<void()> anchored;  // an anchor was committed
  };
  explicit AnchorKeeper(Parts parts) : parts_(std::move(parts)) {}

  // The first one of a counter, at COLDSTART or as authority sets it: `head` is what the extend index has, or will have.
  [[nodiscard]] AnchorRecord first(std::uint64_t number, const std::optional<Digest>& head);
  // Moves the counter to what was committed, by a commit of this kind.
  [[nodiscard]] Status anchor(log::CommitKind kind, Which which);

 private:
  // How long the root stays sealed to what it is sealed to.
  struct SealEpoch {
    std::uint64_t anchors = 1;
    std::optional<std::uint64_t> began_boot_ms;
  };

  [[nodiscard]] SealedRoot& root() const { return *parts_.protector->sealed_root(); }
  // As many anchors as their pace allows.
  [[nodiscard]] std::uint64_t next_epoch_anchors() const SR_REQUIRES(parts_.headers.mutex());
  [[nodiscard]] Status begin_seal_epoch(std::uint64_t first, std::uint64_t anchors,
                                        SystemRecordChanges& changes) SR_REQUIRES(parts_.headers.mutex());

  Parts parts_;
  SealEpoch epoch_ SR_GUARDED_BY(parts_.headers.mutex());
};

}  // namespace strongroom::store
