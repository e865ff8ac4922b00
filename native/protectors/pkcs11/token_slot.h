// The key slot of a PKCS#11 token: the DEK, wrapped by the token's KEK (CKM_AES_KEY_WRAP, RFC 3394, or RSA-OAEP). The
// byte layout of the parameters is in docs/format.md; nonce, wrapped DEK and tag of the slot are zero.
//
// Invariant: nothing in the parameters is believed before the DEK that they lead to has authenticated the core data, whose
// associated data they are. The module's path in them is told to the user and never loaded.
#pragma once

#include "header/persistence_file.h"
#include "roots/pkcs11/token.h"
#include "secret_store/secret_store.h"

namespace strongroom::store {

struct TokenSlot {
  std::string module;  // when the slot was made
  std::string token_label;
  std::string token_serial;
  std::string kek_label;
  SecretStoreConfig secret_store;  // where the witnesses are, which a token does not replace
  roots::Kek kek;
  Bytes wrapped;  // empty while a COLDSTART is under way
};

[[nodiscard]] Bytes encode_token_parameters(const TokenSlot& slot);
// kPersistenceTampered for anything that encode_token_parameters() does not make.
[[nodiscard]] Result<TokenSlot> parse_token_parameters(ByteView parameters);

// CKA_ID of a new KEK: 8 bytes that are the store's, 8 random ones.
[[nodiscard]] Bytes new_kek_id(const StorageId& storage_id);
[[nodiscard]] bool is_kek_id_of(ByteView id, const StorageId& storage_id);

// Wraps the DEK; the token unwraps it again before this returns.
[[nodiscard]] Result<KeySlot> wrap_token_slot(roots::Token& token, std::uint32_t slot_id, TokenSlot slot,
                                              ByteView dek);
// kKekMissing, kKekDuplicate, kKekReplaced, kWrappedDekCorrupt, and the reasons of reaching the token.
[[nodiscard]] Result<SecretBytes> open_token_slot(roots::Token& token, const KeySlot& key_slot,
                                                  const TokenSlot& slot);

// Whether the KEK is gone, or is not what it was: an outage or a wrong PIN heals by itself, or by the right PIN.
[[nodiscard]] bool is_loss_of_kek(const Status& refused);

}  // namespace strongroom::store
