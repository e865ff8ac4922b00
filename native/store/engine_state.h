// The parts of an Engine, which the steps of its start and the operations work on. For native/store only.
#pragma once

#include "header/key_ring.h"
#include "protectors/pkcs11/token_kek.h"
#include "protectors/tpm/sealed_root.h"
#include "secret_store/items.h"
#include "store/anchor_keeper.h"
#include "store/compactor.h"
#include "store/engine.h"
#include "store/header_changes.h"
#include "store/lifecycle.h"
#include "store/records.h"
#include "store/store_locks.h"
#include "store/vault.h"
#include "store/witness_mover.h"
#include "time/time_keeper.h"
#include "witnesses/tamper_file/tamper_witness.h"
#include "witnesses/tpm_counter/counter_witness.h"
#include "witnesses/verdict.h"
#include "witnesses/witnesses.h"

namespace strongroom::store {

// What a witness answered after an operation that is durable whatever it answers.
[[nodiscard]] inline Status although_durable(const Status& moved) {
  if (moved.ok()) return {};
  Error error = moved.error();
  error.committed = true;
  return error;
}

// The SecretStore, and where it is; null where the protector's kind has none.
struct SecretPlace {
  SecretStoreConfig config;
  std::unique_ptr<SecretStore> store;
};

struct Engine::State {
  State(os::Environment environment_in, EngineOptions options_in, CompletedHook completed);

  os::Environment environment;
  EngineOptions options;
  Lifecycle life{options};

  std::shared_ptr<os::Directory> directory;
  StoreLocks locks;
  SecretPlace secrets;
  std::unique_ptr<KeyProtector> protector;  // null before its kind is known

  KeyRing ring;
  std::unique_ptr<Witnesses> witnesses;  // null before the DEK is open
  Vault vault;
  TimeKeeper time;

  // Each of these may call those before it.
  HeaderChanges headers;
  Compactor compactor;
  AnchorKeeper anchors;
  WitnessMover mover;

  void use_protector(const ProtectorKind& kind);
  [[nodiscard]] ProtectorContext protector_context();
  [[nodiscard]] SealedRoot& sealed_root() { return *protector->sealed_root(); }  // of a store with a counter
  // The token as a witness, and the TPM's counter as one; null where there is none.
  [[nodiscard]] SecretStore* token_store() const { return protector ? protector->witness_store() : nullptr; }
  [[nodiscard]] CounterWitness* counter() const { return witnesses ? witnesses->counter() : nullptr; }

  // Those of the DEK with this id.
  void make_witnesses(std::uint32_t key_id);
  [[nodiscard]] Witnesses::Keys witness_keys(std::uint32_t key_id);

  // What copies share; nothing for an opening that only reads.
  [[nodiscard]] Status lock_shared(const StorageId& storage_id, const ProtectorKind& kind);
  // A finding of a `read_only` start, unless persistence.bin was replaced meanwhile: then a writer is at work, and kLocked.
  [[nodiscard]] Status unless_changed(Status finding);
  [[nodiscard]] Status before_step(std::string_view step) const {
    return options.before_step ? options.before_step(step) : Status();
  }

  // The vault takes commits from here on, and the threads serve those who wait for them.
  void make_queue();
  void start_threads();
  void stop_threads() SR_REQUIRES(compactor.mutex());

 private:
  // Hooks of the queue.
  void decorate(std::vector<log::Change>& changes);
  void on_committed(const log::CommitInfo& info);
};

}  // namespace strongroom::store
