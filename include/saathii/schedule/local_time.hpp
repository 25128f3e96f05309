#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "saathii/base/time.hpp"
#include "saathii/base/time_zone.hpp"

// Moments as people write them. Pure, any thread.

namespace saathii::schedule {

/// Reads RFC 3339 with an offset, or a local "2026-11-22", "2026-11-22 14:03" or
/// "2026-11-22 14:03:05" of the zone (with 'T' for the space, too). A local time
/// that DST skips is the first moment after. Nothing for anything else.
[[nodiscard]] std::optional<Instant> parse_moment(std::string_view text, TimeZone zone);

/// "2026-11-22 17:33:05 IST" of the zone, in whole seconds; of UTC without one.
[[nodiscard]] std::string local_text(Instant moment, TimeZone zone);

}  // namespace saathii::schedule
