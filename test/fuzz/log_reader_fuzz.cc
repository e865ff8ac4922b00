// Fuzzes read_log() under a fixed key. The first byte of an input says what the rest is:
//   0  a whole vault file, as it is;
//   1  parts of one, which are sealed here, because no mutation finds a GCM tag: the bytes of the snapshot's info, then
//      blocks of u8 type, u8 operations, u16 size, content. Type 0: a frame whose directory is the content. Type 1:
//      a frame of well-formed operations made of the content. Type 2: the content, unsealed, and nothing after it.
//      Type 3: a frame that announces an epoch of the next DEK;
//   2  the bytes of a snapshot's info.
//
// Built with -DSTRONGROOM_MAKE_SEEDS (and without -fsanitize=fuzzer) it writes its seeds into the directory named by
// its argument instead.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "log/compaction.h"
#include "log/reader.h"
#include "log/writer.h"

namespace {

using namespace strongroom;
using log::FrameHeader;

constexpr StorageId kStorageId = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
constexpr std::uint32_t kEpoch = 1;
constexpr log::EpochSalt kSalt = {42};

// `rotating`: with the key of the next DEK.
std::unique_ptr<log::EpochKeys> make_keys(bool rotating) {
  auto keys = std::make_unique<log::EpochKeys>(SecretBytes(Bytes(32, 0x5a)), kStorageId, 1);
  if (rotating) keys->switch_vault_key(2, SecretBytes(Bytes(32, 0xa5)));
  return keys;
}

void require(bool condition) {
  if (!condition) std::abort();
}

class MemoryFile final : public os::File {
 public:
  explicit MemoryFile(Bytes content = {}) : content_(std::move(content)) {}
  Result<std::size_t> read_at(std::uint64_t offset, MutableBytes out) override {
    if (offset >= content_.size()) return std::size_t{0};
    const std::size_t size =
        std::min<std::size_t>(out.size(), content_.size() - static_cast<std::size_t>(offset));
    std::copy_n(content_.begin() + static_cast<std::ptrdiff_t>(offset), size, out.begin());
    return size;
  }
  Status write_at(std::uint64_t offset, ByteView data) override {
    const std::size_t end = static_cast<std::size_t>(offset) + data.size();
    if (content_.size() < end) content_.resize(end);
    std::copy(data.begin(), data.end(), content_.begin() + static_cast<std::ptrdiff_t>(offset));
    return {};
  }
  Status sync() override { return {}; }
  Status truncate(std::uint64_t size) override {
    content_.resize(static_cast<std::size_t>(size));
    return {};
  }
  Status allocate(std::uint64_t, std::uint64_t) override { return {Reason::kUnsupported, "memory"}; }
  Result<os::FileInfo> info() override {
    os::FileInfo info;
    info.size_bytes = content_.size();
    return info;
  }
  [[nodiscard]] const Bytes& content() const { return content_; }

 private:
  Bytes content_;
};

// The file must not be changed by reading, and what is read must hang together.
void check(const Bytes& content, bool rotating) {
  MemoryFile file(content);
  const std::unique_ptr<log::EpochKeys> owned = make_keys(rotating);
  log::EpochKeys& keys = *owned;
  log::Index index;
  std::uint64_t generation = 0;
  std::size_t commits = 0;
  log::ReadOptions options;
  options.on_snapshot = [&](const log::SnapshotInfo& snapshot) {
    generation = snapshot.checkpoint.generation;
  };
  options.on_commit = [&](const log::CommitInfo& commit) {
    ++commits;
    require(commit.checkpoint.generation == ++generation);
  };
  const Result<log::LoadedLog> loaded = log::read_log(file, kStorageId, keys, index, options);
  require(file.content() == content);
  if (!loaded.ok()) {
    require(loaded.is(Reason::kVaultTampered) || (!rotating && loaded.is(Reason::kPersistenceRolledBack)));
    return;
  }
  require(loaded->newest.generation == generation && loaded->snapshot.generation + commits == generation);
  require(loaded->end_offset <= content.size());
  require((loaded->end == log::LogEnd::kExact) == (loaded->end_offset == content.size()));
  std::string previous;
  std::size_t records = 0;
  log::ValueCipher cipher(keys);
  index.scan({}, [&](const log::Record& record) {
    require(records == 0 || previous < record.key());
    previous = std::string(record.key());
    Bytes value(record.value_bytes() + 1);
    require(cipher.open(record, value.data()));
    return ++records < 10'000;
  });
  require(records == std::min<std::size_t>(index.size(), 10'000));
  // What is believed ends where it says: without the rest it is the same history, and whole.
  if (loaded->end != log::LogEnd::kExact) {
    MemoryFile shorter(
        Bytes(content.begin(), content.begin() + static_cast<std::ptrdiff_t>(loaded->end_offset)));
    const std::unique_ptr<log::EpochKeys> fresh = make_keys(rotating);
    log::Index again;
    const Result<log::LoadedLog> cut = log::read_log(shorter, kStorageId, *fresh, again, {});
    require(cut.ok() && cut->end == log::LogEnd::kExact && cut->newest == loaded->newest);
    require(again.size() == index.size());
  }
}

void check(const Bytes& content) {
  check(content, false);
  check(content, true);
}

// Seals what it is given, as the writer would.
class Sealer {
 public:
  Sealer() : owned_(make_keys(true)), keys_(*owned_), values_(keys_) {
    keys_.add_of_file(kEpoch, kSalt);
    out_.resize(log::kFileHeaderBytes);
    log::encode_file_header(log::FileHeader{1, kStorageId, {7}}, out_.data());
    chain_ = log::snapshot_chain_start(out_);
  }

  void snapshot(Bytes info) {
    if (info.size() >= 80)
      std::fill(info.begin() + 74, info.begin() + 80, std::uint8_t{0});  // records: memory
    const std::optional<log::SnapshotInfo> parsed = log::parse_snapshot_info(info);
    FrameHeader header;
    header.kind = log::CommitKind::kSnapshotHead;
    header.flags = log::kHasSalt | log::kLast;
    header.generation = parsed ? parsed->checkpoint.generation : 0;
    seal(header, info);
    generation_ = header.generation;
    if (parsed) chain_ = parsed->checkpoint.head;
  }
  void raw_entry_table(std::uint8_t operations, ByteView directory) {
    FrameHeader header = commit();
    header.operations = operations;
    seal(header, directory);
  }
  void well_formed(std::uint8_t operations, ByteView content) {
    std::vector<log::Change> changes;
    for (std::size_t at = 0; at + 3 <= content.size() && changes.size() < operations;) {
      const std::size_t key = content[at] % 16 + 1;
      const std::size_t value = content[at + 1] % 64;
      const bool put = content[at + 2] % 4 != 0;
      at += 3;
      if (content.size() - at < key + value) break;
      changes.push_back(log::Change{put ? log::Operation::kPut : log::Operation::kDelete,
                                    content.subspan(at, key),
                                    put ? content.subspan(at + key, value) : ByteView()});
      at += key + value;
    }
    Bytes frame;
    FrameHeader header = commit();
    header.epoch = epoch_;
    counter_ += changes.size();
    chain_ = log::build_frame(header, kSalt, chain_, changes, {}, *values_.find(epoch_), values_, kStorageId,
                              frame, nullptr);
    out_.insert(out_.end(), frame.begin(), frame.end());
  }
  void announce(std::uint8_t operations, ByteView directory) {
    keys_.add(++epoch_, kSalt);
    FrameHeader header = commit();
    header.flags = log::kHasSalt | log::kNextKey;
    header.operations = operations;
    seal(header, directory);
  }
  void append(ByteView bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }
  [[nodiscard]] const Bytes& file() const { return out_; }

 private:
  FrameHeader commit() {
    FrameHeader header;
    header.generation = ++generation_;
    header.tamper_synced = generation_ / 2;
    return header;
  }
  void seal(FrameHeader header, ByteView directory) {
    header.epoch = epoch_;
    header.counter = counter_ += 300;
    header.entry_table_bytes = static_cast<std::uint32_t>(directory.size());
    Bytes frame(header.frame_bytes());
    log::encode_frame_header(header, kStorageId, frame.data());
    const std::size_t prefix = log::kFrameHeaderBytes + header.salt_bytes();
    if (header.salt_bytes() != 0)
      std::copy(kSalt.begin(), kSalt.end(), frame.begin() + log::kFrameHeaderBytes);
    Bytes associated(kStorageId.begin(), kStorageId.end());
    associated.insert(associated.end(), chain_.begin(), chain_.end());
    associated.insert(associated.end(), frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(prefix));
    std::uint8_t* const tag = frame.data() + prefix + directory.size();
    keys_.cipher(epoch_)->seal(log::counter_nonce(header.counter), associated, directory,
                               frame.data() + prefix, tag);
    chain_ = log::next_link(chain_, ByteView(frame).first(prefix), {tag, crypto::kTagBytes});
    out_.insert(out_.end(), frame.begin(), frame.end());
  }

  std::unique_ptr<log::EpochKeys> owned_;
  log::EpochKeys& keys_;
  log::ValueCipher values_;
  std::uint32_t epoch_ = kEpoch;
  Bytes out_;
  Digest chain_{};
  std::uint64_t generation_ = 0;
  std::uint64_t counter_ = 0;
};

void check_sealed(ByteView input) {
  ByteReader reader(input);
  Sealer sealer;
  const ByteView info = reader.bytes(reader.number<std::uint16_t>());
  sealer.snapshot(Bytes(info.begin(), info.end()));
  while (reader.remaining() != 0) {
    const auto type = reader.number<std::uint8_t>();
    const auto operations = reader.number<std::uint8_t>();
    const ByteView content = reader.bytes(reader.number<std::uint16_t>());
    if (!reader.ok()) break;
    if (type % 4 == 0) sealer.raw_entry_table(operations, content);
    if (type % 4 == 1) sealer.well_formed(operations, content);
    if (type % 4 == 3) sealer.announce(operations, content);
    if (type % 4 == 2) {
      sealer.append(content);
      break;
    }
  }
  check(sealer.file());
}

void check_base_info(ByteView input) {
  const std::optional<log::SnapshotInfo> info = log::parse_snapshot_info(input);
  if (!info) return;
  const std::optional<log::SnapshotInfo> again = log::parse_snapshot_info(log::encode_snapshot_info(*info));
  require(again && again->checkpoint == info->checkpoint && again->witnessed == info->witnessed &&
          again->epochs == info->epochs && again->records == info->records &&
          again->former_chain == info->former_chain);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const ByteView rest(data + 1, size - 1);
  if (data[0] % 3 == 0) check(Bytes(rest.begin(), rest.end()));
  if (data[0] % 3 == 1) check_sealed(rest);
  if (data[0] % 3 == 2) check_base_info(rest);
  return 0;
}

#ifdef STRONGROOM_MAKE_SEEDS
int main(int, char** arguments) {
  const auto save = [&](const char* name, std::uint8_t type, ByteView bytes) {
    std::ofstream out(std::string(arguments[1]) + "/" + name, std::ios::binary);
    out.put(static_cast<char>(type))
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  };
  log::SnapshotInfo info;
  info.checkpoint = {3, {9}};
  info.epochs[kEpoch] = kSalt;
  info.witnessed = {{1, {1}}, {2, {2}}};
  const Bytes snapshot = log::encode_snapshot_info(info);
  Bytes operations = {3, 5, 1, 'k', 'e', 'y', '1', 'v', 'a', 'l', 'u', 'e',
                      0, 0, 0, 'k', 0,   3,   1,   'k', 'x', 'y', 'z'};
  Sealer sealer;
  sealer.snapshot(snapshot);
  sealer.well_formed(4, operations);
  sealer.well_formed(4, operations);
  const Bytes whole = sealer.file();
  save("whole", 0, whole);
  save("torn", 0, ByteView(whole).first(whole.size() - 20));
  Bytes inside = whole;
  inside[whole.size() - 300] ^= 1;
  save("damaged-inside", 0, inside);
  Bytes padded = whole;
  padded.resize(padded.size() + 512);
  save("padded", 0, padded);

  Bytes parts;
  ByteWriter writer(parts);
  const auto block = [&](std::uint8_t type, ByteView content) {
    writer.number(type);
    writer.number(std::uint8_t{4});
    writer.number(static_cast<std::uint16_t>(content.size()));
    writer.bytes(content);
  };
  writer.number(static_cast<std::uint16_t>(snapshot.size()));
  writer.bytes(snapshot);
  block(1, operations);
  const Bytes directory = {2, 3, 'k', 'e', 'y', 2, 1, 'a', 2, 1, 'b', 2, 1, 'c'};  // four deletes
  block(0, directory);
  block(1, operations);
  save("sealed", 1, parts);
  block(2, operations);
  save("sealed-torn", 1, parts);
  save("snapshot-info", 2, snapshot);
  info.former_chain = Digest{7};
  save("snapshot-info-moved", 2, log::encode_snapshot_info(info));

  parts.clear();
  writer.number(static_cast<std::uint16_t>(snapshot.size()));
  writer.bytes(snapshot);
  block(1, operations);
  block(3, directory);
  block(1, operations);
  save("sealed-next-key", 1, parts);
  Sealer rotating;
  rotating.snapshot(snapshot);
  rotating.well_formed(4, operations);
  rotating.announce(4, directory);
  rotating.well_formed(4, operations);
  save("whole-next-key", 0, rotating.file());
  return 0;
}
#endif
