// The key-encryption key, on SoftHSM2.
#include <chrono>

#include "crypto/crypto.h"
#include "private_token.h"

namespace strongroom::roots {
namespace {

using testing::FaultyModule;
using testing::kDeviceError;
using testing::kGeneralError;
using testing::pin;
using testing::PrivateToken;

constexpr unsigned long kAesKeyWrap = 0x2109;
constexpr unsigned long kRsaOaep = 0x9;
constexpr unsigned long kEcdsa = 0x1041;
constexpr unsigned long kMechanismInvalid = 0x70;

class TokenKek : public ::testing::Test {
 protected:
  void SetUp() override {
    hsm.make("acme");
    token = open();
  }
  std::unique_ptr<Token> open() {
    auto opened = hsm.open("acme");
    EXPECT_TRUE(opened.ok()) << opened.error().detail;
    return opened.ok() ? std::move(*opened) : nullptr;
  }
  Kek generate(std::optional<KekType> type = std::nullopt) {
    const auto kek = token->generate_kek("kek", type);
    EXPECT_TRUE(kek.ok()) << kek.error().detail;
    return kek.ok() ? *kek : Kek();
  }
  Bytes wrap(const Kek& kek) {
    const auto wrapped = token->wrap("kek", kek, secret);
    EXPECT_TRUE(wrapped.ok()) << wrapped.error().detail;
    return wrapped.ok() ? *wrapped : Bytes();
  }
  void expect_unwraps(const Kek& kek, const Bytes& wrapped) {
    const auto unwrapped = token->unwrap("kek", kek, wrapped);
    ASSERT_TRUE(unwrapped.ok()) << unwrapped.error().detail;
    EXPECT_TRUE(equal(unwrapped->view(), secret));
  }
  bool tool(std::vector<std::string> words) { return hsm.tool(std::move(words), "acme"); }

  FaultyModule faults;
  PrivateToken hsm{FaultyModule::path()};
  std::unique_ptr<Token> token;
  const Digest secret = crypto::random_array<32>();
};

TEST_F(TokenKek, WrapsAndUnwraps) {
  const Kek kek = generate();
  EXPECT_EQ(kek.type, KekType::kAesKeyWrap);
  EXPECT_EQ(kek.id.size(), 16U);
  EXPECT_TRUE(token->find_kek("kek", kek).ok());
  const Bytes wrapped = wrap(kek);
  EXPECT_EQ(wrapped.size(), 40U);
  expect_unwraps(kek, wrapped);
  token = open();  // a later process
  expect_unwraps(kek, wrapped);
}

TEST_F(TokenKek, RsaWhereTheTokenHasNoAesKeyWrap) {
  faults->hide(kAesKeyWrap, kMechanismInvalid);
  const Kek kek = generate();
  EXPECT_EQ(kek.type, KekType::kRsaOaepSha1);  // SoftHSM 2.6 has OAEP with SHA-1 only
  const Bytes wrapped = wrap(kek);
  EXPECT_EQ(wrapped.size(), 384U);
  EXPECT_NE(wrapped, wrap(kek));
  expect_unwraps(kek, wrapped);
  const auto check = token->kek_check_value("kek", kek);
  ASSERT_TRUE(check.ok()) << check.error().detail;
  EXPECT_TRUE(token->verify_kek("kek", kek, *check).ok());
  for (const std::size_t at : {0U, 200U, 383U}) {
    Bytes flipped = wrapped;
    flipped[at] ^= 1;
    EXPECT_TRUE(token->unwrap("kek", kek, flipped).is(Reason::kWrappedDekCorrupt)) << at;
  }
  EXPECT_TRUE(token->destroy_kek("kek", kek).ok());
  EXPECT_TRUE(token->find_kek("kek", kek).is(Reason::kKekMissing));
  EXPECT_FALSE(tool({"--read-object", "--type", "pubkey", "--label", "kek", "-o", "/dev/null"}))
      << "the public half is left";
}

TEST_F(TokenKek, RsaWhereTheTokenDecidesOnUsesItself) {
  for (const unsigned long value :
       {0xd1UL, 0x13UL, 0x5UL}) {  // template, attribute, and what tpm2-pkcs11 says
    faults->fail("C_GenerateKeyPair", value, 1);
    const Kek kek = generate(KekType::kRsaOaepSha1);
    expect_unwraps(kek, wrap(kek));
  }
  faults->fail("C_GenerateKeyPair", 0xd1, 2);
  EXPECT_TRUE(token->generate_kek("kek", KekType::kRsaOaepSha1).is(Reason::kHsmRefused));
}

TEST_F(TokenKek, AFailureKeepsItsNameAndCureThroughTheCleanup) {
  faults->fail("C_GenerateKeyPair", 0x62, 2);  // CKR_KEY_SIZE_RANGE
  const auto refused = token->generate_kek("kek", KekType::kRsaOaepSha1);
  ASSERT_TRUE(refused.is(Reason::kHsmRefused));
  EXPECT_EQ(refused.error().detail.rfind("C_GenerateKeyPair: CKR_KEY_SIZE_RANGE", 0), 0U)
      << refused.error().detail;
  // What the cleanup meets does not make the work worth repeating.
  const unsigned before = faults->calls("C_GenerateKeyPair");
  faults->fail("C_GenerateKeyPair", 0x62, 10);
  faults->fail("C_FindObjectsInit", 0xb3, 3);  // CKR_SESSION_HANDLE_INVALID
  EXPECT_TRUE(token->generate_kek("kek", KekType::kRsaOaepSha1).is(Reason::kHsmRefused));
  EXPECT_EQ(faults->calls("C_GenerateKeyPair"), before + 2);
}

TEST_F(TokenKek, AnUnsupportedTypeIsRefusedAndLeavesNothing) {
  const auto kek = token->generate_kek("kek", KekType::kRsaOaep);
  EXPECT_TRUE(kek.is(Reason::kHsmRefused));
  EXPECT_NE(kek.error().detail.find("CKR_ARGUMENTS_BAD"), std::string::npos) << kek.error().detail;
  EXPECT_FALSE(tool({"--read-object", "--type", "pubkey", "--label", "kek", "-o", "/dev/null"}));
  EXPECT_TRUE(token->generate_kek("", std::nullopt).is(Reason::kInvalidArgument));
}

TEST_F(TokenKek, ARefusalInWordsOfTheModulesOwnLeadsToRsa) {
  for (const unsigned long value : {0x5UL, 0x80000123UL}) {
    faults->fail("C_GenerateKey", value, 1);
    const Kek kek = generate();
    EXPECT_EQ(kek.type, KekType::kRsaOaepSha1) << value;
    expect_unwraps(kek, wrap(kek));
    EXPECT_TRUE(token->destroy_kek("kek", kek).ok());
    // The key is there, and the token does not wrap by it.
    faults->fail("C_WrapKey", value, 1);
    EXPECT_EQ(generate().type, KekType::kRsaOaepSha1) << value;
    faults->fail("C_GenerateKeyPair", value, 1);
    const Kek asked = generate(KekType::kRsaOaepSha1);
    expect_unwraps(asked, wrap(asked));
  }
  EXPECT_EQ(token->find_keks("kek")->size(), 4U) << "no AES key is left";
  // Every form is refused.
  faults->fail("C_GenerateKey", 0x80000123, 1);
  faults->fail("C_GenerateKeyPair", 0x80000123, 2);
  const auto refused = token->generate_kek("kek");
  ASSERT_TRUE(refused.is(Reason::kHsmRefused)) << refused.error().detail;
  EXPECT_NE(refused.error().detail.find("C_GenerateKeyPair"), std::string::npos) << refused.error().detail;
  faults->fail("C_GenerateKeyPair", 0x80000123, 1);
  EXPECT_TRUE(token->generate_key("signing", Bytes(16, 1), KeyAlgorithm::kEcP256).is(Reason::kHsmRefused));
}

TEST_F(TokenKek, AnUnclearErrorOfATokenThatDoesNotAnswerIsAnOutage) {
  faults->fail("C_GenerateKey", 0x5, 1);
  faults->fail("C_FindObjectsInit", 0x5, 1000);
  EXPECT_TRUE(token->generate_kek("kek").is(Reason::kHsmUnreachable));
  EXPECT_EQ(faults->calls("C_GenerateKeyPair"), 0U);
}

TEST_F(TokenKek, OtherFormsOfATemplateAreTriedForUnclearErrors) {
  const Kek kek = generate();
  for (const unsigned long value : {0x5UL, 0x6UL, 0x80000123UL, 0xd1UL}) {
    faults->fail("C_CreateObject", value, 1);  // the key to be wrapped
    expect_unwraps(kek, wrap(kek));
    faults->fail("C_CreateObject", value, 1);  // a data object: then a key that carries the value
    EXPECT_TRUE(token->objects().save("witness", as_bytes("value")).ok()) << value;
    EXPECT_EQ(as_text(**token->objects().load("witness")), "value");
  }
}

TEST_F(TokenKek, AMissingAlgorithmHasItsOwnReasonWhateverTheModuleAnswers) {
  for (const unsigned long answer : {kMechanismInvalid, kGeneralError, kDeviceError}) {
    faults->hide(kAesKeyWrap, answer);
    faults->hide(kRsaOaep, answer);
    EXPECT_TRUE(token->generate_kek("kek").is(Reason::kHsmAlgorithmMissing)) << answer;
    faults->hide(kEcdsa, answer);
    EXPECT_TRUE(
        token->generate_key("signing", Bytes(16, 1), KeyAlgorithm::kEcP256).is(Reason::kHsmAlgorithmMissing))
        << answer;
  }
}

TEST_F(TokenKek, AnOutageInTheQuestionForAnAlgorithmIsNoMissingAlgorithm) {
  for (const bool also_list : {false, true}) {
    faults->fail("C_GetMechanismInfo", kDeviceError, 1000);
    if (also_list) faults->fail("C_GetMechanismList", kDeviceError, 1000);
    EXPECT_TRUE(token->generate_kek("kek").is(Reason::kHsmUnreachable)) << also_list;
    EXPECT_TRUE(
        token->generate_key("signing", Bytes(16, 1), KeyAlgorithm::kEcP256).is(Reason::kHsmUnreachable))
        << also_list;
    faults->reset();
  }
  EXPECT_EQ(generate().type, KekType::kAesKeyWrap);
}

TEST_F(TokenKek, ItsValueCannotBeRead) {
  const Kek kek = generate();
  const std::string id = to_hex(kek.id);
  EXPECT_TRUE(tool({"--list-objects", "--type", "secrkey"}));
  EXPECT_FALSE(tool({"--read-object", "--type", "secrkey", "--id", id, "-o", "/dev/null"}));
}

TEST_F(TokenKek, EveryFlippedByteIsFoundOut) {
  const Kek kek = generate();
  const Bytes wrapped = wrap(kek);
  for (std::size_t at = 0; at < wrapped.size(); ++at) {
    Bytes flipped = wrapped;
    flipped[at] ^= 0x80;
    const auto key = token->unwrap("kek", kek, flipped);
    ASSERT_TRUE(key.is(Reason::kWrappedDekCorrupt))
        << at << ": " << (key.ok() ? "opened" : key.error().detail);
  }
  for (const std::size_t size : {0U, 8U, 39U, 41U, 48U, 384U, 1000U}) {
    EXPECT_TRUE(token->unwrap("kek", kek, Bytes(size, 7)).is(Reason::kWrappedDekCorrupt)) << size;
  }
  expect_unwraps(kek, wrapped);
}

TEST_F(TokenKek, ATokenThatUnwrapsNothingIsNotACorruptKey) {
  const Kek kek = generate();
  const Bytes wrapped = wrap(kek);
  for (const unsigned long value : {0x5UL, 0x6UL, 0x40UL, kDeviceError, 0x110UL}) {
    faults->fail("C_UnwrapKey", value, 100);
    const auto key = token->unwrap("kek", kek, wrapped);
    EXPECT_TRUE(key.is(Reason::kHsmUnreachable))
        << value << ": " << (key.ok() ? "opened" : key.error().detail);
    faults->fail("C_UnwrapKey", 0, 0);
    expect_unwraps(kek, wrapped);
  }
}

TEST_F(TokenKek, MissingAndDestroyed) {
  const Kek kek = generate();
  Kek other = kek;
  other.id[0] ^= 1;
  EXPECT_TRUE(token->find_kek("kek", other).is(Reason::kKekMissing));
  EXPECT_TRUE(token->find_kek("another", kek).is(Reason::kKekMissing));
  EXPECT_TRUE(token->wrap("kek", other, secret).is(Reason::kKekMissing));
  EXPECT_TRUE(token->unwrap("kek", other, Bytes(40)).is(Reason::kKekMissing));
  EXPECT_TRUE(token->kek_check_value("kek", other).is(Reason::kKekMissing));
  EXPECT_TRUE(token->destroy_kek("kek", other).is(Reason::kKekMissing));
  EXPECT_TRUE(token->destroy_kek("kek", kek).ok());
  EXPECT_TRUE(token->find_kek("kek", kek).is(Reason::kKekMissing));
}

TEST_F(TokenKek, DestroyedByAnotherProcess) {
  const Kek kek = generate();
  ASSERT_TRUE(token->find_kek("kek", kek).ok());
  ASSERT_TRUE(tool({"--delete-object", "--type", "secrkey", "--id", to_hex(kek.id)}));
  EXPECT_TRUE(token->find_kek("kek", kek).is(Reason::kKekMissing));
}

TEST_F(TokenKek, DuplicateAndReplaced) {
  const Kek kek = generate();
  const Bytes wrapped = wrap(kek);
  const auto check = token->kek_check_value("kek", kek);
  ASSERT_TRUE(check.ok());
  EXPECT_EQ(*token->kek_check_value("kek", kek), *check);  // the same each time
  EXPECT_TRUE(token->verify_kek("kek", kek, *check).ok());
  EXPECT_NE(*token->kek_check_value("kek", generate()), *check);
  const std::string id = to_hex(kek.id);
  ASSERT_TRUE(tool({"--keygen", "--key-type", "AES:32", "--label", "kek", "--id", id, "--usage-wrap"}));
  EXPECT_TRUE(token->find_kek("kek", kek).is(Reason::kKekDuplicate));
  EXPECT_TRUE(token->unwrap("kek", kek, wrapped).is(Reason::kKekDuplicate));
  ASSERT_TRUE(token->generate_kek("kek").ok());  // another id is another key
  // Whichever of the two is removed first, in the end it is another key.
  ASSERT_TRUE(tool({"--delete-object", "--type", "secrkey", "--id", id}));
  if (token->verify_kek("kek", kek, *check).ok()) {
    ASSERT_TRUE(tool({"--delete-object", "--type", "secrkey", "--id", id}));
    ASSERT_TRUE(tool({"--keygen", "--key-type", "AES:32", "--label", "kek", "--id", id, "--usage-wrap"}));
  }
  EXPECT_TRUE(token->find_kek("kek", kek).ok());
  EXPECT_TRUE(token->verify_kek("kek", kek, *check).is(Reason::kKekReplaced));
  EXPECT_FALSE(token->unwrap("kek", kek, wrapped).ok());
}

TEST_F(TokenKek, AFailedGenerationIsReported) {
  faults->fail("C_GenerateKey", kDeviceError, 1);
  // Whether a key was made is unknown, so it is not tried again.
  EXPECT_TRUE(token->generate_kek("kek").is(Reason::kHsmUnreachable));
  EXPECT_EQ(faults->calls("C_GenerateKey"), 1U);
  generate();
}

TEST_F(TokenKek, WrapIsDoubtedUntilItIsUnwrapped) {
  const Kek kek = generate();
  faults->fail("C_UnwrapKey", 0x110, 1);  // CKR_WRAPPED_KEY_INVALID
  EXPECT_TRUE(token->wrap("kek", kek, secret).is(Reason::kHsmRefused));
  EXPECT_TRUE(token->wrap("kek", kek, Bytes(31)).is(Reason::kInvalidArgument));
}

TEST_F(TokenKek, AKeyThatTheTokenDidNotMakeIsReported) {
  for (const auto& [function, type] :
       {std::pair("C_GenerateKey", KekType::kAesKeyWrap), {"C_GenerateKeyPair", KekType::kRsaOaepSha1}}) {
    faults->fail(function, 0, 1);  // CKR_OK
    const auto made = token->generate_kek("kek", type);
    EXPECT_TRUE(made.is(Reason::kTokenWriteFailed)) << function;
  }
  faults->fail("C_GenerateKeyPair", 0, 1);
  EXPECT_TRUE(
      token->generate_key("signing", Bytes(16, 1), KeyAlgorithm::kEcP256).is(Reason::kTokenWriteFailed));
  generate();
}

TEST_F(TokenKek, Timing) {
  using Clock = std::chrono::steady_clock;
  const Kek kek = generate();
  const Bytes wrapped = wrap(kek);
  const auto time = [](const char* name, int times, const auto& work) {
    const auto start = Clock::now();
    for (int i = 0; i < times; ++i) work();
    const double ms = std::chrono::duration<double, std::milli>(Clock::now() - start).count() / times;
    std::printf("%-28s %8.3f ms\n", name, ms);
  };
  time("open: C_Initialize, C_Login", 20, [&] {
    token.reset();
    EXPECT_TRUE(Token::list(hsm.module).ok());
    token = open();
  });
  time("wrap", 100, [&] { wrap(kek); });
  time("unwrap", 100, [&] { expect_unwraps(kek, wrapped); });
  time("check value", 100, [&] { EXPECT_TRUE(token->kek_check_value("kek", kek).ok()); });
}

}  // namespace
}  // namespace strongroom::roots
