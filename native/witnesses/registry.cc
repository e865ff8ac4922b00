#include "witnesses/registry.h"

#include <array>
#include <cstdlib>

#include "witnesses/tamper_file/tamper_witness.h"
#include "witnesses/tpm_counter/counter_witness.h"
#include "witnesses/vault_hash/vault_hash_witness.h"

namespace strongroom::store {
namespace {

template <typename OfKind>
std::unique_ptr<Witness> make_of(const WitnessKind& kind, const WitnessContext& context) {
  return std::make_unique<OfKind>(kind, context);
}

std::unique_ptr<Witness> make_secret_store(const WitnessKind& kind, const WitnessContext& context) {
  return std::make_unique<VaultHashWitness>(kind, context, VaultHashWitness::Items::kVaultHashAndTime,
                                            [&secrets = context.secrets] { return secrets.get(); });
}

std::unique_ptr<Witness> make_token(const WitnessKind& kind, const WitnessContext& context) {
  return std::make_unique<VaultHashWitness>(
      kind, context, VaultHashWitness::Items::kVaultHash,
      [&protector = context.protector] { return protector ? protector->witness_store() : nullptr; });
}

const std::array kWitnessKinds{
    WitnessKind{.bit = kWitnessTamperFile,
                .name = "tamper-file",
                .noun = "tamper file",
                .place = Place::kBeside,
                .pace = Pace::kEachMove,
                .confirms_alone = false,
                .proves_freshness = false,
                .make = make_of<TamperWitness>},
    WitnessKind{.bit = kWitnessSecretStore,
                .name = "secret-store",
                .noun = "SecretStore",
                .place = Place::kOutside,
                .pace = Pace::kEachMove,
                .confirms_alone = true,
                .proves_freshness = false,
                .make = make_secret_store},
    WitnessKind{.bit = kWitnessToken,
                .name = "token",
                .noun = "token",
                .place = Place::kOutside,
                .pace = Pace::kPaced,
                .confirms_alone = false,
                .proves_freshness = false,
                .make = make_token},
    WitnessKind{.bit = kWitnessTpm,
                .name = "tpm-counter",
                .noun = "TPM",
                .place = Place::kOutside,
                .pace = Pace::kPaced,
                .confirms_alone = false,
                .proves_freshness = true,
                .make = make_of<CounterWitness>},
};

}  // namespace

const WitnessKind& kind_of(WitnessBits bit) {
  for (const WitnessKind& kind : kWitnessKinds)
    if (kind.bit == bit) return kind;
  std::abort();  // not one of a kind
}

std::vector<std::unique_ptr<Witness>> make_witnesses(std::uint8_t expected, const WitnessContext& context) {
  std::vector<std::unique_ptr<Witness>> out;
  for (const WitnessKind& kind : kWitnessKinds)
    if ((expected & kind.bit) != 0) out.push_back(kind.make(kind, context));
  return out;
}

}  // namespace strongroom::store
