// What the tests of edited files share: one edit of a small, cleanly closed store at a time, and what may come of it.
//
// Permitted: a refusal with a reason, after which no byte of any file has changed; or the repair from the second copy,
// reported in the status.
#pragma once

#include "reliability_fixture.h"

namespace strongroom::store::testing {

inline const std::vector<std::uint8_t> kMasks =
    short_campaign() ? std::vector<std::uint8_t>{0x01} : std::vector<std::uint8_t>{0x01, 0x80, 0xFF};

// Under a sanitizer every 7th byte and cut has to do.
inline const std::size_t kStride = short_campaign() ? 7 : 1;

struct Counts {
  std::size_t cases = 0;
  std::size_t refused = 0;
  std::size_t repaired = 0;
  std::map<std::string, std::size_t> reasons;
  std::size_t faults = 0;

  void print(const std::string& what) const {
    std::printf("flip: %s cases=%zu refused=%zu repaired and reported=%zu undetected=%zu", what.c_str(),
                cases, refused, repaired, faults);
    for (const auto& [reason, count] : reasons) std::printf(" %s=%zu", reason.c_str(), count);
    std::printf("\n");
    EXPECT_EQ(faults, 0U);
  }
};

class FlipTools : public ::testing::Test {
 protected:
  // A small store of these options, cleanly closed.
  void prepare() {
    Session session(world_);
    ASSERT_OK(session.open());
    ASSERT_OK(session.set("seats/cad", "12"));
    ASSERT_OK(session.batch({{"a", "1"}, {"b", ""}, {"seats/cad", "11"}}));
    ASSERT_OK(session.remove("b"));
    ASSERT_OK(session.close());
    image_.emplace(world_);
    files_ = files_of(*world_.disk);
  }

  // Opens a store with one edited file. `permitted` names the reasons for a refusal; empty: it must be repaired.
  void judge(Counts& counts, const std::string& path, const Bytes& edited,
             const std::vector<Reason>& permitted, const std::string& what) {
    ++counts.cases;
    const std::unique_ptr<World> world = image_->start();
    world->disk->set_content(path, edited);
    judge(counts, *world, permitted, path + ": " + what);
  }
  void judge(Counts& counts, World& world, const std::vector<Reason>& permitted, const std::string& where) {
    const Files before = files_of(*world.disk);
    const auto wrong = [&](const std::string& what) {
      if (++counts.faults <= 5) ADD_FAILURE() << where << ": " << what;
    };
    Session session(world);
    const Status status = session.open();
    if (!status.ok()) {
      ++counts.refused;
      ++counts.reasons[std::string(error_info(status.error().reason).reason)];
      if (std::find(permitted.begin(), permitted.end(), status.error().reason) == permitted.end()) {
        wrong("refused with " + describe(status));
      }
      if (files_of(*world.disk) != before) wrong("the refused start changed a file");
      if (world.chip && world.chip->value() != image_->chip->value())
        wrong("the refused start moved the counter");
      return;
    }
    const EngineStatus told = session.engine().status();
    if (session.contents() != image_->ledger.newest()) wrong("opened with other records");
    if (!permitted.empty()) return wrong("opened");
    if (!told.persistence_repaired && !told.secret_repaired && !told.tail_repaired)
      return wrong("not reported");
    ++counts.repaired;
    if (!session.close().ok()) wrong("not closed");
    if (counts.cases % 16 != 1)
      return;  // a second opening now and then: the repair does not depend on the byte
    Session again(world);
    const bool clean = again.open().ok() && !again.engine().status().persistence_repaired &&
                       !again.engine().status().secret_repaired && !again.engine().status().tail_repaired;
    if (!clean) wrong("not repaired for good");
  }

  void flip_everywhere(Counts& counts, const std::string& path, const std::vector<Reason>& permitted) {
    const Bytes& original = files_.at(path);
    for (std::size_t at = 0; at < original.size(); at += kStride) {
      for (const std::uint8_t mask : kMasks) {
        Bytes edited = original;
        edited[at] ^= mask;
        judge(counts, path, edited, permitted, "byte " + std::to_string(at) + " ^ " + std::to_string(mask));
      }
    }
  }
  void truncate_everywhere(Counts& counts, const std::string& path, std::size_t from, std::size_t to,
                           const std::vector<Reason>& permitted) {
    const Bytes& original = files_.at(path);
    for (std::size_t size = from; size < to; size += kStride) {
      const Bytes edited(original.begin(), original.begin() + static_cast<std::ptrdiff_t>(size));
      judge(counts, path, edited, permitted, "cut to " + std::to_string(size));
    }
  }

  // Each byte and each cut of the three files; `of` begins what is printed.
  void vault_everywhere(const std::string& of) {
    const std::vector<Reason> permitted{Reason::kVaultTampered, Reason::kVaultRolledBack};
    Counts flips;
    flip_everywhere(flips, kVaultPath, permitted);
    flips.print(of + "vault.bin, flips");
    EXPECT_EQ(flips.refused, flips.cases);
    Counts cuts;
    truncate_everywhere(cuts, kVaultPath, 0, files_.at(kVaultPath).size(), permitted);
    cuts.print(of + "vault.bin, cuts");
    EXPECT_EQ(cuts.refused, cuts.cases);
  }
  void tamper_file_everywhere(const std::string& of) {
    Counts flips;
    flip_everywhere(flips, kTamperPath, {Reason::kTamperFileTampered});
    flips.print(of + "tmtmp.bin, flips");
    Counts cuts;
    truncate_everywhere(cuts, kTamperPath, 0, files_.at(kTamperPath).size(), {Reason::kTamperFileTampered});
    cuts.print(of + "tmtmp.bin, cuts");
  }
  void persistence_everywhere(const std::string& of) {
    const std::size_t size = files_.at(kPersistencePath).size();
    Counts flips;
    flip_everywhere(flips, kPersistencePath, {});
    flips.print(of + "persistence.bin, flips");
    Counts cuts;
    truncate_everywhere(cuts, kPersistencePath, 0, size / 2, {Reason::kPersistenceTampered});
    truncate_everywhere(cuts, kPersistencePath, size / 2, size, {});
    cuts.print(of + "persistence.bin, cuts");
  }

  World world_;
  std::optional<Image> image_;
  Files files_;
};

}  // namespace strongroom::store::testing
