// HKDF-SHA-256 and Argon2id.
#include <argon2.h>
#include <openssl/core_names.h>
#include <openssl/params.h>

#include "base/limits.h"
#include "crypto/crypto.h"
#include "crypto/openssl.h"

namespace strongroom::crypto {
namespace {

constexpr std::uint32_t kMemoryKibMin = 8;
constexpr std::uint32_t kMemoryKibMax = 1024 * 1024;
constexpr std::uint32_t kPassesMax = 16;
constexpr std::uint32_t kLanesMax = 4;
constexpr std::size_t kSaltBytes = 16;

EVP_KDF* fetched_hkdf() {
  static EVP_KDF* const kdf = [] {
    prepare_library();
    return EVP_KDF_fetch(nullptr, "HKDF", nullptr);
  }();
  SR_REQUIRE(kdf != nullptr);
  return kdf;
}

// OpenSSL's parameters are not const, but it only reads these. It refuses a null pointer.
OSSL_PARAM octets(const char* name, ByteView data) {
  static const std::uint8_t nothing = 0;
  return OSSL_PARAM_construct_octet_string(name, const_cast<std::uint8_t*>(non_null(data.data(), &nothing)),
                                           data.size());
}

}  // namespace

SecretBytes hkdf_sha256(ByteView input_key, ByteView salt, std::string_view info, std::size_t length) {
  const KdfContext context(EVP_KDF_CTX_new(fetched_hkdf()));
  SR_REQUIRE(context != nullptr);
  char digest[] = "SHA256";
  const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
                                   octets(OSSL_KDF_PARAM_KEY, input_key), octets(OSSL_KDF_PARAM_SALT, salt),
                                   octets(OSSL_KDF_PARAM_INFO, as_bytes(info)), OSSL_PARAM_construct_end()};
  SecretBytes out(length);
  SR_REQUIRE(EVP_KDF_derive(context.get(), out.span().data(), out.size(), parameters) == 1);
  return out;
}

bool acceptable(const Argon2Parameters& parameters) {
  return parameters.lanes >= 1 && parameters.lanes <= kLanesMax && parameters.passes >= 1 &&
         parameters.passes <= kPassesMax && parameters.memory_kib >= kMemoryKibMin * parameters.lanes &&
         parameters.memory_kib <= kMemoryKibMax;
}

Result<SecretBytes> argon2id(ByteView password, ByteView salt, const Argon2Parameters& parameters) {
  if (!acceptable(parameters)) return Status(Reason::kInvalidArgument, "Argon2id parameters out of bounds");
  if (salt.size() != kSaltBytes) return Status(Reason::kInvalidArgument, "an Argon2id salt has 16 bytes");
  if (password.size() > limits::kPasswordBytesMax) {
    return Status(Reason::kInvalidArgument, "the password is longer than 4096 bytes");
  }
  SecretBytes out(kKeyBytes);
  const int code =
      argon2id_hash_raw(parameters.passes, parameters.memory_kib, parameters.lanes, password.data(),
                        password.size(), salt.data(), salt.size(), out.span().data(), out.size());
  if (code != ARGON2_OK)
    return Status(Reason::kInternal, std::string("Argon2id: ") + argon2_error_message(code));
  return out;
}

std::string library_version() { return OpenSSL_version(OPENSSL_VERSION); }

}  // namespace strongroom::crypto
