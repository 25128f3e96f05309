#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "catch.hpp"
#include "kinds.hpp"
#include "saathii/config/loader.hpp"

using namespace saathii;
using saathii::test::kinds;
using saathii::test::no_environment;

namespace {

/// What stands below `text` in a file that is otherwise right.
struct Case {
  const char* about;
  std::string text;
  std::vector<std::string> problems;
};

const std::string url_line = "postgres.url = \"postgresql://db\"\n";  // line 1

void check(const Case& given, const std::string& toml) {
  INFO(given.about << "\n" << toml);
  const auto loaded = config::parse(toml, "f", kinds(), no_environment());
  std::vector<std::string> problems;
  for (const auto& problem : loaded.problems) problems.push_back(problem.to_string());
  CHECK(problems == given.problems);
  CHECK(loaded.config.has_value() == given.problems.empty());
}

void check_all(const std::vector<Case>& cases) {
  for (const auto& given : cases) check(given, url_line + given.text);
}

}  // namespace

TEST_CASE("wrong types") {
  check_all({
      {"text for a number",
       "rates.audio = \"10\"",
       {"f:2:15: rates.audio: found \"10\"; allowed: a whole number from 1 to 1000000"}},
      {"a decimal for a whole number",
       "rates.audio = 10.0",
       {"f:2:15: rates.audio: found 10.0; allowed: a whole number from 1 to 1000000"}},
      {"a number for a duration",
       "[redis]\nconnect_timeout = 5",
       {"f:3:19: redis.connect_timeout: found 5; allowed: a duration from 10ms to 1m, such as "
        "\"90s\" or \"1h30m\""}},
      {"a number for true or false",
       "postgres.migrate_at_start = 1",
       {"f:2:29: postgres.migrate_at_start: found 1; allowed: true or false"}},
      {"a list for text",
       "timezone = [\"UTC\"]",
       {"f:2:12: timezone: found a list; allowed: a time zone in quotes, such as "
        "\"Asia/Kolkata\""}},
      {"text for a list",
       "badges.count_status = \"completed\"",
       {"f:2:23: badges.count_status: found \"completed\"; allowed: a list of \"completed\" or "
        "\"dropped\", not empty"}},
      {"a number in a list",
       "[jobs.sweep]\nevery = \"1m\"\nfolders = [\"/a\", 7]",
       {"f:4:11: jobs.sweep.folders: found 7 in the list; allowed: a list of texts in quotes, not "
        "empty"}},
      {"a value for a section", "rates = 10", {"f:2:9: rates: found 10; allowed: a table [rates]"}},
      {"a list of tables for a section",
       "[[rates]]\naudio = 10",
       {"f:2:1: rates: found a list; allowed: a table [rates]"}},
      {"a table for a value",
       "[log.level]\nx = 1",
       {"f:2:1: log.level: found a table; allowed: trace, debug, info, warning, error"}},
      {"a value for all jobs", "jobs = true", {"f:2:8: jobs: found true; allowed: a table [jobs]"}},
      {"a value for a job",
       "[jobs]\nsweep = \"1m\"",
       {"f:3:9: jobs.sweep: found \"1m\"; allowed: a table [jobs.sweep]"}},
      {"a date for a duration",
       "service.drain_timeout = 2026-11-22",
       {"f:2:25: service.drain_timeout: found 2026-11-22; allowed: a duration from 0s to 10m, such "
        "as \"90s\" or \"1h30m\""}},
      {"a number for a URL",
       "redis.url = 6379",
       {"f:2:13: redis.url: found 6379; allowed: a URL in quotes, such as "
        "\"redis://127.0.0.1:6379/0\""}},
  });
}

TEST_CASE("misspelt names get the nearest known one") {
  check_all({
      {"a key",
       "[postgres2]\n",
       {"f:2:2: unknown section \"postgres2\"; did you mean \"postgres\"?"}},
      {"a key in a section",
       "[service]\ndrain_timeut = \"5s\"",
       {"f:3:1: unknown key \"drain_timeut\" in [service]; did you mean \"drain_timeout\"?"}},
      {"swapped letters",
       "tiemzone = \"UTC\"",
       {"f:2:1: unknown key \"tiemzone\"; did you mean \"timezone\"?"}},
      {"nothing near: the known keys",
       "[redis]\npool = 3",
       {"f:3:1: unknown key \"pool\" in [redis]; known keys: url, password_file, "
        "sentinel_password_file, connect_timeout, command_timeout"}},
      {"a table where there is none",
       "[redis.tls]\non = true",
       {"f:2:8: unknown key \"tls\" in [redis]; known keys: url, password_file, "
        "sentinel_password_file, connect_timeout, command_timeout"}},
      {"another host's address",
       "http.listen = \"0.0.0.0:9464\"",
       {"f:2:15: http.listen: found \"0.0.0.0:9464\"; 0.0.0.0 is not a loopback address: saathiid "
        "answers this host alone, because it asks for no password and speaks no TLS; put a reverse "
        "proxy before it to be reached from others"}},
      {"a number for an address",
       "http.listen = 9464",
       {"f:2:15: http.listen: found 9464; allowed: an address of this host in quotes, such as "
        "\"127.0.0.1:9464\""}},
      {"nothing near: the known sections",
       "[webserver]\nport = 80",
       {"f:2:2: unknown section \"webserver\"; known sections: postgres, redis, rates, badges, "
        "settlement, log, control, http, service, health, alerts, jobs"}},
      {"a badge",
       "[badges.sliver]\nfrom = \"6h\"",
       {"f:2:9: unknown section \"sliver\" in [badges]; did you mean \"silver\"?"}},
  });
}

TEST_CASE("misspelt jobs and kinds get the nearest known one") {
  check_all({
      {"a job: the rest of its table is checked too",
       "[jobs.swep]\nevery = \"0s\"",
       {"f:2:7: jobs.swep: found the unknown job \"swep\"; did you mean \"sweep\"? (a further "
        "instance of a job has a key kind)",
        "f:3:9: jobs.swep.every: found \"0s\"; allowed: a duration from 1s to 366d, such as "
        "\"5m\""}},
      {"a job far from all",
       "[jobs.billing]\nevery = \"1m\"",
       {"f:2:7: jobs.billing: found the unknown job \"billing\"; known jobs: sweep, report (a "
        "further instance of a job has a key kind)"}},
      {"a kind",
       "[jobs.daily]\nkind = \"reprot\"\nevery = \"1m\"",
       {"f:3:8: jobs.daily.kind: found \"reprot\"; did you mean \"report\"?"}},
      {"a kind that is no text",
       "[jobs.daily]\nkind = 5",
       {"f:3:8: jobs.daily.kind: found 5; known kinds: sweep, report"}},
      {"a kind's name for another kind",
       "[jobs.sweep]\nkind = \"report\"\nevery = \"1m\"",
       {"f:3:8: jobs.sweep.kind: found \"report\"; allowed: only \"sweep\" for a job of that "
        "name"}},
      {"a job's policy",
       "[jobs.report]\nat = \"00:01\"\ncatchup_limit = 2",
       {"f:4:1: unknown key \"catchup_limit\" in [jobs.report]; did you mean \"catch_up_limit\"?"}},
      {"a setting of another kind",
       "[jobs.report]\nat = \"00:01\"\ngrace = \"2m\"",
       {"f:4:1: unknown key \"grace\" in [jobs.report]; known keys: kind, timezone, every, at, "
        "cron, once, enabled, misfire_grace, coalesce, catch_up_limit, overlap, jitter, timeout, "
        "retries, retry_backoff, retry_backoff_cap, run_at_start, success_deadline, "
        "long_running_after"}},
  });
}

TEST_CASE("misspelt choices get the nearest known one") {
  check_all({
      {"a choice",
       "[settlement]\nearnings_in = \"rupee\"",
       {"f:3:15: settlement.earnings_in: found \"rupee\"; allowed: \"rupees\" or \"coins\"; did "
        "you mean \"rupees\"?"}},
      {"a choice of a policy",
       "[jobs.sweep]\nevery = \"1m\"\noverlap = \"parallel\"",
       {"f:4:11: jobs.sweep.overlap: found \"parallel\"; allowed: \"skip\" or \"queue\""}},
      {"a choice of a kind's setting",
       "[jobs.sweep]\nevery = \"1m\"\nmode = \"Hard\"",
       {"f:4:8: jobs.sweep.mode: found \"Hard\"; allowed: \"soft\" or \"hard\"; did you mean "
        "\"hard\"?"}},
      {"a choice in a list",
       "badges.count_status = [\"completed\", \"droped\"]",
       {"f:2:23: badges.count_status: found \"droped\"; allowed: a list of \"completed\" or "
        "\"dropped\", not empty; did you mean \"dropped\"?"}},
      {"a level",
       "log.level = \"loud\"",
       {"f:2:13: log.level: found \"loud\"; allowed: trace, debug, info, warning, error"}},
      {"a folder",
       "log.files = \"logs\"",
       {"f:2:13: log.files: found text; allowed: an absolute path in quotes, or \"\""}},
      {"a bus",
       "control.bus = \"sytem\"",
       {"f:2:15: control.bus: found \"sytem\"; allowed: \"system\", \"session\", \"none\" or an "
        "address such as \"unix:path=/run/bus\""}},
      {"a bus that would be a program",
       "control.bus = \"unixexec:path=/bin/sh\"",
       {"f:2:15: control.bus: found \"unixexec:path=/bin/sh\"; allowed: \"system\", \"session\", "
        "\"none\" or an address such as \"unix:path=/run/bus\""}},
      {"a job's name",
       "[jobs.\"night sweep\"]\nkind = \"sweep\"\nevery = \"1m\"",
       {"f:2:7: jobs.night sweep: found the job name \"night sweep\"; allowed: a to z, 0 to 9 and "
        "'_', a letter first, at most 63 characters"}},
  });
}

TEST_CASE("time zones") {
  check_all({
      {"misspelt",
       "timezone = \"Asia/Kolkatta\"",
       {"f:2:12: timezone: found the unknown time zone \"Asia/Kolkatta\"; did you mean "
        "\"Asia/Kolkata\"?"}},
      {"only the city",
       "timezone = \"kolkata\"",
       {"f:2:12: timezone: found the unknown time zone \"kolkata\"; did you mean "
        "\"Asia/Kolkata\"?"}},
      {"nothing near",
       "timezone = \"Middle Earth\"",
       {"f:2:12: timezone: found the unknown time zone \"Middle Earth\"; allowed: a zone of the "
        "system, such as \"Asia/Kolkata\""}},
      {"empty",
       "timezone = \"\"",
       {"f:2:12: timezone: found the unknown time zone \"\"; allowed: a zone of the system, such "
        "as \"Asia/Kolkata\""}},
      {"a path out of the zones' folder",
       "timezone = \"../../../etc/passwd\"",
       {"f:2:12: timezone: found the unknown time zone \"../../../etc/passwd\"; allowed: a zone of "
        "the system, such as \"Asia/Kolkata\""}},
      {"a job's",
       "[jobs.report]\nat = \"00:01\"\ntimezone = \"Europe/Berln\"",
       {"f:4:12: jobs.report.timezone: found the unknown time zone \"Europe/Berln\"; did you mean "
        "\"Europe/Berlin\"?"}},
  });
}

TEST_CASE("triggers") {
  const std::string every_allowed = "; allowed: a duration from 1s to 366d, such as \"5m\"";
  check_all({
      {"none",
       "[jobs.sweep]\nbatch_size = 5",
       {"f:2:1: jobs.sweep: found no trigger; allowed: exactly one of every, at, cron, once"}},
      {"none of a further instance",
       "[jobs.more]\nkind = \"sweep\"",
       {"f:2:1: jobs.more: found no trigger; allowed: exactly one of every, at, cron, once"}},
      {"none is needed where the job is off", "[jobs.sweep]\nenabled = false", {}},
      {"two",
       "[jobs.sweep]\nevery = \"1m\"\nat = \"00:01\"",
       {"f:4:1: jobs.sweep: found a second trigger, \"at\" at 4:1 beside \"every\" at 3:1; "
        "allowed: exactly one of every, at, cron, once"}},
      {"two, though the job is off",
       "[jobs.sweep]\ncron = \"* * * * *\"\nenabled = false\nonce = 2026-11-22T00:01:00Z",
       {"f:5:1: jobs.sweep: found a second trigger, \"once\" at 5:1 beside \"cron\" at 3:1; "
        "allowed: exactly one of every, at, cron, once"}},
      {"zero interval",
       "[jobs.sweep]\nevery = \"0s\"",
       {"f:3:9: jobs.sweep.every: found \"0s\"" + every_allowed}},
      {"negative interval",
       "[jobs.sweep]\nevery = \"-5m\"",
       {"f:3:9: jobs.sweep.every: found \"-5m\"" + every_allowed}},
      {"too short an interval",
       "[jobs.sweep]\nevery = \"999ms\"",
       {"f:3:9: jobs.sweep.every: found \"999ms\"" + every_allowed}},
      {"too long an interval",
       "[jobs.sweep]\nevery = \"367d\"",
       {"f:3:9: jobs.sweep.every: found \"367d\"" + every_allowed}},
      {"an interval without a unit",
       "[jobs.sweep]\nevery = 60",
       {"f:3:9: jobs.sweep.every: found 60" + every_allowed}},
  });
}

TEST_CASE("impossible times") {
  const std::string at_allowed =
      "; allowed: a time of day from \"00:00\" to \"23:59:59\", such as \"00:01\"";
  const std::string cron_allowed =
      "; allowed: five fields (minute hour day-of-month month day-of-week) or six with the second "
      "first, such as \"0 3 * * 1\"";
  const std::string once_allowed =
      "; allowed: a date and time with its offset from UTC, such as "
      "\"2026-11-22T00:01:00+05:30\"";
  check_all({
      {"hour 25",
       "[jobs.report]\nat = \"25:00\"",
       {"f:3:6: jobs.report.at: found \"25:00\"" + at_allowed}},
      {"24:00",
       "[jobs.report]\nat = \"24:00\"",
       {"f:3:6: jobs.report.at: found \"24:00\"" + at_allowed}},
      {"minute 60",
       "[jobs.report]\nat = \"00:60\"",
       {"f:3:6: jobs.report.at: found \"00:60\"" + at_allowed}},
      {"a time of twelve hours",
       "[jobs.report]\nat = \"1:00 pm\"",
       {"f:3:6: jobs.report.at: found \"1:00 pm\"" + at_allowed}},
      {"a date for a time of day",
       "[jobs.report]\nat = 2026-11-22",
       {"f:3:6: jobs.report.at: found 2026-11-22" + at_allowed}},
      {"cron: a minute too large",
       "[jobs.report]\ncron = \"61 * * * *\"",
       {"f:3:8: jobs.report.cron: found \"61 * * * *\": minute 61 is outside 0-59" + cron_allowed}},
      {"cron: no text",
       "[jobs.report]\ncron = 5",
       {"f:3:8: jobs.report.cron: found 5" + cron_allowed}},
      {"once: no offset",
       "[jobs.report]\nonce = \"2026-11-22T00:01:00\"",
       {"f:3:8: jobs.report.once: found \"2026-11-22T00:01:00\"" + once_allowed}},
      {"once: a local date and time",
       "[jobs.report]\nonce = 2026-11-22T00:01:00",
       {"f:3:8: jobs.report.once: found 2026-11-22T00:01:00" + once_allowed}},
      {"once: 30 February",
       "[jobs.report]\nonce = \"2026-02-30T00:00:00Z\"",
       {"f:3:8: jobs.report.once: found \"2026-02-30T00:00:00Z\"" + once_allowed}},
  });
}

TEST_CASE("numbers and durations out of bounds") {
  const std::string duration_form = ", such as \"90s\" or \"1h30m\"";
  check_all({
      {"a rate of zero",
       "rates.video = 0",
       {"f:2:15: rates.video: found 0; allowed: a whole number from 1 to 1000000"}},
      {"a rate below zero",
       "rates.video = -10",
       {"f:2:15: rates.video: found -10; allowed: a whole number from 1 to 1000000"}},
      {"no sessions",
       "postgres.max_sessions = 0",
       {"f:2:25: postgres.max_sessions: found 0; allowed: a whole number from 1 to 100"}},
      {"a time limit of zero",
       "postgres.statement_timeout = \"0s\"",
       {"f:2:30: postgres.statement_timeout: found \"0s\"; allowed: a duration from 1s to 1d" +
        duration_form}},
      {"a job's time limit of zero",
       "[jobs.sweep]\nevery = \"1m\"\ntimeout = \"0s\"",
       {"f:4:11: jobs.sweep.timeout: found \"0s\"; allowed: a duration from 1s to 7d" +
        duration_form}},
      {"a duration in words",
       "service.run_retention = \"90 days\"",
       {"f:2:25: service.run_retention: found \"90 days\"; allowed: a duration from 1d to 36500d" +
        duration_form}},
      {"a catch-up of nothing",
       "[jobs.sweep]\nevery = \"1m\"\ncatch_up_limit = 0",
       {"f:4:18: jobs.sweep.catch_up_limit: found 0; allowed: a whole number from 1 to 1000"}},
      {"a kind's integer",
       "[jobs.sweep]\nevery = \"1m\"\nbatch_size = 1001",
       {"f:4:14: jobs.sweep.batch_size: found 1001; allowed: a whole number from 1 to 1000"}},
      {"a kind's duration",
       "[jobs.sweep]\nevery = \"1m\"\ngrace = \"999ms\"",
       {"f:4:9: jobs.sweep.grace: found \"999ms\"; allowed: a duration of at least 1s" +
        duration_form}},
      {"a kind's empty list",
       "[jobs.sweep]\nevery = \"1m\"\nfolders = []",
       {"f:4:11: jobs.sweep.folders: found a list of 0; allowed: a list of texts in quotes, not "
        "empty"}},
      {"a cap below the backoff",
       "[jobs.sweep]\nevery = \"1m\"\nretry_backoff = \"1m\"",
       {"f:4:17: jobs.sweep.retry_backoff_cap: found \"30s\"; allowed: at least retry_backoff, "
        "which is \"1m\""}},
  });
}

TEST_CASE("badges") {
  const std::string rate_allowed =
      "; allowed: rupees from 0.01 to 999.99 with at most two decimals, such as 1.25";
  check_all({
      {"silver from no more than bronze",
       "[badges.silver]\nfrom = \"3h\"",
       {"f:3:8: badges.silver.from: found \"3h\"; allowed: more than badges.bronze.from, which is "
        "\"3h\""}},
      {"bronze moved past silver's default",
       "[badges.bronze]\nfrom = \"7h\"",
       {"f:3:8: badges.silver.from: found \"6h\"; allowed: more than badges.bronze.from, which is "
        "\"7h\""}},
      {"gold below silver, basic not from the start",
       "[badges]\nbasic.from = \"1h\"\ngold.from = \"5h\"",
       {"f:3:14: badges.basic.from: found \"1h\"; allowed: \"0s\", for who has no better badge has "
        "this one",
        "f:4:13: badges.gold.from: found \"5h\"; allowed: more than badges.silver.from, which is "
        "\"6h\""}},
      {"more than a day has",
       "badges.gold.from = \"25h\"",
       {"f:2:20: badges.gold.from: found \"25h\"; allowed: a duration from 0s to 1d, such as "
        "\"90s\" or \"1h30m\""}},
      {"a fraction of a paisa",
       "badges.gold.audio = 1.255",
       {"f:2:21: badges.gold.audio: found 1.255" + rate_allowed}},
      {"a tiny fraction of a paisa",
       "badges.gold.audio = 1.2500000001",
       {"f:2:21: badges.gold.audio: found 1.2500000001" + rate_allowed}},
      {"nothing", "badges.gold.audio = 0", {"f:2:21: badges.gold.audio: found 0" + rate_allowed}},
      {"below zero",
       "badges.gold.video = -1.25",
       {"f:2:21: badges.gold.video: found -1.25" + rate_allowed}},
      {"more than the column holds",
       "badges.gold.video = 1000",
       {"f:2:21: badges.gold.video: found 1000" + rate_allowed}},
      {"not a number",
       "badges.gold.video = nan",
       {"f:2:21: badges.gold.video: found nan" + rate_allowed}},
      {"infinite",
       "badges.gold.video = inf",
       {"f:2:21: badges.gold.video: found inf" + rate_allowed}},
      {"text",
       "badges.gold.video = \"10\"",
       {"f:2:21: badges.gold.video: found \"10\"" + rate_allowed}},
  });
}

TEST_CASE("what is not TOML, and duplicate keys") {
  check({"no value",
         "",
         {"f:1:8: not TOML: Error while parsing key-value pair: expected value, "
          "saw '\\n'"}},
        "rates =\naudio = 1\n");
  check({"a key twice",
         "",
         {"f:3:9: not TOML: Error while parsing key-value pair: cannot redefine "
          "existing integer 'audio'"}},
        "[rates]\naudio = 1\naudio = 2\n");
  check({"a section twice",
         "",
         {"f:3:1: not TOML: Error while parsing table header: cannot redefine existing table "
          "'rates'"}},
        "[rates]\n[log]\n[rates]\n");
  check({"no name",
         "",
         {"f:1:2: not TOML: Error while parsing key: expected bare key starting character or "
          "string delimiter, saw '/'"}},
        "[/rates]\n");
}

TEST_CASE("what nests deeper than any setting is refused, not descended into") {
  // Not by check(), which would print all of it.
  const auto problem = [](const std::string& toml) {
    const auto loaded = config::parse(toml, "f", kinds(), no_environment());
    return loaded.problems.size() == 1 ? loaded.problems[0].to_string() : "";
  };
  std::string name = "a";
  for (int i = 0; i < 500'000; ++i) name += ".a";
  const std::string dots =
      ":1: found more than 200 dots; allowed: names of a few parts, such as jobs.x.timeout";
  CHECK(problem("# " + name + "\n" + name + " = 1\n") == "f:2" + dots);
  CHECK(problem("[" + name + "]") == "f:1" + dots);
  const std::string opened(100, '[');
  CHECK(problem("x = " + opened + std::string(100, ']')).find("depth of 8") != std::string::npos);
  CHECK(problem(url_line + "x = [[1]]").find("unknown key \"x\"") != std::string::npos);
}

TEST_CASE("all problems at once, in the file's order") {
  check({"",
         "",
         {("f: postgres.url: missing; give it here or in the environment variable DATABASE_URL, "
           "such as \"postgresql://saathiid@localhost/saathii\""),
          "f:1:1: unknown key \"timezon\"; did you mean \"timezone\"?",
          "f:3:9: rates.audio: found -1; allowed: a whole number from 1 to 1000000",
          "f:4:9: rates.video: found true; allowed: a whole number from 1 to 1000000",
          "f:5:1: jobs.sweep: found no trigger; allowed: exactly one of every, at, cron, once",
          "f:6:7: jobs.sweep.dry: found 0; allowed: true or false"}},
        "timezon = \"UTC\"\n[rates]\naudio = -1\nvideo = true\n[jobs.sweep]\ndry = 0\n");
  check({"points at the section that lacks it",
         "",
         {"f:2:1: postgres.url: missing; give it here or in the environment variable DATABASE_URL, "
          "such as \"postgresql://saathiid@localhost/saathii\""}},
        "\n[postgres]\nmax_sessions = 3\n");
}

TEST_CASE("a file that cannot be read says what to do") {
  std::string pattern = (std::filesystem::temp_directory_path() / "saathii-config-XXXXXX").string();
  REQUIRE(mkdtemp(pattern.data()) != nullptr);
  const std::filesystem::path folder = pattern;
  const auto load = [](const std::filesystem::path& file) {
    const auto loaded = config::load(file, kinds(), no_environment());
    REQUIRE(loaded.problems.size() == 1);
    return loaded.problems[0].to_string();
  };
  const std::string advice =
      "; name another file with --config FILE, or begin with a copy of the commented "
      "config/saathiid.toml";
  const auto none = folder / "none.toml";
  CHECK(load(none) ==
        none.string() + ": cannot read the configuration: there is no such file" + advice);
  CHECK(load(folder) ==
        folder.string() + ": cannot read the configuration: it is a folder" + advice);
  CHECK(load("/dev/zero") ==
        "/dev/zero: cannot read the configuration: it is larger than 1 MiB" + advice);
  const auto binary = folder / "binary.toml";
  std::ofstream(binary) << "timezone = \"\xff\xfe\"\n";
  CHECK(load(binary) == binary.string() + ":1:12: not TOML: Encountered invalid utf-8 sequence");
  std::filesystem::remove_all(folder);
}
