// Fields of the user's own database, sealed by AES-256-GCM under a key of the store, with a context (such as table, column
// and row) bound to each, so that a field cannot be moved to another place.
//
// Sealed field, 41 bytes more than its plaintext; integers little-endian:
//    0  u8 version, 1
//    1  u32 key id: which DEK
//    5  salt (16)
//   21  u32 counter
//   25  ciphertext
//  end  tag (16)
// Key of a salt: HKDF-SHA-256(field key, salt, "strongroom/v5 field salt"); field key: HKDF-SHA-256(DEK, storage id,
// "strongroom/v5 field"). Nonce: the counter (4), zeros (8). Associated data: bytes 0 to 24, then the context.
//
// Why the nonces are safe without any state on disk: a FieldSealer draws a random salt of 128 bits and counts under it, so
// a nonce repeats only when two of them draw one salt: chance below 2^-32 for 2^48 openings (NIST SP 800-38D asks for no
// more), each with 2^32 messages. Random nonces under one key would end at 2^32 messages in all; a key for every message
// would cost a derivation and a key schedule each, several times the sealing itself. A salt is given up after 2^32 messages
// or 64 GiB, which keeps the advantage of one who sees them all below 2^-60.
//
// Invariants:
// - A pair of salt and counter is used once.
// - What does not open says one thing, kFieldNotAuthentic, whatever is wrong with it. Only the key id is told apart, before
//   anything is computed.
// Not thread-safe: one for each thread; any number may exist side by side.
#pragma once

#include <array>
#include <deque>
#include <map>
#include <optional>

#include "crypto/crypto.h"

namespace strongroom::store {

inline constexpr std::size_t kFieldHeaderBytes = 25;
inline constexpr std::size_t kFieldOverheadBytes = kFieldHeaderBytes + crypto::kTagBytes;

class FieldSealer {
 public:
  // `key` is field_key() of the DEK `key_id`; it seals.
  FieldSealer(std::uint32_t key_id, SecretBytes key);
  FieldSealer(const FieldSealer&) = delete;
  FieldSealer& operator=(const FieldSealer&) = delete;
  FieldSealer(FieldSealer&&) = delete;
  FieldSealer& operator=(FieldSealer&&) = delete;
  ~FieldSealer() = default;

  // The key of a former DEK, for opening what it sealed.
  void add_former_key(std::uint32_t key_id, SecretBytes key);

  // `out` has plaintext.size() + kFieldOverheadBytes. kInvalidArgument for another size of
  // `out`, above 1 MiB of plaintext, and above 1,024 bytes of context.
  [[nodiscard]] Status seal(ByteView plaintext, ByteView context, MutableBytes out);
  // `out` has sealed.size() - kFieldOverheadBytes, and nothing in it after a failure. kFieldNotAuthentic,
  // kFieldKeyUnknown; kInvalidArgument for another size of `out` and an overlong context.
  [[nodiscard]] Status open(ByteView sealed, ByteView context, MutableBytes out);

  [[nodiscard]] std::uint32_t sealing_key_id() const { return key_id_; }
  // Unauthenticated. kFieldNotAuthentic for what no release wrote.
  [[nodiscard]] static Result<std::uint32_t> key_id(ByteView sealed);
  // Whether another key than the present one sealed it. As key_id(); kFieldKeyUnknown.
  [[nodiscard]] Result<bool> needs_rotation(ByteView sealed) const;

 private:
  using Salt = std::array<std::uint8_t, 16>;
  using CipherId = std::array<std::uint8_t, 4 + 16>;  // key id and salt, as they stand in a header

  void renew_salt();
  [[nodiscard]] crypto::Aead* cipher_of(ByteView header);

  std::uint32_t key_id_;
  std::map<std::uint32_t, SecretBytes> keys_;
  Salt salt_{};
  std::optional<crypto::Aead> sealing_;
  std::uint64_t messages_ = 0;  // sealed under the present salt
  std::uint64_t bytes_ = 0;
  // The keys of salts that were met last. A database holds one salt for each opening of its store.
  std::map<CipherId, crypto::Aead> opening_;
  std::deque<CipherId> opening_order_;
  std::map<CipherId, crypto::Aead>::iterator latest_ = opening_.end();
};

}  // namespace strongroom::store
