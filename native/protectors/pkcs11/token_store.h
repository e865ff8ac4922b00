// The token as a place of witnesses: the item `VaultHash` as a private data object, found by the instance name. A witness,
// never proof of freshness: whoever has the PIN can put an earlier one back.
//
// Invariant: the newest item counts, and a damaged one is never passed over, unless it belongs to a save that the token
// never acknowledged.
#pragma once

#include "roots/pkcs11/token.h"
#include "secret_store/secret_store.h"

namespace strongroom::store {

class TokenStore final : public SecretStore {
 public:
  TokenStore(std::shared_ptr<roots::Token> token, std::string instance)
      : token_(std::move(token)), instance_(std::move(instance)) {}

  [[nodiscard]] Result<std::optional<Secret>> load(SecretName name) override;
  [[nodiscard]] Status save(SecretName name, const StorageId& storage_id, ByteView value) override;
  [[nodiscard]] Status remove(SecretName name) override;
  [[nodiscard]] Status remove_previous(SecretName name) override;

 private:
  [[nodiscard]] std::string label(SecretName name) const;

  std::shared_ptr<roots::Token> token_;
  std::string instance_;
};

}  // namespace strongroom::store
