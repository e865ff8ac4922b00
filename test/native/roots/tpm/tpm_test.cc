// The TPM root on a real swtpm: parents, sealing, policies.
#include "roots/tpm/tpm.h"

#include <sys/wait.h>

#include <algorithm>
#include <thread>

#include "roots/tpm/policy.h"
#include "tpm_fixture.h"

namespace strongroom::roots {
namespace {

constexpr const char* kStorageAttributes =
    "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt";

// --- Sealing ---

TEST_F(TpmTest, SealsAndUnseals) {
  auto tpm = open();
  const SealedObject object = seal(*tpm);
  expect_root(tpm->unseal(object, {}, {}));
  const TpmName parent = *tpm->parent_name();
  EXPECT_EQ(parent.size(), 34u);
  tpm.reset();
  expect_nothing_loaded();
  tpm = open(parent);
  expect_root(tpm->unseal(object, {}, {}));
}

TEST_F(TpmTest, SealsUnderEveryPolicyAndKeepsNothingLoaded) {
  auto tpm = open();
  const SealPolicy all = full_policy(*tpm);
  for (int parts = 0; parts < 8; ++parts) {
    SealPolicy policy;
    if ((parts & 1) != 0) policy.bound = all.bound;
    if ((parts & 2) != 0) policy.pcrs = all.pcrs, policy.pcr_digest = all.pcr_digest;
    policy.authorisation = (parts & 4) != 0;
    const SealedObject object = seal(*tpm, policy);
    expect_root(tpm->unseal(object, policy.authorisation ? kPin : Bytes{}, policy));
    SealPolicy other = policy;
    other.authorisation = !policy.authorisation;
    EXPECT_REASON(tpm->unseal(object, other.authorisation ? kPin : Bytes{}, other), Reason::kTpmRefused);
  }
  EXPECT_EQ(device.handles("handles-transient").size(), 1u);  // the parent
  EXPECT_EQ(device.handles("handles-loaded-session").size(), 1u);
  tpm.reset();
  expect_nothing_loaded();
}

TEST_F(TpmTest, SealsSecretsOfEverySize) {
  auto tpm = open();
  for (const std::size_t size : {1u, 31u, 128u}) {
    root.assign(size, 0xA7);
    expect_root(tpm->unseal(seal(*tpm), {}, {}));
  }
  EXPECT_REASON(tpm->seal({}, {}, {}), Reason::kInvalidArgument);
  EXPECT_REASON(tpm->seal(Bytes(129), {}, {}), Reason::kInvalidArgument);
  EXPECT_REASON(tpm->seal(root, kPin, {}), Reason::kInvalidArgument);
  SealPolicy pin;
  pin.authorisation = true;
  EXPECT_REASON(tpm->seal(root, {}, pin), Reason::kInvalidArgument);
  EXPECT_REASON(tpm->seal(root, Bytes(33, 1), pin), Reason::kInvalidArgument);
}

TEST_F(TpmTest, ZerosAtTheEndOfAPinDoNotCount) {
  auto tpm = open();
  SealPolicy policy;
  policy.authorisation = true;
  Bytes pin(32, 0x31);
  pin[31] = pin[30] = 0;
  const auto object = tpm->seal(root, pin, policy);
  ASSERT_TRUE(object.ok()) << why(object);
  expect_root(tpm->unseal(*object, pin, policy));
  expect_root(tpm->unseal(*object, ByteView(pin).first(30), policy));
  EXPECT_REASON(tpm->unseal(*object, ByteView(pin).first(29), policy), Reason::kPinWrong);
}

TEST_F(TpmTest, ADamagedObjectIsRefused) {
  auto tpm = open();
  const SealedObject object = seal(*tpm);
  SealedObject damaged = object;
  damaged.private_area.back() ^= 1;
  EXPECT_REASON(tpm->unseal(damaged, {}, {}), Reason::kTpmRefused);
  damaged = object;
  damaged.public_area.back() ^= 1;
  EXPECT_REASON(tpm->unseal(damaged, {}, {}), Reason::kTpmRefused);
  damaged = object;
  damaged.private_area.pop_back();
  EXPECT_REASON(tpm->unseal(damaged, {}, {}), Reason::kTpmRefused);
  EXPECT_REASON(tpm->unseal({}, {}, {}), Reason::kTpmRefused);
  expect_root(tpm->unseal(object, {}, {}));
  tpm.reset();
  expect_nothing_loaded();
}

// --- Policies refused, each with its reason ---

TEST_F(TpmTest, ChangedPcrsAreTold) {
  auto tpm = open();
  const SealPolicy policy = full_policy(*tpm);
  const SealedObject object = seal(*tpm, policy);
  tool({"pcrextend", "16:sha256=" + std::string(64, 'a')});
  EXPECT_REASON(tpm->unseal(object, kPin, policy), Reason::kTpmPcrChanged);
  // Sealed anew to what they are now.
  SealPolicy now = policy;
  now.pcr_digest = pcr_digest(*tpm->pcr_values(kPcrs));
  EXPECT_NE(now.pcr_digest, policy.pcr_digest);
  expect_root(tpm->unseal(seal(*tpm, now), kPin, now));
  // To name the present values in the policy does not open the object that was sealed to others.
  EXPECT_REASON(tpm->unseal(object, kPin, now), Reason::kTpmRefused);
  tpm.reset();
  expect_nothing_loaded();
}

TEST_F(TpmTest, AWrongPinIsToldAndLocksNothing) {
  auto tpm = open();
  const SealPolicy policy = full_policy(*tpm);
  const SealedObject object = seal(*tpm, policy);
  for (int i = 0; i < 5; ++i) EXPECT_REASON(tpm->unseal(object, kWrongPin, policy), Reason::kPinWrong);
  expect_root(tpm->unseal(object, kPin, policy));
  expect_no_failures_counted();
  tpm.reset();
  expect_nothing_loaded();
}

TEST_F(TpmTest, ACounterPastTheBoundIsARollback) {
  auto tpm = open();
  SealPolicy policy;
  policy.bound = make_counter(*tpm);
  policy.bound->at_most += 1;
  const SealedObject object = seal(*tpm, policy);
  expect_root(tpm->unseal(object, {}, policy));
  EXPECT_OK(tpm->increment_counter(kIndex, policy.bound->name, secret));
  expect_root(tpm->unseal(object, {}, policy));
  EXPECT_OK(tpm->increment_counter(kIndex, policy.bound->name, secret));
  EXPECT_REASON(tpm->unseal(object, {}, policy), Reason::kVaultRolledBack);
  // To claim a later bound is of no use.
  policy.bound->at_most += 1;
  EXPECT_REASON(tpm->unseal(object, {}, policy), Reason::kTpmRefused);
}

TEST_F(TpmTest, ABoundWithoutItsCounterIsTold) {
  auto tpm = open();
  SealPolicy policy;
  policy.bound = make_counter(*tpm);
  const SealedObject object = seal(*tpm, policy);
  EXPECT_OK(tpm->undefine(kIndex));
  EXPECT_REASON(tpm->unseal(object, {}, policy), Reason::kWitnessMissing);
  EXPECT_OK(tpm->define(NvKind::kCounter, kIndex, Digest{}, secret));
  EXPECT_REASON(tpm->unseal(object, {}, policy), Reason::kWitnessReplaced);
  tpm.reset();
  expect_nothing_loaded();
}

// With tpm2-tools alone, so that no check of ours takes part: the TPM itself refuses what was sealed to an older state.
TEST_F(TpmTest, TheTpmItselfRefusesOldState) {
  tool({"createprimary", "-C", "o", "-G", "ecc", "-a", kStorageAttributes, "-c", file("srk")});
  tool({"evictcontrol", "-C", "o", "-c", file("srk"), "0x81000001"});
  auto tpm = open();
  SealPolicy policy;
  policy.bound = make_counter(*tpm);
  const SealedObject object = seal(*tpm, policy);
  write("public", object.public_area);
  write("private", object.private_area);
  const auto bound = counter_bytes(policy.bound->at_most);
  write("bound", bound);
  const auto unseal = [&] {
    tool({"load", "-C", "0x81000001", "-u", file("public"), "-r", file("private"), "-c", file("object")});
    EXPECT_TRUE(device.tool({"startauthsession", "--policy-session", "-S", file("session")}));
    const bool satisfied =
        device.tool({"policynv", "-S", file("session"), "-C", "o", "-i", file("bound"), "0x1800042", "ule"});
    std::filesystem::remove(file("secret"));
    const bool unsealed = device.tool(
        {"unseal", "-c", file("object"), "-p", "session:" + file("session"), "-o", file("secret")});
    device.tool({"flushcontext", file("session")});
    device.tool({"flushcontext", "-t"});
    EXPECT_EQ(satisfied, unsealed);
    return unsealed;
  };
  const TpmName name = policy.bound->name;
  tpm.reset();
  EXPECT_TRUE(unseal());
  EXPECT_EQ(read("secret"), root);
  EXPECT_OK(open()->increment_counter(kIndex, name, secret));
  EXPECT_FALSE(unseal());
}

// --- Parents ---

TEST_F(TpmTest, APersistentStorageKeyIsUsedAndStays) {
  for (const char* algorithm : {"ecc", "rsa2048"}) {
    SCOPED_TRACE(algorithm);
    tool({"createprimary", "-C", "o", "-G", algorithm, "-a", kStorageAttributes, "-c", file("srk")});
    tool({"evictcontrol", "-C", "o", "-c", file("srk"), "0x81000001"});
    tool({"readpublic", "-c", "0x81000001", "-n", file("name")});
    auto tpm = open();
    EXPECT_EQ(*tpm->parent_name(), read("name"));
    EXPECT_TRUE(device.handles("handles-transient").empty());
    SealPolicy policy;
    policy.authorisation = true;
    const SealedObject object = seal(*tpm, policy);
    tpm = open(read("name"));
    expect_root(tpm->unseal(object, kPin, policy));
    tpm.reset();
    expect_nothing_loaded();
    EXPECT_EQ(device.handles("handles-persistent"), std::vector<std::string>{"0x81000001"});
    tool({"evictcontrol", "-C", "o", "-c", "0x81000001"});
  }
}

TEST_F(TpmTest, APersistentKeyThatWasRemovedIsMadeAgain) {
  Bytes zeros(2 + 256);  // TPM2B_PUBLIC_KEY_RSA, as it lies in memory
  zeros[1] = 1;
  write("zeros", zeros);
  for (const std::vector<std::string>& unique : {std::vector<std::string>{}, {"-u", file("zeros")}}) {
    for (const char* algorithm : {"ecc", "rsa2048"}) {
      SCOPED_TRACE(algorithm);
      std::vector<std::string> words = {"createprimary",    "-C", "o",        "-G", algorithm, "-a",
                                        kStorageAttributes, "-c", file("srk")};
      if (std::string(algorithm) == "rsa2048") words.insert(words.end(), unique.begin(), unique.end());
      tool(words);
      tool({"evictcontrol", "-C", "o", "-c", file("srk"), "0x81000001"});
      auto tpm = open();
      const TpmName persistent = *tpm->parent_name();
      const TpmName endorsement = *tpm->endorsement_name();
      const SealedObject object = seal(*tpm);
      tpm.reset();
      tool({"evictcontrol", "-C", "o", "-c", "0x81000001"});
      tpm = open(persistent, endorsement);
      EXPECT_EQ(*tpm->parent_name(), persistent);
      expect_root(tpm->unseal(object, {}, {}));
      tpm.reset();
      expect_nothing_loaded();
    }
  }
  EXPECT_TRUE(device.handles("handles-persistent").empty()) << "what was removed stays removed";
}

TEST_F(TpmTest, OneWithoutRsaThatWasClearedIsCleared) {
  auto tpm = open();
  const TpmName parent = *tpm->parent_name();
  const TpmName endorsement = *tpm->endorsement_name();
  tpm.reset();
  ASSERT_TRUE(device.tool({"clear"}));
  testing::Relay relay(device);
  int refused = 0;
  relay.answer_by([&refused](const testing::Relay::Exchange& e) -> std::optional<Bytes> {
    constexpr std::uint32_t kCreatePrimary = 0x131;
    const Bytes rsa_key = {0, 0x01, 0, 0x0B};  // the type and the hash of its name
    if (e.code != kCreatePrimary ||
        std::search(e.command.begin(), e.command.end(), rsa_key.begin(), rsa_key.end()) == e.command.end())
      return std::nullopt;
    ++refused;
    return Bytes{0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x02, 0xC1};  // TPM_RC_ASYMMETRIC of the second parameter
  });
  EXPECT_REASON(Tpm::open(relay.tcti(), parent, endorsement), Reason::kTpmCleared);
  EXPECT_EQ(refused, 2);
}

TEST_F(TpmTest, APersistentKeyThatAppearsLaterChangesNothing) {
  auto tpm = open();
  const TpmName created = *tpm->parent_name();
  const SealedObject object = seal(*tpm);
  tpm.reset();
  tool({"createprimary", "-C", "o", "-G", "rsa2048", "-a", kStorageAttributes, "-c", file("srk")});
  tool({"evictcontrol", "-C", "o", "-c", file("srk"), "0x81000001"});
  tpm = open(created);
  expect_root(tpm->unseal(object, {}, {}));
  EXPECT_NE(*open()->parent_name(), created);
}

TEST_F(TpmTest, APersistentKeyThatDoesNotFitIsLeftAlone) {
  const TpmName created = *open()->parent_name();
  const std::vector<std::vector<std::string>> unfit = {
      {"-G", "ecc:ecdsa", "-a", "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign"},
      {"-G", "ecc", "-a",
       "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|decrypt"},  // not noDA
      {"-G", "ecc256:aes256cfb", "-a", kStorageAttributes},
      {"-G", "ecc", "-a", kStorageAttributes, "-p", "a password"},
  };
  for (const std::vector<std::string>& options : unfit) {
    SCOPED_TRACE(options[1] + " " + options[3]);
    std::vector<std::string> words = {"createprimary", "-C", "o", "-c", file("other")};
    words.insert(words.end(), options.begin(), options.end());
    tool(words);
    tool({"evictcontrol", "-C", "o", "-c", file("other"), "0x81000001"});
    tool({"readpublic", "-c", "0x81000001", "-n", file("name")});
    auto tpm = open();
    EXPECT_EQ(*tpm->parent_name(), created);
    expect_root(tpm->unseal(seal(*tpm), {}, {}));
    tpm.reset();
    expect_nothing_loaded();
    tool({"readpublic", "-c", "0x81000001", "-n", file("name-after")});
    EXPECT_EQ(read("name"), read("name-after"));
    tool({"evictcontrol", "-C", "o", "-c", "0x81000001"});
  }
  expect_no_failures_counted();
}

TEST_F(TpmTest, EndorsementNameIsThatOfTheTcgTemplate) {
  tool({"createek", "-G", "ecc", "-c", file("ek"), "-u", file("ek.pub")});
  tool({"readpublic", "-c", file("ek"), "-n", file("name")});
  EXPECT_EQ(*open()->endorsement_name(), read("name"));
  expect_nothing_loaded();
}

TEST_F(TpmTest, AnOwnerPasswordIsTold) {
  const auto mentions_password = [](const Status& status) {
    return why(status).find("password") != std::string::npos;
  };
  auto tpm = open();
  const TpmName parent = *tpm->parent_name();
  const CounterBound bound = make_counter(*tpm);
  SealPolicy policy;
  policy.bound = bound;
  const SealedObject object = seal(*tpm, policy);
  tool({"changeauth", "-c", "o", "owner"});
  for (const Status& status :
       {tpm->define(NvKind::kCounter, kIndex + 1, kLabel, secret), tpm->undefine(kIndex),
        tpm->unseal(object, {}, policy).status(), Tpm::open(device.tcti(), parent, {}).status(),
        Tpm::open(device.tcti(), {}, {}).status()}) {
    EXPECT_REASON(status, Reason::kTpmRefused);
    EXPECT_TRUE(mentions_password(status)) << why(status);
  }
  // Who knows the index's secret needs no owner.
  EXPECT_EQ(*tpm->read_counter(kIndex, bound.name, secret), bound.at_most);
  EXPECT_OK(tpm->increment_counter(kIndex, bound.name, secret));
  tool({"changeauth", "-c", "o", "-p", "owner"});
  EXPECT_EQ(*tpm->read_counter(kIndex, bound.name, secret), bound.at_most + 1);
  expect_no_failures_counted();
  tpm.reset();
  expect_nothing_loaded();
}

// --- Another TPM, or a cleared one ---

TEST_F(TpmTest, AReplacedTpmIsTold) {
  auto tpm = open();
  const TpmName parent = *tpm->parent_name();
  const TpmName endorsement = *tpm->endorsement_name();
  const CounterBound bound = make_counter(*tpm);
  const SealedObject object = seal(*tpm);
  device.replace();
  EXPECT_REASON(Tpm::open(device.tcti(), parent, endorsement), Reason::kTpmReplaced);
  EXPECT_REASON(Tpm::open(device.tcti(), parent, {}), Reason::kTpmReplaced);
  // In mid-life: none of them is answered by the wrong TPM.
  EXPECT_REASON(tpm->read_counter(kIndex, bound.name, secret), Reason::kTpmReplaced);
  EXPECT_REASON(tpm->unseal(object, {}, {}), Reason::kTpmReplaced);
  EXPECT_REASON(tpm->find_indices(kIndex, 16), Reason::kTpmReplaced);
  EXPECT_REASON(tpm->define(NvKind::kCounter, kIndex, kLabel, secret), Reason::kTpmReplaced);
  EXPECT_REASON(tpm->increment_counter(kIndex, bound.name, secret), Reason::kTpmReplaced);
  expect_nothing_loaded();
}

TEST_F(TpmTest, EveryCallNoticesAReplacedTpmByItself) {
  const std::vector<std::function<Status(Tpm&, const CounterBound&, const SealedObject&)>> calls = {
      [&](Tpm& t, const CounterBound& b, const SealedObject&) {
        return t.read_counter(kIndex, b.name, secret).status();
      },
      [&](Tpm& t, const CounterBound&, const SealedObject&) { return t.find_indices(kIndex, 16).status(); },
      [&](Tpm& t, const CounterBound&, const SealedObject& o) { return t.unseal(o, {}, {}).status(); },
      [&](Tpm& t, const CounterBound&, const SealedObject&) { return t.seal(root, {}, {}).status(); },
      [&](Tpm& t, const CounterBound&, const SealedObject&) {
        return t.define(NvKind::kCounter, kIndex + 1, kLabel, secret);
      },
      [&](Tpm& t, const CounterBound&, const SealedObject&) { return t.undefine(kIndex); },
  };
  for (std::size_t i = 0; i < calls.size(); ++i) {
    SCOPED_TRACE(i);
    auto tpm = open();
    (void)tpm->undefine(kIndex).ok();
    const CounterBound bound = make_counter(*tpm);
    const SealedObject object = seal(*tpm);
    device.replace();
    EXPECT_REASON(calls[i](*tpm, bound, object), Reason::kTpmReplaced);
  }
}

TEST_F(TpmTest, AClearedTpmIsTold) {
  auto tpm = open();
  const TpmName parent = *tpm->parent_name();
  const TpmName endorsement = *tpm->endorsement_name();
  const CounterBound bound = make_counter(*tpm);
  tpm = open(parent, endorsement);
  EXPECT_EQ(*tpm->read_counter(kIndex, bound.name, secret), bound.at_most);
  tool({"clear"});
  EXPECT_REASON(Tpm::open(device.tcti(), parent, endorsement), Reason::kTpmCleared);
  EXPECT_REASON(Tpm::open(device.tcti(), parent, {}), Reason::kTpmReplaced);
  EXPECT_REASON(tpm->read_counter(kIndex, bound.name, secret), Reason::kTpmCleared);
  EXPECT_REASON(tpm->find_indices(kIndex, 16), Reason::kTpmCleared);
  // Begun anew on it, the counter goes on where any counter of this TPM had come to.
  tpm = open();
  EXPECT_GT(make_counter(*tpm).at_most, bound.at_most);
  tpm.reset();
  expect_nothing_loaded();
}

// --- What it says of itself ---

TEST_F(TpmTest, DescribesItself) {
  const auto text = open()->description();
  ASSERT_TRUE(text.ok()) << why(text);
  EXPECT_EQ(text->find("IBM SW TPM "), 0u) << *text;
  EXPECT_LE(text->size(), 64u);
}

TEST_F(TpmTest, PcrDigestIsThatOfTheTools) {
  auto tpm = open();
  tool({"pcrextend", "16:sha256=" + std::string(64, 'b')});
  tool({"pcrread", "sha256:0,1,2,3,4,5,6,7,8,9,10,16,23", "-o", file("values")});
  constexpr std::uint32_t kMany = 0x7FF | 1u << 16 | 1u << 23;  // more than the TPM answers at once
  EXPECT_EQ(pcr_digest(*tpm->pcr_values(kMany)), crypto::sha256({read("values")}));
  EXPECT_REASON(tpm->pcr_values(1u << 24), Reason::kInvalidArgument);
}

TEST_F(TpmTest, PoliciesAreThoseOfTheTools) {
  auto tpm = open();
  const SealPolicy policy = full_policy(*tpm);
  tool({"nvreadpublic", "0x1800042"});
  write("operand", counter_bytes(policy.bound->at_most));
  ASSERT_TRUE(device.tool({"startauthsession", "-S", file("trial")}));
  ASSERT_TRUE(device.tool({"policynv", "-S", file("trial"), "-C", "o", "-i", file("operand"), "-L",
                           file("nv"), "0x1800042", "ule"}));
  ASSERT_TRUE(device.tool({"policypcr", "-S", file("trial"), "-l", "sha256:7,16", "-L", file("pcr")}));
  ASSERT_TRUE(device.tool({"policyauthvalue", "-S", file("trial"), "-L", file("all")}));
  device.tool({"flushcontext", file("trial")});
  SealPolicy part = policy;
  const auto bytes = [](const Digest& digest) { return Bytes(digest.begin(), digest.end()); };
  EXPECT_EQ(bytes(policy_digest(part)), read("all"));
  part.authorisation = false;
  EXPECT_EQ(bytes(policy_digest(part)), read("pcr"));
  part.pcrs = 0;
  EXPECT_EQ(bytes(policy_digest(part)), read("nv"));
}

TEST_F(TpmTest, ClockTellsResetsAndUncleanEnds) {
  auto tpm = open();
  const auto before = tpm->clock();
  ASSERT_TRUE(before.ok()) << why(before);
  EXPECT_TRUE(before->safe);
  EXPECT_OK(tpm->shut_down());
  device.restart();
  const auto orderly = tpm->clock();
  ASSERT_TRUE(orderly.ok()) << why(orderly);
  EXPECT_GT(orderly->reset_count, before->reset_count);
  EXPECT_GE(orderly->clock_ms, before->clock_ms);
  EXPECT_TRUE(orderly->safe);
  device.restart();
  const auto unclean = tpm->clock();
  ASSERT_TRUE(unclean.ok()) << why(unclean);
  EXPECT_GT(unclean->reset_count, orderly->reset_count);
  EXPECT_FALSE(unclean->safe);
}

// --- More than one at a time ---

TEST_F(TpmTest, TwoProcessesUseOneTpm) {
  SealedObject object;
  CounterBound bound;
  {
    auto tpm = open();
    object = seal(*tpm);
    bound = make_counter(*tpm);
  }
  constexpr int kTimes = 50;
  const pid_t child = fork();
  if (child == 0) {
    auto tpm = Tpm::open(device.tcti(), {}, {});
    bool ok = tpm.ok();
    for (int i = 0; ok && i < kTimes; ++i) ok = (*tpm)->increment_counter(kIndex, bound.name, secret).ok();
    if (tpm.ok()) (*tpm).reset();
    _exit(ok ? 0 : 1);
  }
  auto tpm = open();
  std::uint64_t last = 0;
  for (int i = 0; i < kTimes; ++i) {
    expect_root(tpm->unseal(object, {}, {}));
    const auto value = tpm->read_counter(kIndex, bound.name, secret);
    ASSERT_TRUE(value.ok()) << why(value);
    EXPECT_GE(*value, last);
    last = *value;
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(*tpm->read_counter(kIndex, bound.name, secret), bound.at_most + kTimes);
  tpm.reset();
  expect_nothing_loaded();
}

TEST_F(TpmTest, ThreadsShareOneConnection) {
  auto tpm = open();
  const CounterBound bound = make_counter(*tpm);
  const SealedObject object = seal(*tpm);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10; ++i) {
        EXPECT_OK(tpm->increment_counter(kIndex, bound.name, secret));
        expect_root(tpm->unseal(object, {}, {}));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(*tpm->read_counter(kIndex, bound.name, secret), bound.at_most + 40);
}

}  // namespace
}  // namespace strongroom::roots
