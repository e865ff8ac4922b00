#include "protectors/pkcs11/token_store.h"

#include "secret_store/secret_record.h"

namespace strongroom::store {
namespace {

// After an acknowledged save: with more, the newest was never acknowledged.
constexpr std::size_t kObjectsKept = 2;

}  // namespace

std::string TokenStore::label(SecretName name) const {
  return "strongroom " + std::string(secret_name_text(name)) + " " + instance_;
}

Result<std::optional<Secret>> TokenStore::load(SecretName name) {
  SR_ASSIGN(const std::vector<Bytes> records, token_->objects().load_all(label(name)));
  if (records.empty()) return std::optional<Secret>();
  const Bytes* record = &records.front();
  if (!secret_record_intact(*record) && records.size() > kObjectsKept) record = &records[1];
  if (!secret_record_intact(*record)) return secret_item_error(name, "in the token", "is damaged");
  SR_ASSIGN(Secret secret, decode_secret_record(*record, name, instance_));
  return std::optional(std::move(secret));
}

Status TokenStore::save(SecretName name, const StorageId& storage_id, ByteView value) {
  SR_TRY(check_secret_value(value));
  return token_->objects().save(label(name), encode_secret_record(name, instance_, storage_id, value).view());
}

Status TokenStore::remove(SecretName name) { return token_->objects().remove(label(name)); }

Status TokenStore::remove_previous(SecretName name) { return token_->objects().keep_newest(label(name)); }

}  // namespace strongroom::store
