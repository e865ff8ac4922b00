// The bytes of the tamper file: what is refused, what is read up to the damage, and that nothing else is ever
// read.
#include "witnesses/tamper_file/tamper_file.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "crypto/crypto.h"
#include "tamper_file_fixture.h"

namespace strongroom::store {
namespace {

using namespace tamper_testing;

constexpr std::size_t kMagicBytes = 8;

TamperContent content_of(std::uint64_t checkpoint, std::size_t count, std::uint32_t capacity = kCapacity) {
  TamperContent content;
  content.capacity = capacity;
  content.key_id = kKeyId;
  content.checkpoint = {checkpoint, entry_at(checkpoint).head, crypto::sha256({as_bytes("chain")})};
  for (std::size_t i = 1; i <= count; ++i) content.entries.push_back(entry_at(checkpoint + i));
  return content;
}

Bytes file_of(const TamperContent& content) {
  Result<Bytes> file = encode_tamper_file(content, key(), kStorageId);
  EXPECT_TRUE(file.ok()) << (file.ok() ? "" : file.error().detail);
  return file.ok() ? *file : Bytes{};
}

Result<TamperContent> parse(ByteView file) { return parse_tamper_file(file, key(), kStorageId); }

// The first `count` entries of `whole` and nothing else, with the checkpoint that belongs to them.
void expect_prefix(const TamperContent& got, const TamperContent& whole, std::size_t count, bool clean) {
  EXPECT_EQ(got.capacity, whole.capacity);
  EXPECT_EQ(got.key_id, whole.key_id);
  EXPECT_TRUE(same(got.checkpoint, whole.checkpoint));
  ASSERT_EQ(got.entries.size(), count);
  AuditCheckpoint newest = whole.checkpoint;
  for (std::size_t i = 0; i < count; ++i) {
    EXPECT_TRUE(same(got.entries[i], whole.entries[i])) << i;
    newest = {whole.entries[i].generation, whole.entries[i].head,
              next_chain(key(), newest.chain, whole.entries[i])};
  }
  EXPECT_TRUE(same(got.newest, newest));
  EXPECT_EQ(got.clean, clean);
}

MutableBytes slot(Bytes& file, std::size_t i) {
  return MutableBytes(file).subspan(kTamperHeaderBytes + i * kTamperEntryBytes, kTamperEntryBytes);
}

// Puts the header's code right again, as one who has the key could.
void authenticate_header(Bytes& file) {
  const Digest mac =
      crypto::hmac_sha256(key(), {ByteView(file).first(160), as_bytes("strongroom/v5 tamper header")});
  std::copy(mac.begin(), mac.end(), file.begin() + 160);
}

TEST(TamperFileFormat, LayoutOfHeaderAndEntry) {
  const TamperContent content = content_of(0x0102030405060708, 1);
  const Bytes file = file_of(content);
  ASSERT_EQ(file.size(), 192U + 8 * 88);
  EXPECT_EQ(as_text(ByteView(file).first(8)), "SRTAMPER");
  EXPECT_EQ(to_hex(ByteView(file).subspan(8, 8)), "0100000007000000");
  EXPECT_TRUE(equal(ByteView(file).subspan(16, 16), kStorageId));
  EXPECT_EQ(to_hex(ByteView(file).subspan(32, 16)), "08000000000000000807060504030201");
  EXPECT_TRUE(equal(ByteView(file).subspan(48, 32), content.checkpoint.head));
  EXPECT_TRUE(equal(ByteView(file).subspan(80, 32), content.checkpoint.chain));
  EXPECT_TRUE(all_zero(ByteView(file).subspan(112, 48)));
  const ByteView entry = ByteView(file).subspan(192, 88);
  const AuditEntry& wrote = content.entries[0];
  EXPECT_EQ(load_le<std::uint64_t>(entry.data()), wrote.generation);
  EXPECT_EQ(load_le<std::uint64_t>(entry.data() + 8), static_cast<std::uint64_t>(wrote.wall_ms));
  EXPECT_EQ(entry[16], wrote.kind);
  EXPECT_TRUE(all_zero(entry.subspan(17, 3)));
  EXPECT_EQ(load_le<std::uint32_t>(entry.data() + 20), wrote.operations);
  EXPECT_TRUE(equal(entry.subspan(24, 32), wrote.head));
  EXPECT_TRUE(
      equal(entry.subspan(56, 32), crypto::hmac_sha256(key(), {content.checkpoint.chain, entry.first(56)})));
  EXPECT_EQ(next_chain(key(), content.checkpoint.chain, wrote),
            crypto::hmac_sha256(key(), {content.checkpoint.chain, entry.first(56)}));
  EXPECT_TRUE(all_zero(ByteView(file).subspan(192 + 88)));
}

TEST(TamperFileFormat, RoundTrip) {
  for (std::size_t count = 0; count <= kCapacity; ++count) {
    const TamperContent content = content_of(count == 0 ? 0 : 41, count);
    const Result<TamperContent> got = parse(file_of(content));
    ASSERT_TRUE(got.ok());
    expect_prefix(*got, content, count, true);
  }
}

TEST(TamperFileFormat, EncodeRefusesWhatNoFileMayHold) {
  EXPECT_TRUE(encode_tamper_file(content_of(0, 0, 1), key(), kStorageId).is(Reason::kInvalidArgument));
  EXPECT_TRUE(encode_tamper_file(content_of(0, 0, kTamperCapacityMax + 1), key(), kStorageId)
                  .is(Reason::kInvalidArgument));
  EXPECT_TRUE(encode_tamper_file(content_of(0, 3, 2), key(), kStorageId).is(Reason::kInvalidArgument));
  TamperContent gap = content_of(0, 3);
  gap.entries.erase(gap.entries.begin() + 1);
  EXPECT_TRUE(encode_tamper_file(gap, key(), kStorageId).is(Reason::kInvalidArgument));
  TamperContent wrapped = content_of(UINT64_MAX, 0);
  wrapped.entries.push_back(entry_at(0));
  EXPECT_TRUE(encode_tamper_file(wrapped, key(), kStorageId).is(Reason::kInvalidArgument));
  EXPECT_TRUE(encode_tamper_file(content_of(UINT64_MAX - 1, 1), key(), kStorageId).ok());
}

// Every single-bit and an all-bits change of every byte: by class of byte, refused or a prefix that ends
// before it.
TEST(TamperFileFormat, FlipOfEveryByte) {
  for (const std::size_t count : {0, 3, 8}) {
    const TamperContent whole = content_of(41, count);
    const Bytes file = file_of(whole);
    for (std::size_t at = 0; at < file.size(); ++at) {
      for (const int mask : {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff}) {
        SCOPED_TRACE(::testing::Message() << count << " entries, byte " << at << ", mask " << mask);
        Bytes flipped = file;
        flipped[at] = static_cast<std::uint8_t>(flipped[at] ^ mask);
        const Result<TamperContent> got = parse(flipped);
        if (at == kMagicBytes || at == kMagicBytes + 1) {
          EXPECT_TRUE(got.is(Reason::kVersion));
        } else if (at < kTamperHeaderBytes) {
          EXPECT_TRUE(got.is(Reason::kTamperFileTampered));
        } else {
          ASSERT_TRUE(got.ok());
          expect_prefix(*got, whole, std::min(count, (at - kTamperHeaderBytes) / kTamperEntryBytes), false);
        }
      }
    }
  }
}

TEST(TamperFileFormat, EveryTruncationAndExtension) {
  for (const std::size_t count : {0, 3, 8}) {
    const TamperContent whole = content_of(41, count);
    const Bytes file = file_of(whole);
    for (std::size_t size = 0; size < file.size(); ++size) {
      SCOPED_TRACE(::testing::Message() << count << " entries, " << size << " bytes");
      const Result<TamperContent> got = parse(ByteView(file).first(size));
      if (size < kTamperHeaderBytes) {
        EXPECT_TRUE(got.is(Reason::kTamperFileTampered));
      } else {
        ASSERT_TRUE(got.ok());
        expect_prefix(*got, whole, std::min(count, (size - kTamperHeaderBytes) / kTamperEntryBytes), false);
      }
    }
    for (const std::size_t more : {1, 88, 1000}) {
      Bytes longer = file;
      longer.resize(file.size() + more);
      const Result<TamperContent> got = parse(longer);
      ASSERT_TRUE(got.ok());
      expect_prefix(*got, whole, count, false);
    }
  }
}

// An authentic entry that follows, but behind the last slot.
TEST(TamperFileFormat, EntryBeyondTheCapacityIsNotTaken) {
  const TamperContent whole = content_of(41, 8);
  Bytes file = file_of(whole);
  Bytes bigger = file_of(content_of(41, 9, 16));
  const MutableBytes ninth = slot(bigger, 8);
  file.insert(file.end(), ninth.begin(), ninth.end());
  const Result<TamperContent> got = parse(file);
  ASSERT_TRUE(got.ok());
  expect_prefix(*got, whole, 8, false);
}

TEST(TamperFileFormat, SwapDeletionRepetitionAndGapEndTheRun) {
  const TamperContent whole = content_of(41, 8);
  const Bytes file = file_of(whole);
  for (std::size_t a = 0; a < 8; ++a) {
    for (std::size_t b = a + 1; b < 8; ++b) {
      Bytes swapped = file;
      std::swap_ranges(slot(swapped, a).begin(), slot(swapped, a).end(), slot(swapped, b).begin());
      const Result<TamperContent> got = parse(swapped);
      ASSERT_TRUE(got.ok());
      expect_prefix(*got, whole, a, false);
    }
    if (a < 7) {
      Bytes deleted = file;
      const auto from =
          deleted.begin() + static_cast<std::ptrdiff_t>(kTamperHeaderBytes + a * kTamperEntryBytes);
      deleted.erase(from, from + kTamperEntryBytes);
      deleted.resize(file.size());
      const Result<TamperContent> got = parse(deleted);
      ASSERT_TRUE(got.ok());
      expect_prefix(*got, whole, a, false);

      Bytes gap = file;
      std::ranges::fill(slot(gap, a), std::uint8_t{0});
      const Result<TamperContent> with_gap = parse(gap);
      ASSERT_TRUE(with_gap.ok());
      expect_prefix(*with_gap, whole, a, false);

      Bytes repeated = file;
      std::ranges::copy(slot(repeated, a), slot(repeated, a + 1).begin());
      const Result<TamperContent> with_repetition = parse(repeated);
      ASSERT_TRUE(with_repetition.ok());
      expect_prefix(*with_repetition, whole, a + 1, false);
    }
  }
}

TEST(TamperFileFormat, EntriesOfAnotherKeyOrChainEndTheRun) {
  const TamperContent whole = content_of(41, 5);
  const Bytes other_key(32, 0x11);
  Result<Bytes> foreign = encode_tamper_file(whole, other_key, kStorageId);
  ASSERT_TRUE(foreign.ok());
  TamperContent branch = whole;
  branch.entries[1].operations += 1;
  Bytes branched = file_of(branch);
  for (Bytes* source : {&*foreign, &branched}) {
    for (std::size_t i = 2; i < 5; ++i) {
      Bytes file = file_of(whole);
      std::ranges::copy(slot(*source, i), slot(file, i).begin());
      const Result<TamperContent> got = parse(file);
      ASSERT_TRUE(got.ok());
      expect_prefix(*got, whole, i, false);
    }
  }
}

TEST(TamperFileFormat, AnotherKeyOrStorageIdIsRefused) {
  const Bytes file = file_of(content_of(41, 5));
  EXPECT_TRUE(parse_tamper_file(file, Bytes(32, 0x11), kStorageId).is(Reason::kTamperFileTampered));
  StorageId other = kStorageId;
  other[15] ^= 1;
  EXPECT_TRUE(parse_tamper_file(file, key(), other).is(Reason::kTamperFileTampered));
  // The header of another store under this one's key: its id is edited in, which breaks the code.
  Bytes moved = file;
  moved[31] ^= 1;
  EXPECT_TRUE(parse_tamper_file(moved, key(), other).is(Reason::kTamperFileTampered));
}

// Even an authentic header must hold what a release writes; the capacity bounds memory.
TEST(TamperFileFormat, AuthenticHeaderOutOfBoundsIsRefused) {
  const Bytes file = file_of(content_of(41, 0));
  for (const std::uint32_t capacity : {0U, 1U, kTamperCapacityMax + 1, UINT32_MAX}) {
    Bytes edited = file;
    store_le(edited.data() + 32, capacity);
    authenticate_header(edited);
    EXPECT_TRUE(parse(edited).is(Reason::kTamperFileTampered)) << capacity;
  }
  for (const std::size_t reserved : {10, 11, 36, 39, 112, 159}) {
    Bytes edited = file;
    edited[reserved] = 1;
    authenticate_header(edited);
    EXPECT_TRUE(parse(edited).is(Reason::kTamperFileTampered)) << reserved;
  }
  Bytes unchanged = file;
  authenticate_header(unchanged);
  EXPECT_EQ(unchanged, file);
}

TEST(TamperFileFormat, OlderCopyIsCleanAndLags) {
  const Result<TamperContent> older = parse(file_of(content_of(41, 3)));
  const Result<TamperContent> newer = parse(file_of(content_of(41, 5)));
  ASSERT_TRUE(older.ok() && newer.ok());
  EXPECT_TRUE(older->clean && newer->clean);
  EXPECT_EQ(older->newest.generation, 44U);
  EXPECT_EQ(newer->newest.generation, 46U);
  // The longer run holds the shorter one's newest checkpoint.
  const Result<TamperContent> cut = parse(file_of(content_of(41, 3)));
  EXPECT_TRUE(same(cut->newest, older->newest));
}

}  // namespace
}  // namespace strongroom::store
