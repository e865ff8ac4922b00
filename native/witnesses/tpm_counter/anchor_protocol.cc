#include "witnesses/tpm_counter/anchor_protocol.h"

#include <algorithm>

#include "crypto/crypto.h"

namespace strongroom::store {
namespace {

constexpr std::uint8_t kVersionWithoutHead = 1;
constexpr std::uint8_t kVersionWithHead = 2;
constexpr std::string_view kDataLabel = "strongroom/v6 anchor";

std::string count(std::uint64_t value) { return std::to_string(value); }

}  // namespace

Digest value_after(const AnchorHead& head) {
  return head.data ? roots::extended(head.before, *head.data) : head.before;
}

Bytes encode_anchor_record(const AnchorRecord& record) {
  Bytes out;
  ByteWriter writer(out);
  writer.number(record.head ? kVersionWithHead : kVersionWithoutHead);
  writer.number(record.number);
  writer.number(record.increments);
  writer.number(static_cast<std::uint64_t>(record.first_wall_ms));
  writer.number(record.clock_ms);
  writer.number(static_cast<std::uint64_t>(record.floor_ms));
  if (!record.head) return out;
  writer.number(record.first_number);
  writer.bytes(record.head->before);
  writer.number(static_cast<std::uint8_t>(record.head->data ? 1 : 0));
  if (record.head->data) writer.bytes(*record.head->data);
  return out;
}

std::optional<AnchorRecord> parse_anchor_record(ByteView bytes) {
  ByteReader reader(bytes);
  const auto version = reader.number<std::uint8_t>();
  AnchorRecord record;
  record.number = reader.number<std::uint64_t>();
  record.increments = reader.number<std::uint64_t>();
  record.first_wall_ms = static_cast<std::int64_t>(reader.number<std::uint64_t>());
  record.clock_ms = reader.number<std::uint64_t>();
  record.floor_ms = static_cast<std::int64_t>(reader.number<std::uint64_t>());
  if (version == kVersionWithHead) {
    AnchorHead& head = record.head.emplace();
    record.first_number = reader.number<std::uint64_t>();
    head.before = reader.array<32>();
    const auto has_data = reader.number<std::uint8_t>();
    if (has_data > 1) return std::nullopt;
    if (has_data == 1) head.data = reader.array<32>();
  } else if (version != kVersionWithoutHead) {
    return std::nullopt;
  }
  return reader.done() ? std::optional(record) : std::nullopt;
}

Digest draw_anchor_data(const StorageId& storage_id, std::uint64_t number, const Digest& head) {
  std::array<std::uint8_t, 8> count{};
  store_le(count.data(), number);
  return crypto::sha256({as_bytes(kDataLabel), storage_id, count, head, crypto::random_array<32>()});
}

AnchorStanding stand(const AnchorRecord& newest, const TpmObservation& tpm) {
  const bool reached = tpm.counter == newest.number;
  const bool one_behind = tpm.counter + 1 == newest.number;
  if (!tpm.head) {
    if (reached) return AnchorStanding::kComplete;
    if (one_behind) return AnchorStanding::kNotBegun;
    return tpm.counter > newest.number ? AnchorStanding::kRolledBack : AnchorStanding::kReplaced;
  }
  // A vault from before the store had an extend index.
  if (!newest.head)
    return tpm.counter > newest.number ? AnchorStanding::kRolledBack : AnchorStanding::kReplaced;
  if (*tpm.head == value_after(*newest.head)) {
    if (reached) return AnchorStanding::kComplete;
    return one_behind ? AnchorStanding::kExtended : AnchorStanding::kReplaced;
  }
  if (*tpm.head == newest.head->before)
    return one_behind ? AnchorStanding::kNotBegun : AnchorStanding::kReplaced;
  if (tpm.counter > newest.number) return AnchorStanding::kRolledBack;
  return reached || one_behind ? AnchorStanding::kForked : AnchorStanding::kReplaced;
}

Status explain(AnchorStanding standing, const AnchorRecord& newest, const TpmObservation& tpm, VaultEnd end) {
  const bool damaged = end == VaultEnd::kDamaged;
  const std::string counts = "the TPM's counter is at " + count(tpm.counter) +
                             ", and the vault's newest anchor is " + count(newest.number);
  switch (standing) {
    case AnchorStanding::kNotBegun:
    case AnchorStanding::kExtended:
    case AnchorStanding::kComplete:
      return {};
    case AnchorStanding::kRolledBack:
      return {damaged ? Reason::kVaultTampered : Reason::kVaultRolledBack, counts};
    case AnchorStanding::kForked:
      return {damaged ? Reason::kVaultTampered : Reason::kVaultForked,
              "the TPM's extend index confirms another continuation of this store's history than the vault "
              "holds; " +
                  counts};
    case AnchorStanding::kReplaced:
      return {Reason::kWitnessReplaced,
              counts + (tpm.head ? "; its extend index does not account for the difference" : "")};
  }
  return {Reason::kInternal, "unknown standing of an anchor"};
}

AnchorStep next_step(AnchorStanding standing, const AnchorRecord& newest) {
  if (standing == AnchorStanding::kExtended) return AnchorStep::kIncrement;
  if (standing != AnchorStanding::kNotBegun) return AnchorStep::kNone;
  return newest.head ? AnchorStep::kExtend : AnchorStep::kIncrement;
}

std::int64_t tpm_floor_ms(const AnchorRecord& anchor, const roots::TpmClock& clock) {
  // After an unclean end the clock may fall back a little: then it explains nothing.
  if (clock.clock_ms <= anchor.clock_ms) return anchor.floor_ms;
  constexpr std::uint64_t kCenturyMs = 100ULL * 365 * 24 * 3600 * 1000;
  const std::uint64_t counted_ms = std::min(clock.clock_ms - anchor.clock_ms, kCenturyMs);
  return anchor.floor_ms + static_cast<std::int64_t>(counted_ms / 100 * 85);
}

}  // namespace strongroom::store
