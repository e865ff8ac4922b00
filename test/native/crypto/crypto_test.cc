// Published vectors (vectors/*.rsp name their publication) and what the contracts of crypto/crypto.h add to
// them.
#include "crypto/crypto.h"

#include <argon2.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <string>
#include <thread>

namespace strongroom::crypto {
namespace {

// A record of a response file: "Name = value" lines up to an empty line. A line without '=' (FAIL) has the
// value "".
using Record = std::map<std::string, std::string>;

std::string trimmed(const std::string& text) {
  const auto first = text.find_first_not_of(' ');
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(' ') - first + 1);
}

std::vector<Record> read_vectors(const std::string& name) {
  std::ifstream file(std::string(STRONGROOM_SOURCE_DIR "/test/native/vectors/") + name);
  EXPECT_TRUE(file) << name;
  std::vector<Record> records;
  Record record;
  const auto finish = [&] {
    if (!record.empty()) records.push_back(std::exchange(record, {}));
  };
  for (std::string line; std::getline(file, line);) {
    if (line.empty()) {
      finish();
    } else if (line[0] != '#' && line[0] != '[') {
      const auto sign = line.find('=');
      const bool assigned = sign != std::string::npos;
      record[trimmed(line.substr(0, sign))] = assigned ? trimmed(line.substr(sign + 1)) : "";
    }
  }
  finish();
  return records;
}

Bytes hex(const std::string& text) {
  const auto bytes = from_hex(text);
  EXPECT_TRUE(bytes.has_value()) << text;
  return bytes.value_or(Bytes{});
}

template <std::size_t N>
std::array<std::uint8_t, N> hex_array(const std::string& text) {
  const Bytes bytes = hex(text);
  EXPECT_EQ(bytes.size(), N);
  std::array<std::uint8_t, N> out{};
  std::copy_n(bytes.begin(), std::min(N, bytes.size()), out.begin());
  return out;
}

Bytes repeated(std::size_t size, std::uint8_t byte) { return Bytes(size, byte); }

TEST(Aead, NistCavpEncrypt) {
  const auto records = read_vectors("nist_cavp_gcm_encrypt_256.rsp");
  ASSERT_EQ(records.size(), 125U);
  for (const Record& record : records) {
    Aead aead(hex(record.at("Key")));
    const Bytes plaintext = hex(record.at("PT"));
    Bytes out(plaintext.size());
    Tag tag{};
    aead.seal(hex_array<12>(record.at("IV")), hex(record.at("AAD")), plaintext, out.data(), tag.data());
    EXPECT_EQ(to_hex(out), record.at("CT"));
    EXPECT_EQ(to_hex(tag), record.at("Tag"));
  }
}

TEST(Aead, NistCavpDecrypt) {
  const auto records = read_vectors("nist_cavp_gcm_decrypt_256.rsp");
  ASSERT_EQ(records.size(), 125U);
  int failures = 0;
  for (const Record& record : records) {
    Aead aead(hex(record.at("Key")));
    const Bytes ciphertext = hex(record.at("CT"));
    Bytes out(ciphertext.size(), 0xEE);
    const bool opened = aead.open(hex_array<12>(record.at("IV")), hex(record.at("AAD")), ciphertext,
                                  hex_array<16>(record.at("Tag")).data(), out.data());
    EXPECT_EQ(opened, !record.contains("FAIL"));
    if (opened) {
      EXPECT_EQ(to_hex(out), record.at("PT"));
    } else {
      EXPECT_TRUE(all_zero(out));
      ++failures;
    }
  }
  EXPECT_EQ(failures, 63);
}

class AeadTest : public ::testing::Test {
 protected:
  Bytes plaintext_ = repeated(300, 0x5A);
  Bytes associated_data_ = repeated(40, 0x17);
  Nonce nonce_ = {1, 2, 3};
  Tag tag_{};
  Bytes ciphertext_ = Bytes(300);
  Aead aead_{repeated(32, 9)};

  void SetUp() override { aead_.seal(nonce_, associated_data_, plaintext_, ciphertext_.data(), tag_.data()); }
};

TEST_F(AeadTest, WorksInPlace) {
  Bytes memory = plaintext_;
  Tag tag{};
  aead_.seal(nonce_, associated_data_, memory, memory.data(), tag.data());
  EXPECT_EQ(memory, ciphertext_);
  EXPECT_EQ(tag, tag_);
  EXPECT_TRUE(aead_.open(nonce_, associated_data_, memory, tag.data(), memory.data()));
  EXPECT_EQ(memory, plaintext_);
}

TEST_F(AeadTest, EveryFlippedBitIsRefusedAndTheOutputWiped) {
  const auto refused = [&](const Nonce& nonce, const Bytes& associated_data, const Bytes& ciphertext,
                           const Tag& tag) {
    Bytes out(ciphertext.size(), 0xEE);
    return !aead_.open(nonce, associated_data, ciphertext, tag.data(), out.data()) && all_zero(out);
  };
  const auto flip_each = [](auto bytes, const auto& check) {
    for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
      const auto mask = static_cast<std::uint8_t>(1U << (bit % 8));
      bytes[bit / 8] ^= mask;
      EXPECT_TRUE(check(bytes)) << bit;
      bytes[bit / 8] ^= mask;
    }
  };
  flip_each(nonce_,
            [&](const Nonce& changed) { return refused(changed, associated_data_, ciphertext_, tag_); });
  flip_each(associated_data_,
            [&](const Bytes& changed) { return refused(nonce_, changed, ciphertext_, tag_); });
  flip_each(ciphertext_,
            [&](const Bytes& changed) { return refused(nonce_, associated_data_, changed, tag_); });
  flip_each(tag_,
            [&](const Tag& changed) { return refused(nonce_, associated_data_, ciphertext_, changed); });
  EXPECT_FALSE(refused(nonce_, associated_data_, ciphertext_, tag_))
      << "a refusal spoils nothing that follows";
}

TEST_F(AeadTest, DirectionsMayAlternate) {
  for (std::uint8_t i = 0; i < 50; ++i) {
    Bytes sealed(i);
    Tag tag{};
    const Bytes message = repeated(i, i);
    const Nonce nonce = {i, 77};
    aead_.seal(nonce, {}, message, sealed.data(), tag.data());
    Bytes opened(300);
    EXPECT_TRUE(aead_.open(nonce_, associated_data_, ciphertext_, tag_.data(), opened.data()));
    EXPECT_EQ(opened, plaintext_);
    opened.resize(i);
    EXPECT_TRUE(aead_.open(nonce, {}, sealed, tag.data(), opened.data()));
    EXPECT_EQ(opened, message);
  }
}

TEST_F(AeadTest, Moves) {
  Aead other(repeated(32, 1));
  other = std::move(aead_);
  Bytes out(300);
  EXPECT_TRUE(other.open(nonce_, associated_data_, ciphertext_, tag_.data(), out.data()));
}

using CryptoDeathTest = AeadTest;
TEST_F(CryptoDeathTest, KeyOfAnotherSizeAborts) { EXPECT_DEATH(Aead(repeated(16, 1)), ""); }

void check_digests(const std::string& file, std::size_t count) {
  const auto records = read_vectors(file);
  ASSERT_EQ(records.size(), count);
  Sha256 incremental;
  for (const Record& record : records) {
    Bytes message = hex(record.at("Msg"));
    message.resize(std::stoul(record.at("Len")) / 8);  // CAVP writes the empty message as "00"
    EXPECT_EQ(to_hex(sha256({message})), record.at("MD"));
    const std::size_t middle = message.size() / 3;
    EXPECT_EQ(to_hex(sha256({ByteView(message).first(middle), {}, ByteView(message).subspan(middle)})),
              record.at("MD"));
    for (const std::uint8_t byte : message) incremental.update({&byte, 1});
    EXPECT_EQ(to_hex(incremental.finish()), record.at("MD"));
  }
}

TEST(Sha256, NistCavpShort) { check_digests("nist_cavp_sha256_short.rsp", 65); }
TEST(Sha256, NistCavpLong) { check_digests("nist_cavp_sha256_long.rsp", 8); }

TEST(Sha256, NistCavpMonteCarlo) {
  const auto records = read_vectors("nist_cavp_sha256_monte.rsp");
  ASSERT_EQ(records.size(), 101U);
  auto seed = hex_array<32>(records[0].at("Seed"));
  for (std::size_t i = 1; i < records.size(); ++i) {
    std::array<Digest, 3> last = {seed, seed, seed};
    for (int round = 0; round < 1000; ++round) last = {last[1], last[2], sha256({last[0], last[1], last[2]})};
    seed = last[2];
    ASSERT_EQ(to_hex(seed), records[i].at("MD")) << i;
  }
}

TEST(Sha256, MovesWithItsState) {
  Sha256 first;
  first.update(as_bytes("ab"));
  Sha256 second(std::move(first));
  second.update(as_bytes("c"));
  EXPECT_EQ(second.finish(), sha256({as_bytes("abc")}));
}

TEST(Hmac, Rfc4231) {
  const auto records = read_vectors("rfc4231_hmac_sha256.rsp");
  ASSERT_EQ(records.size(), 6U);
  for (const Record& record : records) {
    const Bytes message = hex(record.at("Msg"));
    EXPECT_EQ(to_hex(hmac_sha256(hex(record.at("Key")), {message})), record.at("MD"));
    EXPECT_EQ(to_hex(hmac_sha256(hex(record.at("Key")),
                                 {ByteView(message).first(3), {}, ByteView(message).subspan(3)})),
              record.at("MD"));
  }
}

TEST(Hmac, EmptyKeyAndMessage) {
  // RFC 2104 pads a key with zeros to the block, so that no key and zeros are one.
  EXPECT_EQ(hmac_sha256({}, {}), hmac_sha256(repeated(64, 0), {}));
  EXPECT_EQ(hmac_sha256({}, {ByteView{}}), hmac_sha256({}, {}));
}

TEST(Hkdf, Rfc5869) {
  const auto records = read_vectors("rfc5869_hkdf_sha256.rsp");
  ASSERT_EQ(records.size(), 3U);
  for (const Record& record : records) {
    const Bytes info = hex(record.at("info"));
    const SecretBytes out = hkdf_sha256(hex(record.at("IKM")), hex(record.at("salt")), as_text(info),
                                        record.at("OKM").size() / 2);
    EXPECT_EQ(to_hex(out.view()), record.at("OKM"));
  }
}

// RFC 9106, section 5.3. It has a secret and associated data, which our function does not take: this checks
// the library that we are linked with.
TEST(Argon2id, Rfc9106) {
  Bytes out(32);
  Bytes password = repeated(32, 1);
  Bytes salt = repeated(16, 2);
  Bytes secret = repeated(8, 3);
  Bytes associated_data = repeated(12, 4);
  argon2_context context{};
  context.out = out.data();
  context.outlen = 32;
  context.pwd = password.data();
  context.pwdlen = 32;
  context.salt = salt.data();
  context.saltlen = 16;
  context.secret = secret.data();
  context.secretlen = 8;
  context.ad = associated_data.data();
  context.adlen = 12;
  context.t_cost = 3;
  context.m_cost = 32;
  context.lanes = 4;
  context.threads = 4;
  context.version = ARGON2_VERSION_13;
  ASSERT_EQ(argon2_ctx(&context, Argon2_id), ARGON2_OK);
  EXPECT_EQ(to_hex(out), "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659");
}

// Computed with another implementation; t=3, m=64 MiB, p=1.
TEST(Argon2id, DefaultParameters) {
  const auto key = argon2id(as_bytes("correct horse battery staple"), hex("e5e2ea4003cf2700c5e1ef13def55319"),
                            Argon2Parameters{});
  ASSERT_TRUE(key.ok());
  EXPECT_EQ(to_hex(key->view()), "08e6c236ffb23f8c553b521a6a052580a8558da9d9208e9ca3095623a7c17c0a");
}

TEST(Argon2id, BoundsOfParameters) {
  EXPECT_TRUE(acceptable({}));
  EXPECT_TRUE(acceptable({8, 1, 1}));
  EXPECT_TRUE(acceptable({1024 * 1024, 16, 4}));
  EXPECT_TRUE(acceptable({32, 1, 4}));
  EXPECT_FALSE(acceptable({7, 1, 1}));
  EXPECT_FALSE(acceptable({31, 1, 4}));
  EXPECT_FALSE(acceptable({1024 * 1024 + 1, 1, 1}));
  EXPECT_FALSE(acceptable({64, 0, 1}));
  EXPECT_FALSE(acceptable({64, 17, 1}));
  EXPECT_FALSE(acceptable({64, 1, 0}));
  EXPECT_FALSE(acceptable({64, 1, 5}));
  EXPECT_FALSE(acceptable({UINT32_MAX, UINT32_MAX, UINT32_MAX}));
  EXPECT_FALSE(acceptable({UINT32_MAX, 1, UINT32_MAX / 8 + 1}));  // 8 * lanes must not wrap around
}

TEST(Argon2id, RefusesBeforeTakingMemory) {
  const Bytes salt = repeated(16, 1);
  const auto refused = [&](ByteView password, ByteView with_salt, const Argon2Parameters& parameters) {
    return argon2id(password, with_salt, parameters).is(Reason::kInvalidArgument);
  };
  EXPECT_TRUE(refused(as_bytes("x"), salt, {UINT32_MAX, 1, 1}));
  EXPECT_TRUE(refused(as_bytes("x"), salt, {1024 * 1024 + 1, 1, 1}));
  EXPECT_TRUE(refused(as_bytes("x"), salt, {8, UINT32_MAX, 1}));
  EXPECT_TRUE(refused(as_bytes("x"), salt, {UINT32_MAX, 1, UINT32_MAX}));
  EXPECT_TRUE(refused(as_bytes("x"), ByteView(salt).first(15), {8, 1, 1}));
  EXPECT_TRUE(refused(repeated(4097, 1), salt, {8, 1, 1}));
  EXPECT_TRUE(argon2id({}, salt, {8, 1, 1}).ok());
  EXPECT_TRUE(argon2id(repeated(4096, 1), salt, {32, 1, 4}).ok());
}

TEST(Ed25519, Rfc8032) {
  const auto records = read_vectors("rfc8032_ed25519.rsp");
  ASSERT_EQ(records.size(), 5U);
  for (const Record& record : records) {
    const Bytes key = hex(record.at("PublicKey"));
    const Bytes message = hex(record.at("Msg"));
    Bytes signature = hex(record.at("Signature"));
    EXPECT_TRUE(ed25519_verify(key, message, signature)) << record.at("Name");

    Bytes longer = message;
    longer.push_back(0);
    EXPECT_FALSE(ed25519_verify(key, longer, signature));
    EXPECT_FALSE(ed25519_verify(key, message, ByteView(signature).first(63)));
    EXPECT_FALSE(ed25519_verify(ByteView(key).first(31), message, signature));
    EXPECT_FALSE(ed25519_verify(repeated(32, 2), message, signature));
    for (std::size_t bit = 0; bit < 512; ++bit) {
      const auto mask = static_cast<std::uint8_t>(1U << (bit % 8));
      signature[bit / 8] ^= mask;
      EXPECT_FALSE(ed25519_verify(key, message, signature)) << bit;
      signature[bit / 8] ^= mask;
    }
  }
  EXPECT_FALSE(ed25519_verify({}, {}, {}));
}

// S must be below the group order (RFC 8032, section 5.1.7), or a signature would have a second form.
TEST(Ed25519, RefusesSignatureWithOrderAdded) {
  const Record record = read_vectors("rfc8032_ed25519.rsp").at(1);
  const auto order = hex_array<32>("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
  Bytes signature = hex(record.at("Signature"));
  unsigned carry = 0;
  for (std::size_t i = 0; i < 32; ++i) {
    const unsigned sum = signature[32 + i] + order[i] + carry;
    signature[32 + i] = static_cast<std::uint8_t>(sum);
    carry = sum >> 8;
  }
  ASSERT_EQ(carry, 0U);
  EXPECT_FALSE(ed25519_verify(hex(record.at("PublicKey")), hex(record.at("Msg")), signature));
}

TEST(Crypto, EqualConstantTime) {
  EXPECT_TRUE(equal_constant_time({}, {}));
  EXPECT_TRUE(equal_constant_time(repeated(33, 1), repeated(33, 1)));
  EXPECT_FALSE(equal_constant_time(repeated(33, 1), repeated(32, 1)));
  Bytes other = repeated(33, 1);
  other[32] = 2;
  EXPECT_FALSE(equal_constant_time(repeated(33, 1), other));
}

TEST(Crypto, RandomBytesFillAndDiffer) {
  EXPECT_NE(random_array<32>(), random_array<32>());
  Bytes large((std::size_t{2} << 20) + 5);
  random_bytes(large);
  EXPECT_FALSE(all_zero(ByteView(large).last(5)) && all_zero(ByteView(large).first(5)));
  for (std::size_t i = 0; i + 32 < large.size(); i += 4096) {
    ASSERT_FALSE(all_zero(ByteView(large).subspan(i, 32))) << i;
  }
  random_bytes({});
}

TEST(Crypto, LibraryVersionNamesTheLibrary) { EXPECT_TRUE(library_version().starts_with("OpenSSL 3.")); }

const Digest kDigestOfAbc = [] {
  const auto bytes = from_hex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  Digest out{};
  std::copy_n(bytes->begin(), out.size(), out.begin());
  return out;
}();

bool everything_works() {
  Aead aead(repeated(32, 1));
  Bytes data = repeated(100, 2);
  Tag tag{};
  aead.seal({}, {}, data, data.data(), tag.data());
  return aead.open({}, {}, data, tag.data(), data.data()) && data == repeated(100, 2) &&
         sha256({as_bytes("abc")}) == kDigestOfAbc &&
         hmac_sha256({}, {}) == hmac_sha256(repeated(1, 0), {}) && hkdf_sha256(data, {}, "x").size() == 32 &&
         random_array<16>() != random_array<16>();
}

struct UsedInDestructor {
  bool* result = nullptr;
  ~UsedInDestructor() {
    if (result != nullptr) *result = everything_works();
  }
};

TEST(CryptoLifetime, ThreadsComeAndGo) {
  std::array<bool, 16> worked{};
  for (int round = 0; round < 8; ++round) {
    std::vector<std::thread> threads;
    for (bool& result : worked) threads.emplace_back([&result] { result = everything_works(); });
    for (std::thread& thread : threads) thread.join();
    EXPECT_TRUE(std::all_of(worked.begin(), worked.end(), [](bool ok) { return ok; }));
  }
}

TEST(CryptoLifetime, WorksInDestructorsOfAThread) {
  bool before = false;
  bool worked = false;
  std::thread([&] {
    thread_local UsedInDestructor
        last;  // made first, so destroyed after what the library keeps for the thread
    last.result = &worked;
    before = everything_works();
  }).join();
  EXPECT_TRUE(before);
  EXPECT_TRUE(worked);
}

TEST(CryptoLifetimeDeathTest, WorksWhileTheProcessExits) {
  // Registered before the library is first used in the child, so run after anything that the library
  // registers.
  const auto exit_with_work = [] {
    std::atexit([] { _exit(everything_works() ? 42 : 1); });
    std::exit(everything_works() ? 0 : 2);
  };
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(exit_with_work(), testing::ExitedWithCode(42), "");
}

}  // namespace
}  // namespace strongroom::crypto
