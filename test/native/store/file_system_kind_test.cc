// What a store makes of the file system that its directory is on.
#include "hooked_files.h"
#include "reliability_fixture.h"

namespace strongroom::store::testing {
namespace {

constexpr std::uint64_t kNfs = 0x6969;
constexpr std::uint64_t kFuse = 0x65735546;
constexpr std::uint64_t kExt4 = 0xEF53;

class FileSystems : public ::testing::Test {
 protected:
  Status open(std::uint64_t type, bool allow, FileSystemKind* kind = nullptr) {
    HookedFiles files(*world_.disk, "");
    files.file_system = os::FileSystemInfo{type, UINT64_MAX};
    EngineOptions options = store_options();
    options.allow_network_file_system = allow;
    Engine engine(os::Environment{files, world_.clock}, std::move(options), {});
    SR_TRY(open_steps(engine));
    if (kind != nullptr) *kind = engine.status().file_system;
    return engine.close();
  }
  World world_;
};

TEST_F(FileSystems, AColdstartOnANetworkIsAskedForInSoManyWords) {
  const Status refused = open(kNfs, false);
  EXPECT_REASON(refused, Reason::kInvalidOption);
  EXPECT_NE(describe(refused).find("allowNetworkFileSystem: /srv/store is on a network file system (nfs)"),
            std::string::npos);
  FileSystemKind kind;
  ASSERT_OK(open(kNfs, true, &kind));
  EXPECT_TRUE(kind.network);
  // A store that is there opens: it may have been copied to where it is.
  ASSERT_OK(open(kNfs, false, &kind));
  EXPECT_EQ(kind.name, "nfs");
}

TEST_F(FileSystems, TheStatusNamesThem) {
  FileSystemKind kind;
  ASSERT_OK(open(kExt4, false, &kind));
  EXPECT_EQ(kind.name, "ext4");
  EXPECT_FALSE(kind.network || kind.fuse || kind.memory);
  ASSERT_OK(open(kFuse, false, &kind));
  EXPECT_TRUE(kind.fuse);
  ASSERT_OK(open(0xABCD1234, false, &kind));
  EXPECT_EQ(kind.name, "0xabcd1234");
  EXPECT_FALSE(kind.network);
  // Some machines extend the sign of SMB's number.
  EXPECT_EQ(file_system_kind(0xFFFFFFFFFE534D42).name, "smb2");
}

}  // namespace
}  // namespace strongroom::store::testing
