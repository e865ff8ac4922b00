// AES-256-GCM, HKDF-SHA-256, HMAC-SHA-256, SHA-256, Argon2id, Ed25519 and random bytes, over OpenSSL 3 and
// libargon2. A failure inside the libraries themselves can only be want of memory or a broken build:
// functions with a Result report it as kInternal, ed25519_verify() answers false, all others end the process
// (abort), because going on would lose data or make weak keys.
#pragma once

#include <initializer_list>
#include <memory>

#include "base/bytes.h"
#include "base/secret_memory.h"
#include "base/status.h"

namespace strongroom::crypto {

inline constexpr std::size_t kKeyBytes = 32;
inline constexpr std::size_t kNonceBytes = 12;
inline constexpr std::size_t kTagBytes = 16;
using Nonce = std::array<std::uint8_t, kNonceBytes>;
using Tag = std::array<std::uint8_t, kTagBytes>;

// Fills from the operating system's generator through OpenSSL's DRBG. Aborts the process if there is no
// randomness: going on would make predictable keys.
void random_bytes(MutableBytes out);

template <std::size_t N>
[[nodiscard]] std::array<std::uint8_t, N> random_array() {
  std::array<std::uint8_t, N> out{};
  random_bytes(out);
  return out;
}

// AES-256-GCM with one key (NIST SP 800-38D). The cipher is fetched once per process and the context kept: a
// message costs only its IV. Not thread-safe: one Aead per thread. The caller never repeats a nonce under one
// key.
class Aead {
 public:
  explicit Aead(ByteView key);  // 32 bytes
  ~Aead();
  Aead(Aead&&) noexcept;
  Aead& operator=(Aead&&) noexcept;

  // `out` has plaintext.size() bytes and may be the same memory as `plaintext`.
  void seal(const Nonce& nonce, ByteView associated_data, ByteView plaintext, std::uint8_t* out,
            std::uint8_t* tag);
  // False when the tag does not fit; then `out` was wiped. `out` may be the same memory as `ciphertext`.
  [[nodiscard]] bool open(const Nonce& nonce, ByteView associated_data, ByteView ciphertext,
                          const std::uint8_t* tag, std::uint8_t* out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Incremental SHA-256 (FIPS 180-4); reusable after finish().
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  void update(ByteView data);
  [[nodiscard]] Digest finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

[[nodiscard]] Digest sha256(std::initializer_list<ByteView> parts);
[[nodiscard]] Digest hmac_sha256(ByteView key, std::initializer_list<ByteView> parts);  // RFC 2104

// RFC 5869, extract and expand.
[[nodiscard]] SecretBytes hkdf_sha256(ByteView input_key, ByteView salt, std::string_view info,
                                      std::size_t length = kKeyBytes);

struct Argon2Parameters {
  std::uint32_t memory_kib = 64 * 1024;
  std::uint32_t passes = 3;
  std::uint32_t lanes = 1;
};
// Bounds of what is accepted from a file before it is authenticated: 8 KiB to 1 GiB, 1 to 16 passes, 1 to 4
// lanes, memory at least 8 KiB a lane.
[[nodiscard]] bool acceptable(const Argon2Parameters& parameters);
// Argon2id version 1.3 (RFC 9106), 32 bytes out. Salt 16 bytes. kInvalidArgument for unacceptable parameters.
[[nodiscard]] Result<SecretBytes> argon2id(ByteView password, ByteView salt,
                                           const Argon2Parameters& parameters);

// RFC 8032; public key 32 bytes, signature 64 bytes.
[[nodiscard]] bool ed25519_verify(ByteView public_key, ByteView message, ByteView signature);

[[nodiscard]] bool equal_constant_time(ByteView a, ByteView b);

// "OpenSSL 3.0.19 …", the library that the core was linked with.
[[nodiscard]] std::string library_version();

}  // namespace strongroom::crypto
