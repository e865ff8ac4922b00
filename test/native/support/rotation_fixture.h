// What the tests of the DEK's rotation share: a store with a password on the simulated disk, a rotation that is pending, and
// what must hold after one that was cut.
#pragma once

#include <atomic>
#include <thread>

#include "hooked_files.h"
#include "rotation_search.h"
#include "store/operations/dek_rotation.h"

namespace strongroom::store::testing {

inline EngineOptions rotation_options() {
  EngineOptions options = store_options(kBackup);
  options.tamper_capacity = 32;
  return options;
}

inline std::string text_of(const std::vector<std::string>& list) {
  std::string text;
  for (const std::string& item : list) text += item + "; ";
  return text;
}

class Rotation : public ::testing::Test {
 protected:
  Rotation() { world.options = rotation_options; }

  // Cleanly closed, with more commits than the log's snapshot.
  Image small_store() {
    Session session(world);
    EXPECT_TRUE(session.open().ok());
    for (int i = 0; i < 4; ++i) {
      EXPECT_TRUE(session.set("k" + std::to_string(i), "value of some length " + std::to_string(i)).ok());
    }
    EXPECT_TRUE(session.increment("tokens", 100).ok());
    EXPECT_TRUE(session.close().ok());
    world.clock.advance(1000);
    return Image(world);
  }
  static Status rotate(World& world, std::string_view password = kBackup) {
    Session session(world);
    SR_TRY(session.open());
    SR_TRY(DekRotation(session.engine()).rotate(as_bytes(password)));
    return session.close();
  }

  World world;
};

// Makes a rotation find no room for the new vault file.
inline void fail_in_move(World& world, Session& session) {
  // The call that makes vault.bin.new is found by trying.
  const std::unique_ptr<World> trial = Image(world).start();
  std::uint64_t number = 0;
  {
    Session probe(*trial);
    ASSERT_OK(probe.open());
    const std::uint64_t from = trial->disk->calls();
    ASSERT_OK(DekRotation(probe.engine()).rotate(as_bytes(kBackup)));
    const std::vector<std::string> log = trial->disk->call_log();
    for (std::uint64_t i = from; i < log.size() && number == 0; ++i) {
      if (log[i].find("create") != std::string::npos && log[i].find("vault.bin.new") != std::string::npos)
        number = i + 1 - from;
    }
    ASSERT_NE(number, 0U);
  }
  world.disk->fail_at(world.disk->calls() + number, {.reason = Reason::kNoSpace});
  EXPECT_REASON(DekRotation(session.engine()).rotate(as_bytes(kBackup)), Reason::kNoSpace);
  world.disk->clear_faults();
}

// A rotation that found no room for the new vault file.
class Pending : public Rotation {
 protected:
  void SetUp() override {
    small_store();
    before = files_of(*world.disk);
    Session session(world);
    ASSERT_OK(session.open());
    fail_in_move(world, session);
    const EngineStatus status = session.engine().status();
    EXPECT_TRUE(status.rotation_pending);
    EXPECT_EQ(status.key_id, 2U);
    EXPECT_EQ(session.contents(), world.ledger.newest());
    ASSERT_OK(session.set("k2", "while it is pending", log::Durability::kWitnessed));
    ASSERT_OK(session.close());
  }
  void expect_completed() {
    Session session(world);
    ASSERT_OK(session.open());
    EXPECT_EQ(session.contents(), world.ledger.newest());
    const EngineStatus status = session.engine().status();
    EXPECT_FALSE(status.rotation_pending);
    EXPECT_EQ(status.key_id, 2U);
    ASSERT_OK(session.close());
    const std::vector<std::string> left =
        left_of(files_of(*world.disk), dek_in(before).view(), before.at(kVaultPath));
    EXPECT_TRUE(left.empty()) << text_of(left);
  }
  Files before;
};

inline Status rotation_act(World& world) {
  Session session(world);
  SR_TRY(session.open());
  SR_TRY(session.set("k0", "before"));
  SR_TRY(DekRotation(session.engine()).rotate(as_bytes(kBackup)));
  SR_TRY(session.set("k1", "after", log::Durability::kWitnessed));
  return session.close();
}

struct Outcomes {
  std::size_t not_begun = 0;
  std::size_t pending = 0;
  std::size_t complete = 0;
  void print(const char* name) const {
    std::printf("rotation: %s found not begun=%zu pending=%zu complete=%zu\n", name, not_begun, pending,
                complete);
  }
};

// The store opens, holds what it should, and the rotation, begun or gone on with, ends in the same state.
inline Check ends_rotated(const Image& image, Outcomes& outcomes, const Check& opens = check_opens) {
  const Files before = files_of(*image.disk);
  auto former = std::make_shared<SecretBytes>(dek_in(before));
  return [before, former, opens, &outcomes](Tally& tally, World& after, const std::string& where) {
    if (!opens(tally, after, where)) return false;
    {
      Session session(after);
      if (!expect_clean(tally, session.open(), where, "third open")) return false;
      const EngineStatus status = session.engine().status();
      ++(status.rotation_pending ? outcomes.pending
         : status.key_id == 1    ? outcomes.not_begun
                                 : outcomes.complete);
      if (status.key_id == 1 || status.rotation_pending) {
        if (!expect_clean(tally, DekRotation(session.engine()).rotate(as_bytes(kBackup)), where, "rotate"))
          return false;
      }
      if (!expect_clean(tally, session.close(), where, "third close")) return false;
    }
    Session session(after);
    if (!expect_clean(tally, session.open(), where, "fourth open")) return false;
    const EngineStatus status = session.engine().status();
    if (status.key_id != 2 || status.rotation_pending || session.contents() != after.ledger.newest()) {
      fault(tally, &Tally::lost, where, "the rotation does not end in the same state");
      return false;
    }
    if (!expect_clean(tally, session.close(), where, "fourth close")) return false;
    const std::vector<std::string> left =
        left_of(files_of(*after.disk), former->view(), before.at(kVaultPath));
    if (!left.empty()) fault(tally, &Tally::refused, where, "left of the former DEK: " + text_of(left));
    return left.empty();
  };
}

// Readers beside a writer that rotates, with its threads: opened, or told to begin again.
inline void readers_beside_rotations(World& world, const char* name) {
  std::atomic<bool> stop{false};
  std::atomic<bool> ended{false};
  std::atomic<int> rotations{0};
  const auto usual = world.options;
  world.options = [usual] {
    EngineOptions options = usual();
    options.threads = true;
    return options;
  };
  Session writer(world);
  ASSERT_OK(writer.open());
  world.options = usual;
  std::thread rotating([&] {
    while (!stop) {
      if (!DekRotation(writer.engine()).rotate(as_bytes(kBackup), {}, {.forget_field_keys = true}).ok())
        break;
      if (!writer.set("k0", std::to_string(rotations), log::Durability::kWitnessed).ok()) break;
      ++rotations;
    }
    ended = true;
  });
  std::map<std::string, int> outcomes;
  const int rounds = static_cast<int>(bounded(150, 2000));
  for (int readers = 0; !ended && (readers < rounds || rotations < 5); ++readers) {
    EngineOptions options = world.engine_options();
    options.read_only = true;
    Opened reader(*world.disk, world.clock, std::move(options));
    ++outcomes[describe(reader.open())];
  }
  EXPECT_FALSE(ended);
  stop = true;
  rotating.join();
  ASSERT_OK(writer.close());
  int opened = 0;
  int busy = 0;
  for (const auto& [status, count] : outcomes) {
    if (status == "ok") {
      opened += count;
    } else if (status.starts_with("locked")) {
      busy += count;
    } else {
      ADD_FAILURE() << count << " readers: " << status;
    }
  }
  std::printf("%s: readers beside rotations: opened=%d told to begin again=%d rotations=%d alarms=0\n", name,
              opened, busy, rotations.load());
}

}  // namespace strongroom::store::testing
