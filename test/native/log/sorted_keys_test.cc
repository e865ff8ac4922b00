// SortedKeys against std::set<std::string>.
#include "log/sorted_keys.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <numeric>
#include <random>
#include <set>
#include <string>

namespace strongroom::log {
namespace {

struct KeyOf {
  const std::vector<std::string>* keys;
  std::string_view operator()(std::uint32_t id) const { return (*keys)[id]; }
};
using Set = SortedKeys<KeyOf>;

std::vector<std::string> content_of(const Set& set, const std::vector<std::string>& keys) {
  std::vector<std::string> out;
  for (const std::uint32_t id : set) out.push_back(keys[id]);
  return out;
}

void expect_same(const Set& set, const std::vector<std::string>& keys, const std::set<std::string>& model) {
  ASSERT_EQ(set.size(), model.size());
  ASSERT_EQ(set.empty(), model.empty());
  ASSERT_EQ(content_of(set, keys), std::vector<std::string>(model.begin(), model.end()));
  auto backwards = set.end();
  for (auto expected = model.rbegin(); expected != model.rend(); ++expected)
    ASSERT_EQ(keys[*--backwards], *expected);
  ASSERT_TRUE(backwards == set.begin());
}

void expect_bounds(const Set& set, const std::vector<std::string>& keys, const std::set<std::string>& model,
                   const std::string& probe) {
  const auto same = [&](Set::Iterator got, std::set<std::string>::const_iterator expected) {
    if (expected == model.end()) return got == set.end();
    return got != set.end() && keys[*got] == *expected;
  };
  ASSERT_TRUE(same(set.lower_bound(probe), model.lower_bound(probe)));
  ASSERT_TRUE(same(set.upper_bound(probe), model.upper_bound(probe)));
  ASSERT_TRUE(same(set.find(probe), model.find(probe)));
}

// Keys that share prefixes, hold every byte value, end in zero bytes, and begin one another.
std::string random_key(std::mt19937& random, int shape) {
  const auto below = [&](std::size_t n) { return random() % n; };
  std::string key;
  switch (shape) {
    case 0:
      return "common/prefix/" + std::to_string(below(100000));
    case 1:
      for (std::size_t i = below(6); i > 0; --i) key.push_back(static_cast<char>(below(3)));
      key.append(below(24), '\0');
      return key;
    case 2:
      for (std::size_t i = below(12); i > 0; --i) key.push_back(static_cast<char>(below(256)));
      return key;
    default:
      return std::string(below(40), 'x') + std::string(below(3), '\xff') + std::to_string(below(50));
  }
}

TEST(SortedKeys, EmptyAndOne) {
  std::vector<std::string> keys = {""};
  Set set(KeyOf{&keys});
  EXPECT_TRUE(set.begin() == set.end());
  EXPECT_TRUE(set.lower_bound("a") == set.end());
  EXPECT_TRUE(set.find("") == set.end());
  EXPECT_FALSE(set.erase(""));
  set.build({});
  EXPECT_TRUE(set.empty());
  set.insert(0);
  EXPECT_EQ(*set.find(""), 0U);
  EXPECT_TRUE(set.upper_bound("") == set.end());
  EXPECT_TRUE(set.erase(""));
  EXPECT_TRUE(set.begin() == set.end());
}

TEST(SortedKeys, BytesCompareUnsignedAndShorterFirst) {
  const std::vector<std::string> keys = {"\x80", "\x7f", "a", std::string("a\0", 2), "", "ab", "\xff"};
  Set set(KeyOf{&keys});
  for (std::uint32_t id = 0; id < keys.size(); ++id) set.insert(id);
  const std::vector<std::uint32_t> expected = {4, 2, 3, 5, 1, 0, 6};
  EXPECT_EQ(std::vector<std::uint32_t>(set.begin(), set.end()), expected);
  set.build({0, 1, 2, 3, 4, 5, 6});
  EXPECT_EQ(std::vector<std::uint32_t>(set.begin(), set.end()), expected);
}

TEST(SortedKeys, RandomOperationsAgainstAModel) {
  for (std::uint32_t seed = 1; seed <= 24; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const int shape = static_cast<int>(seed % 4);
    std::vector<std::string> keys;
    keys.reserve(20000);
    Set set(KeyOf{&keys});
    std::set<std::string> model;
    for (int phase = 0; phase < 4; ++phase) {
      // Growing, then shrinking: blocks split, merge and vanish.
      for (int i = 0; i < 3000; ++i) {
        const std::string key = random_key(random, shape);
        const bool grow = random() % 10 < (phase % 2 == 0 ? 9U : 1U);
        if (grow && model.insert(key).second) {
          keys.push_back(key);
          set.insert(static_cast<std::uint32_t>(keys.size() - 1));
        } else if (!grow) {
          const auto near = model.lower_bound(key);
          const std::string victim = near != model.end() && random() % 4 != 0 ? *near : key;
          ASSERT_EQ(set.erase(victim), model.erase(victim) == 1);
        }
        expect_bounds(set, keys, model, random_key(random, shape));
        if (::testing::Test::HasFatalFailure()) return;
      }
      expect_same(set, keys, model);
      if (::testing::Test::HasFatalFailure()) return;
    }
    while (!model.empty()) {
      auto victim = model.lower_bound(random_key(random, shape));
      if (victim == model.end()) victim = model.begin();
      ASSERT_TRUE(set.erase(*victim));
      model.erase(victim);
    }
    expect_same(set, keys, model);
  }
}

TEST(SortedKeys, BuildAgreesWithTheModelAndGoesOn) {
  for (std::uint32_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    std::set<std::string> model;
    const std::size_t wanted = random() % 6000;
    for (std::size_t tries = 0; tries < wanted; ++tries)
      model.insert(random_key(random, static_cast<int>(seed % 5)));
    std::vector<std::string> keys(model.begin(), model.end());
    std::shuffle(keys.begin(), keys.end(), random);
    keys.reserve(keys.size() + 2000);
    // Some of the keys come first and in order, as those of a base do.
    const std::size_t sorted = keys.empty() || seed % 3 == 0 ? 0 : random() % (keys.size() + 1);
    std::sort(keys.begin(), keys.begin() + static_cast<std::ptrdiff_t>(sorted));
    std::vector<std::uint32_t> ids(keys.size());
    std::iota(ids.begin(), ids.end(), 0U);
    Set set(KeyOf{&keys});
    set.build(ids, sorted);
    expect_same(set, keys, model);
    if (::testing::Test::HasFatalFailure()) return;
    for (int i = 0; i < 2000; ++i) {
      const std::string key = random_key(random, static_cast<int>(seed % 5));
      if (!model.insert(key).second) continue;
      keys.push_back(key);
      set.insert(static_cast<std::uint32_t>(keys.size() - 1));
    }
    expect_same(set, keys, model);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

TEST(SortedKeys, MemoryPerIdIsBounded) {
  constexpr std::uint32_t kCount = 100000;
  std::vector<std::string> keys;
  for (std::uint32_t i = 0; i < kCount; ++i) {
    char text[16];
    std::snprintf(text, sizeof(text), "key%09u", i);
    keys.emplace_back(text);
  }
  std::vector<std::uint32_t> ids(kCount);
  std::iota(ids.begin(), ids.end(), 0U);
  Set ascending(KeyOf{&keys});
  for (const std::uint32_t id : ids) ascending.insert(id);
  EXPECT_LT(ascending.memory_bytes(), kCount * 5U);
  std::mt19937 random(1);
  std::shuffle(ids.begin(), ids.end(), random);
  Set shuffled(KeyOf{&keys});
  for (const std::uint32_t id : ids) shuffled.insert(id);
  EXPECT_LT(shuffled.memory_bytes(), kCount * 8U);
  Set built(KeyOf{&keys});
  built.build(ids);
  EXPECT_LT(built.memory_bytes(), kCount * 5U);
  // Thinned out evenly to one in sixteen, blocks have merged.
  for (std::uint32_t i = 0; i < kCount; ++i) {
    ASSERT_TRUE(i % 16 == 0 || built.erase(keys[i]));
  }
  EXPECT_LT(built.memory_bytes(), kCount / 16 * 24U);
}

}  // namespace
}  // namespace strongroom::log
