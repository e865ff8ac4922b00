// NV counters on a real swtpm: made, moved, removed, and never somebody else's.
#include "roots/tpm/policy.h"
#include "tpm_fixture.h"

namespace strongroom::roots {
namespace {

struct TpmCounterTest : TpmTest {
  std::unique_ptr<Tpm> tpm = open();
  const TpmName name = counter_name(kIndex, kLabel);

  [[nodiscard]] std::vector<NvIndexInfo> found(std::uint32_t count = 16) const {
    const auto all = tpm->find_indices(kIndex, count);
    EXPECT_OK(all);
    return all.ok() ? *all : std::vector<NvIndexInfo>{};
  }
};

TEST_F(TpmCounterTest, IsMadeMovedReadAndRemoved) {
  EXPECT_TRUE(found().empty());
  EXPECT_REASON(tpm->read_counter(kIndex, name, secret), Reason::kWitnessMissing);
  EXPECT_REASON(tpm->increment_counter(kIndex, name, secret), Reason::kWitnessMissing);
  EXPECT_REASON(tpm->undefine(kIndex), Reason::kWitnessMissing);

  EXPECT_OK(tpm->define(NvKind::kCounter, kIndex, kLabel, secret));
  EXPECT_REASON(tpm->read_counter(kIndex, name, secret), Reason::kTpmRefused);  // not yet written
  ASSERT_EQ(found().size(), 1u);
  EXPECT_EQ(found()[0].kind, NvKind::kCounter);
  EXPECT_FALSE(found()[0].written);
  EXPECT_EQ(found()[0].label, kLabel);

  EXPECT_OK(tpm->increment_counter(kIndex, name, secret));
  const auto first = tpm->read_counter(kIndex, name, secret);
  ASSERT_TRUE(first.ok()) << why(first);
  EXPECT_TRUE(found()[0].written);
  tool({"nvreadpublic", "0x1800042"});
  for (int i = 1; i <= 5; ++i) {
    EXPECT_OK(tpm->increment_counter(kIndex, name, secret));
    EXPECT_EQ(*tpm->read_counter(kIndex, name, secret), *first + i);
  }
  // As the tools see it, and on another connection.
  tool({"nvread", "0x1800042", "-C", "o", "-o", file("value")});
  const auto bytes = counter_bytes(*first + 5);
  EXPECT_EQ(read("value"), Bytes(bytes.begin(), bytes.end()));
  EXPECT_EQ(*open()->read_counter(kIndex, name, secret), *first + 5);

  EXPECT_OK(tpm->undefine(kIndex));
  EXPECT_TRUE(found().empty());
  EXPECT_REASON(tpm->read_counter(kIndex, name, secret), Reason::kWitnessMissing);
  EXPECT_EQ(make_counter(*tpm).at_most, *first + 6);
}

TEST_F(TpmCounterTest, NameIsThatOfTheTpm) {
  (void)make_counter(*tpm);
  const std::string text = device.output({"nvreadpublic", "0x1800042"});
  EXPECT_NE(text.find("name: " + to_hex(name)), std::string::npos) << text;
}

TEST_F(TpmCounterTest, RemovedAndMadeAnewByAnotherProgram) {
  const CounterBound bound = make_counter(*tpm);
  EXPECT_EQ(*tpm->read_counter(kIndex, name, secret), bound.at_most);
  {
    auto other = open();
    EXPECT_OK(other->undefine(kIndex));
    EXPECT_REASON(tpm->read_counter(kIndex, name, secret), Reason::kWitnessMissing);
    EXPECT_REASON(tpm->increment_counter(kIndex, name, secret), Reason::kWitnessMissing);
    EXPECT_OK(other->define(NvKind::kCounter, kIndex, kLabel, Bytes(32, 1)));
    EXPECT_REASON(tpm->read_counter(kIndex, name, secret), Reason::kTpmRefused);
    EXPECT_REASON(tpm->increment_counter(kIndex, name, secret), Reason::kWitnessReplaced);
    EXPECT_OK(other->undefine(kIndex));
    EXPECT_OK(other->define(NvKind::kCounter, kIndex, Digest{}, secret));
  }
  EXPECT_REASON(tpm->read_counter(kIndex, name, secret), Reason::kWitnessReplaced);
  EXPECT_REASON(tpm->increment_counter(kIndex, name, secret), Reason::kWitnessReplaced);
  EXPECT_OK(tpm->increment_counter(kIndex, counter_name(kIndex, Digest{}), secret));
}

TEST_F(TpmCounterTest, AnotherSecretIsToldAndLocksNothing) {
  const CounterBound bound = make_counter(*tpm);
  for (int i = 0; i < 5; ++i) {
    EXPECT_REASON(tpm->increment_counter(kIndex, name, Bytes(32, 1)), Reason::kWitnessReplaced);
    EXPECT_REASON(tpm->increment_counter(kIndex, name, {}), Reason::kWitnessReplaced);
  }
  EXPECT_EQ(*tpm->read_counter(kIndex, name, secret), bound.at_most);
  EXPECT_OK(tpm->increment_counter(kIndex, name, secret));
  expect_no_failures_counted();
}

TEST_F(TpmCounterTest, ForeignIndicesAreNeverTouched) {
  const std::string text(8, 'f');
  write("text", as_bytes(text));
  struct Foreign {
    std::uint32_t index;
    std::string attributes;
  };
  const std::vector<Foreign> all = {{kIndex, "ownerread|ownerwrite|authread|authwrite|no_da"},
                                    {kIndex + 1, "nt=counter|ownerread|ownerwrite|authread|authwrite|no_da"},
                                    {kIndex + 2, "nt=counter|ownerread|authread|authwrite"},
                                    {kIndex + 3, "nt=counter|orderly|ownerread|authread|authwrite|no_da"}};
  std::vector<std::string> before;
  for (const Foreign& foreign : all) {
    tool({"nvdefine", std::to_string(foreign.index), "-C", "o", "-s", "8", "-a", foreign.attributes});
    const bool counter = foreign.attributes.starts_with("nt");
    if (counter) tool({"nvincrement", std::to_string(foreign.index)});
    if (!counter) tool({"nvwrite", std::to_string(foreign.index), "-i", file("text")});
    before.push_back(device.output({"nvread", std::to_string(foreign.index)}) +
                     device.output({"nvreadpublic", std::to_string(foreign.index)}));
  }
  const auto infos = found();
  ASSERT_EQ(infos.size(), all.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    SCOPED_TRACE(all[i].attributes);
    const std::uint32_t index = all[i].index;
    const TpmName wanted = counter_name(index, kLabel);
    EXPECT_EQ(infos[i].index, index);
    EXPECT_EQ(infos[i].kind, NvKind::kForeign);
    EXPECT_REASON(tpm->define(NvKind::kCounter, index, kLabel, secret), Reason::kTpmRefused);
    EXPECT_REASON(tpm->undefine(index), Reason::kTpmRefused);
    EXPECT_REASON(tpm->read_counter(index, wanted, secret), Reason::kWitnessReplaced);
    EXPECT_REASON(tpm->increment_counter(index, wanted, {}), Reason::kWitnessReplaced);
    EXPECT_EQ(device.output({"nvread", std::to_string(index)}) +
                  device.output({"nvreadpublic", std::to_string(index)}),
              before[i]);
  }
}

TEST_F(TpmCounterTest, ATakenIndexIsTold) {
  const CounterBound bound = make_counter(*tpm);
  const Status taken = tpm->define(NvKind::kCounter, kIndex, kLabel, secret);
  EXPECT_REASON(taken, Reason::kTpmRefused);
  EXPECT_NE(why(taken).find("the index is taken"), std::string::npos) << why(taken);
  EXPECT_EQ(*tpm->read_counter(kIndex, name, secret), bound.at_most);
}

TEST_F(TpmCounterTest, FullNvMemoryIsTold) {
  Status status;
  std::uint32_t made = 0;
  while (made < 4096 && status.ok()) {
    status = tpm->define(NvKind::kCounter, kIndex + made, kLabel, secret);
    if (status.ok()) ++made;
  }
  EXPECT_REASON(status, Reason::kTpmRefused);
  EXPECT_NE(why(status).find("NV memory is full"), std::string::npos) << why(status);
  ASSERT_GT(made, 8u);
  EXPECT_EQ(found(4096).size(), made);
  EXPECT_EQ(found(5).size(), 5u);
  EXPECT_OK(tpm->increment_counter(kIndex, name, secret));
  EXPECT_OK(tpm->undefine(kIndex + 1));
  EXPECT_OK(tpm->define(NvKind::kCounter, kIndex + 1, kLabel, secret));
}

TEST_F(TpmCounterTest, OnlyTheOwnerRangeIsTaken) {
  EXPECT_REASON(tpm->define(NvKind::kCounter, 0x01C00002, kLabel, secret), Reason::kInvalidArgument);
  EXPECT_REASON(tpm->define(NvKind::kCounter, 0x81000001, kLabel, secret), Reason::kInvalidArgument);
  EXPECT_REASON(tpm->define(NvKind::kCounter, kIndex, kLabel, Bytes(33)), Reason::kInvalidArgument);
  EXPECT_REASON(tpm->find_indices(kNvIndexFirst - 1, 4), Reason::kInvalidArgument);
  EXPECT_REASON(tpm->find_indices(kNvIndexLast, 2), Reason::kInvalidArgument);
  EXPECT_REASON(tpm->find_indices(kIndex, 0), Reason::kInvalidArgument);
  EXPECT_OK(tpm->define(NvKind::kCounter, kNvIndexLast, kLabel, secret));
  EXPECT_EQ(tpm->find_indices(kNvIndexLast, 1)->size(), 1u);
  EXPECT_OK(tpm->define(NvKind::kCounter, kNvIndexFirst, kLabel, secret));
  EXPECT_EQ(tpm->find_indices(kNvIndexFirst, kNvIndexLast - kNvIndexFirst + 1)->size(), 2u);
}

TEST_F(TpmCounterTest, UncleanEndsOfTheTpmLockNothing) {
  SealPolicy policy = full_policy(*tpm);
  policy.bound->at_most += 100;
  const SealedObject object = seal(*tpm, policy);
  std::uint64_t expected = *tpm->read_counter(kIndex, name, secret);
  for (int death = 1; death <= 4; ++death) {
    SCOPED_TRACE(death);
    EXPECT_REASON(tpm->unseal(object, kWrongPin, policy), Reason::kPinWrong);
    EXPECT_OK(tpm->increment_counter(kIndex, name, secret));
    ++expected;
    device.restart();
    EXPECT_EQ(*tpm->read_counter(kIndex, name, secret), expected);
    expect_root(tpm->unseal(object, kPin, policy));
  }
  EXPECT_OK(tpm->increment_counter(kIndex, name, secret));
}

}  // namespace
}  // namespace strongroom::roots
