// The TLS credential: what fits is stored, and what is stored comes out whole whatever fails on the way.
#include "store/tls_credential.h"

#include <openssl/pem.h>
#include <openssl/x509.h>

#include "crypto/certificate.h"
#include "crypto/private_key.h"
#include "engine_fixture.h"

namespace strongroom::store::testing {
namespace {

using os::testing::ManualClock;
using os::testing::SimulatedDisk;

constexpr const char* kTls = "/srv/tls";

struct Pair {
  std::string key;          // PKCS#8 PEM
  std::string certificate;  // self-signed
  Bytes public_key;
};

std::string text_of(BIO* memory) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(memory, &data);
  std::string text(data, static_cast<std::size_t>(size));
  BIO_free(memory);
  return text;
}

Pair make_pair(const char* name) {
  (void)crypto::to_be_signed(crypto::KeyAlgorithm::kEcP256, {});  // sets OpenSSL up
  EVP_PKEY* const key = EVP_EC_gen("P-256");
  X509* const certificate = X509_new();
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
  X509_set_pubkey(certificate, key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name), -1, -1, 0);
  X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
  X509_sign(certificate, key, EVP_sha256());
  BIO* const key_text = BIO_new(BIO_s_mem());
  PEM_write_bio_PKCS8PrivateKey(key_text, key, nullptr, nullptr, 0, nullptr, nullptr);
  BIO* const certificate_text = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(certificate_text, certificate);
  Pair pair{text_of(key_text), text_of(certificate_text), {}};
  pair.public_key.resize(static_cast<std::size_t>(i2d_PUBKEY(key, nullptr)));
  unsigned char* at = pair.public_key.data();
  i2d_PUBKEY(key, &at);
  X509_free(certificate);
  EVP_PKEY_free(key);
  return pair;
}

Status check(const std::string& key, const std::string& certificate, const std::string& chain) {
  return crypto::check_credential(as_bytes(key), as_bytes(certificate), as_bytes(chain));
}

TEST(Certificate, OnlyWhatFitsIsACredential) {
  const Pair one = make_pair("one");
  const Pair two = make_pair("two");
  ASSERT_OK(check(one.key, one.certificate, ""));
  ASSERT_OK(check(one.key, one.certificate, two.certificate + one.certificate));
  ASSERT_OK(check("some text\n" + one.key, "subject=one\n" + one.certificate, ""));
  EXPECT_REASON(check(one.key, two.certificate, ""), Reason::kCertificateMismatch);
  for (const std::string& key : {std::string(), std::string("x"), one.certificate, one.key + two.key,
                                 one.key.substr(0, one.key.size() / 2)}) {
    EXPECT_REASON(check(key, one.certificate, ""), Reason::kInvalidArgument);
  }
  for (const std::string& certificate :
       {std::string(), one.key, one.certificate + two.certificate, one.certificate + one.key,
        one.certificate.substr(0, one.certificate.size() / 2)}) {
    EXPECT_REASON(check(one.key, certificate, ""), Reason::kInvalidArgument);
  }
  for (const std::string& chain :
       {one.key, two.certificate + "-----BEGIN CERTIFICATE-----\n",
        std::string("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")}) {
    EXPECT_REASON(check(one.key, one.certificate, chain), Reason::kInvalidArgument);
  }
}

TEST(Certificate, AnEncryptedKeyIsRefusedWithoutAQuestion) {
  const Pair one = make_pair("one");
  BIO* const in = BIO_new_mem_buf(one.key.data(), static_cast<int>(one.key.size()));
  EVP_PKEY* const key = PEM_read_bio_PrivateKey(in, nullptr, nullptr, nullptr);
  BIO_free(in);
  BIO* const out = BIO_new(BIO_s_mem());
  ASSERT_EQ(PEM_write_bio_PKCS8PrivateKey(out, key, EVP_aes_256_cbc(), "password", 8, nullptr, nullptr), 1);
  EVP_PKEY_free(key);
  EXPECT_REASON(check(text_of(out), one.certificate, ""), Reason::kInvalidArgument);
}

TEST(Certificate, AChainBeginsWithTheKeysOwn) {
  const Pair one = make_pair("one");
  const Pair two = make_pair("two");
  ASSERT_OK(crypto::check_chain(one.public_key, as_bytes(one.certificate + two.certificate)));
  EXPECT_REASON(crypto::check_chain(one.public_key, as_bytes(two.certificate + one.certificate)),
                Reason::kCertificateMismatch);
  EXPECT_REASON(crypto::check_chain(one.public_key, {}), Reason::kInvalidArgument);
  EXPECT_REASON(crypto::check_chain({}, as_bytes(one.certificate)), Reason::kCertificateMismatch);
}

class TlsCredentialTest : public ::testing::Test {
 protected:
  std::unique_ptr<SimulatedDisk> disk = make_disk();
  std::unique_ptr<SimulatedDisk> web = std::make_unique<SimulatedDisk>();  // where the web server's files are
  ManualClock clock;
  Opened store{*disk, clock, store_options()};
  const Pair old_pair = make_pair("old");
  const Pair new_pair = make_pair("new");

  void SetUp() override {
    web->make_directory(kTls);
    ASSERT_OK(store.open());
  }
  Status set(const Pair& pair, const std::string& chain) {
    return set_tls(*store, as_bytes(pair.key), TlsCertificate{pair.certificate, chain});
  }
  static std::optional<std::string> file(const SimulatedDisk& on, std::string_view name) {
    const std::optional<Bytes> content = on.content(std::string(kTls) + "/" + std::string(name));
    return content ? std::optional(std::string(as_text(*content))) : std::nullopt;
  }
  static bool holds(const SimulatedDisk& on, const Pair& pair, const std::string& chain) {
    return file(on, kTlsKeyFile) == pair.key && file(on, kTlsCertificateFile) == pair.certificate &&
           file(on, kTlsChainFile).value_or("") == chain;
  }
};

TEST_F(TlsCredentialTest, WhatWasSetComesOutByteForByte) {
  EXPECT_REASON(extract_tls(*store, *web, kTls), Reason::kTlsNotSet);
  EXPECT_FALSE(tls_certificate(*store)->has_value());
  ASSERT_OK(set(old_pair, new_pair.certificate));
  ASSERT_OK(extract_tls(*store, *web, kTls));
  EXPECT_TRUE(holds(*web, old_pair, new_pair.certificate));
  EXPECT_EQ((*tls_certificate(*store))->certificate, old_pair.certificate);
  ASSERT_OK(set(new_pair, ""));
  ASSERT_OK(extract_tls(*store, *web, kTls));
  EXPECT_TRUE(holds(*web, new_pair, ""));
  EXPECT_EQ(web->list(kTls), (std::vector<std::string>{"tls.crt", "tls.key"}));
  ASSERT_OK(extract_tls(*store, *web, kTls));
  ASSERT_OK(remove_tls(*store));
  EXPECT_REASON(extract_tls(*store, *web, kTls), Reason::kTlsNotSet);
  EXPECT_TRUE(holds(*web, new_pair, "")) << "files stay";
}

TEST_F(TlsCredentialTest, RefusesWhatDoesNotFitAndKeepsWhatWasThere) {
  ASSERT_OK(set(old_pair, ""));
  EXPECT_REASON(set_tls(*store, as_bytes(old_pair.key), {new_pair.certificate, ""}),
                Reason::kCertificateMismatch);
  EXPECT_REASON(set_tls(*store, Bytes(16385, ' '), {new_pair.certificate, ""}), Reason::kInvalidArgument);
  EXPECT_REASON(set_tls(*store, as_bytes(new_pair.key), {std::string(262145, ' '), ""}),
                Reason::kInvalidArgument);
  EXPECT_REASON(extract_tls(*store, *web, "/srv/none"), Reason::kNotFound);
  ASSERT_OK(extract_tls(*store, *web, kTls));
  EXPECT_TRUE(holds(*web, old_pair, ""));
}

// Every call fails once, in both directions (a chain that comes, a chain that goes), for lack of space and for errors.
TEST_F(TlsCredentialTest, WhateverFailsTheFormerFilesStay) {
  int faults = 0;
  for (const bool chain_goes : {false, true}) {
    const std::string old_chain = chain_goes ? old_pair.certificate : std::string();
    const std::string new_chain = chain_goes ? std::string() : new_pair.certificate;
    ASSERT_OK(set(old_pair, old_chain));
    ASSERT_OK(extract_tls(*store, *web, kTls));
    ASSERT_OK(set(new_pair, new_chain));
    const std::unique_ptr<SimulatedDisk> image = web->clone();
    for (const Reason reason : {Reason::kIoError, Reason::kNoSpace}) {
      for (std::uint64_t call = 1;; ++call) {
        const std::unique_ptr<SimulatedDisk> disk_now = image->clone();
        disk_now->fail_at(disk_now->calls() + call, {.reason = reason});
        const Status status = extract_tls(*store, *disk_now, kTls);
        if (status.ok()) break;
        ++faults;
        EXPECT_TRUE(status.is(reason));
        EXPECT_TRUE(holds(*disk_now, old_pair, old_chain)) << "call " << call;
        for (const std::string& name : disk_now->list(kTls)) EXPECT_FALSE(name.ends_with(".new")) << name;
        disk_now->clear_faults();
        ASSERT_OK(extract_tls(*store, *disk_now, kTls));
        EXPECT_TRUE(holds(*disk_now, new_pair, new_chain));
      }
    }
    for (const std::string& name : web->list(kTls)) web->remove(std::string(kTls) + "/" + name);
  }
  std::printf("TLS: faults=%d former files lost=0\n", faults);
  EXPECT_GT(faults, 30);
}

// A power cut at every call: each file is a whole old or a whole new one, and only between the last two renames do key and
// certificate differ. Extracting again gives the new ones.
TEST_F(TlsCredentialTest, AfterEveryPowerCutFilesAreWholeAndMendedByTheNextExtraction) {
  ASSERT_OK(set(old_pair, old_pair.certificate));
  ASSERT_OK(extract_tls(*store, *web, kTls));
  ASSERT_OK(set(new_pair, new_pair.certificate));
  const std::unique_ptr<SimulatedDisk> image = web->clone();
  int states = 0;
  int mismatched_cuts = 0;
  for (std::uint64_t cut = 1;; ++cut) {
    const std::unique_ptr<SimulatedDisk> disk_now = image->clone();
    disk_now->power_cut_at(disk_now->calls() + cut);
    const Status status = extract_tls(*store, *disk_now, kTls);
    if (!disk_now->power_is_cut()) {
      ASSERT_OK(status);
      break;
    }
    bool mismatched = false;
    for (const os::testing::CrashState& state : disk_now->crash_states()) {
      ++states;
      const std::unique_ptr<SimulatedDisk> after = disk_now->after_crash(state);
      const auto key = file(*after, kTlsKeyFile);
      const auto certificate = file(*after, kTlsCertificateFile);
      const auto chain = file(*after, kTlsChainFile);
      EXPECT_TRUE(key == old_pair.key || key == new_pair.key);
      EXPECT_TRUE(certificate == old_pair.certificate || certificate == new_pair.certificate);
      EXPECT_TRUE(chain == old_pair.certificate || chain == new_pair.certificate);
      mismatched |= (key == old_pair.key) != (certificate == old_pair.certificate);
      ASSERT_OK(extract_tls(*store, *after, kTls));
      EXPECT_TRUE(holds(*after, new_pair, new_pair.certificate));
    }
    mismatched_cuts += static_cast<int>(mismatched);
  }
  std::printf("TLS: states after power cuts=%d torn files=0\n", states);
  // The two renames, and the sync of the directory that makes them durable.
  EXPECT_EQ(mismatched_cuts, 3);
}

}  // namespace
}  // namespace strongroom::store::testing
