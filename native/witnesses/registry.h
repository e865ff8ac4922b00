// The kinds of witnesses: the one place that names them all.
#pragma once

#include <vector>

#include "witnesses/witness.h"

namespace strongroom::store {

// In the order in which they are read and judged, and in which they move; Place says what comes first.
[[nodiscard]] const WitnessKind& kind_of(WitnessBits bit);
// One for each kind in `expected`, which the core data name.
[[nodiscard]] std::vector<std::unique_ptr<Witness>> make_witnesses(std::uint8_t expected,
                                                                   const WitnessContext& context);

}  // namespace strongroom::store
