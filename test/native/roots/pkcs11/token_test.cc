// Modules, tokens and sessions: finding, logging in, outages, other processes.
#include <signal.h>
#include <sys/wait.h>

#include <thread>

#include "base/cancellation.h"
#include "os/posix.h"
#include "private_token.h"

namespace strongroom::roots {
namespace {

using std::chrono::milliseconds;
using testing::EnvironmentVariable;
using testing::FaultyModule;
using testing::kDeviceError;
using testing::kGeneralError;
using testing::pin;
using testing::PrivateToken;

constexpr unsigned long kDeviceRemoved = 0x32;
constexpr unsigned long kObjectHandleInvalid = 0x82;
constexpr unsigned long kPinIncorrect = 0xa0;
constexpr unsigned long kSessionHandleInvalid = 0xb3;
constexpr unsigned long kTokenNotPresent = 0xe0;
constexpr unsigned long kNotInitialised = 0x190;
constexpr unsigned long kAlreadyInitialised = 0x191;
constexpr unsigned long kVendor = 0x80000123;

// A limit that ordinary calls keep on a loaded machine, for calls that are to run out of time.
constexpr milliseconds kHasty{1000};

class TokenSession : public ::testing::Test {
 protected:
  void expect_works(Token& token) {
    const auto saved = token.objects().save("probe", as_bytes("value"));
    EXPECT_TRUE(saved.ok()) << saved.error().detail;
    const auto loaded = token.objects().load("probe");
    ASSERT_TRUE(loaded.ok()) << loaded.error().detail;
    ASSERT_TRUE(loaded->has_value());
    EXPECT_EQ(as_text(**loaded), "value");
  }
  std::unique_ptr<Token> open(const std::string& label = "acme") {
    auto opened = hsm.open(label);
    EXPECT_TRUE(opened.ok()) << opened.error().detail;
    return opened.ok() ? std::move(*opened) : nullptr;
  }
  FaultyModule faults;
  PrivateToken hsm{FaultyModule::path()};
};

TEST_F(TokenSession, ListsTokens) {
  hsm.make("acme");
  const auto tokens = hsm.list();
  ASSERT_EQ(tokens.size(), 2U);
  const TokenInfo& token = tokens[0].initialised ? tokens[0] : tokens[1];
  EXPECT_EQ(token.label, "acme");
  EXPECT_EQ(token.serial.size(), 16U);
  EXPECT_EQ(token.manufacturer, "SoftHSM project");
  EXPECT_EQ(token.model, "SoftHSM v2");
  EXPECT_TRUE(token.pin_initialised);
  EXPECT_FALSE(token.pin_locked);
  for (const TokenInfo& each : tokens) {
    ASSERT_TRUE(each.pin_limits);
    EXPECT_EQ(each.pin_limits->min, 4U);
    EXPECT_EQ(each.pin_limits->max, 255U);
  }
}

TEST(TokenPinLimits, LimitsThatNoPinFitsAreUnknown) {
  const std::uint64_t unavailable = ~0UL;  // CK_UNAVAILABLE_INFORMATION
  EXPECT_FALSE(pin_limits(0, 0));
  EXPECT_FALSE(pin_limits(4, 0));
  EXPECT_FALSE(pin_limits(9, 8));
  EXPECT_FALSE(pin_limits(unavailable, unavailable));
  EXPECT_FALSE(pin_limits(4, unavailable));
  const auto limits = pin_limits(8, 8);
  ASSERT_TRUE(limits);
  EXPECT_EQ(limits->min, 8U);
  EXPECT_EQ(limits->max, 8U);
}

TEST_F(TokenSession, ModuleThatIsNotThere) {
  EXPECT_TRUE(Token::list("/not/there.so").is(Reason::kHsmUnreachable));
  EXPECT_TRUE(Token::list("libsofthsm2.so").is(Reason::kInvalidOption));
  EXPECT_TRUE(Token::list("").is(Reason::kInvalidOption));
  const auto not_a_module = Token::list("/etc/passwd");
  EXPECT_TRUE(not_a_module.is(Reason::kHsmUnreachable));
  const auto no_list = Token::list("/lib/x86_64-linux-gnu/libm.so.6");
  EXPECT_TRUE(no_list.is(Reason::kHsmUnreachable));
  EXPECT_TRUE(Token::list(hsm.module, kTokenTimeLimit, std::string(1025, 'x')).is(Reason::kInvalidOption));
}

TEST_F(TokenSession, OneModuleUnderEveryNameOfItsPath) {
  hsm.make("acme");
  const auto token = open();
  const testing::TemporaryDirectory directory;
  const auto link = directory.path() / "link.so";
  std::filesystem::create_symlink(hsm.module, link);
  PrivateToken* const fixture = &hsm;
  TokenLocator locator = fixture->locator("acme");
  locator.module = link.string();
  faults->fail("C_Initialize", kGeneralError, 0);
  const unsigned before = faults->calls("C_Initialize");
  const auto again = Token::open(locator, pin(PrivateToken::kPin));
  ASSERT_TRUE(again.ok()) << again.error().detail;
  EXPECT_EQ(faults->calls("C_Initialize"), before);
  expect_works(*token);
  expect_works(**again);
}

TEST_F(TokenSession, FindsByLabelSerialSlotAndAllOfThem) {
  hsm.make("acme");
  hsm.make("other");
  const TokenInfo info = open()->info();
  for (int which = 1; which < 8; ++which) {
    TokenLocator locator = hsm.locator("acme");
    locator.label.reset();
    if ((which & 1) != 0) locator.label = info.label;
    if ((which & 2) != 0) locator.serial = info.serial;
    if ((which & 4) != 0) locator.slot_id = info.slot_id;
    const auto token = Token::open(locator, pin(PrivateToken::kPin));
    ASSERT_TRUE(token.ok()) << which << token.error().detail;
    EXPECT_EQ((*token)->info().serial, info.serial);
    locator.model = "SoftHSM v2";
    locator.manufacturer = "someone else";
    EXPECT_TRUE(Token::open(locator, pin(PrivateToken::kPin)).is(Reason::kTokenMissing));
  }
  TokenLocator locator = hsm.locator("other");
  locator.serial = info.serial;
  EXPECT_TRUE(Token::open(locator, pin(PrivateToken::kPin)).is(Reason::kTokenMissing));
  locator = TokenLocator();
  locator.module = hsm.module;
  EXPECT_TRUE(Token::open(locator, pin(PrivateToken::kPin)).is(Reason::kInvalidOption));
}

TEST_F(TokenSession, ThePreferredSerialNumberDecidesBetweenTokensThatFit) {
  hsm.make("acme");
  const std::string serial = open()->info().serial;
  ASSERT_TRUE(PrivateToken::make_elsewhere("acme"));
  ASSERT_EQ(hsm.list().size(), 3U);
  TokenLocator locator = hsm.locator("acme");
  const auto ambiguous = Token::open(locator, pin(PrivateToken::kPin));
  ASSERT_TRUE(ambiguous.is(Reason::kTokenAmbiguous));
  EXPECT_NE(ambiguous.error().detail.find(serial), std::string::npos) << ambiguous.error().detail;
  locator.preferred_serial = "another";
  EXPECT_TRUE(Token::open(locator, pin(PrivateToken::kPin)).is(Reason::kTokenAmbiguous));
  locator.preferred_serial = serial;
  const auto token = Token::open(locator, pin(PrivateToken::kPin));
  ASSERT_TRUE(token.ok()) << token.error().detail;
  EXPECT_EQ((*token)->info().serial, serial);
  expect_works(**token);
  ASSERT_EQ(hsm.list().size(), 3U);  // initialises the module again
  expect_works(**token);
}

TEST_F(TokenSession, AnEmptyDirectoryIsAMissingTokenAndAMissingOneAnOutage) {
  EXPECT_TRUE(hsm.open("acme").is(Reason::kTokenMissing));
  for (const TokenInfo& token : hsm.list()) {
    TokenLocator locator = hsm.locator("acme");
    locator.label.reset();
    locator.slot_id = token.slot_id;
    EXPECT_TRUE(Token::open(locator, pin(PrivateToken::kPin)).is(Reason::kTokenMissing)) << "uninitialised";
  }
  hsm.make("acme");
  auto token = open();
  expect_works(*token);
  const auto away = hsm.tokens().parent_path() / "away";
  std::filesystem::rename(hsm.tokens(), away);
  const auto gone = hsm.open("acme2");
  EXPECT_TRUE(gone.is(Reason::kHsmUnreachable)) << gone.error().detail;
  const auto lost = token->objects().load("probe");
  EXPECT_TRUE(lost.is(Reason::kHsmUnreachable)) << (lost.ok() ? "loaded" : lost.error().detail);
  const auto missing = token->find_kek("kek", Kek{KekType::kAesKeyWrap, Bytes(16)});
  EXPECT_TRUE(missing.is(Reason::kHsmUnreachable));
  // The outage heals without a new Token.
  std::filesystem::rename(away, hsm.tokens());
  expect_works(*token);
}

TEST_F(TokenSession, TokensOfOtherProcessesAreSeen) {
  hsm.make("acme");
  const auto token = open();
  ASSERT_TRUE(PrivateToken::make_elsewhere("elsewhere"));
  const auto other = open("elsewhere");
  ASSERT_NE(other, nullptr);
  expect_works(*other);
  expect_works(*token);
  EXPECT_EQ(hsm.list().size(), 3U);
  ASSERT_TRUE(PrivateToken::make_elsewhere("acme"));
  EXPECT_TRUE(hsm.open("acme").ok() || hsm.open("acme").is(Reason::kTokenAmbiguous));
  EXPECT_EQ(hsm.list().size(), 4U);
  EXPECT_TRUE(hsm.open("acme").is(Reason::kTokenAmbiguous));
}

TEST_F(TokenSession, Pins) {
  hsm.make("acme");
  EXPECT_TRUE(hsm.open("acme", "wrong pin").is(Reason::kPinWrong));
  EXPECT_TRUE(hsm.open("acme", "1").is(Reason::kPinWrong));
  EXPECT_TRUE(hsm.open("acme", std::string(300, '1')).is(Reason::kPinWrong));
  EXPECT_TRUE(hsm.open("acme", "").is(Reason::kPinMissing));
  const auto token = open();
  // The token itself would let every PIN pass while it is unlocked for this process.
  EXPECT_TRUE(hsm.open("acme", "wrong pin").is(Reason::kPinWrong));
  expect_works(*token);
  const auto second = open();
  expect_works(*second);
  const std::string detail = hsm.open("acme", "a wrong secret").error().detail;
  EXPECT_EQ(detail.find("secret"), std::string::npos) << detail;
}

TEST_F(TokenSession, PinStates) {
  hsm.make("acme");
  constexpr unsigned long kPinInitialised = 0x8;
  constexpr unsigned long kFinalTry = 0x20000;
  constexpr unsigned long kLocked = 0x40000;
  faults->set_flags(kLocked, 0);
  EXPECT_TRUE(hsm.open("acme").is(Reason::kPinLocked));
  EXPECT_TRUE(hsm.list()[0].pin_locked);
  faults->set_flags(0, kPinInitialised);
  EXPECT_TRUE(hsm.open("acme", "wrong pin").is(Reason::kPinNotInitialized));
  EXPECT_TRUE(hsm.open("acme").ok());  // not every token keeps the flag
  faults->set_flags(0, 0);
  for (const auto& [value, reason] : {std::pair(0xa4UL, Reason::kPinLocked),
                                      {0x102UL, Reason::kPinNotInitialized},
                                      {kPinIncorrect, Reason::kPinWrong},
                                      {0xa3UL, Reason::kPinExpired},
                                      {kDeviceError, Reason::kHsmUnreachable},
                                      {kVendor, Reason::kHsmUnreachable}}) {
    faults->fail("C_Login", value, 10);
    EXPECT_TRUE(hsm.open("acme").is(reason)) << value;
  }
  faults->fail("C_Login", 0, 0);
  const auto token = open();
  faults->set_flags(kFinalTry, 0);
  EXPECT_TRUE(hsm.open("acme").ok()) << "somebody asked for it";
  faults->fail("C_FindObjectsInit", kSessionHandleInvalid, 1);
  const unsigned before = faults->calls("C_Login");
  EXPECT_TRUE(token->objects().load("probe").is(Reason::kPinWrong));
  EXPECT_EQ(faults->calls("C_Login"), before) << "the last try is not used without being asked for";
  faults->set_flags(0, 0);
  expect_works(*token);
}

// The flag only says that something is open without a PIN.
TEST_F(TokenSession, ATokenThatDoesNotRequireALoginIsSentThePinAllTheSame) {
  hsm.make("acme");
  constexpr unsigned long kLoginRequired = 0x4;
  faults->set_flags(0, kLoginRequired);
  const auto token = open();
  ASSERT_NE(token, nullptr);
  expect_works(*token);
  EXPECT_TRUE(hsm.open("acme", "wrong pin").is(Reason::kPinWrong));
  EXPECT_TRUE(hsm.open("acme", "").ok()) << "public objects need none";
  for (const unsigned long value : {0x102UL, 0x54UL, 0x103UL}) {
    faults->fail("C_Login", value, 1);
    EXPECT_TRUE(hsm.open("acme").ok()) << value;
  }
}

TEST_F(TokenSession, ARefusedPinIsNotSentAgain) {
  hsm.make("acme");
  const auto token = open();
  faults->fail("C_FindObjectsInit", kSessionHandleInvalid, 1);
  faults->fail("C_Login", kPinIncorrect, 1);
  EXPECT_TRUE(token->objects().load("probe").is(Reason::kPinWrong));
  const unsigned before = faults->calls("C_Login");
  EXPECT_TRUE(token->objects().load("probe").is(Reason::kPinWrong));
  EXPECT_EQ(faults->calls("C_Login"), before);
  expect_works(*open());
}

TEST_F(TokenSession, HealsFromEveryPassingError) {
  hsm.make("acme");
  const auto token = open();
  expect_works(*token);
  for (const unsigned long value :
       {kGeneralError, 0x6UL, kDeviceError, kDeviceRemoved, kObjectHandleInvalid, 0xb0UL,
        kSessionHandleInvalid, kTokenNotPresent, 0x101UL, kNotInitialised, kVendor}) {
    for (const char* function : {"C_FindObjectsInit", "C_FindObjects", "C_GetAttributeValue"}) {
      faults->fail(function, value, 1);
      const auto loaded = token->objects().load("probe");
      EXPECT_TRUE(loaded.ok() && loaded->has_value())
          << function << " " << value << ": " << (loaded.ok() ? "empty" : loaded.error().detail);
    }
  }
  // An error that lasts is reported, and is over when it is over.
  faults->fail("C_FindObjectsInit", kDeviceError, 1000);
  EXPECT_TRUE(token->objects().load("probe").is(Reason::kHsmUnreachable));
  EXPECT_TRUE(token->find_kek("kek", Kek{KekType::kAesKeyWrap, Bytes(16)}).is(Reason::kHsmUnreachable));
  EXPECT_LE(faults->calls("C_FindObjectsInit"), 400U);
  faults->fail("C_FindObjectsInit", 0, 0);
  expect_works(*token);
  // A token that cannot be read may be the one that is looked for.
  faults->fail("C_GetTokenInfo", kDeviceError, 1000);
  EXPECT_TRUE(hsm.open("acme2").is(Reason::kHsmUnreachable));
  faults->fail("C_GetTokenInfo", kDeviceError, 1);
  EXPECT_TRUE(hsm.open("acme2").is(Reason::kTokenMissing));
}

TEST_F(TokenSession, AChangeIsNotRepeated) {
  hsm.make("acme");
  const auto token = open();
  faults->fail_after("C_CreateObject", kDeviceError, 1);
  EXPECT_TRUE(token->objects().save("probe", as_bytes("value")).is(Reason::kTokenWriteFailed));
  EXPECT_EQ(faults->calls("C_CreateObject"), 1U);
  EXPECT_TRUE(token->objects().load("probe")->has_value());
  // Refused for the session, it did not take place.
  faults->fail("C_CreateObject", kSessionHandleInvalid, 1);
  EXPECT_TRUE(token->objects().save("probe", as_bytes("later")).ok());
  EXPECT_EQ(as_text(**token->objects().load("probe")), "later");
}

TEST_F(TokenSession, InitialisedElsewhereIsAdoptedAndNotFinalised) {
  hsm.make("acme");
  auto token = open();
  faults->fail_after("C_Initialize", kAlreadyInitialised, 1);
  faults->fail("C_FindObjectsInit", kDeviceError, 1);
  EXPECT_TRUE(token->objects().load("probe").ok());  // initialised anew, and somebody else was first
  const unsigned finalised = faults->calls("C_Finalize");
  EXPECT_GT(finalised, 0U);
  faults->fail("C_FindObjectsInit", kDeviceError, 1);
  EXPECT_TRUE(token->objects().load("probe").ok());
  expect_works(*token);
  (void)hsm.list();
  EXPECT_EQ(faults->calls("C_Finalize"), finalised);
  // The other one finalises: then it is ours.
  ASSERT_EQ(faults->finalise(), 0U);
  expect_works(*token);
  EXPECT_EQ(hsm.list().size(), 2U);
  EXPECT_GT(faults->calls("C_Finalize"), finalised);
}

// A module that could not be finalised in an outage stays ours, so that a token that came later is seen.
TEST(TokenFaults, AFailedFinaliseIsRepeated) {
  const testing::FaultyModule faults;
  const PrivateToken hsm{testing::FaultyModule::path()};
  ASSERT_EQ(hsm.list().size(), 1U);
  faults->fail("C_Finalize", testing::kDeviceError, 1);
  ASSERT_EQ(hsm.list().size(), 1U);
  ASSERT_TRUE(PrivateToken::make_elsewhere("later"));
  EXPECT_EQ(hsm.list().size(), 2U);
}

TEST_F(TokenSession, InitialisedAnewByAnotherProcess) {
  hsm.make("acme");
  const auto token = open();
  const auto kek = token->generate_kek("kek");
  ASSERT_TRUE(kek.ok());
  const std::string slot = std::to_string(token->info().slot_id);
  ASSERT_EQ(testing::run({"softhsm2-util", "--init-token", "--slot", slot, "--label", "acme", "--so-pin",
                          PrivateToken::kSoPin, "--pin", PrivateToken::kPin}),
            0);
  EXPECT_TRUE(token->find_kek("kek", *kek).is(Reason::kKekMissing));
  expect_works(*token);
  ASSERT_EQ(testing::run({"softhsm2-util", "--init-token", "--slot", slot, "--label", "renamed", "--so-pin",
                          PrivateToken::kSoPin, "--pin", PrivateToken::kPin}),
            0);
  EXPECT_TRUE(token->find_kek("kek", *kek).is(Reason::kTokenMissing));
}

// Every C_Finalize costs all users of the module in this process their sessions.
TEST_F(TokenSession, IsInitialisedAgainWhereItMatters) {
  hsm.make("acme");
  const auto token = open();
  expect_works(*token);
  const unsigned before = faults->calls("C_Finalize");
  for (int times = 0; times < 3; ++times) expect_works(*token);
  ASSERT_TRUE(Token::list(hsm.module, kTokenTimeLimit, {}, Listing::kAsIs).ok());
  EXPECT_EQ(faults->calls("C_Finalize"), before);
  ASSERT_TRUE(Token::list(hsm.module).ok());
  EXPECT_EQ(faults->calls("C_Finalize"), before + 1);
}

// Seen with one module: what has the number by then is closed with it.
TEST_F(TokenSession, AModuleThatClosesADescriptorAgainClosesNoneOfOurs) {
  hsm.make("acme");
  faults->close_again();
  ASSERT_EQ(hsm.list().size(), 2U);  // opens it
  ASSERT_EQ(hsm.list().size(), 2U);  // closes it
  const testing::TemporaryDirectory place;
  const auto directory =
      os::posix_files().open_directory((place.path() / "store").string(), os::DirectoryMode::kCreate);
  ASSERT_TRUE(directory.ok());
  const auto file = (*directory)->open("file", os::OpenMode::kCreate);
  ASSERT_TRUE(file.ok());
  const auto lock = (*directory)->lock("lock");
  ASSERT_TRUE(lock.ok());
  ASSERT_EQ(hsm.list().size(), 2U);  // closes it again
  EXPECT_TRUE((*file)->write_at(0, as_bytes("x")).ok());
  EXPECT_TRUE((*file)->sync().ok());
  EXPECT_TRUE((*directory)->sync().ok());
  EXPECT_TRUE((*directory)->lock("lock").is(Reason::kLocked)) << "the lock is gone";
}

TEST_F(TokenSession, AHungModuleCostsOneCallItsTimeAndOthersNothing) {
  hsm.make("acme");
  const auto token = std::move(*hsm.open("acme", PrivateToken::kPin, kHasty));
  expect_works(*token);
  const PrivateToken* const fixture = &hsm;
  faults->hang("C_FindObjectsInit");
  const auto start = std::chrono::steady_clock::now();
  const auto hung = token->objects().load("probe");
  ASSERT_TRUE(hung.is(Reason::kHsmUnreachable));
  EXPECT_NE(hung.error().detail.find("C_FindObjectsInit"), std::string::npos) << hung.error().detail;
  EXPECT_NE(hung.error().detail.find("not returned in time"), std::string::npos) << hung.error().detail;
  EXPECT_GE(std::chrono::steady_clock::now() - start, kHasty);
  // Without the limit of 10 s: it is known that it hangs.
  const auto asked = std::chrono::steady_clock::now();
  const auto later = fixture->open("acme");
  ASSERT_TRUE(later.is(Reason::kHsmUnreachable));
  for (const char* const part : {"C_FindObjectsInit", "since an earlier call", "until that call returns"})
    EXPECT_NE(later.error().detail.find(part), std::string::npos) << later.error().detail;
  EXPECT_TRUE(Token::list(hsm.module).is(Reason::kHsmUnreachable));
  EXPECT_TRUE(token->objects().save("probe", as_bytes("never")).is(Reason::kHsmUnreachable));
  EXPECT_LT(std::chrono::steady_clock::now() - asked, milliseconds(5000));
  // Another module is not concerned.
  EXPECT_TRUE(Token::list(testing::softhsm_module()).ok());
  faults->release();
  Result<std::optional<Bytes>> again = token->objects().load("probe");
  while (!again.ok()) {
    ASSERT_TRUE(again.is(Reason::kHsmUnreachable)) << again.error().detail;
    std::this_thread::yield();
    again = token->objects().load("probe");
  }
  ASSERT_TRUE(again->has_value());
  EXPECT_EQ(as_text(**again), "value");
}

TEST_F(TokenSession, ThoseWhoWaitForAHungModuleAreToldAtOnce) {
  hsm.make("acme");
  const auto patient = open();  // 10 s
  const auto hasty = std::move(*hsm.open("acme", PrivateToken::kPin, kHasty));
  faults->hang("C_FindObjectsInit");
  std::thread other([&] { EXPECT_TRUE(hasty->objects().load("probe").is(Reason::kHsmUnreachable)); });
  faults->await_hang();
  const auto start = std::chrono::steady_clock::now();
  EXPECT_TRUE(patient->objects().load("probe").is(Reason::kHsmUnreachable));
  EXPECT_LT(std::chrono::steady_clock::now() - start, milliseconds(8000));
  other.join();
  faults->release();
}

TEST_F(TokenSession, ABusyModuleIsNotAHungOne) {
  hsm.make("acme");
  const auto patient = open();
  const auto hasty = std::move(*hsm.open("acme", PrivateToken::kPin, kHasty));
  faults->hang("C_FindObjectsInit");
  std::thread other([&] { EXPECT_TRUE(patient->objects().load("probe").ok()); });
  faults->await_hang();
  const auto waited = hasty->objects().load("probe");
  EXPECT_TRUE(waited.is(Reason::kHsmUnreachable));
  EXPECT_NE(waited.error().detail.find("busy"), std::string::npos) << waited.error().detail;
  faults->release();
  other.join();
  expect_works(*patient);
}

TEST_F(TokenSession, ACancelledCallIsLeftAtOnceAndLaterOnesWait) {
  hsm.make("acme");
  const auto token = open();
  expect_works(*token);
  const unsigned initialised = faults->calls("C_Initialize");
  faults->hang("C_FindObjectsInit");
  Cancellation cancellation;
  std::thread caller([&] {
    const CancellationScope scope(&cancellation);
    EXPECT_TRUE(token->objects().load("probe").is(Reason::kAborted));
    EXPECT_TRUE(token->objects().load("probe").is(Reason::kAborted)) << "it is not even asked";
  });
  faults->await_hang();
  cancellation.request();
  caller.join();
  std::thread other([&] { EXPECT_TRUE(token->objects().load("probe").ok()) << "the module only was slow"; });
  faults->release();
  other.join();
  EXPECT_EQ(faults->calls("C_Initialize"), initialised) << "other users would lose their sessions";
}

TEST_F(TokenSession, ACallThatWasCancelledAndNeverReturnsIsNamed) {
  hsm.make("acme");
  const auto token = open();
  const auto hasty = std::move(*hsm.open("acme", PrivateToken::kPin, kHasty));
  faults->hang("C_FindObjectsInit");
  Cancellation cancellation;
  std::thread caller([&] {
    const CancellationScope scope(&cancellation);
    EXPECT_TRUE(token->objects().load("probe").is(Reason::kAborted));
  });
  faults->await_hang();
  cancellation.request();
  caller.join();
  const auto later = hasty->objects().load("probe");
  ASSERT_TRUE(later.is(Reason::kHsmUnreachable));
  EXPECT_NE(later.error().detail.find("until that call returns"), std::string::npos) << later.error().detail;
  faults->release();
  while (!Token::list(hsm.module).ok()) std::this_thread::yield();
  expect_works(*token);
}

TEST_F(TokenSession, AListOfSlotsThatNeverFitsIsRefused) {
  hsm.make("acme");
  faults->outgrow();
  EXPECT_TRUE(Token::list(hsm.module).is(Reason::kHsmRefused));
  faults->reset();
  expect_works(*open());
}

TEST_F(TokenSession, AChangeThatNobodyWaitsForIsNotBegun) {
  hsm.make("acme");
  const auto token = std::move(*hsm.open("acme", PrivateToken::kPin, kHasty));
  faults->hang("C_FindObjectsInit");
  EXPECT_TRUE(token->objects().save("probe", as_bytes("value")).is(Reason::kHsmUnreachable));
  faults->release();
  while (!Token::list(hsm.module).ok()) std::this_thread::yield();
  EXPECT_EQ(faults->calls("C_CreateObject"), 0U);
}

TEST_F(TokenSession, OpenThatComesTooLateLeavesNoSession) {
  hsm.make("acme");
  faults->hang("C_Login");
  EXPECT_TRUE(hsm.open("acme", PrivateToken::kPin, milliseconds(50)).is(Reason::kHsmUnreachable));
  const unsigned before = faults->calls("C_CloseSession");
  faults->release();
  while (!Token::list(hsm.module).ok()) std::this_thread::yield();
  // Its session was closed, or went with the module's new initialisation; either way a token with one may be made anew.
  EXPECT_GE(faults->calls("C_CloseSession") + faults->calls("C_Finalize"), before + 1);
  expect_works(*open());
}

TEST_F(TokenSession, AChildAfterForkIsRefused) {
  hsm.make("acme");
  auto token = open();
  const pid_t child = fork();
  if (child == 0) {
    int failures = 0;
    if (!token->objects().load("probe").is(Reason::kHsmUnreachable)) failures |= 1;
    if (!Token::list(hsm.module).is(Reason::kHsmUnreachable)) failures |= 2;
    token.reset();
    _exit(failures);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  expect_works(*token);
}

TEST_F(TokenSession, ManyThreads) {
  hsm.make("acme");
  const auto first = open();
  const auto second = open();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      Token& token = i % 2 == 0 ? *first : *second;
      const std::string label = "object " + std::to_string(i);
      for (std::uint8_t round = 0; round < 20; ++round) {
        EXPECT_TRUE(token.objects().save(label, Bytes(4, round)).ok());
        EXPECT_EQ(**token.objects().load(label), Bytes(4, round));
        if (i == 3) {
          EXPECT_TRUE(Token::list(hsm.module).ok());
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(TokenSession, InitialiseErasesOnlyWhatIsConfirmed) {
  const auto initialise = [&](std::uint64_t slot, const std::string& label, const std::string& confirmation) {
    return Token::initialise(hsm.module, slot, label, confirmation, pin(PrivateToken::kSoPin),
                             pin(PrivateToken::kPin));
  };
  EXPECT_TRUE(initialise(hsm.free_slot(), "acme", "something").is(Reason::kHsmRefused));
  EXPECT_TRUE(initialise(77, "acme", "").is(Reason::kTokenMissing));
  EXPECT_TRUE(initialise(hsm.free_slot(), "", "").is(Reason::kInvalidArgument));
  EXPECT_TRUE(initialise(hsm.free_slot(), std::string(33, 'x'), "").is(Reason::kInvalidArgument));
  ASSERT_TRUE(initialise(hsm.free_slot(), "acme", "").ok());
  EXPECT_TRUE(initialise(hsm.free_slot(), "acme", "").is(Reason::kHsmRefused)) << "the label is taken";
  const auto token = open();
  expect_works(*token);
  const std::uint64_t slot = token->info().slot_id;
  EXPECT_TRUE(initialise(slot, "new", "").is(Reason::kHsmRefused));
  EXPECT_TRUE(initialise(slot, "new", "Acme").is(Reason::kHsmRefused));
  expect_works(*token);
  EXPECT_TRUE(Token::initialise(hsm.module, slot, "new", "acme", pin("wrong so pin"), pin(PrivateToken::kPin))
                  .is(Reason::kPinWrong));
  ASSERT_TRUE(initialise(slot, "new", "acme").ok()) << "with a session of ours open";
  EXPECT_TRUE(token->objects().load("probe").is(Reason::kTokenMissing));
  EXPECT_FALSE(open("new")->objects().load("probe")->has_value());
}

TEST_F(TokenSession, PinLengthsAreComparedBeforeAnythingIsErased) {
  hsm.make("acme");
  const auto token = open();
  expect_works(*token);
  const std::uint64_t slot = token->info().slot_id;
  const auto initialise = [&](std::uint64_t at, const std::string& confirmation, const SecretBytes& so_pin,
                              const SecretBytes& user_pin) {
    return Token::initialise(hsm.module, at, "new", confirmation, so_pin.clone(), user_pin.clone()).status();
  };
  const SecretBytes so_pin = pin(PrivateToken::kSoPin);
  const SecretBytes longest(255);
  for (const auto& [user_pin, word] : {std::pair(pin("123"), "short"), {SecretBytes(256), "long"}}) {
    const Status refused = initialise(slot, "acme", so_pin, user_pin);
    ASSERT_TRUE(refused.is(Reason::kPinLength));
    EXPECT_NE(refused.error().detail.find(word), std::string::npos) << refused.error().detail;
    EXPECT_NE(refused.error().detail.find("4 to 255"), std::string::npos) << refused.error().detail;
    EXPECT_TRUE(initialise(hsm.free_slot(), "", so_pin, user_pin).is(Reason::kPinLength));
  }
  EXPECT_TRUE(initialise(hsm.free_slot(), "", pin("123"), so_pin).is(Reason::kPinLength)) << "the officer's";
  EXPECT_EQ(faults->calls("C_InitToken"), 1U) << "that of make()";
  expect_works(*token);
  const Status set_up = initialise(slot, "acme", so_pin, longest);
  EXPECT_TRUE(set_up.ok()) << set_up.error().detail;
  // A token may permit less than it states.
  faults->fail("C_InitPIN", 0xa2, 1);
  EXPECT_TRUE(Token::initialise(hsm.module, hsm.free_slot(), "another", "", so_pin.clone(), so_pin.clone())
                  .is(Reason::kPinLength));
}

TEST_F(TokenSession, DataObjects) {
  hsm.make("acme");
  const auto token = open();
  const auto none = token->objects().load("witness");
  ASSERT_TRUE(none.ok()) << none.error().detail;
  EXPECT_FALSE(none->has_value());
  for (const std::size_t size : {0U, 1U, 100U, 4096U}) {
    const Bytes value(size, static_cast<std::uint8_t>(size));
    ASSERT_TRUE(token->objects().save("witness", value).ok());
    EXPECT_EQ(**token->objects().load("witness"), value);
  }
  EXPECT_TRUE(token->objects().save("witness", Bytes(4097)).is(Reason::kInvalidArgument));
  ASSERT_TRUE(token->objects().save("other", as_bytes("x")).ok());
  // Interrupted between the new object and the removal of the former: the newer one counts, and both go in the end.
  faults->fail("C_DestroyObject", kGeneralError, 1);
  ASSERT_TRUE(token->objects().save("witness", as_bytes("newest")).ok());
  EXPECT_EQ(as_text(**token->objects().load("witness")), "newest");
  EXPECT_EQ(as_text(**open()->objects().load("witness")), "newest");
  ASSERT_TRUE(token->objects().remove("witness").ok());
  EXPECT_FALSE(token->objects().load("witness")->has_value());
  EXPECT_EQ(as_text(**token->objects().load("other")), "x");
  EXPECT_TRUE(token->objects().remove("witness").ok());
}

TEST_F(TokenSession, ASaveLeavesThePreviousObject) {
  hsm.make("acme");
  const auto token = open();
  for (const char* value : {"1", "2", "3", "4"})
    ASSERT_TRUE(token->objects().save("witness", as_bytes(value)).ok());
  EXPECT_EQ(hsm.object_files().size(), 2U);
  const auto values = token->objects().load_all("witness");
  ASSERT_TRUE(values.ok());
  ASSERT_EQ(values->size(), 2U);
  EXPECT_EQ(as_text(values->front()), "4");
  EXPECT_EQ(as_text(values->back()), "3");
  ASSERT_TRUE(token->objects().keep_newest("witness").ok());
  EXPECT_EQ(hsm.object_files().size(), 1U);
  EXPECT_EQ(as_text(**token->objects().load("witness")), "4");
}

TEST_F(TokenSession, ASaveThatTheTokenDidNotKeepFailsAndTakesNothing) {
  hsm.make("acme");
  const auto token = open();
  ASSERT_TRUE(token->objects().save("witness", as_bytes("1")).ok());
  ASSERT_TRUE(token->objects().save("witness", as_bytes("2")).ok());
  const auto before = hsm.object_files();
  for (int times = 0; times < 3; ++times) {
    faults->fail("C_CreateObject", 0, 1);  // CKR_OK, and nothing was made
    const Status saved = token->objects().save("witness", as_bytes("lost"));
    ASSERT_TRUE(saved.is(Reason::kTokenWriteFailed));
    EXPECT_NE(saved.error().detail.find("'acme'"), std::string::npos) << saved.error().detail;
    EXPECT_NE(saved.error().detail.find("'witness'"), std::string::npos) << saved.error().detail;
    EXPECT_EQ(hsm.object_files(), before);
    EXPECT_EQ(as_text(**token->objects().load("witness")), "2");
  }
  ASSERT_TRUE(token->objects().save("witness", as_bytes("3")).ok());
  EXPECT_EQ(as_text(**token->objects().load("witness")), "3");
}

TEST_F(TokenSession, ATokenThatIsNotWrittenIsNamedWithTheObject) {
  hsm.make("acme");
  const auto token = open();
  ASSERT_TRUE(token->objects().save("witness", as_bytes("1")).ok());
  // Full, read-only session, write-protected; and what SoftHSM2 says of read-only files.
  for (const unsigned long value : {0x31UL, 0xb5UL, 0xe2UL, kGeneralError, 0x6UL, kDeviceError, kVendor}) {
    faults->fail("C_CreateObject", value, 2);
    const Status saved = token->objects().save("witness", as_bytes("2"));
    ASSERT_TRUE(saved.is(Reason::kTokenWriteFailed)) << value;
    EXPECT_NE(saved.error().detail.find("the token 'acme' does not take the object 'witness'"),
              std::string::npos)
        << saved.error().detail;
    EXPECT_NE(saved.error().detail.find("C_CreateObject"), std::string::npos) << saved.error().detail;
    faults->fail("C_CreateObject", 0, 0);
    EXPECT_EQ(as_text(**token->objects().load("witness")), "1");
  }
  // One that does not even answer a search is an outage.
  faults->hang("C_CreateObject");
  std::thread device([&] {
    faults->await_hang();
    faults->fail("C_CreateObject", kGeneralError, 1);
    faults->fail("C_FindObjectsInit", kGeneralError, 1000);
    faults->release();
  });
  EXPECT_TRUE(token->objects().save("witness", as_bytes("2")).is(Reason::kHsmUnreachable));
  device.join();
}

// A module may show what it made until it is initialised again, and have stored none of it.
TEST_F(TokenSession, NoNumberOfSavesTakesTheLastThatWasStored) {
  hsm.make("acme");
  const auto token = open();
  const Bytes first(300, 1);
  ASSERT_TRUE(token->objects().save("witness", first).ok());
  ASSERT_EQ(hsm.list().size(), 2U);  // initialises the module again
  std::vector<Status> saved;
  {
    const testing::FullVolume full;
    for (int times = 0; times < 4; ++times) saved.push_back(token->objects().save("witness", Bytes(300, 2)));
  }
  for (const Status& status : saved) EXPECT_TRUE(status.ok()) << status.error().detail;
  EXPECT_EQ(hsm.object_files().size(), 2U);
  EXPECT_EQ(**token->objects().load("witness"), Bytes(300, 2));
  ASSERT_EQ(hsm.list().size(), 2U);
  const auto left = token->objects().load("witness");
  ASSERT_TRUE(left.ok() && left->has_value());
  EXPECT_EQ(**left, first);
  ASSERT_TRUE(token->objects().save("witness", Bytes(300, 3)).ok());
  EXPECT_EQ(**token->objects().load("witness"), Bytes(300, 3));
}

// Only what an initialisation after it shows was stored; of that the newest stays.
TEST_F(TokenSession, TheNewestObjectThatIsKnownToBeStoredStays) {
  hsm.make("acme");
  const auto token = open();
  for (const char* value : {"1", "2", "3"})
    ASSERT_TRUE(token->objects().save("witness", as_bytes(value)).ok());
  ASSERT_EQ(hsm.list().size(), 2U);
  for (const char* value : {"4", "5"}) ASSERT_TRUE(token->objects().save("witness", as_bytes(value)).ok());
  const auto values = token->objects().load_all("witness");
  ASSERT_TRUE(values.ok());
  ASSERT_EQ(values->size(), 2U);
  EXPECT_EQ(as_text(values->front()), "5");
  EXPECT_EQ(as_text(values->back()), "3");
}

TEST_F(TokenSession, WhatIsToStayAloneIsReadFromTheModuleInitialisedAgain) {
  hsm.make("acme");
  const auto token = open();
  ASSERT_TRUE(token->objects().save("witness", as_bytes("1")).ok());
  ASSERT_EQ(hsm.list().size(), 2U);
  {
    const testing::FullVolume full;
    ASSERT_TRUE(token->objects().save("witness", Bytes(300, 2)).ok());
  }
  EXPECT_TRUE(token->objects().keep_newest("witness").is(Reason::kTokenWriteFailed));
  EXPECT_EQ(as_text(**token->objects().load("witness")), "1");
}

}  // namespace
}  // namespace strongroom::roots
