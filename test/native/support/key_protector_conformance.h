// The conformance suite of the key protectors. A kind brings a device: what holds its root beside the files of the store.
//
//   INSTANTIATE_TEST_SUITE_P(Software, KeyProtectorConformance, ::testing::Values(instance_of<SoftwareDevice>));
//
// The suite drives an engine on the simulated disk. Every call of disk and device is numbered, so that it can be cut, or
// fail, at each of them.
#pragma once

#include "tpm_store_fixture.h"

namespace strongroom::store::testing {

class ProtectorDevice {
 public:
  using When = SimulatedChip::When;
  using Memory = std::shared_ptr<const void>;
  // kCut: the power of the machine, and so of the disk, ends with the call.
  enum class Failure : std::uint8_t { kOnce, kForGood, kCut };

  ProtectorDevice() = default;
  ProtectorDevice(const ProtectorDevice&) = delete;
  ProtectorDevice& operator=(const ProtectorDevice&) = delete;
  virtual ~ProtectorDevice() = default;

  // Of an opening; with the backup password "backup".
  [[nodiscard]] virtual EngineOptions options() const = 0;
  // Before a store of this world is opened.
  virtual void enter(World& /*world*/) {}
  // All that the device has stored, and the device put back to it. A restart loses the rest.
  [[nodiscard]] virtual Memory memory() const { return nullptr; }
  virtual void remember(const Memory& /*memory*/) {}
  virtual void restart() {}

  // The calls since heal(), which takes every fault back.
  [[nodiscard]] virtual std::vector<std::string> calls() const { return {}; }
  [[nodiscard]] virtual bool changes_something(const std::string& /*call*/) const { return false; }
  virtual void fail_at(World& /*world*/, std::uint64_t /*number*/, When /*when*/, Failure /*failure*/) {}
  virtual void cut_off(World& world) = 0;  // until heal()
  virtual void heal(World& world) = 0;

  // The end of the root, with what can hold the next one in its place.
  virtual void lose(World& world) = 0;
  [[nodiscard]] virtual std::vector<Reason> reasons_of_loss() const = 0;
  // After the steps to the authority: gives the store a new root, and leaves it open.
  [[nodiscard]] virtual Status repair(Engine& engine) = 0;
  // Nothing of a store is left in it.
  [[nodiscard]] virtual bool is_empty(const World& world) const = 0;
  [[nodiscard]] virtual std::size_t writes(const World& world) const = 0;  // in its life
  // By a start and a close of a store that nobody wrote to.
  [[nodiscard]] virtual std::size_t writes_per_start_max() const = 0;
  // Whether files and SecretStore that were put back together are refused.
  [[nodiscard]] virtual bool remembers_the_vault() const { return false; }
  // One of so many calls is tried: a real device is slow.
  [[nodiscard]] virtual std::size_t step() const { return 1; }
};

struct ProtectorInstance {
  std::unique_ptr<ProtectorDevice> (*make)();
};
template <typename Device>
inline constexpr ProtectorInstance instance_of{
    [] { return std::unique_ptr<ProtectorDevice>(std::make_unique<Device>()); }};

class KeyProtectorConformance : public ::testing::TestWithParam<ProtectorInstance> {
 protected:
  using Device = ProtectorDevice;
  using When = Device::When;
  using Failure = Device::Failure;

  // Where a scenario begins, again and again.
  struct Origin {
    std::shared_ptr<const Image> image;
    Device::Memory memory;
  };
  struct Scenario {
    std::string name;
    Origin from;
    Act act;
    Check check;
  };

  void SetUp() override;

  [[nodiscard]] std::unique_ptr<World> new_world();
  [[nodiscard]] Origin origin(World& world) {
    return {std::make_shared<const Image>(world), device_->memory()};
  }
  [[nodiscard]] std::unique_ptr<World> start(const Origin& from);
  // A cleanly closed store with a few records.
  [[nodiscard]] Origin small_store();
  [[nodiscard]] Origin lost_store();
  [[nodiscard]] std::vector<Scenario> scenarios();

  [[nodiscard]] Status repair(World& world);
  [[nodiscard]] bool is_loss(const Status& status) const;
  bool check_refuses_older(Tally& tally, World& world, const std::string& where);
  bool check_store(Tally& tally, World& world, const std::string& where);
  bool check_rotated(Tally& tally, World& world, const std::string& where);
  bool check_repaired(Tally& tally, World& world, const std::string& where);
  bool check_removed(Tally& tally, World& world, const std::string& where);

  [[nodiscard]] Tally cut_everywhere(const Scenario& scenario);
  [[nodiscard]] Tally fail_everywhere(const Scenario& scenario);
  void check_states(Tally& tally, const Scenario& scenario, World& world, const std::string& where);
  static void finish(const char* what, const Scenario& scenario, const Tally& tally);

  std::unique_ptr<ProtectorDevice> device_;
  Device::Memory blank_;
};

}  // namespace strongroom::store::testing
