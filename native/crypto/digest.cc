// SHA-256, HMAC-SHA-256, Ed25519 signatures and comparison in constant time.
#include <openssl/core_names.h>
#include <openssl/params.h>

#include <utility>

#include "crypto/crypto.h"
#include "crypto/openssl.h"

namespace strongroom::crypto {
namespace {

const EVP_MD* fetched_sha256() {
  static const EVP_MD* const digest = [] {
    prepare_library();
    return EVP_MD_fetch(nullptr, "SHA256", nullptr);
  }();
  SR_REQUIRE(digest != nullptr);
  return digest;
}

EVP_MAC* fetched_hmac() {
  static EVP_MAC* const mac = [] {
    prepare_library();
    return EVP_MAC_fetch(nullptr, "HMAC", nullptr);
  }();
  SR_REQUIRE(mac != nullptr);
  return mac;
}

DigestContext started_context() {
  prepare_library();
  DigestContext context(EVP_MD_CTX_new());
  SR_REQUIRE(context != nullptr);
  SR_REQUIRE(EVP_DigestInit_ex2(context.get(), fetched_sha256(), nullptr) == 1);
  return context;
}

// Leaves the context ready for the next message.
Digest finish_context(EVP_MD_CTX* context) {
  Digest out;
  SR_REQUIRE(EVP_DigestFinal_ex(context, out.data(), nullptr) == 1);
  SR_REQUIRE(EVP_DigestInit_ex2(context, nullptr, nullptr) == 1);
  return out;
}

// The context of the one-shot function of this thread. Both are trivial, so that destructors that run after
// Owner's, at the end of the thread or the process, may still ask.
thread_local EVP_MD_CTX* thread_context = nullptr;
thread_local bool thread_ending = false;

struct Owner {
  ~Owner() {
    EVP_MD_CTX_free(std::exchange(thread_context, nullptr));
    thread_ending = true;
  }
};

EVP_MD_CTX* context_of_thread() {
  if (thread_context == nullptr) {
    thread_local Owner owner;
    (void)owner;
    thread_context = started_context().release();
  }
  return thread_context;
}

Digest digest_with(EVP_MD_CTX* context, std::initializer_list<ByteView> parts) {
  for (const ByteView part : parts) SR_REQUIRE(EVP_DigestUpdate(context, part.data(), part.size()) == 1);
  return finish_context(context);
}

}  // namespace

struct Sha256::State {
  DigestContext context = started_context();
};

Sha256::Sha256() : state_(std::make_unique<State>()) {}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::update(ByteView data) {
  SR_REQUIRE(EVP_DigestUpdate(state_->context.get(), data.data(), data.size()) == 1);
}

Digest Sha256::finish() { return finish_context(state_->context.get()); }

Digest sha256(std::initializer_list<ByteView> parts) {
  if (thread_ending) return digest_with(started_context().get(), parts);
  return digest_with(context_of_thread(), parts);
}

Digest hmac_sha256(ByteView key, std::initializer_list<ByteView> parts) {
  // A context of its own for each call: one that is kept would keep the key.
  const MacContext context(EVP_MAC_CTX_new(fetched_hmac()));
  SR_REQUIRE(context != nullptr);
  char name[] = "SHA256";
  const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
                                   OSSL_PARAM_construct_end()};
  const std::uint8_t nothing = 0;
  SR_REQUIRE(EVP_MAC_init(context.get(), non_null(key.data(), &nothing), key.size(), parameters) == 1);
  for (const ByteView part : parts) SR_REQUIRE(EVP_MAC_update(context.get(), part.data(), part.size()) == 1);
  Digest out;
  std::size_t written = 0;
  SR_REQUIRE(EVP_MAC_final(context.get(), out.data(), &written, out.size()) == 1 && written == out.size());
  return out;
}

bool ed25519_verify(ByteView public_key, ByteView message, ByteView signature) {
  if (public_key.size() != 32 || signature.size() != 64) return false;
  prepare_library();
  const PublicKey key(
      EVP_PKEY_new_raw_public_key_ex(nullptr, "ED25519", nullptr, public_key.data(), public_key.size()));
  const DigestContext context(EVP_MD_CTX_new());
  if (key == nullptr || context == nullptr) return false;
  const std::uint8_t nothing = 0;
  return EVP_DigestVerifyInit_ex(context.get(), nullptr, nullptr, nullptr, nullptr, key.get(), nullptr) ==
             1 &&
         EVP_DigestVerify(context.get(), signature.data(), signature.size(),
                          non_null(message.data(), &nothing), message.size()) == 1;
}

bool equal_constant_time(ByteView a, ByteView b) {
  return a.size() == b.size() && (a.empty() || CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0);
}

}  // namespace strongroom::crypto
