#pragma once

#include <cstdint>
#include <string_view>

#include "saathii/runner/types.hpp"

namespace saathii::runner {

/// History in which the ticks up to `armed_at` are still to be accounted for as
/// `past` says, and those since then are settled as `present` says.
[[nodiscard]] schedule::History join_histories(const Past& past, Instant armed_at,
                                               const schedule::History& present,
                                               const schedule::Trigger& trigger);

/// `present` after the clock was set back to before what it knew: what was
/// offered there, as `past` says, is not due again.
[[nodiscard]] schedule::History join_earlier(const Past& past, Instant asked_at,
                                             schedule::History present,
                                             const schedule::Trigger& trigger);

/// The same number on every host and in every build: it spreads jitter.
[[nodiscard]] std::uint64_t jitter_seed(std::string_view job);

}  // namespace saathii::runner
