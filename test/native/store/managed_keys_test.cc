// Managed keys in the vault and in a token: records, refusals, credential, restarts, cuts and faults.
#include "store/managed_keys.h"

#include <algorithm>
#include <map>

#include "engine_fixture.h"

namespace strongroom::store::testing {
namespace {

using os::testing::ManualClock;
using os::testing::SimulatedDisk;

// A token in memory, whose keys can be lost or exchanged.
class MemoryToken final : public TokenKeys {
 public:
  std::map<Bytes, crypto::PrivateKey> keys;
  std::string serial_number = "4711";
  bool refuses_to_destroy = false;

  std::string serial() const override { return serial_number; }
  Status generate(const std::string& /*label*/, ByteView key_id, KeyAlgorithm algorithm) override {
    SR_ASSIGN(crypto::PrivateKey key, crypto::PrivateKey::generate(algorithm));
    keys.emplace(Bytes(key_id.begin(), key_id.end()), std::move(key));
    return {};
  }
  Result<Bytes> public_key(ByteView key_id) override {
    const auto key = keys.find(Bytes(key_id.begin(), key_id.end()));
    return key == keys.end() ? Result<Bytes>(Status(Reason::kNotFound, "no key")) : key->second.public_key();
  }
  Result<Bytes> sign(ByteView key_id, KeyAlgorithm /*algorithm*/, ByteView input,
                     SignatureFormat format) override {
    const auto key = keys.find(Bytes(key_id.begin(), key_id.end()));
    return key == keys.end() ? Result<Bytes>(Status(Reason::kNotFound, "no key"))
                             : key->second.sign(input, format);
  }
  Status destroy(ByteView key_id) override {
    if (refuses_to_destroy) return {Reason::kHsmUnreachable, "unplugged"};
    return keys.erase(Bytes(key_id.begin(), key_id.end())) == 1 ? Status()
                                                                : Status(Reason::kNotFound, "no key");
  }
};

class ManagedKeysTest : public ::testing::Test {
 protected:
  std::unique_ptr<SimulatedDisk> disk = make_disk();
  ManualClock clock;
  std::shared_ptr<MemoryToken> token = std::make_shared<MemoryToken>();
  std::unique_ptr<Opened> store;

  void SetUp() override { reopen(); }
  void reopen() {
    if (store != nullptr) {
      ASSERT_OK((*store)->close());
    }
    store = std::make_unique<Opened>(*disk, clock, store_options());
    ASSERT_OK(store->open());
  }
  Engine& engine() { return **store; }
  ManagedKeys keys() { return ManagedKeys(engine(), token); }
  Status generate(std::string_view id, KeyLocation location = KeyLocation::kVault,
                  KeyAlgorithm algorithm = KeyAlgorithm::kEcP256) {
    return keys().generate(id, algorithm, location, 1234).status();
  }
  Result<ManagedKey> find(std::string_view id) {
    log::ValueCipher cipher(engine().epoch_keys());
    return KeyRecords(engine().queue(), cipher, token).find(id);
  }
  std::vector<std::string> ids() {
    log::ValueCipher cipher(engine().epoch_keys());
    std::vector<std::string> found;
    const Result<std::vector<ManagedKey>> list = KeyRecords(engine().queue(), cipher, token).list();
    for (const ManagedKey& key : *list) found.push_back(key.id);
    return found;
  }
  Status sign(std::string_view id) {
    log::ValueCipher cipher(engine().epoch_keys());
    SR_ASSIGN(const KeySigner signer, KeyRecords(engine().queue(), cipher, token).signer(id));
    SR_ASSIGN(const ManagedKey key, find(id));
    const Bytes input = crypto::to_be_signed(key.algorithm, as_bytes("message"));
    SR_ASSIGN(const Bytes signature, signer.sign(input, SignatureFormat::kRaw));
    return crypto::verify_signature(key.algorithm, key.public_key, input, signature, SignatureFormat::kRaw)
               ? Status()
               : Status(Reason::kInternal, "the signature does not verify");
  }
};

TEST_F(ManagedKeysTest, KeysSurviveARestartAndACompaction) {
  ASSERT_OK(generate("ca-1"));
  ASSERT_OK(generate("ed", KeyLocation::kVault, KeyAlgorithm::kEd25519));
  ASSERT_OK(generate("token-1", KeyLocation::kHsm, KeyAlgorithm::kEcP384));
  const ManagedKey before = *find("ca-1");
  EXPECT_EQ(before.created_wall_ms, 1234);
  reopen();
  ASSERT_OK(engine().compact());
  reopen();
  const ManagedKey after = *find("ca-1");
  EXPECT_EQ(encode_managed_key(after), encode_managed_key(before));
  EXPECT_EQ(find("token-1")->token_serial, "4711");
  EXPECT_EQ(find("token-1")->token_key_id.size(), 16U);
  for (const char* id : {"ca-1", "ed", "token-1"}) ASSERT_OK(sign(id));
  EXPECT_EQ(ids(), (std::vector<std::string>{"ca-1", "ed", "token-1"}));
}

TEST_F(ManagedKeysTest, IdsAreListedInOrderAlsoWhenOneBeginsLikeAnother) {
  for (const char* id : {"a.b", "a", "a-b", "B", "a0"}) ASSERT_OK(generate(id));
  EXPECT_EQ(ids(), (std::vector<std::string>{"B", "a", "a-b", "a.b", "a0"}));
}

TEST_F(ManagedKeysTest, RefusesWhatIsNoIdAndWhatIsThere) {
  for (const std::string& id : {std::string(), std::string("a/b"), std::string("a/private"), std::string("ä"),
                                std::string("a b"), std::string(65, 'x'), std::string("a\0b", 3)}) {
    EXPECT_REASON(generate(id), Reason::kInvalidArgument);
    EXPECT_REASON(find(id).status(), Reason::kInvalidArgument);
  }
  ASSERT_OK(generate(std::string(64, 'x')));
  ASSERT_OK(generate("a"));
  EXPECT_REASON(generate("a"), Reason::kKeyExists);
  EXPECT_REASON(generate("a", KeyLocation::kHsm), Reason::kKeyExists);
  EXPECT_REASON(sign("b"), Reason::kKeyNotFound);
  EXPECT_REASON(keys().deactivate("b", "why"), Reason::kKeyNotFound);
  EXPECT_REASON(keys().reactivate("b"), Reason::kKeyNotFound);
  EXPECT_REASON(keys().remove("b"), Reason::kKeyNotFound);
  EXPECT_REASON(keys().attach_chain("b", ""), Reason::kKeyNotFound);
  EXPECT_REASON(keys().deactivate("a", ""), Reason::kInvalidArgument);
  EXPECT_REASON(keys().deactivate("a", std::string(1025, 'x')), Reason::kInvalidArgument);
  EXPECT_REASON(keys().attach_chain("a", "no PEM"), Reason::kInvalidArgument);
  EXPECT_REASON(
      ManagedKeys(engine(), nullptr).generate("c", KeyAlgorithm::kEcP256, KeyLocation::kHsm, 0).status(),
      Reason::kUnsupported);
}

TEST_F(ManagedKeysTest, ADeactivatedKeyDoesNotSignUntilItAnswersAgain) {
  ASSERT_OK(generate("vault"));
  ASSERT_OK(generate("token", KeyLocation::kHsm));
  for (const char* id : {"vault", "token"}) {
    ASSERT_OK(keys().deactivate(id, "compromised"));
    ASSERT_OK(keys().deactivate(id, "another reason"));
    EXPECT_REASON(sign(id), Reason::kKeyDeactivated);
    reopen();
    EXPECT_REASON(sign(id), Reason::kKeyDeactivated);
    EXPECT_EQ(find(id)->reason, "compromised");
    ASSERT_OK(keys().reactivate(id));
    EXPECT_EQ(find(id)->reason, "");
    ASSERT_OK(sign(id));
    ASSERT_OK(keys().reactivate(id));
  }
}

TEST_F(ManagedKeysTest, OnlyTheRightKeyReactivates) {
  ASSERT_OK(generate("token", KeyLocation::kHsm));
  ASSERT_OK(keys().deactivate("token", "lost"));
  const Bytes id = find("token")->token_key_id;
  crypto::PrivateKey right = std::move(token->keys.at(id));
  token->keys.erase(id);
  EXPECT_REASON(keys().reactivate("token"), Reason::kKeyNotFound);
  ASSERT_OK(token->generate("token", id, KeyAlgorithm::kEcP256));
  EXPECT_REASON(keys().reactivate("token"), Reason::kKeyNotProven);
  EXPECT_REASON(sign("token"), Reason::kKeyDeactivated);
  token->keys.erase(id);
  token->keys.emplace(id, std::move(right));
  token->serial_number = "0815";
  EXPECT_REASON(keys().reactivate("token"), Reason::kKeyNotFound);
  token->serial_number = "4711";
  ASSERT_OK(keys().reactivate("token"));
  ASSERT_OK(sign("token"));
}

TEST_F(ManagedKeysTest, AKeyWhosePrivateHalfIsLostIsNotFound) {
  ASSERT_OK(generate("vault"));
  ASSERT_OK(generate("token", KeyLocation::kHsm));
  // An exchanged private half is noticed, too.
  ASSERT_OK(generate("other"));
  const Bytes other = **engine().get_system_record("keys/other/private");
  ASSERT_OK(engine().set_system_record("keys/vault/private", other));
  EXPECT_REASON(keys().reactivate("vault"), Reason::kKeyNotProven);
  ASSERT_OK(engine()
                .queue()
                .commit_system(log::CommitKind::kData,
                               {{log::Operation::kDelete, as_bytes("strongroom/keys/vault/private"), {}}})
                .status());
  EXPECT_REASON(sign("vault"), Reason::kKeyNotFound);
  token->keys.clear();
  EXPECT_REASON(sign("token"), Reason::kKeyNotFound);
}

TEST_F(ManagedKeysTest, RemovingTakesEverythingAlong) {
  ASSERT_OK(generate("vault"));
  ASSERT_OK(generate("token", KeyLocation::kHsm));
  ASSERT_OK(keys().remove("vault"));
  EXPECT_FALSE(engine().get_system_record("keys/vault/private")->has_value());
  EXPECT_FALSE(engine().get_system_record("keys/vault")->has_value());
  token->refuses_to_destroy = true;
  const Status half = keys().remove("token");
  EXPECT_TRUE(half.is(Reason::kHsmUnreachable));
  EXPECT_TRUE(half.error().committed);
  EXPECT_EQ(ids(), std::vector<std::string>());
  ASSERT_OK(generate("vault"));
  token->refuses_to_destroy = false;
  ASSERT_OK(generate("token", KeyLocation::kHsm));
  ASSERT_OK(keys().remove("token"));
  EXPECT_EQ(token->keys.size(), 1U) << "the one that could not be destroyed";
}

TEST_F(ManagedKeysTest, WhatALostTokenDeactivates) {
  ASSERT_OK(generate("vault"));
  ASSERT_OK(generate("t1", KeyLocation::kHsm));
  ASSERT_OK(generate("t2", KeyLocation::kHsm));
  ASSERT_OK(keys().deactivate("t2", "before"));
  token->serial_number = "another";
  ASSERT_OK(generate("t3", KeyLocation::kHsm));
  log::ValueCipher cipher(engine().epoch_keys());
  const auto records = KeyRecords(engine().queue(), cipher, token).deactivations("the token is lost");
  ASSERT_TRUE(records.ok());
  ASSERT_EQ(records->size(), 1U) << "t2 was deactivated before, t3 is in this token";
  EXPECT_EQ(records->front().first, "strongroom/keys/t1");
  const ManagedKey key = *parse_managed_key("t1", records->front().second);
  EXPECT_EQ(key.state, KeyState::kDeactivated);
  EXPECT_EQ(key.reason, "the token is lost");
  // Set up anew with the serial number that it had.
  token->keys.clear();
  EXPECT_EQ(KeyRecords(engine().queue(), cipher, token).deactivations("gone")->size(), 2U);
}

TEST_F(ManagedKeysTest, APreparedSignatureOutlivesTheStore) {
  ASSERT_OK(generate("vault"));
  const ManagedKey key = *find("vault");
  std::optional<KeySigner> signer;
  {
    log::ValueCipher cipher(engine().epoch_keys());
    signer.emplace(*KeyRecords(engine().queue(), cipher, nullptr).signer("vault"));
  }
  ASSERT_OK(engine().close());
  store.reset();
  const Bytes input = crypto::to_be_signed(key.algorithm, {});
  EXPECT_TRUE(crypto::verify_signature(key.algorithm, key.public_key, input,
                                       *signer->sign(input, SignatureFormat::kDer), SignatureFormat::kDer));
}

TEST_F(ManagedKeysTest, ReadOnlyStoresSignAndChangeNothing) {
  ASSERT_OK(generate("vault"));
  ASSERT_OK(engine().close());
  EngineOptions options = store_options();
  options.read_only = true;
  store = std::make_unique<Opened>(*disk, clock, std::move(options));
  ASSERT_OK(store->open());
  ASSERT_OK(sign("vault"));
  EXPECT_REASON(generate("b"), Reason::kReadOnly);
  EXPECT_REASON(generate("b", KeyLocation::kHsm), Reason::kReadOnly);
  EXPECT_TRUE(token->keys.empty());
  EXPECT_REASON(keys().deactivate("vault", "x"), Reason::kReadOnly);
  EXPECT_REASON(keys().remove("vault"), Reason::kReadOnly);
}

TEST_F(ManagedKeysTest, NoPrivateKeyStandsInAFile) {
  ASSERT_OK(generate("vault"));
  const Bytes half = **engine().get_system_record("keys/vault/private");
  ASSERT_EQ(half.size(), 138U);
  for (const char* directory : {kStore, kSecrets}) {
    for (const std::string& name : disk->list(directory)) {
      const Bytes content = *disk->content(std::string(directory) + "/" + name);
      EXPECT_EQ(std::search(content.begin(), content.end(), half.begin() + 36, half.begin() + 68),
                content.end())
          << name;
    }
  }
}

// Whatever call a power cut hits, a key is there with both halves or not at all, and a change that was acknowledged stays.
TEST_F(ManagedKeysTest, AKeyIsWholeAfterEveryPowerCut) {
  ASSERT_OK(generate("first"));
  ASSERT_OK(engine().close());
  store.reset();
  const std::unique_ptr<SimulatedDisk> image = disk->clone();
  int cuts = 0;
  int states = 0;
  for (std::uint64_t cut = 1;; ++cut) {
    disk = image->clone();
    store = std::make_unique<Opened>(*disk, clock, store_options());
    ASSERT_OK(store->open());
    disk->power_cut_at(disk->calls() + cut);
    const Status made = generate("second");
    const Status deactivated = made.ok() ? keys().deactivate("first", "why") : made;
    if (!disk->power_is_cut()) break;
    ++cuts;
    store.reset();
    const std::unique_ptr<SimulatedDisk> at_cut = std::move(disk);
    for (const os::testing::CrashState& state : at_cut->crash_states(40)) {
      ++states;
      disk = at_cut->after_crash(state);
      store = std::make_unique<Opened>(*disk, clock, store_options());
      ASSERT_OK(store->open());
      ASSERT_TRUE(find("first").ok());
      if (made.ok()) {
        ASSERT_OK(sign("second"));
      } else if (find("second").ok()) {
        ASSERT_OK(sign("second"));
      } else {
        EXPECT_FALSE(engine().get_system_record("keys/second/private")->has_value());
      }
      if (deactivated.ok()) {
        EXPECT_EQ(find("first")->state, KeyState::kDeactivated);
      }
      store.reset();
    }
  }
  std::printf("managed keys: cuts=%d states=%d half keys=0\n", cuts, states);
  EXPECT_GT(cuts, 5);
}

TEST_F(ManagedKeysTest, RecordsThatNobodyWroteAreRefused) {
  ASSERT_OK(generate("a"));
  const Bytes good = encode_managed_key(*find("a"));
  for (std::size_t size = 0; size < good.size(); ++size) {
    EXPECT_TRUE(parse_managed_key("a", ByteView(good).first(size)).is(Reason::kInternal)) << size;
  }
  for (std::size_t at = 0; at < 4; ++at) {
    Bytes bad = good;
    bad[at] = 9;
    EXPECT_TRUE(parse_managed_key("a", bad).is(Reason::kInternal)) << at;
  }
}

}  // namespace
}  // namespace strongroom::store::testing
