// The first byte of an input says what follows: 0 a persistence.bin as it is, 1 one whose two checksums are
// corrected first (random changes would not get past them), 2 the plaintext of core data, sealed here under
// the fixed DEK.
//
// What must hold: what parses is within the limits and can be encoded again to a file that parses to the
// same; what opens has a valid vault file name. A password's KEK is never derived: its cost is bounded, but
// not small.
#include <algorithm>
#include <cstdlib>

#include "base/limits.h"
#include "header/persistence_file.h"
#include "protectors/password/password_slot.h"
#include "protectors/software/software_slot.h"

namespace {

using namespace strongroom;         // NOLINT(google-build-using-namespace)
using namespace strongroom::store;  // NOLINT(google-build-using-namespace)

template <std::size_t N>
std::array<std::uint8_t, N> counted(std::uint8_t first) {
  std::array<std::uint8_t, N> out{};
  for (std::size_t i = 0; i < N; ++i) out[i] = static_cast<std::uint8_t>(first + i);
  return out;
}

// Those of the seeds, which test/native/vectors/make-persistence-v5.mjs makes.
const auto kDek = counted<32>(0x00);
const auto kRootKey = counted<32>(0x40);
const auto kPasswordKek = counted<32>(0x60);

void check(bool holds) {
  if (!holds) std::abort();
}

void check_core(const CoreData& core, const PersistenceHeader& header) {
  check(validate_vault_file_name(core.vault_file_name).ok());
  const auto file = encode_persistence(header, core, kDek, nullptr);
  check(file.ok());
  const auto parsed = parse_persistence(*file);
  check(parsed.ok() && parsed->size() == 1);
  const auto again = open_core_data((*parsed)[0], kDek);
  check(again.ok() && again->vault_file_name == core.vault_file_name &&
        again->vault_salt == core.vault_salt && again->age_ms_max == core.age_ms_max &&
        again->witnesses == core.witnesses &&
        again->authority.vendor_public_key == core.authority.vendor_public_key);
  check(again->previous.has_value() == core.previous.has_value() &&
        again->former_field_keys.size() == core.former_field_keys.size());
  check(core.former_field_keys.size() <= kFormerFieldKeysMax);
  for (std::size_t i = 0; i < core.former_field_keys.size(); ++i) {
    check(again->former_field_keys[i].key_id == core.former_field_keys[i].key_id);
    check(equal(again->former_field_keys[i].key.view(), core.former_field_keys[i].key.view()));
  }
}

void check_slot(const KeySlot& slot, const PersistenceHeader& header) {
  check(slot.parameters.size() <= limits::kSlotParametersBytesMax);
  bool fits = false;
  for (const SecretBytes& kek : {software_kek(kRootKey, header.storage_id), SecretBytes(kPasswordKek)}) {
    const auto dek = unwrap_dek(slot, kek.view(), header.storage_id, header.key_id, &fits);
    check(!dek.ok() || (fits && equal(dek->view(), kDek)));
  }
  if (const auto config = parse_software_parameters(slot.parameters); config.ok()) {
    check(equal(encode_software_parameters(*config), slot.parameters));
  }
  if (const auto parameters = parse_password_parameters(slot.parameters); parameters.ok()) {
    check(crypto::acceptable(parameters->argon2));
    check(equal(encode_password_parameters(*parameters), slot.parameters));
  }
}

void check_file(ByteView bytes) {
  const auto candidates = parse_persistence(bytes);
  if (!candidates.ok()) {
    check(candidates.is(Reason::kPersistenceTampered) || candidates.is(Reason::kVersion));
    return;
  }
  check(!candidates->empty() && candidates->size() <= 2);
  for (const ParsedPersistence& parsed : *candidates) {
    const auto again = encode_persistence(parsed.header, CoreData{}, kDek, nullptr);
    check(again.ok());
    const auto reparsed = parse_persistence(*again);
    check(reparsed.ok() && reparsed->size() == 1 && !(*reparsed)[0].one_copy_damaged);
    check((*reparsed)[0].header.instance == parsed.header.instance);
    check((*reparsed)[0].header.slots.size() == parsed.header.slots.size());
    for (const KeySlot& slot : parsed.header.slots) check_slot(slot, parsed.header);
    if (const auto core = open_core_data(parsed, kDek); core.ok()) check_core(*core, parsed.header);
  }
}

void correct_checksums(Bytes& file) {
  const std::size_t half = file.size() / 2;
  if (half < sizeof(Digest)) return;
  for (const std::size_t begin : {std::size_t{0}, half}) {
    const std::size_t covered = half - sizeof(Digest);
    const Digest checksum = crypto::sha256({ByteView(file).subspan(begin, covered)});
    std::copy(checksum.begin(), checksum.end(), file.begin() + static_cast<std::ptrdiff_t>(begin + covered));
  }
}

void check_core_plaintext(ByteView plaintext) {
  ParsedPersistence parsed;
  PersistenceHeader& header = parsed.header;
  header.instance = "fuzz";
  header.key_id = 7;  // that of the seeds
  header.slots.push_back(
      wrap_dek(1, SlotType::kPassword, {}, kPasswordKek, kDek, header.storage_id, header.key_id));
  parsed.core_sealed.resize(plaintext.size());
  crypto::Aead(crypto::hkdf_sha256(kDek, header.storage_id, "strongroom/v5 core").view())
      .seal(parsed.core_nonce, {}, plaintext, parsed.core_sealed.data(), parsed.core_tag.data());
  const auto core = open_core_data(parsed, kDek);
  if (core.ok()) {
    check_core(*core, header);
  } else {
    check(core.is(Reason::kPersistenceCorrupt));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const ByteView input(data + 1, size - 1);
  if (data[0] % 3 == 0) check_file(input);
  if (data[0] % 3 == 1) {
    Bytes file(input.begin(), input.end());
    correct_checksums(file);
    check_file(file);
  }
  if (data[0] % 3 == 2) check_core_plaintext(input);
  return 0;
}
