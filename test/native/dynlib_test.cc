#include "os/dynlib.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <string>

namespace strongroom::os {
namespace {

using Cosine = double(double);

TEST(DynamicLibrary, FillsTheTable) {
  Cosine* cosine = nullptr;
  const Status status =
      load_functions("a test", "libc6", {"libm-not-there.so.99", "libm.so.6"}, {{"cos", cosine}});
  ASSERT_TRUE(status.ok()) << status.error().detail;
  EXPECT_EQ(cosine(0.0), 1.0);
}

TEST(DynamicLibrary, MissingLibrarySaysWhatToInstall) {
  Cosine* cosine = nullptr;
  const Status status = load_functions("the test", "libnot-there-0", {"libnot-there.so.0", "libnot-there.so"},
                                       {{"cos", cosine}});
  ASSERT_TRUE(status.is(Reason::kLibraryMissing));
  for (const char* part :
       {"the test", "apt-get install libnot-there-0", "libnot-there.so.0:", "libnot-there.so:"}) {
    EXPECT_NE(status.error().detail.find(part), std::string::npos)
        << part << " in: " << status.error().detail;
  }
  EXPECT_EQ(cosine, nullptr);
}

TEST(DynamicLibrary, MissingFunctionIsAMissingLibrary) {
  Cosine* cosine = nullptr;
  Cosine* other = nullptr;
  const Status status =
      load_functions("the test", "libc6", {"libm.so.6"}, {{"cos", cosine}, {"strongroom_not_there", other}});
  ASSERT_TRUE(status.is(Reason::kLibraryMissing));
  EXPECT_NE(status.error().detail.find("strongroom_not_there"), std::string::npos) << status.error().detail;
  EXPECT_EQ(other, nullptr);
}

}  // namespace
}  // namespace strongroom::os
