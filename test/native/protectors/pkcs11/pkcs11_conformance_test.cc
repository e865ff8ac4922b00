// Key protector 'pkcs11' as an instance of the conformance suite: a real SoftHSM2 behind the module that fails on demand.
#include "key_protector_conformance.h"
#include "private_token.h"
#include "store/operations/restoration.h"

namespace strongroom::store::testing {
namespace {

using roots::testing::FaultyModule;
using roots::testing::PrivateToken;

class TokenDevice final : public ProtectorDevice {
 public:
  TokenDevice() { token_.make("acme"); }

  [[nodiscard]] EngineOptions options() const override {
    EngineOptions options = store_options("backup");
    options.protector = ProtectorType::kPkcs11;
    options.pkcs11.locator = token_.locator("acme");
    options.pkcs11.pin = SecretBytes(as_bytes(PrivateToken::kPin));
    return options;
  }
  // The files of SoftHSM2.
  [[nodiscard]] Memory memory() const override {
    auto files = std::make_shared<Files>();
    for (const auto& entry : std::filesystem::recursive_directory_iterator(token_.tokens())) {
      if (!entry.is_regular_file()) continue;
      std::ifstream in(entry.path(), std::ios::binary);
      (*files)[entry.path().string()] = Bytes(std::istreambuf_iterator<char>(in), {});
    }
    return files;
  }
  void remember(const Memory& memory) override {
    faults_->reset();
    for (const auto& entry : std::filesystem::directory_iterator(token_.tokens()))
      std::filesystem::remove_all(entry.path());
    for (const auto& [path, content] : *std::static_pointer_cast<const Files>(memory)) {
      std::filesystem::create_directories(std::filesystem::path(path).parent_path());
      std::ofstream(path, std::ios::binary)
          .write(reinterpret_cast<const char*>(content.data()), static_cast<std::streamsize>(content.size()));
    }
    restart();
  }
  // The module looks at the files as they are now.
  void restart() override {
    EXPECT_OK(roots::Token::list(token_.module, roots::kTokenTimeLimit, "", roots::Listing::kAgain));
  }

  [[nodiscard]] std::vector<std::string> calls() const override {
    std::vector<const char*> names(faults_->log(nullptr, 0));
    faults_->log(names.data(), static_cast<unsigned>(names.size()));
    return {names.begin(), names.end()};
  }
  [[nodiscard]] bool changes_something(const std::string& call) const override {
    return call == "C_CreateObject" || call == "C_DestroyObject" || call == "C_GenerateKey";
  }
  void fail_at(World& world, std::uint64_t number, When when, Failure failure) override {
    roots::testing::CallFault fault{};
    fault.number = static_cast<unsigned>(number);
    fault.value = roots::testing::kDeviceError;
    fault.after = when == When::kAfter;
    fault.sticky = failure != Failure::kOnce;
    if (failure == Failure::kCut) {
      fault.met = [](void* disk) { static_cast<SimulatedDisk*>(disk)->cut_power_now(); };
      fault.argument = world.disk.get();
    }
    faults_->fail_call(fault);
  }
  void cut_off(World& /*world*/) override {
    faults_->power_by([](void*) { return false; }, nullptr, roots::testing::kDeviceError);
  }
  void heal(World& world) override {
    faults_->reset();
    // A process whose machine has no power calls no module.
    faults_->power_by([](void* disk) { return !static_cast<SimulatedDisk*>(disk)->power_is_cut(); },
                      world.disk.get(), roots::testing::kDeviceError);
  }

  void lose(World& /*world*/) override {
    const auto token = token_.open("acme");
    ASSERT_OK(token.status());
    for (const roots::Kek& kek : keks()) ASSERT_OK((*token)->destroy_kek("kek", kek));
  }
  [[nodiscard]] std::vector<Reason> reasons_of_loss() const override {
    return {Reason::kKekMissing, Reason::kRestoreRequired};
  }
  [[nodiscard]] Status repair(Engine& engine) override {
    SR_TRY(Restoration(engine).validate(password_proof("backup")));
    SR_TRY(Restoration(engine).restore(password_proof("backup")));
    return Restoration(engine).complete();
  }
  [[nodiscard]] bool is_empty(const World& /*world*/) const override { return token_.object_files().empty(); }
  [[nodiscard]] std::size_t writes(const World& /*world*/) const override {
    return faults_->calls("C_CreateObject") + faults_->calls("C_DestroyObject") +
           faults_->calls("C_GenerateKey");
  }
  // The trial of the start, its witness and that of the close: an object each, and an older one removed.
  [[nodiscard]] std::size_t writes_per_start_max() const override { return 8; }
  [[nodiscard]] bool remembers_the_vault() const override { return true; }
  [[nodiscard]] std::size_t step() const override { return long_campaign() ? 1 : 19; }

 private:
  [[nodiscard]] std::vector<roots::Kek> keks() const {
    const auto token = token_.open("acme");
    auto found = token.ok() ? (*token)->find_keks("kek") : token.status();
    EXPECT_TRUE(found.ok());
    return found.ok() ? *found : std::vector<roots::Kek>();
  }

  FaultyModule faults_;
  PrivateToken token_{FaultyModule::path()};
};

INSTANTIATE_TEST_SUITE_P(Pkcs11, KeyProtectorConformance, ::testing::Values(instance_of<TokenDevice>));

}  // namespace
}  // namespace strongroom::store::testing
