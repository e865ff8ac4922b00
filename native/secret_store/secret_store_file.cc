#include "secret_store/secret_store_file.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "crypto/crypto.h"
#include "secret_store/secret_record.h"

namespace strongroom::store {
namespace {

constexpr std::size_t kPlainNameBytesMax = 64;
constexpr std::size_t kSecretFileBytesMax = 2 * kSecretRecordBytesMax;
constexpr std::size_t kSecretFileBytesTried = 4096;  // a block; the items of an ordinary store take less

bool plain(std::string_view instance) {
  return instance.size() <= kPlainNameBytesMax && std::all_of(instance.begin(), instance.end(), [](char c) {
           return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
                  c == '_' || c == '-';
         });
}

// The lock file of an instance, and a lock on the host for the case that somebody removes the file. The directory itself
// cannot be locked: it holds the items of other instances too.
class FileSecretStoreLock final : public os::FileLock {
 public:
  FileSecretStoreLock(std::unique_ptr<os::FileLock> file, std::unique_ptr<os::FileLock> host)
      : file_(std::move(file)), host_(std::move(host)) {}

 private:
  const std::unique_ptr<os::FileLock> file_;  // locked first, released last
  const std::unique_ptr<os::FileLock> host_;
};

// The same by every path that leads to the directory.
std::string host_lock_key(const os::FileInfo& directory, const std::string& instance) {
  std::array<std::uint8_t, 2 * sizeof(std::uint64_t)> identity{};
  store_le(identity.data(), directory.device);
  store_le(identity.data() + sizeof(std::uint64_t), directory.inode);
  return to_hex(
      crypto::sha256({as_bytes("strongroom/v5 lock of a file SecretStore"), identity, as_bytes(instance)}));
}

class FileSecretStore final : public SecretStore {
 public:
  FileSecretStore(os::FileSystem& files, std::string path, std::string instance,
                  std::shared_ptr<os::Directory> directory)
      : files_(files),
        path_(std::move(path)),
        instance_(std::move(instance)),
        directory_(std::move(directory)) {}

  Result<std::optional<Secret>> load(SecretName name) override {
    SR_TRY(find_directory());
    if (directory_ == nullptr) return std::optional<Secret>();
    Result<Bytes> content =
        os::read_whole(*directory_, secret_file_name(instance_, name), kSecretFileBytesMax);
    if (content.is(Reason::kNotFound)) return std::optional<Secret>();
    if (content.is(Reason::kPersistenceCorrupt)) {
      return secret_item_error(name, directory_->path(), "is damaged: its file is too large");
    }
    if (!content.ok()) return content.status();
    Result<Secret> secret = parse_secret_file(*content, name, instance_);
    wipe(*content);
    if (!secret.ok()) return secret.status();
    return std::optional<Secret>(*std::move(secret));
  }

  Status save(SecretName name, const StorageId& storage_id, ByteView value) override {
    SR_TRY(check_secret_value(value));
    SR_TRY(find_directory());
    if (directory_ == nullptr) return Status(Reason::kNotFound, "the SecretStore's directory " + path_);
    const SecretBytes record = encode_secret_record(name, instance_, storage_id, value);
    SecretBytes file(2 * record.size());
    for (const std::size_t at : {std::size_t{0}, record.size()}) {
      std::copy(record.view().begin(), record.view().end(), file.span().subspan(at).begin());
    }
    return os::replace_file(*directory_, secret_file_name(instance_, name), file.view());
  }

  Status try_write() override {
    SR_TRY(find_directory());
    if (directory_ == nullptr) return Status(Reason::kNotFound, "the SecretStore's directory " + path_);
    return os::try_replace_file(*directory_, secret_file_name(instance_, SecretName::kVaultHash),
                                Bytes(kSecretFileBytesTried));
  }

  Status remove(SecretName name) override {
    SR_TRY(find_directory());
    if (directory_ == nullptr) return Status();
    const std::string file = secret_file_name(instance_, name);
    // What a crash left of os::replace_file() holds the same secret. It goes first: the item is there until
    // both went.
    SR_TRY(directory_->remove(file + ".new"));
    SR_TRY(directory_->remove(file));
    return directory_->sync();
  }

  Result<std::unique_ptr<os::FileLock>> lock() override {
    SR_TRY(find_directory());
    if (directory_ == nullptr) return std::unique_ptr<os::FileLock>();
    SR_ASSIGN(std::unique_ptr<os::FileLock> file, directory_->lock(secret_lock_name(instance_)));
    SR_ASSIGN(const os::FileInfo info, directory_->info());
    SR_ASSIGN(std::unique_ptr<os::FileLock> host, files_.lock_on_host(host_lock_key(info, instance_)));
    return std::unique_ptr<os::FileLock>(
        std::make_unique<FileSecretStoreLock>(std::move(file), std::move(host)));
  }

  Status remove_lock() override {
    SR_TRY(find_directory());
    if (directory_ == nullptr) return {};
    SR_TRY(directory_->remove(secret_lock_name(instance_)));
    return directory_->sync();
  }

 private:
  // A directory that was missing at open may have been made or mounted since.
  Status find_directory() {
    if (directory_ != nullptr) return Status();
    Result<std::shared_ptr<os::Directory>> found = files_.open_directory(path_, os::DirectoryMode::kExisting);
    if (!found.ok()) return found.is(Reason::kNotFound) ? Status() : found.status();
    directory_ = *std::move(found);
    return Status();
  }

  os::FileSystem& files_;
  const std::string path_;
  const std::string instance_;
  std::shared_ptr<os::Directory> directory_;  // null while it does not exist
};

}  // namespace

namespace {

std::string file_stem(const std::string& instance) {
  return plain(instance) ? instance : "~" + to_hex(crypto::sha256({as_bytes(instance)}));
}

}  // namespace

std::string secret_file_name(const std::string& instance, SecretName name) {
  return file_stem(instance) + "." + std::string(secret_name_text(name));
}

// No item ends with it, so that no instance's lock is another one's item.
std::string secret_lock_name(const std::string& instance) { return file_stem(instance) + ".lock"; }

Result<Secret> parse_secret_file(ByteView file, SecretName name, const std::string& instance) {
  const std::size_t half = file.size() / 2;
  const ByteView first = file.first(half);
  const ByteView second = file.subspan(half);  // one byte longer than the first in a file of odd size
  const bool even = first.size() == second.size();
  const bool first_intact = even && secret_record_intact(first);
  const bool second_intact = even && secret_record_intact(second);
  const std::string where = secret_file_name(instance, name);
  if (!first_intact && !second_intact) return secret_item_error(name, where, "is damaged in both copies");
  if (first_intact && second_intact && !equal(first, second)) {
    return secret_item_error(name, where, "is damaged: its two copies differ");
  }
  Result<Secret> secret = decode_secret_record(first_intact ? first : second, name, instance);
  if (secret.ok()) secret->one_copy_damaged = !first_intact || !second_intact;
  return secret;
}

Result<std::unique_ptr<SecretStore>> open_file_secret_store(os::FileSystem& files,
                                                            const std::string& directory,
                                                            const std::string& instance,
                                                            os::DirectoryMode mode) {
  std::shared_ptr<os::Directory> opened;
  Result<std::shared_ptr<os::Directory>> found = files.open_directory(directory, mode);
  if (found.ok()) {
    opened = *std::move(found);
  } else if (mode == os::DirectoryMode::kCreate || !found.is(Reason::kNotFound)) {
    return found.status();
  }
  return std::unique_ptr<SecretStore>(
      std::make_unique<FileSecretStore>(files, directory, instance, std::move(opened)));
}

}  // namespace strongroom::store
