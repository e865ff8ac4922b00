// A store in a real swtpm whose storage key is removed: the root comes back with the key, and nothing is called cleared that
// is not.
#include <fstream>

#include "private_tpm.h"
#include "tpm_store_fixture.h"

namespace strongroom::store::testing {
namespace {

using roots::testing::PrivateTpm;

class TpmParent : public ::testing::Test {
 protected:
  TpmParent() {
    world.options = [this] {
      EngineOptions options = tpm_options();
      options.tpm.tcti = device.tcti();
      return options;
    };
  }

  // With `unique` the template is one that nobody else can know.
  void make_key(const std::string& unique) {
    const std::string key = device.directory() + "/key";
    std::vector<std::string> words = {
        "createprimary",
        "-C",
        "o",
        "-G",
        "rsa2048:aes128cfb",
        "-c",
        key,
        "-a",
        "restricted|decrypt|fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda"};
    if (!unique.empty()) {
      const std::string file = device.directory() + "/unique";
      std::ofstream(file) << std::string{'\0', '\1'} << unique;  // TPM2B_PUBLIC_KEY_RSA, as it lies in memory
      words.insert(words.end(), {"-u", file});
    }
    ASSERT_TRUE(device.tool(words));
    ASSERT_TRUE(device.tool({"evictcontrol", "-C", "o", "-c", key, "0x81000001"}));
    ASSERT_TRUE(device.tool({"flushcontext", "-t"}));
  }
  void remove_key() { ASSERT_TRUE(device.tool({"evictcontrol", "-C", "o", "-c", "0x81000001"})); }

  PrivateTpm device;
  World world;
};

TEST_F(TpmParent, ThatWasRemovedIsMadeAgain) {
  make_key("");
  small_tpm_store(world);
  remove_key();
  ASSERT_OK(open_and_close(world));
}

TEST_F(TpmParent, OfAnUnknownTemplateIsMissingAndNotCleared) {
  const std::string unique(256, 'u');
  make_key(unique);
  small_tpm_store(world);
  remove_key();
  EXPECT_REASON(open_and_close(world), Reason::kTpmKeyMissing);
  // The remedy.
  make_key(unique);
  ASSERT_OK(open_and_close(world));
  // The other remedy. The TPM still confirms the state, so nothing is to be accepted anew.
  remove_key();
  EXPECT_REASON(open_and_close(world), Reason::kTpmKeyMissing);
  ASSERT_OK(reseal_tpm(world, password_proof("backup")));
  ASSERT_OK(open_and_close(world));
}

TEST_F(TpmParent, OfAClearedTpmIsCleared) {
  make_key("");
  small_tpm_store(world);
  ASSERT_TRUE(device.tool({"clear"}));
  EXPECT_REASON(open_and_close(world), Reason::kTpmCleared);
}

}  // namespace
}  // namespace strongroom::store::testing
