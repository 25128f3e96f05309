#include "saathii/schedule/trigger.hpp"

#include <rapidcheck.h>

#include <vector>

#include "catch.hpp"

using namespace saathii;
using namespace saathii::schedule;
using namespace std::chrono_literals;

namespace {

Instant at(const std::string& text) {
  INFO(text);
  const auto moment = parse_iso8601(text);
  REQUIRE(moment.has_value());
  return *moment;
}

/// "every 5m", "at 02:30", "once 2026-…", or a cron expression.
Trigger make(const std::string& rule, const std::string& zone) {
  const TimeZone tz = tz::locate_zone(zone);
  if (rule.rfind("every ", 0) == 0) {
    return {Every{parse_duration(rule.substr(6)).value()}, tz};
  }
  if (rule.rfind("at ", 0) == 0) {
    return {Daily{parse_time_of_day(rule.substr(3)).value()}, tz};
  }
  if (rule.rfind("once ", 0) == 0) {
    return {Once{at(rule.substr(5))}, tz};
  }
  std::string error;
  const auto cron = parse_cron(rule, error);
  INFO(rule << ": " << error);
  REQUIRE(cron.has_value());
  return {*cron, tz};
}

struct Case {
  const char* what;
  const char* rule;
  const char* zone;
  const char* after;
  std::vector<const char*> ticks;
};

const std::vector<Case> cases = {
    {"intervals are aligned to the epoch",
     "every 90s",
     "Asia/Kolkata",
     "2026-11-22T00:00:00Z",
     {"2026-11-22T00:01:30Z", "2026-11-22T00:03:00Z", "2026-11-22T00:04:30Z"}},
    {"a microsecond before is before",
     "every 1m",
     "UTC",
     "2026-11-21T23:59:59.999999Z",
     {"2026-11-22T00:00:00Z", "2026-11-22T00:01:00Z"}},
    {"an interval of a fraction of a second more",
     "every 1s500ms",
     "UTC",
     "1970-01-01T00:00:00Z",
     {"1970-01-01T00:00:01.500000Z", "1970-01-01T00:00:03Z"}},
    {"before the epoch too",
     "every 7s",
     "UTC",
     "1969-12-31T23:59:50Z",
     {"1969-12-31T23:59:53Z", "1970-01-01T00:00:00Z", "1970-01-01T00:00:07Z"}},
    {"once", "once 2026-11-22T00:01:00Z", "UTC", "2026-01-01T00:00:00Z", {"2026-11-22T00:01:00Z"}},
    {"half-hour offset",
     "at 00:01",
     "Asia/Kolkata",
     "2026-11-21T18:31:00Z",
     {"2026-11-22T18:31:00Z", "2026-11-23T18:31:00Z"}},
    {"Berlin: skipped time runs at the end of the gap",
     "at 02:30",
     "Europe/Berlin",
     "2026-03-28T12:00:00Z",
     {"2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"}},
    {"Berlin: repeated time runs once",
     "at 02:30",
     "Europe/Berlin",
     "2026-10-24T12:00:00Z",
     {"2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"}},
    {"Berlin: asked in the second pass of the hour",
     "at 02:30",
     "Europe/Berlin",
     "2026-10-25T01:10:00Z",
     {"2026-10-26T01:30:00Z"}},
    {"Berlin: many skipped times are one tick",
     "*/20 2,3 * * *",
     "Europe/Berlin",
     "2026-03-29T00:00:00Z",
     {"2026-03-29T01:00:00Z", "2026-03-29T01:20:00Z", "2026-03-29T01:40:00Z",
      "2026-03-30T00:00:00Z"}},
    {"Berlin: the gap's end is a tick though it does not match",
     "15,45 2 * * *",
     "Europe/Berlin",
     "2026-03-28T12:00:00Z",
     {"2026-03-29T01:00:00Z", "2026-03-30T00:15:00Z"}},
    {"Berlin: the repeated hour has its ticks once",
     "*/30 1-3 * * *",
     "Europe/Berlin",
     "2026-10-24T23:00:00Z",
     {"2026-10-24T23:30:00Z", "2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z",
      "2026-10-25T02:00:00Z", "2026-10-25T02:30:00Z", "2026-10-26T00:00:00Z"}},
    {"New York: gap",
     "at 02:30",
     "America/New_York",
     "2026-03-07T12:00:00Z",
     {"2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"}},
    {"New York: overlap",
     "at 01:30",
     "America/New_York",
     "2026-10-31T12:00:00Z",
     {"2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"}},
    {"Lord Howe: gap of 30 minutes",
     "at 02:15",
     "Australia/Lord_Howe",
     "2026-10-03T12:00:00Z",
     {"2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"}},
    {"Lord Howe: overlap of 30 minutes",
     "at 01:45",
     "Australia/Lord_Howe",
     "2026-04-04T12:00:00Z",
     {"2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"}},
    {"Casablanca: back for Ramadan",
     "30 2 * * *",
     "Africa/Casablanca",
     "2026-02-14T12:00:00Z",
     {"2026-02-15T01:30:00Z", "2026-02-16T02:30:00Z"}},
    {"Casablanca: forward after Ramadan",
     "30 2 * * *",
     "Africa/Casablanca",
     "2026-03-21T12:00:00Z",
     {"2026-03-22T02:00:00Z", "2026-03-23T01:30:00Z"}},
    {"Apia: the day that was skipped",
     "at 12:00",
     "Pacific/Apia",
     "2011-12-29T00:00:00Z",
     {"2011-12-29T22:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T22:00:00Z",
      "2011-12-31T22:00:00Z"}},
    {"Apia: two midnights that are one moment",
     "at 00:00",
     "Pacific/Apia",
     "2011-12-29T00:00:00Z",
     {"2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"}},
    {"Beirut: midnight does not exist",
     "at 00:00",
     "Asia/Beirut",
     "2026-03-28T00:00:00Z",
     {"2026-03-28T22:00:00Z", "2026-03-29T21:00:00Z"}},
    {"leap days",
     "0 0 29 2 *",
     "UTC",
     "2026-11-22T00:00:00Z",
     {"2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"}},
    {"no leap day in 2100", "0 0 29 2 *", "UTC", "2096-02-29T00:00:00Z", {"2104-02-29T00:00:00Z"}},
    {"a daily tick on a leap day",
     "at 23:59:59",
     "UTC",
     "2028-02-28T12:00:00Z",
     {"2028-02-28T23:59:59Z", "2028-02-29T23:59:59Z", "2028-03-01T23:59:59Z"}},
    {"months with 31 days",
     "0 0 31 * *",
     "UTC",
     "2026-01-31T00:00:00Z",
     {"2026-03-31T00:00:00Z", "2026-05-31T00:00:00Z", "2026-07-31T00:00:00Z",
      "2026-08-31T00:00:00Z", "2026-10-31T00:00:00Z", "2026-12-31T00:00:00Z"}},
    {"a date that never comes", "0 0 30 2 *", "UTC", "2026-01-01T00:00:00Z", {}},
    {"either day field",
     "0 0 13 * mon",
     "UTC",
     "2026-02-01T00:00:00Z",
     {"2026-02-02T00:00:00Z", "2026-02-09T00:00:00Z", "2026-02-13T00:00:00Z",
      "2026-02-16T00:00:00Z"}},
    {"a date that never comes, or a weekday",
     "0 0 30 2 mon",
     "UTC",
     "2026-01-30T00:00:00Z",
     {"2026-02-02T00:00:00Z", "2026-02-09T00:00:00Z"}},
    {"both day fields where one begins with a star",
     "0 0 */2 * 1",
     "UTC",
     "2026-02-01T00:00:00Z",
     {"2026-02-09T00:00:00Z", "2026-02-23T00:00:00Z", "2026-03-09T00:00:00Z"}},
    {"seconds first",
     "*/20 59 23 31 12 *",
     "UTC",
     "2026-12-31T23:59:10Z",
     {"2026-12-31T23:59:20Z", "2026-12-31T23:59:40Z", "2027-12-31T23:59:00Z"}},
    {"seven is Sunday",
     "0 0 * * 7",
     "UTC",
     "2026-11-22T00:00:00Z",
     {"2026-11-29T00:00:00Z", "2026-12-06T00:00:00Z"}},
    {"a week that ends on Sunday",
     "0 0 * * fri-SUN",
     "UTC",
     "2026-11-22T00:00:00Z",
     {"2026-11-27T00:00:00Z", "2026-11-28T00:00:00Z", "2026-11-29T00:00:00Z",
      "2026-12-04T00:00:00Z"}},
    {"names, lists, ranges and steps together",
     "5,10-20/5\t1 *  Jan-mar/2,DEC tue",
     "UTC",
     "2026-12-29T01:12:00Z",
     {"2026-12-29T01:15:00Z", "2026-12-29T01:20:00Z", "2027-01-05T01:05:00Z"}},
};

}  // namespace

TEST_CASE("ticks follow each other as they are listed, and back again") {
  for (const Case& one : cases) {
    INFO(one.what << ": " << one.rule << " " << one.zone);
    const Trigger trigger = make(one.rule, one.zone);
    const Instant begin = at(one.after);
    Instant moment = begin;
    for (std::size_t i = 0; i < one.ticks.size(); ++i) {
      const auto tick = trigger.next_after(moment);
      REQUIRE(tick.has_value());
      CHECK(to_iso8601(*tick) == one.ticks[i]);
      CHECK(trigger.latest_at(*tick) == tick);
      CHECK(trigger.count_between(begin, *tick) == static_cast<std::int64_t>(i) + 1);
      if (i > 0) {
        CHECK(trigger.latest_at(*tick - Duration{1}) == at(one.ticks[i - 1]));
      }
      moment = *tick;
    }
    if (one.ticks.empty()) {
      CHECK_FALSE(trigger.next_after(begin).has_value());
      CHECK_FALSE(trigger.latest_at(begin).has_value());
    }
  }
}

TEST_CASE("a trigger whose last tick is past has no next one") {
  const Trigger once = make("once 2026-11-22T00:01:00Z", "UTC");
  const Instant moment = at("2026-11-22T00:01:00Z");
  CHECK_FALSE(once.next_after(moment).has_value());
  CHECK(once.latest_at(moment) == moment);
  CHECK_FALSE(once.latest_at(moment - Duration{1}).has_value());
  CHECK(once.count_between(moment - Duration{1}, moment) == 1);
  CHECK(once.count_between(moment, moment + 24h) == 0);
}

TEST_CASE("the ends of time overflow nothing") {
  for (const char* rule : {"every 1s", "at 02:30", "* * * * * *", "0 0 30 2 *"}) {
    INFO(rule);
    const Trigger trigger = make(rule, "Europe/Berlin");
    CHECK_FALSE(trigger.next_after(Instant::max()).has_value());
    CHECK_FALSE(trigger.latest_at(Instant::min()).has_value());
    static_cast<void>(trigger.next_after(Instant::min()));
    static_cast<void>(trigger.latest_at(Instant::max()));
    CHECK(trigger.count_between(Instant::max(), Instant::min()) == 0);
  }
  CHECK(make("every 36525d", "UTC").next_after(at("2026-11-22T00:00:00Z")).has_value());
}

TEST_CASE("a long absence is counted without walking through it") {
  const Instant from = at("1970-01-01T00:00:00Z");
  const Instant until = at("2026-01-01T00:00:00Z");
  CHECK(make("every 1s", "UTC").count_between(from, until) == 1'767'225'600);
  CHECK(make("* * * * * *", "UTC").count_between(from, until) == 1'767'225'600);
  CHECK(make("at 12:00", "Europe/Berlin").count_between(from, until) == 56 * 365 + 14);
}

TEST_CASE("a trigger says what it is") {
  CHECK(make("every 1m", "UTC").describe() == "every 1m");
  CHECK(make("at 00:01", "Asia/Kolkata").describe() == "daily at 00:01 Asia/Kolkata");
  CHECK(make("at 00:01:09", "UTC").describe() == "daily at 00:01:09 UTC");
  CHECK(make("0 3 * * 1", "UTC").describe() == "cron 0 3 * * 1 UTC");
  CHECK(make("once 2026-11-22T00:01:00Z", "UTC").describe() == "once at 2026-11-22T00:01:00Z");
}

TEST_CASE("a time of day is read") {
  CHECK(parse_time_of_day("00:00") == 0s);
  CHECK(parse_time_of_day("00:01") == 1min);
  CHECK(parse_time_of_day("23:59:59") == 24h - 1s);
  for (const char* bad : {"", "24:00", "12:60", "12:00:60", "1:00", "12", "12:0", "12:00:0",
                          "12-00", "12:00 ", " 12:00", "ab:cd", "12:00:", "+1:00", "12:00:00:00"}) {
    INFO(bad);
    CHECK_FALSE(parse_time_of_day(bad).has_value());
  }
}

TEST_CASE("forward, back and counting agree for random patterns") {
  const std::vector<const char*> zones = {
      "UTC",          "Europe/Berlin",  "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe",
      "Pacific/Apia", "America/Havana", "Africa/Casablanca"};
  CHECK(rc::check("next_after, latest_at and count_between", [&] {
    Cron cron;
    const auto bit = [](std::size_t size) { return *rc::gen::inRange<std::size_t>(0, size); };
    for (std::size_t i = 0; i < bit(4) + 1; ++i) {
      cron.seconds[*rc::gen::element<std::size_t>(0, 0, 30, 59)] = true;
      cron.minutes[bit(60)] = true;
      cron.hours[bit(24)] = true;
      cron.hours[*rc::gen::element<std::size_t>(0, 1, 2, 3, 23)] = true;
      cron.days[bit(31) + 1] = true;
      cron.weekdays[bit(7)] = true;
    }
    cron.months.set();
    cron.any_day = *rc::gen::arbitrary<bool>();
    cron.any_weekday = *rc::gen::arbitrary<bool>();
    if (cron.any_day) {
      cron.days.set();
    }
    if (cron.any_weekday) {
      cron.weekdays.set();
    }
    const Trigger trigger(cron, tz::locate_zone(*rc::gen::elementOf(zones)));
    const Instant begin{Duration{*rc::gen::inRange<std::int64_t>(0, 2'080'000'000'000'000)}};
    Instant moment = begin;
    std::vector<Instant> ticks;
    for (int i = 0; i < 200; ++i) {
      const auto tick = trigger.next_after(moment);
      RC_ASSERT(tick.has_value());
      RC_ASSERT(*tick > moment);
      ticks.push_back(*tick);
      moment = *tick;
    }
    RC_ASSERT(trigger.count_between(begin, moment) == 200);
    RC_ASSERT(trigger.count_between(begin, moment - Duration{1}) == 199);
    RC_ASSERT(trigger.count_between(ticks[50], ticks[150]) == 100);
    for (std::size_t i = 199; i > 0; --i) {
      RC_ASSERT(trigger.latest_at(ticks[i]) == ticks[i]);
      RC_ASSERT(trigger.latest_at(ticks[i] - Duration{1}) == ticks[i - 1]);
    }
  }));
}
