#include "protectors/pkcs11/token_slot.h"

#include <algorithm>

#include "protectors/software/software_slot.h"

namespace strongroom::store {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::string_view kKekIdLabel = "strongroom/v5 kek id";
constexpr std::size_t kOwnerBytes = 8;
constexpr std::size_t kKekIdBytes = 16;
constexpr std::size_t kPathBytesMax = 4095;
constexpr std::size_t kNameBytesMax = 255;
constexpr std::size_t kWrappedBytesMax = 1024;

Status malformed(const char* what) {
  return {Reason::kPersistenceTampered, std::string("key slot parameters of the token: ") + what};
}

}  // namespace

Bytes encode_token_parameters(const TokenSlot& slot) {
  Bytes out;
  ByteWriter writer(out);
  writer.number(kVersion);
  writer.prefixed(as_bytes(slot.module));
  writer.prefixed(as_bytes(slot.token_label));
  writer.prefixed(as_bytes(slot.token_serial));
  writer.prefixed(as_bytes(slot.kek_label));
  writer.prefixed(encode_software_parameters(slot.secret_store));
  writer.number(static_cast<std::uint8_t>(slot.kek.type));
  writer.prefixed(slot.kek.id);
  writer.prefixed(slot.wrapped);
  return out;
}

Result<TokenSlot> parse_token_parameters(ByteView parameters) {
  ByteReader reader(parameters);
  TokenSlot slot;
  if (reader.number<std::uint8_t>() != kVersion) return malformed("unknown version");
  slot.module = as_text(reader.prefixed());
  slot.token_label = as_text(reader.prefixed());
  slot.token_serial = as_text(reader.prefixed());
  slot.kek_label = as_text(reader.prefixed());
  SR_ASSIGN(slot.secret_store, parse_software_parameters(reader.prefixed()));
  const auto type = reader.number<std::uint8_t>();
  const ByteView id = reader.prefixed();
  const ByteView wrapped = reader.prefixed();
  if (!reader.done()) return malformed("wrong length");
  if (slot.module.size() > kPathBytesMax || slot.token_label.size() > kNameBytesMax ||
      slot.token_serial.size() > kNameBytesMax || slot.kek_label.size() > kNameBytesMax) {
    return malformed("a name is too long");
  }
  if (type < static_cast<std::uint8_t>(roots::KekType::kAesKeyWrap) ||
      type > static_cast<std::uint8_t>(roots::KekType::kRsaOaepSha1)) {
    return malformed("unknown type of KEK");
  }
  if (id.size() != kKekIdBytes || wrapped.size() > kWrappedBytesMax)
    return malformed("the KEK's id, or the wrap");
  slot.kek.type = static_cast<roots::KekType>(type);
  slot.kek.id.assign(id.begin(), id.end());
  slot.wrapped.assign(wrapped.begin(), wrapped.end());
  return slot;
}

Bytes new_kek_id(const StorageId& storage_id) {
  const Digest owner = crypto::sha256({as_bytes(kKekIdLabel), storage_id});
  Bytes id(kKekIdBytes);
  crypto::random_bytes(id);
  std::copy_n(owner.begin(), kOwnerBytes, id.begin());
  return id;
}

bool is_kek_id_of(ByteView id, const StorageId& storage_id) {
  const Digest owner = crypto::sha256({as_bytes(kKekIdLabel), storage_id});
  return id.size() == kKekIdBytes && std::equal(id.begin(), id.begin() + kOwnerBytes, owner.begin());
}

Result<KeySlot> wrap_token_slot(roots::Token& token, std::uint32_t slot_id, TokenSlot slot, ByteView dek) {
  KeySlot out;
  out.id = slot_id;
  out.type = SlotType::kPkcs11;
  SR_ASSIGN(slot.wrapped, token.wrap(slot.kek_label, slot.kek, dek));
  SR_ASSIGN(const Bytes check, token.kek_check_value(slot.kek_label, slot.kek));
  if (check.size() != out.key_check_value.size())
    return Status(Reason::kInternal, "a key check value has 8 bytes");
  std::copy(check.begin(), check.end(), out.key_check_value.begin());
  out.parameters = encode_token_parameters(slot);
  return out;
}

Result<SecretBytes> open_token_slot(roots::Token& token, const KeySlot& key_slot, const TokenSlot& slot) {
  SR_ASSIGN(SecretBytes dek,
            token.unwrap_verified(slot.kek_label, slot.kek, key_slot.key_check_value, slot.wrapped));
  if (dek.size() != crypto::kKeyBytes)
    return Status(Reason::kWrappedDekCorrupt, "the unwrapped DEK has a wrong size");
  return dek;
}

bool is_loss_of_kek(const Status& refused) {
  return refused.is(Reason::kTokenMissing) || refused.is(Reason::kKekMissing) ||
         refused.is(Reason::kKekReplaced) || refused.is(Reason::kWrappedDekCorrupt);
}

}  // namespace strongroom::store
