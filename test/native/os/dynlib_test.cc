#include "os/dynlib.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdlib>
#include <filesystem>
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

TEST(DynamicLibrary, AtAPath) {
  const std::filesystem::path directory = std::filesystem::temp_directory_path();
  std::string name = (directory / "strongroom-dynlib-XXXXXX").string();
  ASSERT_NE(mkdtemp(name.data()), nullptr);
  Dl_info libm{};
  ASSERT_NE(dladdr(dlsym(dlopen("libm.so.6", RTLD_NOW | RTLD_LOCAL), "cos"), &libm), 0);
  const std::string link = name + "/link.so";
  std::filesystem::create_symlink(libm.dli_fname, link);
  const auto real = real_path(link);
  ASSERT_TRUE(real.ok()) << real.error().detail;
  EXPECT_EQ(*real, std::filesystem::canonical(libm.dli_fname).string());
  Cosine* cosine = nullptr;
  ASSERT_TRUE(load_functions_at("a test", link, {{"cos", cosine}}).ok());
  EXPECT_EQ(cosine(0.0), 1.0);
  Cosine* other = nullptr;
  EXPECT_TRUE(
      load_functions_at("a test", link, {{"strongroom_not_there", other}}).is(Reason::kLibraryMissing));
  EXPECT_TRUE(load_functions_at("a test", name + "/no.so", {{"cos", other}}).is(Reason::kLibraryMissing));
  EXPECT_TRUE(load_functions_at("a test", "libm.so.6", {{"cos", other}}).is(Reason::kInvalidArgument))
      << "nothing is searched for";
  EXPECT_TRUE(real_path(name + "/no.so").is(Reason::kNotFound));
  EXPECT_TRUE(real_path(link + "/x").is(Reason::kNotFound));
  EXPECT_TRUE(real_path("libm.so.6").is(Reason::kInvalidArgument));
  EXPECT_TRUE(real_path("").is(Reason::kInvalidArgument));
  std::filesystem::remove_all(name);
}

}  // namespace
}  // namespace strongroom::os
