// The conformance suite of the witnesses, at the interfaces that the engine uses: the tamper file and a SecretStore on the
// simulated disk, a SoftHSM2 token, and the counter of a simulated TPM. A counter moves by commits of the vault, so that its
// world has what these commits hold.
//
// A world brings the place of one witness:
//   kBit                         its kind
//   kUnbelieved, kDiffers        the reasons for a value that does not authenticate, and for another history
//   kAlarms                      whether it reads before it writes
//   kComesBack                   whether an earlier value can be put back
//   image(), put(image)          what is in the place
//   damage()
//   watch(), points()            where the place can fail: each call since, before or after it took effect
//   fail_at(point), mend()       the call at that distance from now fails, and all after it; nothing does any more
#include "engine_fixture.h"
#include "private_token.h"
#include "protectors/pkcs11/token_store.h"
#include "protectors/tpm/sealed_root.h"
#include "reliability_fixture.h"
#include "witnesses/registry.h"
#include "witnesses/tamper_file/tamper_witness.h"
#include "witnesses/tpm_counter/counter_witness.h"
#include "witnesses/verdict.h"

namespace strongroom::store::testing {
namespace {

using os::testing::ManualClock;
using os::testing::SimulatedDisk;

constexpr std::uint32_t kCapacity = 32;

// Where a protector's device holds a witness: in a token, or in a TPM.
struct HeldWitness {
  ProtectorType protector = ProtectorType::kSoftware;
  SecretStore* token = nullptr;
  SealedRoot* tpm = nullptr;
};

// Stands where the engine has the protector whose device holds a witness.
class DeviceHolder final : public KeyProtector {
 public:
  DeviceHolder(const ProtectorContext& context, const HeldWitness& held)
      : KeyProtector(kind_of(held.protector), context), held_(held) {}
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
    return std::make_unique<DeviceHolder>(std::move(context), held_);
  }
  SecretStore* witness_store() override { return held_.token; }
  SealedRoot* sealed_root() override { return held_.tpm; }

 private:
  HeldWitness held_;
  ProtectorRemoval removal_;
};

// A store's keys: what its witnesses authenticate with.
struct Owner {
  KeyRing ring;
  WitnessKeys keys;

  explicit Owner(std::uint8_t id) {
    ring.planned_header().instance = "acme";
    ring.planned_header().storage_id.fill(id);
    ring.draw_dek();
    CoreData& core = ring.planned_core();
    core.counter_index = roots::kNvIndexFirst;
    core.counter_secret = SecretBytes(Bytes(32, id));
    core.extend_index = roots::kNvIndexFirst + 1;
    core.extend_secret = SecretBytes(Bytes(32, static_cast<std::uint8_t>(id + 100)));
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
  virtual ~WitnessPlace() = default;

  // Of a witness that moves by a commit: moves it by the one at `checkpoint`.
  virtual Status anchor(CounterWitness& /*counter*/, const log::Checkpoint& /*checkpoint*/,
                        Foreign /*foreign*/) {
    return {Reason::kInternal, "not asked"};
  }
  // What the commit at `checkpoint` holds of this witness.
  [[nodiscard]] virtual std::optional<Bytes> record_at(const log::Checkpoint& /*checkpoint*/) const {
    return std::nullopt;
  }

  WitnessContext context(Owner& owner) {
    return {*directory, owner.ring, secrets, protector, owner.keys, kCapacity};
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
  static constexpr Reason kDiffers = Reason::kVaultTampered;
  static constexpr bool kAlarms = false;
  static constexpr bool kComesBack = true;
  void damage() { OnDisk::damage(std::string(kStore) + "/" + std::string(kTamperFileName)); }
};

class SecretStoreWorld : public OnDisk {
 public:
  static constexpr WitnessBits kBit = kWitnessSecretStore;
  static constexpr Reason kUnbelieved = Reason::kWitnessReplaced;
  static constexpr Reason kDiffers = Reason::kVaultTampered;
  static constexpr bool kAlarms = true;
  static constexpr bool kComesBack = true;
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
  static constexpr Reason kDiffers = Reason::kVaultTampered;
  static constexpr bool kAlarms = true;
  static constexpr bool kComesBack = true;
  // Whoever has the PIN can read the value and put an earlier one back.
  using Image = Bytes;
  TokenWorld() {
    hsm_.make("acme");
    token_ = *hsm_.open("acme");
    store_.emplace(token_, "acme");
    protector = std::make_unique<DeviceHolder>(
        ProtectorContext{environment_, options_, ring_, secrets, config_, [] { return 1U; }},
        HeldWitness{.protector = ProtectorType::kPkcs11, .token = &*store_});
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

log::Checkpoint genesis() { return {0, crypto::sha256({as_bytes("genesis")})}; }

class CounterWorld : public WitnessPlace {
 public:
  static constexpr WitnessBits kBit = kWitnessTpm;
  static constexpr Reason kUnbelieved = Reason::kWitnessReplaced;
  static constexpr Reason kDiffers = Reason::kVaultForked;
  static constexpr bool kAlarms = true;
  static constexpr bool kComesBack = false;
  using Image = std::map<std::uint32_t, std::pair<std::uint64_t, Digest>>;
  CounterWorld() {
    options_.tpm.open = chip_->opener({}, {});
    EXPECT_OK(root_.connect("", {}, {}));
    protector = std::make_unique<DeviceHolder>(context_,
                                               HeldWitness{.protector = ProtectorType::kTpm, .tpm = &root_});
  }
  [[nodiscard]] Image image() const {
    Image out;
    for (const auto& [number, index] : chip_->indices()) out[number] = {index.value, index.head};
    return out;
  }
  void put(const Image& /*image*/) { ADD_FAILURE() << "nothing puts a TPM's counter back"; }
  // By someone who knows its name, and not its secret.
  void damage() {
    const std::uint64_t value = chip_->value();
    chip_->undefine(roots::kNvIndexFirst);
    chip_->define_forged(roots::kNvIndexFirst, index_label("acme", owner_.ring.header().storage_id), value);
  }
  void watch() { watched_from_ = chip_->calls(); }
  [[nodiscard]] std::vector<FailurePoint> points() const {
    const std::vector<std::string> calls = chip_->call_log();
    std::vector<FailurePoint> points;
    for (std::uint64_t at = watched_from_; at < calls.size(); ++at) {
      points.push_back({at + 1 - watched_from_, false});
      if (SimulatedChip::changes_something(calls[at])) points.push_back({at + 1 - watched_from_, true});
    }
    return points;
  }
  void fail_at(const FailurePoint& point) {
    chip_->fail_at(chip_->calls() + point.number,
                   point.after ? SimulatedChip::When::kAfter : SimulatedChip::When::kBefore, true);
  }
  void mend() { chip_->clear_faults(); }

  Status anchor(CounterWitness& counter, const log::Checkpoint& checkpoint, Foreign foreign) override {
    if (anchors_.empty()) SR_TRY(begin(counter));
    if (foreign == Foreign::kReplace) {
      SR_ASSIGN(const TpmObservation tpm, counter.read());
      anchors_.erase(anchors_.lower_bound(checkpoint.generation), anchors_.end());
      return accept(counter, checkpoint, tpm);
    }
    const Now now = read_clock(clock);
    SR_TRY(counter.reach(now));
    const AnchorRecord next = counter.next(owner_.ring.header().storage_id, checkpoint.head, now, 0);
    anchors_[checkpoint.generation] = {checkpoint, next};
    counter.noted(next, checkpoint);
    return counter.reach(now);
  }
  // Another history than the anchored one has an anchor at the same place, which it has drawn itself.
  [[nodiscard]] std::optional<Bytes> record_at(const log::Checkpoint& checkpoint) const override {
    const auto found = anchors_.find(checkpoint.generation);
    if (found == anchors_.end()) return std::nullopt;
    AnchorRecord record = found->second.record;
    if (found->second.checkpoint != checkpoint)
      record.head->data = draw_anchor_data(owner_.ring.header().storage_id, record.number, checkpoint.head);
    return encode_anchor_record(record);
  }

 private:
  struct Anchor {
    log::Checkpoint checkpoint;
    AnchorRecord record;
  };

  // As a COLDSTART.
  Status begin(CounterWitness& counter) {
    const StoreIndices indices(*root_.tpm(), owner_.ring.header());
    SR_TRY(indices.make(PlannedIndices::of(owner_.ring.core())).status());
    SR_ASSIGN(const TpmObservation tpm, counter.read());
    return accept(counter, genesis(), tpm);
  }
  Status accept(CounterWitness& counter, const log::Checkpoint& checkpoint, const TpmObservation& tpm) {
    AnchorRecord record;
    record.number = tpm.counter;
    record.head = AnchorHead{*tpm.head, std::nullopt};
    anchors_[checkpoint.generation] = {checkpoint, record};
    counter.start_from(record, checkpoint, CounterWitness::Reached::kByTpm, checkpoint);
    return {};
  }

  const std::shared_ptr<SimulatedChip> chip_ = std::make_shared<SimulatedChip>();
  Owner owner_{1};
  os::Environment environment_{disk, clock};
  ProtectorOptions options_;
  SecretStoreConfig config_;
  const ProtectorContext context_{environment_, options_, owner_.ring, secrets, config_, [] { return 1U; }};
  SealedRoot root_{context_};
  std::uint64_t watched_from_ = 0;
  std::map<std::uint64_t, Anchor> anchors_;  // by the generations of their commits
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
  [[nodiscard]] log::Checkpoint newest() const {
    return commits.empty() ? genesis() : commits.back().checkpoint;
  }
  // The newest record of the witness in `place`, and where it is.
  [[nodiscard]] std::optional<std::pair<std::uint64_t, Bytes>> record_of(const WitnessPlace& place) const {
    for (auto commit = commits.rbegin(); commit != commits.rend(); ++commit)
      if (const auto record = place.record_at(commit->checkpoint))
        return std::pair(commit->checkpoint.generation, *record);
    const auto first = place.record_at(genesis());
    return first ? std::optional(std::pair(genesis().generation, *first)) : std::nullopt;
  }
  void play(AuditTail& audit, Observation* found, const WitnessPlace& place) const {
    audit.begin({genesis().generation, genesis().head, {}});
    log::SnapshotInfo snapshot;
    snapshot.checkpoint = genesis();
    if (found != nullptr) found->on_snapshot(snapshot, audit);
    for (log::CommitInfo commit : commits) {
      if (place.record_at(commit.checkpoint)) commit.kind = log::CommitKind::kAnchor;
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
    if (CounterWitness* const counter = witness.counter())
      return world.anchor(*counter, vault.newest(), foreign);
    AuditTail audit(owner.keys.tamper.clone(), kCapacity);
    vault.play(audit, nullptr, world);
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
    vault.play(audit, found->get(), world);
    log::LoadedLog loaded;
    loaded.newest = vault.newest();
    loaded.end = end;
    log::Index index;
    const auto record = vault.record_of(world);
    if (record) index.put(log::Record::make(record->first, 0, 0, as_bytes(kAnchorKey), 0));
    SR_TRY((*found)->conclude({loaded, index, [&record](std::string_view key) {
                                 const bool is_there = record && key == kAnchorKey;
                                 return is_there ? std::optional(record->second) : std::nullopt;
                               }}));
    Evidence evidence;
    evidence.history.newest = vault.newest();
    evidence.history.end = end;
    evidence.found.push_back(*std::move(found));
    SR_TRY(judge(evidence).status);
    if (CounterWitness* const counter = witness.counter()) counter->adopt_anchor(*evidence.counter());
    witness.adopt(*evidence.found.front(), vault.newest().generation);
    return {};
  }
  Status judge_again(const Vault& vault, log::LogEnd end = log::LogEnd::kExact) {
    return judge_with(*make(), vault, end);
  }

  World world;
  Owner owner{1};
};

using Worlds = ::testing::Types<TamperFileWorld, SecretStoreWorld, TokenWorld, CounterWorld>;
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
  EXPECT_REASON(this->judge_again(Vault::until(3, 3)), TypeParam::kDiffers);
  EXPECT_REASON(this->judge_again(Vault::until(5, 2)), TypeParam::kDiffers);
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
  if (!TypeParam::kComesBack) return;
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
