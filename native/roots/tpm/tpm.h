// A TPM 2.0 through tpm2-tss (loaded at run time): a storage parent, objects sealed under it, and two kinds of NV index:
// counters and extend indices.
//
// Invariants:
// - One session for the connection, salted with the storage parent whose name the caller pins, encrypts parameters both
//   ways and proves knowledge of authorisations without sending them.
// - Every object and index is made with noDA: an unclean end of the TPM never locks anything of ours.
// - Nothing foreign is evicted, overwritten or undefined; only what the caller names.
// - An increment or an extend is sent once. Where it is not known whether it took place the answer is kTpmUnavailable, and
//   the caller reads again. (A read answers kTpmUnavailable, too, as long as one of them may still be under way.)
// - A value is read under the index's own secret: the response is authenticated with it (TPM 2.0 part 1, 19.6), so an
//   index that the machine's owner removed and made again is refused, and an answer cannot be forged.
// - No call waits longer for the TPM than the time limit, for each command.
// - After a transport failure the next call connects anew; another parent than the pinned one is then kTpmReplaced. Where
//   the TPM only lost its volatile state (it was restarted), a call that changes nothing does so by itself.
// - "Missing", "replaced", "wrong" and "changed" are only said on the word of the TPM that holds the session.
// - Secrets are in locked memory and wiped; neither they nor PINs appear in errors.
// Thread-safe: calls are serialised.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/secret_memory.h"
#include "base/status.h"

namespace strongroom::roots {

// The name of an object or index: algorithm (2 bytes, big-endian) and SHA-256 of its public area (TPM 2.0 part 1, 16).
using TpmName = Bytes;  // 34 bytes

// The bound that a sealed object is tied to: TPM2_PolicyNV(counter <= at_most).
struct CounterBound {
  std::uint32_t index = 0;
  TpmName name;  // of the written counter
  std::uint64_t at_most = 0;
  friend bool operator==(const CounterBound&, const CounterBound&) = default;
};

struct SealPolicy {
  std::optional<CounterBound> bound;
  std::uint32_t pcrs = 0;      // bit n: PCR n of the SHA-256 bank, 0 to 23
  Digest pcr_digest{};         // of the selected PCRs, in ascending order (SHA-256 over their values)
  bool authorisation = false;  // TPM2_PolicyAuthValue
};

// TPM2B_PUBLIC and TPM2B_PRIVATE, marshalled.
struct SealedObject {
  Bytes public_area;
  Bytes private_area;
};

enum class NvKind : std::uint8_t {
  kForeign,  // it has not exactly our attributes and size
  kCounter,  // counter, AUTHWRITE, AUTHREAD, OWNERREAD, NO_DA
  kExtend,   // extend with SHA-256, AUTHWRITE, AUTHREAD, NO_DA
};

// An NV index in the owner range. `label` is in its authPolicy, which no command of ours uses: 32 bytes that say whose it
// is.
struct NvIndexInfo {
  std::uint32_t index = 0;
  NvKind kind = NvKind::kForeign;
  bool written = false;  // incremented or extended at least once
  Digest label{};        // of a counter or an extend index
};

// TPM2_ReadClock. `clock_ms` only grows until the TPM is cleared, and only while it has power.
struct TpmClock {
  std::uint64_t clock_ms = 0;
  std::uint32_t reset_count = 0;
  std::uint32_t restart_count = 0;
  bool safe = false;
};

// For one command. A hardware TPM may take 20 s to make an RSA key.
inline constexpr std::chrono::milliseconds kTpmTimeLimit{30'000};

// The real one is made by open(); tests that need a TPM to fail in a given way have one of their own.
class Tpm {
 public:
  // `tcti`: a configuration as of tcti(7), for example "device:/dev/tpmrm0" or "swtpm:path=/run/s"; empty: the library's
  // own order. `parent_name` empty: any parent, to be read by parent_name() (COLDSTART); otherwise the parent must have
  // it, else kTpmCleared when `endorsement_name` is given and is this TPM's, kTpmReplaced when it is not.
  // kTpmRefused when the owner hierarchy has a password, kLibraryMissing, kTpmUnavailable; kInvalidOption for a `tcti`
  // that names a library by its path.
  [[nodiscard]] static Result<std::unique_ptr<Tpm>> open(const std::string& tcti, const TpmName& parent_name,
                                                         const TpmName& endorsement_name,
                                                         std::chrono::milliseconds limit = kTpmTimeLimit);
  Tpm() = default;
  Tpm(const Tpm&) = delete;
  Tpm& operator=(const Tpm&) = delete;
  Tpm(Tpm&&) = delete;
  Tpm& operator=(Tpm&&) = delete;
  virtual ~Tpm() = default;  // flushes what was loaded

  // TPM2_Shutdown(CLEAR) after flushing: the orderly end. Later calls connect anew.
  [[nodiscard]] virtual Status shut_down() = 0;

  [[nodiscard]] virtual Result<TpmName> parent_name() = 0;
  // Of the primary key after the TCG EK template (ECC P-256), which survives a clear of the TPM.
  [[nodiscard]] virtual Result<TpmName> endorsement_name() = 0;

  // Of the SHA-256 bank, in ascending order.
  [[nodiscard]] virtual Result<std::vector<Digest>> pcr_values(std::uint32_t pcrs) = 0;
  // `secret` 1 to 128 bytes; `authorisation` at most 32 bytes, not empty exactly when the policy asks for one, otherwise
  // kInvalidArgument. Zero bytes at the end of an authorisation do not count (TPM 2.0 part 1, 19.6.5).
  [[nodiscard]] virtual Result<SealedObject> seal(ByteView secret, ByteView authorisation,
                                                  const SealPolicy& policy) = 0;
  // kTpmPcrChanged when the PCRs are not the policy's, kTpmUnavailable when others are extended all the time; kVaultRolledBack when the counter is past the bound; kPinWrong for
  // a wrong authorisation; kTpmLockedOut; kTpmRefused for an object that this parent does not load, or any other refusal;
  // kWitnessMissing when the counter of the bound is not there, kWitnessReplaced when it has another name.
  [[nodiscard]] virtual Result<SecretBytes> unseal(const SealedObject& object, ByteView authorisation,
                                                   const SealPolicy& policy) = 0;

  // The NV indices among `count` from `first` on, foreign ones included, in ascending order.
  [[nodiscard]] virtual Result<std::vector<NvIndexInfo>> find_indices(std::uint32_t first,
                                                                      std::uint32_t count) = 0;
  // Makes an unwritten counter or extend index. `secret` at most 32 bytes. kTpmRefused when the index is taken or NV memory
  // is full.
  [[nodiscard]] virtual Status define(NvKind kind, std::uint32_t index, const Digest& label,
                                      ByteView secret) = 0;
  // kWitnessMissing when there is none; kTpmRefused for an index that is none of ours.
  [[nodiscard]] virtual Status undefine(std::uint32_t index) = 0;
  // kWitnessMissing when there is none, kWitnessReplaced when its name is not `name` or it does not know `secret`;
  // kTpmRefused when not yet written. The same for read_extend().
  [[nodiscard]] virtual Result<std::uint64_t> read_counter(std::uint32_t index, const TpmName& name,
                                                           ByteView secret) = 0;
  // `name` is the counter's once it is written; the first increment of an unwritten one is made, too. kWitnessMissing,
  // kWitnessReplaced (also when it does not know `secret`), and kTpmUnavailable when it is not known whether it took place.
  [[nodiscard]] virtual Status increment_counter(std::uint32_t index, const TpmName& name,
                                                 ByteView secret) = 0;

  [[nodiscard]] virtual Result<Digest> read_extend(std::uint32_t index, const TpmName& name,
                                                   ByteView secret) = 0;
  // TPM2_NV_Extend: the value becomes extended(value, data); that of an unwritten index counts as 32 zero bytes. Reasons
  // as of increment_counter().
  [[nodiscard]] virtual Status extend(std::uint32_t index, const TpmName& name, ByteView secret,
                                      const Digest& data) = 0;

  [[nodiscard]] virtual Result<TpmClock> clock() = 0;
  // Manufacturer and firmware for the status, such as "IBM SW TPM"; at most 64 printable bytes.
  [[nodiscard]] virtual Result<std::string> description() = 0;
};

using TpmOpener = std::function<Result<std::unique_ptr<Tpm>>(
    const std::string& tcti, const TpmName& parent_name, const TpmName& endorsement_name)>;

// The name that a counter or an extend index of ours has once it is written; computed, no TPM is asked.
[[nodiscard]] TpmName counter_name(std::uint32_t index, const Digest& label);
[[nodiscard]] TpmName extend_name(std::uint32_t index, const Digest& label);
// What TPM2_NV_Extend makes of a value: SHA-256(value, data) (TPM 2.0 part 3, 31.9).
[[nodiscard]] Digest extended(const Digest& value, const Digest& data);

// The owner range of NV indices (TCG Registry of Reserved TPM 2.0 Handles, 2.2).
inline constexpr std::uint32_t kNvIndexFirst = 0x01800000;
inline constexpr std::uint32_t kNvIndexLast = 0x01BFFFFF;

}  // namespace strongroom::roots
