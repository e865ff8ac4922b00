// The conformance suite of the witnesses that move by themselves, at the interfaces that the engine uses: the tamper file and
// a SecretStore on the simulated disk, and a SoftHSM2 token. A TPM's counter moves by commits of the vault; its cases are in
// tpm_*_test.cc.
//
// A world brings the place of one witness:
//   kBit, kUnbelieved, kAlarms   its kind; the reason for a value that does not authenticate; whether it reads before it writes
//   image(), put(image)          what is in the place
//   damage()
//   watch(), points()            where the place can fail: each call since, before or after it took effect
//   fail_at(point), mend()       the call at that distance from now fails, and all after it; nothing does any more
#include "engine_fixture.h"
#include "private_token.h"
#include "protectors/pkcs11/token_store.h"
#include "reliability_fixture.h"
#include "witnesses/registry.h"
#include "witnesses/tamper_file/tamper_witness.h"
#include "witnesses/verdict.h"

namespace strongroom::store::testing {
namespace {

using os::testing::ManualClock;
using os::testing::SimulatedDisk;

constexpr std::uint32_t kCapacity = 32;

// Stands where the engine has the protector whose token holds a witness.
class TokenHolder final : public KeyProtector {
 public:
  TokenHolder(const ProtectorContext& context, SecretStore* token)
      : KeyProtector(kind_of(ProtectorType::kPkcs11), context), token_(token) {}
  Status plan() override { return {}; }
  Status provision() override { return {}; }
  Result<SecretBytes> unwrap(const PersistenceHeader& /*header*/, const KeySlot& /*slot*/) override {
    return Status(Reason::kInternal, "not asked");
  }
  Result<KeySlot> wrap(const KeySlot& /*present*/, std::uint32_t /*slot_id*/, ByteView /*dek*/,
                       const PersistenceHeader& /*next*/) override {
    return Status(Reason::kInternal, "not asked");
  }
  ProtectorRemoval& removal() override { return removal_; }
  std::unique_ptr<KeyProtector> beside(ProtectorContext context,
                                       ProtectorOptions& /*options*/) const override {
    return std::make_unique<TokenHolder>(std::move(context), token_);
  }
  SecretStore* witness_store() override { return token_; }

 private:
  SecretStore* token_;
  ProtectorRemoval removal_;
};

// A store's keys: what its witnesses authenticate with.
struct Owner {
  KeyRing ring;
  WitnessKeys keys;

  explicit Owner(std::uint8_t id) {
    ring.planned_header().storage_id.fill(id);
    ring.draw_dek();
    const StorageId& storage_id = ring.header().storage_id;
    keys = {tamper_key(ring.dek().view(), storage_id), witness_key(ring.dek().view(), storage_id), storage_id,
            ring.header().key_id};
  }
};

struct FailurePoint {
  std::uint64_t number = 1;
  bool after = false;
};

// What all worlds have.
class WitnessPlace {
 public:
  WitnessPlace() {
    disk.make_directory(kStore);
    directory = *disk.open_directory(kStore, os::DirectoryMode::kCreate);
  }
  WitnessPlace(const WitnessPlace&) = delete;
  WitnessPlace& operator=(const WitnessPlace&) = delete;

  WitnessContext context(Owner& owner) {
    return {*directory, owner.ring, secrets, protector, owner.keys, clock, kCapacity};
  }

  SimulatedDisk disk;
  ManualClock clock;
  std::shared_ptr<os::Directory> directory;
  std::unique_ptr<SecretStore> secrets;
  std::unique_ptr<KeyProtector> protector;
};

class OnDisk : public WitnessPlace {
 public:
  using Image = Files;
  [[nodiscard]] Image image() const { return files_of(disk); }
  void put(const Image& image) { put_files(disk, image); }
  void watch() { watched_from_ = disk.calls(); }
  // After it took effect: as a sync behind it that fails.
  [[nodiscard]] std::vector<FailurePoint> points() const {
    std::vector<FailurePoint> points;
    for (std::uint64_t number = 1; number <= disk.calls() - watched_from_; ++number)
      points.push_back({number, false});
    return points;
  }
  void fail_at(const FailurePoint& point) { disk.fail_at(disk.calls() + point.number, {.sticky = true}); }
  void mend() { disk.clear_faults(); }

 protected:
  void damage(const std::string& path) {
    Bytes bytes = *disk.content(path);
    for (std::size_t at = 40; at < bytes.size(); at += 40) bytes[at] ^= 0xFF;
    disk.set_content(path, bytes);
  }

 private:
  std::uint64_t watched_from_ = 0;
};

class TamperFileWorld : public OnDisk {
 public:
  static constexpr WitnessBits kBit = kWitnessTamperFile;
  static constexpr Reason kUnbelieved = Reason::kTamperFileTampered;
  static constexpr bool kAlarms = false;
  void damage() { OnDisk::damage(std::string(kStore) + "/" + std::string(kTamperFileName)); }
};

class SecretStoreWorld : public OnDisk {
 public:
  static constexpr WitnessBits kBit = kWitnessSecretStore;
  static constexpr Reason kUnbelieved = Reason::kWitnessReplaced;
  static constexpr bool kAlarms = true;
  SecretStoreWorld() {
    secrets = *open_secret_store({disk, clock}, {SecretStoreType::kFile, kSecrets}, "acme",
                                 os::DirectoryMode::kCreate);
  }
  void damage() { OnDisk::damage(kVaultHashPath); }
};

class TokenWorld : public WitnessPlace {
 public:
  static constexpr WitnessBits kBit = kWitnessToken;
  static constexpr Reason kUnbelieved = Reason::kWitnessReplaced;
  static constexpr bool kAlarms = true;
  // Whoever has the PIN can read the value and put an earlier one back.
  using Image = Bytes;
  TokenWorld() {
    hsm_.make("acme");
    token_ = *hsm_.open("acme");
    store_.emplace(token_, "acme");
    protector = std::make_unique<TokenHolder>(
        ProtectorContext{environment_, options_, ring_, secrets, config_, [] { return 1U; }}, &*store_);
  }
  [[nodiscard]] Image image() {
    const Result<std::optional<Secret>> item = store_->load(SecretName::kVaultHash);
    if (!item.ok() || !*item) return {};
    return {(*item)->value.view().begin(), (*item)->value.view().end()};
  }
  void put(const Image& image) {
    ASSERT_OK(store_->save(SecretName::kVaultHash, Owner(1).ring.header().storage_id, image));
    ASSERT_OK(store_->remove_previous(SecretName::kVaultHash));
  }
  void damage() {
    Image bytes = image();
    bytes[bytes.size() / 2] ^= 0xFF;
    put(bytes);
  }
  void watch() { faults_->reset(); }
  [[nodiscard]] std::vector<FailurePoint> points() const {
    std::vector<const char*> names(faults_->log(nullptr, 0));
    faults_->log(names.data(), static_cast<unsigned>(names.size()));
    std::vector<FailurePoint> points;
    for (std::size_t at = 0; at < names.size(); ++at) {
      const std::string_view name = names[at];
      if (name != "C_CreateObject" && name != "C_DestroyObject") continue;
      points.push_back({at + 1, false});
      points.push_back({at + 1, true});
    }
    return points;
  }
  void fail_at(const FailurePoint& point) {
    faults_->reset();
    roots::testing::CallFault fault{};
    fault.number = static_cast<unsigned>(point.number);
    fault.value = roots::testing::kDeviceError;
    fault.after = point.after;
    fault.sticky = true;
    faults_->fail_call(fault);
  }
  void mend() { faults_->reset(); }

 private:
  const roots::testing::FaultyModule faults_;
  const roots::testing::PrivateToken hsm_{roots::testing::FaultyModule::path()};
  os::Environment environment_{disk, clock};
  ProtectorOptions options_;
  KeyRing ring_;
  SecretStoreConfig config_;
  std::shared_ptr<roots::Token> token_;
  std::optional<TokenStore> store_;
};

log::CommitInfo commit_at(std::uint64_t generation, const std::string& branch = "") {
  log::CommitInfo commit;
  commit.checkpoint = {generation, crypto::sha256({as_bytes(branch + std::to_string(generation))})};
  commit.wall_ms = ManualClock::kWallMsAtStart + static_cast<std::int64_t>(generation);
  commit.operations = 1;
  return commit;
}

// A vault without its file: the commits behind a snapshot at generation 0, and the audit log along them.
struct Vault {
  std::vector<log::CommitInfo> commits;

  static Vault until(std::uint64_t generation, std::uint64_t branches_at = UINT64_MAX) {
    Vault out;
    for (std::uint64_t at = 1; at <= generation; ++at)
      out.commits.push_back(commit_at(at, at < branches_at ? "" : "another "));
    return out;
  }
  static log::Checkpoint genesis() { return {0, crypto::sha256({as_bytes("genesis")})}; }
  [[nodiscard]] log::Checkpoint newest() const {
    return commits.empty() ? genesis() : commits.back().checkpoint;
  }
  void play(AuditTail& audit, Observation* found) const {
    audit.begin({genesis().generation, genesis().head, {}});
    log::SnapshotInfo snapshot;
    snapshot.checkpoint = genesis();
    if (found != nullptr) found->on_snapshot(snapshot, audit);
    for (const log::CommitInfo& commit : commits) {
      audit.note(commit, std::nullopt);
      if (found != nullptr) found->on_commit(commit, audit);
    }
  }
};

template <typename World>
class WitnessConformance : public ::testing::Test {
 protected:
  // As another process, which knows nothing of the witness yet.
  std::unique_ptr<Witness> make(Owner& owner) {
    const WitnessKind& kind = kind_of(World::kBit);
    return kind.make(kind, world.context(owner));
  }
  std::unique_ptr<Witness> make() { return make(owner); }

  Status move(Witness& witness, const Vault& vault, Foreign foreign = Foreign::kRefuse) {
    AuditTail audit(owner.keys.tamper.clone(), kCapacity);
    vault.play(audit, nullptr);
    TamperWitness* const file = witness.tamper_file();
    const AuditTail::Rest rest = audit.behind(file != nullptr ? file->written() : 0);
    return witness.move(Move{{vault.newest(), rest.wall_ms, {}}, rest, foreign});
  }
  // A start up to the verdict; with `continues` this witness goes on from what was found.
  Status judge_with(Witness& witness, const Vault& vault, log::LogEnd end = log::LogEnd::kExact,
                    Owner* of = nullptr) {
    Owner& reader = of != nullptr ? *of : owner;
    Result<std::unique_ptr<Observation>> found = witness.observe();
    if (!found.ok()) return found.status();
    AuditTail audit(reader.keys.tamper.clone(), kCapacity);
    (*found)->on_file(reader.keys.key_id);
    vault.play(audit, found->get());
    log::LoadedLog loaded;
    loaded.newest = vault.newest();
    loaded.end = end;
    const log::Index index;
    SR_TRY((*found)->conclude({loaded, index, [](std::string_view) { return std::optional<Bytes>(); }}));
    Evidence evidence;
    evidence.history.newest = vault.newest();
    evidence.history.end = end;
    evidence.found.push_back(*std::move(found));
    SR_TRY(judge(evidence).status);
    witness.adopt(*evidence.found.front(), vault.newest().generation);
    return {};
  }
  Status judge_again(const Vault& vault, log::LogEnd end = log::LogEnd::kExact) {
    return judge_with(*make(), vault, end);
  }

  World world;
  Owner owner{1};
};

using Worlds = ::testing::Types<TamperFileWorld, SecretStoreWorld, TokenWorld>;
TYPED_TEST_SUITE(WitnessConformance, Worlds);

TYPED_TEST(WitnessConformance, HoldsWhatItMovedTo) {
  const auto witness = this->make();
  ASSERT_OK(this->move(*witness, Vault::until(3)));
  EXPECT_EQ(witness->position().checkpoint, Vault::until(3).newest());
  EXPECT_FALSE(witness->position().failing);
  EXPECT_OK(this->judge_again(Vault::until(3)));
}

TYPED_TEST(WitnessConformance, MayLag) {
  ASSERT_OK(this->move(*this->make(), Vault::until(2)));
  EXPECT_OK(this->judge_again(Vault::until(5)));
}

TYPED_TEST(WitnessConformance, MustNotLead) {
  ASSERT_OK(this->move(*this->make(), Vault::until(5)));
  EXPECT_REASON(this->judge_again(Vault::until(3)), Reason::kVaultRolledBack);
  EXPECT_REASON(this->judge_again(Vault::until(3), log::LogEnd::kPadded), Reason::kVaultRolledBack);
  EXPECT_REASON(this->judge_again(Vault::until(3), log::LogEnd::kDamaged), Reason::kVaultTampered);
}

TYPED_TEST(WitnessConformance, MustNotDiffer) {
  ASSERT_OK(this->move(*this->make(), Vault::until(3)));
  EXPECT_REASON(this->judge_again(Vault::until(3, 3)), Reason::kVaultTampered);
  EXPECT_REASON(this->judge_again(Vault::until(5, 2)), Reason::kVaultTampered);
  EXPECT_OK(this->judge_again(Vault::until(5, 4)));
}

TYPED_TEST(WitnessConformance, MustNotBeMissing) {
  EXPECT_REASON(this->judge_again(Vault::until(3)), Reason::kWitnessMissing);
}

TYPED_TEST(WitnessConformance, IsNotBelievedWhenDamaged) {
  ASSERT_OK(this->move(*this->make(), Vault::until(3)));
  this->world.damage();
  const Status found = this->judge_again(Vault::until(3));
  EXPECT_REASON(found, TypeParam::kUnbelieved);
  for (const WitnessBits bit : {kWitnessTamperFile, kWitnessSecretStore, kWitnessToken}) {
    if (bit == TypeParam::kBit) continue;
    EXPECT_EQ(describe(found).find(kind_of(bit).noun), std::string::npos) << describe(found);
  }
}

TYPED_TEST(WitnessConformance, IsNotBelievedWhenOfAnotherStore) {
  ASSERT_OK(this->move(*this->make(), Vault::until(3)));
  Owner other{2};
  EXPECT_REASON(this->judge_with(*this->make(other), Vault::until(3), log::LogEnd::kExact, &other),
                TypeParam::kUnbelieved);
}

TYPED_TEST(WitnessConformance, ObservingChangesNothing) {
  ASSERT_OK(this->move(*this->make(), Vault::until(3)));
  const auto before = this->world.image();
  EXPECT_OK(this->judge_again(Vault::until(3)));
  EXPECT_REASON(this->judge_again(Vault::until(2)), Reason::kVaultRolledBack);
  EXPECT_EQ(this->world.image(), before);
}

TYPED_TEST(WitnessConformance, ContinuesFromWhatItFound) {
  ASSERT_OK(this->move(*this->make(), Vault::until(3)));
  const auto next = this->make();
  ASSERT_OK(this->judge_with(*next, Vault::until(4)));
  EXPECT_EQ(next->position().checkpoint, Vault::until(3).newest());
  ASSERT_OK(this->move(*next, Vault::until(6)));
  EXPECT_OK(this->judge_again(Vault::until(6)));
  EXPECT_REASON(this->judge_again(Vault::until(5)), Reason::kVaultRolledBack);
}

// Whatever a move that failed has left is no verdict over the vault, and the next move completes it.
TYPED_TEST(WitnessConformance, AMoveThatFailsLeavesALag) {
  const auto witness = this->make();
  ASSERT_OK(this->move(*witness, Vault::until(2)));
  this->world.fail_at({});
  EXPECT_FALSE(this->move(*witness, Vault::until(4)).ok());
  EXPECT_TRUE(witness->position().failing);
  EXPECT_EQ(witness->position().checkpoint, Vault::until(2).newest());
  this->world.mend();
  EXPECT_OK(this->judge_again(Vault::until(4)));
  ASSERT_OK(this->move(*witness, Vault::until(5)));
  EXPECT_FALSE(witness->position().failing);
  EXPECT_FALSE(witness->alarmed());
  EXPECT_OK(this->judge_again(Vault::until(5)));
}

// However its own moves failed, and in whatever order: what they left is no interference from outside.
TYPED_TEST(WitnessConformance, WhatFailedMovesLeftRaisesNoAlarm) {
  const auto begin = [this] {
    std::unique_ptr<Witness> witness = this->make();
    EXPECT_OK(this->move(*witness, Vault::until(2), Foreign::kReplace));
    return witness;
  };
  const std::vector<FailurePoint> points = [&] {
    const auto witness = begin();
    this->world.watch();
    EXPECT_OK(this->move(*witness, Vault::until(3)));
    return this->world.points();
  }();
  ASSERT_GE(points.size(), 2U);
  std::size_t failed = 0;
  for (const FailurePoint& first : points) {
    for (const FailurePoint& second : points) {
      const auto witness = begin();
      std::uint64_t generation = 2;
      for (const FailurePoint& point : {first, second, second}) {
        this->world.fail_at(point);
        failed += this->move(*witness, Vault::until(++generation)).ok() ? 0 : 1;
        this->world.mend();
      }
      SCOPED_TRACE(std::to_string(first.number) + (first.after ? " after, " : " before, ") +
                   std::to_string(second.number) + (second.after ? " after" : " before"));
      EXPECT_OK(this->judge_again(Vault::until(generation)));
      ASSERT_OK(this->move(*witness, Vault::until(++generation)));
      EXPECT_FALSE(witness->alarmed());
      EXPECT_OK(this->judge_again(Vault::until(generation)));
    }
  }
  EXPECT_GE(failed, points.size() * points.size());
}

// An earlier copy lags, so that a start accepts it. While the store is open, one that reads before it writes is not fooled.
TYPED_TEST(WitnessConformance, AnOlderCopyLags) {
  const auto witness = this->make();
  ASSERT_OK(this->move(*witness, Vault::until(2)));
  const auto older = this->world.image();
  ASSERT_OK(this->move(*witness, Vault::until(4)));
  const auto newer = this->world.image();
  this->world.put(older);
  EXPECT_OK(this->judge_again(Vault::until(4)));
  if (!TypeParam::kAlarms) return;
  EXPECT_REASON(this->move(*witness, Vault::until(5)), Reason::kWitnessReplaced);
  EXPECT_TRUE(witness->alarmed());
  EXPECT_REASON(witness->alarm(), Reason::kWitnessReplaced);
  EXPECT_EQ(this->world.image(), older);
  this->world.put(newer);
  EXPECT_OK(this->move(*witness, Vault::until(5)));
  EXPECT_FALSE(witness->alarmed());
}

TYPED_TEST(WitnessConformance, AuthorityReplacesWhatIsForeign) {
  const auto witness = this->make();
  ASSERT_OK(this->move(*witness, Vault::until(5)));
  const auto next = this->make();
  EXPECT_REASON(this->judge_with(*next, Vault::until(3)), Reason::kVaultRolledBack);
  ASSERT_OK(this->move(*next, Vault::until(3), Foreign::kReplace));
  EXPECT_OK(this->judge_again(Vault::until(3)));
}

// --- The registry ---

// An order that is wrong would read a witness after the vault's neighbour, or let it lead the tamper file.
TEST(WitnessRegistry, NamesEachWitnessOfTheCoreDataOnce) {
  for (const WitnessBits bit : {kWitnessTamperFile, kWitnessSecretStore, kWitnessToken, kWitnessTpm}) {
    const WitnessKind& kind = kind_of(bit);
    EXPECT_EQ(kind.bit, bit);
    EXPECT_EQ(kind.place == Place::kBeside, bit == kWitnessTamperFile) << kind.name;
  }
}

}  // namespace
}  // namespace strongroom::store::testing
