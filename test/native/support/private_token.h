// A SoftHSM2 token directory of its own for as long as this object lives; SOFTHSM2_CONF of the test process checkpoints at it.
// Other tokens on the machine are never reached.
#pragma once

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "faulty_module.h"
#include "private_keyring.h"
#include "roots/pkcs11/token.h"

namespace strongroom::roots::testing {

using store::testing::EnvironmentVariable;
using store::testing::run;

inline SecretBytes pin(std::string_view text) { return SecretBytes(as_bytes(text)); }

inline std::string softhsm_module() {
  for (const char* path : {"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so",
                           "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
                           "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so"}) {
    if (std::filesystem::exists(path)) return path;
  }
  std::fprintf(stderr, "SoftHSM2 is missing: apt-get install softhsm2 (or run ./scripts/setup)\n");
  std::abort();
}

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "strongroom-token-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) std::abort();
    path_ = pattern;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// The module that fails on demand, in front of a copy of SoftHSM2: the copy is a library of its own in this process, with
// a C_Initialize of its own.
class FaultyModule {
 public:
  static std::string path() { return STRONGROOM_FAULTY_MODULE; }
  FaultyModule() {
    static const TemporaryDirectory directory;
    const std::filesystem::path copy = directory.path() / "libcopy.so";
    if (!std::filesystem::exists(copy)) std::filesystem::copy_file(softhsm_module(), copy);
    target_.emplace("STRONGROOM_FAULTY_TARGET", copy.c_str());
    void* const library = dlopen(path().c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) std::abort();
    control_ = reinterpret_cast<const FaultyControl* (*)()>(dlsym(library, "strongroom_faulty_control"))();
    control_->reset();
  }
  ~FaultyModule() { control_->reset(); }
  FaultyModule(const FaultyModule&) = delete;
  FaultyModule& operator=(const FaultyModule&) = delete;
  const FaultyControl* operator->() const { return control_; }

 private:
  std::optional<EnvironmentVariable> target_;
  const FaultyControl* control_ = nullptr;
};

// A volume with too little room for an object, for as long as this object lives. SoftHSM2 answers CKR_OK, shows the object
// until it is initialised again, and has stored a part of it only.
class FullVolume {
 public:
  FullVolume() {
    before_ = signal(SIGXFSZ, SIG_IGN);
    if (getrlimit(RLIMIT_FSIZE, &limit_) != 0) std::abort();
    const rlimit small{kTokenFileBytes, limit_.rlim_max};
    if (setrlimit(RLIMIT_FSIZE, &small) != 0) std::abort();
  }
  ~FullVolume() {
    setrlimit(RLIMIT_FSIZE, &limit_);
    signal(SIGXFSZ, before_);
  }
  FullVolume(const FullVolume&) = delete;
  FullVolume& operator=(const FullVolume&) = delete;

 private:
  static constexpr rlim_t kTokenFileBytes = 400;  // each login writes it: 320 bytes
  rlimit limit_{};
  void (*before_)(int) = nullptr;
};

class PrivateToken {
 public:
  static constexpr const char* kPin = "1234-user";
  static constexpr const char* kSoPin = "12345678-so";

  explicit PrivateToken(std::string module_path = softhsm_module()) : module(std::move(module_path)) {
    std::filesystem::create_directory(tokens());
    std::ofstream(directory_.path() / "softhsm2.conf") << "directories.tokendir = " << tokens().string()
                                                       << "\nobjectstore.backend = file\nlog.level = ERROR\n";
    variable_.emplace("SOFTHSM2_CONF", (directory_.path() / "softhsm2.conf").c_str());
    // A module that was initialised for an earlier directory looks at this one from now on; one that hung in an earlier
    // test may be on its way back.
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!Token::list(module).ok() && std::chrono::steady_clock::now() < deadline)
      std::this_thread::yield();
  }

  [[nodiscard]] std::vector<TokenInfo> list() const {
    auto tokens = Token::list(module);
    EXPECT_TRUE(tokens.ok()) << tokens.error().detail;
    return tokens.ok() ? *tokens : std::vector<TokenInfo>();
  }
  [[nodiscard]] std::uint64_t free_slot() const {
    for (const TokenInfo& token : list()) {
      if (!token.initialised) return token.slot_id;
    }
    ADD_FAILURE() << "no free slot";
    return 0;
  }
  void make(const std::string& label) const {
    const auto made = Token::initialise(module, free_slot(), label, "", pin(kSoPin), pin(kPin));
    ASSERT_TRUE(made.ok()) << made.error().detail;
    ASSERT_EQ(made->label, label);
  }
  // By another process.
  static bool make_elsewhere(const std::string& label, const std::string& user_pin = kPin) {
    return run({"softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", kSoPin, "--pin",
                user_pin}) == 0;
  }
  bool tool(std::vector<std::string> words, const std::string& label,
            const std::string& user_pin = kPin) const {
    std::vector<std::string> all = {"pkcs11-tool", "--module", softhsm_module(), "--token-label",
                                    label,         "--login",  "--pin",          user_pin};
    all.insert(all.end(), words.begin(), words.end());
    return run(all) == 0;
  }

  [[nodiscard]] TokenLocator locator(const std::string& label) const {
    TokenLocator locator;
    locator.module = module;
    locator.label = label;
    locator.object = "kek";
    return locator;
  }
  [[nodiscard]] Result<std::unique_ptr<Token>> open(const std::string& label,
                                                    std::string_view user_pin = kPin,
                                                    std::chrono::milliseconds limit = kTokenTimeLimit) const {
    return Token::open(locator(label), pin(user_pin), limit);
  }
  [[nodiscard]] std::filesystem::path tokens() const { return directory_.path() / "tokens"; }

  // The files of SoftHSM2's objects.
  [[nodiscard]] std::set<std::filesystem::path> object_files() const {
    std::set<std::filesystem::path> found;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(tokens())) {
      const std::filesystem::path& file = entry.path();
      if (file.extension() == ".object" && file.filename() != "token.object") found.insert(file);
    }
    return found;
  }
  // As if the module had kept in its memory what it made since `before`, and lost it.
  void lose_what_came_after(const std::set<std::filesystem::path>& before) const {
    for (const std::filesystem::path& file : object_files()) {
      if (before.count(file) == 0) std::filesystem::remove(file);
    }
  }

  std::string module;

 private:
  TemporaryDirectory directory_;
  std::optional<EnvironmentVariable> variable_;
};

}  // namespace strongroom::roots::testing
