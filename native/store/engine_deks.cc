// The DEKs of the files and witnesses that a start finds.
#include <algorithm>

#include "store/engine_state.h"

namespace strongroom::store {

Witnesses::Keys Engine::State::witness_keys(std::uint32_t key_id) {
  const MutexLock lock(ring.mutex());
  const SecretBytes& of = *ring.dek_of(key_id);
  return {tamper_key(of.view(), ring.header().storage_id), witness_key(of.view(), ring.header().storage_id),
          ring.header().storage_id, key_id};
}

Status Engine::State::find_vault_key(const log::FileHeader& file) {
  if (ring.dek_of(file.key_id) == nullptr) {
    // Nothing here is authenticated; it only tells why the start is refused.
    if (file.key_id != 0 && file.key_id < ring.header().key_id)  // the first DEK is 1
      return {Reason::kVaultRolledBack, "the vault file is one of a former DEK"};
    if (evidence.names_key(file.key_id))
      return {Reason::kPersistenceRolledBack, "the vault is one of a later DEK than persistence.bin holds"};
    return {Reason::kVaultTampered, "the vault file names a DEK that persistence.bin does not hold"};
  }
  make_witnesses(file.key_id);
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

}  // namespace strongroom::store
