// The DEK and its rotation.
//
// A rotation is a sequence of durable states, each of which opens as usual:
//   1. persistence.bin has the new DEK in every slot, and the former one in its core data ("pending"). The log goes on in
//      an epoch of the new DEK.
//   2. A compaction writes the vault under the new DEK; the tamper file and the witness values follow.
//   3. persistence.bin without the former DEK. What is still of the former DEK, from a copy, is refused from now on.
//
// Invariants:
// - Nothing is sealed under a new DEK before a persistence.bin that holds it is durable.
// - Nothing of the former DEK is left in the files and witnesses when persistence.bin gives it up.
// - No witness is of a later DEK than the vault file.
#include <algorithm>

#include "store/engine_state.h"

namespace strongroom::store {
Witnesses::Keys Engine::State::witness_keys(std::uint32_t key_id) {
  const MutexLock lock(ring.mutex());
  const SecretBytes& of = *ring.dek_of(key_id);
  return {tamper_key(of.view(), ring.header().storage_id), witness_key(of.view(), ring.header().storage_id),
          ring.header().storage_id, key_id};
}

Result<TamperContent> Engine::State::read_tamper(std::optional<std::uint32_t>* key_id) {
  StorageId storage_id{};
  {
    const MutexLock lock(ring.mutex());
    storage_id = ring.header().storage_id;
  }
  const auto key_of = [&](std::uint32_t named) {
    if (key_id != nullptr) *key_id = named;
    const MutexLock lock(ring.mutex());
    // One that names a DEK of another time cannot be authentic; read with the present one it says so.
    const SecretBytes* const of = ring.dek_of(named);
    return tamper_key(of != nullptr ? of->view() : ring.dek().view(), storage_id);
  };
  return read_tamper_file(*directory, kTamperFileName, key_of, storage_id);
}

Status Engine::State::find_vault_key(const log::FileHeader& file) {
  if (ring.dek_of(file.key_id) == nullptr) {
    // Nothing here is authenticated; it only tells why the start is refused.
    if (file.key_id != 0 && file.key_id < ring.header().key_id)  // the first DEK is 1
      return {Reason::kVaultRolledBack, "the vault file is one of a former DEK"};
    if (evidence.secret.key_id == file.key_id || evidence.tamper.key_id == file.key_id)
      return {Reason::kPersistenceRolledBack, "the vault is one of a later DEK than persistence.bin holds"};
    return {Reason::kVaultTampered, "the vault file names a DEK that persistence.bin does not hold"};
  }
  make_witnesses(file.key_id);
  const Status older(Reason::kVaultRolledBack,
                     "the vault is one of a former DEK, and a witness of the present");
  for (SecretEvidence* witness : {&evidence.secret, &evidence.token}) {
    if (witness->value && *witness->key_id > file.key_id) witness->damage = older;
  }
  TamperEvidence& tamper = evidence.tamper;
  if (tamper.content && tamper.content->key_id > file.key_id) tamper.damage = older;
  return {};
}

Status Engine::State::unless_changed(Status finding) {
  if (finding.ok() || !options.read_only) return finding;
  // With what an open store was opened with; the next finding, too.
  const Result<Bytes> file = read_persistence_file(*directory);
  if (file.ok() && *file == ring.file()) return finding;
  return {Reason::kLocked, stage == Stage::kOpen
                               ? "another process replaced persistence.bin after this store was opened for "
                                 "reading; open it again"
                               : "persistence.bin was replaced while the store was being read; try again"};
}

// Every slot with the new DEK; of those for passwords the one that the password opens. The TPM's root stays openable for
// as long as it was.
Result<PersistenceHeader> Engine::State::wrap_anew(const SecretBytes& dek_next, ByteView password,
                                                   std::uint32_t password_slot) {
  PersistenceHeader next = ring.header();
  std::erase_if(next.slots, [password_slot](const KeySlot& slot) {
    return kind_of(slot) == nullptr && slot.id != password_slot;
  });
  ++next.key_id;
  std::uint32_t slot_id = next_slot_id();
  for (KeySlot& slot : next.slots) {
    if (kind_of(slot) != nullptr) {
      SR_ASSIGN(slot, protector->wrap(slot, slot_id++, dek_next.view(), next));
    } else {
      SR_ASSIGN(slot, rewrap_password_slot(slot, slot_id++, password, dek_next.view(), next));
    }
  }
  return next;
}

// With the persistence lock held.
Status Engine::State::begin_rotation(ByteView password, const RotationOptions& how) {
  const std::size_t passwords = password_slots(ring.header()).size();
  if (passwords > 1 && !how.remove_other_passwords) {
    return {Reason::kInvalidOption,
            "removeOtherPasswords: the store has " + std::to_string(passwords) +
                " backup passwords, and only the one that is given can wrap the new key"};
  }
  std::uint32_t password_slot = 0;
  if (passwords != 0) SR_TRY(open_by_password(ring.header(), password, &password_slot).status());
  if (ring.header().key_id == UINT32_MAX) return {Reason::kUnsupported, "the DEK was rotated too often"};

  NextKeys keys;
  if (!how.forget_field_keys) keys.former_field_keys = clone(ring.core().former_field_keys);
  if (keys.former_field_keys.size() == kFormerFieldKeysMax) {
    return {Reason::kInvalidOption,
            "forgetFieldKeys: the field keys of 8 former DEKs are kept; seal the fields anew, then let go of "
            "them"};
  }
  keys.former_field_keys.push_back(
      {ring.header().key_id, field_key(ring.dek().view(), ring.header().storage_id)});
  keys.previous = IdentifiedKey{ring.header().key_id, ring.dek().clone()};
  keys.dek = SecretBytes(crypto::kKeyBytes);
  crypto::random_bytes(keys.dek.span());
  SR_ASSIGN(const PersistenceHeader next, wrap_anew(keys.dek, password, password_slot));

  SR_TRY(before_step("dek"));
  SystemRecordChanges intent;
  SystemRecordChanges done;
  SR_TRY(headers.replace(next, log::CommitKind::kRotation, intent, &done, std::move(keys)));
  SR_TRY(before_step("dek-begun"));
  return vault.commit(log::CommitKind::kRotation, done);
}

Status Engine::State::move_vault(const ProgressHook& progress) {
  if (vault.epoch_keys->file_key_id() == vault.epoch_keys->key_id()) return {};
  bool begun = false;
  vault.queue->exclusively([&] {
    begun = vault.epoch_keys->is_present(vault.writer->current_epoch());
    if (!begun) vault.writer->end_epoch();
  });
  if (!begun) {  // the commit that was to begin the epoch had failed
    const MutexLock persistence(headers.mutex());
    SystemRecordChanges done;
    ring.put_done(done);
    SR_TRY(vault.commit(log::CommitKind::kRotation, done));
  }
  return compactor.compact(progress);
}

Status Engine::State::end_rotation() {
  const MutexLock persistence(headers.mutex());
  SR_TRY(headers.settle());
  if (!ring.core().previous) return {};
  const PersistenceHeader same = ring.header();
  NextKeys keys;
  keys.former_field_keys = clone(ring.core().former_field_keys);
  SystemRecordChanges intent;
  return headers.replace(same, log::CommitKind::kRotation, intent, nullptr, std::move(keys));
}

Status Engine::rotate_dek(ByteView password, const ProgressHook& progress, const RotationOptions& how) {
  State& state = *state_;
  const MutexLock maintenance(state.compactor.mutex());
  SR_TRY(state.accepts_writes());
  state.compactor.join();
  {
    const MutexLock persistence(state.headers.mutex());
    const bool was_pending = state.ring.core().previous.has_value();
    SR_TRY(state.headers.settle());  // it may be the begin of a rotation, or its end
    if (!state.ring.core().previous && !was_pending) {
      SR_TRY(state.compactor.check_space());  // before there are two keys
      SR_TRY(state.begin_rotation(password, how));
    }
  }
  SR_TRY(state.before_step("vault"));
  SR_TRY(state.move_vault(progress));
  SR_TRY(state.before_step("witnesses"));
  SR_TRY(state.witnesses->move(Witnesses::Which::kAll));
  SR_TRY(state.before_step("dek-end"));
  SR_TRY(state.end_rotation());
  SR_TRY(state.before_step("dek-ended"));
  return although_durable(state.mover.move(Witnesses::Which::kAll));
}

}  // namespace strongroom::store
