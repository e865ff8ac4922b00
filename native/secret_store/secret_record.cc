#include "secret_store/secret_record.h"

#include <algorithm>

#include "crypto/crypto.h"

namespace strongroom::store {
namespace {

constexpr std::string_view kMagic = "SRSECRET";
constexpr std::uint16_t kVersion = 1;
constexpr std::size_t kVersionAt = 8;
constexpr std::size_t kNameAt = 10;
constexpr std::size_t kInstanceLengthAt = 11;
constexpr std::size_t kValueLengthAt = 12;
constexpr std::size_t kStorageIdAt = 16;
static_assert(kMagic.size() == kVersionAt);
static_assert(kStorageIdAt + sizeof(StorageId) == kSecretRecordHeaderBytes);
static_assert(limits::kInstanceBytesMax <= 0xFF);

std::uint8_t name_number(SecretName name) { return static_cast<std::uint8_t>(static_cast<int>(name) + 1); }

}  // namespace

Status check_secret_value(ByteView value) {
  if (!value.empty() && value.size() <= kSecretValueBytesMax) return Status();
  return Status(Reason::kInvalidArgument, "a SecretStore item holds 1 to " +
                                              std::to_string(kSecretValueBytesMax) + " bytes, not " +
                                              std::to_string(value.size()));
}

SecretBytes encode_secret_record(SecretName name, const std::string& instance, const StorageId& storage_id,
                                 ByteView value) {
  const std::size_t content = kSecretRecordHeaderBytes + instance.size() + value.size();
  SecretBytes record(content + sizeof(Digest));
  std::uint8_t* const out = record.span().data();
  std::copy(kMagic.begin(), kMagic.end(), out);
  store_le<std::uint16_t>(out + kVersionAt, kVersion);
  out[kNameAt] = name_number(name);
  out[kInstanceLengthAt] = static_cast<std::uint8_t>(instance.size());
  store_le<std::uint32_t>(out + kValueLengthAt, static_cast<std::uint32_t>(value.size()));
  std::copy(storage_id.begin(), storage_id.end(), out + kStorageIdAt);
  std::copy(instance.begin(), instance.end(), out + kSecretRecordHeaderBytes);
  std::copy(value.begin(), value.end(), out + kSecretRecordHeaderBytes + instance.size());
  const Digest checksum = crypto::sha256({record.view().first(content)});
  std::copy(checksum.begin(), checksum.end(), out + content);
  return record;
}

bool secret_record_intact(ByteView record) {
  if (record.size() < kSecretRecordHeaderBytes + sizeof(Digest)) return false;
  if (as_text(record.first(kMagic.size())) != kMagic) return false;
  const std::size_t content = record.size() - sizeof(Digest);
  return equal(crypto::sha256({record.first(content)}), record.subspan(content));
}

Result<Secret> decode_secret_record(ByteView record, SecretName name, const std::string& instance) {
  ByteReader reader(record);
  (void)reader.bytes(kMagic.size());
  const auto version = reader.number<std::uint16_t>();
  if (version != kVersion) {
    return Status(Reason::kVersion, "the item " + std::string(secret_name_text(name)) + " has version " +
                                        std::to_string(version));
  }
  const auto number = reader.number<std::uint8_t>();
  const auto instance_length = reader.number<std::uint8_t>();
  const auto value_length = reader.number<std::uint32_t>();
  Secret secret;
  secret.storage_id = reader.array<sizeof(StorageId)>();
  const ByteView instance_bytes = reader.bytes(instance_length);
  const ByteView value = reader.bytes(value_length);
  (void)reader.bytes(sizeof(Digest));
  const std::string where = "instance '" + instance + "'";
  if (!reader.done() || !check_secret_value(value).ok()) {
    return secret_item_error(name, where, "is damaged: its lengths do not fit");
  }
  if (number != name_number(name) || as_text(instance_bytes) != instance) {
    return secret_item_error(name, where, "holds an item of another name or instance");
  }
  secret.value = SecretBytes(value);
  return secret;
}

Status secret_item_error(SecretName name, const std::string& where, const std::string& what) {
  return Status(name == SecretName::kRootKey ? Reason::kRootUnavailable : Reason::kWitnessReplaced,
                "the item " + std::string(secret_name_text(name)) + " (" + where + ") " + what);
}

}  // namespace strongroom::store
