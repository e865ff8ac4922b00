// The rotation of the DEK where the root is in a token (SoftHSM2) or a TPM (swtpm): simulated disk, real devices.
#include "private_token.h"
#include "private_tpm.h"
#include "rotation_fixture.h"
#include "store/operations/dek_rotation.h"
#include "store/operations/kek_rotation.h"
#include "store/operations/restoration.h"
#include "store/operations/verification.h"
#include "store/start/start.h"

namespace strongroom::store::testing {
namespace {

using log::Durability;
using roots::testing::PrivateToken;
using roots::testing::PrivateTpm;

Files store_files(const SimulatedDisk& disk) {
  Files files;
  for (const char* path : {kPersistencePath, kVaultPath, kTamperPath}) files[path] = *disk.content(path);
  return files;
}

std::uint32_t named_key(const Files& files, const char* path) {
  return load_le<std::uint32_t>(files.at(path).data() + (path == kPersistencePath ? 32 : 12));
}

// What every root has in common. `options` are those of an opening.
struct Store {
  explicit Store(std::function<EngineOptions()> options_in) : options(std::move(options_in)) {}

  std::unique_ptr<SimulatedDisk> disk = make_disk();
  ManualClock clock;
  std::function<EngineOptions()> options;

  Status make() {
    Opened store(*disk, clock, options());
    SR_TRY(store.open());
    SR_TRY(store.set("seats", "12").status);
    return store->close();
  }
  Status rotate() {
    Opened store(*disk, clock, options());
    SR_TRY(store.open());
    SR_TRY(DekRotation(*store).rotate(as_bytes(kBackup)));
    SR_TRY(store.set("later", "1", Durability::kWitnessed).status);
    return store->close();
  }
  void expect_rotated(std::uint32_t key_id, const std::string& where) {
    Opened store(*disk, clock, options());
    ASSERT_OK(store.open());
    EXPECT_EQ(store.get("seats"), "12") << where;
    const EngineStatus status = store->status();
    EXPECT_EQ(status.key_id, key_id) << where;
    EXPECT_FALSE(status.rotation_pending) << where;
    for (const WitnessStatus& witness : status.witnesses) {
      EXPECT_EQ(witness.lag_generations, 0U) << where << witness.name;
      EXPECT_FALSE(witness.failing) << where << witness.name;
    }
    ASSERT_OK(Verification(*store).verify({}).status());
    ASSERT_OK(store->close());
    const Files files = store_files(*disk);
    for (const char* path : {kPersistencePath, kVaultPath, kTamperPath})
      EXPECT_EQ(named_key(files, path), key_id) << where << path;
  }
  // Cuts the power at call `number` of the rotation, in the state that the last of `crash_states` names.
  [[nodiscard]] bool cut(std::uint64_t number, bool everything_kept) {
    std::vector<CrashState> states;
    {
      Opened store(*disk, clock, options());
      EXPECT_TRUE(store.open().ok());
      disk->power_cut_at(disk->calls() + number);
      DekRotation(*store).rotate(as_bytes(kBackup)).ignore("the power was cut");
    }
    if (!disk->power_is_cut()) return false;
    states = disk->crash_states(2);
    disk = disk->after_crash(everything_kept ? states.back() : states.front());
    clock.reboot(60'000);
    return true;
  }
  void complete(const std::string& where) {
    Opened store(*disk, clock, options());
    const Status opened = store.open();
    ASSERT_TRUE(opened.ok()) << where << describe(opened);
    EXPECT_EQ(store.get("seats"), "12") << where;
    const EngineStatus status = store->status();
    if (status.key_id == 1 || status.rotation_pending)
      ASSERT_OK(DekRotation(*store).rotate(as_bytes(kBackup)));
    ASSERT_OK(store->close());
  }
};

// Each older file of the store alone, and all of them together.
void expect_older_refused(Store& store, const Files& before) {
  const Files now = store_files(*store.disk);
  for (const char* path : {kPersistencePath, kVaultPath, kTamperPath}) {
    store.disk->set_content(path, before.at(path));
    Opened opened(*store.disk, store.clock, store.options());
    EXPECT_REASON(opened.open(), path == kPersistencePath ? Reason::kPersistenceRolledBack
                                 : path == kVaultPath     ? Reason::kVaultRolledBack
                                                          : Reason::kTamperFileTampered);
    store.disk->set_content(path, now.at(path));
  }
  for (const auto& [path, content] : before) store.disk->set_content(path, content);
  Opened opened(*store.disk, store.clock, store.options());
  const Status status = opened.open();
  EXPECT_TRUE(status.is(Reason::kVaultRolledBack)) << describe(status);
  for (const auto& [path, content] : now) store.disk->set_content(path, content);
}

// --- A token ---

std::function<EngineOptions()> token_options(const PrivateToken& token) {
  return [&token] {
    EngineOptions options = rotation_options();
    options.protector = ProtectorType::kPkcs11;
    options.pkcs11.locator = token.locator("acme");
    options.pkcs11.pin = SecretBytes(as_bytes(PrivateToken::kPin));
    return options;
  };
}

TEST(RotationOnAToken, KeepsTheKekAndMovesTheTokensWitness) {
  PrivateToken token;
  token.make("acme");
  Store store(token_options(token));
  ASSERT_OK(store.make());
  const Files before = store_files(*store.disk);
  const auto keks = [&] {
    auto opened = token.open("acme");
    EXPECT_TRUE(opened.ok());
    return *(*opened)->find_keks("kek");
  };
  const Bytes kek = keks().front().id;
  ASSERT_OK(store.rotate());
  ASSERT_EQ(keks().size(), 1U);
  EXPECT_EQ(keks().front().id, kek);
  store.expect_rotated(2, "");
  expect_older_refused(store, before);
  ASSERT_OK(store.rotate());
  store.expect_rotated(3, "twice ");
}

// The whole SecretStore and all files of before: the token's witness is of a later DEK.
TEST(RotationOnAToken, TheTokenKnowsThatItWasRotated) {
  PrivateToken token;
  token.make("acme");
  Store store(token_options(token));
  ASSERT_OK(store.make());
  const std::unique_ptr<SimulatedDisk> before = store.disk->clone();
  ASSERT_OK(store.rotate());
  Opened rewound(*before, store.clock, store.options());
  EXPECT_REASON(rewound.open(), Reason::kVaultRolledBack);
}

TEST(RotationOnAToken, ALostKekIsRestoredWhileItIsPending) {
  PrivateToken token;
  token.make("acme");
  Store store(token_options(token));
  ASSERT_OK(store.make());
  ASSERT_TRUE(store.cut(12, true));
  {
    Opened opened(*store.disk, store.clock, store.options());
    ASSERT_OK(opened.open());
    ASSERT_TRUE(opened->status().rotation_pending);
    ASSERT_OK(opened->close());
  }
  {
    auto connection = token.open("acme");
    ASSERT_OK((*connection)->destroy_kek("kek", (*connection)->find_keks("kek")->front()));
  }
  {
    Opened opened(*store.disk, store.clock, store.options());
    ASSERT_OK(Start(*opened).determine_startup_state().status());
    ASSERT_OK(Start(*opened).setup_persistence_files());
    ASSERT_OK(Start(*opened).initialize_recovery(as_bytes(kBackup)));
    ASSERT_OK(Start(*opened).create_and_load_vault());
    ASSERT_OK(Start(*opened).initialize_storage_identifier());
    ASSERT_OK(Restoration(*opened).restore(password_proof(kBackup)));
    ASSERT_OK(Restoration(*opened).complete());
    ASSERT_OK(KekRotation(*opened).rotate());
    ASSERT_OK(DekRotation(*opened).rotate({}));
    ASSERT_OK(opened->close());
  }
  store.expect_rotated(2, "");
}

TEST(RotationOnAToken, CutAtEveryCall) {
  std::size_t cuts = 0;
  const std::uint64_t step = short_campaign() ? 9 : 1;
  for (std::uint64_t number = 1;; number += step) {
    PrivateToken token;
    token.make("acme");
    Store store(token_options(token));
    ASSERT_OK(store.make());
    if (!store.cut(number, number % 2 == 0)) break;
    ++cuts;
    const std::string where = "cut at call " + std::to_string(number) + " ";
    store.complete(where);
    store.expect_rotated(2, where);
    if (::testing::Test::HasFailure()) break;
  }
  std::printf("rotation: token, power cut at call cuts=%zu false alarms=0 lost=0\n", cuts);
  EXPECT_GT(cuts, short_campaign() ? 3U : 30U);
}

// --- A TPM ---

std::function<EngineOptions()> tpm_options(const PrivateTpm& tpm) {
  return [&tpm] {
    EngineOptions options = rotation_options();
    options.protector = ProtectorType::kTpm;
    options.secret_store.reset();
    options.tpm.tcti = tpm.tcti();
    return options;
  };
}

TEST(RotationOnATpm, SealsANewRoot) {
  PrivateTpm tpm;
  Store store(tpm_options(tpm));
  ASSERT_OK(store.make());
  const Files before = store_files(*store.disk);
  ASSERT_OK(store.rotate());
  store.expect_rotated(2, "");
  for (const auto& [path, content] : before) store.disk->set_content(path, content);
  Opened rewound(*store.disk, store.clock, store.options());
  EXPECT_REASON(rewound.open(), Reason::kVaultRolledBack);
}

TEST(RotationOnATpm, CutAtACall) {
  std::size_t cuts = 0;
  const std::uint64_t step = short_campaign() ? 17 : 4;
  for (std::uint64_t number = 1;; number += step) {
    PrivateTpm tpm;
    Store store(tpm_options(tpm));
    ASSERT_OK(store.make());
    if (!store.cut(number, number % 2 == 0)) break;
    ++cuts;
    const std::string where = "cut at call " + std::to_string(number) + " ";
    store.complete(where);
    store.expect_rotated(2, where);
    if (::testing::Test::HasFailure()) break;
  }
  std::printf("rotation: TPM, power cut at call cuts=%zu false alarms=0 lost=0\n", cuts);
  EXPECT_GT(cuts, 2U);
}

}  // namespace
}  // namespace strongroom::store::testing
