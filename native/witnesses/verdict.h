// The one rule, as a function: the vault must extend every witness. It may find witnesses that lag; it must not find
// one that leads, disagrees, or is missing. Pure, so that a table of cases can test it.
#pragma once

#include <optional>

#include "base/status.h"
#include "header/persistence_file.h"
#include "log/reader.h"
#include "witnesses/tamper_file/tamper_file.h"
#include "witnesses/tpm_counter/anchor_protocol.h"
#include "witnesses/vault_hash/vault_hash.h"

namespace strongroom::store {

// How a remembered checkpoint stands to the history that was read.
enum class Standing : std::uint8_t {
  kContained,  // the history has this head at this generation
  kDiffers,    // it has another head there
  kAhead,      // the history ends before it
  kForgotten,  // it is older than the log's snapshot and not among the checkpoints that the snapshot keeps
};

// `VaultHash` in the SecretStore or in the token.
struct SecretEvidence {
  bool present = false;
  Status damage;  // why it cannot be believed; ok otherwise
  std::optional<VaultHash> value;
  std::optional<std::uint32_t> key_id;  // the DEK that it names; believed only with `value`
  Standing standing = Standing::kContained;
};

struct TamperEvidence {
  bool present = false;
  Status damage;
  std::optional<TamperContent> content;
  std::optional<std::uint32_t> key_id;  // the DEK that it names; believed only with `content`
  Standing standing = Standing::kContained;
};

// A TPM's counter and extend index.
struct CounterEvidence {
  Status damage;  // one of them is missing or another one
  TpmObservation tpm;
  std::optional<AnchorRecord> newest;  // that the vault holds
  std::uint64_t witnessed = 0;  // the generation up to which the tamper file was synced before the TPM moved
};

struct Evidence {
  bool root_lost = false;  // recover, reseal: a witness that is absent went with the root and is no verdict
  std::uint8_t expected = kWitnessTamperFile | kWitnessSecretStore;  // WitnessBits, from the core data
  log::Checkpoint newest;
  std::uint64_t tamper_synced = 0;  // the newest that the vault's frames name
  log::LogEnd end = log::LogEnd::kExact;
  SecretEvidence secret;
  SecretEvidence token;
  TamperEvidence tamper;
  CounterEvidence counter;
};

struct Verdict {
  Status status;
  bool tail_torn = false;          // the bytes behind the history are to be cut off
  bool tamper_file_anew = false;   // missing, and the SecretStore vouches: to be begun anew
  bool increment_pending = false;  // an anchor was cut off: the counter lags by its increment
};

[[nodiscard]] Verdict judge(const Evidence& evidence);

}  // namespace strongroom::store
