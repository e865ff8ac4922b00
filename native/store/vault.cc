#include "store/vault.h"

#include <utility>

#include "header/persistence_file.h"

namespace strongroom::store {

void Vault::make_epoch_keys(const KeyRing& ring) {
  const CoreData& core = ring.core();
  epoch_keys = std::make_unique<log::EpochKeys>(create_get_vault_key(ring.dek().view(), core.vault_salt),
                                                ring.header().storage_id, ring.header().key_id);
  if (!core.previous) return;
  epoch_keys->add_vault_key(core.previous->key_id,
                            create_get_vault_key(core.previous->key.view(), core.vault_salt));
}

void Vault::follow_keys(const KeyRing& ring) {
  if (epoch_keys->key_id() != ring.header().key_id) {
    queue->exclusively([&] {
      epoch_keys->switch_vault_key(ring.header().key_id,
                                   create_get_vault_key(ring.dek().view(), ring.core().vault_salt));
      writer->end_epoch();
    });
  }
  if (!ring.core().previous) epoch_keys->forget_former_vault_keys();
}

void Vault::make_queue(log::CommitQueue::Hooks hooks, std::uint64_t reserve_bytes) {
  writer = std::make_unique<log::LogWriter>(std::move(file), loaded.end_offset, loaded.newest,
                                            loaded.epoch_highest, *epoch_keys, reserve_bytes);
  queue = std::make_unique<log::CommitQueue>(index, *writer, *epoch_keys, std::move(hooks));
}

Status Vault::commit(log::CommitKind kind, const SystemRecordChanges& changes) {
  return queue->commit_system(kind, changes.list()).status();
}

void Vault::committed(const log::CommitInfo& info) {
  log_bytes = writer->offset();
  newest_wall_ms = info.wall_ms;
  newest_kind = info.kind;
}

Result<std::optional<Bytes>> Vault::record(std::string_view key) {
  log::ValueCipher cipher(*epoch_keys);
  if (queue) {
    Bytes value;
    SR_ASSIGN(const std::optional<std::size_t> size, queue->read(cipher, key, [&value](std::size_t bytes) {
      value.resize(bytes);
      return value.data();
    }));
    return size ? std::optional(std::move(value)) : std::nullopt;
  }
  const log::Record* record = index.find(key);
  if (record == nullptr) return std::optional<Bytes>();
  Bytes value(record->value_bytes());
  if (!cipher.open(*record, value.data()))
    return Status(Reason::kInternal, "a record in memory does not authenticate");
  return std::optional(std::move(value));
}

void Vault::close() {
  queue.reset();
  writer.reset();
  file.reset();
}

}  // namespace strongroom::store
