// persistence.bin, format version 6 (5, of release 0.1, is read as well): who the store is (instance, storage id), the key slots that open its
// DEK, and the core data sealed under the DEK with everything else as associated data. Two identical copies
// stand in the file; it is only ever replaced whole (os::replace_file). The byte layout is in docs/format.md.
//
// Invariants:
// - encode() is deterministic in length and puts the same bytes into both copies; hash() is SHA-256 of one
// copy.
// - parse() trusts nothing: lengths and Argon2 parameters are checked against limits before use.
// - Every byte of the file is covered by a copy's checksum, so a single flip damages one copy at most.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/secret_memory.h"
#include "base/status.h"
#include "crypto/crypto.h"

namespace strongroom::store {

inline constexpr std::uint16_t kPersistenceVersion = 6;
inline constexpr std::uint16_t kPersistenceVersionOldest = 5;

// kRemovingRoot: a decommission has removed everything but the root, whose absence is no loss from then on.
enum class ProvisionState : std::uint8_t {
  kProvisioning = 1,
  kComplete = 2,
  kDecommissioning = 3,
  kRemovingRoot = 4
};
[[nodiscard]] constexpr bool is_being_removed(ProvisionState state) {
  return state == ProvisionState::kDecommissioning || state == ProvisionState::kRemovingRoot;
}
enum class SlotType : std::uint8_t { kSoftware = 1, kTpm = 2, kPkcs11 = 3, kPassword = 4, kExternal = 5 };

// One way to open the DEK. `parameters` is what its root needs and is untrusted until the DEK is open.
struct KeySlot {
  std::uint32_t id = 0;  // never reused within a store
  SlotType type = SlotType::kSoftware;
  Bytes parameters;
  crypto::Nonce nonce{};
  std::array<std::uint8_t, crypto::kKeyBytes> wrapped_dek{};
  crypto::Tag tag{};
  std::array<std::uint8_t, 8> key_check_value{};  // HMAC(KEK, "strongroom/v5 key check"), cut to 8 bytes
};

struct PersistenceHeader {
  ProvisionState state = ProvisionState::kProvisioning;
  std::string instance;
  StorageId storage_id{};
  std::uint32_t key_id = 1;    // which DEK
  std::vector<KeySlot> slots;  // 1 to 16, with distinct ids and at most 8192 bytes of parameters each
};

// Authority to reanchor, recover and decommission.
struct Authority {
  std::optional<std::array<std::uint8_t, 32>> vendor_public_key;  // Ed25519; otherwise the backup password
};

enum WitnessBits : std::uint8_t {
  kWitnessTamperFile = 1,
  kWitnessSecretStore = 2,
  kWitnessTpm = 4,
  kWitnessToken = 8,
  kWitnessTpmExtend = 16,  // with kWitnessTpm; stores of release 0.1 get it at their first start by this one
};
inline constexpr std::uint64_t kMaxAgeOff = UINT64_MAX;
inline constexpr std::uint64_t kWindowMsDefault = 24ULL * 3600 * 1000;
inline constexpr std::uint64_t kWindowMsMin = 60'000;

// A DEK, or a key that was made from it.
struct IdentifiedKey {
  std::uint32_t key_id = 0;
  SecretBytes key;
};
[[nodiscard]] std::optional<IdentifiedKey> clone(const std::optional<IdentifiedKey>& key);
[[nodiscard]] std::vector<IdentifiedKey> clone(const std::vector<IdentifiedKey>& keys);
inline constexpr std::size_t kFormerFieldKeysMax = 8;

struct CoreData {
  std::string vault_file_name = "vault.bin";
  std::array<std::uint8_t, 32> vault_salt{};
  std::uint8_t witnesses = kWitnessTamperFile | kWitnessSecretStore;
  std::uint64_t clock_tolerance_ms = 120'000;
  std::uint64_t age_ms_max = 7ULL * 24 * 3600 * 1000;  // kMaxAgeOff: no limit
  std::uint64_t window_ms_max = kWindowMsDefault;      // how long a witness may lag before writes are refused
  Authority authority;
  // With kWitnessTpm: the counter's place, and what authorises its use.
  std::uint32_t counter_index = 0;
  SecretBytes counter_secret;  // 32 bytes
  // With kWitnessTpmExtend: the same of the extend index.
  std::uint32_t extend_index = 0;
  SecretBytes extend_secret;  // 32 bytes
  // While a rotation is under way: the DEK before the present one, which some files and witnesses are still of.
  std::optional<IdentifiedKey> previous;
  // The field keys of former DEKs, oldest first, so that what the application sealed under them stays readable.
  std::vector<IdentifiedKey> former_field_keys;

  [[nodiscard]] CoreData clone() const;
};

// A plain name, 1 to 64 bytes, that contains "vault.bin" and no '/', NUL or control character, and is not one
// of our other files' names. Otherwise kPersistenceCorrupt (the seed's "Validate Vault Filename").
[[nodiscard]] Status validate_vault_file_name(std::string_view name);

struct ParsedPersistence {
  std::uint16_t version = kPersistenceVersion;
  PersistenceHeader header;
  Bytes associated_data;  // the copy's bytes before the sealed core data
  crypto::Nonce core_nonce{};
  Bytes core_sealed;
  crypto::Tag core_tag{};
  Digest hash{};  // of the copy that was taken
  bool one_copy_damaged = false;
};

// `file_hash`, when given, receives the hash of the copy (what a vault record remembers). kInvalidArgument
// for a header that parse_persistence() would refuse, kPersistenceCorrupt for an unusable vault file name.
[[nodiscard]] Result<Bytes> encode_persistence(const PersistenceHeader& header, const CoreData& core,
                                               ByteView dek, Digest* file_hash);

// Candidates, best first: one when the copies agree or only one is undamaged; two when both pass their
// checksum but differ (then authentication decides; one_copy_damaged is set in both, since the file has to be
// written anew). A file cut short after its first copy is one with a damaged copy. kPersistenceTampered when
// no copy is undamaged or there are bytes to spare; kVersion for an unknown version in an undamaged copy.
[[nodiscard]] Result<std::vector<ParsedPersistence>> parse_persistence(ByteView file);

// kPersistenceTampered when the core data do not authenticate under this DEK; kPersistenceCorrupt when they
// authenticate but hold what no release writes (the vault file name and the ids of former keys are validated here).
[[nodiscard]] Result<CoreData> open_core_data(const ParsedPersistence& parsed, ByteView dek);

// Key slots: each kind's parameters and KEK are in its directory of protectors/, purpose labels in docs/format.md.
// Associated data of the wrap: storage id, slot id, type, parameters, key id.
[[nodiscard]] KeySlot wrap_dek(std::uint32_t slot_id, SlotType type, Bytes parameters, ByteView kek,
                               ByteView dek, const StorageId& storage_id, std::uint32_t key_id);
// kRootUnavailable, and false in `kek_fits`, when this is another KEK: the key check value says so, and it opens nothing.
// kPersistenceTampered when only one of the two holds.
[[nodiscard]] Result<SecretBytes> unwrap_dek(const KeySlot& slot, ByteView kek, const StorageId& storage_id,
                                             std::uint32_t key_id, bool* kek_fits);

// Purpose keys from the DEK (HKDF-SHA-256, salt = storage id unless said otherwise).
[[nodiscard]] SecretBytes create_get_vault_key(ByteView dek,
                                               ByteView vault_salt);  // the seed's CreateGetVaultKey()
[[nodiscard]] SecretBytes tamper_key(ByteView dek, const StorageId& storage_id);
[[nodiscard]] SecretBytes witness_key(ByteView dek, const StorageId& storage_id);
[[nodiscard]] SecretBytes field_key(ByteView dek, const StorageId& storage_id);

}  // namespace strongroom::store
