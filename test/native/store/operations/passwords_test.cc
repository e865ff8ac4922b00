// Several backup passwords: each a key slot of its own, each with the authority of all.
#include "store/operations/passwords.h"

#include "base/cancellation.h"
#include "base/limits.h"
#include "protectors/password/password_slot.h"
#include "reliability_fixture.h"
#include "store/authority.h"
#include "store/operations/dek_rotation.h"
#include "store/operations/root_recovery.h"
#include "store/start/start.h"

namespace strongroom::store::testing {
namespace {

class PasswordsTest : public ::testing::Test {
 protected:
  PasswordsTest() {
    world.options = [] { return store_options("first"); };
    Session session(world);
    EXPECT_OK(session.open());
    EXPECT_OK(session.set("seats", "12"));
    EXPECT_OK(session.close());
  }
  static SecretBytes secret(std::string_view text) { return SecretBytes(as_bytes(text)); }
  static std::vector<std::string> slots_of(Engine& engine) {
    std::vector<std::string> out;
    for (const KeySlotStatus& slot : engine.status().key_slots) {
      if (slot.type == SlotType::kPassword) out.push_back(std::to_string(slot.id) + ":" + slot.label);
    }
    return out;
  }
  using Slots = std::vector<std::string>;
  // With the n-th call of the first act failing, until none does.
  static void after_a_failed(const Image& image, const std::function<Status(Engine&)>& first,
                             const std::function<void(Engine&)>& second);

  World world;
};

// The header is read before anything authenticates it, and a try of a password takes as long as its slot says.
TEST_F(PasswordsTest, NoMoreAreTriedThanAnyReleaseWrites) {
  PersistenceHeader header;
  header.storage_id = {1, 2, 3};
  header.key_id = 1;
  const auto add = [&header](std::string_view password) {
    const PasswordParameters parameters{{}, kFastArgon2, ""};
    const Result<SecretBytes> kek = password_kek(as_bytes(password), parameters);
    const auto id = static_cast<std::uint32_t>(header.slots.size() + 1);
    header.slots.push_back(wrap_dek(id, SlotType::kPassword, encode_password_parameters(parameters),
                                    kek->view(), Bytes(32, 7), header.storage_id, header.key_id));
  };
  for (std::size_t i = 0; i + 1 < limits::kPasswordSlotsMax; ++i) add("other");
  add("last");
  EXPECT_OK(open_by_password(header, as_bytes("last")));
  EXPECT_REASON(open_by_password(header, as_bytes("none")), Reason::kPasswordWrong);
  add("one more");
  EXPECT_REASON(open_by_password(header, as_bytes("one more")), Reason::kPersistenceTampered);

  Cancellation cancellation;
  const CancellationScope scope(&cancellation);
  cancellation.request();
  EXPECT_REASON(open_by_password(header, as_bytes("last")), Reason::kAborted);
}

TEST_F(PasswordsTest, EachOpensItsOwnSlot) {
  {
    Session session(world);
    ASSERT_OK(session.open());
    EXPECT_EQ(slots_of(session.engine()), Slots({"2:"}));
    const Result<std::uint32_t> added =
        Passwords(session.engine()).add(as_bytes("first"), secret("second"), "safe \xC3\xA4");
    ASSERT_OK(added);
    EXPECT_EQ(*added, 3U);
    ASSERT_OK(Passwords(session.engine()).add(as_bytes("second"), secret("third"), ""));
    ASSERT_OK(session.close());
  }
  Session session(world);
  ASSERT_OK(session.open());
  EXPECT_EQ(slots_of(session.engine()), Slots({"2:", "3:safe \xC3\xA4", "4:"}));
  std::uint32_t expected = 2;
  for (const char* password : {"first", "second", "third"}) {
    const Result<std::uint32_t> slot = Passwords(session.engine()).verify(as_bytes(password));
    ASSERT_OK(slot);
    EXPECT_EQ(*slot, expected++);
  }
  EXPECT_REASON(Passwords(session.engine()).verify(as_bytes("fourth")), Reason::kPasswordWrong);
}

TEST_F(PasswordsTest, AChangeReplacesOneAndKeepsItsLabel) {
  Session session(world);
  ASSERT_OK(session.open());
  Engine& engine = session.engine();
  ASSERT_OK(Passwords(engine).add(as_bytes("first"), secret("second"), "alice"));
  const Result<std::uint32_t> changed = Passwords(engine).change(as_bytes("second"), secret("next"));
  ASSERT_OK(changed);
  EXPECT_EQ(*changed, 4U);
  EXPECT_EQ(slots_of(engine), Slots({"2:", "4:alice"}));
  EXPECT_REASON(Passwords(engine).verify(as_bytes("second")), Reason::kPasswordWrong);
  ASSERT_OK(Passwords(engine).verify(as_bytes("first")));
  // The same password again, for a new salt and a label.
  ASSERT_OK(Passwords(engine).change(as_bytes("first"), secret("first"), "bob"));
  EXPECT_EQ(slots_of(engine), Slots({"4:alice", "5:bob"}));
  ASSERT_OK(Passwords(engine).change(as_bytes("first"), secret("first"), ""));
  EXPECT_EQ(slots_of(engine), Slots({"4:alice", "6:"}));
}

TEST_F(PasswordsTest, ARemovedOneOpensNothingAndItsFileIsRefused) {
  Bytes with_both;
  {
    Session session(world);
    ASSERT_OK(session.open());
    ASSERT_OK(Passwords(session.engine()).add(as_bytes("first"), secret("second"), ""));
    ASSERT_OK(Passwords(session.engine()).verify(as_bytes("first")));
    EXPECT_NE(session.engine().status().password_verified_ms, 0);
    with_both = *world.disk->content(kPersistencePath);
    ASSERT_OK(Passwords(session.engine()).remove(as_bytes("second"), 2));
    EXPECT_EQ(slots_of(session.engine()), Slots({"3:"}));
    EXPECT_REASON(Passwords(session.engine()).verify(as_bytes("first")), Reason::kPasswordWrong);
    // It was perhaps the removed one that had been proven.
    EXPECT_EQ(session.engine().status().password_verified_ms, 0);
    ASSERT_OK(session.close());
  }
  const Bytes now = *world.disk->content(kPersistencePath);
  world.disk->set_content(kPersistencePath, with_both);
  {
    Session session(world);
    EXPECT_REASON(session.open(), Reason::kPersistenceRolledBack);
  }
  world.disk->set_content(kPersistencePath, now);
  Session session(world);
  ASSERT_OK(session.open());
  EXPECT_EQ(session.contents().at("seats"), "12");
}

TEST_F(PasswordsTest, NoSlotIdIsUsedAgain) {
  const auto add = [this](const char* password) {
    Session session(world);
    EXPECT_OK(session.open());
    const Result<std::uint32_t> slot =
        Passwords(session.engine()).add(as_bytes("first"), secret(password), "");
    EXPECT_OK(slot);
    EXPECT_OK(session.close());
    return slot.ok() ? *slot : 0;
  };
  const auto remove = [this](std::uint32_t slot) {
    Session session(world);
    EXPECT_OK(session.open());
    EXPECT_OK(Passwords(session.engine()).remove(as_bytes("first"), slot));
    EXPECT_OK(session.close());
  };
  EXPECT_EQ(add("a"), 3U);
  EXPECT_EQ(add("b"), 4U);
  remove(4);
  EXPECT_EQ(add("c"), 5U);
  remove(5);
  remove(3);
  Session session(world);
  ASSERT_OK(session.open());
  ASSERT_OK(session.engine().compact());
  const Result<std::uint32_t> changed = Passwords(session.engine()).change(as_bytes("first"), secret("last"));
  ASSERT_OK(changed);
  EXPECT_EQ(*changed, 6U);
}

TEST_F(PasswordsTest, WhatIsRefusedChangesNothing) {
  Session session(world);
  ASSERT_OK(session.open());
  Engine& engine = session.engine();
  ASSERT_OK(Passwords(engine).add(as_bytes("first"), secret("second"), ""));
  const Files before = files_of(*world.disk);
  EXPECT_REASON(Passwords(engine).add(as_bytes("wrong"), secret("x"), ""), Reason::kPasswordWrong);
  EXPECT_REASON(Passwords(engine).add({}, secret("x"), ""), Reason::kPasswordMissing);
  EXPECT_REASON(Passwords(engine).add(as_bytes("first"), secret(""), ""), Reason::kInvalidArgument);
  EXPECT_REASON(Passwords(engine).add(as_bytes("first"), secret("second"), ""), Reason::kInvalidArgument);
  EXPECT_REASON(Passwords(engine).add(as_bytes("first"), secret("x"), std::string(65, 'l')),
                Reason::kInvalidArgument);
  EXPECT_REASON(Passwords(engine).add(as_bytes("first"), secret("x"), "a\nb"), Reason::kInvalidArgument);
  EXPECT_REASON(Passwords(engine).change(as_bytes("first"), secret("second")), Reason::kInvalidArgument);
  EXPECT_REASON(Passwords(engine).change(as_bytes("first"), secret("x"), "\x7F"), Reason::kInvalidArgument);
  // The slot of the password that is given; of the root; of nobody.
  EXPECT_REASON(Passwords(engine).remove(as_bytes("second"), 3), Reason::kInvalidArgument);
  EXPECT_REASON(Passwords(engine).remove(as_bytes("second"), 1), Reason::kInvalidArgument);
  EXPECT_REASON(Passwords(engine).remove(as_bytes("second"), 9), Reason::kInvalidArgument);
  EXPECT_REASON(Passwords(engine).remove(as_bytes("wrong"), 2), Reason::kPasswordWrong);
  EXPECT_REASON(Passwords(engine).remove({}, 2), Reason::kPasswordMissing);
  EXPECT_EQ(files_of(*world.disk), before);
  ASSERT_OK(Passwords(engine).remove(as_bytes("second"), 2));
  EXPECT_REASON(Passwords(engine).remove(as_bytes("second"), 3), Reason::kInvalidArgument);  // the last one
  ASSERT_OK(session.close());
  EXPECT_REASON(Passwords(engine).add(as_bytes("second"), secret("x"), ""), Reason::kClosed);
  EXPECT_REASON(Passwords(engine).remove(as_bytes("second"), 3), Reason::kClosed);
}

TEST_F(PasswordsTest, TheNinthIsRefused) {
  Session session(world);
  ASSERT_OK(session.open());
  for (int i = 2; i <= 8; ++i)
    ASSERT_OK(Passwords(session.engine()).add(as_bytes("first"), secret("p" + std::to_string(i)), ""));
  EXPECT_REASON(Passwords(session.engine()).add(as_bytes("first"), secret("p9"), ""),
                Reason::kInvalidArgument);
  ASSERT_OK(Passwords(session.engine()).remove(as_bytes("p2"), 2));
  ASSERT_OK(Passwords(session.engine()).add(as_bytes("p2"), secret("p9"), ""));
  ASSERT_OK(Passwords(session.engine()).verify(as_bytes("p9")));
}

TEST_F(PasswordsTest, ReadersAndStoresWithoutOneGetNone) {
  world.options = [] {
    EngineOptions options = store_options();
    options.read_only = true;
    return options;
  };
  {
    Session session(world);
    ASSERT_OK(session.open());
    EXPECT_REASON(Passwords(session.engine()).add(as_bytes("first"), secret("x"), ""), Reason::kReadOnly);
    EXPECT_REASON(Passwords(session.engine()).remove(as_bytes("first"), 2), Reason::kReadOnly);
  }
  World bare;
  Session session(bare);
  ASSERT_OK(session.open());
  // Whoever can open it would make himself its authority.
  EXPECT_REASON(Passwords(session.engine()).add(as_bytes("x"), secret("x"), ""), Reason::kPasswordMissing);
  EXPECT_TRUE(slots_of(session.engine()).empty());
}

TEST_F(PasswordsTest, AnyRecoversALostRoot) {
  {
    Session session(world);
    ASSERT_OK(session.open());
    ASSERT_OK(Passwords(session.engine()).add(as_bytes("first"), secret("second"), "second safe"));
    ASSERT_OK(session.close());
  }
  world.disk->remove(kRootKeyPath);
  {
    Session session(world);
    Engine& engine = session.engine();
    ASSERT_OK(Start(engine).determine_startup_state());
    ASSERT_OK(Start(engine).setup_persistence_files());
    ASSERT_OK(Start(engine).initialize_recovery(as_bytes("second")));
    ASSERT_OK(Start(engine).create_and_load_vault());
    ASSERT_OK(Start(engine).initialize_storage_identifier());
    ASSERT_OK(RootRecovery(engine).recover(password_proof("second")));
    // The new root has a slot of its own; the passwords kept theirs.
    EXPECT_EQ(slots_of(engine), Slots({"2:", "3:second safe"}));
    ASSERT_OK(Passwords(engine).verify(as_bytes("first")));
    ASSERT_OK(session.close());
  }
  Session session(world);
  ASSERT_OK(session.open());
  EXPECT_EQ(session.contents().at("seats"), "12");
}

void PasswordsTest::after_a_failed(const Image& image, const std::function<Status(Engine&)>& first,
                                   const std::function<void(Engine&)>& second) {
  std::size_t met = 0;
  std::size_t unknown_met = 0;
  for (std::uint64_t number = 1;; ++number) {
    const std::unique_ptr<World> now = image.start();
    Session session(*now);
    ASSERT_OK(session.open());
    const Slots before = slots_of(session.engine());
    now->disk->fail_at(now->disk->calls() + number, {.reason = Reason::kNoSpace});
    const Status failed = first(session.engine());
    now->disk->clear_faults();
    if (failed.ok()) break;
    const bool unknown = failed.error().outcome_unknown || failed.error().committed;
    unknown_met += unknown ? 1U : 0U;
    if (!unknown) {  // then nothing of it is there after a restart
      const std::unique_ptr<World> restarted = Image(*now).start();
      Session next(*restarted);
      ASSERT_OK(next.open());
      EXPECT_EQ(slots_of(next.engine()), before) << number << " " << describe(failed);
    }
    if (session.engine().status().poisoned || failed.error().committed) continue;
    ++met;
    second(session.engine());
    const Slots left = slots_of(session.engine());
    ASSERT_OK(session.close());
    Session again(*now);
    ASSERT_OK(again.open());
    EXPECT_EQ(slots_of(again.engine()), left) << number;
    EXPECT_FALSE(left.empty()) << number;
  }
  EXPECT_GT(met, 3U);
  EXPECT_GT(unknown_met, 3U);
}

// A change whose file could not be written is gone on with before the next one is judged: what that one proves, keeps and
// removes are the passwords that are there by then.
TEST_F(PasswordsTest, WhatAFailedChangeLeftIsSettledBeforeTheNextOne) {
  {
    Session session(world);
    ASSERT_OK(session.open());
    ASSERT_OK(Passwords(session.engine()).add(as_bytes("first"), secret("second"), ""));
    ASSERT_OK(session.close());
  }
  const Image image(world);
  const auto opens = [](Engine& engine, const char* password) {
    return Passwords(engine).verify(as_bytes(password)).ok();
  };

  // The last password stays, though the one that is gone meanwhile would still have counted.
  after_a_failed(
      image, [](Engine& engine) { return Passwords(engine).remove(as_bytes("first"), 3); },
      [&](Engine& engine) {
        const Status removed = Passwords(engine).remove(as_bytes("second"), 2);
        EXPECT_NE(removed.ok(), opens(engine, "first")) << describe(removed);
        EXPECT_EQ(slots_of(engine).size(), 1U);
      });
  // A change that is tried again does not leave two slots with one password.
  after_a_failed(
      image,
      [](Engine& engine) { return Passwords(engine).change(as_bytes("first"), secret("third")).status(); },
      [&](Engine& engine) {
        Passwords(engine)
            .change(as_bytes("first"), secret("third"))
            .status()
            .ignore("it may be done already");
        EXPECT_EQ(slots_of(engine).size(), 2U);
        EXPECT_FALSE(opens(engine, "first"));
        EXPECT_TRUE(opens(engine, "second"));
        EXPECT_TRUE(opens(engine, "third"));
      });
  after_a_failed(
      image,
      [](Engine& engine) { return Passwords(engine).add(as_bytes("first"), secret("third"), "").status(); },
      [&](Engine& engine) {
        Passwords(engine)
            .add(as_bytes("first"), secret("third"), "")
            .status()
            .ignore("it may be there already");
        EXPECT_EQ(slots_of(engine).size(), 3U);
      });
}

TEST_F(PasswordsTest, ARotationKeepsTheOneThatIsGiven) {
  Session session(world);
  ASSERT_OK(session.open());
  Engine& engine = session.engine();
  ASSERT_OK(Passwords(engine).add(as_bytes("first"), secret("second"), "alice"));
  const Files before = files_of(*world.disk);
  EXPECT_REASON(DekRotation(engine).rotate(as_bytes("second")), Reason::kInvalidOption);
  EXPECT_REASON(DekRotation(engine).rotate(as_bytes("wrong"), {}, {.remove_other_passwords = true}),
                Reason::kPasswordWrong);
  EXPECT_EQ(files_of(*world.disk), before);
  ASSERT_OK(DekRotation(engine).rotate(as_bytes("second"), {}, {.remove_other_passwords = true}));
  EXPECT_EQ(slots_of(engine), Slots({"5:alice"}));
  EXPECT_REASON(Passwords(engine).verify(as_bytes("first")), Reason::kPasswordWrong);
  ASSERT_OK(Passwords(engine).verify(as_bytes("second")));
  ASSERT_OK(Passwords(engine).add(as_bytes("second"), secret("first"), ""));
  ASSERT_OK(session.close());
  Session again(world);
  ASSERT_OK(again.open());
  ASSERT_OK(Passwords(again.engine()).verify(as_bytes("first")));
}

}  // namespace
}  // namespace strongroom::store::testing
