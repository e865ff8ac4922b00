// What the files of this directory share of OpenSSL: its set-up and its owning pointers.
//
// Invariants:
// - OpenSSL is set up before its first use, without an atexit handler (the library must still work in
// destructors at
//   exit, and in worker threads that outlive it) and without openssl.cnf (the core does not change with the
//   machine's configuration, and no foreign provider module is loaded). It is never cleaned up.
// - Fetched algorithms live as long as the process.
// - Every block that OpenSSL frees is wiped (library.cc).
#pragma once

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>

#include <cstdlib>
#include <memory>

// For library failures that leave nothing to report to: they can only be want of memory or a broken library.
#define SR_REQUIRE(success)       \
  do {                            \
    if (!(success)) std::abort(); \
  } while (false)

namespace strongroom::crypto {

// Before the first use of OpenSSL. In library.cc.
void prepare_library();

template <auto free_function>
struct Free {
  template <typename T>
  void operator()(T* object) const {
    free_function(object);
  }
};
using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, Free<EVP_CIPHER_CTX_free>>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, Free<EVP_MD_CTX_free>>;
using MacContext = std::unique_ptr<EVP_MAC_CTX, Free<EVP_MAC_CTX_free>>;
using KdfContext = std::unique_ptr<EVP_KDF_CTX, Free<EVP_KDF_CTX_free>>;
using PublicKey = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, Free<EVP_PKEY_CTX_free>>;

// OpenSSL takes a null pointer for "not given", even with length 0.
template <typename T>
[[nodiscard]] T* non_null(T* data, T* otherwise) {
  return data != nullptr ? data : otherwise;
}

}  // namespace strongroom::crypto
