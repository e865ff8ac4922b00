#include "log/records.h"

#include <algorithm>
#include <new>

#include "base/limits.h"

namespace strongroom::log {

static_assert(limits::kKeyBytesMax <= UINT16_MAX);
static_assert(limits::kValueBytesMax <= UINT32_MAX);

Record::Pointer Record::make(std::uint64_t generation, std::uint64_t counter, std::uint32_t epoch,
                             ByteView key, std::uint32_t value_bytes) {
  void* memory = ::operator new(sizeof(Record) + key.size() + value_bytes + crypto::kTagBytes);
  Pointer record(new (memory) Record());
  record->generation_ = generation;
  record->counter_ = counter;
  record->epoch_ = epoch;
  record->value_bytes_ = value_bytes;
  record->key_bytes_ = static_cast<std::uint16_t>(key.size());
  std::copy(key.begin(), key.end(), record->bytes());
  return record;
}

Record::Pointer Record::make(ByteView key, const SealedValue& sealed) {
  Pointer record = make(sealed.generation, sealed.counter, sealed.epoch, key,
                        static_cast<std::uint32_t>(sealed.value.size()));
  record->replace(sealed);
  return record;
}

void Record::replace(const SealedValue& sealed) {
  generation_ = sealed.generation;
  counter_ = sealed.counter;
  epoch_ = sealed.epoch;
  std::copy(sealed.value.begin(), sealed.value.end(), this->sealed());
  std::copy(sealed.tag.begin(), sealed.tag.end(), tag());
}

void EpochKeys::add_vault_key(std::uint32_t key_id, SecretBytes vault_key) {
  const MutexLock lock(mutex_);
  vault_keys_.insert_or_assign(key_id, std::move(vault_key));
}

void EpochKeys::switch_vault_key(std::uint32_t key_id, SecretBytes vault_key) {
  const MutexLock lock(mutex_);
  vault_keys_.insert_or_assign(key_id, std::move(vault_key));
  key_id_ = key_id;
}

void EpochKeys::forget_former_vault_keys() {
  const MutexLock lock(mutex_);
  std::erase_if(vault_keys_, [present = key_id_](const auto& entry) { return entry.first != present; });
}

bool EpochKeys::set_file_key(std::uint32_t key_id) {
  const MutexLock lock(mutex_);
  if (!vault_keys_.contains(key_id)) return false;
  file_key_id_ = key_id;
  return true;
}

std::uint32_t EpochKeys::file_key_id() const {
  const MutexLock lock(mutex_);
  return file_key_id_;
}

std::uint32_t EpochKeys::key_id() const {
  const MutexLock lock(mutex_);
  return key_id_;
}

std::uint16_t EpochKeys::announcement() const {
  const MutexLock lock(mutex_);
  return key_id_ == file_key_id_ ? kHasSalt : kHasSalt | kNextKey;
}

void EpochKeys::add(std::uint32_t epoch, const EpochSalt& salt) {
  const MutexLock lock(mutex_);
  add_locked(epoch, salt, key_id_);
}

void EpochKeys::add_of_file(std::uint32_t epoch, const EpochSalt& salt) {
  const MutexLock lock(mutex_);
  add_locked(epoch, salt, file_key_id_);
}

void EpochKeys::add_of(std::uint32_t key_id, std::uint32_t epoch, const EpochSalt& salt) {
  const MutexLock lock(mutex_);
  add_locked(epoch, salt, key_id);
}

void EpochKeys::add_locked(std::uint32_t epoch, const EpochSalt& salt, std::uint32_t key_id) {
  SecretBytes key = crypto::hkdf_sha256(vault_keys_.at(key_id).view(), salt, "strongroom/v5 epoch");
  epochs_.insert_or_assign(epoch, Epoch{salt, std::move(key), key_id});
}

bool EpochKeys::is_present(std::uint32_t epoch) const {
  const MutexLock lock(mutex_);
  const auto found = epochs_.find(epoch);
  return found != epochs_.end() && found->second.key_id == key_id_;
}

bool EpochKeys::has(std::uint32_t epoch) const {
  const MutexLock lock(mutex_);
  return epochs_.contains(epoch);
}

std::optional<EpochSalt> EpochKeys::salt(std::uint32_t epoch) const {
  const MutexLock lock(mutex_);
  const auto found = epochs_.find(epoch);
  return found == epochs_.end() ? std::nullopt : std::optional(found->second.salt);
}

std::uint32_t EpochKeys::highest() const {
  const MutexLock lock(mutex_);
  return epochs_.empty() ? 0 : epochs_.rbegin()->first;
}

std::optional<crypto::Aead> EpochKeys::cipher(std::uint32_t epoch) const {
  const MutexLock lock(mutex_);
  const auto found = epochs_.find(epoch);
  if (found == epochs_.end()) return std::nullopt;
  return crypto::Aead(found->second.key.view());
}

crypto::Aead* ValueCipher::find(std::uint32_t epoch) {
  if (latest_ != nullptr && latest_epoch_ == epoch) return latest_;
  auto found = ciphers_.find(epoch);
  if (found == ciphers_.end()) {
    std::optional<crypto::Aead> cipher = keys_.cipher(epoch);
    if (!cipher) return nullptr;
    found = ciphers_.emplace(epoch, *std::move(cipher)).first;
  }
  latest_epoch_ = epoch;
  latest_ = &found->second;
  return latest_;
}

ByteView ValueCipher::associated_data(std::uint64_t generation, ByteView key) {
  std::uint8_t* out = associated_data_.data();
  std::copy(keys_.storage_id().begin(), keys_.storage_id().end(), out);
  store_le(out + 16, generation);
  std::copy(key.begin(), key.end(), out + 24);
  return {out, 24 + key.size()};
}

void ValueCipher::seal(crypto::Aead& cipher, std::uint64_t generation, std::uint64_t counter, ByteView key,
                       ByteView value, std::uint8_t* out, std::uint8_t* tag) {
  cipher.seal(counter_nonce(counter), associated_data(generation, key), value, out, tag);
}

bool ValueCipher::open(crypto::Aead& cipher, std::uint64_t generation, std::uint64_t counter, ByteView key,
                       ByteView sealed, const std::uint8_t* tag, std::uint8_t* out) {
  return cipher.open(counter_nonce(counter), associated_data(generation, key), sealed, tag, out);
}

bool ValueCipher::open(const Record& record, std::uint8_t* out) {
  crypto::Aead* cipher = find(record.epoch());
  return cipher != nullptr && open(*cipher, record.generation(), record.counter(), as_bytes(record.key()),
                                   {record.sealed(), record.value_bytes()}, record.tag(), out);
}

}  // namespace strongroom::log
