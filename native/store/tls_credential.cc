#include "store/tls_credential.h"

#include <algorithm>
#include <array>

#include "base/limits.h"
#include "crypto/certificate.h"

namespace strongroom::store {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::string_view kCertificateRecord = "strongroom/tls";
constexpr std::string_view kKeyRecord = "strongroom/tls/key";
constexpr std::string_view kFresh = ".new";
// A larger file is no credential, and not replaced.
constexpr std::size_t kFormerBytesMax = std::size_t{1} << 20;

Bytes encode(const TlsCertificate& certificate) {
  Bytes out{kVersion};
  ByteWriter writer(out);
  writer.prefixed(as_bytes(certificate.certificate));
  writer.prefixed(as_bytes(certificate.chain));
  return out;
}

Result<TlsCertificate> parse(ByteView record) {
  ByteReader reader(record);
  const auto version = reader.number<std::uint8_t>();
  TlsCertificate out;
  out.certificate = as_text(reader.prefixed());
  out.chain = as_text(reader.prefixed());
  if (!reader.done() || version != kVersion) {
    return Status(Reason::kInternal, "the TLS record is not one that this release writes");
  }
  return out;
}

Result<std::optional<TlsCertificate>> load(const SystemRecordReader& reader) {
  SR_ASSIGN(const std::optional<Bytes> record, reader.read(kCertificateRecord));
  if (!record) return std::optional<TlsCertificate>();
  SR_ASSIGN(TlsCertificate certificate, parse(*record));
  return std::optional(std::move(certificate));
}

// One file of the credential on its way into the directory.
class Replacement {
 public:
  Replacement(os::Directory& directory, std::string_view name, ByteView content)
      : directory_(directory),
        name_(name),
        fresh_(std::string(name) + std::string(kFresh)),
        content_(content) {}

  // Makes the new content durable beside the file, and remembers the former one.
  Status prepare() {
    SR_TRY(directory_.remove(fresh_));
    if (!content_.empty()) {
      SR_ASSIGN(const std::unique_ptr<os::File> file, directory_.open(fresh_, os::OpenMode::kCreate));
      SR_TRY(file->write_at(0, content_));
      SR_TRY(file->sync());
    }
    Result<Bytes> former = os::read_whole(directory_, name_, kFormerBytesMax);
    if (former.ok()) {
      former_ = WipedBuffer(*former);
      wipe(*former);
    } else if (former.is(Reason::kPersistenceCorrupt)) {
      return {Reason::kUnsafePath, former.error().detail};
    } else if (!former.is(Reason::kNotFound)) {
      return former.status();
    }
    return {};
  }
  // An empty content removes the file.
  Status publish() {
    SR_TRY(content_.empty() ? directory_.remove(name_) : directory_.replace(fresh_, name_));
    published_ = true;
    return {};
  }
  void take_back() {
    const char* const why = "the first failure is the one to report";
    directory_.remove(fresh_).ignore(why);
    if (!published_) return;
    if (former_) {
      os::replace_file(directory_, name_, former_->view()).ignore(why);
    } else {
      directory_.remove(name_).ignore(why);
    }
  }

 private:
  os::Directory& directory_;
  std::string_view name_;
  std::string fresh_;
  ByteView content_;
  std::optional<WipedBuffer> former_;
  bool published_ = false;
};

}  // namespace

Status set_tls(Engine& engine, ByteView key, const TlsCertificate& certificate) {
  if (key.size() > limits::kPrivateKeyPemBytesMax)
    return {Reason::kInvalidArgument, "the key has at most 16,384 bytes"};
  if (std::max(certificate.certificate.size(), certificate.chain.size()) > limits::kCertificatePemBytesMax) {
    return {Reason::kInvalidArgument, "certificate and chain have at most 262,144 bytes each"};
  }
  SR_TRY(crypto::check_credential(key, as_bytes(certificate.certificate), as_bytes(certificate.chain)));
  const Bytes record = encode(certificate);
  return commit_system(engine, {{log::Operation::kPut, as_bytes(kCertificateRecord), record},
                                {log::Operation::kPut, as_bytes(kKeyRecord), key}});
}

Result<std::optional<TlsCertificate>> tls_certificate(Engine& engine) {
  log::ValueCipher cipher(engine.epoch_keys());
  return load(SystemRecordReader(engine.queue(), cipher));
}

Status remove_tls(Engine& engine) {
  return commit_system(engine, {{log::Operation::kDelete, as_bytes(kCertificateRecord), {}},
                                {log::Operation::kDelete, as_bytes(kKeyRecord), {}}});
}

Status extract_tls(Engine& engine, os::FileSystem& files, const std::string& directory) {
  log::ValueCipher cipher(engine.epoch_keys());
  const SystemRecordReader reader(engine.queue(), cipher);
  SR_ASSIGN(const std::optional<TlsCertificate> certificate, load(reader));
  SR_ASSIGN(const std::optional<SecretBytes> key, reader.read_secret(kKeyRecord));
  if (!certificate || !key) return {Reason::kTlsNotSet, "the vault holds no TLS credential"};

  SR_ASSIGN(const std::shared_ptr<os::Directory> target,
            files.open_directory(directory, os::DirectoryMode::kExisting));
  const ByteView chain = as_bytes(certificate->chain);
  Replacement new_chain(*target, kTlsChainFile, chain);
  Replacement new_key(*target, kTlsKeyFile, key->view());
  Replacement new_certificate(*target, kTlsCertificateFile, as_bytes(certificate->certificate));
  // A server that starts meanwhile sends a chain too many rather than one that is missing.
  const std::array<Replacement*, 3> order = chain.empty()
                                                ? std::array{&new_key, &new_certificate, &new_chain}
                                                : std::array{&new_chain, &new_key, &new_certificate};
  const auto replace = [&]() -> Status {
    for (Replacement* const file : order) SR_TRY(file->prepare());
    SR_TRY(target->sync());
    for (Replacement* const file : order) SR_TRY(file->publish());
    return target->sync();
  };
  Status status = replace();
  if (status.ok()) return status;
  // The last one first, so that key and certificate are side by side again.
  for (auto file = order.rbegin(); file != order.rend(); ++file) (*file)->take_back();
  return status;
}

}  // namespace strongroom::store
