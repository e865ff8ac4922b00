#include "crypto/temporary_certificate.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>

#include "crypto/openssl.h"

namespace strongroom::crypto {
namespace {

using Certificate = std::unique_ptr<X509, Free<X509_free>>;
using Memory = std::unique_ptr<BIO, Free<BIO_free>>;
using Names = std::unique_ptr<GENERAL_NAMES, Free<GENERAL_NAMES_free>>;
using Usages = std::unique_ptr<EXTENDED_KEY_USAGE, Free<EXTENDED_KEY_USAGE_free>>;
using Bits = std::unique_ptr<ASN1_BIT_STRING, Free<ASN1_BIT_STRING_free>>;
using Constraints = std::unique_ptr<BASIC_CONSTRAINTS, Free<BASIC_CONSTRAINTS_free>>;
using Octets = std::unique_ptr<ASN1_OCTET_STRING, Free<ASN1_OCTET_STRING_free>>;

constexpr std::size_t kNameBytesMax = 253;       // RFC 1035
constexpr std::size_t kCommonNameBytesMax = 64;  // RFC 5280, ub-common-name
constexpr std::chrono::seconds kClockAllowance = std::chrono::minutes(5);
constexpr std::size_t kSerialBytes = 16;
constexpr long kVersion3 = 2;
constexpr int kDigitalSignature = 0;

bool is_host_name(const std::string& name) {
  return !name.empty() && name.size() <= kNameBytesMax && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-';
  });
}

Status add_name(GENERAL_NAMES* names, const std::string& text) {
  Octets address(a2i_IPADDRESS(text.c_str()));
  ERR_clear_error();
  if (address == nullptr && !is_host_name(text)) {
    return {Reason::kInvalidArgument, "a certificate cannot be made for the name '" + text + "'"};
  }
  GENERAL_NAME* name = GENERAL_NAME_new();
  SR_REQUIRE(name != nullptr && sk_GENERAL_NAME_push(names, name) > 0);
  if (address != nullptr) {
    GENERAL_NAME_set0_value(name, GEN_IPADD, address.release());
    return {};
  }
  ASN1_IA5STRING* host = ASN1_IA5STRING_new();
  SR_REQUIRE(host != nullptr && ASN1_STRING_set(host, text.data(), static_cast<int>(text.size())) == 1);
  GENERAL_NAME_set0_value(name, GEN_DNS, host);
  return {};
}

void add_extensions(X509* certificate) {
  const Constraints constraints(BASIC_CONSTRAINTS_new());  // no authority
  const Bits usage(ASN1_BIT_STRING_new());
  const Usages purposes(EXTENDED_KEY_USAGE_new());
  SR_REQUIRE(constraints != nullptr && usage != nullptr && purposes != nullptr);
  SR_REQUIRE(ASN1_BIT_STRING_set_bit(usage.get(), kDigitalSignature, 1) == 1);
  SR_REQUIRE(sk_ASN1_OBJECT_push(purposes.get(), OBJ_nid2obj(NID_server_auth)) > 0);
  SR_REQUIRE(X509_add1_ext_i2d(certificate, NID_basic_constraints, constraints.get(), 1, 0) == 1);
  SR_REQUIRE(X509_add1_ext_i2d(certificate, NID_key_usage, usage.get(), 1, 0) == 1);
  SR_REQUIRE(X509_add1_ext_i2d(certificate, NID_ext_key_usage, purposes.get(), 0, 0) == 1);
}

// A random serial number of 127 bits, which is positive.
void set_serial(X509* certificate) {
  std::array<unsigned char, kSerialBytes> bytes{};
  SR_REQUIRE(RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) == 1);
  bytes[0] = static_cast<unsigned char>((bytes[0] & 0x7F) | 0x40);
  const std::unique_ptr<BIGNUM, Free<BN_free>> number(
      BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), nullptr));
  SR_REQUIRE(number != nullptr);
  SR_REQUIRE(BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr);
}

// What was written into it, for as long as it lives.
ByteView contents(BIO* memory) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(memory, &data);
  SR_REQUIRE(size > 0);
  return {reinterpret_cast<const std::uint8_t*>(data), static_cast<std::size_t>(size)};
}

}  // namespace

Result<TemporaryCertificate> make_temporary_certificate(std::span<const std::string> names,
                                                        std::chrono::seconds lifetime) {
  if (names.empty()) return Status(Reason::kInvalidArgument, "a certificate needs a name");
  if (lifetime.count() <= 0) return Status(Reason::kInvalidArgument, "a certificate needs a lifetime");
  prepare_library();
  const Names alternatives(GENERAL_NAMES_new());
  SR_REQUIRE(alternatives != nullptr);
  for (const std::string& name : names) SR_TRY(add_name(alternatives.get(), name));

  const PublicKey key(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"));
  const Certificate certificate(X509_new());
  SR_REQUIRE(key != nullptr && certificate != nullptr);
  SR_REQUIRE(X509_set_version(certificate.get(), kVersion3) == 1);
  set_serial(certificate.get());
  SR_REQUIRE(X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -kClockAllowance.count()) != nullptr);
  SR_REQUIRE(X509_gmtime_adj(X509_getm_notAfter(certificate.get()), lifetime.count()) != nullptr);
  const std::string& first = names.front();
  const std::string common = first.size() <= kCommonNameBytesMax ? first : "strongroom";
  X509_NAME* subject = X509_get_subject_name(certificate.get());
  SR_REQUIRE(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                                        reinterpret_cast<const unsigned char*>(common.data()),
                                        static_cast<int>(common.size()), -1, 0) == 1);
  SR_REQUIRE(X509_set_issuer_name(certificate.get(), subject) == 1);
  SR_REQUIRE(X509_set_pubkey(certificate.get(), key.get()) == 1);
  add_extensions(certificate.get());
  SR_REQUIRE(X509_add1_ext_i2d(certificate.get(), NID_subject_alt_name, alternatives.get(), 0, 0) == 1);
  SR_REQUIRE(X509_sign(certificate.get(), key.get(), EVP_sha256()) > 0);

  const Memory certificate_pem(BIO_new(BIO_s_mem()));
  const Memory key_pem(BIO_new(BIO_s_secmem()));
  SR_REQUIRE(certificate_pem != nullptr && key_pem != nullptr);
  SR_REQUIRE(PEM_write_bio_X509(certificate_pem.get(), certificate.get()) == 1);
  SR_REQUIRE(PEM_write_bio_PKCS8PrivateKey(key_pem.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) ==
             1);
  TemporaryCertificate made;
  const ByteView written = contents(certificate_pem.get());
  made.certificate.assign(written.begin(), written.end());
  made.key = SecretBytes(contents(key_pem.get()));
  return made;
}

}  // namespace strongroom::crypto
