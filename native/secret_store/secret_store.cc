#include "secret_store/secret_store.h"

#include "base/limits.h"
#include "secret_store/secret_store_file.h"
#include "secret_store/secret_store_service.h"

namespace strongroom::store {
namespace {

// The code point that `text` begins with, taken off it; nullopt unless it is well-formed (RFC 3629: shortest
// form, no surrogates, no more than U+10FFFF).
std::optional<std::uint32_t> take_code_point(std::string_view& text) {
  const auto byte = [&text](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t lead = byte(0);
  std::size_t length = 0;
  if (lead < 0x80) {
    length = 1;
  } else if (lead >= 0xC2 && lead < 0xE0) {
    length = 2;
  } else if (lead >= 0xE0 && lead < 0xF0) {
    length = 3;
  } else if (lead >= 0xF0 && lead < 0xF5) {
    length = 4;
  }
  if (length == 0 || text.size() < length) return std::nullopt;
  std::uint32_t code_point = length == 1 ? lead : lead & (0xFFU >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return std::nullopt;
    code_point = code_point << 6 | (byte(i) & 0x3F);
  }
  if (length == 3 && (code_point < 0x800 || (code_point >= 0xD800 && code_point < 0xE000)))
    return std::nullopt;
  if (length == 4 && (code_point < 0x10000 || code_point > 0x10FFFF)) return std::nullopt;
  text.remove_prefix(length);
  return code_point;
}

Status check_instance(std::string_view instance) {
  if (instance.empty() || instance.size() > limits::kInstanceBytesMax) {
    return Status(Reason::kInvalidOption, "an instance name has 1 to " +
                                              std::to_string(limits::kInstanceBytesMax) + " bytes, not " +
                                              std::to_string(instance.size()));
  }
  while (!instance.empty()) {
    const std::optional<std::uint32_t> code_point = take_code_point(instance);
    if (!code_point) return Status(Reason::kInvalidOption, "the instance name is not well-formed UTF-8");
    const bool control = *code_point < 0x20 || (*code_point >= 0x7F && *code_point < 0xA0);
    if (control) return Status(Reason::kInvalidOption, "the instance name holds a control character");
  }
  return Status();
}

}  // namespace

std::string_view secret_name_text(SecretName name) {
  switch (name) {
    case SecretName::kVaultHash:
      return "VaultHash";
    case SecretName::kTimeTamper:
      return "TimeTamper";
    case SecretName::kRootKey:
      return "RootKey";
  }
  return "?";
}

Result<std::unique_ptr<SecretStore>> open_secret_store(os::Environment environment,
                                                       const SecretStoreConfig& config,
                                                       const std::string& instance, os::DirectoryMode mode) {
  SR_TRY(check_instance(instance));
  switch (config.type) {
    case SecretStoreType::kFile:
      if (config.directory.empty() || config.directory.front() != '/' ||
          config.directory.find('\0') != std::string::npos) {
        return Status(Reason::kInvalidOption,
                      "the directory of the file SecretStore must be an absolute path");
      }
      return open_file_secret_store(environment.files, config.directory, instance, mode);
    case SecretStoreType::kSecretService:
      if (!config.directory.empty()) {
        return Status(Reason::kInvalidOption, "the secret-service SecretStore takes no directory");
      }
      return open_service_secret_store(instance);
  }
  return Status(Reason::kInvalidOption, "unknown type of SecretStore");
}

}  // namespace strongroom::store
