// Counting and listing. The vault's own records, under "strongroom/", are never shown.
#include <algorithm>
#include <cstring>

#include "addon/store.h"

namespace strongroom::addon {

napi_value Store::size(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Store* self = open_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;
  log::KeyRange range;
  range.lower = std::string(store::kSystemPrefix);
  range.upper = std::string(store::kSystemPrefix);
  ++range.upper->back();
  std::size_t reserved = 0;
  self->engine_->queue().scan(range, [&](const log::Record&) {
    ++reserved;
    return true;
  });
  return count_value(env, self->engine_->queue().size() - reserved);
}

// scan(buffer, lower | undefined, upper | undefined, count, flags): fills `buffer` with at most `count` records, each
//   u32 key bytes, bit 31: the key is ASCII    u32 value bytes    key    value    zeros to a multiple of 4
// and returns how many; with 2^30 added when more follow; or, when not even one fits, minus the bytes that it
// needs.
napi_value Store::scan(napi_env env, napi_callback_info info) {
  const Arguments<5> arguments(env, info);
  Store* self = open_receiver(env, arguments.receiver);
  if (self == nullptr) return nullptr;

  void* data = nullptr;
  std::size_t capacity = 0;
  if (napi_get_buffer_info(env, arguments[0], &data, &capacity) != napi_ok) {
    return throw_error(env, Reason::kInternal, "a scan needs a Buffer");
  }
  auto* const out = static_cast<std::uint8_t*>(data);
  log::KeyRange range;
  const auto read_edge = [&](napi_value value, std::optional<std::string>* edge) -> Status {
    if (is_undefined(env, value)) return {};
    ByteView bytes;
    SR_TRY(read_bytes(env, value, "a bound", &bytes));
    *edge = std::string(as_text(bytes));
    return {};
  };
  if (const Status status = read_edge(arguments[1], &range.lower); !status.ok())
    return throw_error(env, status.error());
  if (const Status status = read_edge(arguments[2], &range.upper); !status.ok())
    return throw_error(env, status.error());
  const double count_max = read_number(env, arguments[3]).value_or(0);
  std::uint32_t flags = 0;
  napi_get_value_uint32(env, arguments[4], &flags);
  range.lower_inclusive = (flags & layout::kScanLowerInclusive) != 0;
  range.upper_inclusive = (flags & layout::kScanUpperInclusive) != 0;
  range.reverse = (flags & layout::kScanReverse) != 0;
  const bool with_values = (flags & layout::kScanWithValues) != 0;

  double count = 0;
  std::size_t used = 0;
  std::size_t needed = 0;
  bool more = false;
  bool damaged = false;
  self->engine_->queue().scan(range, [&](const log::Record& record) {
    const std::string_view key = record.key();
    if (key.starts_with(store::kSystemPrefix)) return true;
    const std::size_t value_bytes = with_values ? record.value_bytes() : 0;
    const std::size_t size = (layout::kScanRecordHeaderBytes + key.size() + value_bytes + 3) / 4 * 4;
    more = count >= count_max || size > capacity - used;
    if (more) {
      needed = size;
      return false;
    }
    const bool ascii =
        std::all_of(key.begin(), key.end(), [](char c) { return static_cast<unsigned char>(c) < 128; });
    std::uint8_t* const at = out + used;
    store_le(at, static_cast<std::uint32_t>(key.size()) | (ascii ? layout::kScanAsciiBit : 0));
    store_le(at + 4, static_cast<std::uint32_t>(value_bytes));
    std::memcpy(at + layout::kScanRecordHeaderBytes, key.data(), key.size());
    if (with_values && !self->cipher_->open(record, at + layout::kScanRecordHeaderBytes + key.size()))
      damaged = true;
    used += size;
    ++count;
    return !damaged;
  });
  if (damaged) return throw_error(env, Reason::kInternal, "a record in memory does not authenticate");
  if (count == 0 && more) return number_value(env, -static_cast<double>(needed));
  return number_value(env, count + (more ? layout::kScanMoreFollows : 0));
}

}  // namespace strongroom::addon
