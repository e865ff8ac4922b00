#include "base/secret_memory.h"

#include <grp.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <thread>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif

namespace strongroom {
namespace {

Bytes pattern(std::size_t size) {
  Bytes out(size);
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::uint8_t>(i * 7 + 1);
  return out;
}

// The flags that the kernel shows for the mapping around an address ("dd": not dumped, "lo": locked).
std::set<std::string> mapping_flags(const void* address) {
  const auto wanted = reinterpret_cast<std::uintptr_t>(address);
  std::ifstream smaps("/proc/self/smaps");
  bool inside = false;
  for (std::string line; std::getline(smaps, line);) {
    std::uintptr_t begin = 0;
    std::uintptr_t end = 0;
    if (std::sscanf(line.c_str(), "%" SCNxPTR "-%" SCNxPTR " ", &begin, &end) == 2) {
      inside = begin <= wanted && wanted < end;
    } else if (inside && line.starts_with("VmFlags:")) {
      std::istringstream words(line.substr(8));
      std::set<std::string> flags;
      for (std::string word; words >> word;) flags.insert(word);
      return flags;
    }
  }
  return {};
}

TEST(SecretMemory, WipeZeroesAndTakesNothing) {
  Bytes bytes = pattern(100);
  wipe(bytes);
  EXPECT_TRUE(all_zero(bytes));
  wipe({});
}

TEST(SecretMemory, StartsAsZerosWhateverWasThereBefore) {
  for (const std::size_t size : {1U, 31U, 32U, 63U, 64U, 65U, 4096U, 4097U, 8192U}) {
    { const SecretBytes used(pattern(size)); }
    const SecretBytes fresh(size);
    EXPECT_EQ(fresh.size(), size);
    EXPECT_TRUE(all_zero(fresh.view())) << size;
  }
}

TEST(SecretMemory, CopiesClonesAndMoves) {
  for (const std::size_t size : {32U, 64U, 65U, 5000U}) {
    const Bytes content = pattern(size);
    SecretBytes first{ByteView(content)};
    EXPECT_TRUE(equal(first.view(), content));
    const SecretBytes copy = first.clone();
    first.span()[0] ^= 1;
    EXPECT_TRUE(equal(copy.view(), content));
    first.span()[0] ^= 1;

    SecretBytes second(std::move(first));
    EXPECT_TRUE(equal(second.view(), content));
    EXPECT_TRUE(first.empty());  // NOLINT(bugprone-use-after-move): a moved-from secret is empty
    SecretBytes third(3);
    third = std::move(second);
    EXPECT_TRUE(equal(third.view(), content));
  }
}

TEST(SecretMemory, EmptyHoldsNothing) {
  const SecretBytes none(std::size_t{0});
  EXPECT_TRUE(none.empty());
  EXPECT_EQ(none.view().data(), nullptr);
  EXPECT_TRUE(none.clone().empty());
  EXPECT_TRUE(SecretBytes(ByteView{}).empty());
}

TEST(SecretMemory, SmallSecretsDoNotOverlap) {
  std::vector<SecretBytes> all;
  for (unsigned i = 0; i < 1000; ++i) {
    all.emplace_back(std::size_t{64});
    std::fill_n(all.back().span().data(), 64, static_cast<std::uint8_t>(i % 251 + 1));
  }
  for (unsigned i = 0; i < 1000; ++i) {
    const ByteView view = all[i].view();
    ASSERT_TRUE(
        std::all_of(view.begin(), view.end(), [&](std::uint8_t byte) { return byte == i % 251 + 1; }));
  }
}

TEST(SecretMemory, SmallSecretIsWipedWhenReleased) {
  const std::uint8_t* memory = nullptr;
  {
    const SecretBytes secret(pattern(64));
    memory = secret.view().data();
  }
  // The page stays mapped; only the link of the free list, in the first bytes, may differ from zero.
  EXPECT_TRUE(all_zero({memory + sizeof(void*), 64 - sizeof(void*)}));
}

TEST(SecretMemory, PagesAreLockedAndNotDumped) {
  for (const std::size_t size : {32U, 5000U}) {
    const SecretBytes secret(pattern(size));
    const std::set<std::string> flags = mapping_flags(secret.view().data());
    ASSERT_FALSE(flags.empty());
    EXPECT_TRUE(flags.contains("dd")) << size;
#ifndef SANITIZED  // sanitizers turn mlock() into nothing
    rlimit limit{};
    ASSERT_EQ(getrlimit(RLIMIT_MEMLOCK, &limit), 0);
    if (geteuid() == 0 || limit.rlim_cur >= (64U << 10)) {
      EXPECT_TRUE(flags.contains("lo")) << size;
    }
#endif
  }
}

TEST(SecretMemoryDeathTest, WorksWhereNothingMayBeLocked) {
  const auto without_lock = [] {
    const rlimit none{0, 0};
    if (setrlimit(RLIMIT_MEMLOCK, &none) != 0) _exit(2);
    if (geteuid() == 0 && (setgroups(0, nullptr) != 0 || setgid(65534) != 0 || setuid(65534) != 0)) _exit(3);
    for (const std::size_t size : {32U, 5000U}) {
      std::vector<SecretBytes> many;
      for (int i = 0; i < 200; ++i) many.emplace_back(ByteView(pattern(size)));
      for (const SecretBytes& secret : many) {
        if (!equal(secret.view(), pattern(size))) _exit(4);
      }
#ifndef SANITIZED
      if (mapping_flags(many.back().view().data()).contains("lo"))
        _exit(5);  // the limit did not hold: no test
#endif
    }
    _exit(0);
  };
  EXPECT_EXIT(without_lock(), testing::ExitedWithCode(0), "");
}

TEST(SecretMemory, ThreadsShareTheArena) {
  std::vector<std::thread> threads;
  std::array<bool, 4> intact{};
  for (unsigned t = 0; t < intact.size(); ++t) {
    threads.emplace_back([t, &intact] {
      bool ok = true;
      for (unsigned i = 0; i < 5000; ++i) {
        SecretBytes one(std::size_t{32});
        SecretBytes two(std::size_t{48});
        ok = ok && all_zero(one.view()) && all_zero(two.view());
        std::fill_n(one.span().data(), 32, static_cast<std::uint8_t>(t + 1));
        std::fill_n(two.span().data(), 48, static_cast<std::uint8_t>(t + 101));
        ok = ok && one.view()[31] == t + 1 && two.view()[47] == t + 101;
      }
      intact[t] = ok;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(std::all_of(intact.begin(), intact.end(), [](bool ok) { return ok; }));
}

TEST(WipedBuffer, KeepsContentWhenItGrows) {
  const Bytes content = pattern(1000);
  WipedBuffer buffer{ByteView(content)};
  for (std::size_t size = 1001; size < 100'000; size += 999) buffer.resize(size);
  EXPECT_TRUE(equal(buffer.view().first(1000), content));
  EXPECT_TRUE(all_zero(buffer.view().subspan(1000)));
}

TEST(WipedBuffer, WipesWhatIsCutOff) {
  WipedBuffer buffer(pattern(100));
  buffer.resize(10);
  EXPECT_TRUE(equal(buffer.view(), ByteView(pattern(100)).first(10)));
  // The block is kept, so the cut part can still be looked at.
  const volatile std::uint8_t* const cut = buffer.view().data() + 10;
  for (int i = 0; i < 90; ++i) ASSERT_EQ(cut[i], 0) << i;
  buffer.resize(0);
  EXPECT_EQ(buffer.size(), 0U);
}

TEST(WipedBuffer, Moves) {
  WipedBuffer first(pattern(100));
  WipedBuffer second(std::move(first));
  EXPECT_TRUE(equal(second.view(), pattern(100)));
  WipedBuffer third(pattern(3));
  third = std::move(second);
  EXPECT_TRUE(equal(third.view(), pattern(100)));
}

}  // namespace
}  // namespace strongroom
