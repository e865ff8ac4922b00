// What may be chosen, and what can be told, of a root that a TPM seals.
#pragma once

#include <optional>
#include <string>

#include "base/secret_memory.h"
#include "roots/tpm/tpm.h"

namespace strongroom::store {

struct TpmOptions {
  std::string tcti;                   // empty: what the key slot names, at COLDSTART the library's own order
  std::optional<std::uint32_t> pcrs;  // bit n: PCR n of the SHA-256 bank; fixed at COLDSTART and by reseal
  SecretBytes pin;                    // at COLDSTART: empty for none
  // How many anchors a day the store makes by itself, besides those at open and close; 0: none.
  std::uint32_t anchors_per_day = 27;
  roots::TpmOpener open;  // in place of roots::Tpm::open
};

// What a key slot says.
struct TpmSlotStatus {
  std::string tcti;
  std::uint32_t pcrs = 0;
  bool has_pin = false;
};

struct TpmStatus : TpmSlotStatus {
  std::string description;
  std::uint32_t counter_index = 0;
  std::uint32_t extend_index = 0;    // 0: a store of release 0.1 that was not opened for writing since
  std::uint64_t counter = 0;         // as the vault's newest anchor has it
  std::uint64_t first_number = 0;    // the counter's first value; 0: not known, in a store of release 0.1
  std::uint64_t seal_epoch_end = 0;  // the sealed root is refused beyond this count
  std::uint64_t increments = 0;      // by this store, in its whole life
  std::int64_t first_wall_ms = 0;    // when the counter was made
};

}  // namespace strongroom::store
