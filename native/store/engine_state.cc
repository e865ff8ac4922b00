#include "store/engine_state.h"

namespace strongroom::store {

Engine::State::State(os::Environment environment_in, EngineOptions options_in, CompletedHook completed)
    : environment(environment_in),
      options(std::move(options_in)),
      locks(environment.files),
      time(environment.clock),
      headers({ring, vault, directory, protector}),
      compactor({options, ring, vault, directory, witnesses,
                 [this](std::uint32_t key_id) { return witness_keys(key_id); }}),
      anchors({environment.clock, ring, vault, headers, time, protector, witnesses,
               [this] { mover.anchored(); }}),
      mover(
          {environment.clock, options, ring, vault, headers, witnesses,
           [this] { return anchors.anchor(log::CommitKind::kAnchor, AnchorKeeper::Which::kUnlessConfirmed); },
           std::move(completed), [this] { compactor.begin_if_worthwhile(); }}) {}

void Engine::State::use_protector(const ProtectorKind& kind) {
  if (!protector || &protector->kind() != &kind) protector = kind.make(kind, protector_context());
}

ProtectorContext Engine::State::protector_context() {
  return {environment,   options,        ring,
          secrets.store, secrets.config, [this] { return headers.next_slot_id(); }};
}

void Engine::State::make_witnesses(std::uint32_t key_id) {
  witnesses = std::make_unique<Witnesses>(
      Witnesses::Places{*directory, ring, secrets.store, protector, options.tamper_capacity},
      witness_keys(key_id));
}

Witnesses::Keys Engine::State::witness_keys(std::uint32_t key_id) {
  const MutexLock lock(ring.mutex());
  const SecretBytes& of = *ring.dek_of(key_id);
  return {tamper_key(of.view(), ring.header().storage_id), witness_key(of.view(), ring.header().storage_id),
          ring.header().storage_id, key_id};
}

Status Engine::State::lock_shared(const StorageId& storage_id, const ProtectorKind& kind) {
  return options.read_only ? Status() : locks.take_shared(secrets.store.get(), storage_id, kind);
}

Status Engine::State::unless_changed(Status finding) {
  if (finding.ok() || !options.read_only) return finding;
  // With what an open store was opened with; the next finding, too.
  const Result<Bytes> file = read_persistence_file(*directory);
  if (file.ok() && *file == ring.file()) return finding;
  return {Reason::kLocked, life.is_open()
                               ? "another process replaced persistence.bin after this store was opened for "
                                 "reading; open it again"
                               : "persistence.bin was replaced while the store was being read; try again"};
}

void Engine::State::make_queue() {
  log::CommitQueue::Hooks hooks;
  hooks.gate = [this] { return mover.gate(); };
  hooks.wall_ms = [this] { return environment.clock.wall_ms(); };
  hooks.tamper_synced = [this] { return witnesses->tamper_synced(); };
  hooks.decorate = [this](std::vector<log::Change>& changes) { decorate(changes); };
  hooks.committed = [this](const log::CommitInfo& info) { on_committed(info); };
  hooks.completed = [this](std::vector<log::Completion> completions) {
    mover.completed(std::move(completions));
  };
  vault.make_queue(std::move(hooks), options.reserve_bytes);
}

void Engine::State::decorate(std::vector<log::Change>& changes) {
  if (const std::optional<ByteView> stamp = time.due())
    changes.push_back(log::Change{log::Operation::kPut, as_bytes(kTimeTamperKey), *stamp});
}

void Engine::State::on_committed(const log::CommitInfo& info) {
  witnesses->audit().note(info, time.committed());
  vault.committed(info);
  mover.committed(info);
}

void Engine::State::start_threads() {
  vault.log_bytes = vault.writer->offset();
  if (!options.threads) return;
  mover.start();
  vault.queue->start();
}

void Engine::State::stop_threads() {
  if (vault.queue) vault.queue->stop();
  mover.stop();
  compactor.join();
}

}  // namespace strongroom::store
