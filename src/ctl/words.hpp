#pragma once

#include <string>

#include "saathii/base/time.hpp"
#include "saathii/base/time_zone.hpp"

// Times in words. Pure.

namespace saathii::ctl {

/// One number with one unit, of at least two digits where there are that many:
/// "41 s", "119 s", "63 min", "25 h", "3 d". Below a second: "34 ms", "0 ms".
[[nodiscard]] std::string roughly(Duration length);

/// "in 41 s", "3 min ago", "now".
[[nodiscard]] std::string relative(Instant moment, Instant now);

/// "Sun 2026-11-22 00:01:00 IST".
[[nodiscard]] std::string local_time(Instant moment, TimeZone zone);

/// "2026-11-22 00:01:00".
[[nodiscard]] std::string short_time(Instant moment, TimeZone zone);

/// The time of day, after how many days `since` was if it was another day:
/// "23:59:00", "+1 00:01:00".
[[nodiscard]] std::string time_since(Instant moment, Instant since, TimeZone zone);

}  // namespace saathii::ctl
