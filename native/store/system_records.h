// System records of an open store that hold keys: read into locked memory, changed together.
#pragma once

#include <vector>

#include "store/engine.h"

namespace strongroom::store {

class SystemRecordReader {
 public:
  // Both outlive it; `cipher` belongs to the calling thread.
  SystemRecordReader(const log::CommitQueue& queue, log::ValueCipher& cipher)
      : queue_(queue), cipher_(cipher) {}

  [[nodiscard]] Result<std::optional<Bytes>> read(std::string_view key) const;
  [[nodiscard]] Result<std::optional<SecretBytes>> read_secret(std::string_view key) const;
  [[nodiscard]] bool has(std::string_view key) const;
  // The keys of all records that begin so, in order.
  [[nodiscard]] std::vector<std::string> keys(std::string_view prefix) const;

 private:
  const log::CommitQueue& queue_;
  log::ValueCipher& cipher_;
};

// One commit of the store's own, as durable as `witnessed`: durable in the vault, and every witness moved. What may be said
// before a write is said; kWitnessNotMoved with `committed` when only the witnesses failed.
[[nodiscard]] Status commit_system(Engine& engine, const std::vector<log::Change>& changes);

}  // namespace strongroom::store
