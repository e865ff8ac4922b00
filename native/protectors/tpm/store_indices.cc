#include "protectors/tpm/store_indices.h"

#include <algorithm>

#include "crypto/crypto.h"
#include "protectors/tpm/tpm_slot.h"

namespace strongroom::store {
namespace {

bool is_of_instance(const Digest& label, std::string_view instance) {
  const Digest wanted = index_label(instance, {});
  return std::equal(label.begin(), label.begin() + 16, wanted.begin());
}

Digest first_extend_data(ByteView secret) {
  return crypto::sha256({as_bytes("strongroom/v6 extend index"), secret});
}

SecretBytes random_secret() {
  SecretBytes secret(crypto::kKeyBytes);
  crypto::random_bytes(secret.span());
  return secret;
}

}  // namespace

Digest first_extend_value(ByteView secret) { return roots::extended(Digest{}, first_extend_data(secret)); }

Result<std::vector<roots::NvIndexInfo>> StoreIndices::find() const {
  SR_ASSIGN(std::vector<roots::NvIndexInfo> found,
            tpm_.find_indices(first_counter_index(instance_), kIndexPlaces));
  std::erase_if(found, [&](const roots::NvIndexInfo& info) {
    // The label without a storage id is that of a COLDSTART that was finding out the next value.
    return info.kind == roots::NvKind::kForeign || !is_of_instance(info.label, instance_) ||
           info.label == index_label(instance_, {});
  });
  return found;
}

bool StoreIndices::is_own(const roots::NvIndexInfo& info) const {
  return info.label == index_label(instance_, storage_id_);
}

Result<bool> StoreIndices::has_own() const {
  SR_ASSIGN(const std::vector<roots::NvIndexInfo> found, find());
  return std::any_of(found.begin(), found.end(), [this](const auto& info) { return is_own(info); });
}

Status StoreIndices::refuse_those_of_another_store() const {
  SR_ASSIGN(const std::vector<roots::NvIndexInfo> found, find());
  for (const roots::NvIndexInfo& info : found) {
    if (is_own(info)) continue;
    return {Reason::kWitnessReplaced,
            "the TPM holds NV indices of another store with the instance name '" + instance_ + "'"};
  }
  return {};
}

// What this instance has there is about to be removed, and so no obstacle, but for `kept`.
Result<std::uint32_t> StoreIndices::free_place(const std::vector<std::uint32_t>& kept) const {
  const std::uint32_t first = first_counter_index(instance_);
  SR_ASSIGN(const std::vector<roots::NvIndexInfo> taken, tpm_.find_indices(first, kIndexPlaces));
  for (std::uint32_t index = first; index < first + kIndexPlaces; ++index) {
    const bool is_taken = std::find(kept.begin(), kept.end(), index) != kept.end() ||
                          std::any_of(taken.begin(), taken.end(), [&](const roots::NvIndexInfo& info) {
                            return info.index == index && (info.kind == roots::NvKind::kForeign ||
                                                           !is_of_instance(info.label, instance_));
                          });
    if (!is_taken) return index;
  }
  return Status(Reason::kTpmRefused, "the NV indices for the instance name '" + instance_ +
                                         "' are all taken by other programs; choose another name");
}

Result<PlannedIndices> StoreIndices::plan(std::uint32_t kept) const {
  PlannedIndices planned;
  SR_ASSIGN(planned.counter.index, free_place({kept}));
  SR_ASSIGN(planned.extend.index, free_place({kept, planned.counter.index}));
  planned.counter.secret = random_secret();
  planned.extend.secret = random_secret();
  return planned;
}

Result<std::uint64_t> StoreIndices::foresee_counter(std::uint32_t index) const {
  const Digest label = index_label(instance_, {});
  const std::uint32_t first = first_counter_index(instance_);
  SR_ASSIGN(const std::vector<roots::NvIndexInfo> indices, tpm_.find_indices(first, kIndexPlaces));
  for (const roots::NvIndexInfo& info : indices) {
    if (info.kind == roots::NvKind::kCounter && info.label == label) SR_TRY(tpm_.undefine(info.index));
  }
  const SecretBytes secret = random_secret();
  SR_TRY(tpm_.define(roots::NvKind::kCounter, index, label, secret.view()));
  const auto value = [&]() -> Result<std::uint64_t> {
    const roots::TpmName name = roots::counter_name(index, label);
    SR_TRY(tpm_.increment_counter(index, name, secret.view()));
    return tpm_.read_counter(index, name, secret.view());
  }();
  SR_TRY(tpm_.undefine(index));
  if (!value.ok()) return value.status();
  return *value + 1;
}

Result<std::uint64_t> StoreIndices::make(const PlannedIndices& planned) const {
  const Digest label = index_label(instance_, storage_id_);
  const auto& [counter_index, counter_secret] = planned.counter;
  const auto& [extend_index, extend_secret] = planned.extend;
  const roots::TpmName extend_name = roots::extend_name(extend_index, label);
  SR_TRY(tpm_.define(roots::NvKind::kExtend, extend_index, label, extend_secret.view()));
  SR_TRY(
      tpm_.extend(extend_index, extend_name, extend_secret.view(), first_extend_data(extend_secret.view())));
  const roots::TpmName counter_name = roots::counter_name(counter_index, label);
  SR_TRY(tpm_.define(roots::NvKind::kCounter, counter_index, label, counter_secret.view()));
  SR_TRY(tpm_.increment_counter(counter_index, counter_name, counter_secret.view()));
  return tpm_.read_counter(counter_index, counter_name, counter_secret.view());
}

Status StoreIndices::remove(const std::vector<std::uint32_t>& kept) const {
  SR_ASSIGN(std::vector<roots::NvIndexInfo> found, find());
  // The counter last: as long as it is there, the root that is sealed to it proves who may go on with this.
  std::stable_partition(found.begin(), found.end(),
                        [](const roots::NvIndexInfo& info) { return info.kind != roots::NvKind::kCounter; });
  for (const roots::NvIndexInfo& info : found) {
    const bool keep = std::find(kept.begin(), kept.end(), info.index) != kept.end();
    if (!keep && is_own(info)) SR_TRY(tpm_.undefine(info.index));
  }
  return {};
}

}  // namespace strongroom::store
