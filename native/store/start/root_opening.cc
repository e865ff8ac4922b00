#include "store/start/root_opening.h"

#include "store/engine_state.h"

namespace strongroom::store {

Status RootOpening::adopt(const ParsedPersistence& candidate, SecretBytes dek) {
  SR_TRY(store_.ring.open(candidate, std::move(dek)));
  store_.life.findings().persistence_damaged = candidate.one_copy_damaged;
  // What the engine then asks of the protector, such as the counter that its root is sealed to.
  const KeySlot* const slot = root_slot(store_.ring.header());
  if (slot != nullptr && kind_of(*slot)->witnesses != (store_.ring.core().witnesses & kWitnessesOfProtectors))
    return {Reason::kPersistenceCorrupt, "persistence.bin has witnesses that do not fit its key slot"};
  return {};
}

Status RootOpening::check_policy() const {
  const EngineOptions& options = store_.options;
  const CoreData& core = store_.ring.core();
  if (!options.instance.empty() && options.instance != store_.ring.header().instance) {
    return {Reason::kInvalidOption,
            "instance: the store has the instance name '" + store_.ring.header().instance + "'"};
  }
  if (options.clock_tolerance_ms && *options.clock_tolerance_ms != core.clock_tolerance_ms) {
    return {Reason::kInvalidOption,
            "clockToleranceMs: fixed at COLDSTART as " + std::to_string(core.clock_tolerance_ms)};
  }
  if (options.age_ms_max && *options.age_ms_max != core.age_ms_max) {
    return {
        Reason::kInvalidOption,
        "maxAge: fixed at COLDSTART as " +
            (core.age_ms_max == kMaxAgeOff ? std::string("'off'") : std::to_string(core.age_ms_max) + " ms")};
  }
  if (options.window_ms_max && *options.window_ms_max != core.window_ms_max) {
    return {Reason::kInvalidOption,
            "windowMaxMs: fixed at COLDSTART as " + std::to_string(core.window_ms_max)};
  }
  if (options.vendor_public_key && options.vendor_public_key != core.authority.vendor_public_key) {
    return {Reason::kInvalidOption, "vendorPublicKey: differs from what was fixed at COLDSTART"};
  }
  return {};
}

Status RootOpening::check_kind(const ProtectorKind& kind) const {
  if (store_.options.protector && *store_.options.protector != kind.type)
    return {Reason::kInvalidOption, "protector.type: the store has '" + std::string(kind.name) + "'"};
  if (!kind.has_secrets() && store_.options.secret_store)
    return {Reason::kInvalidOption, "secretStore: protector '" + std::string(kind.name) + "' has none"};
  return {};
}

Status RootOpening::open() {
  SR_ASSIGN(const std::vector<ParsedPersistence> candidates, store_.ring.read(*store_.directory));
  if (is_being_removed(candidates.front().header.state)) {
    return {Reason::kPartialRestore,
            "a decommission of this store was interrupted; run it again to complete it"};
  }
  Status refusal(Reason::kRootUnavailable, "persistence.bin has no key slot of a root");
  for (const ParsedPersistence& candidate : candidates) {
    for (const KeySlot& slot : candidate.header.slots) {
      const ProtectorKind* const kind = kind_of(slot);
      if (kind == nullptr) continue;
      SR_TRY(check_kind(*kind));
      Result<SecretBytes> opened = unwrap(candidate.header, slot);
      refusal = opened.ok() ? adopt(candidate, *std::move(opened)) : opened.status();
      if (refusal.ok()) return check_policy();
      // What cannot be reached now says nothing about this copy, nor would it about the other.
      if (error_info(refusal.error().reason).retryable) return refusal;
    }
  }
  return refusal;
}

Result<SecretBytes> RootOpening::unwrap(const PersistenceHeader& candidate, const KeySlot& slot) {
  const ProtectorKind& kind = *kind_of(slot);
  store_.use_protector(kind);
  if (kind.has_secrets()) {
    SR_ASSIGN(const SecretStoreConfig named, store_.protector->place_in(slot));
    store_.secrets.config = store_.options.secret_store.value_or(named);
    SR_ASSIGN(store_.secrets.store,
              open_secret_store(store_.environment, store_.secrets.config, candidate.instance));
  }
  SR_TRY(store_.lock_shared(candidate.storage_id, kind));
  return store_.protector->unwrap(candidate, slot);
}

Status RootOpening::open_by_password(ByteView password, const Status& refused) {
  SR_ASSIGN(const std::vector<ParsedPersistence> candidates, store_.ring.read(*store_.directory));
  Status refusal;
  for (const ParsedPersistence& candidate : candidates) {
    Result<SecretBytes> dek = store::open_by_password(candidate.header, password);
    refusal = dek.ok() ? adopt(candidate, *std::move(dek)) : dek.status();
    if (refusal.ok()) break;
  }
  SR_TRY(refusal);
  SR_TRY(check_policy());
  const KeySlot* const slot = root_slot(store_.ring.header());
  if (slot == nullptr) return {Reason::kRootUnavailable, "persistence.bin has no key slot of a root"};
  const ProtectorKind& kind = *kind_of(*slot);
  // The root may have been refused before it was looked for.
  store_.use_protector(kind);
  SR_TRY(store_.lock_shared(store_.ring.header().storage_id, kind));
  SR_TRY(store_.protector->replace_lost(refused));
  store_.life.opening().refused_root = refused;
  return kind.has_secrets() ? open_secrets_again(kind) : Status();
}

// Where the options, or else the key slot, place the SecretStore; it is made if it is missing.
Status RootOpening::open_secrets_again(const ProtectorKind& kind) {
  if (!store_.secrets.store) {
    if (!store_.options.secret_store)
      return {Reason::kInvalidOption, "secretStore: needed, because persistence.bin names none"};
    store_.secrets.config = *store_.options.secret_store;
  }
  SR_ASSIGN(store_.secrets.store,
            open_secret_store(store_.environment, store_.secrets.config, store_.ring.header().instance,
                              os::DirectoryMode::kCreate));
  return store_.lock_shared(store_.ring.header().storage_id, kind);
}

}  // namespace strongroom::store
