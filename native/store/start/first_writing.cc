#include "store/start/first_writing.h"

#include "os/errno_reason.h"
#include "store/engine_state.h"
#include "store/start/take_over.h"

namespace strongroom::store {
namespace {

// The exact bytes of the undamaged copy, doubled: what the file was before one copy was damaged.
std::optional<Bytes> repaired(ByteView file, const Digest& hash) {
  constexpr std::size_t kCopyAlignment = 4096;
  for (std::size_t size = kCopyAlignment; size <= file.size(); size += kCopyAlignment) {
    for (const ByteView copy : {file.first(size), file.last(size)}) {
      if (crypto::sha256({copy}) != hash) continue;
      Bytes whole(copy.begin(), copy.end());
      whole.insert(whole.end(), copy.begin(), copy.end());
      return whole;
    }
  }
  return std::nullopt;
}

}  // namespace

Status FirstWriting::try_witnesses() {
  for (const std::unique_ptr<Witness>& witness : store_.witnesses->each()) {
    const Observation* const found = store_.life.opening().evidence.of(witness->kind());
    if (found != nullptr) SR_TRY(witness->try_write(*found));
  }
  return {};
}

Status FirstWriting::cut_tail() {
  SR_TRY(try_witnesses());
  Vault& vault = store_.vault;
  const log::LoadedLog& loaded = vault.loaded;
  SR_TRY(store_.directory->remove(store_.ring.core().vault_file_name + std::string(kNewSuffix)));
  if (loaded.end != log::LogEnd::kExact) SR_TRY(vault.file->truncate(loaded.end_offset));
  // A process that was killed may have left what was read here, frames and names, in the page cache alone. Nothing is
  // built on it before it is durable: a power cut must not take it and leave what follows. And the sync of the newest
  // frame may have failed; then the kernel counts it as written, and only writing it again brings it to the disk.
  const bool witnessed = store_.life.opening().evidence.witnessed() == loaded.newest;
  if (!witnessed && loaded.newest_offset != 0) {
    Bytes frame(static_cast<std::size_t>(loaded.end_offset - loaded.newest_offset));
    SR_ASSIGN(const std::size_t got, vault.file->read_at(loaded.newest_offset, frame));
    if (got != frame.size())
      return {Reason::kIoError, "the vault file became shorter while it was being opened"};
    SR_TRY(vault.file->write_at(loaded.newest_offset, frame));
  }
  SR_TRY(vault.file->sync());
  SR_TRY(store_.directory->sync());
  store_.life.findings().tail_repaired = loaded.end == log::LogEnd::kDamaged;
  return {};
}

// A reanchor that was cut before VaultHash remembered it is remembered now.
Status FirstWriting::remember_reanchor() {
  SR_ASSIGN(const std::optional<Bytes> reanchored, store_.vault.record(kReanchorKey));
  const std::optional<ReanchorRecord> record = reanchored ? parse_reanchor_record(*reanchored) : std::nullopt;
  if (!record) return {};
  for (const UsedCheckpoint& checkpoint : record->used_checkpoints) store_.witnesses->burn(checkpoint);
  return {};
}

Status FirstWriting::begin(log::CommitKind kind, SystemRecordChanges& changes, const TimeStamp& stamp) {
  StartFindings& findings = store_.life.findings();
  if (findings.startup == StartupState::kWarmstart) {
    store_.witnesses->adopt(store_.life.opening().evidence, store_.vault.loaded.witnessed);
    SR_TRY(remember_reanchor());
  }
  if (!findings.last_written_here) {
    SR_ASSIGN(const Bytes here, place_record(*store_.directory));
    changes.put(kPlaceKey, here);
  }
  store_.make_queue();
  store_.time.force(stamp);
  SR_TRY(store_.vault.commit(kind, changes));
  findings.last_written_here = true;
  return {};
}

Status FirstWriting::repair_copies() {
  if (store_.life.findings().persistence_damaged) {
    const std::optional<Bytes> whole = repaired(store_.ring.file(), store_.ring.hash());
    if (!whole) return {Reason::kInternal, "the undamaged copy of persistence.bin is not found again"};
    SR_TRY(os::replace_file(*store_.directory, kPersistenceFileName, *whole));
  }
  return store_.protector->repair();
}

Status FirstWriting::move_witnesses(Foreign foreign) {
  if (store_.counter() == nullptr) return store_.witnesses->try_move(Witnesses::Which::kAll, foreign);
  SR_TRY(TakeOver(store_).run());
  // After a COLDSTART too: the files of its provisioning are of no use from here on.
  Status anchored = store_.anchors.anchor(log::CommitKind::kAnchor, AnchorKeeper::Which::kAlways);
  if (!anchored.is(Reason::kWitnessNotMoved)) return anchored;
  const Error& error = anchored.error();
  return {os::reason_of_errno(error.system_error), error.detail, error.system_error};
}

Status FirstWriting::finish(Foreign foreign) {
  SR_TRY(repair_copies());
  SR_TRY(move_witnesses(foreign));
  store_.mover.begin();
  store_.life.opened();
  store_.start_threads();
  return {};
}

}  // namespace strongroom::store
