// Key protector 'tpm' as an instance of the conformance suite: a simulated TPM, each of whose calls can be cut.
#include "key_protector_conformance.h"
#include "store/operations/root_recovery.h"

namespace strongroom::store::testing {
namespace {

class TpmDevice final : public ProtectorDevice {
 public:
  [[nodiscard]] EngineOptions options() const override { return tpm_options(); }
  void enter(World& world) override { world.chip = chip_; }
  [[nodiscard]] Memory memory() const override { return chip_->clone(); }
  void remember(const Memory& memory) override {
    chip_ = std::static_pointer_cast<const SimulatedChip>(memory)->clone();
  }
  void restart() override { chip_->reset(); }

  [[nodiscard]] std::vector<std::string> calls() const override { return chip_->call_log(); }
  [[nodiscard]] bool changes_something(const std::string& call) const override {
    return SimulatedChip::changes_something(call);
  }
  void fail_at(World& /*world*/, std::uint64_t number, When when, Failure failure) override {
    if (failure == Failure::kCut) {
      chip_->power_cut_at(number, when);
    } else {
      chip_->fail_at(number, when, failure == Failure::kForGood);
    }
  }
  void cut_off(World& /*world*/) override { chip_->unplug(true); }
  void heal(World& /*world*/) override { chip_->clear_faults(); }

  void lose(World& /*world*/) override { chip_ = std::make_shared<SimulatedChip>(); }
  [[nodiscard]] std::vector<Reason> reasons_of_loss() const override {
    return {Reason::kTpmReplaced, Reason::kTpmRefused, Reason::kWitnessMissing};
  }
  [[nodiscard]] Status repair(Engine& engine) override {
    return RootRecovery(engine).reseal(password_proof("backup"));
  }
  [[nodiscard]] bool is_empty(const World& /*world*/) const override { return chip_->indices().empty(); }
  [[nodiscard]] std::size_t writes(const World& /*world*/) const override {
    return chip_->count("increment") + chip_->count("extend") + chip_->count("define") +
           chip_->count("undefine");
  }
  // The anchor of the start and that of the close: the counter and the extend index.
  [[nodiscard]] std::size_t writes_per_start_max() const override { return 4; }
  [[nodiscard]] bool remembers_the_vault() const override { return true; }

 private:
  std::shared_ptr<SimulatedChip> chip_ = std::make_shared<SimulatedChip>();
};

INSTANTIATE_TEST_SUITE_P(Tpm, KeyProtectorConformance, ::testing::Values(instance_of<TpmDevice>));

}  // namespace
}  // namespace strongroom::store::testing
