// Fuzzes parse_tamper_file() under a fixed key. The first byte of an input says which authentication codes
// are put right before parsing, because no mutation finds an HMAC: bit 0 the header's, bit 1 the chains of
// all slots that are not zero. The rest is the file.
//
// Built with -DSTRONGROOM_MAKE_SEEDS (and without -fsanitize=fuzzer) it writes its seeds into the directory
// named by its argument instead.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "crypto/crypto.h"
#include "witnesses/tamper_file/tamper_file.h"

namespace {

using namespace strongroom;
using store::AuditEntry;
using store::TamperContent;

constexpr std::size_t kMacAt = 160;
constexpr std::size_t kCheckpointChainAt = 80;
constexpr std::size_t kEntryChainAt = 56;
constexpr std::string_view kHeaderLabel = "strongroom/v5 tamper header";
constexpr StorageId kStorageId = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

Bytes key() { return Bytes(32, 0x5a); }

void put(Bytes& file, std::size_t at, const Digest& digest) {
  std::copy(digest.begin(), digest.end(), file.begin() + static_cast<std::ptrdiff_t>(at));
}

void authenticate(Bytes& file, std::uint8_t which) {
  if (file.size() < store::kTamperHeaderBytes) return;
  if ((which & 1) != 0) {
    put(file, kMacAt, crypto::hmac_sha256(key(), {ByteView(file).first(kMacAt), as_bytes(kHeaderLabel)}));
  }
  if ((which & 2) == 0) return;
  std::size_t previous = kCheckpointChainAt;
  for (std::size_t at = store::kTamperHeaderBytes; at + store::kTamperEntryBytes <= file.size();
       at += store::kTamperEntryBytes) {
    const ByteView slot = ByteView(file).subspan(at, store::kTamperEntryBytes);
    if (all_zero(slot)) continue;
    put(file, at + kEntryChainAt,
        crypto::hmac_sha256(key(),
                            {ByteView(file).subspan(previous, sizeof(Digest)), slot.first(kEntryChainAt)}));
    previous = at + kEntryChainAt;
  }
}

void require(bool condition) {
  if (!condition) std::abort();
}

void check(ByteView file) {
  const Result<TamperContent> parsed = store::parse_tamper_file(file, key(), kStorageId);
  if (!parsed.ok()) {
    require(parsed.is(Reason::kTamperFileTampered) || parsed.is(Reason::kVersion));
    return;
  }
  const TamperContent& content = *parsed;
  require(content.capacity >= store::kTamperCapacityMin && content.capacity <= store::kTamperCapacityMax);
  require(content.entries.size() <= content.capacity);
  store::AuditCheckpoint checkpoint = content.checkpoint;
  for (const AuditEntry& entry : content.entries) {
    require(checkpoint.generation != UINT64_MAX && entry.generation == checkpoint.generation + 1);
    checkpoint = {entry.generation, entry.head, store::next_chain(key(), checkpoint.chain, entry)};
  }
  require(checkpoint.generation == content.newest.generation && checkpoint.head == content.newest.head &&
          checkpoint.chain == content.newest.chain);
  // There is one encoding: what was accepted is what the writer would have written, up to the damage.
  const std::size_t believed = store::kTamperHeaderBytes + content.entries.size() * store::kTamperEntryBytes;
  require(believed <= file.size());
  if (!content.clean && content.capacity > 4096)
    return;  // an image of the claimed size would only cost memory
  const Result<Bytes> again = store::encode_tamper_file(content, key(), kStorageId);
  require(again.ok());
  require(equal(ByteView(*again).first(believed), file.first(believed)));
  require(content.clean == equal(*again, file));
}

}  // namespace

#ifndef STRONGROOM_MAKE_SEEDS

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  Bytes file(data + 1, data + size);
  authenticate(file, data[0]);
  check(file);
  return 0;
}

#else

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  for (const std::uint32_t capacity : {2U, 8U}) {
    for (std::uint32_t count = 0; count <= capacity; count += capacity / 2) {
      TamperContent content;
      content.capacity = capacity;
      content.key_id = 1;
      content.checkpoint.generation = 40;
      for (std::uint32_t i = 0; i < count; ++i) {
        content.entries.push_back(
            {41 + i, 1'700'000'000'000 + i, 1, i, crypto::sha256({as_bytes(std::to_string(i))})});
      }
      const Result<Bytes> file = store::encode_tamper_file(content, key(), kStorageId);
      require(file.ok());
      Bytes fixed = *file;
      authenticate(fixed, 3);
      require(fixed == *file);  // or the layout above is not the writer's
      check(fixed);
      for (const int fix : {0, 3}) {
        std::ofstream out(std::string(argv[1]) + "/capacity" + std::to_string(capacity) + "-entries" +
                              std::to_string(count) + "-fix" + std::to_string(fix),
                          std::ios::binary);
        out.put(static_cast<char>(fix));
        out.write(reinterpret_cast<const char*>(file->data()), static_cast<std::streamsize>(file->size()));
      }
    }
  }
  return 0;
}

#endif
