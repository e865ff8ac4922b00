// The key slot of a root key in a SecretStore. Its KEK is HKDF-SHA-256 of the root key.
//
// Parameters: u8 type of the SecretStore (1 file, 2 secret-service), u16 length of the directory, the directory (empty for
// secret-service).
//
// Invariant: parameters are untrusted until the wrap that they are bound into has authenticated: they are bounded first.
#pragma once

#include "header/persistence_file.h"
#include "secret_store/secret_store.h"

namespace strongroom::store {

[[nodiscard]] Bytes encode_software_parameters(const SecretStoreConfig& config);
[[nodiscard]] Result<SecretStoreConfig> parse_software_parameters(ByteView parameters);
[[nodiscard]] SecretBytes software_kek(ByteView root_key, const StorageId& storage_id);

}  // namespace strongroom::store
