// The verdicts as a table, and the authority to go on from a refused state: who has it, and that it serves once.
#include "witnesses/verdict.h"

#include "hooked_files.h"
#include "reliability_fixture.h"
#include "store/operations/passwords.h"
#include "store/operations/reanchoring.h"
#include "store/operations/removal.h"
#include "store/operations/root_recovery.h"
#include "store/start/start.h"
#include "vendor_key.h"
#include "witnesses/registry.h"
#include "witnesses/tamper_file/tamper_witness.h"
#include "witnesses/tpm_counter/counter_witness.h"
#include "witnesses/vault_hash/vault_hash_witness.h"

namespace strongroom::store::testing {
namespace {

using log::LogEnd;

// --- judge() ---

struct Row {
  const char* what;
  // The vault.
  std::uint64_t newest = 10;
  LogEnd end = LogEnd::kExact;
  std::uint64_t synced = 8;  // that a frame names
  // VaultHash: 0 for absent.
  std::uint64_t secret = 10;
  Standing secret_standing = Standing::kContained;
  // tmtmp.bin: 0 for absent.
  std::uint64_t tamper = 10;
  Standing tamper_standing = Standing::kContained;
  bool tamper_clean = true;
  // Expected; kInternal stands for ok.
  Reason reason = Reason::kInternal;
  bool torn = false;
  bool anew = false;
  bool root_lost = false;
};

template <typename Found>
Found& add(Evidence& evidence, WitnessBits bit) {
  evidence.found.push_back(std::make_unique<Found>(kind_of(bit)));
  return static_cast<Found&>(*evidence.found.back());
}

template <typename Found>
Found& found(const Evidence& evidence, WitnessBits bit) {
  return static_cast<Found&>(*evidence.of(kind_of(bit)));
}

Evidence evidence_of(const Row& row, std::uint8_t expected = kWitnessTamperFile | kWitnessSecretStore) {
  Evidence evidence;
  evidence.history.newest.generation = row.newest;
  evidence.history.end = row.end;
  evidence.history.tamper_synced = row.synced;
  evidence.history.is_root_lost = row.root_lost;
  if ((expected & kWitnessSecretStore) != 0) {
    auto& secret = add<VaultHashObservation>(evidence, kWitnessSecretStore);
    secret.present = row.secret != 0;
    secret.standing = row.secret_standing;
    if (row.secret != 0) secret.value = VaultHash{{row.secret, {}}, 0, {}};
  }
  if ((expected & kWitnessTpm) != 0) add<CounterObservation>(evidence, kWitnessTpm);
  auto& tamper = add<TamperObservation>(evidence, kWitnessTamperFile);
  tamper.present = row.tamper != 0;
  tamper.standing = row.tamper_standing;
  if (row.tamper != 0) {
    tamper.content.emplace();
    tamper.content->newest.generation = row.tamper;
    tamper.content->clean = row.tamper_clean;
  }
  return evidence;
}

Evidence evidence_with_tpm(const Row& row) { return evidence_of(row, kWitnessTamperFile | kWitnessTpm); }

const Row kVerdictRows[] = {
    {.what = "all agree"},
    {.what = "reserved space", .end = LogEnd::kPadded},
    {.what = "torn tail", .end = LogEnd::kDamaged, .torn = true},
    {.what = "torn tail, witnesses lag", .end = LogEnd::kDamaged, .secret = 8, .tamper = 9, .torn = true},
    {.what = "VaultHash lags", .secret = 3},
    {.what = "tmtmp.bin lags", .tamper = 2},
    {.what = "tmtmp.bin older than the base", .tamper = 2, .tamper_standing = Standing::kForgotten},
    {.what = "VaultHash leads",
     .secret = 11,
     .secret_standing = Standing::kAhead,
     .reason = Reason::kVaultRolledBack},
    {.what = "VaultHash leads a damaged vault",
     .end = LogEnd::kDamaged,
     .secret = 11,
     .secret_standing = Standing::kAhead,
     .reason = Reason::kVaultTampered},
    {.what = "VaultHash leads over reserved space",
     .end = LogEnd::kPadded,
     .secret = 11,
     .secret_standing = Standing::kAhead,
     .reason = Reason::kVaultRolledBack},
    {.what = "VaultHash disagrees", .secret_standing = Standing::kDiffers, .reason = Reason::kVaultTampered},
    {.what = "VaultHash is not in the history",
     .secret = 4,
     .secret_standing = Standing::kForgotten,
     .reason = Reason::kWitnessReplaced},
    {.what = "VaultHash absent", .secret = 0, .reason = Reason::kWitnessMissing},
    {.what = "VaultHash absent with the root", .secret = 0, .root_lost = true},
    // A recover: authority accepts what is there, and the continuity stays unproven.
    {.what = "VaultHash and tmtmp.bin absent with the root",
     .secret = 0,
     .tamper = 0,
     .anew = true,
     .root_lost = true},
    {.what = "VaultHash leads, the root lost",
     .secret = 11,
     .secret_standing = Standing::kAhead,
     .reason = Reason::kVaultRolledBack,
     .root_lost = true},
    {.what = "tmtmp.bin absent", .tamper = 0, .anew = true},
    {.what = "tmtmp.bin and VaultHash absent", .secret = 0, .tamper = 0, .reason = Reason::kWitnessMissing},
    {.what = "tmtmp.bin absent, VaultHash leads",
     .secret = 11,
     .secret_standing = Standing::kAhead,
     .tamper = 0,
     .reason = Reason::kVaultRolledBack},
    {.what = "tmtmp.bin leads",
     .secret = 8,
     .tamper = 12,
     .tamper_standing = Standing::kAhead,
     .reason = Reason::kVaultRolledBack},
    {.what = "tmtmp.bin leads a damaged vault",
     .end = LogEnd::kDamaged,
     .secret = 8,
     .tamper = 12,
     .tamper_standing = Standing::kAhead,
     .reason = Reason::kVaultTampered},
    {.what = "tmtmp.bin disagrees", .tamper_standing = Standing::kDiffers, .reason = Reason::kVaultTampered},
    {.what = "a torn append of tmtmp.bin", .secret = 8, .tamper = 8, .tamper_clean = false},
    {.what = "damage before what a frame names as synced",
     .secret = 8,
     .tamper = 7,
     .tamper_clean = false,
     .reason = Reason::kTamperFileTampered},
    {.what = "damage before what VaultHash remembers",
     .synced = 2,
     .secret = 8,
     .tamper = 7,
     .tamper_clean = false,
     .reason = Reason::kTamperFileTampered},
    {.what = "damage before what a frame names as synced, VaultHash lags",
     .secret = 3,
     .tamper = 7,
     .tamper_clean = false,
     .reason = Reason::kTamperFileTampered},
    {.what = "damage behind the newest commit",
     .tamper = 10,
     .tamper_clean = false,
     .reason = Reason::kTamperFileTampered},
    {.what = "a later commit behind the damage",
     .end = LogEnd::kDamagedInside,
     .secret = 3,
     .reason = Reason::kVaultTampered},
    {.what = "more than a crash can leave", .end = LogEnd::kTooLong, .reason = Reason::kVaultTampered},
    {.what = "the same, tmtmp.bin leads",
     .end = LogEnd::kTooLong,
     .secret = 8,
     .tamper = 12,
     .tamper_standing = Standing::kAhead,
     .reason = Reason::kVaultTampered},
    {.what = "a later commit behind the damage, VaultHash leads",
     .end = LogEnd::kDamagedInside,
     .secret = 11,
     .secret_standing = Standing::kAhead,
     .reason = Reason::kVaultTampered},
};

TEST(Verdict, Table) {
  for (const Row& row : kVerdictRows) {
    const Verdict verdict = judge(evidence_of(row));
    if (row.reason == Reason::kInternal) {
      EXPECT_TRUE(verdict.status.ok()) << row.what << ": " << describe(verdict.status);
      EXPECT_EQ(verdict.tail_torn, row.torn) << row.what;
      EXPECT_EQ(verdict.tamper_file_anew, row.anew) << row.what;
    } else {
      EXPECT_TRUE(verdict.status.is(row.reason)) << row.what << ": " << describe(verdict.status);
      EXPECT_TRUE(is_alarm(verdict.status)) << row.what;
    }
  }
}

// The counter of a TPM: c its value, v the newest anchor's number (0: none).
TEST(Verdict, CounterTable) {
  struct CounterRow {
    const char* what;
    std::uint64_t c = 7;
    std::uint64_t v = 7;
    Reason damage = Reason::kInternal;  // of the counter; kInternal stands for none
    bool tamper = true;
    LogEnd end = LogEnd::kExact;
    bool root_lost = false;
    Reason reason = Reason::kInternal;  // expected; kInternal stands for ok
    bool pending = false;
  };
  using R = Reason;
  const CounterRow rows[] = {
      {.what = "v = c"},
      {.what = "v = c + 1", .v = 8, .pending = true},
      {.what = "v = c + 1 behind a torn tail", .v = 8, .end = LogEnd::kDamaged, .pending = true},
      {.what = "v = c - 1", .v = 6, .reason = R::kVaultRolledBack},
      {.what = "v < c", .v = 1, .reason = R::kVaultRolledBack},
      {.what = "v < c and damage", .v = 6, .end = LogEnd::kDamaged, .reason = R::kVaultTampered},
      {.what = "v = c and later commits behind damage",
       .end = LogEnd::kDamagedInside,
       .reason = R::kVaultTampered},
      {.what = "v = c + 2", .v = 9, .reason = R::kWitnessReplaced},
      {.what = "v far beyond c", .v = 1000, .reason = R::kWitnessReplaced},
      {.what = "no anchor", .v = 0, .reason = R::kVaultTampered},
      {.what = "no counter", .damage = R::kWitnessMissing, .reason = R::kWitnessMissing},
      {.what = "another counter", .damage = R::kWitnessReplaced, .reason = R::kWitnessReplaced},
      {.what = "a counter never written", .damage = R::kTpmRefused, .reason = R::kTpmRefused},
      {.what = "no tamper file", .tamper = false, .reason = R::kWitnessMissing},
      {.what = "no tamper file, v < c", .v = 6, .tamper = false, .reason = R::kVaultRolledBack},
      {.what = "root lost, no counter", .damage = R::kWitnessMissing, .root_lost = true},
      {.what = "root lost, v = c", .root_lost = true},
      {.what = "root lost, v < c", .v = 6, .root_lost = true, .reason = R::kVaultRolledBack},
      {.what = "root lost, v = c + 2", .v = 9, .root_lost = true, .reason = R::kWitnessReplaced},
      {.what = "root lost, no tamper file", .tamper = false, .root_lost = true, .reason = R::kWitnessMissing},
  };
  for (const CounterRow& row : rows) {
    Evidence evidence =
        evidence_with_tpm({.what = row.what, .end = row.end, .tamper = row.tamper ? 10U : 0U});
    evidence.history.is_root_lost = row.root_lost;
    CounterObservation& counter = *evidence.counter();
    counter.tpm.counter = row.c;
    if (row.v != 0) counter.newest.emplace().number = row.v;
    if (row.damage != R::kInternal) counter.damage = Status(row.damage, "as found");
    const Verdict verdict = judge(evidence);
    if (row.reason == R::kInternal) {
      EXPECT_TRUE(verdict.status.ok()) << row.what << ": " << describe(verdict.status);
      EXPECT_EQ(verdict.increment_pending, row.pending) << row.what;
      EXPECT_FALSE(verdict.tamper_file_anew) << row.what;
    } else {
      EXPECT_TRUE(verdict.status.is(row.reason)) << row.what << ": " << describe(verdict.status);
    }
  }
}

// With an extend index. `head` is what it has: the value before the newest anchor, the one after it, or another one.
enum class ExtendHead : std::uint8_t { kBefore, kAfter, kOther };
struct HeadRow {
  const char* what;
  std::uint64_t v;
  ExtendHead head;
  LogEnd end = LogEnd::kExact;
  bool accepted = false;              // the newest record is one of authority
  Reason reason = Reason::kInternal;  // expected; kInternal stands for ok
  bool pending = false;
};
const HeadRow kHeadRows[] = {
    {.what = "complete", .v = 7, .head = ExtendHead::kAfter},
    {.what = "nothing sent", .v = 8, .head = ExtendHead::kBefore, .pending = true},
    {.what = "extended", .v = 8, .head = ExtendHead::kAfter, .pending = true},
    {.what = "nothing sent, torn tail",
     .v = 8,
     .head = ExtendHead::kBefore,
     .end = LogEnd::kDamaged,
     .pending = true},
    {.what = "accepted as it was", .v = 7, .head = ExtendHead::kAfter, .accepted = true},
    {.what = "accepted with an increment to come",
     .v = 8,
     .head = ExtendHead::kAfter,
     .accepted = true,
     .pending = true},
    {.what = "an older copy", .v = 6, .head = ExtendHead::kOther, .reason = Reason::kVaultRolledBack},
    {.what = "a much older copy", .v = 1, .head = ExtendHead::kOther, .reason = Reason::kVaultRolledBack},
    {.what = "an older copy, damaged",
     .v = 6,
     .head = ExtendHead::kOther,
     .end = LogEnd::kDamaged,
     .reason = Reason::kVaultTampered},
    {.what = "a fork that reserved the number",
     .v = 7,
     .head = ExtendHead::kOther,
     .reason = Reason::kVaultForked},
    {.what = "a fork while the counter is still to follow",
     .v = 8,
     .head = ExtendHead::kOther,
     .reason = Reason::kVaultForked},
    {.what = "a fork, damaged",
     .v = 7,
     .head = ExtendHead::kOther,
     .end = LogEnd::kDamaged,
     .reason = Reason::kVaultTampered},
    {.what = "the counter moved without it",
     .v = 7,
     .head = ExtendHead::kBefore,
     .reason = Reason::kWitnessReplaced},
    {.what = "the counter moved beyond it",
     .v = 6,
     .head = ExtendHead::kAfter,
     .reason = Reason::kWitnessReplaced},
    {.what = "the counter is far behind",
     .v = 9,
     .head = ExtendHead::kAfter,
     .reason = Reason::kWitnessReplaced},
    {.what = "both are far behind", .v = 9, .head = ExtendHead::kBefore, .reason = Reason::kWitnessReplaced},
    {.what = "the counter is far behind, another head",
     .v = 9,
     .head = ExtendHead::kOther,
     .reason = Reason::kWitnessReplaced},
};

TEST(Verdict, ExtendIndexTable) {
  constexpr std::uint64_t kCounter = 7;
  for (const HeadRow& row : kHeadRows) {
    const Evidence evidence = evidence_with_tpm({.what = row.what, .end = row.end});
    CounterObservation& counter = *evidence.counter();
    AnchorRecord& newest = counter.newest.emplace();
    newest.number = row.v;
    newest.head = AnchorHead{crypto::sha256({as_bytes("before")}), crypto::sha256({as_bytes("data")})};
    if (row.accepted) newest.head->data.reset();
    counter.tpm.counter = kCounter;
    counter.tpm.head = row.head == ExtendHead::kBefore  ? newest.head->before
                       : row.head == ExtendHead::kAfter ? value_after(*newest.head)
                                                        : crypto::sha256({as_bytes("other")});
    const Verdict verdict = judge(evidence);
    if (row.reason == Reason::kInternal) {
      EXPECT_TRUE(verdict.status.ok()) << row.what << ": " << describe(verdict.status);
      EXPECT_EQ(verdict.increment_pending, row.pending) << row.what;
    } else {
      EXPECT_TRUE(verdict.status.is(row.reason)) << row.what << ": " << describe(verdict.status);
    }
  }
}

// A record from before the store had an extend index fits no value of one.
TEST(Verdict, AnAnchorWithoutAHeadIsOlderThanTheExtendIndex) {
  for (const std::uint64_t v : {6U, 7U, 8U}) {
    const Evidence evidence = evidence_with_tpm({.what = ""});
    evidence.counter()->newest.emplace().number = v;
    evidence.counter()->tpm = {7, Digest{}};
    EXPECT_REASON(judge(evidence).status, v < 7 ? Reason::kVaultRolledBack : Reason::kWitnessReplaced);
  }
}

// Where the TPM has moved, the tamper file had been synced up to the anchor.
TEST(Verdict, DamageBeforeWhatTheCounterVouchesFor) {
  for (const std::uint64_t witnessed : {5U, 6U}) {
    const Evidence evidence =
        evidence_with_tpm({.what = "", .synced = 2, .tamper = 5, .tamper_clean = false});
    evidence.counter()->tpm.counter = 7;
    evidence.counter()->newest.emplace().number = 7;
    evidence.counter()->synced = witnessed;
    const Status status = judge(evidence).status;
    if (witnessed == 5) {
      EXPECT_OK(status);
    } else {
      EXPECT_REASON(status, Reason::kTamperFileTampered);
    }
  }
}

TEST(Verdict, DamagedWitnessesSpeakForThemselves) {
  Evidence evidence = evidence_of({.what = ""});
  found<VaultHashObservation>(evidence, kWitnessSecretStore).damage =
      Status(Reason::kWitnessReplaced, "damaged");
  EXPECT_TRUE(judge(evidence).status.is(Reason::kWitnessReplaced));
  evidence = evidence_of({.what = ""});
  auto& tamper = found<TamperObservation>(evidence, kWitnessTamperFile);
  tamper.content.reset();
  tamper.damage = Status(Reason::kTamperFileTampered, "damaged");
  EXPECT_TRUE(judge(evidence).status.is(Reason::kTamperFileTampered));
}

// --- Authority ---

class Authority : public ::testing::Test {
 protected:
  Authority() {
    world.options = [this] { return options(); };
  }
  EngineOptions options() const {
    EngineOptions options = store_options(by_password ? "backup" : "");
    if (!by_password) options.vendor_public_key = vendor.public_key();
    return options;
  }

  void commit(const std::string& value) {
    Session session(world);
    ASSERT_OK(session.open());
    ASSERT_OK(session.set("k", value));
    ASSERT_OK(session.close());
    world.clock.advance(1000);
  }
  // The vault of an earlier time is put back.
  void roll_back() {
    commit("old");
    old_vault = *world.disk->content(kVaultPath);
    commit("new");
    world.disk->set_content(kVaultPath, old_vault);
  }
  Status reanchor(const Credential& credential) {
    Session session(world);
    SR_TRY(steps_to_identified(session.engine()));
    SR_TRY(Reanchoring(session.engine()).reanchor(credential));
    return session.close();
  }
  Status reanchor(Bytes token) { return reanchor(Credential{SecretBytes(), std::move(token)}); }
  EngineStatus look() {
    Session session(world);
    EXPECT_TRUE(steps_to_identified(session.engine()).ok());
    return session.engine().status();
  }

  // Of a store whose root is lost. With a vendor's key the password opens the DEK, and the token is the authority.
  Status recover(const Credential& credential, std::string_view password = "backup") {
    Session session(world);
    Engine& engine = session.engine();
    SR_TRY(Start(engine).determine_startup_state().status());
    SR_TRY(Start(engine).setup_persistence_files());
    SR_TRY(Start(engine).initialize_recovery(as_bytes(password)));
    SR_TRY(Start(engine).create_and_load_vault());
    SR_TRY(Start(engine).initialize_storage_identifier());
    SR_TRY(RootRecovery(engine).recover(credential));
    return session.close();
  }
  void expect_not_recovered(Reason reason, const std::string& what) {
    const Files before = files_of(*world.disk);
    const Status status = recover(password_proof("backup"));
    EXPECT_TRUE(status.is(reason)) << what << ": " << describe(status);
    EXPECT_EQ(files_of(*world.disk), before) << what;
  }

  bool by_password = false;
  VendorKey vendor;
  Bytes old_vault;
  World world;
};

TEST_F(Authority, OnlyTheTokenThatFits) {
  roll_back();
  const EngineStatus status = look();
  const Files before = files_of(*world.disk);
  const Bytes good = vendor.permit(Purpose::kReanchor, status.storage_id, status.newest);

  log::Checkpoint later = status.newest;
  ++later.generation;
  log::Checkpoint other_head = status.newest;
  other_head.head[0] ^= 1;
  StorageId other_store = status.storage_id;
  other_store[15] ^= 1;
  std::vector<Bytes> bad{{},
                         vendor.permit(Purpose::kReanchor, status.storage_id, later),
                         vendor.permit(Purpose::kReanchor, status.storage_id, other_head),
                         vendor.permit(Purpose::kReanchor, other_store, status.newest),
                         vendor.permit(Purpose::kRecover, status.storage_id, status.newest),
                         vendor.permit(Purpose::kDecommission, status.storage_id, status.newest),
                         VendorKey().permit(Purpose::kReanchor, status.storage_id, status.newest)};
  for (std::size_t at = 0; at < good.size(); ++at) {
    bad.push_back(good);
    bad.back()[at] ^= static_cast<std::uint8_t>(1U << (at % 8));
    bad.emplace_back(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(at));
  }
  bad.push_back(good);
  bad.back().push_back(0);
  for (const Bytes& token : bad) EXPECT_REASON(reanchor(token), Reason::kAuthorityRefused);
  EXPECT_REASON(reanchor(password_proof("backup")), Reason::kAuthorityRefused);
  EXPECT_EQ(files_of(*world.disk), before);
  std::printf("authority: tokens refused=%zu\n", bad.size());

  ASSERT_OK(reanchor(good));
  Session session(world);
  ASSERT_OK(session.open());
  EXPECT_EQ(session.contents().at("k"), "old");
  ASSERT_OK(session.close());
}

TEST_F(Authority, ServesOnce) {
  for (const bool password : {false, true}) {
    by_password = password;
    World fresh;
    world.disk = std::move(fresh.disk);
    world.ledger = Ledger();
    roll_back();
    const EngineStatus status = look();
    const auto credential = [&] {
      return password ? password_proof("backup")
                      : Credential{SecretBytes(),
                                   vendor.permit(Purpose::kReanchor, status.storage_id, status.newest)};
    };
    ASSERT_OK(reanchor(credential()));
    EXPECT_REASON(reanchor(credential()), Reason::kNothingToDo);
    commit("later");
    // The same old vault once more, then an even later state, then the old one again.
    for (int round = 0; round < 2; ++round) {
      world.disk->set_content(kVaultPath, old_vault);
      EXPECT_REASON(reanchor(credential()), Reason::kAlreadyAccepted);
    }
  }
}

// A cut between the commit of the reanchor and the witnesses: the next start is an ordinary one where only time had
// been the matter. The token is used up all the same.
TEST_F(Authority, ServesOnceAlsoAfterACut) {
  commit("old");
  old_vault = *world.disk->content(kVaultPath);
  const EngineStatus status = look();
  const Bytes token = vendor.permit(Purpose::kReanchor, status.storage_id, status.newest);
  world.clock.advance(8ULL * 24 * 3600 * 1000);
  {
    Session session(world);
    EXPECT_REASON(session.open(), Reason::kStateStale);
  }
  const Image stale(world);
  std::size_t cuts = 0;
  std::size_t ordinary = 0;
  std::size_t replayed = 0;
  for (std::uint64_t number = 1;; ++number) {
    const std::unique_ptr<World> cut = stale.start();
    cut->disk->power_cut_at(number);
    {
      Session session(*cut);
      ASSERT_OK(steps_to_identified(session.engine()));
      if (Reanchoring(session.engine()).reanchor(Credential{SecretBytes(), token}).ok()) break;
    }
    ++cuts;
    for (const CrashState& state : cut->disk->crash_states(6)) {
      const std::unique_ptr<World> next = after_crash(*cut, state);
      {
        Session session(*next);
        if (!session.open().ok()) continue;
        ++ordinary;
        ASSERT_OK(session.set("k", "later"));
        ASSERT_OK(session.close());
      }
      next->disk->set_content(kVaultPath, old_vault);
      Session session(*next);
      ASSERT_OK(steps_to_identified(session.engine()));
      const Status replay = Reanchoring(session.engine()).reanchor(Credential{SecretBytes(), token});
      if (replay.ok()) ++replayed;
      EXPECT_REASON(replay, Reason::kAlreadyAccepted);
    }
  }
  EXPECT_GT(ordinary, 5U);
  std::printf("authority: cuts=%zu ordinary starts behind them=%zu replays accepted=%zu\n", cuts, ordinary,
              replayed);
}

TEST_F(Authority, ByPassword) {
  by_password = true;
  roll_back();
  const EngineStatus status = look();
  EXPECT_FALSE(status.rewindable_by_vendor);
  EXPECT_REASON(reanchor(vendor.permit(Purpose::kReanchor, status.storage_id, status.newest)),
                Reason::kAuthorityRefused);
  EXPECT_REASON(reanchor(Credential{}), Reason::kPasswordMissing);
  EXPECT_REASON(reanchor(password_proof("guess")), Reason::kPasswordWrong);
  ASSERT_OK(reanchor(password_proof("backup")));
}

TEST_F(Authority, WithoutPasswordSlotNobodyCan) {
  world.options = [] { return store_options(); };
  roll_back();
  EXPECT_REASON(reanchor(password_proof("any")), Reason::kPasswordMissing);
}

TEST_F(Authority, CannotHealAnotherStoresSecrets) {
  by_password = true;
  commit("1");
  World other;
  other.options = [this] { return options(); };
  {
    Session session(other);
    ASSERT_OK(session.open());
    ASSERT_OK(session.close());
  }
  world.disk->set_content(kVaultHashPath, *other.disk->content(kVaultHashPath));
  EXPECT_REASON(reanchor(password_proof("backup")), Reason::kWitnessReplaced);
}

// Bytes of our own item that were damaged in both copies are no other store's.
TEST_F(Authority, HealsADamagedWitness) {
  by_password = true;
  for (const char* path : {kVaultHashPath, kTimeTamperPath, kTamperPath}) {
    commit("1");
    Bytes damaged = *world.disk->content(path);
    for (std::size_t at = 100; at < damaged.size(); at += 50) damaged[at] ^= 0xFF;
    world.disk->set_content(path, damaged);
    {
      Session session(world);
      EXPECT_REASON(session.open(),
                    path == kTamperPath ? Reason::kTamperFileTampered : Reason::kWitnessReplaced);
    }
    ASSERT_OK(reanchor(password_proof("backup")));
  }
}

// VaultHash remembers which checkpoints were used, and no more of them than it can hold.
TEST_F(Authority, MoreReanchorsThanAreRemembered) {
  by_password = true;
  commit("1");
  for (std::size_t i = 0; i < kUsedCheckpointsMax + 3; ++i) {
    world.disk->remove(kVaultHashPath);
    SCOPED_TRACE(i);
    ASSERT_OK(reanchor(password_proof("backup")));
  }
  const Bytes before = *world.disk->content(kVaultPath);
  commit("2");
  world.disk->set_content(kVaultPath, before);
  ASSERT_OK(reanchor(password_proof("backup")));
  commit("3");
  world.disk->set_content(kVaultPath, before);
  EXPECT_REASON(reanchor(password_proof("backup")), Reason::kAlreadyAccepted);
}

// A lost root is no way around the verdicts: the witnesses that are left, the file that the vault names, and the clock.
TEST_F(Authority, ALostRootDoesNotHealAnythingElse) {
  by_password = true;
  commit("old");
  const Files old = files_of(*world.disk);
  world.clock.advance(3600'000);
  {
    Session session(world);
    ASSERT_OK(session.open());
    ASSERT_OK(Passwords(session.engine()).change(as_bytes("backup"), SecretBytes(as_bytes("backup"))));
    ASSERT_OK(session.close());
  }
  commit("new");
  const Files now = files_of(*world.disk);
  const auto lose = [&](const std::vector<const char*>& secrets) {
    put_files(*world.disk, now);
    for (const char* path : secrets) world.disk->remove(path);
  };

  lose({kRootKeyPath});
  world.disk->set_content(kVaultPath, old.at(kVaultPath));
  expect_not_recovered(Reason::kVaultRolledBack, "an older vault");
  lose({kRootKeyPath, kVaultHashPath, kTimeTamperPath});
  world.disk->set_content(kVaultPath, old.at(kVaultPath));
  expect_not_recovered(Reason::kVaultRolledBack, "an older vault, the tamper file remembers");
  lose({kRootKeyPath});
  world.disk->set_content(kPersistencePath, old.at(kPersistencePath));
  expect_not_recovered(Reason::kPersistenceRolledBack, "an older persistence.bin");
  lose({kRootKeyPath});
  Bytes damaged = now.at(kTimeTamperPath);
  for (std::size_t at = 40; at < damaged.size(); at += 50) damaged[at] ^= 0xFF;
  world.disk->set_content(kTimeTamperPath, damaged);
  expect_not_recovered(Reason::kWitnessReplaced, "a damaged TimeTamper");
  const std::int64_t wall_ms = world.clock.wall_ms();
  world.clock.reboot();
  world.clock.set_wall(wall_ms - 1800'000);
  lose({kRootKeyPath, kTimeTamperPath});
  expect_not_recovered(Reason::kClockRolledBack, "a clock that is behind the vault's stamp");
  // Every file is of then, and only TimeTamper is of now.
  put_files(*world.disk, old);
  for (const char* path : {kRootKeyPath, kVaultHashPath}) world.disk->remove(path);
  world.disk->set_content(kTimeTamperPath, now.at(kTimeTamperPath));
  expect_not_recovered(Reason::kClockRolledBack, "a clock that is behind TimeTamper");

  world.clock.set_wall(wall_ms);
  lose({kRootKeyPath});
  ASSERT_OK(recover(password_proof("backup")));
  Session session(world);
  ASSERT_OK(session.open());
  EXPECT_EQ(session.contents().at("k"), "new");
  std::vector<SlotType> types;
  for (const KeySlotStatus& slot : session.engine().status().key_slots) types.push_back(slot.type);
  EXPECT_EQ(types, (std::vector<SlotType>{SlotType::kPassword, SlotType::kSoftware}));
}

// The vendor's permit for a recovery is over one checkpoint, and a recovery moves the store on from it.
TEST_F(Authority, ATokenRecoversOnce) {
  world.options = [this] {
    EngineOptions with_both = store_options("backup");
    with_both.vendor_public_key = vendor.public_key();
    return with_both;
  };
  commit("1");
  const EngineStatus status = look();
  const Bytes token = vendor.permit(Purpose::kRecover, status.storage_id, status.newest);
  world.disk->remove(kRootKeyPath);
  EXPECT_REASON(recover(password_proof("backup")), Reason::kAuthorityRefused);
  ASSERT_OK(recover(Credential{SecretBytes(), token}));
  commit("2");
  world.disk->remove(kRootKeyPath);
  EXPECT_REASON(recover(Credential{SecretBytes(), token}), Reason::kAuthorityRefused);
}

TEST_F(Authority, AnOpenStoreIsNotDecommissioned) {
  by_password = true;
  Session session(world);
  ASSERT_OK(session.open());
  ASSERT_OK(session.set("k", "1"));
  const Files before = files_of(*world.disk);
  EXPECT_REASON(Removal(session.engine()).decommission(password_proof("backup")), Reason::kNotOpen);
  EXPECT_EQ(files_of(*world.disk), before);
  ASSERT_OK(session.set("k", "2"));
  ASSERT_OK(session.close());
}

// Nor does anything stay that a crash left under way: all of it is of this store.
TEST_F(Authority, ADecommissionTakesWhatCrashesLeft) {
  by_password = true;
  commit("1");
  for (const char* path : {kVaultPath, kTamperPath, kPersistencePath, kRootKeyPath, kVaultHashPath})
    world.disk->set_content(std::string(path) + ".new", {1, 2, 3});
  Session session(world);
  ASSERT_OK(steps_to_identified(session.engine()));
  ASSERT_OK(Removal(session.engine()).decommission(password_proof("backup")));
  EXPECT_TRUE(files_of(*world.disk).empty());
}

TEST_F(Authority, DecommissionNeedsItsOwnToken) {
  commit("1");
  const EngineStatus status = look();
  const auto decommission = [this](Bytes token) {
    Session session(world);
    SR_TRY(steps_to_identified(session.engine()));
    return Removal(session.engine()).decommission(Credential{SecretBytes(), std::move(token)});
  };
  const Files before = files_of(*world.disk);
  EXPECT_REASON(decommission({}), Reason::kAuthorityRefused);
  EXPECT_REASON(decommission(vendor.permit(Purpose::kReanchor, status.storage_id, status.newest)),
                Reason::kAuthorityRefused);
  log::Checkpoint earlier = status.newest;
  --earlier.generation;
  EXPECT_REASON(decommission(vendor.permit(Purpose::kDecommission, status.storage_id, earlier)),
                Reason::kAuthorityRefused);
  EXPECT_EQ(files_of(*world.disk), before);
  ASSERT_OK(decommission(vendor.permit(Purpose::kDecommission, status.storage_id, status.newest)));
  EXPECT_TRUE(files_of(*world.disk).empty());
}

// A decommission that was cut asks for this store's token again, at whatever checkpoint it was signed.
TEST_F(Authority, AnInterruptedDecommissionNeedsATokenToo) {
  commit("1");
  const EngineStatus status = look();
  const Bytes token = vendor.permit(Purpose::kDecommission, status.storage_id, status.newest);
  const auto decommission = [](World& now, Bytes credential) {
    Session session(now);
    SR_TRY(Start(session.engine()).determine_startup_state().status());
    SR_TRY(Start(session.engine()).setup_persistence_files());
    if (Start(session.engine()).initialize_warmstart().ok())
      SR_TRY(Start(session.engine()).create_and_load_vault());
    return Removal(session.engine()).decommission(Credential{SecretBytes(), std::move(credential)});
  };
  const std::unique_ptr<World> cut = Image(world).start();
  cut->disk->power_cut_at(8);
  EXPECT_FALSE(decommission(*cut, token).ok());
  const std::unique_ptr<World> next = after_crash(*cut, cut->disk->crash_states(10).back());
  ASSERT_TRUE(next->disk->content(kPersistencePath).has_value());
  {
    Session session(*next);
    EXPECT_REASON(session.open(), Reason::kPartialRestore);
  }
  EXPECT_REASON(decommission(*next, {}), Reason::kAuthorityRefused);
  EXPECT_REASON(decommission(*next, vendor.permit(Purpose::kReanchor, status.storage_id, status.newest)),
                Reason::kAuthorityRefused);
  StorageId other = status.storage_id;
  other[0] ^= 1;
  EXPECT_REASON(decommission(*next, vendor.permit(Purpose::kDecommission, other, status.newest)),
                Reason::kAuthorityRefused);
  ASSERT_OK(decommission(*next, token));
  EXPECT_TRUE(files_of(*next->disk).empty());
}

}  // namespace
}  // namespace strongroom::store::testing
