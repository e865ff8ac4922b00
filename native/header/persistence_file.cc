// The file is one copy twice. A copy, whose size is a multiple of 4096; integers little-endian:
//
//      0  magic "SRPERSIS"   8  u16 version = 6   10  u8 state   11  u8 number of slots (1 to 16)
//     12  u32 bytes of the copy                   16  storage id (16)            32  u32 key id
//     36  u8 length of the instance name (1 to 128), the name
//         slots: u32 id, u8 type, u16 length of the parameters (at most 8192), the parameters,
//                nonce (12), wrapped DEK (32), tag (16), key check value (8)
//         u16 length of the sealed core data        -- up to here the associated data of the core data
//         nonce (12), sealed core data, tag (16)
//         zeros
//   last  SHA-256 of everything before it in the copy (32)
//
// Core data (plaintext):
//      0  u8 witnesses        1  u64 clock tolerance, ms        9  u64 greatest age, ms (all ones: no limit)
//     17  u8 authority: 0 the backup password, 1 the vendor's key
//     18  Ed25519 public key (32), zeros for authority 0
//     50  vault salt (32)    82  u8 length of the vault's file name (1 to 64), the name
//         u64 greatest window, ms (not in version 5)
//         with the witness TPM: u32 index of the counter, its secret (32)
//         with the TPM's extend index: u32 index, its secret (32)
//         once the DEK was rotated: u8 1 while a rotation is under way, else 0; u8 number of former field keys (at most 8);
//         with 1: u32 key id, the DEK before this one (32); for each field key, oldest first: u32 key id, the key (32)
//
// Invariants:
// - There is one encoding: a copy is as short as its content allows, every byte between is zero.
// - Magic, version, the copy's size and its checksum keep their places in later versions, so that a damaged
// copy can
//   be told from an unknown version.
// - The second copy begins at half of the file; the lengths in the first are not needed to find it.
#include "header/persistence_file.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/limits.h"

namespace strongroom::store {
namespace {

constexpr std::string_view kMagic = "SRPERSIS";
constexpr std::string_view kCoreLabel = "strongroom/v5 core";
constexpr std::size_t kCopyAlignment = 4096;

constexpr std::size_t kVersionAt = 8;
constexpr std::size_t kStateAt = kVersionAt + 2;
constexpr std::size_t kSlotCountAt = kStateAt + 1;
constexpr std::size_t kCopyBytesAt = kSlotCountAt + 1;
constexpr std::size_t kStorageIdAt = kCopyBytesAt + 4;
constexpr std::size_t kKeyIdAt = kStorageIdAt + sizeof(StorageId);
constexpr std::size_t kInstanceAt = kKeyIdAt + 4;
static_assert(kMagic.size() == kVersionAt);
static_assert(kStateAt == 10 && kCopyBytesAt == 12 && kStorageIdAt == 16 && kKeyIdAt == 32 &&
              kInstanceAt == 36);

constexpr std::size_t kSlotBytesWithoutParameters =
    4 + 1 + 2 + crypto::kNonceBytes + crypto::kKeyBytes + crypto::kTagBytes + 8;
// A name longer than any release writes is unsealed all the same, so that it is refused for what it is.
constexpr std::size_t kIdentifiedKeyBytes = 4 + crypto::kKeyBytes;
constexpr std::size_t kCoreBytesMax =
    83 + UINT8_MAX + 8 + 2 * (4 + 32) + 2 + kIdentifiedKeyBytes * (1 + kFormerFieldKeysMax);
constexpr std::size_t kCopyBytesMax = limits::kPersistenceFileBytesMax / 2;
static_assert(kInstanceAt + 1 + limits::kInstanceBytesMax +
                  limits::kKeySlotsMax * (kSlotBytesWithoutParameters + limits::kSlotParametersBytesMax) + 2 +
                  crypto::kNonceBytes + kCoreBytesMax + crypto::kTagBytes + sizeof(Digest) <=
              kCopyBytesMax);
static_assert(limits::kSlotParametersBytesMax <= UINT16_MAX && limits::kInstanceBytesMax <= UINT8_MAX);

enum class AuthorityType : std::uint8_t { kPassword = 0, kVendorKey = 1 };

// What a witness has in the core data. The walk over this table is the order of the format.
struct WitnessData {
  std::uint8_t bit;
  std::uint8_t needed;                          // the bit of the witness that it must not be without
  std::uint32_t CoreData::*nv_index = nullptr;  // null: nothing but its bit
  SecretBytes CoreData::*nv_secret = nullptr;   // of the index
  [[nodiscard]] bool is_in(std::uint8_t witnesses) const { return (witnesses & bit) != 0; }
};
constexpr std::array kWitnessData{
    WitnessData{kWitnessTamperFile, 0},
    WitnessData{kWitnessSecretStore, kWitnessTamperFile},
    WitnessData{kWitnessToken, kWitnessTamperFile},
    WitnessData{kWitnessTpm, kWitnessTamperFile, &CoreData::counter_index, &CoreData::counter_secret},
    WitnessData{kWitnessTpmExtend, kWitnessTpm, &CoreData::extend_index, &CoreData::extend_secret},
};
constexpr std::size_t kNvSecretBytes = 32;

bool known_witnesses(std::uint8_t witnesses) {
  std::uint8_t known = 0;
  for (const WitnessData& data : kWitnessData) {
    known |= data.bit;
    if (data.is_in(witnesses) && (witnesses & data.needed) != data.needed) return false;
  }
  return witnesses != 0 && (witnesses & ~known) == 0;
}

// The NV indices of the witnesses that the core data have, in the order of the format.
template <typename Work>
void for_each_nv_index(std::uint8_t witnesses, const Work& work) {
  for (const WitnessData& data : kWitnessData)
    if (data.nv_index != nullptr && data.is_in(witnesses)) work(data);
}

bool has_nv_secrets(const CoreData& core) {
  bool all = true;
  for_each_nv_index(core.witnesses, [&](const WitnessData& data) {
    all = all && (core.*data.nv_secret).size() == kNvSecretBytes;
  });
  return all;
}

std::size_t copy_bytes_for(std::size_t content_bytes) {
  return (content_bytes + sizeof(Digest) + kCopyAlignment - 1) / kCopyAlignment * kCopyAlignment;
}

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }

bool usable_instance(std::string_view instance) {
  return !instance.empty() && instance.size() <= limits::kInstanceBytesMax &&
         std::none_of(instance.begin(), instance.end(), is_control);
}

bool known_state(std::uint8_t state) {
  return state >= static_cast<std::uint8_t>(ProvisionState::kProvisioning) &&
         state <= static_cast<std::uint8_t>(ProvisionState::kRemovingRoot);
}

bool known_slot_type(std::uint8_t type) {
  return type >= static_cast<std::uint8_t>(SlotType::kSoftware) &&
         type <= static_cast<std::uint8_t>(SlotType::kExternal);
}

bool distinct_ids(const std::vector<KeySlot>& slots) {
  for (auto slot = slots.begin(); slot != slots.end(); ++slot) {
    if (std::any_of(slots.begin(), slot, [&](const KeySlot& other) { return other.id == slot->id; }))
      return false;
  }
  return true;
}

Status check_header(const PersistenceHeader& header) {
  if (!known_state(static_cast<std::uint8_t>(header.state))) {
    return {Reason::kInvalidArgument, "unknown provisioning state"};
  }
  if (!usable_instance(header.instance)) {
    return {Reason::kInvalidArgument, "an instance name has 1 to 128 bytes and no control characters"};
  }
  if (header.slots.empty() || header.slots.size() > limits::kKeySlotsMax) {
    return {Reason::kInvalidArgument, "a store has 1 to 16 key slots"};
  }
  for (const KeySlot& slot : header.slots) {
    if (!known_slot_type(static_cast<std::uint8_t>(slot.type))) {
      return {Reason::kInvalidArgument, "unknown key slot type"};
    }
    if (slot.parameters.size() > limits::kSlotParametersBytesMax) {
      return {Reason::kInvalidArgument, "key slot parameters are longer than 8192 bytes"};
    }
  }
  if (!distinct_ids(header.slots)) return {Reason::kInvalidArgument, "two key slots have one id"};
  return {};
}

void write_header(const PersistenceHeader& header, Bytes& out) {
  ByteWriter writer(out);
  writer.bytes(as_bytes(kMagic));
  writer.number(kPersistenceVersion);
  writer.number(static_cast<std::uint8_t>(header.state));
  writer.number(static_cast<std::uint8_t>(header.slots.size()));
  writer.number(std::uint32_t{0});  // the copy's size, set when it is known
  writer.bytes(header.storage_id);
  writer.number(header.key_id);
  writer.number(static_cast<std::uint8_t>(header.instance.size()));
  writer.bytes(as_bytes(header.instance));
  for (const KeySlot& slot : header.slots) {
    writer.number(slot.id);
    writer.number(static_cast<std::uint8_t>(slot.type));
    writer.number(static_cast<std::uint16_t>(slot.parameters.size()));
    writer.bytes(slot.parameters);
    writer.bytes(slot.nonce);
    writer.bytes(slot.wrapped_dek);
    writer.bytes(slot.tag);
    writer.bytes(slot.key_check_value);
  }
}

Bytes encode_core(const CoreData& core) {
  Bytes out;
  out.reserve(kCoreBytesMax);  // it may hold a secret: no copy is left behind by growth
  ByteWriter writer(out);
  const bool vendor = core.authority.vendor_public_key.has_value();
  writer.number(core.witnesses);
  writer.number(core.clock_tolerance_ms);
  writer.number(core.age_ms_max);
  writer.number(static_cast<std::uint8_t>(vendor ? AuthorityType::kVendorKey : AuthorityType::kPassword));
  writer.bytes(core.authority.vendor_public_key.value_or(std::array<std::uint8_t, 32>{}));
  writer.bytes(core.vault_salt);
  writer.number(static_cast<std::uint8_t>(core.vault_file_name.size()));
  writer.bytes(as_bytes(core.vault_file_name));
  writer.number(core.window_ms_max);
  for_each_nv_index(core.witnesses, [&](const WitnessData& data) {
    writer.number(core.*data.nv_index);
    writer.bytes((core.*data.nv_secret).view());
  });
  if (!core.previous && core.former_field_keys.empty()) return out;
  writer.number(static_cast<std::uint8_t>(core.previous ? 1 : 0));
  writer.number(static_cast<std::uint8_t>(core.former_field_keys.size()));
  const auto put = [&writer](const IdentifiedKey& key) {
    writer.number(key.key_id);
    writer.bytes(key.key.view());
  };
  if (core.previous) put(*core.previous);
  for (const IdentifiedKey& key : core.former_field_keys) put(key);
  return out;
}

// The part that a rotation leaves. Empty where the DEK was never rotated; there is one encoding for that.
bool parse_former_keys(ByteReader& reader, CoreData& core) {
  if (reader.ok() && reader.remaining() == 0) return true;
  const auto has_previous = reader.number<std::uint8_t>();
  const auto count = reader.number<std::uint8_t>();
  if (has_previous > 1 || count > kFormerFieldKeysMax || (has_previous == 0 && count == 0)) return false;
  const auto take = [&reader] {
    const auto key_id = reader.number<std::uint32_t>();
    return IdentifiedKey{key_id, SecretBytes(reader.bytes(crypto::kKeyBytes))};
  };
  if (has_previous == 1) core.previous = take();
  for (unsigned i = 0; i < count && reader.ok(); ++i) core.former_field_keys.push_back(take());
  return true;
}

// Each former key is of another DEK before the present one.
bool former_keys_fit(const CoreData& core, std::uint32_t key_id) {
  if (core.previous && (key_id == 0 || core.previous->key_id != key_id - 1)) return false;
  std::uint64_t next = 0;
  for (const IdentifiedKey& key : core.former_field_keys) {
    if (key.key_id < next || key.key_id >= key_id) return false;
    next = std::uint64_t{key.key_id} + 1;
  }
  return true;
}

Result<CoreData> parse_core(ByteView plaintext, std::uint16_t version) {
  const auto corrupt = [](const char* what) {
    return Status(Reason::kPersistenceCorrupt, std::string("core data of persistence.bin: ") + what);
  };
  ByteReader reader(plaintext);
  CoreData core;
  core.witnesses = reader.number<std::uint8_t>();
  core.clock_tolerance_ms = reader.number<std::uint64_t>();
  core.age_ms_max = reader.number<std::uint64_t>();
  const auto authority = reader.number<std::uint8_t>();
  const auto vendor_key = reader.array<32>();
  core.vault_salt = reader.array<32>();
  core.vault_file_name = as_text(reader.bytes(reader.number<std::uint8_t>()));
  if (version > 5) core.window_ms_max = reader.number<std::uint64_t>();
  for_each_nv_index(core.witnesses, [&](const WitnessData& data) {
    core.*data.nv_index = reader.number<std::uint32_t>();
    core.*data.nv_secret = SecretBytes(reader.bytes(kNvSecretBytes));
  });
  if (!parse_former_keys(reader, core) || !reader.done()) return corrupt("wrong length");
  if (!known_witnesses(core.witnesses)) return corrupt("an impossible set of witnesses");
  if (core.window_ms_max < kWindowMsMin) return corrupt("a window below the smallest");
  if (authority == static_cast<std::uint8_t>(AuthorityType::kVendorKey)) {
    core.authority.vendor_public_key = vendor_key;
  } else if (authority != static_cast<std::uint8_t>(AuthorityType::kPassword) || !all_zero(vendor_key)) {
    return corrupt("unknown authority");
  }
  SR_TRY(validate_vault_file_name(core.vault_file_name));
  return core;
}

SecretBytes core_key(ByteView dek, const StorageId& storage_id) {
  return crypto::hkdf_sha256(dek, storage_id, kCoreLabel);
}

Status tampered(const char* what) {
  return {Reason::kPersistenceTampered, std::string("persistence.bin: ") + what};
}

// The size that a copy states, or 0 where no copy can begin.
std::size_t stated_copy_bytes(ByteView at) {
  if (at.size() < kCopyAlignment || !equal(at.first(kMagic.size()), as_bytes(kMagic))) return 0;
  const auto size = load_le<std::uint32_t>(at.data() + kCopyBytesAt);
  return size <= kCopyBytesMax && size % kCopyAlignment == 0 ? size : 0;
}

bool checksum_fits(ByteView copy) {
  const std::size_t covered = copy.size() - sizeof(Digest);
  return equal(crypto::sha256({copy.first(covered)}), copy.subspan(covered));
}

// Of a copy whose checksum fits.
Result<ParsedPersistence> parse_copy(ByteView copy) {
  ByteReader reader(copy.first(copy.size() - sizeof(Digest)));
  ParsedPersistence parsed;
  PersistenceHeader& header = parsed.header;
  (void)reader.bytes(kMagic.size());
  parsed.version = reader.number<std::uint16_t>();
  if (parsed.version < kPersistenceVersionOldest || parsed.version > kPersistenceVersion) {
    return Status(Reason::kVersion, "persistence.bin has a format version that this release does not know");
  }
  const auto state = reader.number<std::uint8_t>();
  const auto slot_count = reader.number<std::uint8_t>();
  (void)reader.number<std::uint32_t>();  // equals copy.size()
  header.storage_id = reader.array<16>();
  header.key_id = reader.number<std::uint32_t>();
  header.instance = as_text(reader.bytes(reader.number<std::uint8_t>()));
  if (!reader.ok() || !known_state(state) || !usable_instance(header.instance))
    return tampered("malformed header");
  header.state = static_cast<ProvisionState>(state);

  if (slot_count == 0 || slot_count > limits::kKeySlotsMax) return tampered("malformed header");
  for (unsigned i = 0; i < slot_count; ++i) {
    KeySlot& slot = header.slots.emplace_back();
    slot.id = reader.number<std::uint32_t>();
    const auto type = reader.number<std::uint8_t>();
    const auto parameters_size = reader.number<std::uint16_t>();
    if (!known_slot_type(type) || parameters_size > limits::kSlotParametersBytesMax) {
      return tampered("malformed key slot");
    }
    const ByteView parameters = reader.bytes(parameters_size);
    slot.type = static_cast<SlotType>(type);
    slot.parameters.assign(parameters.begin(), parameters.end());
    slot.nonce = reader.array<crypto::kNonceBytes>();
    slot.wrapped_dek = reader.array<crypto::kKeyBytes>();
    slot.tag = reader.array<crypto::kTagBytes>();
    slot.key_check_value = reader.array<8>();
  }
  const auto core_size = reader.number<std::uint16_t>();
  if (!reader.ok() || !distinct_ids(header.slots)) return tampered("malformed key slots");

  const ByteView before_core = copy.first(copy.size() - sizeof(Digest) - reader.remaining());
  parsed.associated_data.assign(before_core.begin(), before_core.end());
  if (core_size > kCoreBytesMax) return tampered("malformed core data");
  parsed.core_nonce = reader.array<crypto::kNonceBytes>();
  const ByteView sealed = reader.bytes(core_size);
  parsed.core_sealed.assign(sealed.begin(), sealed.end());
  parsed.core_tag = reader.array<crypto::kTagBytes>();
  const std::size_t padding = reader.remaining();
  if (!reader.ok() || padding >= kCopyAlignment || !all_zero(reader.bytes(padding))) {
    return tampered("malformed padding");
  }
  parsed.hash = crypto::sha256({copy});
  return parsed;
}

}  // namespace

Status validate_vault_file_name(std::string_view name) {
  const auto corrupt = [](const char* what) {
    return Status(Reason::kPersistenceCorrupt, std::string("vault file name: ") + what);
  };
  if (name.empty() || name.size() > limits::kVaultFileNameBytesMax) return corrupt("not 1 to 64 bytes");
  if (name.find("vault.bin") == std::string_view::npos) return corrupt("does not contain 'vault.bin'");
  if (name.find('/') != std::string_view::npos) return corrupt("contains '/'");
  if (std::any_of(name.begin(), name.end(), is_control)) return corrupt("contains a control character");
  // No other file of a store contains "vault.bin", except those that are about to replace one.
  if (name.ends_with(".new")) return corrupt("ends in '.new', which is kept for files being replaced");
  return {};
}

Result<Bytes> encode_persistence(const PersistenceHeader& header, const CoreData& core, ByteView dek,
                                 Digest* file_hash) {
  SR_TRY(check_header(header));
  SR_TRY(validate_vault_file_name(core.vault_file_name));
  if (!known_witnesses(core.witnesses))
    return Status(Reason::kInvalidArgument, "an impossible set of witnesses");
  if (!has_nv_secrets(core))
    return Status(Reason::kInvalidArgument, "the secret of an NV index has 32 bytes");
  if (dek.size() != crypto::kKeyBytes) return Status(Reason::kInvalidArgument, "a DEK has 32 bytes");
  if (core.former_field_keys.size() > kFormerFieldKeysMax || !former_keys_fit(core, header.key_id)) {
    return Status(Reason::kInvalidArgument, "former keys that are not of DEKs before the present one");
  }

  Bytes copy;
  write_header(header, copy);
  Bytes plaintext = encode_core(core);
  ByteWriter(copy).number(static_cast<std::uint16_t>(plaintext.size()));
  const std::size_t nonce_at = copy.size();
  const std::size_t content_bytes = nonce_at + crypto::kNonceBytes + plaintext.size() + crypto::kTagBytes;
  const std::size_t copy_bytes = copy_bytes_for(content_bytes);
  store_le(copy.data() + kCopyBytesAt, static_cast<std::uint32_t>(copy_bytes));
  copy.resize(copy_bytes);

  const auto nonce = crypto::random_array<crypto::kNonceBytes>();
  std::copy(nonce.begin(), nonce.end(), copy.begin() + static_cast<std::ptrdiff_t>(nonce_at));
  std::uint8_t* const sealed = copy.data() + nonce_at + crypto::kNonceBytes;
  crypto::Aead(core_key(dek, header.storage_id).view())
      .seal(nonce, ByteView(copy).first(nonce_at), plaintext, sealed, sealed + plaintext.size());
  wipe(plaintext);

  const std::size_t checksum_at = copy_bytes - sizeof(Digest);
  const Digest checksum = crypto::sha256({ByteView(copy).first(checksum_at)});
  std::copy(checksum.begin(), checksum.end(), copy.begin() + static_cast<std::ptrdiff_t>(checksum_at));
  if (file_hash != nullptr) *file_hash = crypto::sha256({copy});

  Bytes file;
  file.reserve(2 * copy_bytes);
  ByteWriter writer(file);
  writer.bytes(copy);
  writer.bytes(copy);
  return file;
}

Result<std::vector<ParsedPersistence>> parse_persistence(ByteView file) {
  // The copies that may be taken: a first one that is whole in a file of at most two, and a second half.
  // Neither is longer than kCopyBytesMax, so nothing of a larger file is ever read.
  std::vector<ByteView> copies;
  const std::size_t first_bytes = stated_copy_bytes(file);
  if (first_bytes != 0 && first_bytes <= file.size() && file.size() <= 2 * first_bytes) {
    copies.push_back(file.first(first_bytes));
  }
  const std::size_t half = file.size() / 2;
  if (file.size() % 2 == 0 && half != 0 && stated_copy_bytes(file.subspan(half)) == half) {
    copies.push_back(file.subspan(half));
  }
  std::erase_if(copies, [](ByteView copy) { return !checksum_fits(copy); });
  if (copies.size() == 2 && equal(copies[0], copies[1])) {
    SR_ASSIGN(auto only, parse_copy(copies[0]));
    std::vector<ParsedPersistence> candidates;
    candidates.push_back(std::move(only));
    return candidates;
  }

  std::vector<ParsedPersistence> candidates;
  Status failure = tampered("no undamaged copy");
  for (const ByteView copy : copies) {
    Result<ParsedPersistence> parsed = parse_copy(copy);
    if (parsed.ok()) {
      parsed->one_copy_damaged = true;
      candidates.push_back(*std::move(parsed));
    } else {
      failure = parsed.status();
    }
  }
  if (candidates.empty()) return failure;
  return candidates;
}

Result<CoreData> open_core_data(const ParsedPersistence& parsed, ByteView dek) {
  if (dek.size() != crypto::kKeyBytes) return Status(Reason::kInvalidArgument, "a DEK has 32 bytes");
  Bytes plaintext(parsed.core_sealed.size());
  crypto::Aead aead(core_key(dek, parsed.header.storage_id).view());
  if (!aead.open(parsed.core_nonce, parsed.associated_data, parsed.core_sealed, parsed.core_tag.data(),
                 plaintext.data())) {
    return tampered("the core data do not authenticate");
  }
  Result<CoreData> core = parse_core(plaintext, parsed.version);
  wipe(plaintext);
  if (core.ok() && !former_keys_fit(*core, parsed.header.key_id)) {
    return Status(Reason::kPersistenceCorrupt, "core data of persistence.bin: former keys out of order");
  }
  return core;
}

std::optional<IdentifiedKey> clone(const std::optional<IdentifiedKey>& key) {
  if (!key) return std::nullopt;
  return IdentifiedKey{key->key_id, key->key.clone()};
}

std::vector<IdentifiedKey> clone(const std::vector<IdentifiedKey>& keys) {
  std::vector<IdentifiedKey> out;
  out.reserve(keys.size());
  for (const IdentifiedKey& key : keys) out.push_back({key.key_id, key.key.clone()});
  return out;
}

CoreData CoreData::clone() const {
  CoreData out;
  out.vault_file_name = vault_file_name;
  out.vault_salt = vault_salt;
  out.witnesses = witnesses;
  out.clock_tolerance_ms = clock_tolerance_ms;
  out.age_ms_max = age_ms_max;
  out.window_ms_max = window_ms_max;
  out.authority = authority;
  out.counter_index = counter_index;
  out.counter_secret = counter_secret.clone();
  out.extend_index = extend_index;
  out.extend_secret = extend_secret.clone();
  out.previous = store::clone(previous);
  out.former_field_keys = store::clone(former_field_keys);
  return out;
}

}  // namespace strongroom::store
