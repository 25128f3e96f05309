#include "ctl/text.hpp"

#include "catch.hpp"
#include "ctl/moments.hpp"
#include "ctl/words.hpp"
#include "sample.hpp"

using namespace saathii;
using namespace saathii::ctl;
using namespace std::chrono_literals;
using test::at;

TEST_CASE("a terminal obeys nothing that comes from outside") {
  CHECK(clean("plain ₹ text\nsecond") == "plain ₹ text\nsecond");
  CHECK(clean("\x1b[31mred\x1b]0;title\x07") == "[31mred]0;title");
  CHECK(clean("a\tb\rc\x7f") == "a bc");
  CHECK(clean("\xc2\x9b"
              "31m") == "31m");  // CSI as one character
  CHECK(clean("pay \xe2\x80\xae"
              "001") == "pay 001");  // right-to-left override
  CHECK(clean("zero\xe2\x80\x8bwidth\xef\xbb\xbf") == "zerowidth");
  CHECK(clean("bad \xff\xc3( \xe2\x82") ==
        "bad \xef\xbf\xbd\xef\xbf\xbd( \xef\xbf\xbd\xef\xbf\xbd");
  CHECK(clean("\xc0\xaf \xed\xa0\x80") ==
        "\xef\xbf\xbd\xef\xbf\xbd \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
  CHECK(one_line("two\nlines") == "two lines");
}

TEST_CASE("columns are those of the terminal") {
  CHECK(columns_of("") == 0);
  CHECK(columns_of("₹ 12") == 4);
  CHECK(columns_of("e\xcc\x81") == 1);
  CHECK(columns_of("通話") == 4);
}

TEST_CASE("what does not fit is cut off visibly") {
  CHECK(fit("coin_deduction", 14, "…") == "coin_deduction");
  CHECK(fit("coin_deduction", 13, "…") == "coin_deducti…");
  CHECK(fit("7 calls charged", 8, "…") == "7 calls…");
  CHECK(fit("coin_deduction", 8, "...") == "coin_...");
  CHECK(fit("abc", 2, "...") == "ab");
  CHECK(fit("通話終了", 5, "…") == "通話…");
  CHECK(fit("abc", 0, "…").empty());
}

TEST_CASE("long text goes on below, broken at blanks") {
  using Lines = std::vector<std::string>;
  CHECK(wrap("", 10) == Lines{""});
  CHECK(wrap("one two three", 7) == Lines{"one two", "three"});
  CHECK(wrap("one two three", 8) == Lines{"one two", "three"});
  CHECK(wrap("abcdefgh ij", 3) == Lines{"abc", "def", "gh", "ij"});
  CHECK(wrap("one\ntwo", 10) == Lines{"one", "two"});
  CHECK(wrap("通話", 1) == Lines{"通", "話"});
}

TEST_CASE("a terminal without UTF-8 gets what comes nearest") {
  CHECK(to_ascii("₹ 12… naïve") == "Rs 12... na?ve");
}

TEST_CASE("big numbers are read in groups") {
  CHECK(grouped(0) == "0");
  CHECK(grouped(999) == "999");
  CHECK(grouped(1000) == "1,000");
  CHECK(grouped(-12820) == "-12,820");
  CHECK(grouped(-999) == "-999");
  CHECK(grouped(INT64_MIN) == "-9,223,372,036,854,775,808");
}

TEST_CASE("lengths have one unit and two digits or more") {
  CHECK(roughly(0us) == "0 ms");
  CHECK(roughly(-5s) == "0 ms");
  CHECK(roughly(34ms) == "34 ms");
  CHECK(roughly(119s) == "119 s");
  CHECK(roughly(120s) == "2 min");
  CHECK(roughly(119min) == "119 min");
  CHECK(roughly(120min) == "2 h");
  CHECK(roughly(47h) == "47 h");
  CHECK(roughly(49h) == "2 d");
}

TEST_CASE("moments are told from now on") {
  CHECK(relative(test::now + 41s, test::now) == "in 41 s");
  CHECK(relative(test::now - 3min, test::now) == "3 min ago");
  CHECK(relative(test::now + 999ms, test::now) == "now");
  CHECK(relative(test::now - 999ms, test::now) == "now");
}

TEST_CASE("local times name their zone, also around a change of the clocks") {
  const auto berlin = tz::locate_zone("Europe/Berlin");
  CHECK(local_time(at("2026-10-25T00:30:00Z"), berlin) == "Sun 2026-10-25 02:30:00 CEST");
  CHECK(local_time(at("2026-10-25T01:30:00Z"), berlin) == "Sun 2026-10-25 02:30:00 CET");
  CHECK(short_time(at("1969-12-31T23:59:59.9Z"), tz::locate_zone("UTC")) == "1969-12-31 23:59:59");
}

TEST_CASE("the option --since takes what people write") {
  const auto india = tz::locate_zone("Asia/Kolkata");
  const auto since = [&](std::string_view text) {
    const auto moment = parse_since(text, test::now, india);
    return moment ? to_iso8601(*moment) : "nothing";
  };
  CHECK(since("now") == "2026-11-22T03:42:00Z");
  CHECK(since("2h") == "2026-11-22T01:42:00Z");
  CHECK(since("1h30m ago") == "2026-11-22T02:12:00Z");
  CHECK(since("today") == "2026-11-21T18:30:00Z");
  CHECK(since("yesterday") == "2026-11-20T18:30:00Z");
  CHECK(since("2026-11-22") == "2026-11-21T18:30:00Z");
  CHECK(since("2026-11-22 09:00") == "2026-11-22T03:30:00Z");
  CHECK(since("2026-11-22T03:30:00Z") == "2026-11-22T03:30:00Z");
  for (const char* text : {"", "ago", " ago", "tomorrow", "2 hours", "-2h", "2"}) {
    INFO(text);
    CHECK(since(text) == "nothing");
  }
}

TEST_CASE("yesterday is a day of whatever length") {
  // Clocks went back on this day: it had 25 hours.
  const auto berlin = tz::locate_zone("Europe/Berlin");
  CHECK(to_iso8601(*parse_since("yesterday", at("2026-10-26T12:00:00Z"), berlin)) ==
        "2026-10-24T22:00:00Z");
}
