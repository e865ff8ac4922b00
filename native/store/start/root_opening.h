// The DEK of a WARMSTART: by the key protector, or by a password where the root is lost.
#pragma once

#include "store/engine.h"

namespace strongroom::store {

class RootOpening {
 public:
  explicit RootOpening(Engine::State& store) : store_(store) {}

  // With the options that were fixed at COLDSTART compared.
  [[nodiscard]] Status open();
  // `refused`: why open() did not.
  [[nodiscard]] Status open_by_password(ByteView password, const Status& refused);

  // Of persistence.bin as it was read: the DEK, with the protector and the SecretStore connected that the slot names and what
  // copies share locked.
  [[nodiscard]] Result<SecretBytes> unwrap(const PersistenceHeader& candidate, const KeySlot& slot);
  // kPersistenceTampered where this DEK does not authenticate it.
  [[nodiscard]] Status adopt(const ParsedPersistence& candidate, SecretBytes dek);

 private:
  [[nodiscard]] Status check_kind(const ProtectorKind& kind) const;
  [[nodiscard]] Status check_policy() const;
  [[nodiscard]] Status open_secrets_again(const ProtectorKind& kind);

  Engine::State& store_;
};

}  // namespace strongroom::store
