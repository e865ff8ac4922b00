// What the tests that cut a store with a TPM share: the next start is clean, and the files that stood before an opening
// which ended well are refused ever after.
#pragma once

#include "tpm_store_fixture.h"

namespace strongroom::store::testing {

inline std::size_t rollbacks_tried = 0;

// The files that stood before an opening which ended well are refused.
inline bool refuses(Tally& tally, World& world, const Files& files, const std::string& where) {
  const Files now = files_of(*world.disk);
  put_files(*world.disk, files);
  Status status;
  {
    Session session(world);
    status = session.open();
  }
  put_files(*world.disk, now);
  ++rollbacks_tried;
  const bool as_attack = status.is(Reason::kVaultRolledBack) || status.is(Reason::kVaultTampered) ||
                         status.is(Reason::kPartialRestore);
  if (!as_attack) fault(tally, &Tally::lost, where, "the files of the cut came back: " + describe(status));
  return as_attack;
}

inline bool check_tpm(Tally& tally, World& world, const std::string& where) {
  const Files cut = files_of(*world.disk);
  if (!check_opens(tally, world, where)) return false;
  return cut.empty() || !cut.contains(kVaultPath) || refuses(tally, world, cut, where);
}

class TpmCrash : public ::testing::Test {
 protected:
  void SetUp() override { rollbacks_tried = 0; }
  static void finish(const std::string& name, const Tally& tally, const char* what = "tpm crash") {
    tally.print(what, name + ": rollbacks tried=" + std::to_string(rollbacks_tried));
    EXPECT_EQ(tally.false_alarms, 0U);
    EXPECT_EQ(tally.lost, 0U);
    EXPECT_EQ(tally.refused, 0U);
    EXPECT_GT(tally.states, tally.cuts / 2);
    rollbacks_tried = 0;
  }
};

}  // namespace strongroom::store::testing
