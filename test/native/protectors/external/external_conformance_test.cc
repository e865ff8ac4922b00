// Key protector 'external' as an instance of the conformance suite: a key service in memory, each of whose calls can be cut.
#include "key_protector_conformance.h"
#include "protectors/external/external_slot.h"
#include "protectors/external/spelled_key.h"
#include "store/operations/dek_rotation.h"
#include "store/operations/relocation.h"
#include "store/operations/root_recovery.h"
#include "store/start/planned_start.h"
#include "store/start/start.h"

namespace strongroom::store::testing {
namespace {

class KeyServiceDevice final : public ProtectorDevice {
 public:
  [[nodiscard]] EngineOptions options() const override {
    EngineOptions options = store_options("backup");
    options.protector = ProtectorType::kExternal;
    options.external.wrap = [this](ByteView root, ByteView context, std::chrono::milliseconds /*limit*/) {
      return call("wrap", [&] { return wrap(root, context); });
    };
    options.external.unwrap = [this](ByteView wrapped, ByteView context,
                                     std::chrono::milliseconds /*limit*/) {
      return call("unwrap", [&] { return unwrap(wrapped, context); });
    };
    return options;
  }
  [[nodiscard]] Memory memory() const override { return std::make_shared<const Digest>(key_); }
  void remember(const Memory& memory) override { key_ = *std::static_pointer_cast<const Digest>(memory); }

  [[nodiscard]] std::vector<std::string> calls() const override { return calls_; }
  // Nothing in the service; but each of its calls is cut all the same, there are few.
  [[nodiscard]] bool changes_something(const std::string& /*call*/) const override { return true; }
  void fail_at(World& world, std::uint64_t number, When when, Failure failure) override {
    fault_ = {number, when, failure, world.disk.get()};
  }
  void cut_off(World& /*world*/) override { fault_ = {1, When::kBefore, Failure::kForGood, nullptr}; }
  void heal(World& /*world*/) override {
    fault_ = {};
    calls_.clear();
  }

  void lose(World& /*world*/) override { key_ = crypto::random_array<32>(); }
  [[nodiscard]] std::vector<Reason> reasons_of_loss() const override { return {Reason::kKeyServiceRefused}; }
  [[nodiscard]] Status repair(Engine& engine) override {
    return RootRecovery(engine).recover(password_proof("backup"));
  }
  [[nodiscard]] bool is_empty(const World& world) const override { return files_of(*world.disk).empty(); }
  [[nodiscard]] std::size_t writes(const World& /*world*/) const override { return wraps_; }
  [[nodiscard]] std::size_t writes_per_start_max() const override { return 0; }

 private:
  struct Fault {
    std::uint64_t number = UINT64_MAX;
    When when = When::kBefore;
    Failure failure = Failure::kOnce;
    SimulatedDisk* disk = nullptr;
  };

  template <typename Body>
  Result<SecretBytes> call(const char* name, const Body& body) const {
    const std::lock_guard lock(mutex_);
    const Status silence(Reason::kIoError, std::string("simulated: no answer to ") + name);
    calls_.emplace_back(name);
    const std::uint64_t number = calls_.size();
    if (fault_.failure != Failure::kOnce && number > fault_.number) return silence;
    if (number != fault_.number) return body();
    Result<SecretBytes> answer = fault_.when == When::kBefore ? Result<SecretBytes>(silence) : body();
    if (fault_.failure == Failure::kCut) fault_.disk->cut_power_now();
    return silence;
  }
  Result<SecretBytes> wrap(ByteView root, ByteView context) const {
    ++wraps_;
    const crypto::Nonce nonce = crypto::random_array<crypto::kNonceBytes>();
    SecretBytes out(nonce.size() + root.size() + crypto::kTagBytes);
    std::copy(nonce.begin(), nonce.end(), out.span().begin());
    std::uint8_t* const sealed = out.span().data() + nonce.size();
    crypto::Aead(key_).seal(nonce, context, root, sealed, sealed + root.size());
    return out;
  }
  Result<SecretBytes> unwrap(ByteView wrapped, ByteView context) const {
    crypto::Nonce nonce;
    if (wrapped.size() <= nonce.size() + crypto::kTagBytes)
      return Status(Reason::kKeyServiceRefused, "simulated: too short");
    std::copy_n(wrapped.begin(), nonce.size(), nonce.begin());
    SecretBytes out(wrapped.size() - nonce.size() - crypto::kTagBytes);
    if (!crypto::Aead(key_).open(nonce, context, wrapped.subspan(nonce.size(), out.size()),
                                 wrapped.data() + nonce.size() + out.size(), out.span().data())) {
      return Status(Reason::kKeyServiceRefused, "simulated: another key, or another context");
    }
    return out;
  }

  mutable std::mutex mutex_;
  mutable std::vector<std::string> calls_;
  mutable std::size_t wraps_ = 0;
  Fault fault_;
  Digest key_ = crypto::random_array<32>();
};

INSTANTIATE_TEST_SUITE_P(External, KeyProtectorConformance, ::testing::Values(instance_of<KeyServiceDevice>));

// --- What is particular to a service ---

class ExternalProtectorTest : public ::testing::Test {
 protected:
  EngineOptions options() const {
    EngineOptions options = service_.options();
    if (wrap_) options.external.wrap = wrap_;
    if (unwrap_) options.external.unwrap = unwrap_;
    options.external.limit = limit_;
    return options;
  }
  Status open() {
    Opened store(*world_.disk, world_.clock, options());
    SR_TRY(store.open());
    return store->close();
  }
  ByteCall answering(std::size_t bytes) {
    return [bytes](ByteView, ByteView, std::chrono::milliseconds) { return SecretBytes(bytes); };
  }

  KeyServiceDevice service_;
  World world_;
  ByteCall wrap_;
  ByteCall unwrap_;
  std::chrono::milliseconds limit_ = kKeyServiceTimeLimit;
};

TEST_F(ExternalProtectorTest, EachSlotHasAContextOfItsOwn) {
  std::vector<Bytes> contexts;
  std::vector<Bytes> roots;
  wrap_ = [&](ByteView root, ByteView context, std::chrono::milliseconds limit) {
    contexts.emplace_back(context.begin(), context.end());
    roots.emplace_back(root.begin(), root.end());
    return service_.options().external.wrap(root, context, limit);
  };
  Opened store(*world_.disk, world_.clock, options());
  ASSERT_OK(store.open());
  ASSERT_OK(DekRotation(*store).rotate(as_bytes("backup")));
  const StorageId id = store->status().storage_id;
  ASSERT_OK(store->close());
  ASSERT_EQ(contexts.size(), 2U);
  EXPECT_NE(contexts[0], contexts[1]);
  EXPECT_NE(roots[0], roots[1]);
  for (const Bytes& context : contexts) {
    ASSERT_EQ(context.size(), 16U + 4U + 4U);
    EXPECT_TRUE(std::equal(id.begin(), id.end(), context.begin()));
    EXPECT_EQ(as_text(ByteView(context).subspan(20)), "acme");
  }
  // What crosses to the service is in no file.
  for (const auto& [path, content] : files_of(*world_.disk)) {
    for (const Bytes& root : roots)
      EXPECT_EQ(std::search(content.begin(), content.end(), root.begin(), root.end()), content.end()) << path;
  }
}

TEST_F(ExternalProtectorTest, AnswersOfAWrongSizeMakeNoStoreAndAreOutages) {
  for (const std::size_t bytes : {std::size_t{0}, kWrappedRootBytesMax + 1}) {
    wrap_ = answering(bytes);
    EXPECT_REASON(open(), Reason::kKeyServiceUnreachable);
  }
  wrap_ = {};
  for (const std::size_t bytes :
       {std::size_t{0}, std::size_t{31}, std::size_t{33}, kWrappedRootBytesMax + 1}) {
    unwrap_ = answering(bytes);
    EXPECT_REASON(open(), Reason::kKeyServiceUnreachable);
  }
  // Nor one that does not give back what it was given.
  unwrap_ = answering(32);
  EXPECT_REASON(open(), Reason::kKeyServiceRefused);
  EXPECT_TRUE(files_of(*world_.disk).empty());
  unwrap_ = {};
  ASSERT_OK(open());
}

TEST_F(ExternalProtectorTest, AnEditedKeyCheckValueIsNoRefusalOfTheService) {
  ASSERT_OK(open());
  Bytes file = *world_.disk->content(kPersistencePath);
  const auto parsed = parse_persistence(file);
  ASSERT_OK(parsed.status());
  const auto& check = root_slot((*parsed)[0].header)->key_check_value;
  const std::size_t copy_bytes = file.size() / 2;
  for (const std::size_t copy : {std::size_t{0}, copy_bytes}) {
    const auto begin = file.begin() + static_cast<std::ptrdiff_t>(copy);
    const auto checksum = begin + static_cast<std::ptrdiff_t>(copy_bytes - sizeof(Digest));
    const auto at = std::search(begin, checksum, check.begin(), check.end());
    ASSERT_NE(at, checksum);
    *at ^= 1;
    const Digest sum = crypto::sha256({ByteView(file).subspan(copy, copy_bytes - sizeof(Digest))});
    std::copy(sum.begin(), sum.end(), checksum);
  }
  world_.disk->set_content(kPersistencePath, file);
  EXPECT_REASON(open(), Reason::kPersistenceTampered);
  // A key that fits neither is one of another store, or an edit that only the service could tell.
  unwrap_ = answering(32);
  const Status refused = open();
  EXPECT_REASON(refused, Reason::kKeyServiceRefused);
  EXPECT_NE(refused.error().detail.find("persistence.bin was changed"), std::string::npos);
}

TEST_F(ExternalProtectorTest, TheLimitOfTheOptionsArrivesInEachCall) {
  std::vector<std::chrono::milliseconds> limits;
  wrap_ = [&](ByteView root, ByteView context, std::chrono::milliseconds limit) {
    limits.push_back(limit);
    return service_.options().external.wrap(root, context, limit);
  };
  unwrap_ = [&](ByteView wrapped, ByteView context, std::chrono::milliseconds limit) {
    limits.push_back(limit);
    return service_.options().external.unwrap(wrapped, context, limit);
  };
  limit_ = std::chrono::milliseconds(1234);
  ASSERT_OK(open());
  ASSERT_OK(open());
  EXPECT_EQ(limits, std::vector(3, limit_));
}

TEST(SpelledKey, IsFoundInEachFormAndNowhereElse) {
  const Bytes key{0xfb, 0x41, 0xef, 0x00, 0x7a};
  for (const char* text : {"key fb41ef007a", "FB:41:EF:00:7A", "{0xfb, 0x41, 0xEF, 0x00, 0x7a}",
                           "<Buffer fb 41 ef 00 7a>", "+0HvAHo=", "-0HvAHo", "AftB7wB6", "AAD7Qe8Aeg==",
                           "[251,65,239,0,122]", R"({"0":251,"1":65,"2":239,"3":0,"4":122})"}) {
    EXPECT_TRUE(is_spelled_in(text, key)) << text;
  }
  EXPECT_TRUE(is_spelled_in(std::string_view("\xef\xbf\xbd\x41\xef\xbf\xbd\0z", 9), key));
  for (const char* text :
       {"", "fb41ef007b", "fb41ef00", "251, 65, 239, 0, 1220", "1251 65 239 0 122", "access denied"})
    EXPECT_FALSE(is_spelled_in(text, key)) << text;
  EXPECT_FALSE(is_spelled_in("anything", {}));
}

TEST_F(ExternalProtectorTest, WithoutItsFunctionsAStoreSaysSo) {
  ASSERT_OK(open());
  EngineOptions options = store_options("backup");
  options.secret_store.reset();
  Opened store(*world_.disk, world_.clock, std::move(options));
  const Status refused = store.open();
  EXPECT_REASON(refused, Reason::kInvalidOption);
  EXPECT_NE(refused.error().detail.find("type: 'external'"), std::string::npos) << refused.error().detail;
  EXPECT_REASON(Start(*store).initialize_recovery(as_bytes("backup")), Reason::kInvalidOption);
}

TEST_F(ExternalProtectorTest, FunctionsThatAreSuppliedLateOpenTheStore) {
  ASSERT_OK(open());
  EngineOptions without = store_options("backup");
  without.secret_store.reset();
  Opened store(*world_.disk, world_.clock, std::move(without));
  StartPlan plan;
  plan.asks_for_secrets = true;
  PlannedStart start(*store, plan, {});
  ASSERT_OK(start.run());
  StartSecrets secrets;
  static_cast<KindOptions&>(secrets.protector) = options();
  EXPECT_TRUE(secrets.protector.asks_application());
  start.supply(std::move(secrets));
  const Result<StartReport> report = start.run();
  ASSERT_OK(report.status());
  EXPECT_TRUE(report->opened);
}

TEST_F(ExternalProtectorTest, NeedsABackupPasswordOrItsRefusal) {
  EngineOptions without = options();
  without.recovery_password = SecretBytes();
  Opened store(*world_.disk, world_.clock, std::move(without));
  EXPECT_REASON(store.open(), Reason::kInvalidOption);
}

TEST_F(ExternalProtectorTest, ARelocationWrapsForTheNewPlace) {
  ASSERT_OK(open());
  const Files files = files_of(*world_.disk);
  for (const auto& [path, content] : files)
    if (path.starts_with(kSecrets)) {
      world_.disk->set_content("/srv/moved" + path.substr(std::string_view(kSecrets).size()), content);
      world_.disk->remove(path);
    }
  EngineOptions moved = options();
  moved.secret_store = SecretStoreConfig{SecretStoreType::kFile, "/srv/moved"};
  {
    Opened store(*world_.disk, world_.clock, std::move(moved));
    ASSERT_OK(store.open());
    ASSERT_OK(Relocation(*store).relocate());
    ASSERT_OK(store->close());
  }
  EngineOptions again = options();
  again.secret_store.reset();
  Opened store(*world_.disk, world_.clock, std::move(again));
  ASSERT_OK(store.open());
  EXPECT_EQ(store->status().secret_store.directory, "/srv/moved");
}

}  // namespace
}  // namespace strongroom::store::testing
