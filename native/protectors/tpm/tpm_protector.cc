#include "protectors/tpm/tpm_protector.h"

#include "protectors/registry.h"

namespace strongroom::store {
namespace {

std::string index_name(std::uint32_t index) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out = "NV index 0x00000000";
  for (std::size_t at = out.size(); index != 0; index >>= 4) out[--at] = kDigits[index & 15];
  return out;
}

TpmSlotStatus status_of(const TpmSlot& slot) { return {slot.tcti, slot.pcrs, slot.has_pin}; }

}  // namespace

Status TpmProtector::refuse_leftovers(const ParsedPersistence* interrupted) {
  const std::string& instance = context().options.instance;
  SR_TRY(root_.connect(context().options.tpm.tcti, {}, {}));
  context().ring.planned_header().instance = instance;
  SR_ASSIGN(const std::vector<roots::NvIndexInfo> found, root_.indices().find());
  Status refusal(Reason::kPartialRestore, "the TPM's NV indices remember a store with the instance name '" +
                                              instance + "', and its files are not in " +
                                              context().options.directory);
  for (const roots::NvIndexInfo& info : found) {
    if (interrupted == nullptr || info.label != index_label(instance, interrupted->header.storage_id))
      return refusal;
    if (!info.written || info.kind != roots::NvKind::kCounter) continue;
    // At its initial checkpoint only if the root that was sealed to that checkpoint is not refused by the TPM.
    Status opened = refusal;
    for (const KeySlot& slot : interrupted->header.slots) {
      if (kind_of(slot) != &kind()) continue;
      Result<SecretBytes> dek = root_.open(interrupted->header, slot);
      opened = dek.ok() ? open_core_data(*interrupted, dek->view()).status() : dek.status();
    }
    if (opened.is(Reason::kVaultRolledBack)) return refusal;
    SR_TRY(opened);
  }
  for (const roots::NvIndexInfo& info : found) SR_TRY(root_.tpm()->undefine(info.index));
  return {};
}

Status TpmProtector::plan() {
  KeyRing& ring = context().ring;
  ring.planned_core().witnesses = kWitnessTamperFile | kind().witnesses;
  SR_TRY(root_.plan_indices());
  SR_TRY(root_.choose_policy());
  SR_ASSIGN(const std::uint64_t foreseen, root_.indices().foresee_counter(ring.core().counter_index));
  SR_TRY(root_.seal(ring.planned_header(), foreseen));
  root_.adopt(*root_slot(ring.header()));
  return {};
}

Status TpmProtector::provision() {
  const StoreIndices indices = root_.indices();
  SR_ASSIGN(const std::uint64_t made, indices.make(PlannedIndices::of(context().ring.core())));
  if (made == root_.at_most()) return {};
  SR_TRY(indices.remove());
  return {Reason::kTpmUnavailable, "another program moved a counter of the TPM meanwhile; start again"};
}

Status TpmProtector::replace_lost(const Status& /*refused*/) {
  return root_.connect_anew(root_slot(context().ring.header()));
}

void TpmProtector::describe(ProtectorStatus& status) const {
  const KeyRing& ring = context().ring;
  TpmStatus& out = status.tpm.emplace();
  out.description = root_.description();
  out.counter_index = ring.core().counter_index;
  out.extend_index = ring.core().extend_index;
  const KeySlot* slot = root_slot(ring.header());
  if (slot == nullptr) return;
  const Result<TpmSlot> sealed = parse_tpm_parameters(slot->parameters);
  if (!sealed.ok()) return;
  static_cast<TpmSlotStatus&>(out) = status_of(*sealed);
  out.seal_epoch_end = sealed->at_most;
}

void TpmProtector::describe_slot(const KeySlot& slot, SlotDescription& description) {
  const Result<TpmSlot> named = parse_tpm_parameters(slot.parameters);
  if (named.ok()) description.tpm = status_of(*named);
}

std::unique_ptr<KeyProtector> TpmProtector::beside(ProtectorContext context,
                                                   ProtectorOptions& options) const {
  options.tpm.pin = this->context().options.tpm.pin.clone();
  auto other = std::make_unique<TpmProtector>(kind(), std::move(context));
  other->root_.share(root_);
  return other;
}

Result<bool> TpmRemoval::is_removed() {
  if (!root_.tpm()) return false;
  SR_ASSIGN(const bool is_there, root_.indices().has_own());
  return !is_there;
}

Result<bool> TpmRemoval::reach(const KeySlot& root, const Status& /*opened*/,
                               std::vector<std::string>& missing) {
  if (!root_.tpm()) SR_TRY(root_.connect_anew(&root));
  SR_ASSIGN(const TpmSlot named, parse_tpm_parameters(root.parameters));
  SR_ASSIGN(const bool is_there, root_.indices().has_own());
  SR_ASSIGN(const roots::TpmName endorsement, root_.tpm()->endorsement_name());
  // In the TPM that sealed the root they are gone for good: it was cleared, or a decommission was cut behind them.
  if (!is_there && endorsement != named.endorsement_name)
    missing.push_back("the NV indices of the instance '" + context_.ring.header().instance +
                      "', because this is another TPM than the one that sealed the root");
  return true;
}

Status TpmRemoval::find_leftovers(std::vector<Leftover>& found) {
  SR_TRY(root_.connect(context_.options.tpm.tcti, {}, {}));
  SR_ASSIGN(const std::vector<roots::NvIndexInfo> indices, root_.indices().find());
  for (const roots::NvIndexInfo& info : indices)
    found.push_back({index_name(info.index), "the TPM", storage_id_of(info.label)});
  return {};
}

Status TpmRemoval::remove_leftovers(const std::vector<Leftover>& /*found*/) {
  SR_ASSIGN(const std::vector<roots::NvIndexInfo> indices, root_.indices().find());
  for (const roots::NvIndexInfo& info : indices) SR_TRY(root_.tpm()->undefine(info.index));
  return {};
}

}  // namespace strongroom::store
