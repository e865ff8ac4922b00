// Which older files and edits are refused after a rotation of the DEK, and while one is pending.
#include "protectors/password/password_slot.h"
#include "rotation_fixture.h"
#include "store/operations/dek_rotation.h"
#include "store/operations/passwords.h"
#include "store/operations/reanchoring.h"

namespace strongroom::store::testing {
namespace {

using log::Durability;

class RotationRollback : public Rotation {
 protected:
  void live() {
    small_store();
    checkpoints.emplace_back("before the rotation", files_of(*world.disk));
    {
      Session session(world);
      ASSERT_OK(session.open());
      ASSERT_OK(session.set("k0", "in the opening of the rotation", Durability::kWitnessed));
      checkpoints.emplace_back("just before", files_of(*world.disk));
      ASSERT_OK(DekRotation(session.engine()).rotate(as_bytes(kBackup)));
      checkpoints.emplace_back("after the rotation, open", files_of(*world.disk));
      ASSERT_OK(session.close());
    }
    checkpoints.emplace_back("after the rotation", files_of(*world.disk));
    {
      Session session(world);
      ASSERT_OK(session.open());
      ASSERT_OK(session.set("k3", "now"));
      ASSERT_OK(session.close());
    }
    now = files_of(*world.disk);
  }
  // The same, with the files as they stood before each write inside of the rotation.
  void live_with_every_state_inside() {
    small_store();
    checkpoints.emplace_back("before the rotation", files_of(*world.disk));
    Files last = checkpoints.back().second;
    HookedFiles hooked(*world.disk, "");
    std::size_t inside = 0;
    {
      Opened opened(hooked, world.clock, world.options());
      ASSERT_OK(opened.open());
      hooked.on_write = [&](std::string_view name, ByteView) {
        Files files = files_of(*world.disk);
        std::erase_if(files, [](const auto& file) { return file.first.ends_with(".new"); });
        if (files == last) return;
        last = files;
        checkpoints.emplace_back(
            "inside " + std::to_string(++inside) + ", before a write to " + std::string(name),
            std::move(files));
      };
      ASSERT_OK(DekRotation(*opened).rotate(as_bytes(kBackup)));
      hooked.on_write = nullptr;
      checkpoints.emplace_back("after the rotation, open", files_of(*world.disk));
      ASSERT_OK(opened->close());
    }
    checkpoints.emplace_back("after the rotation", files_of(*world.disk));
    Session session(world);
    ASSERT_OK(session.open());
    ASSERT_OK(session.set("k3", "now"));
    ASSERT_OK(session.close());
    now = files_of(*world.disk);
  }

  std::vector<std::pair<std::string, Files>> checkpoints;
  Files now;
};

TEST_F(RotationRollback, EverySubsetOfEveryStateAgainstTheCompletedRotation) {
  live_with_every_state_inside();
  ASSERT_GT(checkpoints.size(), 8U);
  const Image image(world);
  constexpr const char* kPaths[] = {kPersistencePath, kVaultPath, kTamperPath};
  std::size_t undetected = 0;
  std::size_t lagging = 0;
  std::size_t same = 0;
  std::map<std::string, std::size_t> reasons;
  for (const auto& [name, files] : checkpoints) {
    for (unsigned subset = 1; subset < 8; ++subset) {
      const std::unique_ptr<World> old = image.start();
      bool differs[3] = {};
      for (unsigned i = 0; i < 3; ++i) {
        if ((subset & (1U << i)) == 0) continue;
        old->disk->set_content(kPaths[i], files.at(kPaths[i]));
        differs[i] = files.at(kPaths[i]) != now.at(kPaths[i]);
      }
      const std::uint32_t tamper_key_id = load_le<std::uint32_t>(files.at(kTamperPath).data() + 12);
      const bool tamper_former = differs[2] && tamper_key_id == 1;
      const std::string what = name + ": subset " + std::to_string(subset);
      const Files before = files_of(*old->disk);
      Session session(*old);
      const Status status = session.open();
      if (!differs[0] && !differs[1] && !tamper_former) {
        ++(differs[2] ? lagging : same);
        EXPECT_TRUE(status.ok()) << what << ": " << describe(status);
        EXPECT_EQ(session.contents(), image.ledger.newest()) << what;
        continue;
      }
      if (status.ok()) ++undetected;
      // The vault first, then persistence.bin; the tamper file's key is judged last.
      const Reason wanted = differs[1]   ? Reason::kVaultRolledBack
                            : differs[0] ? Reason::kPersistenceRolledBack
                                         : Reason::kTamperFileTampered;
      const bool either =
          differs[0] && tamper_former && !differs[1] && status.is(Reason::kTamperFileTampered);
      EXPECT_TRUE(status.is(wanted) || either) << what << ": " << describe(status);
      EXPECT_EQ(files_of(*old->disk), before) << what << ": the refused start changed a file";
      ++reasons[status.ok() ? "opened" : std::string(error_info(status.error().reason).reason)];
    }
  }
  std::printf(
      "rotation rollback: checkpoints=%zu subsets=7 accepted as lagging=%zu unchanged=%zu undetected=%zu",
      checkpoints.size(), lagging, same, undetected);
  for (const auto& [reason, count] : reasons) std::printf(" %s=%zu", reason.c_str(), count);
  std::printf("\n");
  EXPECT_EQ(undetected, 0U);
}

// Secrets of before the rotation beside the files of now.
TEST_F(RotationRollback, SecretsOfTheFormerDekAreRefused) {
  live();
  const Image image(world);
  for (const char* path : {kVaultHashPath, kTimeTamperPath}) {
    for (const std::size_t checkpoint : {0, 1}) {
      const std::unique_ptr<World> old = image.start();
      old->disk->set_content(path, checkpoints[checkpoint].second.at(path));
      const Files before = files_of(*old->disk);
      Session session(*old);
      EXPECT_REASON(session.open(), Reason::kWitnessReplaced);
      EXPECT_EQ(files_of(*old->disk), before);
    }
  }
}

// Against a rotation that is pending: each older file of before it.
TEST_F(Pending, OlderFilesAreRefused) {
  const Image image(world);
  constexpr const char* kPaths[] = {kPersistencePath, kVaultPath, kTamperPath};
  for (unsigned subset = 1; subset < 8; ++subset) {
    const std::unique_ptr<World> old = image.start();
    for (unsigned i = 0; i < 3; ++i) {
      if ((subset & (1U << i)) != 0) old->disk->set_content(kPaths[i], before.at(kPaths[i]));
    }
    Session session(*old);
    const Status status = session.open();
    if (subset == 4) {
      EXPECT_TRUE(status.ok()) << describe(status);  // an older tamper file alone lags
      continue;
    }
    EXPECT_TRUE(status.is((subset & 2) != 0 ? Reason::kVaultRolledBack : Reason::kPersistenceRolledBack))
        << "subset " << subset << ": " << describe(status);
  }
}

// A backup of before the rotation is refused, and whoever holds the password of its time can accept it.
TEST_F(RotationRollback, ABackupFromBeforeCanBeAccepted) {
  live();
  const auto& [name, before] = checkpoints.front();
  for (const char* path : {kPersistencePath, kVaultPath, kTamperPath})
    world.disk->set_content(path, before.at(path));
  {
    Session session(world);
    EXPECT_REASON(session.open(), Reason::kVaultRolledBack);
  }
  {
    Session session(world);
    ASSERT_OK(steps_to_identified(session.engine()));
    ASSERT_OK(Reanchoring(session.engine()).reanchor(password_proof(kBackup)));
    EXPECT_EQ(session.engine().status().key_id, 1U);
    ASSERT_OK(DekRotation(session.engine()).rotate(as_bytes(kBackup)));
    ASSERT_OK(session.close());
  }
  Session session(world);
  ASSERT_OK(session.open());
  EXPECT_EQ(session.engine().status().key_id, 2U);
}

// Every byte of the files of a pending rotation: before the vault was moved, and when only the vault was.
TEST_F(Pending, EveryFlippedByteIsRefusedOrMended) {
  std::vector<std::pair<std::string, Image>> images;
  images.emplace_back("before the vault was moved", Image(world));
  {
    // The power goes when vault.bin has its name and the tamper file is about to follow.
    HookedFiles hooked(*world.disk, "tmtmp.bin.new");
    Opened opened(hooked, world.clock, world.options());
    ASSERT_OK(opened.open());
    bool cut = false;
    hooked.on_create = [&] {
      if (load_le<std::uint32_t>(world.disk->content(kVaultPath)->data() + 12) != 2) return;
      cut = true;
      images.emplace_back("when the vault was moved", Image(world));
    };
    ASSERT_OK(DekRotation(*opened).rotate({}));
    ASSERT_TRUE(cut);
  }
  ASSERT_EQ(images.size(), 2U);
  const std::size_t stride = short_campaign() ? 17 : 1;
  for (const auto& [name, image] : images) {
    std::size_t cases = 0;
    std::size_t undetected = 0;
    std::map<std::string, std::size_t> reasons;
    for (const char* path : {kVaultPath, kTamperPath, kPersistencePath, kVaultHashPath, kTimeTamperPath}) {
      const Bytes original = *image.disk->content(path);
      const bool has_copies = path != kVaultPath && path != kTamperPath;
      for (std::size_t at = 0; at < original.size(); at += stride) {
        const std::unique_ptr<World> edited = image.start();
        Bytes bytes = original;
        bytes[at] ^= 1;
        edited->disk->set_content(path, bytes);
        const Files files = files_of(*edited->disk);
        Session session(*edited);
        const Status status = session.open();
        ++cases;
        ++reasons[status.ok() ? "mended" : std::string(error_info(status.error().reason).reason)];
        const bool as_due = has_copies ? status.ok() : is_alarm(status);
        // The space that a store reserves ahead is not part of the log.
        const bool reserved = path == kVaultPath && status.ok() && session.engine().status().tail_repaired;
        if (!as_due && !reserved && ++undetected <= 3)
          ADD_FAILURE() << name << ", " << path << " byte " << at << ": " << describe(status);
        if (!status.ok() && files_of(*edited->disk) != files && ++undetected <= 3)
          ADD_FAILURE() << name << ", " << path << " byte " << at << ": the refused start changed a file";
        if (status.ok() && session.contents() != image.ledger.newest() && ++undetected <= 3)
          ADD_FAILURE() << name << ", " << path << " byte " << at << ": other records";
      }
    }
    std::printf("rotation, flips %s: cases=%zu undetected=%zu", name.c_str(), cases, undetected);
    for (const auto& [reason, count] : reasons) std::printf(" %s=%zu", reason.c_str(), count);
    std::printf("\n");
    EXPECT_EQ(undetected, 0U);
  }
}

// The old persistence.bin with the old password gives the former DEK, and it opens nothing new.
TEST_F(RotationRollback, AnOldPasswordYieldsNothingNew) {
  world.options = [] {
    EngineOptions options = rotation_options();
    options.recovery_password = SecretBytes(as_bytes("first"));
    return options;
  };
  small_store();
  const Files before = files_of(*world.disk);
  world.options = rotation_options;
  {
    Session session(world);
    ASSERT_OK(session.open());
    ASSERT_OK(Passwords(session.engine()).change(as_bytes("first"), SecretBytes(as_bytes(kBackup))));
    // Without a rotation it is the DEK of today.
    EXPECT_TRUE(equal(dek_in(before, "first").view(), dek_in(files_of(*world.disk)).view()));
    EXPECT_REASON(DekRotation(session.engine()).rotate(as_bytes("first")), Reason::kPasswordWrong);
    ASSERT_OK(DekRotation(session.engine()).rotate(as_bytes(kBackup)));
    ASSERT_OK(session.close());
  }
  const Files after = files_of(*world.disk);
  const SecretBytes former = dek_in(before, "first");
  EXPECT_FALSE(equal(former.view(), dek_in(after).view()));
  const std::vector<std::string> left = left_of(after, former.view(), before.at(kVaultPath));
  EXPECT_TRUE(left.empty()) << text_of(left);
  EXPECT_REASON(open_by_password(header_in(after), as_bytes("first")).status(), Reason::kPasswordWrong);
}

TEST_F(RotationRollback, TheFormerDekOpensNothingNew) {
  live();
  const Files& before = checkpoints.front().second;
  const std::vector<std::string> left = left_of(now, dek_in(before).view(), before.at(kVaultPath));
  EXPECT_TRUE(left.empty()) << text_of(left);
  EXPECT_FALSE(equal(dek_in(before).view(), dek_in(now).view()));
}

}  // namespace
}  // namespace strongroom::store::testing
