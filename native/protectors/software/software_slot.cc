#include "protectors/software/software_slot.h"

#include <algorithm>

#include "base/limits.h"
#include "crypto/crypto.h"

namespace strongroom::store {
namespace {

constexpr std::string_view kKekLabel = "strongroom/v5 software kek";
constexpr std::size_t kDirectoryBytesMax = 4095;  // PATH_MAX without its NUL
static_assert(1 + 2 + kDirectoryBytesMax <= limits::kSlotParametersBytesMax);

Status malformed(const char* what) {
  return {Reason::kPersistenceTampered, std::string("key slot parameters: ") + what};
}

}  // namespace

Bytes encode_software_parameters(const SecretStoreConfig& config) {
  Bytes out;
  ByteWriter writer(out);
  const std::string_view directory =
      config.type == SecretStoreType::kFile ? std::string_view(config.directory) : "";
  writer.number(static_cast<std::uint8_t>(config.type));
  writer.number(static_cast<std::uint16_t>(std::min(directory.size(), std::size_t{UINT16_MAX})));
  writer.bytes(as_bytes(directory));
  return out;
}

Result<SecretStoreConfig> parse_software_parameters(ByteView parameters) {
  ByteReader reader(parameters);
  const auto type = reader.number<std::uint8_t>();
  const std::string_view directory = as_text(reader.bytes(reader.number<std::uint16_t>()));
  if (!reader.done()) return malformed("wrong length");
  if (type == static_cast<std::uint8_t>(SecretStoreType::kFile)) {
    if (directory.empty() || directory.size() > kDirectoryBytesMax || directory.front() != '/' ||
        directory.find('\0') != std::string_view::npos) {
      return malformed("the SecretStore's directory is not an absolute path");
    }
    return SecretStoreConfig{SecretStoreType::kFile, std::string(directory)};
  }
  if (type != static_cast<std::uint8_t>(SecretStoreType::kSecretService) || !directory.empty()) {
    return malformed("unknown SecretStore");
  }
  return SecretStoreConfig{SecretStoreType::kSecretService, {}};
}

SecretBytes software_kek(ByteView root_key, const StorageId& storage_id) {
  return crypto::hkdf_sha256(root_key, storage_id, kKekLabel);
}

}  // namespace strongroom::store
