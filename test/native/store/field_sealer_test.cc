// Sealed fields: the format by hand, what is refused and how, rotation, and nonces.
#include "store/field_sealer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "header/persistence_file.h"

namespace strongroom::store {
namespace {

constexpr StorageId kStorageId{1, 2, 3};

SecretBytes key(std::uint8_t byte) { return field_key(Bytes(32, byte), kStorageId); }

Bytes seal(FieldSealer& sealer, std::string_view plaintext, std::string_view context) {
  Bytes out(plaintext.size() + kFieldOverheadBytes);
  const Status status = sealer.seal(as_bytes(plaintext), as_bytes(context), out);
  EXPECT_TRUE(status.ok());
  return out;
}

Result<std::string> open(FieldSealer& sealer, ByteView sealed, std::string_view context) {
  Bytes out(sealed.size() < kFieldOverheadBytes ? 0 : sealed.size() - kFieldOverheadBytes);
  SR_TRY(sealer.open(sealed, as_bytes(context), out));
  return std::string(as_text(out));
}

TEST(FieldSealer, OpensWhatAnySealerOfTheKeySealed) {
  FieldSealer first(7, key(1));
  FieldSealer second(7, key(1));
  const std::string large(std::size_t{1} << 20, 'x');
  for (const std::string& plaintext : {std::string(), std::string("a"), std::string(300, 'y'), large}) {
    for (const std::string& context :
         {std::string(), std::string("users/4711/iban"), std::string(1024, 'c')}) {
      const Bytes sealed = seal(first, plaintext, context);
      EXPECT_EQ(sealed.size(), plaintext.size() + 41);
      EXPECT_TRUE(*open(first, sealed, context) == plaintext);
      EXPECT_TRUE(*open(second, sealed, context) == plaintext);
    }
  }
}

// docs/format.md, with nothing of the sealer.
TEST(FieldSealer, TheFormatIsWhatItsPageSays) {
  FieldSealer sealer(0x01020304, key(1));
  (void)seal(sealer, "first", "");
  const Bytes sealed = seal(sealer, "second", "row 9");
  const ByteView view(sealed);
  EXPECT_EQ(to_hex(view.first(5)), "0104030201");
  EXPECT_EQ(to_hex(view.subspan(21, 4)), "01000000");
  const SecretBytes field = crypto::hkdf_sha256(Bytes(32, 1), kStorageId, "strongroom/v5 field");
  crypto::Aead aead(
      crypto::hkdf_sha256(field.view(), view.subspan(5, 16), "strongroom/v5 field salt").view());
  Bytes associated(view.begin(), view.begin() + 25);
  for (const char c : std::string_view("row 9")) associated.push_back(static_cast<std::uint8_t>(c));
  Bytes out(6);
  ASSERT_TRUE(aead.open({1}, associated, view.subspan(25, 6), view.last(16).data(), out.data()));
  EXPECT_EQ(as_text(out), "second");
}

TEST(FieldSealer, OneReasonForEveryOtherContextAndEveryFlippedBit) {
  FieldSealer sealer(1, key(1));
  Bytes sealed = seal(sealer, "plaintext", "context");
  std::set<std::string> details;
  const auto refused = [&](ByteView bytes, std::string_view context, Reason reason) {
    Bytes memory(bytes.size() < kFieldOverheadBytes ? 0 : bytes.size() - kFieldOverheadBytes, 0xEE);
    const Status status = sealer.open(bytes, as_bytes(context), memory);
    EXPECT_TRUE(status.is(reason));
    if (reason == Reason::kFieldNotAuthentic) details.insert(status.error().detail);
    EXPECT_TRUE(std::all_of(memory.begin(), memory.end(),
                            [](std::uint8_t byte) { return byte == 0 || byte == 0xEE; }));
  };
  for (const char* context : {"", "contex", "contexT", "contextt"}) {
    refused(sealed, context, Reason::kFieldNotAuthentic);
  }
  for (std::size_t bit = 0; bit < sealed.size() * 8; ++bit) {
    sealed[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
    const bool in_key_id = bit / 8 >= 1 && bit / 8 < 5;
    refused(sealed, "context", in_key_id ? Reason::kFieldKeyUnknown : Reason::kFieldNotAuthentic);
    sealed[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
  }
  for (std::size_t size = 0; size < sealed.size(); ++size) {
    refused(ByteView(sealed).first(size), "context", Reason::kFieldNotAuthentic);
  }
  Bytes longer = sealed;
  longer.push_back(0);
  refused(longer, "context", Reason::kFieldNotAuthentic);
  EXPECT_EQ(details.size(), 1U);
  EXPECT_EQ(*open(sealer, sealed, "context"), "plaintext");
}

TEST(FieldSealer, AnotherStoreOrAnotherDekDoesNotOpen) {
  FieldSealer sealer(1, key(1));
  const Bytes sealed = seal(sealer, "x", "");
  FieldSealer other_dek(1, key(2));
  EXPECT_TRUE(open(other_dek, sealed, "").is(Reason::kFieldNotAuthentic));
  FieldSealer other_store(1, field_key(Bytes(32, 1), StorageId{9}));
  EXPECT_TRUE(open(other_store, sealed, "").is(Reason::kFieldNotAuthentic));
}

TEST(FieldSealer, AfterARotationOldFieldsOpenAndNewOnesNameTheNewKey) {
  FieldSealer before(1, key(1));
  const Bytes old_field = seal(before, "old", "c");
  FieldSealer after(2, key(2));
  EXPECT_TRUE(open(after, old_field, "c").is(Reason::kFieldKeyUnknown));
  EXPECT_TRUE(after.needs_rotation(old_field).is(Reason::kFieldKeyUnknown));
  after.add_former_key(1, key(1));
  EXPECT_EQ(*open(after, old_field, "c"), "old");
  EXPECT_TRUE(*after.needs_rotation(old_field));
  const Bytes new_field = seal(after, "old", "c");
  EXPECT_EQ(*FieldSealer::key_id(new_field), 2U);
  EXPECT_EQ(*FieldSealer::key_id(old_field), 1U);
  EXPECT_FALSE(*after.needs_rotation(new_field));
  EXPECT_TRUE(open(before, new_field, "c").is(Reason::kFieldKeyUnknown));
  EXPECT_TRUE(FieldSealer::key_id({}).is(Reason::kFieldNotAuthentic));
}

TEST(FieldSealer, RefusesMoreThanItsLimits) {
  FieldSealer sealer(1, key(1));
  Bytes out((std::size_t{1} << 20) + 1 + kFieldOverheadBytes);
  EXPECT_TRUE(sealer.seal(Bytes((std::size_t{1} << 20) + 1), {}, out).is(Reason::kInvalidArgument));
  Bytes small(1 + kFieldOverheadBytes);
  EXPECT_TRUE(sealer.seal(Bytes(1), Bytes(1025), small).is(Reason::kInvalidArgument));
  const Bytes sealed = seal(sealer, "x", "");
  Bytes opened(1);
  EXPECT_TRUE(sealer.open(sealed, Bytes(1025), opened).is(Reason::kInvalidArgument));
}

TEST(FieldSealer, NoPairOfSaltAndCounterComesTwice) {
  std::set<std::string> seen;
  for (int opening = 0; opening < 50; ++opening) {
    FieldSealer sealer(1, key(1));
    for (int i = 0; i < 100; ++i) {
      const Bytes sealed = seal(sealer, "same", "same");
      seen.insert(to_hex(ByteView(sealed).subspan(5, 20)));
    }
  }
  EXPECT_EQ(seen.size(), 5000U);
}

TEST(FieldSealer, OpensFieldsOfMoreOpeningsThanItKeepsKeysOf) {
  std::vector<Bytes> fields;
  for (int i = 0; i < 600; ++i) {
    FieldSealer sealer(1, key(1));
    fields.push_back(seal(sealer, std::to_string(i), "c"));
  }
  FieldSealer reader(1, key(1));
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 600; ++i) {
      EXPECT_EQ(*open(reader, fields[static_cast<std::size_t>(i)], "c"), std::to_string(i));
      EXPECT_EQ(*open(reader, fields[static_cast<std::size_t>(i) / 7], "c"), std::to_string(i / 7));
    }
  }
}

}  // namespace
}  // namespace strongroom::store
