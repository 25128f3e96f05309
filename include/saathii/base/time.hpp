#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace saathii {

/// A length of time, in microseconds.
using Duration = std::chrono::microseconds;

/// A moment of wall-clock time (Unix epoch, UTC), in microseconds: what both
/// CLOCK_REALTIME and a PostgreSQL timestamptz can hold.
using Instant = std::chrono::sys_time<std::chrono::microseconds>;

/// The daemon host's wall clock now. Any thread.
[[nodiscard]] Instant wall_now();

/// "2026-11-22T00:01:00Z", with six digits of fraction only where it is not
/// zero. PostgreSQL reads it back to the same microsecond. Any thread.
[[nodiscard]] std::string to_iso8601(Instant moment);

/// Reads RFC 3339: a date, 'T' or a space, a time with optional fraction, and
/// an offset ("Z", "+05:30") that must be present. A fraction of more than six
/// digits is cut off. Nothing for anything else, nor for a moment outside of the
/// years 1 to 9999 of UTC, which to_iso8601() could not write.
[[nodiscard]] std::optional<Instant> parse_iso8601(std::string_view text);

/// Reads a duration with units, largest first, each at most once: "90s",
/// "1h30m", "250ms", "2d". Units: d h m s ms us. Nothing for anything else,
/// for a negative value and for one beyond 100 years.
[[nodiscard]] std::optional<Duration> parse_duration(std::string_view text);

/// The exact text that parse_duration() reads back, largest unit first, without
/// units that are zero: "1h30m", "0s".
[[nodiscard]] std::string format_duration(Duration length);

/// For people: two units at most, rounded down: "41 ms", "42 s", "3 h 5 min".
[[nodiscard]] std::string humanize(Duration length);

}  // namespace saathii
