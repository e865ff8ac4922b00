// A witness in a SecretStore or a token: `VaultHash`, and where it keeps time, `TimeTamper`.
//
// Invariant: before `VaultHash` is replaced it is read: one that this process did not leave there raises the alarm, and is
// left as it is. A save that failed may have taken place, at once or later, as long as no later one is known to have.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <optional>

#include "base/thread_annotations.h"
#include "secret_store/secret_store.h"
#include "witnesses/checkpoint_watch.h"
#include "witnesses/vault_hash/vault_hash.h"
#include "witnesses/witness.h"

namespace strongroom::store {

class VaultHashObservation final : public Observation {
 public:
  using Observation::Observation;

  bool present = false;
  Status damage;  // why it cannot be believed; ok otherwise
  std::optional<VaultHash> value;
  Bytes raw;                               // as it was read
  std::optional<std::uint32_t> named_key;  // the DEK that it names; believed only with `value`
  Standing standing = Standing::kContained;
  bool copy_damaged = false;
  std::optional<TimeStamp> time;
  Status time_damage;

  [[nodiscard]] bool is_present() const override { return present; }
  [[nodiscard]] std::optional<log::Checkpoint> checkpoint() const override;
  [[nodiscard]] std::optional<std::uint32_t> key_id() const override { return named_key; }
  [[nodiscard]] std::optional<log::Checkpoint> witnessed() const override;
  [[nodiscard]] std::vector<UsedCheckpoint> used_checkpoints() const override;
  [[nodiscard]] std::optional<TimeStamp> stamp() const override { return time; }
  [[nodiscard]] Status stamp_damage() const override { return time_damage; }
  [[nodiscard]] bool has_damaged_copy() const override { return copy_damaged; }

  void on_file(std::uint32_t key_id) override;
  void on_snapshot(const log::SnapshotInfo& snapshot, const AuditTail& audit) override;
  void on_commit(const log::CommitInfo& commit, const AuditTail& audit) override;
  [[nodiscard]] Status conclude(const ReadHistory& history) override;

  [[nodiscard]] Status judge(const History& history, Verdict& verdict) const override;
  void drop_what_contradicts() override;

 private:
  std::optional<CheckpointWatch> watch_;
};

class VaultHashWitness final : public Witness {
 public:
  // A SecretStore is of one store alone, and keeps time; a token may be handed from one to the next.
  enum class Items : std::uint8_t { kVaultHash, kVaultHashAndTime };

  // `store`: null while it is not connected.
  VaultHashWitness(const WitnessKind& kind, const WitnessContext& context, Items items,
                   std::function<SecretStore*()> store)
      : Witness(kind), ring_(context.ring), keys_(context.keys), items_(items), store_(std::move(store)) {}

  [[nodiscard]] bool is_connected() const override { return store_() != nullptr; }
  [[nodiscard]] Result<std::unique_ptr<Observation>> observe() override;
  [[nodiscard]] Result<bool> is_of_another_store() override;
  [[nodiscard]] Status check_time(const Observation& found, const Now& now,
                                  std::uint64_t tolerance_ms) override;
  [[nodiscard]] Status try_write(const Observation& found) override;
  void adopt(Observation& found, std::uint64_t synced) override;
  [[nodiscard]] Status begin(const VaultHash& first, const std::optional<TimeStamp>& stamp) override;
  void rekeyed() override;

  [[nodiscard]] Status move(const Move& move) override;
  [[nodiscard]] Status alarm() const override;
  [[nodiscard]] bool alarmed() const override { return alarmed_; }
  [[nodiscard]] WitnessPosition position() const override;

 private:
  [[nodiscard]] bool keeps_time() const { return items_ == Items::kVaultHashAndTime; }
  [[nodiscard]] std::string where() const { return std::string(kind().noun); }
  [[nodiscard]] Status damaged_item(SecretName name, const Status& found) const;
  [[nodiscard]] Bytes encode(const VaultHash& value) const;
  [[nodiscard]] Bytes encode(const TimeStamp& stamp) const;
  [[nodiscard]] Status observe_vault_hash(VaultHashObservation& found);
  [[nodiscard]] Status observe_time(VaultHashObservation& found);
  [[nodiscard]] Status check_present();
  // Whether one of the attempts left it. Then nothing before it can still come.
  [[nodiscard]] bool settle_attempt(ByteView present);
  [[nodiscard]] Status save(const Move& move);

  KeyRing& ring_;
  const WitnessKeys& keys_;
  const Items items_;
  const std::function<SecretStore*()> store_;
  Bytes raw_;                     // VaultHash as this process last saw it
  std::deque<Digest> attempted_;  // the saves since, in their order, whose outcome is not known
  bool known_ = false;
  bool supersede_ = false;  // with the next move no earlier value stays
  std::optional<TimeStamp> stamp_moved_;

  mutable Mutex mutex_;
  WitnessPosition position_ SR_GUARDED_BY(mutex_);
  Status alarm_ SR_GUARDED_BY(mutex_);
  std::atomic<bool> alarmed_{false};  // as alarm_, for those who cannot wait for a lock
};

}  // namespace strongroom::store
