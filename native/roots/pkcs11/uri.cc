// The PKCS#11 URI scheme (RFC 7512), strictly by its grammar: a URI comes from a configuration and is looked at once.
//
//   pkcs11: [ attribute *( ";" attribute ) ] [ "?" attribute *( "&" attribute ) ]
//
// An attribute that narrows a search is either honoured or refused: to ignore it would find what was not meant (RFC 7512,
// 2.5). Vendor attributes that begin with "x-" are ignored.
#include <algorithm>
#include <array>
#include <charconv>

#include "roots/pkcs11/token.h"

namespace strongroom::roots {
namespace {

constexpr std::size_t kUriBytesMax = 4096;
constexpr std::size_t kIdBytesMax = 64;
constexpr std::string_view kScheme = "pkcs11:";

Status bad(const std::string& what) { return Status(Reason::kInvalidOption, "PKCS#11 URI: " + what); }

bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// pk11-pchar and pk11-qchar without what is percent-encoded.
bool may_stand(char c, bool query) {
  constexpr std::string_view kBoth = "-._~:[]@!$'()*+,=";
  return is_alphanumeric(c) || kBoth.find(c) != std::string_view::npos ||
         (query ? std::string_view("/?|") : std::string_view("&")).find(c) != std::string_view::npos;
}

std::optional<std::string> decode(std::string_view encoded, bool query) {
  std::string out;
  for (std::size_t i = 0; i < encoded.size(); ++i) {
    if (encoded[i] != '%') {
      if (!may_stand(encoded[i], query)) return std::nullopt;
      out.push_back(encoded[i]);
      continue;
    }
    if (encoded.size() - i < 3) return std::nullopt;
    const std::optional<Bytes> byte = from_hex(encoded.substr(i + 1, 2));
    if (!byte) return std::nullopt;
    out.push_back(static_cast<char>(byte->front()));
    i += 2;
  }
  return out;
}

class Parser {
 public:
  [[nodiscard]] Status attribute(std::string_view text, bool query) {
    const std::size_t equals = text.find('=');
    const std::string_view name = text.substr(0, equals);
    if (equals == std::string_view::npos || name.empty() ||
        !std::all_of(name.begin(), name.end(),
                     [](char c) { return is_alphanumeric(c) || c == '-' || c == '_'; })) {
      return bad("an attribute is a name, '=' and a value");
    }
    const std::optional<std::string> value = decode(text.substr(equals + 1), query);
    if (!value)
      return bad("the value of '" + std::string(name) + "' has a character that must be percent-encoded");
    if (name.substr(0, 2) == "x-") return Status();
    if (std::find(seen_.begin(), seen_.end(), name) != seen_.end())
      return bad("'" + std::string(name) + "' stands twice");
    seen_.emplace_back(name);
    if (name != "id" && (value->empty() || value->find('\0') != std::string::npos))
      return bad("the value of '" + std::string(name) + "' is empty or holds a NUL");
    return query ? query_attribute(name, *value) : path_attribute(name, *value);
  }

  [[nodiscard]] Result<ParsedUri> finish() {
    const TokenLocator& locator = parsed_.locator;
    if (!locator.label && !locator.serial && !locator.slot_id)
      return bad("it names no token: 'token', 'serial' or 'slot-id' is missing");
    return std::move(parsed_);
  }

 private:
  [[nodiscard]] static Status text(std::string_view name, const std::string& value, std::size_t bytes_max,
                                   std::optional<std::string>& to) {
    if (value.size() > bytes_max)
      return bad("'" + std::string(name) + "' has at most " + std::to_string(bytes_max) + " bytes");
    to = value;
    return Status();
  }

  [[nodiscard]] Status path_attribute(std::string_view name, const std::string& value) {
    TokenLocator& locator = parsed_.locator;
    // The sizes are those of CK_TOKEN_INFO.
    if (name == "token") return text(name, value, 32, locator.label);
    if (name == "serial") return text(name, value, 16, locator.serial);
    if (name == "manufacturer") return text(name, value, 32, locator.manufacturer);
    if (name == "model") return text(name, value, 16, locator.model);
    if (name == "slot-id") {
      std::uint64_t number = 0;
      const char* const end = value.data() + value.size();
      const auto [stop, error] = std::from_chars(value.data(), end, number);
      if (error != std::errc() || stop != end) return bad("'slot-id' is not a number");
      locator.slot_id = number;
      return Status();
    }
    if (name == "object") {
      if (value.size() > 128) return bad("'object' has at most 128 bytes");
      locator.object = value;
      return Status();
    }
    if (name == "id") {
      if (value.empty() || value.size() > kIdBytesMax) return bad("'id' has 1 to 64 bytes");
      const ByteView bytes = as_bytes(value);
      parsed_.id = Bytes(bytes.begin(), bytes.end());
      return Status();
    }
    if (name == "type") {
      if (value == "secret-key" || value == "private") return Status();
      return bad("'type' is not that of a key-encryption key (secret-key, private)");
    }
    return bad("unknown or unsupported attribute '" + std::string(name) + "'");
  }

  [[nodiscard]] Status query_attribute(std::string_view name, const std::string& value) {
    if (name == "pin-value") return bad("'pin-value' is refused: a PIN does not belong into a configuration");
    if (name == "pin-source") {
      parsed_.pin_source = value;
      return Status();
    }
    if (name == "module-path") {
      if (value.front() != '/') return bad("'module-path' is not an absolute path");
      parsed_.locator.module = value;
      return Status();
    }
    return bad("unknown or unsupported attribute '" + std::string(name) + "'");
  }

  ParsedUri parsed_;
  std::vector<std::string> seen_;
};

Status each_attribute(Parser& parser, std::string_view list, char separator, bool query) {
  while (!list.empty()) {
    const std::size_t end = std::min(list.find(separator), list.size());
    SR_TRY(parser.attribute(list.substr(0, end), query));
    if (end + 1 == list.size()) return bad("it ends with a separator");
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return Status();
}

}  // namespace

Result<ParsedUri> parse_pkcs11_uri(std::string_view uri) {
  if (uri.size() > kUriBytesMax) return bad("it has at most 4,096 bytes");
  const std::string_view scheme = uri.substr(0, kScheme.size());
  if (!std::equal(scheme.begin(), scheme.end(), kScheme.begin(), kScheme.end(),
                  [](char a, char b) { return lower(a) == b; })) {
    return bad("it begins with 'pkcs11:'");
  }
  const std::string_view rest = uri.substr(kScheme.size());
  const std::size_t question = std::min(rest.find('?'), rest.size());
  Parser parser;
  SR_TRY(each_attribute(parser, rest.substr(0, question), ';', false));
  if (question < rest.size()) SR_TRY(each_attribute(parser, rest.substr(question + 1), '&', true));
  return parser.finish();
}

}  // namespace strongroom::roots
