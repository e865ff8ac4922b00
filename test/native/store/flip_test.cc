// Tampering with the files of a small, cleanly closed store: every single-byte flip (XOR 01, 80, FF) and every
// truncation of every file, flips in both copies, swapped files, files of another installation, appended bytes, and a
// log large enough that its values are checked beside the reading thread.
//
// What is permitted: a refusal with a reason (8003 for vault.bin and tmtmp.bin), after which no byte of any file has
// changed; or the repair from the second copy, reported in the status. One edit is harmless and not reported: zero
// bytes appended to vault.bin. They cannot be told from the space that a store reserves ahead and that a crash leaves,
// they hold nothing, and the next opening cuts them off.
#include "flip_fixture.h"

namespace strongroom::store::testing {
namespace {

class Flip : public FlipTools {
 protected:
  void SetUp() override {
    world_.options = [] {
      EngineOptions options = store_options("backup");
      options.tamper_capacity = 8;
      return options;
    };
    prepare();
  }
};

TEST_F(Flip, VaultEveryByteAndEveryCut) { vault_everywhere(""); }

TEST_F(Flip, TamperFileEveryByteAndEveryCut) { tamper_file_everywhere(""); }

TEST_F(Flip, PersistenceEveryByteAndEveryCut) { persistence_everywhere(""); }

TEST_F(Flip, SecretStoreEveryByteAndEveryCut) {
  for (const char* path : {kVaultHashPath, kTimeTamperPath, kRootKeyPath}) {
    const Reason reason = path == kRootKeyPath ? Reason::kRootUnavailable : Reason::kWitnessReplaced;
    Counts counts;
    flip_everywhere(counts, path, {});
    counts.print(std::string(path) + ", flips");
    Counts cuts;
    truncate_everywhere(cuts, path, 0, files_.at(path).size(), {reason});
    cuts.print(std::string(path) + ", cuts");
  }
}

// The same flip in both copies of what is kept twice.
TEST_F(Flip, BothCopies) {
  Counts counts;
  for (const char* path : {kPersistencePath, kVaultHashPath, kTimeTamperPath, kRootKeyPath}) {
    const Reason reason = path == kRootKeyPath       ? Reason::kRootUnavailable
                          : path == kPersistencePath ? Reason::kPersistenceTampered
                                                     : Reason::kWitnessReplaced;
    const std::size_t half = files_.at(path).size() / 2;
    for (std::size_t at = 0; at < half; at += kStride) {
      Bytes edited = files_.at(path);
      edited[at] ^= 0x01;
      edited[half + at] ^= 0x01;
      judge(counts, path, edited, {reason}, "byte " + std::to_string(at) + " of both copies");
    }
  }
  counts.print("both copies");
}

TEST_F(Flip, AppendedBytes) {
  Counts counts;
  for (const std::size_t size : {1U, 7U, 88U, 4096U}) {
    for (const std::uint8_t byte : {std::uint8_t{0}, std::uint8_t{0x55}}) {
      for (const auto& [path, original] : files_) {
        Bytes edited = original;
        edited.insert(edited.end(), size, byte);
        const std::string what = std::to_string(size) + " bytes appended";
        if (path == kVaultPath && byte == 0) {  // the harmless case
          const std::unique_ptr<World> world = image_->start();
          world->disk->set_content(path, edited);
          Session session(*world);
          ASSERT_OK(session.open());
          EXPECT_EQ(session.contents(), image_->ledger.newest());
          EXPECT_FALSE(session.engine().status().tail_repaired);
          continue;
        }
        std::vector<Reason> permitted{path == kTamperPath        ? Reason::kTamperFileTampered
                                      : path == kPersistencePath ? Reason::kPersistenceTampered
                                      : path == kRootKeyPath     ? Reason::kRootUnavailable
                                                                 : Reason::kWitnessReplaced};
        if (path == kVaultPath) permitted.clear();  // a torn tail, cut off and reported
        judge(counts, path, edited, permitted, what);
      }
    }
  }
  counts.print("appended bytes");
}

TEST_F(Flip, SwappedFiles) {
  Counts counts;
  const std::vector<const char*> paths{kPersistencePath, kVaultPath,      kTamperPath,
                                       kVaultHashPath,   kTimeTamperPath, kRootKeyPath};
  for (std::size_t i = 0; i < paths.size(); ++i) {
    for (std::size_t j = i + 1; j < paths.size(); ++j) {
      const std::unique_ptr<World> world = image_->start();
      world->disk->set_content(paths[i], files_.at(paths[j]));
      world->disk->set_content(paths[j], files_.at(paths[i]));
      ++counts.cases;
      std::vector<Reason> permitted{Reason::kPersistenceTampered, Reason::kVaultTampered,
                                    Reason::kTamperFileTampered, Reason::kWitnessReplaced};
      if (j == 5) permitted.push_back(Reason::kRootUnavailable);  // what stands for RootKey is none
      judge(counts, *world, permitted, std::string(paths[i]) + " and " + paths[j] + " swapped");
    }
  }
  counts.print("swapped files");
}

TEST_F(Flip, FilesOfAnotherInstallation) {
  World other;
  other.options = world_.options;
  {
    Session session(other);
    ASSERT_OK(session.open());
    ASSERT_OK(session.set("seats/cad", "12"));
    ASSERT_OK(session.batch({{"a", "1"}, {"b", ""}, {"seats/cad", "11"}}));
    ASSERT_OK(session.remove("b"));
    ASSERT_OK(session.close());
  }
  Counts counts;
  const std::vector<std::pair<const char*, Reason>> expected{
      {kPersistencePath, Reason::kWitnessReplaced}, {kVaultPath, Reason::kVaultTampered},
      {kTamperPath, Reason::kTamperFileTampered},   {kVaultHashPath, Reason::kWitnessReplaced},
      {kTimeTamperPath, Reason::kWitnessReplaced},  {kRootKeyPath, Reason::kWitnessReplaced}};
  for (const auto& [path, reason] : expected) {
    judge(counts, path, *other.disk->content(path), {reason}, "of another installation");
  }
  counts.print("files of another installation");
}

// From 4 MiB on the values are checked beside the reading thread; what was seen before one of them failed must not
// count.
TEST_F(Flip, LargeLog) {
  World large;
  {
    Session session(large);
    ASSERT_OK(session.open());
    for (int i = 0; i < 80; ++i) ASSERT_OK(session.set("k" + std::to_string(i), std::string(64 << 10, 'v')));
    ASSERT_OK(session.engine().compact());
    ASSERT_OK(session.set("behind", std::string(64 << 10, 'v')));
    ASSERT_OK(session.close());
  }
  image_.emplace(large);
  const Bytes original = *large.disk->content(kVaultPath);
  ASSERT_GT(original.size(), std::size_t{4} << 20);
  Counts counts;
  std::vector<std::size_t> offsets;
  for (std::size_t from_end = 1; from_end <= 400; from_end += 13)
    offsets.push_back(original.size() - from_end);
  for (const std::size_t at :
       {std::size_t{65}, std::size_t{200'000}, std::size_t{3'000'000}, original.size() - 30'000}) {
    offsets.push_back(at);
  }
  for (const std::size_t at : offsets) {
    Bytes edited = original;
    edited[at] ^= 0x01;
    judge(counts, kVaultPath, edited, {Reason::kVaultTampered}, "byte " + std::to_string(at));
  }
  counts.print("a log of 5 MiB, flips");
}

}  // namespace
}  // namespace strongroom::store::testing
