// The header transaction of a store: what commits the intent of a change of persistence.bin, and what follows it
// (header/key_ring.h).
//
// Every call completes an earlier transaction first whose file could not be written.
#pragma once

#include "protectors/key_protector.h"
#include "store/vault.h"

namespace strongroom::store {

// u32, the highest slot id of a removed password's time.
inline constexpr std::string_view kSlotIdKey = "strongroom/slot-id";

class HeaderChanges {
 public:
  // What it works on; all outlive it. What is null becomes something before the first call.
  struct Parts {
    KeyRing& ring;
    Vault& vault;
    const std::shared_ptr<os::Directory>& directory;
    const std::unique_ptr<KeyProtector>& protector;
  };
  explicit HeaderChanges(const Parts& parts) : parts_(parts) {}

  // Anchors and changes of persistence.bin: one at a time; before the commit lock.
  [[nodiscard]] Mutex& mutex() SR_RETURN_CAPABILITY(mutex_) { return mutex_; }

  // For an opening, which commits the intent with more, and then calls KeyRing::begin() and settled().
  [[nodiscard]] Result<KeyRing::Change> plan(PersistenceHeader next, SystemRecordChanges& intent)
      SR_EXCLUDES(mutex_);
  // Replaces the file of a pending transaction, tried again after a failure. The header that is in force then: where the file
  // of an earlier change could not be written, the passwords that are there now are the ones by which the next is judged.
  [[nodiscard]] Result<PersistenceHeader> settled() SR_EXCLUDES(mutex_);

  // The same with the lock held. True in `settled` when there was a pending one.
  [[nodiscard]] Status settle(bool* settled = nullptr) SR_REQUIRES(mutex_);
  // The whole transaction on an open store. The record `done` goes into `last` where the caller commits something anyhow,
  // else into a commit of its own.
  [[nodiscard]] Status replace(PersistenceHeader next, log::CommitKind kind, SystemRecordChanges& changes,
                               SystemRecordChanges* last = nullptr,
                               std::optional<NextKeys> keys = std::nullopt) SR_REQUIRES(mutex_);
  // The same for the key slots. An error says whether they are changed, and what of the store `shows` it.
  [[nodiscard]] Status replace_slots(const PersistenceHeader& next, SystemRecordChanges& changes,
                                     std::string_view shows) SR_REQUIRES(mutex_);
  // One that no slot has or had.
  [[nodiscard]] std::uint32_t next_slot_id() const;
  // The protector goes on with the slot of the file on disk.
  void adopt_slot() SR_REQUIRES(mutex_);

 private:
  Parts parts_;
  Mutex mutex_;
};

}  // namespace strongroom::store
