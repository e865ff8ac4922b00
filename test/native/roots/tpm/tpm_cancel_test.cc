// Cancellation of a task that talks to a TPM, at each of its commands: the task ends, and nothing stays loaded. Here there is
// no resource manager that would flush it.
#include "base/cancellation.h"
#include "tpm_fixture.h"

namespace strongroom::roots {
namespace {

using testing::Relay;

// Opens and seals, which are many commands.
Status use(const std::string& tcti, ByteView root) {
  SR_ASSIGN(const std::unique_ptr<Tpm> tpm, Tpm::open(tcti, {}, {}));
  SR_ASSIGN(const SealedObject object, tpm->seal(root, {}, {}));
  return tpm->unseal(object, {}, {}).status();
}

TEST_F(TpmTest, ACancelledTaskLeavesNothingLoaded) {
  Relay relay(device);
  ASSERT_OK(use(relay.tcti(), root));
  const std::size_t commands = relay.exchanges().size();
  ASSERT_GT(commands, 5U);
  expect_nothing_loaded();
  for (std::size_t last = 1; last <= commands; ++last) {
    SCOPED_TRACE(last);
    Cancellation cancellation;
    std::size_t seen = 0;
    relay.answer_by([&](const Relay::Exchange&) -> std::optional<Bytes> {
      if (++seen == last) cancellation.request();
      return std::nullopt;
    });
    {
      const CancellationScope scope(&cancellation);
      const Status used = use(relay.tcti(), root);
      EXPECT_TRUE(cancelled());
      // Of the last ones some flush, when all is done.
      EXPECT_TRUE(used.is(Reason::kTpmUnavailable) || (used.ok() && last > commands / 2)) << why(used);
    }
    relay.answer_by({});
    expect_nothing_loaded();
  }
  EXPECT_OK(use(relay.tcti(), root));
}

}  // namespace
}  // namespace strongroom::roots
