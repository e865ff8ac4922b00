// Stores of release 0.1 with a TPM, taken over at their first start: real ones, made by that release on a swtpm, and a cut at
// every call.
#include <fstream>
#include <iterator>

#include "private_tpm.h"
#include "protectors/password/password_slot.h"
#include "store/engine_state.h"
#include "store/operations/verification.h"
#include "tpm_crash_fixture.h"

namespace strongroom::store::testing {
namespace {

using roots::testing::PrivateTpm;

std::string vector_path(const std::string& name) {
  return std::string(STRONGROOM_SOURCE_DIR) + "/test/native/vectors/store-0.1.0-tpm/" + name;
}

// Made by release 0.1.0 on one swtpm: `store`, closed with 100 tokens, and `fork`, a copy of it that release 0.1.0 started
// while its increments were withheld. The counter would confirm either.
class TakeOver : public ::testing::Test {
 protected:
  static constexpr std::int64_t kMadeMs = 1'796'012'800'000;

  std::unique_ptr<World> from_release(const std::string& name) {
    auto world = std::make_unique<World>(make_disk(), kMadeMs + 86'400'000);
    world->disk->make_directory(kStore);
    for (const char* file : {"persistence.bin", "vault.bin", "tmtmp.bin"}) {
      std::ifstream in(vector_path(name + "/" + file), std::ios::binary);
      world->disk->set_content(std::string(kStore) + "/" + file,
                               Bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()});
    }
    world->options = [this] {
      EngineOptions options = tpm_options();
      options.tpm.tcti = device.tcti();
      return options;
    };
    return world;
  }
  [[nodiscard]] std::vector<roots::NvIndexInfo> indices() {
    const auto tpm = roots::Tpm::open(device.tcti(), {}, {});
    EXPECT_OK(tpm);
    const auto found = (*tpm)->find_indices(first_counter_index("acme"), kIndexPlaces);
    EXPECT_OK(found);
    return *found;
  }

  PrivateTpm device{vector_path("tpm2-00.permall")};
};

TEST_F(TakeOver, AStoreOfRelease01GetsNewIndices) {
  const std::vector<roots::NvIndexInfo> before = indices();
  ASSERT_EQ(before.size(), 1U);
  const auto world = from_release("store");
  {
    Session session(*world);
    ASSERT_OK(session.open());
    EXPECT_EQ(session.contents().at("tokens"), "100");
    const TpmStatus tpm = *session.engine().status().tpm;
    EXPECT_NE(tpm.counter_index, before[0].index);
    EXPECT_NE(tpm.extend_index, 0U);
    EXPECT_GT(tpm.increments, 3U);  // counted on
    const auto log = Verification(session.engine()).audit_log(100);
    ASSERT_OK(log);
    EXPECT_TRUE(std::ranges::any_of(
        *log, [](const AuditEntry& entry) { return log::commit_kind_text(entry.kind) == "take-over"; }));
    ASSERT_OK(session.set("tokens", "99", log::Durability::kWitnessed));
    ASSERT_OK(session.close());
  }
  const std::vector<roots::NvIndexInfo> after = indices();
  ASSERT_EQ(after.size(), 2U);
  for (const roots::NvIndexInfo& info : after) EXPECT_NE(info.index, before[0].index);
  Session again(*world);
  ASSERT_OK(again.open());
  EXPECT_EQ(again.contents().at("tokens"), "99");
}

TEST_F(TakeOver, AForkThatWasPreparedBeforeIsRefused) {
  const auto store = from_release("store");
  const auto fork = from_release("fork");
  ASSERT_OK(open_and_close(*store));
  for (int i = 0; i < 3; ++i) {
    const Status status = Session(*fork).open();
    EXPECT_TRUE(is_alarm(status)) << describe(status);
    ASSERT_OK(open_and_close(*store));
  }
}

TEST_F(TakeOver, TheForkThatStartsFirstIsTheStore) {
  const auto store = from_release("store");
  const auto fork = from_release("fork");
  ASSERT_OK(open_and_close(*fork));
  const Status status = Session(*store).open();
  EXPECT_TRUE(is_alarm(status)) << describe(status);
  ASSERT_OK(open_and_close(*fork));
}

TEST_F(TakeOver, ReadingChangesNothing) {
  const auto store = from_release("store");
  const auto writable = store->options;
  store->options = [writable] {
    EngineOptions options = writable();
    options.read_only = true;
    return options;
  };
  const Files before = files_of(*store->disk);
  {
    Session session(*store);
    ASSERT_OK(session.open());
    EXPECT_EQ(session.contents().at("tokens"), "100");
    EXPECT_EQ(session.engine().status().tpm->extend_index, 0U);
  }
  EXPECT_EQ(files_of(*store->disk), before);
  EXPECT_EQ(indices().size(), 1U);
}

// --- Cut at every call ---

// What release 0.1 would have left: one counter, and records that know of nothing else.
void make_older(World& world) {
  small_tpm_store(world);
  const auto parsed = parse_persistence(*world.disk->content(kPersistencePath));
  ASSERT_OK(parsed);
  const ParsedPersistence& file = parsed->front();
  const auto dek = open_by_password(file.header, as_bytes("backup"));
  ASSERT_OK(dek);
  auto core = open_core_data(file, dek->view());
  ASSERT_OK(core);
  core->witnesses &= static_cast<std::uint8_t>(~kWitnessTpmExtend);
  Bytes older;
  {
    Session session(world);
    ASSERT_OK(session.open());
    // As the file on disk is now: the root of this opening's epoch.
    const auto now = parse_persistence(*world.disk->content(kPersistencePath));
    ASSERT_OK(now);
    Digest hash{};
    const auto encoded = encode_persistence(now->front().header, *core, dek->view(), &hash);
    ASSERT_OK(encoded);
    older = *encoded;
    AnchorRecord record;
    record.number = session.engine().status().tpm->counter;
    record.increments = session.engine().status().tpm->increments;
    record.first_wall_ms = session.engine().status().tpm->first_wall_ms;
    ASSERT_OK(session.engine().set_system_record("anchor", encode_anchor_record(record)));
    ASSERT_OK(
        session.engine().set_system_record("persistence", encode_persistence_record({false, hash, hash})));
  }
  world.disk->set_content(kPersistencePath, older);
  world.chip->undefine(extend_index_of(world));
}

bool check_taken_over(Tally& tally, World& world, const std::string& where) {
  const Files cut = files_of(*world.disk);
  if (!check_opens(tally, world, where)) return false;
  std::size_t ours = 0;
  for (const auto& [number, index] : world.chip->indices()) ours += index.ours() ? 1 : 0;
  if (ours != 2) fault(tally, &Tally::refused, where, std::to_string(ours) + " indices in the TPM");
  put_files(*world.disk, cut);
  ++rollbacks_tried;
  const Status status = Session(world).open();
  if (!is_alarm(status))
    fault(tally, &Tally::lost, where, "the files of the cut came back: " + describe(status));
  return is_alarm(status);
}

TEST_F(TpmCrash, TakeOver) {
  TpmWorld world;
  make_older(world);
  if (HasFatalFailure()) return;
  const auto open = [](World& taken) { return open_and_close(taken); };
  finish("take-over", cut_everywhere(Image(world), open, check_taken_over, kStates));
}

}  // namespace
}  // namespace strongroom::store::testing
