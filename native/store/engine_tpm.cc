// Storage 'tpm': the TPM and its counter from COLDSTART to decommission. What happens while a store is open stands in
// engine_anchor.cc.
#include <algorithm>

#include "store/engine_state.h"

namespace strongroom::store {
namespace {

bool is_of_instance(const Digest& label, std::string_view instance) {
  const Digest wanted = counter_label(instance, {});
  return std::equal(label.begin(), label.begin() + 16, wanted.begin());
}

}  // namespace

Status Engine::State::connect_tpm(const std::string& tcti, const roots::TpmName& parent,
                                  const roots::TpmName& endorsement) {
  if (tpm) return {};
  const roots::TpmOpener& open = options.tpm.open;
  SR_ASSIGN(std::unique_ptr<roots::Tpm> opened,
            open ? open(tcti, parent, endorsement) : roots::Tpm::open(tcti, parent, endorsement));
  tpm = std::move(opened);
  if (Result<std::string> description = tpm->description(); description.ok())
    tpm_description = *std::move(description);
  return {};
}

// After the root was refused: whatever TPM is there, under its PCRs of now.
Status Engine::State::connect_tpm_for_reseal() {
  const KeySlot* slot = root_slot();
  if (slot == nullptr || slot->type != SlotType::kTpm)
    return {Reason::kRootUnavailable, "persistence.bin has no key slot of a TPM"};
  SR_ASSIGN(TpmSlot former, parse_tpm_parameters(slot->parameters));
  if (!options.tpm.tcti.empty()) former.tcti = options.tpm.tcti;
  SR_TRY(connect_tpm(former.tcti, {}, {}));
  const roots::TpmName endorsement_former = former.endorsement_name;
  tpm_slot = std::move(former);
  SR_ASSIGN(tpm_slot.parent_name, tpm->parent_name());
  SR_ASSIGN(tpm_slot.endorsement_name, tpm->endorsement_name());
  tpm_is_another = tpm_slot.endorsement_name != endorsement_former;
  if (options.tpm.pcrs) tpm_slot.pcrs = *options.tpm.pcrs;
  if (tpm_slot.pcrs != 0) {
    SR_ASSIGN(tpm_slot.pcr_digest, tpm->pcr_digest(tpm_slot.pcrs));
  }
  tpm_slot.has_pin = !options.tpm.pin.empty();
  if (tpm_slot.has_pin) {
    tpm_slot.pin = PasswordParameters{crypto::random_array<16>(), options.argon2};
    SR_ASSIGN(pin_authorisation, stretch_pin(options.tpm.pin.view(), tpm_slot.pin));
  } else {
    pin_authorisation = SecretBytes();
  }
  return {};
}

Result<std::optional<roots::CounterInfo>> Engine::State::find_counter() {
  const std::string& instance = header.instance;
  SR_ASSIGN(const std::vector<roots::CounterInfo> counters,
            tpm->find_counters(first_counter_index(instance), kCounterPlaces));
  for (const roots::CounterInfo& counter : counters) {
    if (!counter.fits || !is_of_instance(counter.label, instance)) continue;
    // Left by a COLDSTART that was finding out the next value.
    if (counter.label == counter_label(instance, {})) continue;
    return std::optional(counter);
  }
  return std::optional<roots::CounterInfo>();
}

Status Engine::State::refuse_counter_left_over(const std::optional<ParsedPersistence>& planned) {
  SR_TRY(connect_tpm(options.tpm.tcti, {}, {}));
  header.instance = options.instance;
  SR_ASSIGN(const std::optional<roots::CounterInfo> found, find_counter());
  if (!found) return {};
  Status refusal(Reason::kPartialRestore, "the TPM's counter remembers a store with the instance name '" +
                                              options.instance + "', and its files are not in " +
                                              options.directory);
  if (!planned || found->label != counter_label(options.instance, planned->header.storage_id)) return refusal;
  if (found->written) {
    // At its initial point only if the root that was sealed to that point is not refused by the TPM.
    Status opened = refusal;
    for (const KeySlot& slot : planned->header.slots) {
      if (slot.type != SlotType::kTpm) continue;
      Result<SecretBytes> dek = open_by_tpm(planned->header, slot);
      opened = dek.ok() ? open_core_data(*planned, dek->view()).status() : dek.status();
    }
    if (opened.is(Reason::kVaultRolledBack)) return refusal;
    SR_TRY(opened);
  }
  return tpm->undefine_counter(found->index);
}

// Also takes away what is left of an interrupted one.
Result<std::uint64_t> Engine::State::foresee_counter() {
  const Digest label = counter_label(header.instance, {});
  const std::uint32_t first = first_counter_index(header.instance);
  SR_ASSIGN(const std::vector<roots::CounterInfo> counters, tpm->find_counters(first, kCounterPlaces));
  for (const roots::CounterInfo& counter : counters) {
    if (counter.fits && counter.label == label) SR_TRY(tpm->undefine_counter(counter.index));
  }
  SecretBytes secret(crypto::kKeyBytes);
  crypto::random_bytes(secret.span());
  const std::uint32_t index = core.counter_index;
  SR_TRY(tpm->define_counter(index, label, secret.view()));
  const auto value = [&]() -> Result<std::uint64_t> {
    const roots::TpmName name = roots::counter_name(index, label);
    SR_TRY(tpm->increment_counter(index, name, secret.view()));
    return tpm->read_counter(index, name);
  }();
  SR_TRY(tpm->undefine_counter(index));
  if (!value.ok()) return value.status();
  return *value + 1;
}

Status Engine::State::plan_counter() {
  const std::uint32_t first = first_counter_index(header.instance);
  SR_ASSIGN(const std::vector<roots::CounterInfo> taken, tpm->find_counters(first, kCounterPlaces));
  core.counter_index = 0;
  for (std::uint32_t index = first; index < first + kCounterPlaces; ++index) {
    const bool is_taken = std::any_of(taken.begin(), taken.end(), [&](const roots::CounterInfo& counter) {
      return counter.index == index && !(counter.fits && is_of_instance(counter.label, header.instance));
    });
    if (is_taken) continue;
    core.counter_index = index;
    break;
  }
  if (core.counter_index == 0) {
    return {Reason::kTpmRefused, "the NV indices for the instance name '" + header.instance +
                                     "' are all taken by other programs; choose another name"};
  }
  core.counter_secret = SecretBytes(crypto::kKeyBytes);
  crypto::random_bytes(core.counter_secret.span());

  tpm_slot.tcti = options.tpm.tcti.empty() ? tpm_slot.tcti : options.tpm.tcti;
  SR_ASSIGN(tpm_slot.parent_name, tpm->parent_name());
  SR_ASSIGN(tpm_slot.endorsement_name, tpm->endorsement_name());
  tpm_slot.counter_index = core.counter_index;
  return {};
}

Result<std::uint64_t> Engine::State::make_counter() {
  const Digest label = counter_label(header.instance, header.storage_id);
  const roots::TpmName name = roots::counter_name(core.counter_index, label);
  SR_TRY(tpm->define_counter(core.counter_index, label, core.counter_secret.view()));
  SR_TRY(tpm->increment_counter(core.counter_index, name, core.counter_secret.view()));
  return tpm->read_counter(core.counter_index, name);
}

Status Engine::State::remove_counter() {
  SR_ASSIGN(const std::optional<roots::CounterInfo> found, find_counter());
  if (!found || found->label != counter_label(header.instance, header.storage_id)) return {};
  return tpm->undefine_counter(found->index);
}

Status Engine::State::refuse_counter_of_another_store() {
  SR_ASSIGN(const std::optional<roots::CounterInfo> found, find_counter());
  if (!found || found->label == counter_label(header.instance, header.storage_id)) return {};
  return {Reason::kWitnessReplaced,
          "the TPM holds the counter of another store with the instance name '" + header.instance + "'"};
}

Status Engine::State::seal_slot(PersistenceHeader& header_new, std::uint64_t at_most) {
  TpmSlot next = tpm_slot;
  next.at_most = at_most;
  SR_ASSIGN(KeySlot slot, seal_tpm_slot(*tpm, next_slot_id(), std::move(next), pin_authorisation.view(),
                                        dek.view(), header_new));
  std::erase_if(header_new.slots, [](const KeySlot& other) { return other.type == SlotType::kTpm; });
  header_new.slots.push_back(std::move(slot));
  return {};
}

// `header` is that of the file on disk.
void Engine::State::adopt_slot() {
  const KeySlot* slot = root_slot();
  if (slot != nullptr && slot->type == SlotType::kTpm) {
    if (Result<TpmSlot> sealed = parse_tpm_parameters(slot->parameters); sealed.ok())
      tpm_slot = *std::move(sealed);
  }
  if (slot != nullptr && slot->type == SlotType::kPkcs11) {
    if (Result<TokenSlot> wrapped = parse_token_parameters(slot->parameters); wrapped.ok())
      token_slot = *std::move(wrapped);
  }
}

// The root is sealed to the value that the counter is about to get, so that an interrupted COLDSTART can be told from
// files of that time which were put back later.
Status Engine::State::provision_tpm() {
  core.witnesses = kWitnessTamperFile | kWitnessTpm;
  SR_TRY(plan_counter());
  tpm_slot.pcrs = options.tpm.pcrs.value_or(0);
  if (tpm_slot.pcrs != 0) {
    SR_ASSIGN(tpm_slot.pcr_digest, tpm->pcr_digest(tpm_slot.pcrs));
  }
  tpm_slot.has_pin = !options.tpm.pin.empty();
  pin_authorisation = SecretBytes();  // of an interrupted COLDSTART
  if (tpm_slot.has_pin) {
    tpm_slot.pin = PasswordParameters{crypto::random_array<16>(), options.argon2};
    SR_ASSIGN(pin_authorisation, stretch_pin(options.tpm.pin.view(), tpm_slot.pin));
  }
  SR_ASSIGN(const std::uint64_t foreseen, foresee_counter());
  SR_TRY(seal_slot(header, foreseen));
  adopt_slot();
  return {};
}

Result<SecretBytes> Engine::State::open_by_tpm(const PersistenceHeader& candidate, const KeySlot& slot) {
  SR_ASSIGN(TpmSlot named, parse_tpm_parameters(slot.parameters));
  SR_TRY(connect_tpm(options.tpm.tcti.empty() ? named.tcti : options.tpm.tcti, named.parent_name,
                     named.endorsement_name));
  // One connection serves every candidate and, at COLDSTART, was made before a parent was known.
  SR_ASSIGN(const roots::TpmName parent, tpm->parent_name());
  if (parent != named.parent_name) {
    return Status(Reason::kTpmReplaced, "the TPM's storage parent is another one than sealed the root");
  }
  if (options.tpm.pcrs && *options.tpm.pcrs != named.pcrs) {
    return Status(Reason::kInvalidOption,
                  "storage.pcrs: fixed at COLDSTART; `strongroom reseal` changes them");
  }
  if (named.has_pin) {
    SR_ASSIGN(pin_authorisation, stretch_pin(options.tpm.pin.view(), named.pin));
  }
  Result<SecretBytes> opened = open_tpm_slot(*tpm, slot, named, pin_authorisation.view(), candidate);
  if (opened.ok()) tpm_slot = std::move(named);
  return opened;
}

void Engine::State::make_counter_witness() {
  const Digest label = counter_label(header.instance, header.storage_id);
  counter = std::make_unique<CounterWitness>(
      tpm, core.counter_index, roots::counter_name(core.counter_index, label), core.counter_secret.clone());
}

// Before the vault is read, so that with a live writer the vault can only be newer.
Status Engine::State::gather_counter() {
  if (!has_counter()) return {};
  if (!counter) make_counter_witness();
  // Whatever bears its name in another TPM was made there by somebody else, or by a reseal that was cut.
  if (tpm_is_another) {
    evidence.counter.damage = Status(Reason::kWitnessReplaced, "this is another TPM than the counter's");
    return {};
  }
  const Result<std::uint64_t> value = counter->read();
  if (value.ok()) {
    evidence.counter.value = *value;
  } else if (value.is(Reason::kWitnessMissing) || value.is(Reason::kWitnessReplaced) ||
             value.is(Reason::kTpmRefused)) {
    evidence.counter.damage = value.status();
  } else {
    return value.status();
  }
  return {};
}

void Engine::State::adopt_anchor() {
  const log::Record* record = index.find(kAnchorKey);
  if (record == nullptr || !anchor_found) return;
  log::Point point{record->generation(), {}};
  const bool settled = anchor_found->number == evidence.counter.value;
  // Before the increment of an ordinary anchor, and before a base is written, the tamper file is synced; an act of
  // authority names the counter as it stands, and only the anchor behind it moves the witnesses.
  bool moved_before = record->generation() <= loaded.base.generation;
  log::Point before;  // the anchor before it; the zero point when a compaction has taken that commit away
  for (const auto& [place, kind] : anchor_places) {
    if (place.generation < point.generation && kind != log::CommitKind::kBaseHead) before = place;
    if (place.generation != point.generation) continue;
    point = place;
    moved_before |= kind == log::CommitKind::kAnchor || kind == log::CommitKind::kClose;
  }
  evidence.counter.witnessed = settled && moved_before ? point.generation : 0;
  counter->adopt(*anchor_found, point, settled, settled ? point : before);
}

Status Engine::State::read_persistence_again() {
  SR_ASSIGN(const std::vector<ParsedPersistence> candidates, read_persistence());
  Status refusal;
  for (const ParsedPersistence& candidate : candidates) {
    if (candidate.header.key_id != header.key_id)
      return {Reason::kLocked, "the DEK was rotated while the store was being read; try again"};
    refusal = open_core(candidate, dek.clone());
    if (refusal.ok()) break;
  }
  return refusal;
}

// A live writer moves the counter and replaces persistence.bin between our looks at them. The vault was read between
// two looks at the counter, so its anchor may be anything from the first to one beyond the second; and the persistence.bin
// that it names must be the one from before or from after.
Result<bool> Engine::State::looks_consistent() {
  CounterEvidence& found = evidence.counter;
  if (!found.damage.ok() || !found.anchored || *found.anchored < found.value) return true;
  SR_ASSIGN(const std::uint64_t after, counter->read());
  if (*found.anchored <= after + 1) found.value = std::min(*found.anchored, after);
  adopt_anchor();
  verdict = judge(evidence);
  if (check_persistence_record().ok()) return true;
  const Digest before = persistence_hash;
  SR_TRY(read_persistence_again());
  return persistence_hash == before || check_persistence_record().ok();
}

// With the header lock held; `tpm_slot` may be under way to the next epoch on another thread.
TpmStatus Engine::State::describe_tpm(const CounterWitness::Position& position) {
  TpmStatus out;
  out.description = tpm_description;
  out.counter_index = core.counter_index;
  out.counter = position.newest.number;
  out.increments = position.newest.increments;
  out.first_wall_ms = position.newest.first_wall_ms;
  const KeySlot* slot = root_slot();
  if (slot == nullptr) return out;
  const Result<TpmSlot> sealed = parse_tpm_parameters(slot->parameters);
  if (!sealed.ok()) return out;
  out.tcti = sealed->tcti;
  out.epoch_end = sealed->at_most;
  out.pcrs = sealed->pcrs;
  out.has_pin = sealed->has_pin;
  return out;
}

Status Engine::State::check_time(const Now& now) {
  SR_TRY(check_clock(*stamp, now, core.clock_tolerance_ms));
  if (secret_stamp) SR_TRY(check_clock(*secret_stamp, now, core.clock_tolerance_ms));
  if (!counter || !anchor_found) return {};
  SR_ASSIGN(const roots::TpmClock clock, counter->tpm().clock());
  const std::int64_t behind_ms = tpm_floor_ms(*anchor_found, clock) - now.wall_ms;
  if (behind_ms <= static_cast<std::int64_t>(core.clock_tolerance_ms)) return {};
  return {Reason::kClockRolledBack, "the system clock is " + std::to_string(behind_ms / 1000) +
                                        " s behind what the TPM's clock counted"};
}

}  // namespace strongroom::store
