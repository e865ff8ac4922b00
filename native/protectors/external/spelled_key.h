// Whether a text holds a key
#pragma once

#include <string_view>

#include "base/bytes.h"

namespace strongroom::store {

// In one of the forms that languages print bytes in: hexadecimal digits with any separators, Base64 in either alphabet and
// inside longer data, a list of decimal numbers with or without their indices, and the bytes as characters. `text` is UTF-8.
// No copy of the key is made. An empty key is in no text.
[[nodiscard]] bool is_spelled_in(std::string_view text, ByteView key);

}  // namespace strongroom::store
