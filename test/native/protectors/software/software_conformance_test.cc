// Key protector 'software' as an instance of the conformance suite: its root is in a SecretStore on the simulated disk.
#include "key_protector_conformance.h"
#include "store/operations/root_recovery.h"

namespace strongroom::store::testing {
namespace {

// The directory of the SecretStore does not answer.
class WithoutSecrets final : public os::FileSystem {
 public:
  explicit WithoutSecrets(os::FileSystem& inner) : inner_(inner) {}
  Result<std::shared_ptr<os::Directory>> open_directory(const std::string& path,
                                                        os::DirectoryMode mode) override {
    if (path.starts_with(kSecrets)) return Status(Reason::kIoError, path + ": Input/output error", EIO);
    return inner_.open_directory(path, mode);
  }
  Result<std::unique_ptr<os::FileLock>> lock_on_host(std::string_view key) override {
    return inner_.lock_on_host(key);
  }

 private:
  os::FileSystem& inner_;
};

class SoftwareDevice final : public ProtectorDevice {
 public:
  [[nodiscard]] EngineOptions options() const override { return store_options("backup"); }

  void cut_off(World& world) override {
    without_ = std::make_unique<WithoutSecrets>(*world.disk);
    world.files = without_.get();
  }
  void heal(World& world) override { world.files = nullptr; }
  void lose(World& world) override { world.disk->remove(kRootKeyPath); }
  [[nodiscard]] std::vector<Reason> reasons_of_loss() const override { return {Reason::kRootUnavailable}; }
  [[nodiscard]] Status repair(Engine& engine) override {
    return RootRecovery(engine).recover(password_proof("backup"));
  }
  [[nodiscard]] bool is_empty(const World& world) const override { return files_of(*world.disk).empty(); }
  [[nodiscard]] std::size_t writes(const World& world) const override {
    const std::vector<std::string> calls = world.disk->call_log();
    return static_cast<std::size_t>(std::count_if(calls.begin(), calls.end(), [](const std::string& call) {
      return call.find("write /srv/secrets/acme.RootKey") != std::string::npos;
    }));
  }
  [[nodiscard]] std::size_t writes_per_start_max() const override { return 0; }

 private:
  std::unique_ptr<WithoutSecrets> without_;
};

INSTANTIATE_TEST_SUITE_P(Software, KeyProtectorConformance, ::testing::Values(instance_of<SoftwareDevice>));

}  // namespace
}  // namespace strongroom::store::testing
