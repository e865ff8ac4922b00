#include "header/persistence_file.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <iterator>

#include "base/limits.h"
#include "expect_status.h"
#include "protectors/password/password_slot.h"
#include "protectors/software/software_slot.h"

namespace strongroom::store {
namespace {

template <std::size_t N>
std::array<std::uint8_t, N> counted(std::uint8_t first) {
  std::array<std::uint8_t, N> out{};
  for (std::size_t i = 0; i < N; ++i) out[i] = static_cast<std::uint8_t>(first + i);
  return out;
}

const auto kDek = counted<32>(0x00);
const auto kRootKey = counted<32>(0x40);
const auto kPasswordKek = counted<32>(0x60);
const StorageId kStorageId = counted<16>(0x80);
const auto kVaultSalt = counted<32>(0xA0);
const auto kVendorKey = counted<32>(0xC0);
constexpr std::uint32_t kKeyId = 7;

constexpr std::size_t kCopyBytesAt = 12;
constexpr std::size_t kVersionAt = 8;
constexpr std::size_t kChecksumBytes = 32;

KeySlot software_slot(std::uint32_t id = 1) {
  return wrap_dek(id, SlotType::kSoftware,
                  encode_software_parameters({SecretStoreType::kFile, "/var/lib/acme/secrets"}),
                  software_kek(kRootKey, kStorageId).view(), kDek, kStorageId, kKeyId);
}

KeySlot password_slot(std::uint32_t id = 2) {
  return wrap_dek(id, SlotType::kPassword, encode_password_parameters({counted<16>(0xE0), {}}), kPasswordKek,
                  kDek, kStorageId, kKeyId);
}

PersistenceHeader some_header() {
  PersistenceHeader header;
  header.state = ProvisionState::kComplete;
  header.instance = "acme-licensing";
  header.storage_id = kStorageId;
  header.key_id = kKeyId;
  header.slots.push_back(software_slot());
  header.slots.push_back(password_slot());
  return header;
}

CoreData some_core() {
  CoreData core;
  core.vault_file_name = "acme-vault.bin";
  core.vault_salt = kVaultSalt;
  core.authority.vendor_public_key = kVendorKey;
  return core;
}

Bytes encoded(const PersistenceHeader& header, const CoreData& core, Digest* hash = nullptr) {
  auto file = encode_persistence(header, core, kDek, hash);
  EXPECT_TRUE(file.ok()) << (file.ok() ? "" : file.error().detail);
  return file.ok() ? *std::move(file) : Bytes{};
}
Bytes encoded() { return encoded(some_header(), some_core()); }

void expect_same(const KeySlot& a, const KeySlot& b) {
  EXPECT_EQ(a.id, b.id);
  EXPECT_EQ(a.type, b.type);
  EXPECT_EQ(a.parameters, b.parameters);
  EXPECT_EQ(a.nonce, b.nonce);
  EXPECT_EQ(a.wrapped_dek, b.wrapped_dek);
  EXPECT_EQ(a.tag, b.tag);
  EXPECT_EQ(a.key_check_value, b.key_check_value);
}

void expect_same(const PersistenceHeader& a, const PersistenceHeader& b) {
  EXPECT_EQ(a.state, b.state);
  EXPECT_EQ(a.instance, b.instance);
  EXPECT_EQ(a.storage_id, b.storage_id);
  EXPECT_EQ(a.key_id, b.key_id);
  ASSERT_EQ(a.slots.size(), b.slots.size());
  for (std::size_t i = 0; i < a.slots.size(); ++i) expect_same(a.slots[i], b.slots[i]);
}

void expect_same(const CoreData& a, const CoreData& b) {
  EXPECT_EQ(a.vault_file_name, b.vault_file_name);
  EXPECT_EQ(a.vault_salt, b.vault_salt);
  EXPECT_EQ(a.witnesses, b.witnesses);
  EXPECT_EQ(a.counter_index, b.counter_index);
  EXPECT_TRUE(equal(a.counter_secret.view(), b.counter_secret.view()));
  EXPECT_EQ(a.extend_index, b.extend_index);
  EXPECT_TRUE(equal(a.extend_secret.view(), b.extend_secret.view()));
  EXPECT_EQ(a.window_ms_max, b.window_ms_max);
  EXPECT_EQ(a.clock_tolerance_ms, b.clock_tolerance_ms);
  EXPECT_EQ(a.age_ms_max, b.age_ms_max);
  EXPECT_EQ(a.authority.vendor_public_key, b.authority.vendor_public_key);
  ASSERT_EQ(a.previous.has_value(), b.previous.has_value());
  if (a.previous) {
    EXPECT_EQ(a.previous->key_id, b.previous->key_id);
    EXPECT_TRUE(equal(a.previous->key.view(), b.previous->key.view()));
  }
  ASSERT_EQ(a.former_field_keys.size(), b.former_field_keys.size());
  for (std::size_t i = 0; i < a.former_field_keys.size(); ++i) {
    EXPECT_EQ(a.former_field_keys[i].key_id, b.former_field_keys[i].key_id);
    EXPECT_TRUE(equal(a.former_field_keys[i].key.view(), b.former_field_keys[i].key.view()));
  }
}

// As in persistence_v5_rotating.bin.
CoreData rotating_core() {
  CoreData core = some_core();
  core.previous = IdentifiedKey{kKeyId - 1, SecretBytes(counted<32>(0x20))};
  core.former_field_keys.push_back({3, SecretBytes(counted<32>(0x30))});
  core.former_field_keys.push_back({kKeyId - 1, SecretBytes(counted<32>(0x50))});
  return core;
}

// Makes the checksums of both halves fit again, as anyone can who edits the file.
void correct_checksums(Bytes& file) {
  const std::size_t half = file.size() / 2;
  for (const std::size_t begin : {std::size_t{0}, half}) {
    const Digest checksum = crypto::sha256({ByteView(file).subspan(begin, half - kChecksumBytes)});
    std::copy(checksum.begin(), checksum.end(),
              file.begin() + static_cast<std::ptrdiff_t>(begin + half - kChecksumBytes));
  }
}

// The one candidate with one damaged copy that still gives what was written.
bool repaired(ByteView file, const Digest& hash) {
  const auto parsed = parse_persistence(file);
  return parsed.ok() && parsed->size() == 1 && (*parsed)[0].one_copy_damaged && (*parsed)[0].hash == hash &&
         open_core_data((*parsed)[0], kDek).ok();
}

bool refused(ByteView file) { return parse_persistence(file).is(Reason::kPersistenceTampered); }

TEST(PersistenceFile, RoundTrip) {
  Digest hash{};
  const Bytes file = encoded(some_header(), some_core(), &hash);
  EXPECT_EQ(file.size(), 8192U);
  EXPECT_TRUE(equal(ByteView(file).first(4096), ByteView(file).last(4096)));
  EXPECT_EQ(hash, crypto::sha256({ByteView(file).first(4096)}));

  const auto parsed = parse_persistence(file);
  ASSERT_TRUE(parsed.ok());
  ASSERT_EQ(parsed->size(), 1U);
  const ParsedPersistence& only = (*parsed)[0];
  EXPECT_FALSE(only.one_copy_damaged);
  EXPECT_EQ(only.hash, hash);
  const PersistenceHeader& header = only.header;
  EXPECT_EQ(header.state, ProvisionState::kComplete);
  EXPECT_EQ(header.instance, "acme-licensing");
  EXPECT_EQ(header.storage_id, kStorageId);
  EXPECT_EQ(header.key_id, kKeyId);
  ASSERT_EQ(header.slots.size(), 2U);

  bool fits = false;
  const auto by_root =
      unwrap_dek(header.slots[0], software_kek(kRootKey, kStorageId).view(), kStorageId, kKeyId, &fits);
  ASSERT_TRUE(by_root.ok());
  EXPECT_TRUE(equal(by_root->view(), kDek));
  const auto core = open_core_data(only, by_root->view());
  ASSERT_TRUE(core.ok());
  expect_same(*core, some_core());
}

// persistence_v5.bin was written by another implementation of the format (vectors/make-persistence-v5.mjs).
TEST(PersistenceFile, ReadsVersion5File) {
  std::ifstream stream(STRONGROOM_SOURCE_DIR "/test/native/vectors/persistence_v5.bin", std::ios::binary);
  const Bytes file{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  const auto parsed = parse_persistence(file);
  ASSERT_TRUE(parsed.ok());
  ASSERT_EQ(parsed->size(), 1U);
  const ParsedPersistence& only = (*parsed)[0];
  EXPECT_FALSE(only.one_copy_damaged);
  EXPECT_EQ(to_hex(only.hash), "7fda68f27135f626a5fe711f586c750a147353a9fbdef2230ca4f7954dabc1d3");
  EXPECT_EQ(only.header.instance, "acme-licensing");
  EXPECT_EQ(only.header.state, ProvisionState::kComplete);
  EXPECT_EQ(only.header.storage_id, kStorageId);
  EXPECT_EQ(only.header.key_id, kKeyId);
  ASSERT_EQ(only.header.slots.size(), 2U);

  const KeySlot& software = only.header.slots[0];
  const auto config = parse_software_parameters(software.parameters);
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->directory, "/var/lib/acme/secrets");
  bool fits = false;
  const auto dek = unwrap_dek(software, software_kek(kRootKey, kStorageId).view(), kStorageId, kKeyId, &fits);
  ASSERT_TRUE(dek.ok());
  EXPECT_TRUE(equal(dek->view(), kDek));
  const auto password = parse_password_parameters(only.header.slots[1].parameters);
  ASSERT_TRUE(password.ok());
  EXPECT_EQ(password->salt, counted<16>(0xE0));
  EXPECT_EQ(password->argon2.memory_kib, 65536U);
  EXPECT_TRUE(unwrap_dek(only.header.slots[1], kPasswordKek, kStorageId, kKeyId, &fits).ok());

  const auto core = open_core_data(only, kDek);
  ASSERT_TRUE(core.ok());
  expect_same(*core, some_core());
}

TEST(PersistenceFile, GoldenFileOfARotation) {
  std::ifstream stream(
      std::string(STRONGROOM_SOURCE_DIR) + "/test/native/vectors/persistence_v5_rotating.bin",
      std::ios::binary);
  const Bytes file{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  const auto parsed = parse_persistence(file);
  ASSERT_TRUE(parsed.ok());
  const auto core = open_core_data((*parsed)[0], kDek);
  ASSERT_TRUE(core.ok());
  expect_same(*core, rotating_core());
  expect_same(core->clone(), rotating_core());
  const auto again = parse_persistence(encoded(some_header(), rotating_core()));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ((*parsed)[0].version, 5);
  EXPECT_EQ((*again)[0].version, 6);
  EXPECT_EQ((*again)[0].core_sealed.size(), (*parsed)[0].core_sealed.size() + 8);  // the window
  const auto reopened = open_core_data((*again)[0], kDek);
  ASSERT_TRUE(reopened.ok());
  expect_same(*reopened, rotating_core());
}

// Former keys are of DEKs before the present one, each of another.
TEST(PersistenceFile, FormerKeysOutOfOrderAreNotWritten) {
  const auto refused = [](const std::function<void(CoreData&)>& change) {
    CoreData core = rotating_core();
    change(core);
    return encode_persistence(some_header(), core, kDek, nullptr).is(Reason::kInvalidArgument);
  };
  EXPECT_FALSE(refused([](CoreData&) {}));
  EXPECT_TRUE(refused([](CoreData& core) { core.previous->key_id = kKeyId; }));
  EXPECT_TRUE(refused([](CoreData& core) { core.previous->key_id = kKeyId - 2; }));
  EXPECT_TRUE(refused([](CoreData& core) { core.former_field_keys[1].key_id = 3; }));
  EXPECT_TRUE(refused([](CoreData& core) { core.former_field_keys[1].key_id = kKeyId; }));
  EXPECT_TRUE(refused([](CoreData& core) {
    core.former_field_keys.clear();
    for (std::uint32_t i = 0; i <= kFormerFieldKeysMax; ++i)
      core.former_field_keys.push_back({i, SecretBytes(counted<32>(1))});
  }));
}

TEST(PersistenceFile, RoundTripOfEveryChoice) {
  for (const auto state :
       {ProvisionState::kProvisioning, ProvisionState::kComplete, ProvisionState::kDecommissioning}) {
    for (const std::size_t slots : {1U, 2U, 16U}) {
      for (const std::size_t parameter_bytes : {0U, 1U, 100U, 8192U}) {
        PersistenceHeader header = some_header();
        header.state = state;
        header.instance = std::string(parameter_bytes % 128 + 1, 'i');
        header.slots.clear();
        for (std::uint32_t id = 0; id < slots; ++id) {
          header.slots.push_back(wrap_dek(id * 1000, static_cast<SlotType>(id % 5 + 1),
                                          Bytes(parameter_bytes, 7), kPasswordKek, kDek, kStorageId, kKeyId));
        }
        CoreData core = some_core();
        core.witnesses = 31;
        core.extend_index = 0x01800043;
        core.extend_secret = SecretBytes(Bytes(32, 0xA5));
        core.window_ms_max = kWindowMsMin;
        core.counter_index = 0x01800042;
        core.counter_secret = SecretBytes(Bytes(32, 0x5A));
        core.age_ms_max = kMaxAgeOff;
        core.clock_tolerance_ms = 0;
        core.authority.vendor_public_key.reset();
        core.vault_file_name = "vault.bin" + std::string(55, 'x');
        const Bytes file = encoded(header, core);
        ASSERT_EQ(file.size() % 8192, 0U);
        const auto parsed = parse_persistence(file);
        ASSERT_TRUE(parsed.ok());
        ASSERT_EQ(parsed->size(), 1U);
        expect_same((*parsed)[0].header, header);
        const auto opened = open_core_data((*parsed)[0], kDek);
        ASSERT_TRUE(opened.ok());
        expect_same(*opened, core);
      }
    }
  }
}

TEST(PersistenceFile, LengthAroundACopyBoundary) {
  for (std::size_t size = 3600; size < 3800; ++size) {
    PersistenceHeader header = some_header();
    header.slots[0].parameters.assign(size, 1);
    const Bytes file = encoded(header, some_core());
    EXPECT_EQ(file.size(), encoded(header, some_core()).size());
    const auto parsed = parse_persistence(file);
    ASSERT_TRUE(parsed.ok()) << size;
    EXPECT_TRUE(open_core_data((*parsed)[0], kDek).ok()) << size;
  }
}

TEST(PersistenceFile, NoTwoEncodingsAreEqual) {
  const Bytes one = encoded();
  const Bytes two = encoded();
  EXPECT_EQ(one.size(), two.size());
  EXPECT_NE(one, two);
}

TEST(PersistenceFile, HoldsNoPlaintextKey) {
  const Bytes file = encoded();
  for (const ByteView secret :
       {ByteView(kDek), ByteView(kVaultSalt), ByteView(kVendorKey), ByteView(kRootKey)}) {
    EXPECT_EQ(std::search(file.begin(), file.end(), secret.begin(), secret.end()), file.end());
  }
  EXPECT_EQ(as_text(file).find("vault.bin"), std::string_view::npos);
}

TEST(PersistenceFile, EncodeRefusesWhatParseWould) {
  const auto invalid = [](const PersistenceHeader& header) {
    return encode_persistence(header, some_core(), kDek, nullptr).is(Reason::kInvalidArgument);
  };
  PersistenceHeader header = some_header();
  header.instance.clear();
  EXPECT_TRUE(invalid(header));
  header.instance = std::string(129, 'x');
  EXPECT_TRUE(invalid(header));
  header.instance = "a\nb";
  EXPECT_TRUE(invalid(header));
  header = some_header();
  header.slots.clear();
  EXPECT_TRUE(invalid(header));
  for (std::uint32_t id = 0; id < 17; ++id) header.slots.push_back(software_slot(id));
  EXPECT_TRUE(invalid(header));
  header = some_header();
  header.slots[1].id = header.slots[0].id;
  EXPECT_TRUE(invalid(header));
  header = some_header();
  header.slots[0].parameters.resize(8193);
  EXPECT_TRUE(invalid(header));
  header = some_header();
  header.state = ProvisionState{9};
  EXPECT_TRUE(invalid(header));
  header = some_header();
  header.slots[0].type = SlotType{6};
  EXPECT_TRUE(invalid(header));
  EXPECT_TRUE(encode_persistence(some_header(), some_core(), ByteView(kDek).first(31), nullptr)
                  .is(Reason::kInvalidArgument));
  CoreData core = some_core();
  core.witnesses = 16;
  EXPECT_TRUE(encode_persistence(some_header(), core, kDek, nullptr).is(Reason::kInvalidArgument));
  core = some_core();
  core.vault_file_name = "../vault.bin";
  EXPECT_TRUE(encode_persistence(some_header(), core, kDek, nullptr).is(Reason::kPersistenceCorrupt));
}

TEST(PersistenceFileDamage, EveryFlipInOneCopyIsRepaired) {
  Digest hash{};
  Bytes file = encoded(some_header(), some_core(), &hash);
  for (std::size_t bit = 0; bit < file.size() * 8; ++bit) {
    const auto mask = static_cast<std::uint8_t>(1U << (bit % 8));
    file[bit / 8] ^= mask;
    ASSERT_TRUE(repaired(file, hash)) << bit;
    file[bit / 8] ^= mask;
  }
}

TEST(PersistenceFileDamage, TheSameFlipInBothCopiesIsRefused) {
  Bytes file = encoded();
  const std::size_t half = file.size() / 2;
  for (std::size_t bit = 0; bit < half * 8; ++bit) {
    const auto mask = static_cast<std::uint8_t>(1U << (bit % 8));
    file[bit / 8] ^= mask;
    file[half + bit / 8] ^= mask;
    ASSERT_TRUE(refused(file)) << bit;
    file[bit / 8] ^= mask;
    file[half + bit / 8] ^= mask;
  }
}

TEST(PersistenceFileDamage, DifferentFlipsInBothCopiesAreRefused) {
  Bytes file = encoded();
  const std::size_t half = file.size() / 2;
  for (std::size_t i = 0; i < half; ++i) {
    const std::size_t j = half + (i * 2654435761U + 1) % half;
    file[i] ^= 0x10;
    file[j] ^= 0x01;
    ASSERT_TRUE(refused(file)) << i << " " << j;
    file[i] ^= 0x10;
    file[j] ^= 0x01;
  }
}

TEST(PersistenceFileDamage, AnyStatedLengthInTheFirstCopyIsRepaired) {
  Digest hash{};
  Bytes file = encoded(some_header(), some_core(), &hash);
  for (const std::uint32_t size :
       {0U, 1U, 32U, 4095U, 4097U, 8192U, 12288U, 524288U, 1048576U, UINT32_MAX - 4095U}) {
    store_le(file.data() + kCopyBytesAt, size);
    EXPECT_TRUE(repaired(file, hash)) << size;
  }
}

TEST(PersistenceFileDamage, EveryTruncationIsRepairedOrRefused) {
  Digest hash{};
  const Bytes file = encoded(some_header(), some_core(), &hash);
  for (std::size_t size = 0; size < file.size(); ++size) {
    const ByteView cut = ByteView(file).first(size);
    ASSERT_TRUE(size < file.size() / 2 ? refused(cut) : repaired(cut, hash)) << size;
  }
}

TEST(PersistenceFileDamage, EveryTruncationOfALargerFileIsRepairedOrRefused) {
  PersistenceHeader header = some_header();
  header.slots[0].parameters.assign(8192, 1);
  Digest hash{};
  const Bytes file = encoded(header, some_core(), &hash);
  ASSERT_EQ(file.size(), std::size_t{2 * 12288});
  for (std::size_t size = 0; size < file.size(); ++size) {
    const ByteView cut = ByteView(file).first(size);
    ASSERT_TRUE(size < file.size() / 2 ? refused(cut) : repaired(cut, hash)) << size;
  }
}

TEST(PersistenceFileDamage, BytesToSpareAreRefused) {
  const Bytes file = encoded();
  Bytes longer = file;
  for (int i = 0; i < 5000; ++i) {
    longer.push_back(static_cast<std::uint8_t>(i == 0 ? 0 : file[i % 4096]));
    ASSERT_TRUE(refused(longer)) << longer.size();
  }
  longer = file;
  longer.insert(longer.end(), file.begin(), file.begin() + 4096);
  EXPECT_TRUE(refused(longer)) << "three copies";
  longer.insert(longer.end(), file.begin(), file.begin() + 4096);
  EXPECT_TRUE(refused(longer)) << "four copies";
  longer.resize(limits::kPersistenceFileBytesMax + 8192);
  EXPECT_TRUE(refused(longer));
}

TEST(PersistenceFileDamage, ForeignContentIsRefused) {
  EXPECT_TRUE(refused({}));
  for (const std::size_t size : {1U, 15U, 4096U, 8191U, 8192U, 1U << 20}) {
    EXPECT_TRUE(refused(Bytes(size, 0))) << size;
    EXPECT_TRUE(refused(Bytes(size, 0xFF))) << size;
  }
}

TEST(PersistenceFileDamage, UnlikeCopiesAreCandidatesInOrder) {
  Digest hash_one{};
  Digest hash_two{};
  Bytes file = encoded(some_header(), some_core(), &hash_one);
  const Bytes other = encoded(some_header(), some_core(), &hash_two);
  std::copy(other.begin() + 4096, other.end(), file.begin() + 4096);
  const auto parsed = parse_persistence(file);
  ASSERT_TRUE(parsed.ok());
  ASSERT_EQ(parsed->size(), 2U);
  EXPECT_EQ((*parsed)[0].hash, hash_one);
  EXPECT_EQ((*parsed)[1].hash, hash_two);
  EXPECT_TRUE((*parsed)[0].one_copy_damaged);
  EXPECT_TRUE((*parsed)[1].one_copy_damaged);
}

// Whoever edits both copies and corrects the checksums still meets the seal: no bit before the checksum is
// free.
TEST(PersistenceFileDamage, EveryFlipWithCorrectedChecksumsIsRefused) {
  Bytes file = encoded();
  const std::size_t half = file.size() / 2;
  std::size_t by_seal = 0;
  for (std::size_t bit = 0; bit < (half - kChecksumBytes) * 8; ++bit) {
    const std::size_t at = bit / 8;
    const auto mask = static_cast<std::uint8_t>(1U << (bit % 8));
    file[at] ^= mask;
    file[half + at] ^= mask;
    correct_checksums(file);
    const auto parsed = parse_persistence(file);
    if (parsed.ok()) {
      ASSERT_EQ(parsed->size(), 1U);
      ASSERT_TRUE(open_core_data((*parsed)[0], kDek).is(Reason::kPersistenceTampered)) << bit;
      ++by_seal;
    } else {
      const bool version = at == kVersionAt || at == kVersionAt + 1;
      ASSERT_TRUE(parsed.is(version ? Reason::kVersion : Reason::kPersistenceTampered)) << bit;
    }
    file[at] ^= mask;
    file[half + at] ^= mask;
  }
  EXPECT_GT(by_seal, std::size_t{300 * 8});
}

TEST(PersistenceFileDamage, UnknownVersionIsNamedOnlyInAnUndamagedCopy) {
  Bytes file = encoded();
  for (const std::size_t begin : {0U, 4096U})
    store_le<std::uint16_t>(file.data() + begin + kVersionAt, kPersistenceVersion + 1);
  EXPECT_TRUE(refused(file));
  correct_checksums(file);
  EXPECT_TRUE(parse_persistence(file).is(Reason::kVersion));
  file[100] ^= 1;
  EXPECT_TRUE(parse_persistence(file).is(Reason::kVersion));
  file[4096 + 100] ^= 1;
  EXPECT_TRUE(refused(file));
}

TEST(PersistenceFileDamage, StructureIsCheckedBehindACorrectChecksum) {
  const Bytes good = encoded();
  const auto changed = [&](std::size_t at, std::uint8_t value) {
    Bytes file = good;
    file[at] = value;
    file[file.size() / 2 + at] = value;
    correct_checksums(file);
    return file;
  };
  EXPECT_TRUE(refused(changed(10, 0))) << "state";
  EXPECT_TRUE(refused(changed(10, 5))) << "state";
  EXPECT_TRUE(refused(changed(11, 0))) << "no slots";
  EXPECT_TRUE(refused(changed(11, 1))) << "fewer slots than there are";
  EXPECT_TRUE(refused(changed(11, 17))) << "too many slots";
  EXPECT_TRUE(refused(changed(36, 0))) << "empty instance";
  EXPECT_TRUE(refused(changed(36, 129))) << "overlong instance";
  EXPECT_TRUE(refused(changed(37, '\n'))) << "control character in the instance";
  const std::size_t slot = 37 + 14;
  EXPECT_TRUE(refused(changed(slot, 2))) << "two slots with one id";
  EXPECT_TRUE(refused(changed(slot + 4, 0))) << "slot type";
  EXPECT_TRUE(refused(changed(slot + 4, 6))) << "slot type";
  EXPECT_TRUE(refused(changed(slot + 6, 0xFF))) << "length of parameters";
  EXPECT_TRUE(refused(changed(4096 - 33, 1))) << "padding";
}

// More of them, and longer, than any release writes; the slots of a file are taken into memory before it is authenticated.
TEST(PersistenceFileDamage, MoreOrLongerSlotsThanThereMayBeAreRefused) {
  constexpr std::size_t kSlotsAt = 37 + 14;
  const auto with_slots = [](std::size_t count, std::size_t parameters_bytes) {
    PersistenceHeader header = some_header();
    header.slots = {software_slot()};
    const Bytes good = encoded(header, some_core());
    const std::size_t slot_bytes = 4 + 1 + 2 + header.slots[0].parameters.size() + 12 + 32 + 16 + 8;
    Bytes copy(good.begin(), good.begin() + kSlotsAt);
    copy[11] = static_cast<std::uint8_t>(count);
    for (std::size_t i = 0; i < count; ++i) {
      Bytes slot(good.begin() + kSlotsAt, good.begin() + static_cast<std::ptrdiff_t>(kSlotsAt + slot_bytes));
      slot[0] = static_cast<std::uint8_t>(i + 1);
      slot.insert(slot.begin() + 7, parameters_bytes - header.slots[0].parameters.size(), 0);
      store_le(slot.data() + 5, static_cast<std::uint16_t>(parameters_bytes));
      copy.insert(copy.end(), slot.begin(), slot.end());
    }
    const auto core_at = static_cast<std::ptrdiff_t>(kSlotsAt + slot_bytes);
    const auto core_bytes = load_le<std::uint16_t>(good.data() + core_at);
    copy.insert(copy.end(), good.begin() + core_at, good.begin() + core_at + 2 + 12 + core_bytes + 16);
    copy.resize((copy.size() + 32 + 4095) / 4096 * 4096);
    store_le(copy.data() + kCopyBytesAt, static_cast<std::uint32_t>(copy.size()));
    Bytes file = copy;
    file.insert(file.end(), copy.begin(), copy.end());
    correct_checksums(file);
    return file;
  };
  EXPECT_OK(parse_persistence(with_slots(16, 100)));
  EXPECT_TRUE(refused(with_slots(17, 100)));
  EXPECT_OK(parse_persistence(with_slots(1, 8192)));
  EXPECT_TRUE(refused(with_slots(1, 8193)));
}

TEST(PersistenceFileDamage, AFileWithoutKeySlotsIsRefused) {
  PersistenceHeader header = some_header();
  header.slots = {software_slot()};
  const Bytes good = encoded(header, some_core());
  Bytes copy(good.begin(), good.begin() + 4096);
  const std::size_t slot_bytes = 4 + 1 + 2 + header.slots[0].parameters.size() + 12 + 32 + 16 + 8;
  copy[11] = 0;
  copy.erase(copy.begin() + 37 + 14, copy.begin() + static_cast<std::ptrdiff_t>(37 + 14 + slot_bytes));
  copy.resize(4096);
  std::fill(copy.end() - static_cast<std::ptrdiff_t>(slot_bytes) - 32, copy.end(), std::uint8_t{0});
  Bytes file = copy;
  file.insert(file.end(), copy.begin(), copy.end());
  correct_checksums(file);
  EXPECT_TRUE(refused(file));
}

TEST(PersistenceFileDamage, NoEncodingIsLongerThanNeeded) {
  const Bytes good = encoded();
  Bytes copy(good.begin(), good.begin() + 4096 - 32);
  copy.resize(8192, 0);
  store_le<std::uint32_t>(copy.data() + kCopyBytesAt, 8192);
  Bytes file = copy;
  file.insert(file.end(), copy.begin(), copy.end());
  correct_checksums(file);
  EXPECT_TRUE(refused(file));
}

TEST(CoreData, AnotherDekDoesNotOpenIt) {
  const auto parsed = parse_persistence(encoded());
  ASSERT_TRUE(parsed.ok());
  EXPECT_TRUE(open_core_data((*parsed)[0], kRootKey).is(Reason::kPersistenceTampered));
  EXPECT_TRUE(open_core_data((*parsed)[0], ByteView(kDek).first(16)).is(Reason::kInvalidArgument));
}

// Seals any plaintext as core data, as only a holder of the DEK can.
Result<CoreData> opened(const Bytes& plaintext) {
  ParsedPersistence parsed;
  parsed.header.storage_id = kStorageId;
  parsed.associated_data = {1, 2, 3};
  parsed.core_sealed.resize(plaintext.size());
  crypto::Aead(crypto::hkdf_sha256(kDek, kStorageId, "strongroom/v5 core").view())
      .seal(parsed.core_nonce, parsed.associated_data, plaintext, parsed.core_sealed.data(),
            parsed.core_tag.data());
  return open_core_data(parsed, kDek);
}

Bytes core_plaintext(std::uint8_t witnesses, std::uint8_t authority, std::uint8_t key_byte,
                     std::string_view name, std::uint64_t window_ms = kWindowMsDefault) {
  Bytes out;
  ByteWriter writer(out);
  writer.number(witnesses);
  writer.number<std::uint64_t>(1);
  writer.number<std::uint64_t>(2);
  writer.number(authority);
  writer.bytes(Bytes(32, key_byte));
  writer.bytes(kVaultSalt);
  writer.number(static_cast<std::uint8_t>(name.size()));
  writer.bytes(as_bytes(name));
  writer.number(window_ms);
  return out;
}

TEST(CoreData, AuthenticButImpossibleIsCorrupt) {
  const auto corrupt = [](const Bytes& plaintext) {
    return opened(plaintext).is(Reason::kPersistenceCorrupt);
  };
  EXPECT_TRUE(opened(core_plaintext(3, 0, 0, "vault.bin")).ok());
  EXPECT_TRUE(opened(core_plaintext(3, 1, 9, "vault.bin")).ok());
  EXPECT_TRUE(corrupt(core_plaintext(16, 0, 0, "vault.bin")));
  for (const int without_tamper_file : {0, 2, 8, 10})
    EXPECT_TRUE(corrupt(core_plaintext(static_cast<std::uint8_t>(without_tamper_file), 0, 0, "vault.bin")));
  EXPECT_TRUE(corrupt(core_plaintext(3, 2, 0, "vault.bin")));
  EXPECT_TRUE(corrupt(core_plaintext(3, 0, 0, "vault.bin", kWindowMsMin - 1)));
  EXPECT_TRUE(corrupt(core_plaintext(3, 0, 9, "vault.bin")));
  EXPECT_TRUE(corrupt(core_plaintext(3, 0, 0, "../vault.bin")));
  EXPECT_TRUE(corrupt({}));
  Bytes plaintext = core_plaintext(3, 0, 0, "vault.bin");
  plaintext.push_back(0);
  EXPECT_TRUE(corrupt(plaintext));
  while (!plaintext.empty()) {
    plaintext.pop_back();
    if (plaintext.size() != core_plaintext(3, 0, 0, "vault.bin").size()) {
      EXPECT_TRUE(corrupt(plaintext)) << plaintext.size();
    }
  }
}

// The header that opened() makes has key id 1: a DEK before it has id 0.
TEST(CoreData, FormerKeysThatNoReleaseWritesAreCorrupt) {
  const auto with = [](std::initializer_list<int> head, const std::vector<std::uint32_t>& key_ids) {
    Bytes plaintext = core_plaintext(3, 0, 0, "vault.bin");
    ByteWriter writer(plaintext);
    for (const int byte : head) writer.number(static_cast<std::uint8_t>(byte));
    for (const std::uint32_t key_id : key_ids) {
      writer.number(key_id);
      writer.bytes(counted<32>(9));
    }
    return opened(plaintext);
  };
  EXPECT_TRUE(with({1, 0}, {0}).ok());
  EXPECT_TRUE(with({0, 1}, {0}).ok());
  EXPECT_TRUE(with({1, 1}, {0, 0}).ok());
  EXPECT_TRUE(with({0, 0}, {}).is(Reason::kPersistenceCorrupt));
  EXPECT_TRUE(with({0}, {}).is(Reason::kPersistenceCorrupt));
  EXPECT_TRUE(with({2, 0}, {0}).is(Reason::kPersistenceCorrupt));
  EXPECT_TRUE(with({1, 0}, {1}).is(Reason::kPersistenceCorrupt));
  EXPECT_TRUE(with({1, 0}, {0, 0}).is(Reason::kPersistenceCorrupt));
  EXPECT_TRUE(with({1, 0}, {}).is(Reason::kPersistenceCorrupt));
  EXPECT_TRUE(with({0, 1}, {1}).is(Reason::kPersistenceCorrupt));
  EXPECT_TRUE(with({0, 2}, {0, 0}).is(Reason::kPersistenceCorrupt));
  EXPECT_TRUE(with({0, 9}, {0, 0, 0, 0, 0, 0, 0, 0, 0}).is(Reason::kPersistenceCorrupt));
}

TEST(CoreData, VaultFileName) {
  for (const std::string name :
       {"vault.bin", "acme-vault.bin", "vault.bin2", ".vault.bin", "v ault.bin vault.bin"}) {
    EXPECT_TRUE(validate_vault_file_name(name).ok()) << name;
  }
  EXPECT_TRUE(validate_vault_file_name("vault.bin" + std::string(55, 'x')).ok());
  using std::string_literals::operator""s;
  for (const std::string& name :
       {""s, "x.bin"s, "../vault.bin"s, "/vault.bin"s, "a/vault.bin"s, "vault.bin/"s, "vault.bin\0"s,
        "\0vault.bin"s, "vault\0.bin"s, "vault.bin\n"s, "vault.bin\x7F"s, "vault.bin.new"s, "Vault.bin"s,
        "persistence.bin"s, "tmtmp.bin"s, "lock"s, "."s, ".."s, "vault.bin" + std::string(56, 'x')}) {
    EXPECT_TRUE(validate_vault_file_name(name).is(Reason::kPersistenceCorrupt)) << name;
  }
}

TEST(KeySlot, OpensWithItsKekOnly) {
  const KeySlot slot = password_slot();
  bool fits = false;
  const auto dek = unwrap_dek(slot, kPasswordKek, kStorageId, kKeyId, &fits);
  ASSERT_TRUE(dek.ok());
  EXPECT_TRUE(fits);
  EXPECT_TRUE(equal(dek->view(), kDek));

  auto wrong = kPasswordKek;
  for (std::size_t bit = 0; bit < 256; ++bit) {
    wrong[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
    fits = true;
    EXPECT_TRUE(unwrap_dek(slot, wrong, kStorageId, kKeyId, &fits).is(Reason::kRootUnavailable));
    EXPECT_FALSE(fits);
    wrong = kPasswordKek;
  }
  fits = true;
  EXPECT_TRUE(
      unwrap_dek(software_slot(), kPasswordKek, kStorageId, kKeyId, &fits).is(Reason::kRootUnavailable));
  EXPECT_FALSE(fits);
  EXPECT_TRUE(unwrap_dek(slot, ByteView(kPasswordKek).first(16), kStorageId, kKeyId, &fits)
                  .is(Reason::kInvalidArgument));
  EXPECT_FALSE(fits);
}

TEST(KeySlot, EveryFlipOfTheWrapOrWhatItBindsIsTampering) {
  const KeySlot good = password_slot();
  const auto tampered = [](const KeySlot& slot, const StorageId& storage_id = kStorageId,
                           std::uint32_t key_id = kKeyId) {
    bool fits = false;
    return unwrap_dek(slot, kPasswordKek, storage_id, key_id, &fits).is(Reason::kPersistenceTampered) && fits;
  };
  const auto each_flip = [&](auto member) {
    const std::size_t bits = (good.*member).size() * 8;
    for (std::size_t bit = 0; bit < bits; ++bit) {
      KeySlot slot = good;
      (slot.*member)[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
      EXPECT_TRUE(tampered(slot)) << bit;
    }
  };
  each_flip(&KeySlot::wrapped_dek);
  each_flip(&KeySlot::tag);
  each_flip(&KeySlot::nonce);
  each_flip(&KeySlot::parameters);
  KeySlot slot = good;
  slot.id ^= 1;
  EXPECT_TRUE(tampered(slot));
  slot = good;
  slot.type = SlotType::kSoftware;
  EXPECT_TRUE(tampered(slot));
  slot = good;
  slot.parameters.push_back(0);
  EXPECT_TRUE(tampered(slot));
  EXPECT_TRUE(tampered(good, counted<16>(0x81)));
  EXPECT_TRUE(tampered(good, kStorageId, kKeyId + 1));
  EXPECT_FALSE(tampered(good));
}

TEST(KeySlot, NoTwoWrapsAreEqual) {
  const KeySlot one = password_slot();
  const KeySlot two = password_slot();
  EXPECT_NE(one.nonce, two.nonce);
  EXPECT_NE(one.wrapped_dek, two.wrapped_dek);
  EXPECT_EQ(one.key_check_value, two.key_check_value);
}

TEST(KeySlot, SoftwareParameters) {
  for (const SecretStoreConfig& config :
       {SecretStoreConfig{SecretStoreType::kFile, "/"}, SecretStoreConfig{SecretStoreType::kFile, "/a/b"},
        SecretStoreConfig{SecretStoreType::kFile, "/" + std::string(4094, 'x')},
        SecretStoreConfig{SecretStoreType::kSecretService, ""}}) {
    const auto parsed = parse_software_parameters(encode_software_parameters(config));
    ASSERT_TRUE(parsed.ok());
    EXPECT_EQ(parsed->type, config.type);
    EXPECT_EQ(parsed->directory, config.directory);
  }
  using std::string_literals::operator""s;
  for (const std::string& directory : {""s, "relative"s, "/nul\0"s, "/" + std::string(4095, 'x')}) {
    EXPECT_TRUE(parse_software_parameters(encode_software_parameters({SecretStoreType::kFile, directory}))
                    .is(Reason::kPersistenceTampered))
        << directory.substr(0, 20);
  }
  for (const Bytes& parameters :
       {Bytes{}, Bytes{1}, Bytes{1, 1, 0}, Bytes{1, 1, 0, '/', 0}, Bytes{2, 1, 0, '/'}, Bytes{0, 0, 0},
        Bytes{3, 0, 0}, Bytes{2, 0, 0, 0}, Bytes{1, 255, 255, '/'}}) {
    EXPECT_TRUE(parse_software_parameters(parameters).is(Reason::kPersistenceTampered)) << to_hex(parameters);
  }
}

TEST(KeySlot, PasswordParameters) {
  const PasswordParameters parameters{counted<16>(3), {1024, 4, 2}};
  const Bytes encoded_parameters = encode_password_parameters(parameters);
  const auto parsed = parse_password_parameters(encoded_parameters);
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->salt, parameters.salt);
  EXPECT_EQ(parsed->argon2.memory_kib, 1024U);
  EXPECT_EQ(parsed->argon2.passes, 4U);
  EXPECT_EQ(parsed->argon2.lanes, 2U);
  for (std::size_t size = 0; size < encoded_parameters.size(); ++size) {
    EXPECT_TRUE(
        parse_password_parameters(ByteView(encoded_parameters).first(size)).is(Reason::kPersistenceTampered));
  }
  EXPECT_EQ(parsed->label, "");
  for (const std::string& label : {std::string("x"), std::string("second safe"), std::string(64, 'l')}) {
    const auto labelled =
        parse_password_parameters(encode_password_parameters({parameters.salt, parameters.argon2, label}));
    ASSERT_TRUE(labelled.ok());
    EXPECT_EQ(labelled->label, label);
  }
  for (const std::string& label : {std::string(1, '\0'), std::string("a\x7F"), std::string(65, 'l')}) {
    EXPECT_TRUE(
        parse_password_parameters(encode_password_parameters({parameters.salt, parameters.argon2, label}))
            .is(Reason::kPersistenceTampered));
  }
}

TEST(KeySlot, HostileArgon2CostsAreRefusedBeforeMemoryIsTaken) {
  for (const crypto::Argon2Parameters& costs :
       {crypto::Argon2Parameters{UINT32_MAX, 1, 1}, crypto::Argon2Parameters{64 * 1024, UINT32_MAX, 1},
        crypto::Argon2Parameters{64 * 1024, 3, UINT32_MAX}, crypto::Argon2Parameters{0, 0, 0},
        crypto::Argon2Parameters{1024 * 1024 + 1, 1, 1}}) {
    const PasswordParameters parameters{{}, costs};
    EXPECT_TRUE(
        parse_password_parameters(encode_password_parameters(parameters)).is(Reason::kPersistenceTampered));
    EXPECT_TRUE(password_kek(as_bytes("x"), parameters).is(Reason::kInvalidArgument));
  }
}

TEST(KeySlot, PasswordKekIsArgon2id) {
  PasswordParameters parameters;
  const auto salt = from_hex("e5e2ea4003cf2700c5e1ef13def55319");
  std::copy(salt->begin(), salt->end(), parameters.salt.begin());
  const auto kek = password_kek(as_bytes("correct horse battery staple"), parameters);
  ASSERT_TRUE(kek.ok());
  EXPECT_EQ(to_hex(kek->view()), "08e6c236ffb23f8c553b521a6a052580a8558da9d9208e9ca3095623a7c17c0a");
}

// Known answers, computed with Node's hkdfSync (vectors/make-persistence-v5.mjs) and again with Python's
// hmac.
TEST(PurposeKeys, CreateGetVaultKey) {
  const SecretBytes key = create_get_vault_key(kDek, kVaultSalt);
  EXPECT_EQ(to_hex(key.view()), "13ec59030257ffe64815e7f02715628bc071f9f2f78aa7466412c8d9c71ec053");
  EXPECT_TRUE(equal(create_get_vault_key(kDek, kVaultSalt).view(), key.view()));
  for (std::size_t i = 0; i < kVaultSalt.size(); ++i) {
    auto salt = kVaultSalt;
    salt[i] ^= 1;
    EXPECT_FALSE(equal(create_get_vault_key(kDek, salt).view(), key.view())) << i;
    auto dek = kDek;
    dek[i] ^= 1;
    EXPECT_FALSE(equal(create_get_vault_key(dek, kVaultSalt).view(), key.view())) << i;
  }
}

TEST(PurposeKeys, KnownAnswers) {
  EXPECT_EQ(to_hex(tamper_key(kDek, kStorageId).view()),
            "c160825d7d233985e908da5b804a4cfa13262e40332a82380e8915b10a5a7b62");
  EXPECT_EQ(to_hex(witness_key(kDek, kStorageId).view()),
            "27196bb45a6ce94b8ee08ed8db9486aaeaa3e3430524116da54cd2fc8cafe0f3");
  EXPECT_EQ(to_hex(software_kek(kRootKey, kStorageId).view()),
            "5b316a71c9c7afa7736386210430d654d4f17dd1a9e4ad8a31856ea39feac662");
}

TEST(PurposeKeys, AllDifferUnderOneKeyAndSalt) {
  const std::array<SecretBytes, 4> keys = {create_get_vault_key(kDek, kStorageId),
                                           tamper_key(kDek, kStorageId), witness_key(kDek, kStorageId),
                                           software_kek(kDek, kStorageId)};
  for (std::size_t i = 0; i < keys.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) EXPECT_FALSE(equal(keys[i].view(), keys[j].view()));
  }
}

}  // namespace
}  // namespace strongroom::store
