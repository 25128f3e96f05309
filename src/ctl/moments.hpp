#pragma once

#include <optional>
#include <string_view>

#include "saathii/base/time.hpp"
#include "saathii/base/time_zone.hpp"

namespace saathii::ctl {

/// A moment in the past as people write it: "2h" or "2h ago", "now", "today",
/// "yesterday" (midnight), or what `saathiid --once --at` takes. Nothing for
/// anything else. Pure.
[[nodiscard]] std::optional<Instant> parse_since(std::string_view text, Instant now, TimeZone zone);

}  // namespace saathii::ctl
