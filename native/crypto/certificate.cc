#include "crypto/certificate.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <climits>
#include <optional>

#include "crypto/openssl.h"

namespace strongroom::crypto {
namespace {

using MemoryReader = std::unique_ptr<BIO, Free<BIO_free>>;
using Certificate = std::unique_ptr<X509, Free<X509_free>>;

MemoryReader reader_of(ByteView pem) {
  SR_REQUIRE(pem.size() <= INT_MAX);
  static const std::uint8_t nothing = 0;
  MemoryReader reader(BIO_new_mem_buf(non_null(pem.data(), &nothing), static_cast<int>(pem.size())));
  SR_REQUIRE(reader != nullptr);
  return reader;
}

// One block; what OpenSSL allocated for it is wiped and freed.
struct Block {
  char* name = nullptr;
  char* header = nullptr;
  unsigned char* data = nullptr;
  long size = 0;
  Block() = default;
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  Block(Block&&) = delete;
  Block& operator=(Block&&) = delete;
  ~Block() {
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_free(data);
  }
};

Status invalid(std::string text) {
  ERR_clear_error();
  return {Reason::kInvalidArgument, std::move(text)};
}

// The public keys of all certificates in order. Anything else in a block, such as a private key, is refused.
Result<std::vector<PublicKey>> keys_of_certificates(ByteView pem, const std::string& what) {
  prepare_library();
  const MemoryReader reader = reader_of(pem);
  std::vector<PublicKey> keys;
  for (;;) {
    Block block;
    if (PEM_read_bio(reader.get(), &block.name, &block.header, &block.data, &block.size) != 1) {
      const unsigned long code = ERR_peek_last_error();
      if (ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE) break;
      return invalid(what + " is not whole PEM");
    }
    if (std::string_view(block.name) != "CERTIFICATE") {
      return invalid(what + " holds something other than certificates: " + block.name);
    }
    const unsigned char* at = block.data;
    const Certificate certificate(d2i_X509(nullptr, &at, block.size));
    PublicKey key(certificate == nullptr ? nullptr : X509_get_pubkey(certificate.get()));
    if (key == nullptr || at != block.data + block.size)
      return invalid(what + " holds a certificate that cannot be read");
    keys.push_back(std::move(key));
  }
  ERR_clear_error();
  return keys;
}

int no_password(char* /*buffer*/, int /*size*/, int /*encrypting*/, void* /*data*/) { return -1; }

PublicKey read_private_key(ByteView pem) {
  const MemoryReader reader = reader_of(pem);
  PublicKey key(PEM_read_bio_PrivateKey_ex(reader.get(), nullptr, no_password, nullptr, nullptr, nullptr));
  const bool another =
      key != nullptr && PublicKey(PEM_read_bio_PrivateKey_ex(reader.get(), nullptr, no_password, nullptr,
                                                             nullptr, nullptr)) != nullptr;
  ERR_clear_error();
  return another ? nullptr : std::move(key);
}

// Its public half, which certificates are compared with, is really that of its private half.
bool is_consistent(EVP_PKEY* key) {
  const KeyContext context(EVP_PKEY_CTX_new_from_pkey(nullptr, key, nullptr));
  const bool consistent = context != nullptr && EVP_PKEY_pairwise_check(context.get()) == 1;
  ERR_clear_error();
  return consistent;
}

Status mismatch() { return {Reason::kCertificateMismatch, "the certificate was issued for another key"}; }

}  // namespace

Status check_credential(ByteView key, ByteView certificate, ByteView chain) {
  prepare_library();
  const PublicKey private_key = read_private_key(key);
  if (private_key == nullptr) {
    return {Reason::kInvalidArgument, "the key is not exactly one private key in PEM that is not encrypted"};
  }
  if (!is_consistent(private_key.get())) {
    return {Reason::kInvalidArgument, "the two halves of the key do not fit each other"};
  }
  SR_ASSIGN(const std::vector<PublicKey> keys, keys_of_certificates(certificate, "the certificate"));
  if (keys.size() != 1) {
    return {Reason::kInvalidArgument, "the certificate must be exactly one, not " +
                                          std::to_string(keys.size()) + "; others belong into the chain"};
  }
  SR_TRY(keys_of_certificates(chain, "the chain").status());
  if (EVP_PKEY_eq(private_key.get(), keys.front().get()) == 1) return {};
  ERR_clear_error();
  return mismatch();
}

Status check_chain(ByteView public_key, ByteView chain) {
  prepare_library();
  SR_ASSIGN(const std::vector<PublicKey> keys, keys_of_certificates(chain, "the chain"));
  if (keys.empty()) return {Reason::kInvalidArgument, "the chain holds no certificate"};
  const unsigned char* at = public_key.data();
  const PublicKey key(d2i_PUBKEY(nullptr, &at, static_cast<long>(public_key.size())));
  const bool same = key != nullptr && EVP_PKEY_eq(key.get(), keys.front().get()) == 1;
  ERR_clear_error();
  return same ? Status() : mismatch();
}

}  // namespace strongroom::crypto
