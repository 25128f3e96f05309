#include "saathii/schedule/local_time.hpp"

#include "catch.hpp"

using namespace saathii;
using schedule::parse_moment;

namespace {

/// In UTC, or "nothing".
std::string read(std::string_view text, const char* zone = "Asia/Kolkata") {
  const auto moment = parse_moment(text, tz::locate_zone(zone));
  return moment ? to_iso8601(*moment) : "nothing";
}

}  // namespace

TEST_CASE("a moment with an offset is what it says, in any zone") {
  CHECK(read("2026-11-22T14:03:00Z") == "2026-11-22T14:03:00Z");
  CHECK(read("2026-11-22 14:03:00.25+05:30") == "2026-11-22T08:33:00.250000Z");
}

TEST_CASE("a moment without one is of the zone's wall clocks") {
  CHECK(read("2026-11-22") == "2026-11-21T18:30:00Z");
  CHECK(read("2026-11-22 14:03") == "2026-11-22T08:33:00Z");
  CHECK(read("2026-11-22T14:03:05.5") == "2026-11-22T08:33:05.500000Z");
  CHECK(read("2026-11-22 14:03:05", "UTC") == "2026-11-22T14:03:05Z");
}

TEST_CASE("a local time that is skipped is the first moment after; one of two is the first") {
  CHECK(read("2026-03-29 02:30", "Europe/Berlin") == "2026-03-29T01:00:00Z");
  CHECK(read("2026-10-25 02:30", "Europe/Berlin") == "2026-10-25T00:30:00Z");
}

TEST_CASE("what is no moment is none") {
  for (const char* text : {"", "tomorrow", "2026-11-31", "2026-11-22 25:00", "14:03", "2026-11",
                           "2026-11-22 14:03 IST", "2026-11-22 "}) {
    INFO(text);
    CHECK(read(text) == "nothing");
  }
}
