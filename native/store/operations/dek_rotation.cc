#include "store/operations/dek_rotation.h"

#include <algorithm>

#include "store/engine_state.h"

namespace strongroom::store {

// Every slot with the new DEK; of those for passwords the one that the password opens. The TPM's root stays openable for
// as long as it was.
Result<PersistenceHeader> DekRotation::wrap_anew(const SecretBytes& dek_next, ByteView password,
                                                 std::uint32_t password_slot) {
  PersistenceHeader next = store_.ring.header();
  std::erase_if(next.slots, [password_slot](const KeySlot& slot) {
    return kind_of(slot) == nullptr && slot.id != password_slot;
  });
  ++next.key_id;
  std::uint32_t slot_id = store_.headers.next_slot_id();
  for (KeySlot& slot : next.slots) {
    if (kind_of(slot) != nullptr) {
      SR_ASSIGN(slot, store_.protector->wrap(slot, slot_id++, dek_next.view(), next));
    } else {
      SR_ASSIGN(slot, rewrap_password_slot(slot, slot_id++, password, dek_next.view(), next));
    }
  }
  return next;
}

Status DekRotation::begin(ByteView password, const RotationOptions& how) {
  store_.headers.mutex().assume_held();
  const std::size_t passwords = password_slots(store_.ring.header()).size();
  if (passwords > 1 && !how.remove_other_passwords) {
    return {Reason::kInvalidOption,
            "removeOtherPasswords: the store has " + std::to_string(passwords) +
                " backup passwords, and only the one that is given can wrap the new key"};
  }
  std::uint32_t password_slot = 0;
  if (passwords != 0) SR_TRY(open_by_password(store_.ring.header(), password, &password_slot).status());
  if (store_.ring.header().key_id == UINT32_MAX)
    return {Reason::kUnsupported, "the DEK was rotated too often"};

  NextKeys keys;
  if (!how.forget_field_keys) keys.former_field_keys = clone(store_.ring.core().former_field_keys);
  if (keys.former_field_keys.size() == kFormerFieldKeysMax) {
    return {Reason::kInvalidOption,
            "forgetFieldKeys: the field keys of 8 former DEKs are kept; seal the fields anew, then let go of "
            "them"};
  }
  keys.former_field_keys.push_back(
      {store_.ring.header().key_id, field_key(store_.ring.dek().view(), store_.ring.header().storage_id)});
  keys.previous = IdentifiedKey{store_.ring.header().key_id, store_.ring.dek().clone()};
  keys.dek = SecretBytes(crypto::kKeyBytes);
  crypto::random_bytes(keys.dek.span());
  SR_ASSIGN(const PersistenceHeader next, wrap_anew(keys.dek, password, password_slot));

  SR_TRY(store_.before_step("dek"));
  SystemRecordChanges intent;
  SystemRecordChanges done;
  SR_TRY(store_.headers.replace(next, log::CommitKind::kRotation, intent, &done, std::move(keys)));
  SR_TRY(store_.before_step("dek-begun"));
  return store_.vault.commit(log::CommitKind::kRotation, done);
}

Status DekRotation::move_vault(const Engine::ProgressHook& progress) {
  store_.compactor.mutex().assume_held();
  if (store_.vault.epoch_keys->file_key_id() == store_.vault.epoch_keys->key_id()) return {};
  bool begun = false;
  store_.vault.queue->exclusively([&] {
    begun = store_.vault.epoch_keys->is_present(store_.vault.writer->current_epoch());
    if (!begun) store_.vault.writer->end_epoch();
  });
  if (!begun) {  // the commit that was to begin the epoch had failed
    const MutexLock persistence(store_.headers.mutex());
    SystemRecordChanges done;
    store_.ring.put_done(done);
    SR_TRY(store_.vault.commit(log::CommitKind::kRotation, done));
  }
  return store_.compactor.compact(progress);
}

Status DekRotation::end() {
  const MutexLock persistence(store_.headers.mutex());
  SR_TRY(store_.headers.settle());
  if (!store_.ring.core().previous) return {};
  const PersistenceHeader same = store_.ring.header();
  NextKeys keys;
  keys.former_field_keys = clone(store_.ring.core().former_field_keys);
  SystemRecordChanges intent;
  return store_.headers.replace(same, log::CommitKind::kRotation, intent, nullptr, std::move(keys));
}

Status DekRotation::rotate(ByteView password, const Engine::ProgressHook& progress,
                           const RotationOptions& how) {
  const MutexLock maintenance(store_.compactor.mutex());
  SR_TRY(store_.life.accepts_writes());
  store_.compactor.join();
  {
    const MutexLock persistence(store_.headers.mutex());
    const bool was_pending = store_.ring.core().previous.has_value();
    SR_TRY(store_.headers.settle());  // it may be the begin of a rotation, or its end
    if (!store_.ring.core().previous && !was_pending) {
      SR_TRY(store_.compactor.check_space());  // before there are two keys
      SR_TRY(begin(password, how));
    }
  }
  SR_TRY(store_.before_step("vault"));
  SR_TRY(move_vault(progress));
  SR_TRY(store_.before_step("witnesses"));
  SR_TRY(store_.witnesses->move(Witnesses::Which::kAll));
  SR_TRY(store_.before_step("dek-end"));
  SR_TRY(end());
  SR_TRY(store_.before_step("dek-ended"));
  return although_durable(store_.mover.move(Witnesses::Which::kAll));
}

}  // namespace strongroom::store
