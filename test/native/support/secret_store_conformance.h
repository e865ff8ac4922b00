// The conformance suite of the SecretStore back ends. A back end brings a world: a type with
//   open(instance, mode) -> Result<std::unique_ptr<SecretStore>>   another handle on the same place
//   make_unreachable(), make_reachable()
// An empty place at construction.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/bytes.h"
#include "secret_store/secret_store.h"

namespace strongroom::store::testing {

inline constexpr SecretName kAllNames[] = {SecretName::kVaultHash, SecretName::kTimeTamper,
                                           SecretName::kRootKey};

inline StorageId id_of(std::uint8_t fill) {
  StorageId id;
  id.fill(fill);
  return id;
}

inline Bytes every_byte(std::size_t size) {
  Bytes value(size);
  for (std::size_t i = 0; i < size; ++i) value[i] = static_cast<std::uint8_t>(i * 7 + i / 256);
  return value;
}

inline ::testing::AssertionResult succeeded(const Status& status) {
  if (status.ok()) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << error_info(status.error().reason).reason << ": " << status.error().detail;
}

inline ::testing::AssertionResult holds(SecretStore& store, SecretName name, const StorageId& id,
                                        ByteView value) {
  const Result<std::optional<Secret>> loaded = store.load(name);
  if (!loaded.ok()) return succeeded(loaded.status());
  if (!*loaded) return ::testing::AssertionFailure() << "absent";
  if ((*loaded)->storage_id != id) return ::testing::AssertionFailure() << "another storage id";
  if (!equal((*loaded)->value.view(), value)) return ::testing::AssertionFailure() << "another value";
  if ((*loaded)->one_copy_damaged) return ::testing::AssertionFailure() << "one copy is damaged";
  return ::testing::AssertionSuccess();
}

inline ::testing::AssertionResult absent(SecretStore& store, SecretName name) {
  const Result<std::optional<Secret>> loaded = store.load(name);
  if (!loaded.ok()) return succeeded(loaded.status());
  if (*loaded) return ::testing::AssertionFailure() << "present";
  return ::testing::AssertionSuccess();
}

template <typename World>
class SecretStoreConformance : public ::testing::Test {
 protected:
  std::unique_ptr<SecretStore> open(const std::string& instance = "acme",
                                    os::DirectoryMode mode = os::DirectoryMode::kCreate) {
    Result<std::unique_ptr<SecretStore>> store = world_.open(instance, mode);
    if (!store.ok()) ADD_FAILURE() << instance << ": " << store.error().detail;
    return store.ok() ? *std::move(store) : nullptr;
  }

  World world_;
};

TYPED_TEST_SUITE_P(SecretStoreConformance);

TYPED_TEST_P(SecretStoreConformance, AbsentUntilSaved) {
  const auto store = this->open();
  for (const SecretName name : kAllNames) EXPECT_TRUE(absent(*store, name));
  ASSERT_TRUE(succeeded(store->save(SecretName::kTimeTamper, id_of(1), as_bytes("stamp"))));
  EXPECT_TRUE(absent(*store, SecretName::kVaultHash));
  EXPECT_TRUE(absent(*store, SecretName::kRootKey));
  EXPECT_TRUE(holds(*store, SecretName::kTimeTamper, id_of(1), as_bytes("stamp")));
}

TYPED_TEST_P(SecretStoreConformance, NamesAreApart) {
  const auto store = this->open();
  for (const SecretName name : kAllNames) {
    ASSERT_TRUE(succeeded(store->save(name, id_of(9), as_bytes(secret_name_text(name)))));
  }
  for (const SecretName name : kAllNames) {
    EXPECT_TRUE(holds(*store, name, id_of(9), as_bytes(secret_name_text(name))));
  }
}

TYPED_TEST_P(SecretStoreConformance, ReplacesWhole) {
  const auto store = this->open();
  ASSERT_TRUE(succeeded(store->save(SecretName::kVaultHash, id_of(1), every_byte(300))));
  ASSERT_TRUE(succeeded(store->save(SecretName::kVaultHash, id_of(1), as_bytes("short"))));
  EXPECT_TRUE(holds(*store, SecretName::kVaultHash, id_of(1), as_bytes("short")));
  ASSERT_TRUE(succeeded(store->save(SecretName::kVaultHash, id_of(1), every_byte(300))));
  EXPECT_TRUE(holds(*store, SecretName::kVaultHash, id_of(1), every_byte(300)));
}

TYPED_TEST_P(SecretStoreConformance, ReplacesAcrossStorageIds) {
  const auto store = this->open();
  ASSERT_TRUE(succeeded(store->save(SecretName::kVaultHash, id_of(1), as_bytes("first"))));
  ASSERT_TRUE(succeeded(store->save(SecretName::kVaultHash, id_of(2), as_bytes("second"))));
  EXPECT_TRUE(holds(*store, SecretName::kVaultHash, id_of(2), as_bytes("second")));
  ASSERT_TRUE(succeeded(store->remove(SecretName::kVaultHash)));
  EXPECT_TRUE(absent(*store, SecretName::kVaultHash)) << "the first one came back";
}

TYPED_TEST_P(SecretStoreConformance, RemoveTakesOneItemAndRepeats) {
  const auto store = this->open();
  EXPECT_TRUE(succeeded(store->remove(SecretName::kRootKey)));
  ASSERT_TRUE(succeeded(store->save(SecretName::kRootKey, id_of(1), as_bytes("key"))));
  ASSERT_TRUE(succeeded(store->save(SecretName::kVaultHash, id_of(1), as_bytes("checkpoint"))));
  EXPECT_TRUE(succeeded(store->remove(SecretName::kRootKey)));
  EXPECT_TRUE(absent(*store, SecretName::kRootKey));
  EXPECT_TRUE(holds(*store, SecretName::kVaultHash, id_of(1), as_bytes("checkpoint")));
  EXPECT_TRUE(succeeded(store->remove(SecretName::kRootKey)));
}

TYPED_TEST_P(SecretStoreConformance, InstancesAreApart) {
  const std::string hashed = "acme licensing";
  const std::string instances[] = {"acme",
                                   "Acme",
                                   "acm",
                                   "acme.VaultHash",
                                   "acme.VaultHash.new",
                                   ".",
                                   "..",
                                   "acme/x",
                                   hashed,
                                   "~" + to_hex(every_byte(32)),
                                   std::string(64, 'a'),
                                   std::string(65, 'a'),
                                   std::string(128, 'a'),
                                   "'; \"$%*",
                                   "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x94\x92"};
  std::uint8_t number = 0;
  for (const std::string& instance : instances) {
    const auto store = this->open(instance);
    ASSERT_NE(store, nullptr);
    EXPECT_TRUE(absent(*store, SecretName::kVaultHash)) << instance;
    ASSERT_TRUE(succeeded(store->save(SecretName::kVaultHash, id_of(++number), as_bytes(instance))))
        << instance;
  }
  number = 0;
  for (const std::string& instance : instances) {
    EXPECT_TRUE(holds(*this->open(instance), SecretName::kVaultHash, id_of(++number), as_bytes(instance)))
        << instance;
  }
  ASSERT_TRUE(succeeded(this->open("acme")->remove(SecretName::kVaultHash)));
  EXPECT_TRUE(holds(*this->open("acm"), SecretName::kVaultHash, id_of(3), as_bytes("acm")));
}

TYPED_TEST_P(SecretStoreConformance, ReopenedHandleSeesIt) {
  ASSERT_TRUE(succeeded(this->open()->save(SecretName::kRootKey, id_of(7), every_byte(32))));
  EXPECT_TRUE(holds(*this->open("acme", os::DirectoryMode::kExisting), SecretName::kRootKey, id_of(7),
                    every_byte(32)));
  const auto one = this->open();
  const auto two = this->open();
  ASSERT_TRUE(succeeded(one->save(SecretName::kRootKey, id_of(7), as_bytes("newer"))));
  EXPECT_TRUE(holds(*two, SecretName::kRootKey, id_of(7), as_bytes("newer")));
}

TYPED_TEST_P(SecretStoreConformance, BinaryValues) {
  const auto store = this->open();
  const Bytes values[] = {{0}, {0, 0, 0}, {'a', 0, 'b'}, {0xFF, 0xFE, 0x00, 0x80}, every_byte(256)};
  for (const Bytes& value : values) {
    ASSERT_TRUE(succeeded(store->save(SecretName::kVaultHash, StorageId{}, value)));
    EXPECT_TRUE(holds(*store, SecretName::kVaultHash, StorageId{}, value));
  }
}

TYPED_TEST_P(SecretStoreConformance, SizesAreBounded) {
  const auto store = this->open();
  const Bytes largest = every_byte(kSecretValueBytesMax);
  ASSERT_TRUE(succeeded(store->save(SecretName::kRootKey, id_of(1), largest)));
  EXPECT_TRUE(holds(*store, SecretName::kRootKey, id_of(1), largest));
  const Status too_large = store->save(SecretName::kRootKey, id_of(1), every_byte(kSecretValueBytesMax + 1));
  EXPECT_TRUE(too_large.is(Reason::kInvalidArgument));
  EXPECT_TRUE(store->save(SecretName::kRootKey, id_of(1), ByteView()).is(Reason::kInvalidArgument));
  EXPECT_TRUE(holds(*store, SecretName::kRootKey, id_of(1), largest)) << "a refused value changed the item";
}

TYPED_TEST_P(SecretStoreConformance, LargestInstanceAndValue) {
  const std::string instance(128, '*');
  const auto store = this->open(instance);
  ASSERT_TRUE(succeeded(store->save(SecretName::kTimeTamper, id_of(1), every_byte(kSecretValueBytesMax))));
  EXPECT_TRUE(holds(*store, SecretName::kTimeTamper, id_of(1), every_byte(kSecretValueBytesMax)));
}

TYPED_TEST_P(SecretStoreConformance, UnusableInstancesAreRefused) {
  const std::string unusable[] = {"",
                                  std::string(129, 'a'),
                                  std::string("a\0b", 3),
                                  std::string(1, '\0'),
                                  "line\nbreak",
                                  "\x1B[0m",
                                  "del\x7F",
                                  "c1 \xC2\x85",
                                  "\xFF",
                                  "cut \xE2\x82",
                                  "long \xC0\xAF",
                                  "long \xE0\x80\xAF",
                                  "long \xF0\x80\x80\xAF",
                                  "surrogate \xED\xA0\x80",
                                  "beyond \xF4\x90\x80\x80",
                                  "lone \x80"};
  for (const std::string& instance : unusable) {
    EXPECT_TRUE(this->world_.open(instance, os::DirectoryMode::kCreate).is(Reason::kInvalidOption))
        << to_hex(as_bytes(instance));
  }
}

TYPED_TEST_P(SecretStoreConformance, UnreachableIsNeverAbsent) {
  const auto store = this->open();
  ASSERT_TRUE(succeeded(store->save(SecretName::kVaultHash, id_of(1), as_bytes("checkpoint"))));
  this->world_.make_unreachable();
  for (const SecretName name : kAllNames) {
    const Result<std::optional<Secret>> loaded = store->load(name);
    ASSERT_FALSE(loaded.ok()) << secret_name_text(name);
    EXPECT_EQ(error_info(loaded.error().reason).code, "PERS_8005") << loaded.error().detail;
    EXPECT_TRUE(error_info(loaded.error().reason).retryable);
    EXPECT_FALSE(loaded.error().detail.empty());
    EXPECT_FALSE(store->save(name, id_of(1), as_bytes("other")).ok());
    EXPECT_FALSE(store->remove(name).ok());
  }
  this->world_.make_reachable();
  EXPECT_TRUE(holds(*store, SecretName::kVaultHash, id_of(1), as_bytes("checkpoint")))
      << "the handle does not recover";
  EXPECT_TRUE(absent(*store, SecretName::kRootKey));
}

TYPED_TEST_P(SecretStoreConformance, FromAnyThread) {
  const auto shared = this->open();
  std::thread([&shared] {
    EXPECT_TRUE(succeeded(shared->save(SecretName::kVaultHash, id_of(1), as_bytes("elsewhere"))));
  }).join();
  EXPECT_TRUE(holds(*shared, SecretName::kVaultHash, id_of(1), as_bytes("elsewhere")));

  constexpr int kThreads = 4;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([this, i] {
      const auto store = this->open("thread " + std::to_string(i));
      for (std::uint8_t round = 1; round <= 5; ++round) {
        ASSERT_TRUE(succeeded(store->save(SecretName::kVaultHash, id_of(round), every_byte(round))));
        ASSERT_TRUE(holds(*store, SecretName::kVaultHash, id_of(round), every_byte(round)));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

REGISTER_TYPED_TEST_SUITE_P(SecretStoreConformance, AbsentUntilSaved, NamesAreApart, ReplacesWhole,
                            ReplacesAcrossStorageIds, RemoveTakesOneItemAndRepeats, InstancesAreApart,
                            ReopenedHandleSeesIt, BinaryValues, SizesAreBounded, LargestInstanceAndValue,
                            UnusableInstancesAreRefused, UnreachableIsNeverAbsent, FromAnyThread);

}  // namespace strongroom::store::testing
