#pragma once

#include <cstdint>
#include <optional>

#include "saathii/base/time_zone.hpp"
#include "saathii/schedule/trigger.hpp"

// A cron pattern on the wall clock's own, zoneless time line. Pure.

namespace saathii::schedule {

/// The first matching moment in [from, until).
[[nodiscard]] std::optional<LocalSeconds> first_match(const Cron& cron, LocalSeconds from,
                                                      LocalSeconds until);

/// The last matching moment in (after, until].
[[nodiscard]] std::optional<LocalSeconds> last_match(const Cron& cron, LocalSeconds after,
                                                     LocalSeconds until);

/// How many matching moments there are in [from, until). The work grows with
/// the days in between, not with the matches.
[[nodiscard]] std::int64_t count_matches(const Cron& cron, LocalSeconds from, LocalSeconds until);

}  // namespace saathii::schedule
