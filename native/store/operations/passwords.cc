#include "store/operations/passwords.h"

#include <algorithm>

#include "base/limits.h"
#include "store/engine_state.h"

namespace strongroom::store {
namespace {

Status check_new_password(const SecretBytes& next, std::string_view label) {
  if (next.empty() || next.size() > limits::kPasswordBytesMax)
    return {Reason::kInvalidArgument, "the new password must have 1 to 4,096 bytes"};
  return validate_password_label(label);
}

// kInvalidArgument when a slot, other than the one that is to go, opens by this password.
Status check_unused(PersistenceHeader header, ByteView password, std::optional<std::uint32_t> former) {
  std::erase_if(header.slots, [former](const KeySlot& slot) { return slot.id == former; });
  std::uint32_t slot_id = 0;
  const Result<SecretBytes> opened = open_by_password(header, password, &slot_id);
  if (opened.is(Reason::kPasswordWrong) || opened.is(Reason::kPasswordMissing)) return {};
  if (!opened.ok()) return opened.status();
  return {Reason::kInvalidArgument,
          "the new password is that of key slot " + std::to_string(slot_id) + "; choose another one"};
}

std::string label_of(const PersistenceHeader& header, std::uint32_t slot_id) {
  for (KeySlotStatus& slot : key_slot_status(header)) {
    if (slot.id == slot_id) return std::move(slot.label);
  }
  return {};
}

}  // namespace

std::vector<KeySlotStatus> key_slot_status(const PersistenceHeader& header) {
  std::vector<KeySlotStatus> out;
  for (const KeySlot& slot : header.slots) out.push_back({slot.id, slot.type, password_label(slot)});
  return out;
}

// With the maintenance lock held, by which no other slot of a password changes meanwhile. A slot for a new password, in
// place of `former` or beside the others.
Result<std::uint32_t> Passwords::replace(std::optional<std::uint32_t> former, ByteView password,
                                         std::string label) {
  const PasswordParameters parameters{crypto::random_array<16>(), store_.options.argon2, std::move(label)};
  SR_ASSIGN(const SecretBytes kek, password_kek(password, parameters));
  MutexLock persistence(store_.headers.mutex());
  SR_TRY(store_.headers.settle());
  PersistenceHeader next = store_.ring.header();
  const std::uint32_t id = store_.headers.next_slot_id();
  std::erase_if(next.slots, [former](const KeySlot& slot) { return slot.id == former; });
  next.slots.push_back(wrap_password_slot(id, parameters, kek.view(), store_.ring.dek().view(), next));
  SystemRecordChanges changes;
  if (former) changes.remove(kPasswordVerifiedKey);
  SR_TRY(store_.headers.replace_slots(next, changes, "which passwords it has"));
  persistence.unlock();
  SR_TRY(although_durable(store_.mover.move(Witnesses::Which::kAll)));
  return id;
}

Result<std::uint32_t> Passwords::change(ByteView current, SecretBytes next,
                                        std::optional<std::string> label) {
  const MutexLock maintenance(store_.compactor.mutex());
  SR_TRY(store_.life.accepts_writes());
  SR_TRY(check_new_password(next, label.value_or("")));
  SR_ASSIGN(const PersistenceHeader before, store_.headers.settled());
  std::uint32_t former = 0;
  SR_TRY(open_by_password(before, current, &former).status());
  SR_TRY(check_unused(before, next.view(), former));
  if (!label) label = label_of(before, former);
  return replace(former, next.view(), *std::move(label));
}

Result<std::uint32_t> Passwords::add(ByteView current, SecretBytes next, std::string label) {
  const MutexLock maintenance(store_.compactor.mutex());
  SR_TRY(store_.life.accepts_writes());
  SR_TRY(check_new_password(next, label));
  SR_ASSIGN(const PersistenceHeader before, store_.headers.settled());
  if (password_slots(before).size() >= limits::kPasswordSlotsMax) {
    return Status(Reason::kInvalidArgument, "a store has at most 8 backup passwords; remove one first");
  }
  SR_TRY(open_by_password(before, current).status());
  SR_TRY(check_unused(before, next.view(), std::nullopt));
  return replace(std::nullopt, next.view(), std::move(label));
}

Status Passwords::remove(ByteView staying, std::uint32_t slot_id) {
  const MutexLock maintenance(store_.compactor.mutex());
  SR_TRY(store_.life.accepts_writes());
  SR_ASSIGN(const PersistenceHeader before, store_.headers.settled());
  const std::string named = "key slot " + std::to_string(slot_id);
  const std::vector<const KeySlot*> slots = password_slots(before);
  if (std::none_of(slots.begin(), slots.end(),
                   [slot_id](const KeySlot* slot) { return slot->id == slot_id; })) {
    return {Reason::kInvalidArgument, named + ": the store has no backup password there"};
  }
  std::uint32_t proven = 0;
  SR_TRY(open_by_password(before, staying, &proven).status());
  if (proven == slot_id) {
    return {Reason::kInvalidArgument, named +
                                          " is that of the password given; it can be removed by one that "
                                          "stays, and the last one not at all"};
  }
  MutexLock persistence(store_.headers.mutex());
  SR_TRY(store_.headers.settle());
  PersistenceHeader header = store_.ring.header();
  std::array<std::uint8_t, sizeof(std::uint32_t)> highest{};
  store_le(highest.data(), store_.headers.next_slot_id() - 1);
  SystemRecordChanges changes;
  changes.put(kSlotIdKey, highest);
  changes.remove(kPasswordVerifiedKey);
  std::erase_if(header.slots, [slot_id](const KeySlot& slot) { return slot.id == slot_id; });
  SR_TRY(store_.headers.replace_slots(header, changes, "which passwords it has"));
  persistence.unlock();
  return although_durable(store_.mover.move(Witnesses::Which::kAll));
}

Result<std::uint32_t> Passwords::verify(ByteView password) {
  if (store_.ring.dek().empty()) return Status(Reason::kNotOpen, "the store is not open");
  std::uint32_t slot_id = 0;
  if (store_.options.read_only) {
    // Another process may have changed the passwords since.
    SR_ASSIGN(const Bytes file, read_persistence_file(*store_.directory));
    SR_ASSIGN(const std::vector<ParsedPersistence> parsed, parse_persistence(file));
    SR_TRY(open_by_password(parsed.front().header, password, &slot_id).status());
    return slot_id;
  }
  SR_TRY(open_by_password(store_.ring.header_now(), password, &slot_id).status());
  if (!store_.life.is_open()) return slot_id;
  std::array<std::uint8_t, sizeof(std::uint64_t)> now{};
  store_le(now.data(), static_cast<std::uint64_t>(store_.environment.clock.wall_ms()));
  SystemRecordChanges changes;
  changes.put(kPasswordVerifiedKey, now);
  SR_TRY(store_.vault.commit(log::CommitKind::kData, changes));
  return slot_id;
}

}  // namespace strongroom::store
