// A store whose root is in a token: simulated disk, real SoftHSM2.
#include "engine_fixture.h"
#include "private_token.h"
#include "store/operations/dek_rotation.h"
#include "store/operations/kek_rotation.h"
#include "store/operations/removal.h"
#include "store/operations/restoration.h"
#include "store/operations/verification.h"
#include "store/start/start.h"

namespace strongroom::store::testing {
namespace {

using roots::testing::PrivateToken;

constexpr const char* kPassword = "correct horse";

class TokenEngine : public ::testing::Test {
 protected:
  TokenEngine() : disk_(make_disk()) { token_.make("acme"); }

  [[nodiscard]] EngineOptions options(const std::string& label = "acme",
                                      const char* pin = PrivateToken::kPin) const {
    EngineOptions options = store_options(kPassword);
    options.protector = ProtectorType::kPkcs11;
    options.pkcs11.locator = token_.locator(label);
    options.pkcs11.pin = SecretBytes(as_bytes(pin));
    return options;
  }
  Status start(Opened& store) { return store.open(); }
  Opened store(const std::string& label = "acme", const char* pin = PrivateToken::kPin) {
    return Opened(*disk_, clock_, options(label, pin));
  }
  void make_store() {
    Opened store = this->store();
    ASSERT_OK(store.open());
    ASSERT_OK(store.set("seats", "12").status);
    ASSERT_OK(store->close());
  }
  // Up to the act.
  static Status steps_to_restore(Engine& engine, std::string_view password) {
    SR_TRY(Start(engine).determine_startup_state().status());
    SR_TRY(Start(engine).setup_persistence_files());
    SR_TRY(Start(engine).initialize_recovery(as_bytes(password)));
    SR_TRY(Start(engine).create_and_load_vault());
    return Start(engine).initialize_storage_identifier();
  }
  static Credential credential() {
    Credential credential;
    credential.password = SecretBytes(as_bytes(kPassword));
    return credential;
  }
  std::vector<roots::Kek> keks(const std::string& label = "acme") {
    auto token = token_.open(label);
    EXPECT_TRUE(token.ok());
    auto found = (*token)->find_keks("kek");
    EXPECT_TRUE(found.ok());
    return *found;
  }

  PrivateToken token_;
  std::unique_ptr<os::testing::SimulatedDisk> disk_;
  os::testing::ManualClock clock_;
};

// Files and SecretStore together are put back to the middle of a session; the close had told the token where it ended.
TEST_F(TokenEngine, TheCloseMovesTheWitnessInTheToken) {
  make_store();
  std::unique_ptr<os::testing::SimulatedDisk> middle;
  {
    Opened store = this->store();
    ASSERT_OK(store.open());
    middle = disk_->clone();
    ASSERT_OK(store.set("seats", "11").status);
    ASSERT_OK(store->close());
  }
  Opened older(*middle, clock_, options());
  EXPECT_REASON(older.open(), Reason::kVaultRolledBack);
  Opened store = this->store();
  ASSERT_OK(store.open());
  EXPECT_EQ(store.get("seats"), "11");
}

TEST_F(TokenEngine, StartsColdAndWarm) {
  make_store();
  Opened store = this->store();
  ASSERT_OK(store.open());
  EXPECT_EQ(store.get("seats"), "12");
  const EngineStatus status = store->status();
  EXPECT_EQ(status.protector, ProtectorType::kPkcs11);
  ASSERT_TRUE(status.token);
  EXPECT_EQ(status.token->token_label, "acme");
  ASSERT_EQ(status.witnesses.size(), 3U);
  EXPECT_EQ(status.witnesses[2].name, "token");
  EXPECT_EQ(status.witnesses[2].lag_generations, 0U);
  ASSERT_OK(Verification(*store).verify({}).status());
  ASSERT_OK(store->close());
  EXPECT_EQ(keks().size(), 1U);
}

TEST_F(TokenEngine, RefusalsNameTheirCauseAndChangeNothing) {
  make_store();
  {
    Opened wrong = store("acme", "9999-none");
    EXPECT_REASON(wrong.open(), Reason::kPinWrong);
    EXPECT_REASON(Start(*wrong).initialize_recovery(as_bytes(kPassword)), Reason::kPinWrong);
  }
  {
    Opened absent = store("other");
    EXPECT_REASON(absent.open(), Reason::kTokenMisnamed);
  }
  {
    EngineOptions nameless = options();
    nameless.pkcs11.locator = {};
    Opened store(*disk_, clock_, std::move(nameless));
    EXPECT_REASON(store.open(), Reason::kInvalidOption);
  }
  Opened store = this->store();
  ASSERT_OK(store.open());
}

// A label that is only mistyped must not lead into a restore, which would deactivate the keys in the store's token.
TEST_F(TokenEngine, AMistypedNameIsNoLostTokenWhileTheTokenIsThere) {
  make_store();
  const auto refused = [this](auto change) {
    EngineOptions options = this->options();
    options.pkcs11.locator.label.reset();
    change(options.pkcs11.locator);
    Opened store(*disk_, clock_, std::move(options));
    Status status = store.open();
    EXPECT_REASON(Start(*store).initialize_recovery(as_bytes(kPassword)), Reason::kTokenMisnamed);
    return status;
  };
  const Status label = refused([](roots::TokenLocator& locator) { locator.label = "acne"; });
  EXPECT_REASON(label, Reason::kTokenMisnamed);
  EXPECT_NE(label.error().detail.find("'acne'"), std::string::npos) << label.error().detail;
  EXPECT_NE(label.error().detail.find("'acme'"), std::string::npos) << label.error().detail;
  EXPECT_REASON(refused([](roots::TokenLocator& locator) { locator.serial = "0123"; }),
                Reason::kTokenMisnamed);
  EXPECT_REASON(refused([](roots::TokenLocator& locator) { locator.slot_id = 4711; }),
                Reason::kTokenMisnamed);
  // One that is there, takes the same PIN, and does not hold the key.
  token_.make("acne");
  const Status other = refused([](roots::TokenLocator& locator) { locator.label = "acne"; });
  EXPECT_REASON(other, Reason::kTokenMisnamed);
  EXPECT_EQ(keks("acne").size(), 0U);
  Opened store = this->store();
  ASSERT_OK(store.open());
}

TEST_F(TokenEngine, MovesToAnotherTokenWhenToldSo) {
  make_store();
  token_.make("successor");
  EngineOptions options = this->options("successor");
  options.pkcs11.another_token = true;
  {
    Opened store(*disk_, clock_, std::move(options));
    ASSERT_OK(steps_to_restore(*store, kPassword));
    ASSERT_OK(Restoration(*store).restore(credential()));
    ASSERT_OK(Restoration(*store).complete());
    ASSERT_OK(store->close());
  }
  {
    Opened former = this->store();
    EXPECT_REASON(former.open(), Reason::kTokenMisnamed);
  }
  Opened store = this->store("successor");
  ASSERT_OK(store.open());
  EXPECT_EQ(store.get("seats"), "12");
}

// The former token comes back beside one that was set up in its place with the same label.
TEST_F(TokenEngine, TheRecordedSerialNumberDecidesBetweenTwoTokensOfOneLabel) {
  make_store();
  const std::filesystem::path away = token_.tokens().parent_path() / "away";
  std::filesystem::rename(token_.tokens(), away);
  std::filesystem::create_directory(token_.tokens());
  token_.make("acme");
  {
    Opened store = this->store();
    ASSERT_OK(steps_to_restore(*store, kPassword));
    ASSERT_OK(Restoration(*store).restore(credential()));
    ASSERT_OK(Restoration(*store).complete());
    ASSERT_OK(store->close());
  }
  for (const auto& entry : std::filesystem::directory_iterator(away))
    std::filesystem::rename(entry.path(), token_.tokens() / entry.path().filename());
  ASSERT_EQ(token_.list().size(), 3U);
  for (const bool named : {true, false}) {
    EngineOptions options = this->options();
    if (!named) options.pkcs11.locator.label.reset();
    Opened store(*disk_, clock_, std::move(options));
    ASSERT_OK(store.open());
    EXPECT_EQ(store.get("seats"), "12");
    ASSERT_OK(store->close());
  }
}

TEST_F(TokenEngine, AnEmptiedDirectoryIsNoNewTrial) {
  make_store();
  auto empty = make_disk();
  EngineOptions fresh = options();
  fresh.secret_store->directory = "/srv/other-secrets";
  Opened store(*empty, clock_, std::move(fresh));
  EXPECT_REASON(store.open(), Reason::kPartialRestore);
}

TEST_F(TokenEngine, RestoresAfterALostKek) {
  make_store();
  {
    auto token = token_.open("acme");
    ASSERT_TRUE(token.ok());
    const auto before = (*token)->find_keks("kek");
    ASSERT_TRUE(before.ok());
    ASSERT_OK((*token)->destroy_kek("kek", before->front()));
  }
  {
    Opened refused = store();
    EXPECT_REASON(refused.open(), Reason::kKekMissing);
  }
  {
    Opened wrong = store();
    EXPECT_REASON(steps_to_restore(*wrong, "wrong"), Reason::kPasswordWrong);
  }
  EXPECT_EQ(keks().size(), 0U);
  {
    Opened store = this->store();
    ASSERT_OK(steps_to_restore(*store, kPassword));
    ASSERT_OK(Restoration(*store).restore(credential()));
    EXPECT_EQ(store.get("seats"), "12");
    const EngineStatus status = store->status();
    ASSERT_TRUE(status.restore);
    EXPECT_FALSE(status.restore->completed);
    EXPECT_FALSE(status.continuity_unproven);
    ASSERT_OK(Restoration(*store).complete());
    EXPECT_REASON(Restoration(*store).complete(), Reason::kNothingToDo);
    ASSERT_OK(store->close());
  }
  EXPECT_EQ(keks().size(), 1U);
  Opened store = this->store();
  ASSERT_OK(store.open());
  EXPECT_EQ(store.get("seats"), "12");
  EXPECT_TRUE(store->status().restore->completed);
}

TEST_F(TokenEngine, RestoresIntoANewToken) {
  make_store();
  std::filesystem::remove_all(token_.tokens());
  std::filesystem::create_directory(token_.tokens());
  {
    Opened refused = store();
    EXPECT_REASON(refused.open(), Reason::kTokenMissing);
  }
  {
    Opened again = store();
    ASSERT_OK(steps_to_restore(*again, kPassword));
    EXPECT_REASON(Restoration(*again).restore(credential()), Reason::kTokenMissing);
  }
  token_.make("successor");
  {
    Opened store = this->store("successor");
    ASSERT_OK(steps_to_restore(*store, kPassword));
    ASSERT_OK(Restoration(*store).restore(credential()));
    ASSERT_OK(Restoration(*store).complete());
    ASSERT_OK(store->close());
  }
  EXPECT_EQ(keks("successor").size(), 1U);
  Opened store = this->store("successor");
  ASSERT_OK(store.open());
  EXPECT_EQ(store.get("seats"), "12");
  EXPECT_EQ(store->status().witnesses[2].lag_generations, 0U);
}

TEST_F(TokenEngine, RotatesTheKek) {
  make_store();
  const Bytes before = keks().front().id;
  {
    Opened store = this->store();
    ASSERT_OK(store.open());
    ASSERT_OK(KekRotation(*store).rotate());
    ASSERT_OK(store.set("seats", "13").status);
    ASSERT_OK(store->close());
  }
  ASSERT_EQ(keks().size(), 1U);
  EXPECT_NE(keks().front().id, before);
  Opened store = this->store();
  ASSERT_OK(store.open());
  EXPECT_EQ(store.get("seats"), "13");
}

TEST_F(TokenEngine, AWitnessThatTheTokenNeverStoredLeavesTheOneBefore) {
  make_store();
  ASSERT_EQ(token_.list().size(), 2U);  // as in a new process, with the module initialised again
  {
    Opened store = this->store();
    ASSERT_OK(store.open());
    std::vector<Status> written;
    {
      const roots::testing::FullVolume full;
      for (const char* seats : {"11", "10", "9"})
        written.push_back(store.set("seats", seats, log::Durability::kWitnessed).status);
    }
    for (const Status& status : written) EXPECT_OK(status);
    // The engine ends here, as in a crash.
  }
  ASSERT_EQ(token_.list().size(), 2U);
  Opened store = this->store();
  ASSERT_OK(store.open());
  EXPECT_EQ(store.get("seats"), "9");
}

// What a start cannot write has the name of the witness that it belongs to.
TEST(TokenEngineFaults, AStartNamesTheWitnessThatIsNotWritten) {
  const roots::testing::FaultyModule faults;
  const PrivateToken token{roots::testing::FaultyModule::path()};
  token.make("acme");
  const auto disk = make_disk();
  os::testing::ManualClock clock;
  const auto options = [&token] {
    EngineOptions options = store_options(kPassword);
    options.protector = ProtectorType::kPkcs11;
    options.pkcs11.locator = token.locator("acme");
    options.pkcs11.pin = SecretBytes(as_bytes(PrivateToken::kPin));
    return options;
  };
  {
    Opened store(*disk, clock, options());
    ASSERT_OK(store.open());
    ASSERT_OK(store->close());
  }
  faults->protect(0xe2);  // CKR_TOKEN_WRITE_PROTECTED
  {
    Opened store(*disk, clock, options());
    const Status refused = store.open();
    EXPECT_REASON(refused, Reason::kTokenWriteFailed);
    EXPECT_NE(refused.error().detail.find("'acme'"), std::string::npos) << refused.error().detail;
    EXPECT_NE(refused.error().detail.find("'strongroom VaultHash acme'"), std::string::npos)
        << refused.error().detail;
  }
  faults->protect(0);
  Opened again(*disk, clock, options());
  ASSERT_OK(again.open());
}

TEST(TokenEngineFaults, ATokenThatIsNotWrittenIsTriedLessOften) {
  const roots::testing::FaultyModule faults;
  const PrivateToken token{roots::testing::FaultyModule::path()};
  token.make("acme");
  const auto disk = make_disk();
  os::testing::ManualClock clock;
  EngineOptions options = store_options(kPassword);
  options.protector = ProtectorType::kPkcs11;
  options.pkcs11.locator = token.locator("acme");
  options.pkcs11.pin = SecretBytes(as_bytes(PrivateToken::kPin));
  options.threads = true;
  options.witness_interval_ms = 1;
  Opened store(*disk, clock, std::move(options));
  ASSERT_OK(store.open());
  faults->protect(0x31);  // CKR_DEVICE_MEMORY
  const auto until = [](const auto& reached) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!reached() && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
    return reached();
  };
  ASSERT_OK(store.set("seats", "12").status);
  EXPECT_REASON(store->anchor(), Reason::kWitnessNotMoved);
  const unsigned once = faults->calls("C_CreateObject");
  // The other witnesses follow, and no time passes for the token.
  for (int times = 0; times < 10; ++times) {
    ASSERT_OK(store.set("seats", std::to_string(times)).status);
    EXPECT_TRUE(until([&] { return store->status().witnesses[0].lag_generations == 0; }));
  }
  EXPECT_EQ(faults->calls("C_CreateObject"), once);
  clock.advance(60'000);
  EXPECT_TRUE(until([&] { return faults->calls("C_CreateObject") > once; }));
  faults->protect(0);
  clock.advance(60'000);
  EXPECT_TRUE(until([&] { return !store->status().witnesses[2].failing; }));
}

TEST_F(TokenEngine, ADecommissionNamesAWrongPinAndAMistypedToken) {
  make_store();
  token_.make("other");
  const auto decommission = [this](const char* label, const char* pin, bool allow_leftovers) {
    EngineOptions options = this->options(label, pin);
    options.removal = true;
    options.allow_leftovers = allow_leftovers;
    Opened store(*disk_, clock_, std::move(options));
    EXPECT_OK(Start(*store).determine_startup_state());
    EXPECT_OK(Start(*store).setup_persistence_files());
    EXPECT_FALSE(Start(*store).initialize_warmstart().ok());
    return Removal(*store).decommission(credential());
  };
  EXPECT_REASON(decommission("acme", "000000", false), Reason::kPinWrong);
  EXPECT_REASON(decommission("acme", "", false), Reason::kPinMissing);
  EXPECT_REASON(decommission("other", PrivateToken::kPin, false), Reason::kTokenMisnamed);
  EXPECT_EQ(keks().size(), 1U);
  EXPECT_OK(decommission("acme", "000000", true));
  EXPECT_EQ(keks().size(), 1U);
}

TEST(TokenEngineFaults, AnIntervalLongerThanTheLongestPauseIsThePause) {
  const roots::testing::FaultyModule faults;
  const PrivateToken token{roots::testing::FaultyModule::path()};
  token.make("acme");
  const auto disk = make_disk();
  os::testing::ManualClock clock;
  EngineOptions options = store_options(kPassword);
  options.protector = ProtectorType::kPkcs11;
  options.pkcs11.locator = token.locator("acme");
  options.pkcs11.pin = SecretBytes(as_bytes(PrivateToken::kPin));
  options.witness_interval_ms = 600'000;
  Opened store(*disk, clock, std::move(options));
  ASSERT_OK(store.open());
  ASSERT_OK(store.set("seats", "12").status);
  faults->protect(0x31);  // CKR_DEVICE_MEMORY
  for (int times = 0; times < 2; ++times) EXPECT_REASON(store->anchor(), Reason::kWitnessNotMoved);
  faults->protect(0);
  EXPECT_OK(store->anchor());
}

// With two objects both saves were acknowledged. What is wrong with the newest came later, and the other does not count.
TEST_F(TokenEngine, TheOlderObjectDoesNotStandInForADamagedOne) {
  make_store();
  ASSERT_OK((*token_.open("acme"))->objects().save("strongroom VaultHash acme", as_bytes("damaged")));
  ASSERT_EQ((*token_.open("acme"))->objects().load_all("strongroom VaultHash acme")->size(), 2U);
  Opened store = this->store();
  EXPECT_REASON(store.open(), Reason::kWitnessReplaced);
}

// With three the newest was not.
TEST_F(TokenEngine, AnObjectThatNoSaveAcknowledgedDoesNotCount) {
  make_store();
  Bytes raw(8, 0xFF);
  raw[0] = 0;  // the highest sequence number
  raw.resize(100, 'x');
  const auto file = token_.tokens().parent_path() / "raw";
  std::ofstream(file, std::ios::binary).write(reinterpret_cast<const char*>(raw.data()), 100);
  ASSERT_TRUE(token_.tool({"--write-object", file.string(), "--type", "data", "--private", "--label",
                           "strongroom VaultHash acme", "--application-label", "strongroom"},
                          "acme"));
  ASSERT_EQ((*token_.open("acme"))->objects().load_all("strongroom VaultHash acme")->size(), 3U);
  Opened store = this->store();
  ASSERT_OK(store.open());
}

TEST_F(TokenEngine, AKekThatTheTokenDidNotKeepReplacesNothing) {
  make_store();
  const Bytes before = keks().front().id;
  {
    Opened store = this->store();
    ASSERT_OK(store.open());
    Status rotated;
    {
      const roots::testing::FullVolume full;
      rotated = KekRotation(*store).rotate();
    }
    EXPECT_REASON(rotated, Reason::kTokenWriteFailed);
  }
  ASSERT_EQ(keks().size(), 1U);
  EXPECT_EQ(keks().front().id, before);
  Opened store = this->store();
  ASSERT_OK(store.open());
  ASSERT_OK(KekRotation(*store).rotate());
}

// The previous object is of the former DEK, which opens nothing any more.
TEST_F(TokenEngine, ARotationOfTheDekLeavesOneObject) {
  make_store();
  Opened store = this->store();
  ASSERT_OK(store.open());
  ASSERT_OK(DekRotation(*store).rotate(as_bytes(kPassword)));
  const auto key_ids = [&] {
    std::vector<std::optional<std::uint32_t>> ids;
    const auto token = token_.open("acme");
    const auto records = (*token)->objects().load_all("strongroom VaultHash acme");
    for (const Bytes& record : *records) ids.push_back(peek_key_id(ByteView(record).subspan(36)));
    return ids;
  };
  for (const auto& id : key_ids()) EXPECT_EQ(id, 2U);
}

}  // namespace
}  // namespace strongroom::store::testing
