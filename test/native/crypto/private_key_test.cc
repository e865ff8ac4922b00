// Keys that sign: published vectors, round trips, refusals, and what is left in memory.
#include "crypto/private_key.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>

#include "crypto/crypto.h"

namespace strongroom::crypto {
namespace {

constexpr std::array kAlgorithms{KeyAlgorithm::kEcP256, KeyAlgorithm::kEcP384, KeyAlgorithm::kRsa3072,
                                 KeyAlgorithm::kEd25519};

using Record = std::map<std::string, std::string>;

std::vector<Record> read_vectors(const std::string& name) {
  std::ifstream file(std::string(STRONGROOM_SOURCE_DIR "/test/native/vectors/") + name);
  EXPECT_TRUE(file) << name;
  std::vector<Record> records;
  Record record;
  const auto finish = [&] {
    if (!record.empty()) records.push_back(std::exchange(record, {}));
  };
  for (std::string line; std::getline(file, line);) {
    const auto sign = line.find(" =");
    if (line.empty()) finish();
    if (line.empty() || line[0] == '#' || sign == std::string::npos) continue;
    record[line.substr(0, sign)] = line.substr(std::min(line.size(), sign + 3));
  }
  finish();
  return records;
}

Bytes hex(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  const auto bytes = from_hex(text);
  EXPECT_TRUE(bytes.has_value()) << text;
  return bytes.value_or(Bytes{});
}

Bytes joined(std::initializer_list<ByteView> parts) {
  Bytes out;
  for (const ByteView part : parts) out.insert(out.end(), part.begin(), part.end());
  return out;
}

// SubjectPublicKeyInfo by hand (RFC 5480, RFC 8410).
Bytes ec_spki(bool p384, ByteView x, ByteView y) {
  const Bytes prefix = hex(p384 ? "3076301006072a8648ce3d020106052b8104002203620004"
                                : "3059301306072a8648ce3d020106082a8648ce3d03010703420004");
  return joined({prefix, x, y});
}

Result<PrivateKey> key_of(KeyAlgorithm algorithm) {
  // RSA keys take long to make: one for all tests.
  static const Bytes rsa = [] {
    const Result<PrivateKey> made = PrivateKey::generate(KeyAlgorithm::kRsa3072);
    const Result<SecretBytes> encoded = made->pkcs8();
    return Bytes(encoded->view().begin(), encoded->view().end());
  }();
  return algorithm == KeyAlgorithm::kRsa3072 ? PrivateKey::parse(algorithm, rsa)
                                             : PrivateKey::generate(algorithm);
}

TEST(PrivateKey, Rfc8032SignaturesAreReproduced) {
  const auto records = read_vectors("rfc8032_ed25519.rsp");
  ASSERT_EQ(records.size(), 5U);
  for (const Record& record : records) {
    const Bytes pkcs8 = joined({hex("302e020100300506032b657004220420"), hex(record.at("SecretKey"))});
    const Bytes spki = joined({hex("302a300506032b6570032100"), hex(record.at("PublicKey"))});
    const Bytes message = hex(record.at("Msg"));
    const Result<PrivateKey> key = PrivateKey::parse(KeyAlgorithm::kEd25519, pkcs8);
    ASSERT_TRUE(key.ok()) << record.at("Name");
    EXPECT_EQ(to_hex(*key->public_key()), to_hex(spki));
    const Result<Bytes> signature = key->sign(message, SignatureFormat::kDer);
    ASSERT_TRUE(signature.ok());
    EXPECT_EQ(to_hex(*signature), record.at("Signature"));
    EXPECT_EQ(*key->sign(message, SignatureFormat::kRaw), *signature);
    EXPECT_TRUE(verify_signature(KeyAlgorithm::kEd25519, spki, message, *signature, SignatureFormat::kRaw));
    EXPECT_TRUE(equal(key->pkcs8()->view(), pkcs8));
  }
}

TEST(PrivateKey, Rfc6979SignaturesVerify) {
  const auto records = read_vectors("rfc6979_ecdsa.rsp");
  ASSERT_EQ(records.size(), 3U);
  for (const Record& record : records) {
    const bool p384 = record.at("Curve") == "P-384";
    const KeyAlgorithm algorithm = p384 ? KeyAlgorithm::kEcP384 : KeyAlgorithm::kEcP256;
    const Bytes spki = ec_spki(p384, hex(record.at("Ux")), hex(record.at("Uy")));
    const Bytes digest = to_be_signed(algorithm, as_bytes(record.at("Msg")));
    Bytes raw = joined({hex(record.at("R")), hex(record.at("S"))});
    EXPECT_TRUE(verify_signature(algorithm, spki, digest, raw, SignatureFormat::kRaw));
    EXPECT_FALSE(verify_signature(algorithm, spki, digest, raw, SignatureFormat::kDer));
    raw.back() ^= 1;
    EXPECT_FALSE(verify_signature(algorithm, spki, digest, raw, SignatureFormat::kRaw));
    raw.pop_back();
    EXPECT_FALSE(verify_signature(algorithm, spki, digest, raw, SignatureFormat::kRaw));
  }
}

TEST(PrivateKey, WhatIsGeneratedSignsAlsoAfterItWasStored) {
  for (const KeyAlgorithm algorithm : kAlgorithms) {
    const Result<PrivateKey> made = key_of(algorithm);
    ASSERT_TRUE(made.ok());
    EXPECT_EQ(made->algorithm(), algorithm);
    const Result<SecretBytes> stored = made->pkcs8();
    ASSERT_TRUE(stored.ok());
    EXPECT_LT(stored->size(), 2048U);
    const Result<PrivateKey> key = PrivateKey::parse(algorithm, stored->view());
    ASSERT_TRUE(key.ok());
    const Bytes spki = *key->public_key();
    EXPECT_EQ(spki, *made->public_key());
    const Bytes input = to_be_signed(algorithm, as_bytes("a message"));
    EXPECT_EQ(input.size(), digest_bytes(algorithm) == 0 ? 9U : digest_bytes(algorithm));
    for (const SignatureFormat format : {SignatureFormat::kDer, SignatureFormat::kRaw}) {
      for (int i = 0; i < 4; ++i) {
        Result<Bytes> signature = key->sign(input, format);
        ASSERT_TRUE(signature.ok());
        EXPECT_TRUE(verify_signature(algorithm, spki, input, *signature, format));
        (*signature)[signature->size() / 2] ^= 4;
        EXPECT_FALSE(verify_signature(algorithm, spki, input, *signature, format));
      }
    }
    Bytes other = input;
    other[0] ^= 1;
    EXPECT_FALSE(verify_signature(algorithm, spki, other, *key->sign(input, SignatureFormat::kDer),
                                  SignatureFormat::kDer));
  }
}

TEST(PrivateKey, SignaturesHaveTheirSizes) {
  const std::map<KeyAlgorithm, std::size_t> raw{{KeyAlgorithm::kEcP256, 64},
                                                {KeyAlgorithm::kEcP384, 96},
                                                {KeyAlgorithm::kRsa3072, 384},
                                                {KeyAlgorithm::kEd25519, 64}};
  for (const auto& [algorithm, size] : raw) {
    const Result<PrivateKey> key = key_of(algorithm);
    for (int i = 0; i < 20; ++i) {  // r or s with leading zeros, too
      EXPECT_EQ(key->sign(to_be_signed(algorithm, {}), SignatureFormat::kRaw)->size(), size);
    }
  }
}

TEST(PrivateKey, RefusesWhatIsNoDigestAndWhatIsNoKey) {
  for (const KeyAlgorithm algorithm : kAlgorithms) {
    const Result<PrivateKey> key = key_of(algorithm);
    const std::size_t size = digest_bytes(algorithm);
    if (size == 0) {
      EXPECT_TRUE(
          key->sign(Bytes((std::size_t{1} << 20) + 1), SignatureFormat::kDer).is(Reason::kInvalidArgument));
      EXPECT_TRUE(key->sign(Bytes(std::size_t{1} << 20), SignatureFormat::kDer).ok());
      EXPECT_TRUE(key->sign({}, SignatureFormat::kDer).ok());
    } else {
      for (const std::size_t wrong : {std::size_t{0}, size - 1, size + 1, std::size_t{64}}) {
        EXPECT_TRUE(key->sign(Bytes(wrong), SignatureFormat::kDer).is(Reason::kInvalidArgument)) << wrong;
      }
    }
    const Result<SecretBytes> stored = key->pkcs8();
    for (const KeyAlgorithm other : kAlgorithms) {
      EXPECT_EQ(PrivateKey::parse(other, stored->view()).ok(), other == algorithm);
      EXPECT_FALSE(verify_signature(other, {}, {}, {}, SignatureFormat::kDer));
    }
    EXPECT_TRUE(PrivateKey::parse(algorithm, {}).is(Reason::kInvalidArgument));
    EXPECT_TRUE(
        PrivateKey::parse(algorithm, stored->view().first(stored->size() - 1)).is(Reason::kInvalidArgument));
    const Bytes longer = joined({stored->view(), as_bytes("x")});
    EXPECT_TRUE(PrivateKey::parse(algorithm, longer).is(Reason::kInvalidArgument));
    EXPECT_TRUE(PrivateKey::parse(algorithm, *key->public_key()).is(Reason::kInvalidArgument));
  }
}

TEST(PrivateKey, ThreadsSignSideBySide) {
  std::vector<std::thread> threads;
  std::array<int, 4> valid{};
  for (int& count : valid) {
    threads.emplace_back([&count] {
      const Result<PrivateKey> key = PrivateKey::generate(KeyAlgorithm::kEcP256);
      const Bytes input = to_be_signed(KeyAlgorithm::kEcP256, as_bytes("x"));
      for (int i = 0; i < 50; ++i) {
        const Result<Bytes> signature = key->sign(input, SignatureFormat::kRaw);
        count += static_cast<int>(verify_signature(KeyAlgorithm::kEcP256, *key->public_key(), input,
                                                   *signature, SignatureFormat::kRaw));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(valid, (std::array<int, 4>{50, 50, 50, 50}));
}

// --- What is left behind ---

constexpr std::uint8_t kMask = 0x5A;

// Where `masked` stands unmasked in the writable memory of this process, forwards or backwards: the mappings.
std::vector<std::string> copies_in_memory(const Bytes& masked) {
  const int memory = ::open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
  std::ifstream maps("/proc/self/maps");
  std::vector<std::string> found;
  std::string line;
  Bytes chunk(std::size_t{1} << 20);
  const auto search = [&](std::size_t size, bool backwards) {
    const auto wanted = [&](std::size_t i) {
      return static_cast<std::uint8_t>(masked[backwards ? masked.size() - 1 - i : i] ^ kMask);
    };
    const std::uint8_t* at = chunk.data();
    const std::uint8_t* const end = chunk.data() + size - masked.size() + 1;
    while ((at = static_cast<const std::uint8_t*>(
                std::memchr(at, wanted(0), static_cast<std::size_t>(end - at)))) != nullptr) {
      std::size_t same = 1;
      while (same < masked.size() && at[same] == wanted(same)) ++same;
      if (same == masked.size()) found.push_back((backwards ? "backwards in " : "in ") + line);
      if (++at == end) break;
    }
  };
  while (std::getline(maps, line)) {
    std::uintptr_t from = 0;
    std::uintptr_t to = 0;
    char dash = 0;
    std::string mode;
    std::istringstream(line) >> std::hex >> from >> dash >> to >> mode;
    if (!mode.starts_with("rw")) continue;
    while (from + masked.size() <= to) {
      const std::size_t size = std::min<std::size_t>(chunk.size(), to - from);
      if (::pread(memory, chunk.data(), size, static_cast<off_t>(from)) != static_cast<ssize_t>(size)) break;
      search(size, false);
      search(size, true);
      from += size == chunk.size() ? size - masked.size() : size;
    }
  }
  ::close(memory);
  std::fill(chunk.begin(), chunk.end(), 0);
  return found;
}

// AddressSanitizer maps terabytes.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kMemoryCanBeRead = false;
#elif defined(__has_feature)
constexpr bool kMemoryCanBeRead = !__has_feature(address_sanitizer);
#else
constexpr bool kMemoryCanBeRead = true;
#endif

TEST(PrivateKey, NothingOfAKeyIsLeftInMemory) {
  if (!kMemoryCanBeRead) GTEST_SKIP();
  // The dynamic linker looks a function up when it is first called, and saves registers on the stack for that, with what they
  // hold of a key. The addon is linked with `-z now`; of what this test calls there is no first time after this.
  (void)copies_in_memory(Bytes(24));
  for (const KeyAlgorithm algorithm : kAlgorithms) {
    if (algorithm == KeyAlgorithm::kRsa3072) continue;  // the tests keep one, below is another
    Bytes masked(24);
    Bytes sealed(4096);
    {
      // The scalar or seed: behind the fixed beginning of the encoding.
      const std::size_t at = algorithm == KeyAlgorithm::kEd25519  ? 16
                             : algorithm == KeyAlgorithm::kEcP256 ? 36
                                                                  : 35;
      const Result<PrivateKey> made = PrivateKey::generate(algorithm);
      const Result<SecretBytes> stored = made->pkcs8();
      for (std::size_t i = 0; i < masked.size(); ++i) masked[i] = stored->view()[at + i] ^ kMask;
      EXPECT_FALSE(copies_in_memory(masked).empty()) << "the search finds what is there";
      sealed.resize(stored->size());
      for (std::size_t i = 0; i < sealed.size(); ++i) sealed[i] = stored->view()[i] ^ kMask;
    }
    EXPECT_EQ(copies_in_memory(masked), std::vector<std::string>())
        << "after making it, algorithm " << static_cast<int>(algorithm);
    {
      SecretBytes stored(sealed.size());
      for (std::size_t i = 0; i < sealed.size(); ++i) stored.span()[i] = sealed[i] ^ kMask;
      const Result<PrivateKey> key = PrivateKey::parse(algorithm, stored.view());
      ASSERT_TRUE(key->sign(to_be_signed(algorithm, as_bytes("x")), SignatureFormat::kRaw).ok());
    }
    EXPECT_EQ(copies_in_memory(masked), std::vector<std::string>())
        << "after signing, algorithm " << static_cast<int>(algorithm);
  }
}

TEST(PrivateKey, NothingOfAnRsaKeyIsLeftInMemory) {
  if (!kMemoryCanBeRead) GTEST_SKIP();
  (void)copies_in_memory(Bytes(24));
  Bytes masked(24);
  {
    const Result<PrivateKey> made = PrivateKey::generate(KeyAlgorithm::kRsa3072);
    const Result<SecretBytes> stored = made->pkcs8();
    const std::size_t at = stored->size() - 100;  // inside the last factor of the CRT
    for (std::size_t i = 0; i < masked.size(); ++i) masked[i] = stored->view()[at + i] ^ kMask;
    const Result<PrivateKey> key = PrivateKey::parse(KeyAlgorithm::kRsa3072, stored->view());
    ASSERT_TRUE(key->sign(Bytes(32), SignatureFormat::kRaw).ok());
    EXPECT_FALSE(copies_in_memory(masked).empty());
  }
  EXPECT_EQ(copies_in_memory(masked), std::vector<std::string>());
}

}  // namespace
}  // namespace strongroom::crypto
