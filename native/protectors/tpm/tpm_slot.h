// The key slot of a TPM, and where a store's counter is found. The byte layout of the parameters is in docs/format.md.
//
// The slot's root is 32 random bytes, sealed in the TPM under TPM2_PolicyNV(counter <= at_most), the selected PCRs and
// the PIN; its KEK is HKDF(root). Each sealing draws a new root, so that a slot of an earlier epoch is of no use.
//
// Invariant: nothing in the parameters is believed before the wrap that they are bound into has authenticated, except to
// ask the TPM. A TCTI from a file may only name a device or a socket, never a library.
#pragma once

#include "header/persistence_file.h"
#include "protectors/password/password_slot.h"
#include "roots/tpm/tpm.h"

namespace strongroom::store {

struct TpmSlot {
  std::string tcti;
  roots::TpmName parent_name;
  roots::TpmName endorsement_name;
  std::uint32_t counter_index = 0;
  std::uint64_t at_most = 0;
  std::uint32_t pcrs = 0;
  Digest pcr_digest{};
  std::vector<Digest> pcr_values;  // of each PCR; empty in a slot of release 0.1
  bool has_pin = false;
  PasswordParameters pin;  // how the PIN is stretched
  roots::SealedObject sealed;
};

[[nodiscard]] Bytes encode_tpm_parameters(const TpmSlot& slot);
// kPersistenceTampered for anything that encode_tpm_parameters() does not make.
[[nodiscard]] Result<TpmSlot> parse_tpm_parameters(ByteView parameters);

// The label of a store's NV indices: SHA-256 of the instance name cut to 16 bytes, then the storage id. While the next value
// of a counter is being found out (COLDSTART) the storage id in it is zero.
[[nodiscard]] Digest index_label(std::string_view instance, const StorageId& storage_id);
// The storage id in such a label.
[[nodiscard]] StorageId storage_id_of(const Digest& label);
// The first of the kIndexPlaces places that NV indices of this instance may have.
inline constexpr std::uint32_t kIndexPlaces = 16;
[[nodiscard]] std::uint32_t first_counter_index(std::string_view instance);

// At most 32 bytes that authorise the sealed object: Argon2id of the PIN. kPinMissing when it is empty.
[[nodiscard]] Result<SecretBytes> stretch_pin(ByteView pin, const PasswordParameters& parameters);

// Seals a new root and wraps the DEK under it; `slot` names everything but the sealed object.
[[nodiscard]] Result<KeySlot> seal_tpm_slot(roots::Tpm& tpm, std::uint32_t slot_id, TpmSlot slot,
                                            ByteView pin_authorisation, ByteView dek,
                                            const PersistenceHeader& header);
// Reads the selected PCRs into `slot`.
[[nodiscard]] Status read_pcrs(roots::Tpm& tpm, TpmSlot& slot);
// The reasons of Tpm::unseal() and unwrap_dek(); kTpmPcrChanged names the PCRs.
[[nodiscard]] Result<SecretBytes> open_tpm_slot(roots::Tpm& tpm, const KeySlot& key_slot, const TpmSlot& slot,
                                                ByteView pin_authorisation, const PersistenceHeader& header);

}  // namespace strongroom::store
