#include "saathii/base/time.hpp"

#include "catch.hpp"

using namespace std::chrono_literals;
using saathii::Duration;
using saathii::Instant;

namespace {

Instant at_us(std::int64_t micros) { return Instant{Duration{micros}}; }

}  // namespace

TEST_CASE("an instant is written in UTC, with a fraction only where there is one") {
  CHECK(saathii::to_iso8601(at_us(0)) == "1970-01-01T00:00:00Z");
  CHECK(saathii::to_iso8601(at_us(1)) == "1970-01-01T00:00:00.000001Z");
  CHECK(saathii::to_iso8601(at_us(-1)) == "1969-12-31T23:59:59.999999Z");
  CHECK(saathii::to_iso8601(at_us(1'795'305'660'500'000)) == "2026-11-22T00:01:00.500000Z");
  CHECK(saathii::to_iso8601(at_us(951'782'400'000'000)) == "2000-02-29T00:00:00Z");
}

TEST_CASE("RFC 3339 is read to the microsecond") {
  struct Case {
    const char* text;
    const char* utc;
  };
  const Case cases[] = {
      {"2026-11-22T00:01:00Z", "2026-11-22T00:01:00Z"},
      {"2026-11-22t00:01:00z", "2026-11-22T00:01:00Z"},
      {"2026-11-22 05:31:00+05:30", "2026-11-22T00:01:00Z"},
      {"2026-11-21T19:01:00-05:00", "2026-11-22T00:01:00Z"},
      {"2026-11-22T00:01:00.5Z", "2026-11-22T00:01:00.500000Z"},
      {"2026-11-22T00:01:00.000001Z", "2026-11-22T00:01:00.000001Z"},
      {"2026-11-22T00:01:00.123456789Z", "2026-11-22T00:01:00.123456Z"},
      {"2024-02-29T23:59:59Z", "2024-02-29T23:59:59Z"},
      {"1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z"},
      {"9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"},
      {"0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"},
  };
  for (const Case& c : cases) {
    INFO(c.text);
    const auto moment = saathii::parse_iso8601(c.text);
    REQUIRE(moment.has_value());
    CHECK(saathii::to_iso8601(*moment) == c.utc);
    CHECK(saathii::parse_iso8601(saathii::to_iso8601(*moment)) == moment);
  }
}

TEST_CASE("what is not RFC 3339 is refused") {
  const char* const cases[] = {
      "",
      "now",
      "2026-11-22",
      "2026-11-22T00:01:00",
      "2026-11-22T00:01Z",
      "2026-11-22T24:00:00Z",
      "2026-11-22T00:60:00Z",
      "2026-11-22T00:00:60Z",
      "2026-02-29T00:00:00Z",
      "2026-13-01T00:00:00Z",
      "2026-00-01T00:00:00Z",
      "2026-11-31T00:00:00Z",
      "2026-11-22T00:01:00.Z",
      "2026-11-22T00:01:00.1234567890Z",
      "2026-11-22T00:01:00+0530",
      "2026-11-22T00:01:00+05",
      "2026-11-22T00:01:00+24:00",
      "2026-11-22T00:01:00+05:60",
      "2026-11-22T00:01:00Z ",
      " 2026-11-22T00:01:00Z",
      "2026-11-22_00:01:00Z",
      "26-11-22T00:01:00Z",
      "2026-1-22T00:01:00Z",
      "+026-11-22T00:01:00Z",
      // Years of UTC that four digits do not hold, or PostgreSQL has not.
      "0000-12-31T23:59:59Z",
      "0000-01-01T00:00:00+05:30",
      "0001-01-01T00:00:00+05:30",
      "9999-12-31T23:59:59-05:30",
  };
  for (const char* text : cases) {
    INFO(text);
    CHECK_FALSE(saathii::parse_iso8601(text).has_value());
  }
}

TEST_CASE("durations are read with units, largest first") {
  struct Case {
    const char* text;
    Duration length;
    const char* formatted;
  };
  const Case cases[] = {
      {"0s", 0s, "0s"},
      {"0d", 0s, "0s"},
      {"90s", 90s, "1m30s"},
      {"5m", 5min, "5m"},
      {"1h30m", 90min, "1h30m"},
      {"250ms", 250ms, "250ms"},
      {"2d", 48h, "2d"},
      {"1d2h3m4s5ms6us", 26h + 3min + 4s + 5ms + 6us, "1d2h3m4s5ms6us"},
      {"1m500ms", 1min + 500ms, "1m500ms"},
      {"007s", 7s, "7s"},
      {"36525d", std::chrono::days{36'525}, "36525d"},
  };
  for (const Case& c : cases) {
    INFO(c.text);
    REQUIRE(saathii::parse_duration(c.text).has_value());
    CHECK(*saathii::parse_duration(c.text) == c.length);
    CHECK(saathii::format_duration(c.length) == c.formatted);
    CHECK(saathii::parse_duration(c.formatted) == c.length);
  }
}

TEST_CASE("what is not a duration is refused") {
  const char* const cases[] = {"",
                               "5",
                               "s",
                               "m5",
                               "5 m",
                               " 5m",
                               "5m ",
                               "-5m",
                               "+5m",
                               "1.5h",
                               "30m1h",
                               "1m2m",
                               "5min",
                               "5M",
                               "1h30",
                               "36525d1us",
                               "876601h",
                               "5sec",
                               "1ms2s",
                               "1e3s",
                               "5µs",
                               "0x5s",
                               "36526d",
                               "9223372036854775807d",
                               "99999999999999999999s"};
  for (const char* text : cases) {
    INFO(text);
    CHECK_FALSE(saathii::parse_duration(text).has_value());
  }
}

TEST_CASE("people read two units at most, rounded down") {
  CHECK(saathii::humanize(0s) == "0 s");
  CHECK(saathii::humanize(250us) == "250 us");
  CHECK(saathii::humanize(41'999us) == "41 ms");
  CHECK(saathii::humanize(42'900ms) == "42 s");
  CHECK(saathii::humanize(60s) == "1 min");
  CHECK(saathii::humanize(61s) == "1 min 1 s");
  CHECK(saathii::humanize(3h + 5min + 59s) == "3 h 5 min");
  CHECK(saathii::humanize(24h) == "1 d");
  CHECK(saathii::humanize(49h + 59min) == "2 d 1 h");
  CHECK(saathii::humanize(-90s) == "-1 min 30 s");
  CHECK_FALSE(saathii::humanize(Duration::min()).empty());
}
