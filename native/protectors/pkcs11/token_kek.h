// The KEK of a store in a PKCS#11 token: the connection, the slot on disk, and the making of the next KEK.
//
// Invariant: a KEK bears the storage id in its id, so that what an interrupted change left can be told and removed.
// Serialised by the engine's persistence lock once the store is open.
#pragma once

#include <memory>
#include <string>

#include "protectors/key_protector.h"
#include "protectors/pkcs11/token_slot.h"
#include "protectors/pkcs11/token_store.h"

namespace strongroom::store {

class TokenKek {
 public:
  explicit TokenKek(const ProtectorContext& context) : context_(context) {}

  // Once; later calls change nothing. `named`: the slot, for what the options left open.
  [[nodiscard]] Status connect(const TokenSlot* named);
  void share(const TokenKek& other) { token_ = other.token_; }

  [[nodiscard]] Result<SecretBytes> open(const PersistenceHeader& header, const KeySlot& slot);
  [[nodiscard]] Result<KeySlot> wrap(std::uint32_t slot_id, ByteView dek) {
    return wrap_token_slot(*token_, slot_id, slot_, dek);
  }
  void adopt(const KeySlot& slot);
  // The slot of a KEK that is still to be made.
  [[nodiscard]] Status plan();
  // In place of the slot that `next` has: a new KEK, and the DEK under it.
  [[nodiscard]] Status make(PersistenceHeader& next);
  // What make() makes next is in the token that is there, and under the label of the options where they give one.
  void move_from(const TokenSlot& former);
  // KEKs of this store, but for the present one; or all of them.
  [[nodiscard]] Status remove_strays() { return remove_all_but(slot_.kek.id); }
  [[nodiscard]] Status remove_all_but(const Bytes& kept);
  void adopt_name(TokenSlot named);  // where none is known yet

  // Null before it is connected.
  [[nodiscard]] const std::shared_ptr<roots::Token>& token() const { return token_; }
  [[nodiscard]] SecretStore* store() const { return store_.get(); }

 private:
  [[nodiscard]] Status unless_misnamed(const TokenSlot& named, Status lost) const;

  ProtectorContext context_;
  std::shared_ptr<roots::Token> token_;
  std::unique_ptr<TokenStore> store_;
  TokenSlot slot_;  // of the persistence.bin on disk, or what is made next
};

}  // namespace strongroom::store
