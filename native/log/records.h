// A record in memory: one heap block with what is needed to decrypt its value, the key, the sealed value and its tag.
// Values are decrypted when they are read and never kept in the clear; keys are in the clear, because the index
// orders them.
#pragma once

#include <map>
#include <memory>
#include <unordered_map>

#include "base/thread_annotations.h"
#include "log/format.h"

namespace strongroom::log {

// A sealed value that stands in a frame. Its tag there is sealed once more, with the entry table.
struct SealedValue {
  std::uint64_t generation = 0;
  std::uint64_t counter = 0;
  std::uint32_t epoch = 0;
  ByteView value;
  std::array<std::uint8_t, crypto::kTagBytes> tag{};
};

class Record {
 public:
  struct Deleter {
    void operator()(Record* record) const { ::operator delete(record); }
  };
  using Pointer = std::unique_ptr<Record, Deleter>;

  // The sealed value and tag are left for the caller to fill.
  [[nodiscard]] static Pointer make(std::uint64_t generation, std::uint64_t counter, std::uint32_t epoch,
                                    ByteView key, std::uint32_t value_bytes);
  [[nodiscard]] static Pointer make(ByteView key, const SealedValue& sealed);
  // Takes a value of the same size under the same key.
  void replace(const SealedValue& sealed);

  [[nodiscard]] std::uint64_t generation() const { return generation_; }
  [[nodiscard]] std::uint64_t counter() const { return counter_; }
  [[nodiscard]] std::uint32_t epoch() const { return epoch_; }
  [[nodiscard]] std::size_t value_bytes() const { return value_bytes_; }
  [[nodiscard]] std::string_view key() const { return {reinterpret_cast<const char*>(bytes()), key_bytes_}; }
  [[nodiscard]] std::uint8_t* sealed() { return bytes() + key_bytes_; }
  [[nodiscard]] const std::uint8_t* sealed() const { return bytes() + key_bytes_; }
  [[nodiscard]] std::uint8_t* tag() { return sealed() + value_bytes_; }
  [[nodiscard]] const std::uint8_t* tag() const { return sealed() + value_bytes_; }

 private:
  Record() = default;
  [[nodiscard]] std::uint8_t* bytes() { return reinterpret_cast<std::uint8_t*>(this) + sizeof(Record); }
  [[nodiscard]] const std::uint8_t* bytes() const {
    return reinterpret_cast<const std::uint8_t*>(this) + sizeof(Record);
  }

  std::uint64_t generation_ = 0;
  std::uint64_t counter_ = 0;
  std::uint32_t epoch_ = 0;
  std::uint32_t value_bytes_ = 0;
  std::uint16_t key_bytes_ = 0;
};

// The epoch keys of an open vault: HKDF(vault key, epoch salt). A new epoch belongs to the present vault key; while the
// DEK is rotated the file still names the former one, and such an epoch is announced with kNextKey.
// Thread-safe; keys of epochs are only ever added.
class EpochKeys {
 public:
  // `vault_key` is that of the DEK `key_id`.
  EpochKeys(SecretBytes vault_key, const StorageId& storage_id, std::uint32_t key_id = 1)
      : key_id_(key_id), file_key_id_(key_id), storage_id_(storage_id) {
    vault_keys_.emplace(key_id, std::move(vault_key));
  }

  // Another DEK's vault key, for what is sealed under it.
  void add_vault_key(std::uint32_t key_id, SecretBytes vault_key) SR_EXCLUDES(mutex_);
  // The same, and new epochs are of this DEK from now on.
  void switch_vault_key(std::uint32_t key_id, SecretBytes vault_key) SR_EXCLUDES(mutex_);
  void forget_former_vault_keys();
  // The DEK that the vault file's header names. False for one whose vault key is not here.
  [[nodiscard]] bool set_file_key(std::uint32_t key_id);
  [[nodiscard]] std::uint32_t file_key_id() const;
  [[nodiscard]] std::uint32_t key_id() const;  // the present DEK
  // The flags of a frame that announces a new epoch.
  [[nodiscard]] std::uint16_t announcement() const;

  // Under the present vault key, that of the file, or that of a DEK which is here.
  void add(std::uint32_t epoch, const EpochSalt& salt);
  void add_of_file(std::uint32_t epoch, const EpochSalt& salt);
  void add_of(std::uint32_t key_id, std::uint32_t epoch, const EpochSalt& salt);
  // Whether an epoch is one of the present vault key.
  [[nodiscard]] bool is_present(std::uint32_t epoch) const;
  [[nodiscard]] bool has(std::uint32_t epoch) const;
  [[nodiscard]] std::optional<EpochSalt> salt(std::uint32_t epoch) const;
  [[nodiscard]] std::uint32_t highest() const;  // 0 when there is none
  // nullopt for an epoch that was never announced.
  [[nodiscard]] std::optional<crypto::Aead> cipher(std::uint32_t epoch) const;
  [[nodiscard]] const StorageId& storage_id() const { return storage_id_; }

 private:
  struct Epoch {
    EpochSalt salt{};
    SecretBytes key;
    std::uint32_t key_id = 0;
  };
  void add_locked(std::uint32_t epoch, const EpochSalt& salt, std::uint32_t key_id) SR_REQUIRES(mutex_);

  mutable Mutex mutex_;
  std::map<std::uint32_t, SecretBytes> vault_keys_ SR_GUARDED_BY(mutex_);  // by the id of their DEK
  std::uint32_t key_id_ SR_GUARDED_BY(mutex_);
  std::uint32_t file_key_id_ SR_GUARDED_BY(mutex_);
  const StorageId storage_id_;
  std::map<std::uint32_t, Epoch> epochs_ SR_GUARDED_BY(mutex_);
};

// Seals and opens values; keeps one cipher an epoch. One per thread.
class ValueCipher {
 public:
  explicit ValueCipher(const EpochKeys& keys) : keys_(keys) {}

  // Null for an unknown epoch.
  [[nodiscard]] crypto::Aead* find(std::uint32_t epoch);
  void seal(crypto::Aead& cipher, std::uint64_t generation, std::uint64_t counter, ByteView key,
            ByteView value, std::uint8_t* out, std::uint8_t* tag);
  [[nodiscard]] bool open(crypto::Aead& cipher, std::uint64_t generation, std::uint64_t counter, ByteView key,
                          ByteView sealed, const std::uint8_t* tag, std::uint8_t* out);
  // `out` has record.value_bytes() bytes. False means memory corruption: the record was authenticated when it came in.
  [[nodiscard]] bool open(const Record& record, std::uint8_t* out);

 private:
  [[nodiscard]] ByteView associated_data(std::uint64_t generation, ByteView key);

  const EpochKeys& keys_;
  std::unordered_map<std::uint32_t, crypto::Aead> ciphers_;
  std::uint32_t latest_epoch_ = 0;
  crypto::Aead* latest_ = nullptr;
  std::array<std::uint8_t, 16 + 8 + 1024> associated_data_{};
};

}  // namespace strongroom::log
