// A directory of the real file system that goes away with the test.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <string>

#include "os/os.h"

namespace strongroom::os::testing {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "strongroom-os-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) std::abort();
    path_ = pattern;
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline std::shared_ptr<Directory> must_open(FileSystem& files, const std::string& path,
                                            DirectoryMode mode = DirectoryMode::kExisting) {
  auto directory = files.open_directory(path, mode);
  if (!directory.ok()) {
    ADD_FAILURE() << directory.error().detail;
    std::abort();
  }
  return *directory;
}

}  // namespace strongroom::os::testing
