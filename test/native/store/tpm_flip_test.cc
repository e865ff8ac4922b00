// Tampering with the files of a small, cleanly closed store whose root is in a TPM: every single-byte flip and every
// truncation of every file, both copies of persistence.bin, files that are swapped, appended to or of another installation.
#include "flip_fixture.h"
#include "tpm_store_fixture.h"

namespace strongroom::store::testing {
namespace {

class TpmFlip : public FlipTools {
 protected:
  static EngineOptions options() {
    EngineOptions options = tpm_options();
    options.tamper_capacity = 8;
    return options;
  }
  void SetUp() override {
    world_.chip = std::make_shared<SimulatedChip>();
    world_.options = options;
    prepare();
  }
};

TEST_F(TpmFlip, VaultEveryByteAndEveryCut) { vault_everywhere("tpm: "); }

TEST_F(TpmFlip, TamperFileEveryByteAndEveryCut) { tamper_file_everywhere("tpm: "); }

TEST_F(TpmFlip, PersistenceEveryByteAndEveryCut) {
  persistence_everywhere("tpm: ");
  const std::size_t size = files_.at(kPersistencePath).size();
  Counts both;
  for (std::size_t at = 0; at < size / 2; at += kStride) {
    Bytes edited = files_.at(kPersistencePath);
    edited[at] ^= 0x01;
    edited[size / 2 + at] ^= 0x01;
    judge(both, kPersistencePath, edited, {Reason::kPersistenceTampered},
          "byte " + std::to_string(at) + " of both copies");
  }
  both.print("tpm: persistence.bin, both copies");
}

// An editor who also mends the checksum of both copies: what he may reach is the key slots, and each byte of them is bound.
TEST_F(TpmFlip, KeySlotsWithMendedChecksums) {
  const Result<std::vector<ParsedPersistence>> parsed = parse_persistence(files_.at(kPersistencePath));
  ASSERT_OK(parsed.status());
  Counts counts;
  const std::size_t slots = parsed->front().header.slots.size();
  const std::vector<Reason> permitted{
      Reason::kPersistenceTampered, Reason::kTpmRefused,      Reason::kTpmReplaced,
      Reason::kTpmCleared,          Reason::kWitnessMissing,  Reason::kWitnessReplaced,
      Reason::kVaultRolledBack,     Reason::kTpmPcrChanged,   Reason::kPinMissing,
      Reason::kTpmKeyMissing,       Reason::kRootUnavailable, Reason::kTpmUnavailable};
  for (std::size_t number = 0; number < slots; ++number) {
    const std::size_t size = parsed->front().header.slots[number].parameters.size();
    for (std::size_t at = 0; at < size; at += kStride) {
      for (const std::uint8_t mask : kMasks) {
        Bytes edited = files_.at(kPersistencePath);
        const Bytes& parameters = parsed->front().header.slots[number].parameters;
        const auto place = std::search(edited.begin(), edited.end(), parameters.begin(), parameters.end());
        ASSERT_NE(place, edited.end());
        const auto offset = static_cast<std::size_t>(place - edited.begin()) + at;
        const std::size_t half = edited.size() / 2;
        edited[offset] ^= mask;
        const Digest checksum = crypto::sha256({ByteView(edited).first(half - sizeof(Digest))});
        std::copy(checksum.begin(), checksum.end(),
                  edited.begin() + static_cast<std::ptrdiff_t>(half - sizeof(Digest)));
        std::copy_n(edited.begin(), half, edited.begin() + static_cast<std::ptrdiff_t>(half));
        judge(
            counts, kPersistencePath, edited, permitted,
            "slot " + std::to_string(number) + ", byte " + std::to_string(at) + " ^ " + std::to_string(mask));
      }
    }
  }
  counts.print("tpm: key slots, checksum mended");
  EXPECT_EQ(counts.refused, counts.cases);
}

TEST_F(TpmFlip, AppendedBytesAndSwappedFiles) {
  Counts counts;
  for (const std::size_t size : {1U, 7U, 88U, 4096U}) {
    for (const auto& [path, original] : files_) {
      Bytes edited = original;
      edited.insert(edited.end(), size, 0x55);
      std::vector<Reason> permitted{path == kTamperPath ? Reason::kTamperFileTampered
                                                        : Reason::kPersistenceTampered};
      if (path == kVaultPath) permitted.clear();  // a torn tail, cut off and reported
      judge(counts, path, edited, permitted, std::to_string(size) + " bytes appended");
    }
  }
  const std::vector<const char*> paths{kPersistencePath, kVaultPath, kTamperPath};
  for (std::size_t i = 0; i < paths.size(); ++i) {
    for (std::size_t j = i + 1; j < paths.size(); ++j) {
      const std::unique_ptr<World> world = image_->start();
      world->disk->set_content(paths[i], files_.at(paths[j]));
      world->disk->set_content(paths[j], files_.at(paths[i]));
      ++counts.cases;
      judge(counts, *world,
            {Reason::kPersistenceTampered, Reason::kVaultTampered, Reason::kTamperFileTampered},
            std::string(paths[i]) + " and " + paths[j] + " swapped");
    }
  }
  counts.print("tpm: appended bytes, swapped files");
}

TEST_F(TpmFlip, FilesOfAnotherInstallation) {
  TpmWorld other;
  other.options = options;
  small_tpm_store(other);
  Counts counts;
  const std::vector<std::pair<const char*, Reason>> expected{{kPersistencePath, Reason::kTpmReplaced},
                                                             {kVaultPath, Reason::kVaultTampered},
                                                             {kTamperPath, Reason::kTamperFileTampered}};
  for (const auto& [path, reason] : expected) {
    judge(counts, path, *other.disk->content(path), {reason}, "of another installation");
  }
  const std::unique_ptr<World> all = image_->start();
  put_files(*all->disk, files_of(*other.disk));
  ++counts.cases;
  judge(counts, *all, {Reason::kTpmReplaced}, "all files of another installation");
  counts.print("tpm: files of another installation");
}

}  // namespace
}  // namespace strongroom::store::testing
