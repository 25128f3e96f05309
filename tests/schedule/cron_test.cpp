#include "catch.hpp"
#include "saathii/schedule/trigger.hpp"

using namespace saathii::schedule;

TEST_CASE("a cron expression that is wrong says what was found and what is allowed") {
  struct Case {
    std::string text;
    const char* message;
  };
  const std::string fields =
      "; 5 are needed (minute hour day-of-month month day-of-week), or 6 with the second first";
  const Case cases[] = {
      {"61 * * * *", "minute 61 is outside 0-59"},
      {"60 * * * * *", "second 60 is outside 0-59"},
      {"* 24 * * *", "hour 24 is outside 0-23"},
      {"* * 0 * *", "day of month 0 is outside 1-31"},
      {"* * 32 * *", "day of month 32 is outside 1-31"},
      {"* * * 13 *", "month 13 is outside 1-12"},
      {"* * * 0 *", "month 0 is outside 1-12"},
      {"* * * * 8", "day of week 8 is outside 0-7"},
      {"0-75 * * * *", "minute 75 is outside 0-59"},
      {"99999999999 * * * *", "minute \"99999999999\" is not a number from 0 to 59"},
      {"-1 * * * *", "minute \"-1\" is not a range, which is two values with '-' between them"},
      {"1- * * * *", "minute \"1-\" is not a range, which is two values with '-' between them"},
      {"1-2-3 * * * *",
       "minute \"1-2-3\" is not a range, which is two values with '-' between them"},
      {"*-5 * * * *", "minute \"*\" is not a number from 0 to 59"},
      {"x * * * *", "minute \"x\" is not a number from 0 to 59"},
      {"+5 * * * *", "minute \"+5\" is not a number from 0 to 59"},
      {"mon * * * *", "minute \"mon\" is not a number from 0 to 59"},
      {"* * L * *", "day of month \"L\" is not a number from 1 to 31"},
      {"* * ? * *", "day of month \"?\" is not a number from 1 to 31"},
      {"* * 15W * *", "day of month \"15W\" is not a number from 1 to 31"},
      {"* * * january *",
       "month \"january\" is not a number from 1 to 12 or a name from JAN to DEC"},
      {"* * * * 5#2", "day of week \"5#2\" is not a number from 0 to 7 or a name from SUN to SAT"},
      {"30-10 * * * *", "minute range 30-10 runs backwards"},
      {"* * * nov-feb *", "month range nov-feb runs backwards"},
      {"* * * * fri-mon", "day of week range fri-mon runs backwards"},
      {"* * * * 5-0", "day of week range 5-0 runs backwards"},
      {"*/0 * * * *", "minute step 0 is outside 1-59"},
      {"*/90 * * * *", "minute step 90 is outside 1-59"},
      {"* */24 * * *", "hour step 24 is outside 1-23"},
      {"*/ * * * *", "minute step \"\" is not a number from 1 to 59"},
      {"*/x * * * *", "minute step \"x\" is not a number from 1 to 59"},
      {"*/2/3 * * * *", "minute step \"2/3\" is not a number from 1 to 59"},
      {"5/10 * * * *",
       "minute \"5/10\" has a step but no range; for a start and a step write 5-59/10"},
      {"1,,2 * * * *", "minute \"1,,2\" has an empty item"},
      {"1, * * * *", "minute \"1,\" has an empty item"},
      {", * * * *", "minute \",\" has an empty item"},
  };
  for (const Case& one : cases) {
    INFO(one.text);
    std::string error;
    CHECK_FALSE(parse_cron(one.text, error).has_value());
    CHECK(error == one.message);
  }
  const std::pair<std::string, std::string> counts[] = {
      {"", "found 0 fields"},
      {" \t ", "found 0 fields"},
      {"@daily", "found 1 field"},
      {"* * * *", "found 4 fields"},
      {"* * * * * * *", "found 7 fields"},
  };
  for (const auto& [text, found] : counts) {
    INFO(text);
    std::string error;
    CHECK_FALSE(parse_cron(text, error).has_value());
    CHECK(error == found + fields);
  }
  std::string error;
  CHECK_FALSE(parse_cron(std::string(300, '*'), error).has_value());
  CHECK(error == "the expression is longer than 256 characters");
}

TEST_CASE("a cron expression's fields become sets") {
  std::string error;
  const auto five = parse_cron("0-6/3,59 */12 1,15 feb,4-6 0-7", error);
  REQUIRE(five.has_value());
  CHECK(five->text == "0-6/3,59 */12 1,15 feb,4-6 0-7");
  CHECK(five->seconds.to_ullong() == 1);
  CHECK(five->minutes.to_ullong() == (1ULL | 1ULL << 3 | 1ULL << 6 | 1ULL << 59));
  CHECK(five->hours.to_ullong() == (1ULL | 1ULL << 12));
  CHECK(five->days.to_ullong() == (1ULL << 1 | 1ULL << 15));
  CHECK(five->months.to_ullong() == (1ULL << 2 | 7ULL << 4));
  CHECK(five->weekdays.all());
  CHECK_FALSE(five->any_day);
  CHECK_FALSE(five->any_weekday);

  const auto six = parse_cron("5 * * */10 * *", error);
  REQUIRE(six.has_value());
  CHECK(six->seconds.to_ullong() == 1ULL << 5);
  CHECK(six->minutes.all());
  CHECK(six->hours.all());
  CHECK(six->days.to_ullong() == (1ULL << 1 | 1ULL << 11 | 1ULL << 21 | 1ULL << 31));
  CHECK(six->months.to_ullong() == 0x1FFE);
  CHECK(six->weekdays.all());
  CHECK(six->any_day);
  CHECK(six->any_weekday);

  for (const char* sunday : {"* * * * 0", "* * * * 7", "* * * * sun", "* * * * 7-7"}) {
    INFO(sunday);
    const auto cron = parse_cron(sunday, error);
    REQUIRE(cron.has_value());
    CHECK(cron->weekdays.to_ullong() == 1);
  }
  CHECK(parse_cron("* * * * sun-tue", error)->weekdays.to_ullong() == 7);
  CHECK(parse_cron("* * * * sat-sun", error)->weekdays.to_ullong() == (1ULL << 6 | 1));
  CHECK(parse_cron("* * * * 5-7", error)->weekdays.to_ullong() == (3ULL << 5 | 1));
  CHECK(parse_cron("* * * * */2", error)->weekdays.to_ullong() == 0x55);
}
