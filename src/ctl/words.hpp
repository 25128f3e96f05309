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

/// "00:01:00".
[[nodiscard]] std::string clock_time(Instant moment, TimeZone zone);

}  // namespace saathii::ctl
