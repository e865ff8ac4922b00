#include "protectors/tpm/sealed_root.h"

#include <algorithm>

#include "protectors/registry.h"

namespace strongroom::store {

Result<std::unique_ptr<roots::Tpm>> SealedRoot::open_tpm(const std::string& tcti,
                                                         const roots::TpmName& parent,
                                                         const roots::TpmName& endorsement) const {
  const roots::TpmOpener& open = context_.options.tpm.open;
  return open ? open(tcti, parent, endorsement) : roots::Tpm::open(tcti, parent, endorsement);
}

Status SealedRoot::attach(const std::string& tcti, const roots::TpmName& parent,
                          const roots::TpmName& endorsement) {
  if (tpm_) return {};
  SR_ASSIGN(std::unique_ptr<roots::Tpm> opened, open_tpm(tcti, parent, endorsement));
  tpm_ = std::move(opened);
  return {};
}

void SealedRoot::learn_description() {
  if (!description_.empty()) return;
  if (Result<std::string> description = tpm_->description(); description.ok())
    description_ = *std::move(description);
}

Status SealedRoot::connect(const std::string& tcti, const roots::TpmName& parent,
                           const roots::TpmName& endorsement) {
  SR_TRY(attach(tcti, parent, endorsement));
  learn_description();
  return {};
}

Status SealedRoot::choose_pin() {
  const TpmOptions& options = context_.options.tpm;
  pin_authorisation_ = SecretBytes();
  slot_.has_pin = !options.pin.empty();
  if (!slot_.has_pin) return {};
  slot_.pin = PasswordParameters{crypto::random_array<16>(), context_.options.argon2};
  SR_ASSIGN(pin_authorisation_, stretch_pin(options.pin.view(), slot_.pin));
  return {};
}

Status SealedRoot::connect_anew(const KeySlot* slot) {
  if (slot == nullptr) return {Reason::kRootUnavailable, "persistence.bin has no key slot of a TPM"};
  SR_ASSIGN(TpmSlot former, parse_tpm_parameters(slot->parameters));
  const TpmOptions& options = context_.options.tpm;
  if (!options.tcti.empty()) former.tcti = options.tcti;
  SR_TRY(connect(former.tcti, {}, {}));
  const roots::TpmName endorsement_former = former.endorsement_name;
  slot_ = std::move(former);
  SR_ASSIGN(slot_.parent_name, tpm_->parent_name());
  SR_ASSIGN(slot_.endorsement_name, tpm_->endorsement_name());
  is_another_tpm_ = slot_.endorsement_name != endorsement_former;
  if (options.pcrs) slot_.pcrs = *options.pcrs;
  SR_TRY(read_pcrs(*tpm_, slot_));
  return choose_pin();
}

// A TPM that was cleared has lost its NV indices, too.
Result<bool> SealedRoot::has_counter_at(const std::string& tcti, std::uint32_t index,
                                        const PersistenceHeader& header) const {
  SR_ASSIGN(const std::unique_ptr<roots::Tpm> opened, open_tpm(tcti, {}, {}));
  SR_ASSIGN(const std::vector<roots::NvIndexInfo> found, opened->find_indices(index, 1));
  return !found.empty() && found.front().label == index_label(header.instance, header.storage_id);
}

Result<SecretBytes> SealedRoot::open(const PersistenceHeader& header, const KeySlot& slot) {
  const TpmOptions& options = context_.options.tpm;
  SR_ASSIGN(TpmSlot named, parse_tpm_parameters(slot.parameters));
  const std::string& tcti = options.tcti.empty() ? named.tcti : options.tcti;
  Status connected = attach(tcti, named.parent_name, named.endorsement_name);
  if (connected.is(Reason::kTpmCleared)) {
    SR_ASSIGN(const bool is_here, has_counter_at(tcti, named.counter_index, header));
    if (!is_here) return connected;
    return Status(Reason::kTpmKeyMissing,
                  "the storage key that the root was sealed under was removed from the TPM");
  }
  SR_TRY(connected);
  // One connection serves every candidate and, at COLDSTART, was made before a parent was known.
  SR_ASSIGN(const roots::TpmName parent, tpm_->parent_name());
  if (parent != named.parent_name) {
    return Status(Reason::kTpmReplaced, "the TPM's storage parent is another one than sealed the root");
  }
  if (options.pcrs && *options.pcrs != named.pcrs) {
    return Status(Reason::kInvalidOption,
                  "protector.pcrs: fixed at COLDSTART; `strongroom reseal` changes them");
  }
  if (named.has_pin) {
    SR_ASSIGN(pin_authorisation_, stretch_pin(options.pin.view(), named.pin));
  }
  Result<SecretBytes> opened = open_tpm_slot(*tpm_, slot, named, pin_authorisation_.view(), header);
  if (opened.ok()) {
    learn_description();  // which the unsealing has brought along
    slot_ = std::move(named);
  }
  return opened;
}

Result<KeySlot> SealedRoot::wrap(std::uint32_t slot_id, ByteView dek, const PersistenceHeader& next) {
  return seal_tpm_slot(*tpm_, slot_id, slot_, pin_authorisation_.view(), dek, next);
}

Status SealedRoot::seal(PersistenceHeader& next, std::uint64_t at_most) {
  TpmSlot sealed = slot_;
  sealed.at_most = at_most;
  SR_ASSIGN(KeySlot slot, seal_tpm_slot(*tpm_, context_.next_slot_id(), std::move(sealed),
                                        pin_authorisation_.view(), context_.ring.dek().view(), next));
  std::erase_if(next.slots, [&slot](const KeySlot& other) { return other.type == slot.type; });
  next.slots.push_back(std::move(slot));
  return {};
}

void SealedRoot::adopt(const KeySlot& slot) {
  if (Result<TpmSlot> sealed = parse_tpm_parameters(slot.parameters); sealed.ok()) slot_ = *std::move(sealed);
}

Status SealedRoot::plan_indices() {
  SR_ASSIGN(const PlannedIndices planned, indices().plan());
  planned.put_into(context_.ring.planned_core());
  const TpmOptions& options = context_.options.tpm;
  if (!options.tcti.empty()) slot_.tcti = options.tcti;
  SR_ASSIGN(slot_.parent_name, tpm_->parent_name());
  SR_ASSIGN(slot_.endorsement_name, tpm_->endorsement_name());
  slot_.counter_index = planned.counter.index;
  return {};
}

Status SealedRoot::choose_policy() {
  slot_.pcrs = context_.options.tpm.pcrs.value_or(0);
  SR_TRY(read_pcrs(*tpm_, slot_));
  return choose_pin();
}

}  // namespace strongroom::store
