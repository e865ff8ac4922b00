// The `file` back end: the conformance suite on a real directory and on the simulated disk, every damage of a
// file, and every power cut of a save.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iterator>

#include "crypto/crypto.h"
#include "os/posix.h"
#include "os/testing/manual_clock.h"
#include "os/testing/simulated_disk.h"
#include "secret_store/secret_record.h"
#include "secret_store/secret_store_file.h"
#include "secret_store_conformance.h"

namespace strongroom::store::testing {
namespace {

using os::testing::ManualClock;
using os::testing::SimulatedDisk;

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "strongroom-secrets.XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Passes every call on until it is switched off; then each answers EIO, as a disk that was pulled out.
class SwitchedDirectory final : public os::Directory {
 public:
  SwitchedDirectory(std::shared_ptr<os::Directory> inner, const bool& off)
      : inner_(std::move(inner)), off_(off) {}
  Result<std::unique_ptr<os::File>> open(std::string_view name, os::OpenMode mode) override {
    SR_TRY(check());
    return inner_->open(name, mode);
  }
  Result<std::optional<os::FileInfo>> stat(std::string_view name) override {
    SR_TRY(check());
    return inner_->stat(name);
  }
  Status replace(std::string_view from, std::string_view to) override {
    SR_TRY(check());
    return inner_->replace(from, to);
  }
  Status remove(std::string_view name) override {
    SR_TRY(check());
    return inner_->remove(name);
  }
  Result<std::vector<std::string>> list() override {
    SR_TRY(check());
    return inner_->list();
  }
  Status sync() override {
    SR_TRY(check());
    return inner_->sync();
  }
  Result<os::FileInfo> info() override {
    SR_TRY(check());
    return inner_->info();
  }
  Result<std::unique_ptr<os::FileLock>> lock(std::string_view name) override {
    SR_TRY(check());
    return inner_->lock(name);
  }
  Result<std::unique_ptr<os::FileLock>> lock_directory(std::string_view name) override {
    SR_TRY(check());
    return inner_->lock_directory(name);
  }
  const std::string& path() const override { return inner_->path(); }

 private:
  Status check() const { return off_ ? Status(Reason::kIoError, "switched off", EIO) : Status(); }
  std::shared_ptr<os::Directory> inner_;
  const bool& off_;
};

class SwitchedFiles final : public os::FileSystem {
 public:
  explicit SwitchedFiles(os::FileSystem& inner) : inner_(inner) {}
  Result<std::shared_ptr<os::Directory>> open_directory(const std::string& path,
                                                        os::DirectoryMode mode) override {
    if (off) return Status(Reason::kIoError, "switched off", EIO);
    SR_ASSIGN(std::shared_ptr<os::Directory> directory, inner_.open_directory(path, mode));
    return std::shared_ptr<os::Directory>(std::make_shared<SwitchedDirectory>(std::move(directory), off));
  }
  Result<std::unique_ptr<os::FileLock>> lock_on_host(std::string_view key) override {
    return inner_.lock_on_host(key);
  }
  bool off = false;

 private:
  os::FileSystem& inner_;
};

class PosixWorld {
 public:
  Result<std::unique_ptr<SecretStore>> open(const std::string& instance, os::DirectoryMode mode) {
    return open_secret_store({files_, os::posix_clock()},
                             {SecretStoreType::kFile, directory_.path() + "/secrets"}, instance, mode);
  }
  void make_unreachable() { files_.off = true; }
  void make_reachable() { files_.off = false; }

 private:
  TemporaryDirectory directory_;
  SwitchedFiles files_{os::posix_files()};
};

class SimulatedWorld {
 public:
  Result<std::unique_ptr<SecretStore>> open(const std::string& instance, os::DirectoryMode mode) {
    return open_secret_store({files_, clock_}, {SecretStoreType::kFile, "/secrets"}, instance, mode);
  }
  void make_unreachable() { files_.off = true; }
  void make_reachable() { files_.off = false; }

 private:
  SimulatedDisk disk_;
  ManualClock clock_;
  SwitchedFiles files_{disk_};
};

INSTANTIATE_TYPED_TEST_SUITE_P(FilePosix, SecretStoreConformance, PosixWorld);
INSTANTIATE_TYPED_TEST_SUITE_P(FileSimulated, SecretStoreConformance, SimulatedWorld);

Reason damaged_reason(SecretName name) {
  return name == SecretName::kRootKey ? Reason::kRootUnavailable : Reason::kWitnessReplaced;
}

class SecretFile : public ::testing::Test {
 protected:
  SecretFile() { disk_.make_directory("/secrets"); }

  std::unique_ptr<SecretStore> open(SimulatedDisk& disk, const std::string& instance = "acme",
                                    os::DirectoryMode mode = os::DirectoryMode::kExisting) {
    Result<std::unique_ptr<SecretStore>> store =
        open_secret_store({disk, clock_}, {SecretStoreType::kFile, "/secrets"}, instance, mode);
    EXPECT_TRUE(store.ok()) << store.error().detail;
    return *std::move(store);
  }

  Bytes saved(SecretName name, ByteView value, const std::string& instance = "acme") {
    const auto store = open(disk_, instance);
    EXPECT_TRUE(succeeded(store->save(name, id_of(5), value)));
    return disk_.content(path(name, instance)).value();
  }

  static std::string path(SecretName name, const std::string& instance = "acme") {
    return "/secrets/" + secret_file_name(instance, name);
  }

  // The item loads as damaged, and the file is left as it is.
  void expect_damaged(SecretName name, const Bytes& content, const std::string& how) {
    const Result<Secret> parsed = parse_secret_file(content, name, "acme");
    ASSERT_FALSE(parsed.ok()) << how;
    EXPECT_EQ(parsed.error().reason, damaged_reason(name)) << how;
    EXPECT_NE(parsed.error().detail.find("damaged"), std::string::npos)
        << how << ": " << parsed.error().detail;
  }

  SimulatedDisk disk_;
  ManualClock clock_;
};

const Bytes kValue = {'p', 'o', 'i', 'n', 't', 0, 0xFF, 1};

TEST_F(SecretFile, NamesAreReadableWhereTheyCanBe) {
  EXPECT_EQ(secret_file_name("acme-licensing", SecretName::kVaultHash), "acme-licensing.VaultHash");
  EXPECT_EQ(secret_file_name("Acme_2.0", SecretName::kTimeTamper), "Acme_2.0.TimeTamper");
  EXPECT_EQ(secret_file_name("abc def", SecretName::kRootKey),
            "~" + to_hex(crypto::sha256({as_bytes("abc def")})) + ".RootKey");
}

TEST_F(SecretFile, BytesAreAsDocumented) {
  const Bytes file = saved(SecretName::kTimeTamper, kValue);
  Bytes record;
  ByteWriter writer(record);
  writer.bytes(as_bytes("SRSECRET"));
  writer.number<std::uint16_t>(1);
  writer.number<std::uint8_t>(2);
  writer.number<std::uint8_t>(4);
  writer.number<std::uint32_t>(8);
  writer.bytes(id_of(5));
  writer.bytes(as_bytes("acme"));
  writer.bytes(kValue);
  writer.bytes(crypto::sha256({record}));
  Bytes expected = record;
  expected.insert(expected.end(), record.begin(), record.end());
  EXPECT_EQ(file, expected);
}

TEST_F(SecretFile, EveryBitFlipIsRepairedFromTheOtherCopyAndReported) {
  std::size_t flips = 0;
  for (const SecretName name : kAllNames) {
    const Bytes file = saved(name, kValue);
    for (std::size_t at = 0; at < file.size(); ++at) {
      for (int bit = 0; bit < 8; ++bit) {
        Bytes flipped = file;
        flipped[at] ^= static_cast<std::uint8_t>(1U << bit);
        const Result<Secret> parsed = parse_secret_file(flipped, name, "acme");
        ASSERT_TRUE(parsed.ok()) << at << ": " << parsed.error().detail;
        ASSERT_TRUE(parsed->one_copy_damaged) << at;
        ASSERT_TRUE(equal(parsed->value.view(), kValue)) << at;
        ASSERT_EQ(parsed->storage_id, id_of(5)) << at;
        ++flips;
      }
    }
  }
  std::printf("%zu flips of one bit: all repaired and reported\n", flips);
}

TEST_F(SecretFile, FlipsInBothCopiesAreRefused) {
  std::size_t pairs = 0;
  const Bytes file = saved(SecretName::kVaultHash, kValue);
  const std::size_t half = file.size() / 2;
  for (std::size_t first = 0; first < half; ++first) {
    for (std::size_t second = half; second < file.size(); ++second) {
      for (const std::uint8_t mask : {0x01, 0x80, 0xFF}) {
        Bytes flipped = file;
        flipped[first] ^= mask;
        flipped[second] ^= mask;
        const Result<Secret> parsed = parse_secret_file(flipped, SecretName::kVaultHash, "acme");
        ASSERT_TRUE(parsed.is(Reason::kWitnessReplaced)) << first << " and " << second;
        ++pairs;
      }
    }
  }
  std::printf("%zu pairs of flips: all refused\n", pairs);
}

TEST_F(SecretFile, EveryTruncationAndEveryExtensionIsRefused) {
  for (const SecretName name : kAllNames) {
    const Bytes file = saved(name, kValue);
    for (std::size_t size = 0; size < file.size(); ++size) {
      expect_damaged(name, Bytes(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size)),
                     "cut to " + std::to_string(size));
      Bytes from_front(file.begin() + static_cast<std::ptrdiff_t>(file.size() - size), file.end());
      expect_damaged(name, from_front, "its last " + std::to_string(size));
      Bytes zeroed = file;
      std::fill(zeroed.begin() + static_cast<std::ptrdiff_t>(size), zeroed.end(), std::uint8_t{0});
      if (size < file.size() / 2) expect_damaged(name, zeroed, "zeros from " + std::to_string(size));
    }
    Bytes grown = file;
    for (int i = 0; i < 300; ++i) {
      grown.push_back(grown[static_cast<std::size_t>(i) % file.size()]);
      expect_damaged(name, grown, "grown by " + std::to_string(i + 1));
    }
  }
}

TEST_F(SecretFile, LoadReportsRefusesAndChangesNothingAndSaveMends) {
  for (const SecretName name : kAllNames) {
    const auto store = open(disk_);
    Bytes file = saved(name, kValue);
    file.back() ^= 1;
    disk_.set_content(path(name), file);
    const std::uint64_t calls = disk_.calls();
    const Result<std::optional<Secret>> loaded = store->load(name);
    ASSERT_TRUE(loaded.ok() && *loaded && (*loaded)->one_copy_damaged);
    EXPECT_EQ(disk_.content(path(name)), file);

    file.front() ^= 1;
    disk_.set_content(path(name), file);
    EXPECT_TRUE(store->load(name).is(damaged_reason(name)));
    disk_.set_content(path(name), Bytes());
    EXPECT_TRUE(store->load(name).is(damaged_reason(name))) << "an empty file is damaged, not absent";
    disk_.set_content(path(name), Bytes(1 << 20));
    EXPECT_TRUE(store->load(name).is(damaged_reason(name))) << "a large file is damaged";
    EXPECT_EQ(disk_.calls(), calls) << "load() called something that changes the disk";

    ASSERT_TRUE(succeeded(store->save(name, id_of(5), kValue)));
    EXPECT_TRUE(holds(*store, name, id_of(5), kValue));
  }
}

TEST_F(SecretFile, CopiesThatDisagreeAreRefused) {
  const Bytes older = saved(SecretName::kVaultHash, as_bytes("older"));
  const Bytes newer = saved(SecretName::kVaultHash, as_bytes("newer"));
  ASSERT_EQ(older.size(), newer.size());
  Bytes mixed = newer;
  std::copy_n(older.begin(), older.size() / 2, mixed.begin());
  expect_damaged(SecretName::kVaultHash, mixed, "one copy from an older file");
}

TEST_F(SecretFile, ItemsOfAnotherNameOrInstanceAreRefused) {
  const auto store = open(disk_);
  const Bytes other_name = saved(SecretName::kTimeTamper, kValue);
  const Bytes other_instance = saved(SecretName::kVaultHash, kValue, "acmf");
  for (const Bytes& foreign : {other_name, other_instance}) {
    disk_.set_content(path(SecretName::kVaultHash), foreign);
    const Result<std::optional<Secret>> loaded = store->load(SecretName::kVaultHash);
    ASSERT_TRUE(loaded.is(Reason::kWitnessReplaced));
    EXPECT_NE(loaded.error().detail.find("another name or instance"), std::string::npos);
  }
}

// A file with this version (and whatever else `change` does), with a checksum that fits.
Bytes with_changed_record(const Bytes& file, const std::function<void(Bytes&)>& change) {
  Bytes record(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(file.size() / 2));
  change(record);
  record.resize(record.size() - sizeof(Digest));
  const Digest checksum = crypto::sha256({record});
  record.insert(record.end(), checksum.begin(), checksum.end());
  Bytes twice = record;
  twice.insert(twice.end(), record.begin(), record.end());
  return twice;
}

TEST_F(SecretFile, UnknownVersionIsNamed) {
  const Bytes file =
      with_changed_record(saved(SecretName::kRootKey, kValue), [](Bytes& record) { record[8] = 2; });
  EXPECT_TRUE(parse_secret_file(file, SecretName::kRootKey, "acme").is(Reason::kVersion));
}

TEST_F(SecretFile, LengthsThatDoNotFitAreRefused) {
  const Bytes file = saved(SecretName::kVaultHash, kValue);
  for (const std::uint8_t length : {0, 3, 5, 0xFF}) {
    expect_damaged(SecretName::kVaultHash,
                   with_changed_record(file, [length](Bytes& record) { record[11] = length; }),
                   "instance length " + std::to_string(length));
  }
  for (const std::uint32_t length : {0U, 7U, 9U, 0x7FFFFFFFU, 0xFFFFFFFFU}) {
    expect_damaged(SecretName::kVaultHash,
                   with_changed_record(file, [length](Bytes& record) { store_le(&record[12], length); }),
                   "value length " + std::to_string(length));
  }
}

TEST_F(SecretFile, ErrorsHoldNoValue) {
  Bytes file = saved(SecretName::kRootKey, as_bytes("hush-hush"));
  file.front() ^= 1;
  file.back() ^= 1;
  const Result<Secret> parsed = parse_secret_file(file, SecretName::kRootKey, "acme");
  ASSERT_FALSE(parsed.ok());
  EXPECT_EQ(parsed.error().detail.find("hush"), std::string::npos);
}

TEST_F(SecretFile, RemoveTakesALeftoverOfACrashToo) {
  const Bytes file = saved(SecretName::kRootKey, kValue);
  disk_.set_content(path(SecretName::kRootKey) + ".new", file);
  ASSERT_TRUE(succeeded(open(disk_)->remove(SecretName::kRootKey)));
  EXPECT_TRUE(disk_.list("/secrets").empty());
}

// Cuts the power at every call of an action and looks at every state that it may leave.
template <typename Act, typename Check>
void cut_everywhere(const SimulatedDisk& before, const Act& act, const Check& check) {
  std::size_t cuts = 0;
  std::size_t states = 0;
  const std::unique_ptr<SimulatedDisk> whole = before.clone();
  ASSERT_TRUE(succeeded(act(*whole)));
  for (std::uint64_t call = 1; call <= whole->calls(); ++call, ++cuts) {
    const std::unique_ptr<SimulatedDisk> disk = before.clone();
    disk->power_cut_at(call);
    const bool acknowledged = act(*disk).ok();
    EXPECT_FALSE(acknowledged) << "call " << call;
    for (const os::testing::CrashState& state : disk->crash_states()) {
      check(*disk->after_crash(state), false, "call " + std::to_string(call) + ", " + state.description);
      ++states;
    }
  }
  for (const os::testing::CrashState& state : whole->crash_states()) {
    check(*whole->after_crash(state), true, "afterwards, " + state.description);
    ++states;
  }
  std::printf("%zu power cuts, %zu states: no false alarm, nothing acknowledged was lost\n", cuts, states);
}

TEST_F(SecretFile, PowerCutsLeaveTheOldItemOrTheNew) {
  const Bytes large = every_byte(3000);
  (void)saved(SecretName::kVaultHash, kValue);
  cut_everywhere(
      *disk_.clone(),
      [&](SimulatedDisk& disk) { return open(disk)->save(SecretName::kVaultHash, id_of(5), large); },
      [&](SimulatedDisk& disk, bool acknowledged, const std::string& when) {
        const auto store = open(disk);
        const bool old_one = bool{holds(*store, SecretName::kVaultHash, id_of(5), kValue)};
        const ::testing::AssertionResult new_one = holds(*store, SecretName::kVaultHash, id_of(5), large);
        EXPECT_TRUE((old_one && !acknowledged) || new_one) << when << ": " << new_one.message();
        EXPECT_TRUE(succeeded(store->save(SecretName::kVaultHash, id_of(5), large))) << when;
        EXPECT_TRUE(holds(*store, SecretName::kVaultHash, id_of(5), large)) << when;
      });
}

TEST_F(SecretFile, PowerCutsOfTheFirstSaveLeaveNothingOrTheItem) {
  const SimulatedDisk empty;
  cut_everywhere(
      *empty.clone(),
      [&](SimulatedDisk& disk) -> Status {
        SR_ASSIGN(const auto store, open_secret_store({disk, clock_}, {SecretStoreType::kFile, "/secrets"},
                                                      "acme", os::DirectoryMode::kCreate));
        return store->save(SecretName::kRootKey, id_of(5), kValue);
      },
      [&](SimulatedDisk& disk, bool acknowledged, const std::string& when) {
        const auto store = open(disk);
        const bool nothing = bool{absent(*store, SecretName::kRootKey)};
        const ::testing::AssertionResult there = holds(*store, SecretName::kRootKey, id_of(5), kValue);
        EXPECT_TRUE((nothing && !acknowledged) || there) << when << ": " << there.message();
      });
}

TEST_F(SecretFile, PowerCutsOfRemoveLeaveTheItemOrNothing) {
  const Bytes file = saved(SecretName::kRootKey, kValue);
  disk_.set_content(path(SecretName::kRootKey) + ".new", file);
  cut_everywhere(
      *disk_.clone(), [&](SimulatedDisk& disk) { return open(disk)->remove(SecretName::kRootKey); },
      [&](SimulatedDisk& disk, bool acknowledged, const std::string& when) {
        const auto store = open(disk);
        const ::testing::AssertionResult nothing = absent(*store, SecretName::kRootKey);
        const bool there = bool{holds(*store, SecretName::kRootKey, id_of(5), kValue)};
        EXPECT_TRUE((there && !acknowledged) || nothing) << when << ": " << nothing.message();
        if (acknowledged) {
          EXPECT_FALSE(disk.content(path(SecretName::kRootKey) + ".new"))
              << when << ": the secret is still there";
        }
      });
}

TEST_F(SecretFile, AFullOrFailingDiskLeavesTheOldItem) {
  (void)saved(SecretName::kVaultHash, kValue);
  for (const Reason reason : {Reason::kNoSpace, Reason::kIoError}) {
    const std::unique_ptr<SimulatedDisk> whole = disk_.clone();
    ASSERT_TRUE(succeeded(open(*whole)->save(SecretName::kVaultHash, id_of(5), as_bytes("newer"))));
    for (std::uint64_t call = 1; call <= whole->calls(); ++call) {
      const std::unique_ptr<SimulatedDisk> disk = disk_.clone();
      disk->fail_at(call, {.reason = reason, .sticky = true});
      const auto store = open(*disk);
      const Status status = store->save(SecretName::kVaultHash, id_of(5), as_bytes("newer"));
      disk->clear_faults();
      EXPECT_TRUE(bool{holds(*store, SecretName::kVaultHash, id_of(5), kValue)} ||
                  bool{holds(*store, SecretName::kVaultHash, id_of(5), as_bytes("newer"))})
          << call;
      if (!status.ok()) {
        EXPECT_EQ(error_info(status.error().reason).code, "PERS_8005") << call;
      }
    }
  }
}

TEST_F(SecretFile, MissingDirectoryWithoutCreateIsAbsent) {
  SimulatedDisk empty;
  const auto store = open(empty);
  for (const SecretName name : kAllNames) {
    EXPECT_TRUE(absent(*store, name));
    EXPECT_TRUE(store->save(name, id_of(1), kValue).is(Reason::kNotFound));
    EXPECT_TRUE(succeeded(store->remove(name)));
  }
  EXPECT_EQ(empty.calls(), 0U);
  ASSERT_TRUE(succeeded(
      open(empty, "acme", os::DirectoryMode::kCreate)->save(SecretName::kRootKey, id_of(1), kValue)));
  EXPECT_TRUE(holds(*store, SecretName::kRootKey, id_of(1), kValue)) << "the directory appeared since";
}

TEST(SecretStoreOptions, AreChecked) {
  const os::Environment environment{os::posix_files(), os::posix_clock()};
  for (const std::string& directory : {std::string(), std::string("relative"), std::string("/tmp\0x", 6)}) {
    const auto store = open_secret_store(environment, {SecretStoreType::kFile, directory}, "acme",
                                         os::DirectoryMode::kCreate);
    EXPECT_TRUE(store.is(Reason::kInvalidOption)) << directory;
  }
  EXPECT_TRUE(open_secret_store(environment, {SecretStoreType::kSecretService, "/tmp"}, "acme",
                                os::DirectoryMode::kCreate)
                  .is(Reason::kInvalidOption));
  EXPECT_TRUE(open_secret_store(environment, {static_cast<SecretStoreType>(9), "/tmp"}, "acme",
                                os::DirectoryMode::kCreate)
                  .is(Reason::kInvalidOption));
}

class SecretFilePosix : public ::testing::Test {
 protected:
  std::unique_ptr<SecretStore> open() {
    Result<std::unique_ptr<SecretStore>> store =
        open_secret_store({os::posix_files(), os::posix_clock()}, {SecretStoreType::kFile, secrets_}, "acme",
                          os::DirectoryMode::kCreate);
    EXPECT_TRUE(store.ok()) << store.error().detail;
    return *std::move(store);
  }
  TemporaryDirectory directory_;
  std::string secrets_ = directory_.path() + "/secrets";
};

TEST_F(SecretFilePosix, ModesArePrivate) {
  const mode_t before = umask(0);
  const auto store = open();
  ASSERT_TRUE(succeeded(store->save(SecretName::kRootKey, id_of(1), kValue)));
  umask(before);
  struct stat info {};
  ASSERT_EQ(stat(secrets_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0700U);
  ASSERT_EQ(stat((secrets_ + "/acme.RootKey").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600U);
  EXPECT_EQ(
      std::distance(std::filesystem::directory_iterator(secrets_), std::filesystem::directory_iterator()), 1);
}

TEST_F(SecretFilePosix, LinksAndOpenDirectoriesAreUnsafe) {
  const auto store = open();
  ASSERT_TRUE(succeeded(store->save(SecretName::kRootKey, id_of(1), kValue)));
  std::filesystem::rename(secrets_ + "/acme.RootKey", directory_.path() + "/elsewhere");
  std::filesystem::create_symlink(directory_.path() + "/elsewhere", secrets_ + "/acme.RootKey");
  EXPECT_TRUE(store->load(SecretName::kRootKey).is(Reason::kUnsafePath));
  std::filesystem::create_symlink("/nowhere", secrets_ + "/acme.VaultHash");
  EXPECT_TRUE(store->load(SecretName::kVaultHash).is(Reason::kUnsafePath))
      << "a dangling link is not absence";
  ASSERT_EQ(chmod(secrets_.c_str(), 0777), 0);
  EXPECT_TRUE(open_secret_store({os::posix_files(), os::posix_clock()}, {SecretStoreType::kFile, secrets_},
                                "acme", os::DirectoryMode::kExisting)
                  .is(Reason::kUnsafePath));
}

TEST_F(SecretFilePosix, WithoutDescriptorsNothingIsAbsent) {
  const auto store = open();
  ASSERT_TRUE(succeeded(store->save(SecretName::kRootKey, id_of(1), kValue)));
  struct rlimit before {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  struct rlimit none = before;
  none.rlim_cur = 0;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const Result<std::optional<Secret>> loaded = store->load(SecretName::kRootKey);
  const Status saved = store->save(SecretName::kRootKey, id_of(1), as_bytes("newer"));
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_FALSE(loaded.ok());
  EXPECT_EQ(error_info(loaded.error().reason).code, "PERS_8005");
  EXPECT_FALSE(saved.ok());
  EXPECT_TRUE(holds(*store, SecretName::kRootKey, id_of(1), kValue));
}

}  // namespace
}  // namespace strongroom::store::testing
