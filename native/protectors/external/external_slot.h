// The key slot of a root key that a key service of the application wraps. Its KEK is HKDF-SHA-256 of the root key.
//
// Parameters: u8 version (1), the parameters of a software slot (where the witnesses are), the wrapped root key; the last
// two with their lengths before them.
//
// Invariants:
// - Parameters are untrusted until the wrap of the DEK, which they are bound into, has authenticated.
// - The DEK itself never leaves the core. Each slot has a root key of its own, so a wrapped root of an earlier slot opens
//   nothing of a later one.
#pragma once

#include "header/persistence_file.h"
#include "secret_store/secret_store.h"

namespace strongroom::store {

inline constexpr std::size_t kWrappedRootBytesMax = 4096;

struct ExternalSlot {
  SecretStoreConfig secret_store;
  Bytes wrapped;
};

[[nodiscard]] Bytes encode_external_parameters(const ExternalSlot& slot);
// kPersistenceTampered for anything that encode_external_parameters() does not make.
[[nodiscard]] Result<ExternalSlot> parse_external_parameters(ByteView parameters);
[[nodiscard]] SecretBytes external_kek(ByteView root_key, const StorageId& storage_id);
// What the service is asked to bind the wrapped root to: storage id, u32 slot id, and the instance name behind them.
[[nodiscard]] Bytes external_context(const PersistenceHeader& header, std::uint32_t slot_id);

}  // namespace strongroom::store
