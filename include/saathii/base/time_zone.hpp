#pragma once

// The one header that decides where time zones come from: the C++20 library
// where it has them (GCC 14), Howard Hinnant's date library elsewhere (GCC 12).
// Both read the system's tzdata.

#include <chrono>

#if defined(__cpp_lib_chrono) && __cpp_lib_chrono >= 201907L
#define SAATHII_STD_TZDB 1
#else
#define SAATHII_STD_TZDB 0
#include <date/tz.h>
#endif

namespace saathii {

#if SAATHII_STD_TZDB
namespace tz = std::chrono;
#else
namespace tz = date;
#endif

/// A zone of the system's tzdata; owned by the library, lives as long as the program.
using TimeZone = const tz::time_zone*;

/// A local (zoneless) moment, in seconds: what a wall clock in a zone shows.
using LocalSeconds = tz::local_time<std::chrono::seconds>;

}  // namespace saathii
