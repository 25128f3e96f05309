#pragma once

// The one header that decides where time zones come from: Howard Hinnant's date
// library, which reads the system's compiled tzdata. Not std::chrono, even where
// it has zones: that of GCC 14 takes the wrong offset near some changes (Caracas
// in May 2016), which tests/schedule/oracle.py finds.

#include <date/tz.h>

#include <chrono>

namespace saathii {

namespace tz = date;

/// A zone of the system's tzdata; owned by the library, lives as long as the program.
using TimeZone = const tz::time_zone*;

/// A local (zoneless) moment, in seconds: what a wall clock in a zone shows.
using LocalSeconds = tz::local_time<std::chrono::seconds>;

}  // namespace saathii
