#include "protectors/tpm/tpm_slot.h"

#include <algorithm>
#include <bit>

#include "base/limits.h"
#include "roots/tpm/policy.h"

namespace strongroom::store {
namespace {

constexpr std::string_view kTpmKekLabel = "strongroom/v5 tpm kek";
constexpr std::string_view kCounterLabel = "strongroom/v5 tpm counter";
constexpr std::size_t kInstanceHashBytes = 16;  // of an index label; the storage id follows
constexpr std::size_t kNameBytes = 34;
constexpr std::size_t kTctiBytesMax = 512;
constexpr std::uint32_t kPcrsMax = 1U << 24;
constexpr std::uint8_t kVersion = 2;
constexpr std::uint8_t kVersionWithoutValues = 1;  // of release 0.1

Status malformed(const char* what) {
  return {Reason::kPersistenceTampered, std::string("key slot parameters of the TPM: ") + what};
}

// What may be loaded by a name that stands in a file: one of the TCTIs that come with tpm2-tss.
bool harmless(std::string_view tcti) {
  if (tcti.empty()) return true;
  const std::string_view kind = tcti.substr(0, tcti.find(':'));
  const bool known = kind == "device" || kind == "swtpm" || kind == "mssim" || kind == "tabrmd";
  return known &&
         std::none_of(tcti.begin(), tcti.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; });
}

roots::SealPolicy policy_of(const TpmSlot& slot, const PersistenceHeader& header) {
  roots::SealPolicy policy;
  policy.bound = roots::CounterBound{
      slot.counter_index,
      roots::counter_name(slot.counter_index, index_label(header.instance, header.storage_id)), slot.at_most};
  policy.pcrs = slot.pcrs;
  policy.pcr_digest = slot.pcr_digest;
  policy.authorisation = slot.has_pin;
  return policy;
}

std::string names_of(std::uint32_t pcrs) {
  std::string out = std::popcount(pcrs) == 1 ? "PCR " : "PCRs ";
  for (unsigned pcr = 0; pcrs >> pcr != 0; ++pcr) {
    if ((pcrs >> pcr & 1U) == 0) continue;
    if (out.back() != ' ') out += ", ";
    out += std::to_string(pcr);
  }
  return out;
}

// What differs now from what the root was sealed to. `why` is what the TPM has answered.
Status name_changed(roots::Tpm& tpm, const TpmSlot& slot, const Status& why) {
  if (slot.pcr_values.empty()) {
    return {Reason::kTpmPcrChanged,
            "the values of " + names_of(slot.pcrs) + " are not those that the root key was sealed to"};
  }
  SR_ASSIGN(const std::vector<Digest> now, tpm.pcr_values(slot.pcrs));
  std::uint32_t changed = 0;
  std::size_t at = 0;
  for (unsigned pcr = 0; slot.pcrs >> pcr != 0; ++pcr) {
    if ((slot.pcrs >> pcr & 1U) == 0) continue;
    if (now[at] != slot.pcr_values[at]) changed |= 1U << pcr;
    ++at;
  }
  // They are as they were: a PCR that can be reset was reset in between.
  if (changed == 0) return {Reason::kTpmUnavailable, why.error().detail + ", and are as before again"};
  return {Reason::kTpmPcrChanged,
          "the value of " + names_of(changed) + " is not what the root key was sealed to"};
}

SecretBytes tpm_kek(ByteView root, const StorageId& storage_id) {
  return crypto::hkdf_sha256(root, storage_id, kTpmKekLabel);
}

}  // namespace

Bytes encode_tpm_parameters(const TpmSlot& slot) {
  Bytes out;
  ByteWriter writer(out);
  const bool has_values = slot.pcr_values.size() == static_cast<std::size_t>(std::popcount(slot.pcrs));
  writer.number(has_values ? kVersion : kVersionWithoutValues);
  writer.prefixed(as_bytes(slot.tcti));
  writer.bytes(slot.parent_name);
  writer.bytes(slot.endorsement_name);
  writer.number(slot.counter_index);
  writer.number(slot.at_most);
  writer.number(slot.pcrs);
  if (has_values) {
    for (const Digest& value : slot.pcr_values) writer.bytes(value);
  } else {
    writer.bytes(slot.pcr_digest);
  }
  writer.number(static_cast<std::uint8_t>(slot.has_pin ? 1 : 0));
  if (slot.has_pin) writer.bytes(encode_password_parameters(slot.pin));
  writer.prefixed(slot.sealed.public_area);
  writer.prefixed(slot.sealed.private_area);
  return out;
}

Result<TpmSlot> parse_tpm_parameters(ByteView parameters) {
  constexpr std::size_t kPinBytes = 16 + 3 * 4;
  ByteReader reader(parameters);
  TpmSlot slot;
  const auto version = reader.number<std::uint8_t>();
  if (version != kVersion && version != kVersionWithoutValues) return malformed("unknown version");
  slot.tcti = as_text(reader.prefixed());
  const ByteView parent = reader.bytes(kNameBytes);
  const ByteView endorsement = reader.bytes(kNameBytes);
  slot.parent_name.assign(parent.begin(), parent.end());
  slot.endorsement_name.assign(endorsement.begin(), endorsement.end());
  slot.counter_index = reader.number<std::uint32_t>();
  slot.at_most = reader.number<std::uint64_t>();
  slot.pcrs = reader.number<std::uint32_t>();
  if (slot.pcrs >= kPcrsMax) return malformed("the PCRs");
  if (version == kVersionWithoutValues) {
    slot.pcr_digest = reader.array<32>();
  } else if (slot.pcrs != 0) {
    for (int left = std::popcount(slot.pcrs); left > 0; --left) slot.pcr_values.push_back(reader.array<32>());
    slot.pcr_digest = roots::pcr_digest(slot.pcr_values);
  }
  const auto has_pin = reader.number<std::uint8_t>();
  if (has_pin > 1) return malformed("the PIN's flag");
  slot.has_pin = has_pin == 1;
  if (slot.has_pin) {
    SR_ASSIGN(slot.pin, parse_password_parameters(reader.bytes(kPinBytes)));
  }
  const ByteView public_area = reader.prefixed();
  const ByteView private_area = reader.prefixed();
  if (!reader.done()) return malformed("wrong length");
  slot.sealed.public_area.assign(public_area.begin(), public_area.end());
  slot.sealed.private_area.assign(private_area.begin(), private_area.end());
  if (slot.tcti.size() > kTctiBytesMax || !harmless(slot.tcti))
    return malformed("a TCTI that no file may name");
  if (slot.counter_index < roots::kNvIndexFirst || slot.counter_index > roots::kNvIndexLast) {
    return malformed("the counter's index");
  }
  return slot;
}

Digest index_label(std::string_view instance, const StorageId& storage_id) {
  Digest label = crypto::sha256({as_bytes(kCounterLabel), as_bytes(instance)});
  std::copy(storage_id.begin(), storage_id.end(), label.begin() + kInstanceHashBytes);
  return label;
}

StorageId storage_id_of(const Digest& label) {
  StorageId id{};
  std::copy_n(label.begin() + kInstanceHashBytes, id.size(), id.begin());
  return id;
}

std::uint32_t first_counter_index(std::string_view instance) {
  constexpr std::uint32_t kCount = roots::kNvIndexLast - roots::kNvIndexFirst + 1;
  const Digest digest = crypto::sha256({as_bytes(kCounterLabel), as_bytes(instance)});
  return roots::kNvIndexFirst + load_le<std::uint32_t>(digest.data() + 16) % (kCount - kIndexPlaces);
}

Result<SecretBytes> stretch_pin(ByteView pin, const PasswordParameters& parameters) {
  if (pin.empty()) return Status(Reason::kPinMissing, "the root in the TPM needs a PIN");
  return crypto::argon2id(pin, parameters.salt, parameters.argon2);
}

Result<KeySlot> seal_tpm_slot(roots::Tpm& tpm, std::uint32_t slot_id, TpmSlot slot,
                              ByteView pin_authorisation, ByteView dek, const PersistenceHeader& header) {
  SecretBytes root(crypto::kKeyBytes);
  crypto::random_bytes(root.span());
  SR_ASSIGN(slot.sealed, tpm.seal(root.view(), pin_authorisation, policy_of(slot, header)));
  Bytes parameters = encode_tpm_parameters(slot);
  if (parameters.size() > limits::kSlotParametersBytesMax || slot.tcti.size() > kTctiBytesMax) {
    return Status(Reason::kInvalidOption, "protector.tcti: longer than 512 bytes");
  }
  return wrap_dek(slot_id, SlotType::kTpm, std::move(parameters),
                  tpm_kek(root.view(), header.storage_id).view(), dek, header.storage_id, header.key_id);
}

Status read_pcrs(roots::Tpm& tpm, TpmSlot& slot) {
  slot.pcr_values.clear();
  if (slot.pcrs == 0) return {};
  SR_ASSIGN(slot.pcr_values, tpm.pcr_values(slot.pcrs));
  slot.pcr_digest = roots::pcr_digest(slot.pcr_values);
  return {};
}

Result<SecretBytes> open_tpm_slot(roots::Tpm& tpm, const KeySlot& key_slot, const TpmSlot& slot,
                                  ByteView pin_authorisation, const PersistenceHeader& header) {
  Result<SecretBytes> unsealed = tpm.unseal(slot.sealed, pin_authorisation, policy_of(slot, header));
  if (unsealed.is(Reason::kTpmPcrChanged)) return name_changed(tpm, slot, unsealed.status());
  SR_ASSIGN(const SecretBytes root, std::move(unsealed));
  bool fits = false;
  Result<SecretBytes> dek = unwrap_dek(key_slot, tpm_kek(root.view(), header.storage_id).view(),
                                       header.storage_id, header.key_id, &fits);
  // The TPM gave this root for this slot: another one in the slot is an edit.
  if (!fits)
    return Status(Reason::kPersistenceTampered,
                  "the TPM's root does not fit the key slot in persistence.bin");
  return dek;
}

}  // namespace strongroom::store
