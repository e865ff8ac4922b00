// AES-256-GCM and random bytes.
//
// Invariants:
// - Each direction has a context of its own that keeps the key schedule; a message sets only its IV. A
// context that
//   failed to open a message is as good as new after the next IV.
// - Key schedules live in OpenSSL's heap blocks, which it wipes when the context is freed.
#include <openssl/rand.h>

#include <algorithm>
#include <climits>

#include "crypto/crypto.h"
#include "crypto/openssl.h"

namespace strongroom::crypto {
namespace {

const EVP_CIPHER* aes_256_gcm() {
  static const EVP_CIPHER* const cipher = [] {
    prepare_library();
    return EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
  }();
  SR_REQUIRE(cipher != nullptr);
  return cipher;
}

CipherContext keyed_context(ByteView key, int encrypting) {
  prepare_library();
  CipherContext context(EVP_CIPHER_CTX_new());
  SR_REQUIRE(context != nullptr);
  SR_REQUIRE(EVP_CipherInit_ex2(context.get(), aes_256_gcm(), key.data(), nullptr, encrypting, nullptr) == 1);
  return context;
}

int length_of(ByteView data) {
  SR_REQUIRE(data.size() <= INT_MAX);
  return static_cast<int>(data.size());
}

}  // namespace

void random_bytes(MutableBytes out) {
  prepare_library();
  while (!out.empty()) {
    const std::size_t part = std::min<std::size_t>(out.size(), std::size_t{1} << 20);
    // The private generator, because what is drawn may become a key.
    SR_REQUIRE(RAND_priv_bytes(out.data(), static_cast<int>(part)) == 1);
    out = out.subspan(part);
  }
}

struct Aead::State {
  CipherContext sealing;
  CipherContext opening;
};

Aead::Aead(ByteView key) {
  SR_REQUIRE(key.size() == kKeyBytes);
  state_ = std::make_unique<State>(State{keyed_context(key, 1), keyed_context(key, 0)});
}

Aead::~Aead() = default;
Aead::Aead(Aead&&) noexcept = default;
Aead& Aead::operator=(Aead&&) noexcept = default;

void Aead::seal(const Nonce& nonce, ByteView associated_data, ByteView plaintext, std::uint8_t* out,
                std::uint8_t* tag) {
  EVP_CIPHER_CTX* const context = state_->sealing.get();
  int written = 0;
  SR_REQUIRE(EVP_EncryptInit_ex2(context, nullptr, nullptr, nonce.data(), nullptr) == 1);
  if (!associated_data.empty()) {
    SR_REQUIRE(EVP_EncryptUpdate(context, nullptr, &written, associated_data.data(),
                                 length_of(associated_data)) == 1);
  }
  if (!plaintext.empty()) {
    SR_REQUIRE(EVP_EncryptUpdate(context, out, &written, plaintext.data(), length_of(plaintext)) == 1);
  }
  std::uint8_t nothing[16];  // GCM has no last block
  SR_REQUIRE(EVP_EncryptFinal_ex(context, nothing, &written) == 1);
  SR_REQUIRE(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, static_cast<int>(kTagBytes), tag) == 1);
}

bool Aead::open(const Nonce& nonce, ByteView associated_data, ByteView ciphertext, const std::uint8_t* tag,
                std::uint8_t* out) {
  EVP_CIPHER_CTX* const context = state_->opening.get();
  int written = 0;
  SR_REQUIRE(EVP_DecryptInit_ex2(context, nullptr, nullptr, nonce.data(), nullptr) == 1);
  if (!associated_data.empty()) {
    SR_REQUIRE(EVP_DecryptUpdate(context, nullptr, &written, associated_data.data(),
                                 length_of(associated_data)) == 1);
  }
  if (!ciphertext.empty()) {
    SR_REQUIRE(EVP_DecryptUpdate(context, out, &written, ciphertext.data(), length_of(ciphertext)) == 1);
  }
  // The control call only reads the tag, although its parameter is not const.
  SR_REQUIRE(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, static_cast<int>(kTagBytes),
                                 const_cast<std::uint8_t*>(tag)) == 1);
  std::uint8_t nothing[16];
  if (EVP_DecryptFinal_ex(context, nothing, &written) == 1) return true;
  wipe({out, ciphertext.size()});
  return false;
}

}  // namespace strongroom::crypto
