// A root that a TPM gives out only up to a value of the store's counter: the connection, the slot on disk, and the sealing
// of the next one.
//
// Invariant: each sealing draws a new root. So a slot of an earlier epoch is of no use beyond the end of that epoch.
// Serialised by the engine's persistence lock once the store is open.
#pragma once

#include <memory>
#include <string>

#include "protectors/key_protector.h"
#include "protectors/tpm/store_indices.h"
#include "protectors/tpm/tpm_slot.h"

namespace strongroom::store {

class SealedRoot {
 public:
  explicit SealedRoot(const ProtectorContext& context) : context_(context) {}

  // Once; later calls change nothing. Asks the TPM what it is.
  [[nodiscard]] Status connect(const std::string& tcti, const roots::TpmName& parent,
                               const roots::TpmName& endorsement);
  // After the root was refused: whatever TPM is there, under its PCRs of now and the PIN of the options.
  [[nodiscard]] Status connect_anew(const KeySlot* slot);
  void share(const SealedRoot& other) { tpm_ = other.tpm_; }

  [[nodiscard]] Result<SecretBytes> open(const PersistenceHeader& header, const KeySlot& slot);
  // In place of the slot that `next` has: given out while the counter is at most `at_most`.
  [[nodiscard]] Status seal(PersistenceHeader& next, std::uint64_t at_most);
  // The slot as it is, for another DEK.
  [[nodiscard]] Result<KeySlot> wrap(std::uint32_t slot_id, ByteView dek, const PersistenceHeader& next);
  void adopt(const KeySlot& slot);
  // New places and secrets into the core data, and the TPM that is there into the slot that is sealed next.
  [[nodiscard]] Status plan_indices();
  // What a COLDSTART seals: PCRs and PIN as the options have them.
  [[nodiscard]] Status choose_policy();
  void move_to_counter(std::uint32_t index) { slot_.counter_index = index; }
  void forget_pin() { pin_authorisation_ = SecretBytes(); }

  // Null before it is connected.
  [[nodiscard]] const std::shared_ptr<roots::Tpm>& tpm() const { return tpm_; }
  [[nodiscard]] const std::string& description() const { return description_; }
  [[nodiscard]] StoreIndices indices() const { return {*tpm_, context_.ring.header()}; }
  [[nodiscard]] std::uint64_t at_most() const { return slot_.at_most; }
  // After connect_anew(): than the one that holds the counter.
  [[nodiscard]] bool is_another_tpm() const { return is_another_tpm_; }

 private:
  [[nodiscard]] Status attach(const std::string& tcti, const roots::TpmName& parent,
                              const roots::TpmName& endorsement);
  void learn_description();
  [[nodiscard]] Status choose_pin();
  [[nodiscard]] Result<bool> has_counter_at(const std::string& tcti, std::uint32_t index,
                                            const PersistenceHeader& header) const;
  [[nodiscard]] Result<std::unique_ptr<roots::Tpm>> open_tpm(const std::string& tcti,
                                                             const roots::TpmName& parent,
                                                             const roots::TpmName& endorsement) const;

  ProtectorContext context_;
  std::shared_ptr<roots::Tpm> tpm_;
  std::string description_;
  TpmSlot slot_;  // of the persistence.bin on disk, or what is sealed next
  SecretBytes pin_authorisation_;
  bool is_another_tpm_ = false;
};

}  // namespace strongroom::store
