// The NV indices of a store: a counter and an extend index, at places that follow from the instance name, under a label that
// names instance and store.
#pragma once

#include <string>
#include <vector>

#include "header/key_ring.h"
#include "roots/tpm/tpm.h"

namespace strongroom::store {

// The value that an extend index gets by its first write, drawn from its secret: one that no other index has.
[[nodiscard]] Digest first_extend_value(ByteView secret);

class StoreIndices {
 public:
  StoreIndices(roots::Tpm& tpm, const PersistenceHeader& header)
      : tpm_(tpm), instance_(header.instance), storage_id_(header.storage_id) {}

  // The counter and the extend index that this instance has, of whichever store.
  [[nodiscard]] Result<std::vector<roots::NvIndexInfo>> find() const;
  [[nodiscard]] bool is_own(const roots::NvIndexInfo& info) const;
  [[nodiscard]] Result<bool> has_own() const;
  [[nodiscard]] Status refuse_those_of_another_store() const;
  // Free places, but for `kept`, and new secrets. A secret serves for one index that is made: a command that was withheld
  // must not make another one with it.
  [[nodiscard]] Result<PlannedIndices> plan(std::uint32_t kept = 0) const;
  // The first value of a counter that is made next; asked with one at `index` that is removed again. What an interrupted call
  // left is removed, too.
  [[nodiscard]] Result<std::uint64_t> foresee_counter(std::uint32_t index) const;
  [[nodiscard]] Result<std::uint64_t> make(const PlannedIndices& planned) const;  // the counter's first value
  [[nodiscard]] Status remove(const std::vector<std::uint32_t>& kept = {}) const;

 private:
  [[nodiscard]] Result<std::uint32_t> free_place(const std::vector<std::uint32_t>& kept) const;

  roots::Tpm& tpm_;
  std::string instance_;
  StorageId storage_id_;
};

}  // namespace strongroom::store
