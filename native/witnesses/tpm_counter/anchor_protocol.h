// The anchor protocol of a TPM as pure functions: how counter and extend index stand to the newest ANCHOR record, and which
// command comes next. docs/design/anchors.md has the table of states, the argument and the model check.
//
// To anchor: the record becomes durable in the vault, the extend index is extended by the record's `data`, and once it was
// read back the counter is incremented. `data` is drawn for one record, so the value after the extend can come true for one
// history only, and no command takes it back. The counter orders the anchors, and ends the epochs of the sealed root.
//
// Invariant: the extend index moves first. So a counter that has reached the record while the extend index has not was moved
// by someone else.
#pragma once

#include <optional>

#include "log/format.h"
#include "roots/tpm/tpm.h"
#include "secret_store/secret_store.h"

namespace strongroom::store {

// What a record expects of the extend index.
struct AnchorHead {
  Digest before{};             // the value that the anchor continues from
  std::optional<Digest> data;  // what it is extended by; absent: authority accepted the value as it was
  friend bool operator==(const AnchorHead&, const AnchorHead&) = default;
};
[[nodiscard]] Digest value_after(const AnchorHead& head);

struct AnchorRecord {
  std::uint64_t number = 0;        // of the counter, once the anchor is complete
  std::uint64_t increments = 0;    // of the counter by this store, this one included
  std::int64_t first_wall_ms = 0;  // when the counter was made
  std::uint64_t clock_ms = 0;      // the TPM's clock
  std::int64_t floor_ms = 0;       // the earliest wall time that TIME_TAMPER permitted at this checkpoint
  // Absent in stores of release 0.1 until they are taken over.
  std::optional<AnchorHead> head;
  std::uint64_t first_number = 0;  // the counter's first value; with `head`
  friend bool operator==(const AnchorRecord&, const AnchorRecord&) = default;
};
// The system records that hold it: the newest, and while a store of release 0.1 is taken over that of its next indices.
inline constexpr std::string_view kAnchorKey = "strongroom/anchor";
inline constexpr std::string_view kAnchorNextKey = "strongroom/anchor-next";
[[nodiscard]] Bytes encode_anchor_record(const AnchorRecord& record);
[[nodiscard]] std::optional<AnchorRecord> parse_anchor_record(ByteView bytes);

// What the extend index is extended by: SHA-256 over a label, the storage id, the number, the newest head of the history and
// 32 random bytes. The random bytes keep two copies of one history apart, the head two clones of one process.
[[nodiscard]] Digest draw_anchor_data(const StorageId& storage_id, std::uint64_t number, const Digest& head);

struct TpmObservation {
  std::uint64_t counter = 0;
  std::optional<Digest> head;  // of the extend index; absent where the store has none
};

enum class AnchorStanding : std::uint8_t {
  kNotBegun,    // neither index has moved for this record
  kExtended,    // the extend index has, the counter has not
  kComplete,    // both have
  kRolledBack,  // the TPM has gone on: the record is an older one
  kForked,      // the extend index continues another history from the same place
  kReplaced,    // the counter is another one, or was moved by someone else
};
[[nodiscard]] AnchorStanding stand(const AnchorRecord& newest, const TpmObservation& tpm);
// Damaged: bytes behind the vault's end do not authenticate, and may have been the record that is missing.
enum class VaultEnd : std::uint8_t { kWhole, kDamaged };
// ok for the first three; otherwise what is told of it.
[[nodiscard]] Status explain(AnchorStanding standing, const AnchorRecord& newest, const TpmObservation& tpm,
                             VaultEnd end = VaultEnd::kWhole);

enum class AnchorStep : std::uint8_t { kExtend, kIncrement, kNone };
[[nodiscard]] AnchorStep next_step(AnchorStanding standing, const AnchorRecord& newest);

// The earliest wall time that the TPM's clock permits. A TPM's clock may be wrong by 15 % (TPM 2.0 part 1, 36.3), so only
// 85 % of what it counted is believed.
[[nodiscard]] std::int64_t tpm_floor_ms(const AnchorRecord& anchor, const roots::TpmClock& clock);

}  // namespace strongroom::store
