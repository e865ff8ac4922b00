// Fuzzes parse_pkcs11_uri(): what it accepts is within the bounds that the token layer relies on, and encoding it again with
// every byte percent-encoded gives the same.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "roots/pkcs11/token.h"

namespace {

using namespace strongroom;
using roots::ParsedUri;

void require(bool condition) {
  if (!condition) std::abort();
}

std::string encode(std::string_view text) {
  std::string out;
  for (const std::uint8_t byte : as_bytes(text)) {
    out += '%';
    out += to_hex(ByteView(&byte, 1));
  }
  return out;
}

void add(std::string& uri, const char* name, const std::string& value) {
  const char last = uri.back();
  if (last != ':' && last != '?') uri += uri.find('?') == std::string::npos ? ';' : '&';
  uri += name;
  uri += '=';
  uri += encode(value);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Result<ParsedUri> parsed = roots::parse_pkcs11_uri(as_text({data, size}));
  if (!parsed.ok()) {
    require(parsed.is(Reason::kInvalidOption));
    return 0;
  }
  const roots::TokenLocator& locator = parsed->locator;
  require(locator.label || locator.serial || locator.slot_id);
  require(!locator.label || (!locator.label->empty() && locator.label->size() <= 32));
  require(!locator.serial || locator.serial->size() <= 16);
  require(locator.object.size() <= 128);
  require(locator.object.find('\0') == std::string::npos);
  require(locator.module.empty() || locator.module.front() == '/');
  require(!parsed->id || (!parsed->id->empty() && parsed->id->size() <= 64));
  require(locator.init_arguments.empty());

  std::string again = "pkcs11:";
  if (locator.label) add(again, "token", *locator.label);
  if (locator.serial) add(again, "serial", *locator.serial);
  if (locator.manufacturer) add(again, "manufacturer", *locator.manufacturer);
  if (locator.model) add(again, "model", *locator.model);
  if (locator.slot_id) add(again, "slot-id", std::to_string(*locator.slot_id));
  if (!locator.object.empty()) add(again, "object", locator.object);
  if (parsed->id) add(again, "id", std::string(as_text(*parsed->id)));
  again += '?';
  if (!locator.module.empty()) add(again, "module-path", locator.module);
  if (parsed->pin_source) add(again, "pin-source", *parsed->pin_source);
  if (again.size() > 4096) return 0;
  const Result<ParsedUri> second = roots::parse_pkcs11_uri(again);
  require(second.ok());
  require(second->locator.label == locator.label && second->locator.serial == locator.serial &&
          second->locator.slot_id == locator.slot_id && second->locator.object == locator.object &&
          second->locator.module == locator.module && second->locator.manufacturer == locator.manufacturer &&
          second->locator.model == locator.model && second->id == parsed->id &&
          second->pin_source == parsed->pin_source);
  return 0;
}
