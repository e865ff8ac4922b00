// Managed keys that live in the store's token.
#pragma once

#include "roots/pkcs11/token.h"
#include "store/managed_keys.h"

namespace strongroom::store {

class KeysInToken final : public TokenKeys {
 public:
  explicit KeysInToken(std::shared_ptr<roots::Token> token) : token_(std::move(token)) {}

  [[nodiscard]] std::string serial() const override { return token_->info().serial; }
  [[nodiscard]] Status generate(const std::string& label, ByteView key_id, KeyAlgorithm algorithm) override {
    return token_->generate_key(label, key_id, algorithm);
  }
  [[nodiscard]] Result<Bytes> public_key(ByteView key_id) override { return token_->public_key(key_id); }
  [[nodiscard]] Result<Bytes> sign(ByteView key_id, KeyAlgorithm algorithm, ByteView input,
                                   SignatureFormat format) override {
    return token_->sign(key_id, algorithm, input, format);
  }
  [[nodiscard]] Status destroy(ByteView key_id) override { return token_->destroy_key(key_id); }

 private:
  std::shared_ptr<roots::Token> token_;
};

}  // namespace strongroom::store
