// A vendor's Ed25519 key for tests, signed with by OpenSSL.
#pragma once

#include <openssl/evp.h>

#include "reliability_fixture.h"
#include "store/authority.h"

namespace strongroom::store::testing {

class VendorKey {
 public:
  VendorKey() : key_(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"), EVP_PKEY_free) {
    if (key_ == nullptr) std::abort();
  }
  [[nodiscard]] std::array<std::uint8_t, 32> public_key() const {
    std::array<std::uint8_t, 32> out{};
    std::size_t size = out.size();
    if (EVP_PKEY_get_raw_public_key(key_.get(), out.data(), &size) != 1) std::abort();
    return out;
  }
  [[nodiscard]] Bytes permit(Purpose purpose, const StorageId& storage_id,
                             const log::Checkpoint& checkpoint) const {
    Bytes out = permit_statement(purpose, storage_id, checkpoint);
    const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
    std::array<std::uint8_t, 64> signature{};
    std::size_t size = signature.size();
    if (EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key_.get()) != 1 ||
        EVP_DigestSign(context.get(), signature.data(), &size, out.data(), out.size()) != 1) {
      std::abort();
    }
    out.insert(out.end(), signature.begin(), signature.end());
    return out;
  }
  // Over the checkpoint that the store of this world stands at.
  [[nodiscard]] Bytes permit_for(World& world, Purpose purpose) const {
    Session session(world);
    if (!steps_to_identified(session.engine()).ok()) std::abort();
    const EngineStatus status = session.engine().status();
    return permit(purpose, status.storage_id, status.newest);
  }

 private:
  std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key_;
};

}  // namespace strongroom::store::testing
