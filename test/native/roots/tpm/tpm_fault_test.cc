// The TPM root when the TPM or the way to it fails, and what of its secrets can be seen on that way.
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string_view>
#include <utility>

#include "tpm_fixture.h"

namespace strongroom::roots {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using testing::Relay;

constexpr std::uint32_t kNvIncrement = 0x134;
constexpr std::uint32_t kNvRead = 0x14E;
constexpr std::uint32_t kShutdown = 0x145;
constexpr std::uint32_t kUnseal = 0x15E;

Bytes response_code(std::uint32_t rc) {
  return {0x80,
          0x01,
          0,
          0,
          0,
          10,
          std::uint8_t(rc >> 24),
          std::uint8_t(rc >> 16),
          std::uint8_t(rc >> 8),
          std::uint8_t(rc)};
}

struct TpmFaultTest : TpmTest {
  const TpmName name = counter_name(kIndex, kLabel);
};

// The effective user is nobody, where this process may choose.
class OtherUser {
 public:
  OtherUser() {
    if (own_ == 0) {
      EXPECT_EQ(seteuid(65534), 0);
    }
  }
  ~OtherUser() {
    if (own_ == 0) {
      EXPECT_EQ(seteuid(own_), 0);
    }
  }
  OtherUser(const OtherUser&) = delete;
  OtherUser& operator=(const OtherUser&) = delete;
  OtherUser(OtherUser&&) = delete;
  OtherUser& operator=(OtherUser&&) = delete;

 private:
  const uid_t own_ = geteuid();
};

TEST_F(TpmFaultTest, AnAbsentTpmIsTold) {
  EXPECT_REASON(Tpm::open("swtpm:path=/nonexistent/socket", {}, {}), Reason::kTpmUnavailable);
  const auto absent = Tpm::open("device:/nonexistent/tpm", {}, {});
  EXPECT_REASON(absent, Reason::kTpmUnavailable);
  EXPECT_NE(why(absent).find("there is no /nonexistent/tpm"), std::string::npos) << why(absent);
}

TEST_F(TpmFaultTest, ADeviceThatMayNotBeOpenedIsNotAbsent) {
  const std::string path = device.directory() + "/tpm";
  std::ofstream(path).close();
  std::filesystem::permissions(path, std::filesystem::perms::none);
  std::filesystem::permissions(device.directory(), std::filesystem::perms(0755));
  const OtherUser nobody;
  const auto refused = Tpm::open("device:" + path, {}, {});
  EXPECT_REASON(refused, Reason::kTpmUnavailable);
  EXPECT_NE(why(refused).find("may not be opened by this user"), std::string::npos) << why(refused);
  EXPECT_NE(why(refused).find("mode 0000"), std::string::npos) << why(refused);
}

TEST_F(TpmFaultTest, AnUnknownTransportIsNotAPackageToInstall) {
  const auto unknown = Tpm::open("swtmp:path=/run/s", {}, {});
  EXPECT_REASON(unknown, Reason::kInvalidOption);
  EXPECT_NE(why(unknown).find("there is no transport 'swtmp'"), std::string::npos) << why(unknown);
  const auto missing = Tpm::open("spi-ltt2go:x", {}, {});
  EXPECT_REASON(missing, Reason::kLibraryMissing);
  EXPECT_NE(why(missing).find("apt-get install libtss2-tcti-spi-ltt2go0"), std::string::npos) << why(missing);
}

TEST_F(TpmFaultTest, APasswordOfAHierarchyIsNamed) {
  ASSERT_TRUE(device.tool({"changeauth", "-c", "endorsement", "secret"}));
  auto tpm = open();
  const auto name = tpm->endorsement_name();
  EXPECT_REASON(name, Reason::kTpmRefused);
  EXPECT_NE(why(name).find("endorsement hierarchy has a password"), std::string::npos) << why(name);
  tpm.reset();
  ASSERT_TRUE(device.tool({"changeauth", "-c", "owner", "secret"}));
  const auto opened = Tpm::open(device.tcti(), {}, {});
  EXPECT_REASON(opened, Reason::kTpmRefused);
  EXPECT_NE(why(opened).find("owner hierarchy has a password"), std::string::npos) << why(opened);
}

TEST_F(TpmFaultTest, ALibraryIsNotNamedByItsPath) {
  for (const char* tcti : {"/tmp/evil.so", "./evil.so:x", "../evil", ":path=/x", "Device:/dev/tpm0", "a b"}) {
    EXPECT_REASON(Tpm::open(tcti, {}, {}), Reason::kInvalidOption);
  }
}

TEST_F(TpmFaultTest, ATpmThatNobodyStartedIsStarted) {
  device.kill();
  device.start("not-need-init");
  auto tpm = open();
  expect_root(tpm->unseal(seal(*tpm), {}, {}));
}

TEST_F(TpmFaultTest, KilledAndStartedAgain) {
  auto tpm = open();
  const CounterBound bound = make_counter(*tpm);
  const SealedObject object = seal(*tpm);
  device.kill();
  for (int i = 0; i < 2; ++i) {
    EXPECT_REASON(tpm->unseal(object, {}, {}), Reason::kTpmUnavailable);
    EXPECT_REASON(tpm->read_counter(kIndex, name, secret), Reason::kTpmUnavailable);
    EXPECT_REASON(tpm->increment_counter(kIndex, name, secret), Reason::kTpmUnavailable);
    EXPECT_REASON(tpm->shut_down(), Reason::kTpmUnavailable);
  }
  device.start();
  expect_root(tpm->unseal(object, {}, {}));
  EXPECT_OK(tpm->increment_counter(kIndex, name, secret));
  EXPECT_EQ(*tpm->read_counter(kIndex, name, secret), bound.at_most + 1);
  tpm.reset();
  expect_nothing_loaded();
}

// The TPM has forgotten the session and the parent, and the client has not noticed.
TEST_F(TpmFaultTest, RestartedBetweenTwoCalls) {
  auto tpm = open();
  const CounterBound bound = make_counter(*tpm);
  const SealedObject object = seal(*tpm);
  device.restart();
  expect_root(tpm->unseal(object, {}, {}));
  device.restart();
  EXPECT_EQ(*tpm->read_counter(kIndex, name, secret), bound.at_most);
  device.restart();
  EXPECT_EQ(tpm->find_indices(kIndex, 4)->size(), 1u);
  device.restart();
  EXPECT_OK(tpm->define(NvKind::kCounter, kIndex + 1, kLabel, secret));
  // An increment is never repeated by itself.
  device.restart();
  EXPECT_REASON(tpm->increment_counter(kIndex, name, secret), Reason::kTpmUnavailable);
  EXPECT_EQ(*tpm->read_counter(kIndex, name, secret), bound.at_most);
  EXPECT_OK(tpm->increment_counter(kIndex, name, secret));
}

// After the restart another program has an object and a session where ours were.
TEST_F(TpmFaultTest, RestartedAndTakenByAnother) {
  auto tpm = open();
  const CounterBound bound = make_counter(*tpm);
  SealPolicy policy;
  policy.authorisation = true;
  const SealedObject object = seal(*tpm, policy);
  std::unique_ptr<Tpm> other;  // its session and its parent have the handles that ours had
  const auto others = [&] {
    device.restart();
    other = open();
  };
  others();
  expect_root(tpm->unseal(object, kPin, policy));
  others();
  EXPECT_EQ(*tpm->read_counter(kIndex, name, secret), bound.at_most);
  others();
  EXPECT_REASON(tpm->increment_counter(kIndex, name, secret), Reason::kTpmUnavailable);
  EXPECT_OK(tpm->increment_counter(kIndex, name, secret));
  EXPECT_EQ(*tpm->read_counter(kIndex, name, secret), bound.at_most + 1);
}

TEST_F(TpmFaultTest, AHungTpmEndsTheCallNotTheProcess) {
  constexpr milliseconds kLimit{300};
  auto tpm = open(device.tcti(), {}, {}, kLimit);
  const CounterBound bound = make_counter(*tpm);
  device.stop();
  const auto start = steady_clock::now();
  EXPECT_REASON(tpm->increment_counter(kIndex, name, secret), Reason::kTpmUnavailable);
  EXPECT_GE(steady_clock::now() - start, kLimit);
  // The unanswered command may still be executed, so nothing is read past it, and nobody waits again.
  const auto hung = steady_clock::now();
  for (int i = 0; i < 20; ++i) {
    EXPECT_REASON(tpm->read_counter(kIndex, name, secret), Reason::kTpmUnavailable);
    EXPECT_REASON(Tpm::open(device.tcti(), {}, {}, kLimit), Reason::kTpmUnavailable);
  }
  EXPECT_LT(steady_clock::now() - hung, kLimit);
  device.go_on();
  // The thread that was left behind gets its answer, and the way is free.
  Result<std::uint64_t> value = tpm->read_counter(kIndex, name, secret);
  for (int tries = 0; tries < 2000 && value.is(Reason::kTpmUnavailable); ++tries) {
    usleep(5'000);
    value = tpm->read_counter(kIndex, name, secret);
  }
  ASSERT_TRUE(value.ok()) << why(value);
  EXPECT_EQ(*value, bound.at_most + 1);  // it was executed after all
  EXPECT_OK(tpm->increment_counter(kIndex, name, secret));
}

TEST_F(TpmFaultTest, AHungTpmAtTheStart) {
  constexpr milliseconds kLimit{200};
  device.stop();
  const auto start = steady_clock::now();
  EXPECT_REASON(Tpm::open(device.tcti(), {}, {}, kLimit), Reason::kTpmUnavailable);
  EXPECT_GE(steady_clock::now() - start, kLimit);
  EXPECT_LT(steady_clock::now() - start, 20 * kLimit);
  device.go_on();
}

// --- Behind a relay ---

TEST_F(TpmFaultTest, SecretsDoNotAppearOnTheWire) {
  const Relay relay(device);
  auto tpm = open(relay.tcti());
  const SealPolicy policy = full_policy(*tpm);
  const SealedObject object = seal(*tpm, policy);
  expect_root(tpm->unseal(object, kPin, policy));
  EXPECT_REASON(tpm->unseal(object, kWrongPin, policy), Reason::kPinWrong);
  ASSERT_EQ(relay.count(kUnseal), 2u);
  EXPECT_FALSE(relay.seen(root));
  EXPECT_FALSE(relay.seen(kPin));
  EXPECT_FALSE(relay.seen(kWrongPin));
  EXPECT_FALSE(relay.seen(secret));
  EXPECT_TRUE(relay.seen(kLabel));  // the relay sees what is not secret, outside of encrypted answers
}

// tpm2-tss 3.2 loses the session's encryption when a command fails that has nothing to encrypt.
TEST_F(TpmFaultTest, SecretsDoNotAppearOnTheWireAfterAnError) {
  Relay relay(device);
  auto tpm = open(relay.tcti());
  const CounterBound bound = make_counter(*tpm);
  relay.answer_by([](const Relay::Exchange& e) {
    return e.code == kNvIncrement ? std::optional(response_code(0x920)) : std::nullopt;
  });
  EXPECT_REASON(tpm->increment_counter(kIndex, name, secret), Reason::kTpmUnavailable);
  SealPolicy policy;
  policy.authorisation = true;
  const SealedObject object = seal(*tpm, policy);
  EXPECT_REASON(tpm->increment_counter(kIndex, name, secret), Reason::kTpmUnavailable);
  EXPECT_OK(tpm->define(NvKind::kCounter, kIndex + 1, kLabel, secret));
  EXPECT_REASON(tpm->increment_counter(kIndex, name, secret), Reason::kTpmUnavailable);
  expect_root(tpm->unseal(object, kPin, policy));
  EXPECT_FALSE(relay.seen(root));
  EXPECT_FALSE(relay.seen(kPin));
  EXPECT_FALSE(relay.seen(secret));
}

TEST_F(TpmFaultTest, AnIncrementIsOneCommand) {
  Relay relay(device);
  auto tpm = open(relay.tcti());
  const CounterBound bound = make_counter(*tpm);
  relay.forget();
  for (int i = 0; i < 10; ++i) EXPECT_OK(tpm->increment_counter(kIndex, name, secret));
  EXPECT_EQ(relay.exchanges().size(), 10u);
  EXPECT_EQ(relay.count(kNvIncrement), 10u);
  EXPECT_EQ(*tpm->read_counter(kIndex, name, secret), bound.at_most + 10);
  EXPECT_EQ(relay.exchanges().size(), 11u);
}

TEST_F(TpmFaultTest, AnIncrementWhoseAnswerIsLostIsNotRepeated) {
  Relay relay(device);
  auto tpm = open(relay.tcti());
  const CounterBound bound = make_counter(*tpm);
  relay.forget();
  relay.lose([](const Relay::Exchange& e) { return e.code == kNvIncrement; });
  EXPECT_REASON(tpm->increment_counter(kIndex, name, secret), Reason::kTpmUnavailable);
  relay.lose({});
  EXPECT_EQ(relay.count(kNvIncrement), 1u);
  EXPECT_EQ(*tpm->read_counter(kIndex, name, secret), bound.at_most + 1);
  EXPECT_EQ(relay.count(kNvIncrement), 1u);
  EXPECT_OK(tpm->increment_counter(kIndex, name, secret));
}

// The way to the TPM ends at each exchange of each operation, and does not come back before its end.
TEST_F(TpmFaultTest, AConnectionLostAtAnyCommandIsAPassingFault) {
  Relay relay(device);
  SealPolicy policy;
  SealedObject object;
  {
    auto tpm = open();
    policy = full_policy(*tpm);
    object = seal(*tpm, policy);
  }
  const std::pair<const char*, std::function<Status(Tpm&)>> operations[] = {
      {"open", [&](Tpm&) { return status_of(Tpm::open(relay.tcti(), {}, {})); }},
      {"shut_down", [](Tpm& tpm) { return tpm.shut_down(); }},
      {"endorsement_name", [](Tpm& tpm) { return status_of(tpm.endorsement_name()); }},
      {"pcr_values", [](Tpm& tpm) { return status_of(tpm.pcr_values(kPcrs)); }},
      {"seal", [&](Tpm& tpm) { return status_of(tpm.seal(root, kPin, policy)); }},
      {"unseal", [&](Tpm& tpm) { return status_of(tpm.unseal(object, kPin, policy)); }},
      {"find_indices", [](Tpm& tpm) { return status_of(tpm.find_indices(kIndex, 4)); }},
      {"define_counter", [&](Tpm& tpm) { return tpm.define(NvKind::kCounter, kIndex + 1, kLabel, secret); }},
      {"undefine_counter", [](Tpm& tpm) { return tpm.undefine(kIndex + 1); }},
      {"read_counter", [&](Tpm& tpm) { return status_of(tpm.read_counter(kIndex, name, secret)); }},
      {"clock", [](Tpm& tpm) { return status_of(tpm.clock()); }},
      {"description", [](Tpm& tpm) { return status_of(tpm.description()); }},
  };
  for (const auto& [what, operation] : operations) {
    for (std::size_t cut = 0;; ++cut) {
      SCOPED_TRACE(std::string(what) + ", cut at exchange " + std::to_string(cut));
      device.restart();  // what a lost connection leaves loaded would fill the TPM
      auto tpm = open(relay.tcti());
      if (what == std::string_view("undefine_counter")) {
        (void)tpm->define(NvKind::kCounter, kIndex + 1, kLabel, secret);
      } else {
        (void)tpm->undefine(kIndex + 1);
      }
      std::atomic<std::size_t> exchanges = 0;
      relay.lose([&](const Relay::Exchange&) { return exchanges++ >= cut; });
      const Status done = operation(*tpm);
      const bool whole = exchanges <= cut;
      relay.lose({});
      if (whole) {
        EXPECT_OK(done);
        EXPECT_GT(cut, 0u);
        break;
      }
      // What only tidies up may be cut unnoticed.
      if (!done.ok()) EXPECT_REASON(done, Reason::kTpmUnavailable);
      EXPECT_OK(tpm->clock());
    }
  }
}

TEST_F(TpmFaultTest, PassingErrorsOfAnIncrement) {
  Relay relay(device);
  auto tpm = open(relay.tcti());
  const CounterBound bound = make_counter(*tpm);
  struct Case {
    std::uint32_t rc;
    std::size_t sent;  // by the library itself: what the TPM did not begin is sent again
  };
  for (const Case& c : {Case{0x920, 1}, Case{0x923, 1}, Case{0x922, 5}, Case{0x90A, 5}, Case{0x908, 5}}) {
    SCOPED_TRACE(c.rc);
    relay.forget();
    relay.answer_by([&](const Relay::Exchange& e) {
      return e.code == kNvIncrement ? std::optional(response_code(c.rc)) : std::nullopt;
    });
    EXPECT_REASON(tpm->increment_counter(kIndex, name, secret), Reason::kTpmUnavailable);
    EXPECT_EQ(relay.count(kNvIncrement), c.sent);
    relay.answer_by({});
    EXPECT_EQ(*tpm->read_counter(kIndex, name, secret), bound.at_most);
  }
  EXPECT_OK(tpm->increment_counter(kIndex, name, secret));
  EXPECT_EQ(*tpm->read_counter(kIndex, name, secret), bound.at_most + 1);
}

TEST_F(TpmFaultTest, AnAnswerThatWasChangedIsNotBelieved) {
  Relay relay(device);
  auto tpm = open(relay.tcti());
  const CounterBound bound = make_counter(*tpm);
  Bytes old_answer;
  for (const auto& exchange : relay.exchanges()) {
    if (exchange.code == kNvRead) old_answer = exchange.response;
  }
  ASSERT_FALSE(old_answer.empty());
  EXPECT_OK(tpm->increment_counter(kIndex, name, secret));
  // The value that the TPM gave before the increment, played back.
  relay.answer_by(
      [&](const Relay::Exchange& e) { return e.code == kNvRead ? std::optional(old_answer) : std::nullopt; });
  EXPECT_REASON(tpm->read_counter(kIndex, name, secret), Reason::kTpmUnavailable);
  relay.answer_by({});
  EXPECT_EQ(*tpm->read_counter(kIndex, name, secret), bound.at_most + 1);
}

// TPM2_PCR_Extend of PCR 10 by a value of no matter.
Bytes extend_pcr_10() {
  Bytes command = {0x80, 0x02, 0, 0, 0, 65, 0, 0, 0x01, 0x82, 0, 0, 0, 10};  // header, PCR
  for (const int byte : {0, 0, 0, 9, 0x40, 0, 0, 0x09, 0, 0, 0, 0, 0,        // an empty password
                         0, 0, 0, 1, 0, 0x0B})                               // one digest, of SHA-256
    command.push_back(static_cast<std::uint8_t>(byte));
  command.resize(65, 0x55);
  return command;
}

// A PCR that no policy names counts, too: the kernel's measurements extend PCR 10 all the time.
TEST_F(TpmFaultTest, AnotherPcrThatIsExtendedMeanwhileIsNoChange) {
  Relay relay(device);
  auto tpm = open(relay.tcti());
  const SealPolicy policy = full_policy(*tpm);
  const SealedObject object = seal(*tpm, policy);
  int extends = 0;
  int extends_max = 29;
  relay.answer_by([&](const Relay::Exchange& e) -> std::optional<Bytes> {
    if (e.code != kUnseal || extends == extends_max) return std::nullopt;
    const Bytes response = relay.deliver(extend_pcr_10());
    EXPECT_EQ(Bytes(response.begin() + 6, response.begin() + 10), Bytes(4)) << "executed";
    ++extends;
    return std::nullopt;
  });
  expect_root(tpm->unseal(object, kPin, policy));
  EXPECT_EQ(extends, 29);
  extends_max = 1'000;
  const auto never = tpm->unseal(object, kPin, policy);
  EXPECT_REASON(never, Reason::kTpmUnavailable);
  EXPECT_NE(why(never).find("PCRs are being extended"), std::string::npos) << why(never);
  EXPECT_EQ(extends, 59);
  extends_max = extends;
  expect_root(tpm->unseal(object, kPin, policy));
  expect_no_failures_counted();
  tpm.reset();
  expect_nothing_loaded();
}

TEST_F(TpmFaultTest, LockoutAndFullMemoryAreTold) {
  Relay relay(device);
  auto tpm = open(relay.tcti());
  const SealedObject object = seal(*tpm);
  const auto answer = [&](std::uint32_t rc) {
    relay.answer_by([rc](const Relay::Exchange& e) {
      return e.code == kUnseal ? std::optional(response_code(rc)) : std::nullopt;
    });
  };
  answer(0x921);
  EXPECT_REASON(tpm->unseal(object, {}, {}), Reason::kTpmLockedOut);
  answer(0x128);
  EXPECT_REASON(tpm->unseal(object, {}, {}), Reason::kTpmUnavailable);
  answer(0x902);
  EXPECT_REASON(tpm->unseal(object, {}, {}), Reason::kTpmUnavailable);
  answer(0x101);
  EXPECT_REASON(tpm->unseal(object, {}, {}), Reason::kTpmUnavailable);
  relay.answer_by({});
  expect_root(tpm->unseal(object, {}, {}));
  tpm.reset();
  expect_nothing_loaded();
}

TEST_F(TpmFaultTest, TheOrderlyEndIsTold) {
  const Relay relay(device);
  auto tpm = open(relay.tcti());
  EXPECT_OK(tpm->shut_down());
  ASSERT_FALSE(relay.exchanges().empty());
  EXPECT_EQ(relay.exchanges().back().code, kShutdown);
  expect_nothing_loaded();
  expect_root(tpm->unseal(seal(*tpm), {}, {}));  // a later call connects anew
}

// Clients that were killed leave what they had loaded; without a resource manager nobody cleans up after them.
TEST_F(TpmFaultTest, MemoryFilledByOthersIsAPassingFault) {
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(device.tool({"createprimary", "-C", "o", "-G", "ecc", "-c", file("left")}));
  }
  const auto full = Tpm::open(device.tcti(), {}, {});
  EXPECT_REASON(full, Reason::kTpmUnavailable);
  EXPECT_NE(why(full).find("resource manager"), std::string::npos) << why(full);
  EXPECT_EQ(device.handles("handles-transient").size(), 3u);
  ASSERT_TRUE(device.tool({"flushcontext", "-t"}));
  (void)open();
  expect_nothing_loaded();
}

TEST_F(TpmFaultTest, TheLibraryDoesNotWriteToStderr) {
  ::testing::internal::CaptureStderr();
  auto tpm = open();
  SealPolicy policy;
  policy.authorisation = true;
  const SealedObject object = seal(*tpm, policy);
  EXPECT_REASON(tpm->unseal(object, kWrongPin, policy), Reason::kPinWrong);
  EXPECT_REASON(tpm->read_counter(kIndex, name, secret), Reason::kWitnessMissing);
  device.kill();
  EXPECT_REASON(tpm->read_counter(kIndex, name, secret), Reason::kTpmUnavailable);
  EXPECT_REASON(Tpm::open("device:/nonexistent", {}, {}), Reason::kTpmUnavailable);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace strongroom::roots
