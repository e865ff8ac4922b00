// Restore and rotation cut at every step, on a simulated disk and a real SoftHSM2: the engine is destroyed there as a crash
// would, the disk and the token keep what they had, and the act is gone on with.
#include "store/operations/restoration.h"

#include "engine_fixture.h"
#include "private_token.h"
#include "store/managed_keys.h"
#include "store/operations/dek_rotation.h"
#include "store/operations/kek_rotation.h"
#include "store/operations/passwords.h"
#include "store/operations/verification.h"
#include "store/start/start.h"

namespace strongroom::store::testing {
namespace {

using roots::testing::PrivateToken;

constexpr const char* kRestorePassword = "correct horse";

class TokenRestore : public ::testing::Test {
 protected:
  TokenRestore() : disk_(make_disk()) { token_.make("acme"); }

  [[nodiscard]] EngineOptions options(const std::string& label, std::string_view cut = {}) const {
    EngineOptions options = store_options(kRestorePassword);
    options.protector = ProtectorType::kPkcs11;
    options.pkcs11.locator = token_.locator(label);
    options.pkcs11.pin = SecretBytes(as_bytes(PrivateToken::kPin));
    options.before_step = [cut = std::string(cut)](std::string_view step) -> Status {
      return step == cut ? Status(Reason::kAborted, "cut") : Status();
    };
    return options;
  }
  Opened store(const std::string& label = "acme", std::string_view cut = {}) {
    return Opened(*disk_, clock_, options(label, cut));
  }
  void make_store() {
    Opened store = this->store();
    ASSERT_OK(store.open());
    ASSERT_OK(store.set("seats", "12").status);
    ManagedKeys keys(*store, store->token_keys());
    ASSERT_OK(keys.generate("signing", KeyAlgorithm::kEcP256, KeyLocation::kHsm, clock_.wall_ms()).status());
    ASSERT_OK(keys.generate("own", KeyAlgorithm::kEd25519, KeyLocation::kVault, clock_.wall_ms()).status());
    ASSERT_OK(store->close());
  }
  static Credential credential(const char* password = kRestorePassword) {
    Credential credential;
    credential.password = SecretBytes(as_bytes(password));
    return credential;
  }
  // As the TypeScript layer does it.
  Status restore(Opened& store, const char* password = kRestorePassword) {
    SR_TRY(Start(*store).determine_startup_state().status());
    SR_TRY(Start(*store).setup_persistence_files());
    if (Status lost = Start(*store).initialize_recovery(as_bytes(password)); !lost.ok()) {
      if (!lost.is(Reason::kNothingToDo)) return lost;
      SR_TRY(Start(*store).initialize_warmstart());
    }
    SR_TRY(Start(*store).create_and_load_vault());
    SR_TRY(Start(*store).initialize_storage_identifier());
    SR_TRY(Restoration(*store).validate(credential(password)));
    return Restoration(*store).restore({});
  }
  std::vector<roots::Kek> keks(const std::string& label) {
    auto token = token_.open(label);
    if (!token.ok()) {
      ADD_FAILURE() << token.error().detail;
      return {};
    }
    auto found = (*token)->find_keks("kek");
    EXPECT_TRUE(found.ok());
    return found.ok() ? *found : std::vector<roots::Kek>();
  }
  void lose_kek() {
    const auto keks = this->keks("acme");
    ASSERT_EQ(keks.size(), 1U);
    ASSERT_OK((*token_.open("acme"))->destroy_kek("kek", keks.front()));
  }
  void lose_token() {
    std::filesystem::remove_all(token_.tokens());
    std::filesystem::create_directory(token_.tokens());
  }
  void comes_back_unproven_without(const std::string& item) {
    make_store();
    lose_kek();
    disk_->remove(std::string(kSecrets) + "/acme." + item);
    Opened store = this->store();
    ASSERT_OK(restore(store));
    EXPECT_TRUE(store->status().continuity_unproven);
  }
  KeyState state_of(Opened& store, const char* id) {
    log::ValueCipher cipher(store->epoch_keys());
    const auto key = KeyRecords(store->queue(), cipher, store->token_keys()).find(id);
    EXPECT_TRUE(key.ok());
    return key->state;
  }
  // The final state, whatever came before.
  void expect_restored(const std::string& label, KeyState signing) {
    EXPECT_EQ(keks(label).size(), 1U);
    Opened store = this->store(label);
    ASSERT_OK(store.open());
    EXPECT_EQ(store.get("seats"), "12");
    const EngineStatus status = store->status();
    ASSERT_TRUE(status.restore);
    EXPECT_TRUE(status.restore->completed);
    EXPECT_EQ(status.restore->keys_deactivated, signing == KeyState::kActive ? 0U : 1U);
    EXPECT_FALSE(status.continuity_unproven);
    EXPECT_EQ(status.witnesses[2].lag_generations, 0U);
    EXPECT_EQ(state_of(store, "signing"), signing);
    EXPECT_EQ(state_of(store, "own"), KeyState::kActive);
    ASSERT_OK(Verification(*store).verify({}).status());
    ASSERT_OK(store->close());
  }

  PrivateToken token_;
  std::unique_ptr<os::testing::SimulatedDisk> disk_;
  os::testing::ManualClock clock_;
};

constexpr std::array<std::string_view, 7> kSteps = {"begin", "kek",    "witness", "commit",
                                                    "file",  "settle", "strays"};

class CutRestore : public TokenRestore, public ::testing::WithParamInterface<std::string_view> {};

TEST_P(CutRestore, KekLost) {
  make_store();
  lose_kek();
  {
    Opened cut = store("acme", GetParam());
    EXPECT_REASON(restore(cut), Reason::kAborted);
  }
  {
    Opened closed = store();
    const Status refused = closed.open();
    ASSERT_FALSE(refused.ok()) << "a store whose restore is not completed serves nobody";
    EXPECT_TRUE(refused.is(Reason::kKekMissing) || refused.is(Reason::kRestoreRequired))
        << refused.error().detail;
  }
  {
    Opened wrong = store();
    EXPECT_REASON(restore(wrong, "wrong"), Reason::kPasswordWrong);
  }
  Opened again = store();
  ASSERT_OK(restore(again));
  ASSERT_OK(Restoration(*again).complete());
  ASSERT_OK(again->close());
  expect_restored("acme", KeyState::kActive);
}

TEST_P(CutRestore, TokenLost) {
  make_store();
  lose_token();
  token_.make("successor");
  {
    Opened cut = store("successor", GetParam());
    EXPECT_REASON(restore(cut), Reason::kAborted);
  }
  Opened again = store("successor");
  ASSERT_OK(restore(again));
  ASSERT_OK(Restoration(*again).complete());
  ASSERT_OK(again->close());
  expect_restored("successor", KeyState::kDeactivated);
}

// The new token's witness is of the DEK that the vault is of, as all witnesses are.
TEST_P(CutRestore, TokenLostWhileARotationOfTheDekIsPending) {
  make_store();
  {
    Opened cut = store("acme", "vault");
    ASSERT_OK(cut.open());
    EXPECT_REASON(DekRotation(*cut).rotate(as_bytes(kRestorePassword)), Reason::kAborted);
  }
  lose_token();
  token_.make("successor");
  {
    Opened cut = store("successor", GetParam());
    EXPECT_REASON(restore(cut), Reason::kAborted);
  }
  Opened again = store("successor");
  ASSERT_OK(restore(again));
  ASSERT_OK(Restoration(*again).complete());
  EXPECT_TRUE(again->status().rotation_pending);
  ASSERT_OK(DekRotation(*again).rotate({}));
  EXPECT_FALSE(again->status().rotation_pending);
  ASSERT_OK(again->close());
  expect_restored("successor", KeyState::kDeactivated);
}

TEST_P(CutRestore, Rotation) {
  make_store();
  const Bytes before = keks("acme").front().id;
  {
    Opened cut = store("acme", GetParam());
    ASSERT_OK(cut.open());
    const Status rotated = KekRotation(*cut).rotate();
    const bool step_of_rotation =
        GetParam() == "begin" || GetParam() == "kek" || GetParam() == "commit" || GetParam() == "strays";
    EXPECT_EQ(rotated.ok(), !step_of_rotation);
  }
  {
    Opened again = store();
    ASSERT_OK(again.open());
    EXPECT_EQ(again.get("seats"), "12");
    EXPECT_EQ(keks("acme").size(), 1U) << "the start removes what the cut left";
    ASSERT_OK(KekRotation(*again).rotate());
    ASSERT_OK(again->close());
  }
  ASSERT_EQ(keks("acme").size(), 1U);
  EXPECT_NE(keks("acme").front().id, before);
  Opened store = this->store();
  ASSERT_OK(store.open());
}

INSTANTIATE_TEST_SUITE_P(EveryStep, CutRestore, ::testing::ValuesIn(kSteps),
                         [](const auto& step) { return std::string(step.param); });

TEST_F(TokenRestore, NothingChangesBeforeThePasswordIsProven) {
  make_store();
  lose_token();
  const auto before = disk_->clone();
  {
    Opened store = this->store();
    EXPECT_REASON(restore(store, "wrong"), Reason::kPasswordWrong);
  }
  {
    Opened store = this->store();
    EXPECT_REASON(restore(store), Reason::kTokenMissing);
  }
  for (const char* directory : {kStore, kSecrets}) {
    for (const std::string& name : before->list(directory)) {
      if (name == "lock") continue;
      const std::string path = std::string(directory) + "/" + name;
      EXPECT_EQ(disk_->content(path), before->content(path)) << path;
    }
  }
}

TEST_F(TokenRestore, WithoutThePasswordARestoreContinuesOnlyWhileTheTokenOpensTheStore) {
  make_store();
  lose_kek();
  {
    Opened store = this->store();
    EXPECT_REASON(restore(store, ""), Reason::kPasswordMissing);
  }
  {
    Opened store = this->store();
    ASSERT_OK(restore(store));
    ASSERT_OK(store->close());  // committed and not completed
  }
  {
    Opened store = this->store();
    EXPECT_REASON(restore(store, "wrong"), Reason::kPasswordWrong);
  }
  {
    Opened store = this->store();
    ASSERT_OK(restore(store, ""));
    ASSERT_OK(store->close());
  }
  {
    Opened store = this->store();
    EXPECT_REASON(store.open(), Reason::kRestoreRequired);
  }
  lose_kek();
  {
    Opened store = this->store();
    EXPECT_REASON(restore(store, ""), Reason::kPasswordMissing);
  }
  {
    Opened store = this->store();
    ASSERT_OK(restore(store));
    ASSERT_OK(Restoration(*store).complete());
    ASSERT_OK(store->close());
  }
  expect_restored("acme", KeyState::kActive);
}

TEST_F(TokenRestore, TheTokenIsMadeAfterTheProof) {
  make_store();
  lose_token();
  Opened store = this->store();
  ASSERT_OK(Start(*store).determine_startup_state().status());
  ASSERT_OK(Start(*store).setup_persistence_files());
  ASSERT_OK(Start(*store).initialize_recovery(as_bytes(kRestorePassword)));
  ASSERT_OK(Start(*store).create_and_load_vault());
  ASSERT_OK(Start(*store).initialize_storage_identifier());
  ASSERT_OK(Restoration(*store).validate(credential()));
  EXPECT_FALSE(store->status().token);
  token_.make("acme");
  ASSERT_OK(Restoration(*store).restore({}));
  EXPECT_TRUE(store->status().token);
  ASSERT_OK(Restoration(*store).complete());
  ASSERT_OK(store->close());
  expect_restored("acme", KeyState::kDeactivated);
}

TEST_F(TokenRestore, ATokenThatComesBackMeanwhileIsNotGivenAnotherKek) {
  make_store();
  const std::filesystem::path away = token_.tokens().parent_path() / "away";
  std::filesystem::rename(token_.tokens(), away);
  std::filesystem::create_directory(token_.tokens());
  {
    Opened store = this->store();
    ASSERT_OK(Start(*store).determine_startup_state().status());
    ASSERT_OK(Start(*store).setup_persistence_files());
    ASSERT_OK(Start(*store).initialize_recovery(as_bytes(kRestorePassword)));
    ASSERT_OK(Start(*store).create_and_load_vault());
    ASSERT_OK(Start(*store).initialize_storage_identifier());
    ASSERT_OK(Restoration(*store).validate(credential()));
    std::filesystem::remove_all(token_.tokens());
    std::filesystem::rename(away, token_.tokens());
    EXPECT_REASON(Restoration(*store).restore({}), Reason::kHsmUnreachable);
  }
  EXPECT_EQ(keks("acme").size(), 1U);
  Opened store = this->store();
  ASSERT_OK(store.open());
}

TEST_F(TokenRestore, StaleStatesComeBackUnproven) {
  make_store();
  lose_kek();
  clock_.advance(8ULL * 24 * 3600 * 1000);
  Opened store = this->store();
  ASSERT_OK(restore(store));
  EXPECT_TRUE(store->status().continuity_unproven);
}

TEST_F(TokenRestore, ALostSecretStoreComesBackUnproven) {
  make_store();
  lose_kek();
  for (const std::string& name : disk_->list(kSecrets)) disk_->remove(std::string(kSecrets) + "/" + name);
  {
    Opened store = this->store();
    ASSERT_OK(restore(store));
    EXPECT_TRUE(store->status().continuity_unproven);
    ASSERT_OK(Restoration(*store).complete());
    ASSERT_OK(store->close());
  }
  Opened store = this->store();
  ASSERT_OK(store.open());
}

TEST_F(TokenRestore, ARolledBackStoreIsNotRestored) {
  make_store();
  const auto older = disk_->clone();
  {
    Opened store = this->store();
    ASSERT_OK(store.open());
    ASSERT_OK(store.set("seats", "0").status);
    ASSERT_OK(store->close());
  }
  // The files alone: the SecretStore remembers.
  for (const std::string& name : disk_->list(kStore)) {
    const std::string path = std::string(kStore) + "/" + name;
    if (const auto content = older->content(path)) disk_->set_content(path, *content);
  }
  lose_kek();
  Opened store = this->store();
  EXPECT_REASON(restore(store), Reason::kVaultRolledBack);
}

// Nor is any other verdict healed by the way: the file that the vault names, the SecretStore's stamp, the clock.
TEST_F(TokenRestore, ALostKekDoesNotHealAnythingElse) {
  make_store();
  const auto older = disk_->clone();
  clock_.advance(3600'000);
  {
    Opened store = this->store();
    ASSERT_OK(store.open());
    ASSERT_OK(Passwords(*store).change(as_bytes(kRestorePassword), SecretBytes(as_bytes(kRestorePassword))));
    ASSERT_OK(store->close());
  }
  lose_kek();
  const auto refused = [this](const std::string& path, const Bytes& content) {
    const Bytes now = *disk_->content(path);
    disk_->set_content(path, content);
    Opened store = this->store();
    Status status = restore(store);
    disk_->set_content(path, now);
    return status;
  };
  const std::string persistence = std::string(kStore) + "/persistence.bin";
  EXPECT_REASON(refused(persistence, *older->content(persistence)), Reason::kPersistenceRolledBack);
  const std::string stamp = std::string(kSecrets) + "/acme.TimeTamper";
  Bytes damaged = *disk_->content(stamp);
  for (std::size_t at = 40; at < damaged.size(); at += 50) damaged[at] ^= 0xFF;
  EXPECT_REASON(refused(stamp, damaged), Reason::kWitnessReplaced);
  const std::int64_t wall_ms = clock_.wall_ms();
  clock_.set_wall(wall_ms - 1800'000);
  EXPECT_REASON(refused(stamp, *disk_->content(stamp)), Reason::kClockRolledBack);
  clock_.set_wall(wall_ms);
  Opened store = this->store();
  ASSERT_OK(restore(store));
}

// A wrong PIN is put right by the right one; it is no lost token, whatever password is given with it.
TEST_F(TokenRestore, AWrongPinIsNoLostToken) {
  make_store();
  EngineOptions wrong = options("acme");
  wrong.pkcs11.pin = SecretBytes(as_bytes("9999-user"));
  Reason reason{};
  {
    EngineOptions same = options("acme");
    same.pkcs11.pin = wrong.pkcs11.pin.clone();
    Opened store(*disk_, clock_, std::move(same));
    const Status refused = store.open();
    ASSERT_FALSE(refused.ok());
    reason = refused.error().reason;
  }
  Opened store(*disk_, clock_, std::move(wrong));
  ASSERT_OK(Start(*store).determine_startup_state());
  ASSERT_OK(Start(*store).setup_persistence_files());
  EXPECT_REASON(Start(*store).initialize_recovery(as_bytes(kRestorePassword)), reason);
  EXPECT_EQ(keks("acme").size(), 1U);
}

TEST_F(TokenRestore, AStoreThatOpensIsNotRestored) {
  make_store();
  Opened store = this->store();
  ASSERT_OK(Start(*store).determine_startup_state().status());
  ASSERT_OK(Start(*store).setup_persistence_files());
  ASSERT_OK(Start(*store).initialize_warmstart());
  ASSERT_OK(Start(*store).create_and_load_vault());
  ASSERT_OK(Start(*store).initialize_storage_identifier());
  EXPECT_REASON(Restoration(*store).validate(credential()), Reason::kNothingToDo);
  EXPECT_REASON(Restoration(*store).restore(credential()), Reason::kNothingToDo);
}

// Either item of the SecretStore is needed to say that the data are the newest.
TEST_F(TokenRestore, WithoutVaultHashItComesBackUnproven) { comes_back_unproven_without("VaultHash"); }
TEST_F(TokenRestore, WithoutTimeTamperItComesBackUnproven) { comes_back_unproven_without("TimeTamper"); }

// What an earlier restore deactivated is told by its own record.
TEST_F(TokenRestore, ASecondRestoreCountsItsOwnKeys) {
  make_store();
  for (const char* label : {"second", "third"}) {
    lose_token();
    token_.make(label);
    Opened store = this->store(label);
    ASSERT_OK(restore(store));
    ASSERT_OK(Restoration(*store).complete());
    EXPECT_EQ(store->status().restore->keys_deactivated, label == std::string_view("second") ? 1U : 0U);
    ASSERT_OK(store->close());
  }
}

TEST_F(TokenRestore, TheAuditLogTellsTheStory) {
  make_store();
  lose_kek();
  Opened store = this->store();
  ASSERT_OK(restore(store));
  ASSERT_OK(Restoration(*store).note(RestoreNote::kTls));
  ASSERT_OK(Restoration(*store).note(RestoreNote::kHook));
  ASSERT_OK(Restoration(*store).complete());
  EXPECT_REASON(Restoration(*store).note(RestoreNote::kTls), Reason::kNothingToDo);
  const auto log = Verification(*store).audit_log(20);
  ASSERT_TRUE(log.ok());
  std::vector<std::string> told;
  for (const AuditEntry& entry : *log) {
    const std::string text(log::commit_kind_text(entry.kind));
    if (text.starts_with("restore")) told.push_back(text);
  }
  EXPECT_EQ(told,
            (std::vector<std::string>{"restore-detected", "restore-password", "restore-token", "restore",
                                      "restore-keys", "restore-tls", "restore-hook", "restore-completed"}));
}

TEST_F(TokenRestore, AnyOfSeveralPasswordsBringsItBack) {
  make_store();
  {
    Opened store = this->store();
    ASSERT_OK(store.open());
    ASSERT_OK(
        Passwords(*store).add(as_bytes(kRestorePassword), SecretBytes(as_bytes("second")), "second safe"));
    ASSERT_OK(store->close());
  }
  lose_kek();
  {
    Opened again = store();
    ASSERT_OK(restore(again, "second"));
    ASSERT_OK(Restoration(*again).complete());
    // The token's new slot took no password's place.
    ASSERT_OK(Passwords(*again).verify(as_bytes(kRestorePassword)));
    ASSERT_OK(Passwords(*again).verify(as_bytes("second")));
    ASSERT_OK(again->close());
  }
  expect_restored("acme", KeyState::kActive);
}

TEST_F(TokenRestore, ThePasswordDrillKeepsItsDate) {
  make_store();
  {
    Opened store = this->store();
    ASSERT_OK(store.open());
    EXPECT_EQ(store->status().password_verified_ms, 0);
    EXPECT_REASON(Passwords(*store).verify(as_bytes("wrong")), Reason::kPasswordWrong);
    EXPECT_EQ(store->status().password_verified_ms, 0);
    ASSERT_OK(Passwords(*store).verify(as_bytes(kRestorePassword)));
    EXPECT_EQ(store->status().password_verified_ms, clock_.wall_ms());
    ASSERT_OK(store->close());
  }
  Opened store = this->store();
  ASSERT_OK(store.open());
  EXPECT_NE(store->status().password_verified_ms, 0);
  ASSERT_OK(Passwords(*store).change(as_bytes(kRestorePassword), SecretBytes(as_bytes("next"))));
  EXPECT_EQ(store->status().password_verified_ms, 0);
}

}  // namespace
}  // namespace strongroom::store::testing
