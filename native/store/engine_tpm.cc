// Key protector 'tpm': the TPM and its counter from COLDSTART to decommission. What happens while a store is open stands in
// engine_anchor.cc.
#include <algorithm>

#include "base/duration.h"
#include "store/engine_state.h"

namespace strongroom::store {
namespace {

bool is_of_instance(const Digest& label, std::string_view instance) {
  const Digest wanted = index_label(instance, {});
  return std::equal(label.begin(), label.begin() + 16, wanted.begin());
}

SecretBytes random_secret() {
  SecretBytes secret(crypto::kKeyBytes);
  crypto::random_bytes(secret.span());
  return secret;
}

// What this instance has there is about to be removed, and so no obstacle, but for `kept`.
Result<std::uint32_t> free_index(roots::Tpm& tpm, const std::string& instance,
                                 const std::vector<std::uint32_t>& kept) {
  const std::uint32_t first = first_counter_index(instance);
  SR_ASSIGN(const std::vector<roots::NvIndexInfo> taken, tpm.find_indices(first, kIndexPlaces));
  for (std::uint32_t index = first; index < first + kIndexPlaces; ++index) {
    const bool is_taken = std::find(kept.begin(), kept.end(), index) != kept.end() ||
                          std::any_of(taken.begin(), taken.end(), [&](const roots::NvIndexInfo& info) {
                            return info.index == index && (info.kind == roots::NvKind::kForeign ||
                                                           !is_of_instance(info.label, instance));
                          });
    if (!is_taken) return index;
  }
  return Status(Reason::kTpmRefused, "the NV indices for the instance name '" + instance +
                                         "' are all taken by other programs; choose another name");
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
  SR_TRY(read_pcrs(*tpm, tpm_slot));
  tpm_slot.has_pin = !options.tpm.pin.empty();
  if (tpm_slot.has_pin) {
    tpm_slot.pin = PasswordParameters{crypto::random_array<16>(), options.argon2};
    SR_ASSIGN(pin_authorisation, stretch_pin(options.tpm.pin.view(), tpm_slot.pin));
  } else {
    pin_authorisation = SecretBytes();
  }
  return {};
}

Result<std::vector<roots::NvIndexInfo>> Engine::State::find_indices() {
  const std::string& instance = ring.header().instance;
  SR_ASSIGN(std::vector<roots::NvIndexInfo> found,
            tpm->find_indices(first_counter_index(instance), kIndexPlaces));
  std::erase_if(found, [&](const roots::NvIndexInfo& info) {
    // The label without a storage id is that of a COLDSTART that was finding out the next value.
    return info.kind == roots::NvKind::kForeign || !is_of_instance(info.label, instance) ||
           info.label == index_label(instance, {});
  });
  return found;
}

Status Engine::State::refuse_indices_left_over(const std::optional<ParsedPersistence>& planned) {
  SR_TRY(connect_tpm(options.tpm.tcti, {}, {}));
  ring.planned_header().instance = options.instance;
  SR_ASSIGN(const std::vector<roots::NvIndexInfo> found, find_indices());
  Status refusal(Reason::kPartialRestore, "the TPM's NV indices remember a store with the instance name '" +
                                              options.instance + "', and its files are not in " +
                                              options.directory);
  for (const roots::NvIndexInfo& info : found) {
    if (!planned || info.label != index_label(options.instance, planned->header.storage_id)) return refusal;
    if (!info.written || info.kind != roots::NvKind::kCounter) continue;
    // At its initial checkpoint only if the root that was sealed to that checkpoint is not refused by the TPM.
    Status opened = refusal;
    for (const KeySlot& slot : planned->header.slots) {
      if (slot.type != SlotType::kTpm) continue;
      Result<SecretBytes> dek = open_by_tpm(planned->header, slot);
      opened = dek.ok() ? open_core_data(*planned, dek->view()).status() : dek.status();
    }
    if (opened.is(Reason::kVaultRolledBack)) return refusal;
    SR_TRY(opened);
  }
  for (const roots::NvIndexInfo& info : found) SR_TRY(tpm->undefine(info.index));
  return {};
}

// Also takes away what is left of an interrupted one.
Result<std::uint64_t> Engine::State::foresee_counter(std::uint32_t index) {
  const Digest label = index_label(ring.header().instance, {});
  const std::uint32_t first = first_counter_index(ring.header().instance);
  SR_ASSIGN(const std::vector<roots::NvIndexInfo> indices, tpm->find_indices(first, kIndexPlaces));
  for (const roots::NvIndexInfo& info : indices) {
    if (info.kind == roots::NvKind::kCounter && info.label == label) SR_TRY(tpm->undefine(info.index));
  }
  const SecretBytes secret = random_secret();
  SR_TRY(tpm->define(roots::NvKind::kCounter, index, label, secret.view()));
  const auto value = [&]() -> Result<std::uint64_t> {
    const roots::TpmName name = roots::counter_name(index, label);
    SR_TRY(tpm->increment_counter(index, name, secret.view()));
    return tpm->read_counter(index, name, secret.view());
  }();
  SR_TRY(tpm->undefine(index));
  if (!value.ok()) return value.status();
  return *value + 1;
}

Result<PlannedIndices> Engine::State::plan_indices(std::uint32_t kept) {
  PlannedIndices planned;
  SR_ASSIGN(planned.counter.index, free_index(*tpm, ring.header().instance, {kept}));
  SR_ASSIGN(planned.extend.index, free_index(*tpm, ring.header().instance, {kept, planned.counter.index}));
  planned.counter.secret = random_secret();
  planned.extend.secret = random_secret();
  return planned;
}

Status Engine::State::plan_new_indices() {
  SR_ASSIGN(const PlannedIndices planned, plan_indices(0));
  planned.put_into(ring.planned_core());
  tpm_slot.tcti = options.tpm.tcti.empty() ? tpm_slot.tcti : options.tpm.tcti;
  SR_ASSIGN(tpm_slot.parent_name, tpm->parent_name());
  SR_ASSIGN(tpm_slot.endorsement_name, tpm->endorsement_name());
  tpm_slot.counter_index = ring.core().counter_index;
  return {};
}

Result<std::uint64_t> Engine::State::make_indices(const PlannedIndices& planned) {
  const Digest label = index_label(ring.header().instance, ring.header().storage_id);
  const auto& [counter_index, counter_secret] = planned.counter;
  const auto& [extend_index, extend_secret] = planned.extend;
  const roots::TpmName extend_name = roots::extend_name(extend_index, label);
  SR_TRY(tpm->define(roots::NvKind::kExtend, extend_index, label, extend_secret.view()));
  SR_TRY(
      tpm->extend(extend_index, extend_name, extend_secret.view(), first_extend_data(extend_secret.view())));
  const roots::TpmName counter_name = roots::counter_name(counter_index, label);
  SR_TRY(tpm->define(roots::NvKind::kCounter, counter_index, label, counter_secret.view()));
  SR_TRY(tpm->increment_counter(counter_index, counter_name, counter_secret.view()));
  return tpm->read_counter(counter_index, counter_name, counter_secret.view());
}

Status Engine::State::remove_indices(const std::vector<std::uint32_t>& kept) {
  SR_ASSIGN(std::vector<roots::NvIndexInfo> found, find_indices());
  // The counter last: as long as it is there, the root that is sealed to it proves who may go on with this.
  std::stable_partition(found.begin(), found.end(),
                        [](const roots::NvIndexInfo& info) { return info.kind != roots::NvKind::kCounter; });
  for (const roots::NvIndexInfo& info : found) {
    const bool keep = std::find(kept.begin(), kept.end(), info.index) != kept.end();
    if (!keep && info.label == index_label(ring.header().instance, ring.header().storage_id))
      SR_TRY(tpm->undefine(info.index));
  }
  return {};
}

Status Engine::State::refuse_indices_of_another_store() {
  SR_ASSIGN(const std::vector<roots::NvIndexInfo> found, find_indices());
  for (const roots::NvIndexInfo& info : found) {
    if (info.label == index_label(ring.header().instance, ring.header().storage_id)) continue;
    return {Reason::kWitnessReplaced, "the TPM holds NV indices of another store with the instance name '" +
                                          ring.header().instance + "'"};
  }
  return {};
}

Status Engine::State::seal_slot(PersistenceHeader& header_new, std::uint64_t at_most) {
  TpmSlot next = tpm_slot;
  next.at_most = at_most;
  SR_ASSIGN(KeySlot slot, seal_tpm_slot(*tpm, next_slot_id(), std::move(next), pin_authorisation.view(),
                                        ring.dek().view(), header_new));
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
  ring.planned_core().witnesses = kWitnessTamperFile | kWitnessTpm;
  SR_TRY(plan_new_indices());
  tpm_slot.pcrs = options.tpm.pcrs.value_or(0);
  SR_TRY(read_pcrs(*tpm, tpm_slot));
  tpm_slot.has_pin = !options.tpm.pin.empty();
  pin_authorisation = SecretBytes();  // of an interrupted COLDSTART
  if (tpm_slot.has_pin) {
    tpm_slot.pin = PasswordParameters{crypto::random_array<16>(), options.argon2};
    SR_ASSIGN(pin_authorisation, stretch_pin(options.tpm.pin.view(), tpm_slot.pin));
  }
  SR_ASSIGN(const std::uint64_t foreseen, foresee_counter(ring.core().counter_index));
  SR_TRY(seal_slot(ring.planned_header(), foreseen));
  adopt_slot();
  return {};
}

// A TPM that was cleared has lost its NV indices, too.
Result<bool> Engine::State::has_own_index(const std::string& tcti, std::uint32_t index,
                                          const PersistenceHeader& of) const {
  const roots::TpmOpener& open = options.tpm.open;
  SR_ASSIGN(const std::unique_ptr<roots::Tpm> opened,
            open ? open(tcti, {}, {}) : roots::Tpm::open(tcti, {}, {}));
  SR_ASSIGN(const std::vector<roots::NvIndexInfo> found, opened->find_indices(index, 1));
  return !found.empty() && found.front().label == index_label(of.instance, of.storage_id);
}

Result<SecretBytes> Engine::State::open_by_tpm(const PersistenceHeader& candidate, const KeySlot& slot) {
  SR_ASSIGN(TpmSlot named, parse_tpm_parameters(slot.parameters));
  const std::string& tcti = options.tpm.tcti.empty() ? named.tcti : options.tpm.tcti;
  Status connected = connect_tpm(tcti, named.parent_name, named.endorsement_name);
  if (connected.is(Reason::kTpmCleared)) {
    SR_ASSIGN(const bool is_here, has_own_index(tcti, named.counter_index, candidate));
    if (!is_here) return connected;
    return Status(Reason::kTpmKeyMissing,
                  "the storage key that the root was sealed under was removed from the TPM");
  }
  SR_TRY(connected);
  // One connection serves every candidate and, at COLDSTART, was made before a parent was known.
  SR_ASSIGN(const roots::TpmName parent, tpm->parent_name());
  if (parent != named.parent_name) {
    return Status(Reason::kTpmReplaced, "the TPM's storage parent is another one than sealed the root");
  }
  if (options.tpm.pcrs && *options.tpm.pcrs != named.pcrs) {
    return Status(Reason::kInvalidOption,
                  "protector.pcrs: fixed at COLDSTART; `strongroom reseal` changes them");
  }
  if (named.has_pin) {
    SR_ASSIGN(pin_authorisation, stretch_pin(options.tpm.pin.view(), named.pin));
  }
  Result<SecretBytes> opened = open_tpm_slot(*tpm, slot, named, pin_authorisation.view(), candidate);
  if (opened.ok()) tpm_slot = std::move(named);
  return opened;
}

void Engine::State::make_counter_witness() {
  const Digest label = index_label(ring.header().instance, ring.header().storage_id);
  std::optional<NvIndex> extend;
  if (has_extend()) {
    extend = NvIndex{ring.core().extend_index, roots::extend_name(ring.core().extend_index, label),
                     ring.core().extend_secret.clone()};
  }
  counter = std::make_unique<CounterWitness>(
      tpm,
      NvIndex{ring.core().counter_index, roots::counter_name(ring.core().counter_index, label),
              ring.core().counter_secret.clone()},
      std::move(extend));
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
  const Result<TpmObservation> value = counter->read();
  if (value.ok()) {
    evidence.counter.tpm = *value;
  } else if (value.is(Reason::kWitnessMissing) || value.is(Reason::kWitnessReplaced) ||
             value.is(Reason::kTpmRefused)) {
    evidence.counter.damage = value.status();
  } else {
    return value.status();
  }
  return {};
}

void Engine::State::adopt_anchor() {
  const log::Record* record = index.find(anchor_key());
  if (record == nullptr || !anchor_found) return;
  log::Checkpoint checkpoint{record->generation(), {}};
  const AnchorStanding standing = stand(*anchor_found, evidence.counter.tpm);
  const bool settled = standing == AnchorStanding::kComplete;
  // Before the TPM moves for an ordinary anchor, and before a snapshot is written, the tamper file is synced; an
  // administrative operation names the counter as it stands, and only the anchor behind it moves the witnesses.
  bool moved_before = record->generation() <= loaded.snapshot.generation;
  log::Checkpoint
      before;  // the anchor before it; the zero checkpoint when a compaction has taken that commit away
  for (const auto& [place, kind] : anchor_places) {
    if (place.generation < checkpoint.generation && kind != log::CommitKind::kSnapshotHead) before = place;
    if (place.generation != checkpoint.generation) continue;
    checkpoint = place;
    moved_before |= kind == log::CommitKind::kAnchor || kind == log::CommitKind::kClose;
  }
  const bool moved = settled || standing == AnchorStanding::kExtended;
  evidence.counter.witnessed = moved && moved_before ? checkpoint.generation : 0;
  counter->adopt(*anchor_found, checkpoint, settled, settled ? checkpoint : before);
}

Status Engine::State::read_persistence_again() {
  SR_ASSIGN(const std::vector<ParsedPersistence> candidates, ring.read(*directory));
  Status refusal;
  for (const ParsedPersistence& candidate : candidates) {
    if (candidate.header.key_id != ring.header().key_id)
      return {Reason::kLocked, "the DEK was rotated while the store was being read; try again"};
    refusal = open_core(candidate, ring.dek().clone());
    if (refusal.ok()) break;
  }
  return refusal;
}

// A live writer moves the TPM and replaces persistence.bin between our looks at them. The vault was read between two looks
// at the TPM, so its anchor must fit one of them; where both looks are the same, no writer is at work. And the
// persistence.bin that it names must be the one from before or from after.
Result<bool> Engine::State::looks_consistent() {
  CounterEvidence& found = evidence.counter;
  if (!found.damage.ok() || !found.newest) return true;
  SR_ASSIGN(const TpmObservation after, counter->read());
  const bool fits = explain(stand(*found.newest, found.tpm), *found.newest, found.tpm, false).ok();
  const bool moved = found.tpm.counter != after.counter || found.tpm.head != after.head;
  if (!fits && !moved) return true;  // whatever is wrong, it is no writer
  if (!fits) {
    if (!explain(stand(*found.newest, after), *found.newest, after, false).ok()) return false;
    found.tpm = after;
  }
  adopt_anchor();
  verdict = judge(evidence);
  if (check_persistence_record().ok()) return true;
  const Digest before = ring.hash();
  SR_TRY(read_persistence_again());
  return ring.hash() == before || check_persistence_record().ok();
}

// With the header lock held; `tpm_slot` may be under way to the next epoch on another thread.
TpmStatus Engine::State::describe_tpm(const CounterWitness::Position& position) {
  TpmStatus out;
  out.description = tpm_description;
  out.counter_index = ring.core().counter_index;
  out.extend_index = has_extend() ? ring.core().extend_index : 0;
  out.counter = position.newest.number;
  out.increments = position.newest.increments;
  out.first_wall_ms = position.newest.first_wall_ms;
  out.first_number = position.newest.first_number;
  const KeySlot* slot = root_slot();
  if (slot == nullptr) return out;
  const Result<TpmSlot> sealed = parse_tpm_parameters(slot->parameters);
  if (!sealed.ok()) return out;
  out.tcti = sealed->tcti;
  out.seal_epoch_end = sealed->at_most;
  out.pcrs = sealed->pcrs;
  out.has_pin = sealed->has_pin;
  return out;
}

Status Engine::State::check_time(const Now& now) {
  SR_TRY(check_clock(*stamp, now, ring.core().clock_tolerance_ms));
  if (secret_stamp) SR_TRY(check_clock(*secret_stamp, now, ring.core().clock_tolerance_ms));
  if (!counter || !anchor_found) return {};
  SR_ASSIGN(const roots::TpmClock clock, counter->tpm().clock());
  const std::int64_t behind_ms = tpm_floor_ms(*anchor_found, clock) - now.wall_ms;
  if (behind_ms <= static_cast<std::int64_t>(ring.core().clock_tolerance_ms)) return {};
  const std::string behind = duration_text(static_cast<std::uint64_t>(behind_ms));
  if (clock.clock_ms <= anchor_found->clock_ms)
    return {Reason::kClockRolledBack, "the system clock is " + behind + " behind the newest anchor"};
  return {
      Reason::kClockRolledBack,
      "the TPM's clock counted " + duration_text(clock.clock_ms - anchor_found->clock_ms) +
          " since the newest anchor, and the system clock is " + behind +
          " behind that, though not behind the time that the store remembers: the system clock is wrong, or "
          "the TPM's was set forward (TPM2_ClockSet)"};
}

}  // namespace strongroom::store
