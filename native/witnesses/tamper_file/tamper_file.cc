// The header (192 bytes), integers little-endian:
//
//   0 magic "SRTAMPER" | 8 version u16 | 10 zero u16 | 12 key id u32 | 16 storage id 16 | 32 capacity u32 |
//   36 zero u32 40 checkpoint generation u64 | 48 checkpoint head 32 | 80 checkpoint chain 32 | 112 zero 48
//   160 HMAC-SHA-256(tamper key, bytes 0 to 159 | "strongroom/v5 tamper header")
//
// An entry (88 bytes):
//
//   0 generation u64 | 8 wall_ms i64 | 16 kind u8 | 17 zero 3 | 20 operations u32 | 24 head 32
//   56 chain: HMAC-SHA-256(tamper key, chain of the entry before | bytes 0 to 55)
//
// Invariants:
// - The two HMAC inputs differ in length (187 and 88 bytes), so that neither can stand for the other.
// - A slot of zeros means "none yet": a chain of 32 zero bytes does not occur.
// - An append in place writes only slots that are zero in the file; what was durable is never written over.
#include "witnesses/tamper_file/tamper_file.h"

#include <algorithm>
#include <utility>

#include "crypto/crypto.h"

namespace strongroom::store {
namespace {

constexpr std::string_view kMagic = "SRTAMPER";
constexpr std::string_view kHeaderLabel = "strongroom/v5 tamper header";
constexpr std::uint16_t kVersion = 1;

constexpr std::size_t kVersionAt = 8;
constexpr std::size_t kZero16At = kVersionAt + 2;
constexpr std::size_t kKeyIdAt = kZero16At + 2;
constexpr std::size_t kStorageIdAt = kKeyIdAt + 4;
constexpr std::size_t kCapacityAt = kStorageIdAt + sizeof(StorageId);
constexpr std::size_t kZero32At = kCapacityAt + 4;
constexpr std::size_t kGenerationAt = kZero32At + 4;
constexpr std::size_t kHeadAt = kGenerationAt + 8;
constexpr std::size_t kChainAt = kHeadAt + sizeof(Digest);
constexpr std::size_t kPaddingAt = kChainAt + sizeof(Digest);
constexpr std::size_t kMacAt = kTamperHeaderBytes - sizeof(Digest);
static_assert(kMagic.size() == kVersionAt);
static_assert(kKeyIdAt == 12 && kStorageIdAt == 16 && kCapacityAt == 32 && kGenerationAt == 40);
static_assert(kHeadAt == 48 && kChainAt == 80 && kPaddingAt == 112 && kMacAt == 160);
static_assert(kTamperHeaderBytes == 192);

constexpr std::size_t kEntryWallAt = 8;
constexpr std::size_t kEntryKindAt = kEntryWallAt + 8;
constexpr std::size_t kEntryOperationsAt = kEntryKindAt + 1 + 3;
constexpr std::size_t kEntryHeadAt = kEntryOperationsAt + 4;
constexpr std::size_t kEntryChainAt = kEntryHeadAt + sizeof(Digest);
static_assert(kEntryKindAt == 16 && kEntryOperationsAt == 20 && kEntryHeadAt == 24 && kEntryChainAt == 56);
static_assert(kEntryChainAt + sizeof(Digest) == kTamperEntryBytes && kTamperEntryBytes == 88);
static_assert(kMacAt + kHeaderLabel.size() != sizeof(Digest) + kEntryChainAt);

using EntryBytes = std::array<std::uint8_t, kTamperEntryBytes>;

struct Header {
  std::uint32_t key_id = 0;
  std::uint32_t capacity = 0;
  AuditCheckpoint checkpoint;
};

Status tampered(std::string detail) {
  return {Reason::kTamperFileTampered, "tamper file: " + std::move(detail)};
}

Status invalid(std::string detail) { return {Reason::kInvalidArgument, "tamper file: " + std::move(detail)}; }

bool acceptable_capacity(std::uint32_t capacity) {
  return capacity >= kTamperCapacityMin && capacity <= kTamperCapacityMax;
}

bool follows(std::uint64_t generation, std::uint64_t previous) {
  return previous != UINT64_MAX && generation == previous + 1;
}

Digest header_mac(ByteView key, ByteView header) {
  return crypto::hmac_sha256(key, {header.first(kMacAt), as_bytes(kHeaderLabel)});
}

// Everything but the chain, which the caller puts in.
EntryBytes encode_fields(const AuditEntry& entry) {
  EntryBytes out{};
  store_le(out.data(), entry.generation);
  store_le(out.data() + kEntryWallAt, static_cast<std::uint64_t>(entry.wall_ms));
  out[kEntryKindAt] = entry.kind;
  store_le(out.data() + kEntryOperationsAt, entry.operations);
  std::copy(entry.head.begin(), entry.head.end(), out.begin() + kEntryHeadAt);
  return out;
}

Digest chain_of(ByteView key, const Digest& previous, const EntryBytes& entry) {
  return crypto::hmac_sha256(key, {previous, ByteView(entry).first(kEntryChainAt)});
}

Digest load_digest(ByteView from, std::size_t at) {
  Digest out;
  std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(at), out.size(), out.begin());
  return out;
}

AuditEntry decode_entry(ByteView slot) {
  AuditEntry entry;
  entry.generation = load_le<std::uint64_t>(slot.data());
  entry.wall_ms = static_cast<std::int64_t>(load_le<std::uint64_t>(slot.data() + kEntryWallAt));
  entry.kind = slot[kEntryKindAt];
  entry.operations = load_le<std::uint32_t>(slot.data() + kEntryOperationsAt);
  entry.head = load_digest(slot, kEntryHeadAt);
  return entry;
}

AuditCheckpoint checkpoint_of(ByteView slot) {
  return {load_le<std::uint64_t>(slot.data()), load_digest(slot, kEntryHeadAt),
          load_digest(slot, kEntryChainAt)};
}

// The records of `entries`, which follow `newest`; moves `newest` along.
Result<Bytes> encode_records(const std::vector<AuditEntry>& entries, ByteView key, AuditCheckpoint& newest) {
  Bytes out;
  out.reserve(entries.size() * kTamperEntryBytes);
  for (const AuditEntry& entry : entries) {
    if (!follows(entry.generation, newest.generation)) {
      return invalid("generation " + std::to_string(entry.generation) + " does not follow " +
                     std::to_string(newest.generation));
    }
    EntryBytes raw = encode_fields(entry);
    newest = {entry.generation, entry.head, chain_of(key, newest.chain, raw)};
    std::copy(newest.chain.begin(), newest.chain.end(), raw.begin() + kEntryChainAt);
    out.insert(out.end(), raw.begin(), raw.end());
  }
  return out;
}

// The whole file; the slots after `records` are zero.
Bytes encode_image(const Header& header, ByteView records, ByteView key, const StorageId& storage_id) {
  Bytes out(tamper_file_bytes(header.capacity));
  std::uint8_t* const at = out.data();
  std::copy(kMagic.begin(), kMagic.end(), at);
  store_le(at + kVersionAt, kVersion);
  store_le(at + kKeyIdAt, header.key_id);
  std::copy(storage_id.begin(), storage_id.end(), at + kStorageIdAt);
  store_le(at + kCapacityAt, header.capacity);
  store_le(at + kGenerationAt, header.checkpoint.generation);
  std::copy(header.checkpoint.head.begin(), header.checkpoint.head.end(), at + kHeadAt);
  std::copy(header.checkpoint.chain.begin(), header.checkpoint.chain.end(), at + kChainAt);
  const Digest mac = header_mac(key, out);
  std::copy(mac.begin(), mac.end(), at + kMacAt);
  std::copy(records.begin(), records.end(), at + kTamperHeaderBytes);
  return out;
}

// Believes no field before the whole header authenticates, but the version: without it the layout is not
// known.
Result<Header> parse_header(ByteView file, ByteView key, const StorageId& storage_id) {
  if (file.size() < kTamperHeaderBytes) return tampered("cut short in the header");
  const ByteView raw = file.first(kTamperHeaderBytes);
  if (as_text(raw.first(kMagic.size())) != kMagic) return tampered("not a tamper file");
  const auto version = load_le<std::uint16_t>(raw.data() + kVersionAt);
  if (version != kVersion) {
    return Status(Reason::kVersion, "tamper file: version " + std::to_string(version) + ", known is " +
                                        std::to_string(kVersion));
  }
  if (!crypto::equal_constant_time(header_mac(key, raw), raw.subspan(kMacAt))) {
    return tampered("the header does not authenticate");
  }
  if (!equal(raw.subspan(kStorageIdAt, sizeof(StorageId)), storage_id)) return tampered("another storage id");
  Header header;
  header.key_id = load_le<std::uint32_t>(raw.data() + kKeyIdAt);
  header.capacity = load_le<std::uint32_t>(raw.data() + kCapacityAt);
  header.checkpoint = {load_le<std::uint64_t>(raw.data() + kGenerationAt), load_digest(raw, kHeadAt),
                       load_digest(raw, kChainAt)};
  if (!acceptable_capacity(header.capacity)) return tampered("capacity out of bounds");
  if (!all_zero(raw.subspan(kZero16At, 2)) || !all_zero(raw.subspan(kZero32At, 4)) ||
      !all_zero(raw.subspan(kPaddingAt, kMacAt - kPaddingAt))) {
    return tampered("reserved bytes are set");
  }
  return header;
}

}  // namespace

Digest next_chain(ByteView tamper_key, const Digest& previous, const AuditEntry& entry) {
  return chain_of(tamper_key, previous, encode_fields(entry));
}

Result<TamperContent> parse_tamper_file(ByteView file, ByteView tamper_key, const StorageId& storage_id) {
  SR_ASSIGN(const Header header, parse_header(file, tamper_key, storage_id));
  TamperContent content;
  content.checkpoint = content.newest = header.checkpoint;
  content.capacity = header.capacity;
  content.key_id = header.key_id;

  ByteView rest = file.subspan(kTamperHeaderBytes);
  while (content.entries.size() < header.capacity && rest.size() >= kTamperEntryBytes) {
    const ByteView slot = rest.first(kTamperEntryBytes);
    const AuditEntry entry = decode_entry(slot);
    if (!follows(entry.generation, content.newest.generation)) break;
    // The canonical form is compared, so that the reserved bytes are covered too.
    EntryBytes expected = encode_fields(entry);
    const Digest chain = chain_of(tamper_key, content.newest.chain, expected);
    std::copy(chain.begin(), chain.end(), expected.begin() + kEntryChainAt);
    if (!crypto::equal_constant_time(expected, slot)) break;
    content.newest = {entry.generation, entry.head, chain};
    content.entries.push_back(entry);
    rest = rest.subspan(kTamperEntryBytes);
  }
  content.clean = file.size() == tamper_file_bytes(header.capacity) && all_zero(rest);
  return content;
}

Result<TamperContent> read_tamper_file(os::Directory& directory, std::string_view name,
                                       const TamperKeyOf& tamper_key_of, const StorageId& storage_id) {
  SR_ASSIGN(const std::unique_ptr<os::File> file, directory.open(name, os::OpenMode::kRead));
  // What follows the header is read only when an authentic capacity bounds it. One byte more than the exact
  // size tells a file that is too long.
  Bytes bytes(kTamperHeaderBytes);
  SR_ASSIGN(const std::size_t header_size, file->read_at(0, bytes));
  bytes.resize(header_size);
  if (bytes.size() < kKeyIdAt + 4) return tampered("cut short in the header");
  const SecretBytes tamper_key = tamper_key_of(load_le<std::uint32_t>(bytes.data() + kKeyIdAt));
  SR_ASSIGN(const Header header, parse_header(bytes, tamper_key.view(), storage_id));
  bytes.resize(tamper_file_bytes(header.capacity) + 1);
  SR_ASSIGN(const std::size_t rest_size,
            file->read_at(kTamperHeaderBytes, MutableBytes(bytes).subspan(kTamperHeaderBytes)));
  bytes.resize(kTamperHeaderBytes + rest_size);
  return parse_tamper_file(bytes, tamper_key.view(), storage_id);
}

Result<TamperContent> read_tamper_file(os::Directory& directory, std::string_view name, ByteView tamper_key,
                                       const StorageId& storage_id) {
  return read_tamper_file(
      directory, name, [tamper_key](std::uint32_t) { return SecretBytes(tamper_key); }, storage_id);
}

Result<Bytes> encode_tamper_file(const TamperContent& content, ByteView tamper_key,
                                 const StorageId& storage_id) {
  if (!acceptable_capacity(content.capacity)) return invalid("capacity out of bounds");
  if (content.entries.size() > content.capacity) return invalid("more entries than its capacity");
  AuditCheckpoint newest = content.checkpoint;
  SR_ASSIGN(const Bytes records, encode_records(content.entries, tamper_key, newest));
  return encode_image({content.key_id, content.capacity, content.checkpoint}, records, tamper_key,
                      storage_id);
}

TamperFile::TamperFile(os::Directory& directory, std::string name, SecretBytes tamper_key,
                       const StorageId& storage_id, std::uint32_t key_id, std::uint32_t capacity)
    : directory_(directory),
      name_(std::move(name)),
      tamper_key_(std::move(tamper_key)),
      storage_id_(storage_id),
      key_id_(key_id),
      capacity_(capacity) {}

Result<std::unique_ptr<TamperFile>> TamperFile::create(os::Directory& directory, std::string name,
                                                       SecretBytes tamper_key, const StorageId& storage_id,
                                                       std::uint32_t key_id,
                                                       const AuditCheckpoint& checkpoint,
                                                       const std::vector<AuditEntry>& entries,
                                                       std::uint32_t capacity) {
  if (!acceptable_capacity(capacity)) return invalid("capacity out of bounds");
  std::unique_ptr<TamperFile> made(
      new TamperFile(directory, std::move(name), std::move(tamper_key), storage_id, key_id, capacity));
  made->checkpoint_ = made->newest_ = checkpoint;
  AuditCheckpoint newest = checkpoint;
  SR_ASSIGN(Bytes records, encode_records(entries, made->tamper_key_.view(), newest));
  SR_TRY(made->replace_with(std::move(records), newest, capacity / 2));
  return made;
}

Result<std::unique_ptr<TamperFile>> TamperFile::resume(os::Directory& directory, std::string name,
                                                       SecretBytes tamper_key, const StorageId& storage_id,
                                                       std::uint32_t key_id, const TamperContent& content,
                                                       Entries entries) {
  if (!acceptable_capacity(content.capacity)) return invalid("capacity out of bounds");
  if (content.entries.size() > content.capacity) return invalid("more entries than its capacity");
  if (content.key_id != key_id) return invalid("resumed under another key id");
  std::unique_ptr<TamperFile> made(new TamperFile(directory, std::move(name), std::move(tamper_key),
                                                  storage_id, key_id, content.capacity));
  made->checkpoint_ = made->newest_ = content.checkpoint;
  SR_ASSIGN(made->records_, encode_records(content.entries, made->tamper_key_.view(), made->newest_));
  if (made->newest_.chain != content.newest.chain) return invalid("resumed under another key");
  made->file_known_ = entries == Entries::kDurable;
  if (!made->file_known_) return made;
  SR_TRY(made->open_file());
  SR_ASSIGN(const os::FileInfo info, made->file_->info());
  if (info.size_bytes != tamper_file_bytes(content.capacity)) {
    SR_TRY(made->replace_with(made->records_, made->newest_, content.capacity));
  } else if (!content.clean) {
    SR_TRY(made->clear_tail());
  }
  return made;
}

Status TamperFile::append(const std::vector<AuditEntry>& entries) {
  AuditCheckpoint newest = newest_;
  SR_ASSIGN(const Bytes fresh, encode_records(entries, tamper_key_.view(), newest));
  const bool fits = records_.size() + fresh.size() <= std::size_t{capacity_} * kTamperEntryBytes;
  if (!fits || !file_known_) {
    Bytes records = records_;
    records.insert(records.end(), fresh.begin(), fresh.end());
    return replace_with(std::move(records), newest, fits ? capacity_ : capacity_ / 2);
  }
  if (fresh.empty()) return {};
  SR_TRY(open_file());
  file_known_ = false;
  SR_TRY(file_->write_at(kTamperHeaderBytes + records_.size(), fresh));
  SR_TRY(file_->sync());
  file_known_ = true;
  records_.insert(records_.end(), fresh.begin(), fresh.end());
  newest_ = newest;
  return {};
}

TamperContent TamperFile::content() const {
  TamperContent out;
  out.checkpoint = checkpoint_;
  out.newest = newest_;
  out.capacity = capacity_;
  out.key_id = key_id_;
  for (ByteView rest = records_; !rest.empty(); rest = rest.subspan(kTamperEntryBytes)) {
    out.entries.push_back(decode_entry(rest.first(kTamperEntryBytes)));
  }
  return out;
}

Status TamperFile::open_file() {
  if (file_ != nullptr) return {};
  SR_ASSIGN(file_, directory_.open(name_, os::OpenMode::kReadWrite));
  return {};
}

// In place, because it then needs no space on a full disk. A crash inside leaves damage or zeros after the
// run, as before.
Status TamperFile::clear_tail() {
  const std::size_t from = kTamperHeaderBytes + records_.size();
  const Bytes zeros(tamper_file_bytes(capacity_) - from);
  SR_TRY(file_->write_at(from, zeros));
  return file_->sync();
}

// Replaces the file by one that holds the newest `entries_max` of `records`; those before go into its
// checkpoint.
Status TamperFile::replace_with(Bytes records, const AuditCheckpoint& newest, std::uint32_t entries_max) {
  AuditCheckpoint checkpoint = checkpoint_;
  const std::size_t bytes_max = std::size_t{entries_max} * kTamperEntryBytes;
  if (records.size() > bytes_max) {
    const std::size_t cut = records.size() - bytes_max;
    checkpoint = checkpoint_of(ByteView(records).subspan(cut - kTamperEntryBytes, kTamperEntryBytes));
    records.erase(records.begin(), records.begin() + static_cast<std::ptrdiff_t>(cut));
  }
  file_known_ = false;
  file_.reset();
  SR_TRY(os::replace_file(
      directory_, name_,
      encode_image({key_id_, capacity_, checkpoint}, records, tamper_key_.view(), storage_id_)));
  file_known_ = true;
  checkpoint_ = checkpoint;
  newest_ = newest;
  records_ = std::move(records);
  return {};
}

}  // namespace strongroom::store
