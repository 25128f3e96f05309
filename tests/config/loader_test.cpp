#include "saathii/config/loader.hpp"

#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "catch.hpp"
#include "kinds.hpp"

using namespace saathii;
using namespace std::chrono_literals;
using saathii::test::kinds;
using saathii::test::no_environment;

namespace {

const std::string url_line = "postgres.url = \"postgresql://u:secret@db/saathii\"\n";

config::Environment environment_of(std::map<std::string, std::string> variables) {
  return [variables = std::move(variables)](std::string_view name) -> std::optional<std::string> {
    const auto found = variables.find(std::string(name));
    return found == variables.end() ? std::nullopt : std::optional<std::string>(found->second);
  };
}

std::vector<std::string> texts_of(const config::Loaded& loaded) {
  std::vector<std::string> texts;
  for (const auto& problem : loaded.problems) texts.push_back(problem.to_string());
  return texts;
}

config::Config read(const std::string& toml,
                    const config::Environment& environment = no_environment()) {
  auto loaded = config::parse(toml, "f", kinds(), environment);
  CHECK(texts_of(loaded) == std::vector<std::string>{});
  REQUIRE(loaded.config);
  return *std::move(loaded.config);
}

const config::Job& job(const config::Config& config, std::string_view name) {
  for (const auto& candidate : config.jobs) {
    if (candidate.name == name) return candidate;
  }
  throw std::runtime_error("no job " + std::string{name});
}

}  // namespace

TEST_CASE("an empty file has the defaults") {
  const auto config = read("", environment_of({{"DATABASE_URL", "postgresql://db"}}));
  CHECK(config.postgres.url == "postgresql://db");
  CHECK(config.postgres.max_sessions == 8);
  CHECK_FALSE(config.postgres.migrate_at_start);
  CHECK(config.redis.url == "redis://127.0.0.1:6379/0");
  CHECK(config.platform.timezone == "Asia/Kolkata");
  CHECK(config.platform.rates.audio == 10);
  CHECK(config.platform.rates.video == 60);
  CHECK(config.platform.earnings_in == config::EarningsIn::rupees);
  CHECK(config.log.level == "info");
  CHECK(config.log.files.empty());
  CHECK(config.service.drain_timeout == 20s);

  const auto& tiers = config.platform.badges.tiers;
  const std::vector<std::string> names = {"basic", "bronze", "silver", "gold"};
  const std::vector<Duration> from = {0h, 3h, 6h, 9h};
  const std::vector<std::int64_t> audio = {100, 125, 150, 180};
  const std::vector<std::int64_t> video = {600, 700, 850, 1000};
  for (std::size_t i = 0; i < tiers.size(); ++i) {
    CHECK(tiers[i].name == names[i]);
    CHECK(tiers[i].from == from[i]);
    CHECK(tiers[i].audio_paise == audio[i]);
    CHECK(tiers[i].video_paise == video[i]);
  }

  REQUIRE(config.jobs.size() == 2);
  CHECK(config.jobs[0].name == "sweep");
  CHECK(config.jobs[0].kind == "sweep");
  CHECK(config.jobs[0].enabled);
  CHECK(config.jobs[0].trigger.describe() == "every 5m");
  CHECK(config.jobs[0].policy.misfire_grace == 30s);
  CHECK(config.jobs[0].run.timeout == 1min);
  CHECK(config.jobs[0].settings.integer("batch_size") == 500);
  CHECK(config.jobs[1].trigger.describe() == "daily at 00:01 Asia/Kolkata");
}

namespace {

const std::string everything = R"(
timezone = "Europe/Berlin"
[postgres]
url = "postgresql+asyncpg://u:p@h/db"
max_sessions = 3
connect_timeout = "2s"
statement_timeout = "1m30s"
lock_timeout = "750ms"
tcp_user_timeout = "9s"
migrate_at_start = true
[redis]
url = "unix:///run/redis.sock"
connect_timeout = "10ms"
command_timeout = "20ms"
[rates]
audio = 12
video = 70
[badges]
count_status = ["completed"]
gold = { from = "9h30m", audio = 1.1, video = 9 }
[settlement]
earnings_in = "coins"
[log]
level = "Warning"
files = "/srv/logs"
[control]
bus = "unix:path=/run/saathii/bus"
[service]
drain_timeout = "5s"
run_retention = "30d"
charge_retention = "1000d"
[jobs.report]
cron = "0 3 * * 1"
timezone = "UTC"
misfire_grace = "2h"
coalesce = false
catch_up_limit = 3
overlap = "queue"
jitter = "10s"
timeout = "2m"
retries = 0
retry_backoff = "2s"
retry_backoff_cap = "4s"
run_at_start = true
[jobs.sweep]
at = 23:59:01
dry = true
batch_size = 1
grace = "1s"
mode = "hard"
folders = ["/a", "/b\n\"c\""]
)";

}  // namespace

TEST_CASE("every value of the platform and its servers is read") {
  const auto config = read(everything);
  CHECK(config.platform.timezone == "Europe/Berlin");
  CHECK(config.postgres.url == "postgresql://u:p@h/db");
  CHECK(config.postgres.max_sessions == 3);
  CHECK(config.postgres.connect_timeout == 2s);
  CHECK(config.postgres.statement_timeout == 90s);
  CHECK(config.postgres.lock_timeout == 750ms);
  CHECK(config.postgres.tcp_user_timeout == 9s);
  CHECK(config.postgres.migrate_at_start);
  CHECK(config.redis.url == "unix:///run/redis.sock");
  CHECK(config.redis.connect_timeout == 10ms);
  CHECK(config.redis.command_timeout == 20ms);
  CHECK(config.platform.rates.audio == 12);
  CHECK(config.platform.rates.video == 70);
  CHECK(config.platform.badges.count_status == std::vector<std::string>{"completed"});
  CHECK(config.platform.badges.tiers[3].from == 9h + 30min);
  CHECK(config.platform.badges.tiers[3].audio_paise == 110);
  CHECK(config.platform.badges.tiers[3].video_paise == 900);
  CHECK(config.platform.earnings_in == config::EarningsIn::coins);
  CHECK(config.log.level == "warning");
  CHECK(config.log.files == "/srv/logs");
  CHECK(config.service.drain_timeout == 5s);
  CHECK(config.control.bus == "unix:path=/run/saathii/bus");
  CHECK(config.service.run_retention == 24h * 30);
  CHECK(config.service.charge_retention == 24h * 1000);
}

TEST_CASE("every value of the jobs is read") {
  const auto config = read(everything);
  const auto& report = job(config, "report");
  CHECK(report.trigger.describe() == "cron 0 3 * * 1 UTC");
  CHECK(report.policy.misfire_grace == 2h);
  CHECK_FALSE(report.policy.coalesce);
  CHECK(report.policy.catch_up_limit == 3);
  CHECK(report.policy.overlap == schedule::Overlap::queue);
  CHECK(report.policy.jitter == 10s);
  CHECK(report.run.timeout == 2min);
  CHECK(report.run.retries == 0);
  CHECK(report.run.retry_backoff == 2s);
  CHECK(report.run.retry_backoff_cap == 4s);
  CHECK(report.run.run_at_start);

  const auto& sweep = job(config, "sweep");
  CHECK(sweep.trigger.describe() == "daily at 23:59:01 Europe/Berlin");
  CHECK(sweep.settings.flag("dry"));
  CHECK(sweep.settings.integer("batch_size") == 1);
  CHECK(sweep.settings.duration("grace") == 1s);
  CHECK(sweep.settings.text("mode") == "hard");
  CHECK(sweep.settings.list("folders") == std::vector<std::string>{"/a", "/b\n\"c\""});

  SECTION("and printed so that it reads back the same, but for the secrets") {
    const auto text = config::print(config, kinds());
    CHECK(text.find("postgresql://u:***@h/db") != std::string::npos);
    const auto again = read(text);
    CHECK(config::print(again, kinds()) == text);
    CHECK(job(again, "sweep").settings.all() == sweep.settings.all());
    CHECK(job(again, "report").trigger.describe() == report.trigger.describe());
  }
}

TEST_CASE("printed defaults read back the same") {
  const auto text = config::print(read(url_line), kinds());
  CHECK(text.find("secret") == std::string::npos);
  CHECK(config::print(read(text), kinds()) == text);
  CHECK(text.find("[badges.silver]\nfrom = \"6h\"\naudio = 1.50\nvideo = 8.50\n") !=
        std::string::npos);
  CHECK(text.find("[jobs.report]\nat = \"00:01\"\nenabled = true\n") != std::string::npos);
}

TEST_CASE("every amount of paise that a rate may be is read exactly") {
  for (int paise = 1; paise <= 99'999; ++paise) {
    const auto rest = paise % 100;
    const auto text = std::to_string(paise / 100) + (rest < 10 ? ".0" : ".") + std::to_string(rest);
    // Many at once, as each file has eight rates.
    if (paise % 97 != 0 && paise > 2000) continue;
    const auto loaded =
        config::parse(url_line + "badges.basic.audio = " + text, "f", {}, no_environment());
    REQUIRE(loaded.config);
    REQUIRE(loaded.config->platform.badges.tiers[0].audio_paise == paise);
  }
}

TEST_CASE("the environment comes before the file") {
  const auto file = url_line + "redis.url = \"redis://file\"\nlog.level = \"error\"\n";
  const auto config = read(file, environment_of({{"DATABASE_URL", "postgresql+asyncpg://e/db"},
                                                 {"REDIS_URL", "redis://:p@e:1/2"},
                                                 {"LOG_LEVEL", "DEBUG"}}));
  CHECK(config.postgres.url == "postgresql://e/db");
  CHECK(config.redis.url == "redis://:p@e:1/2");
  CHECK(config.log.level == "debug");

  SECTION("an empty variable is none") {
    const auto same = read(file, environment_of({{"DATABASE_URL", ""}, {"LOG_LEVEL", ""}}));
    CHECK(same.postgres.url == "postgresql://u:secret@db/saathii");
    CHECK(same.log.level == "error");
  }
  SECTION("the names of Python's levels") {
    CHECK(read(file, environment_of({{"LOG_LEVEL", "WARN"}})).log.level == "warning");
    CHECK(read(file, environment_of({{"LOG_LEVEL", "CRITICAL"}})).log.level == "error");
  }
  SECTION("a problem names the variable") {
    const auto loaded = config::parse("rates.audio = 0", "f", kinds(),
                                      environment_of({{"DATABASE_URL", "mysql://u:secret@h/db"},
                                                      {"REDIS_URL", "redis://h/x"},
                                                      {"LOG_LEVEL", "loud"}}));
    CHECK(texts_of(loaded) ==
          std::vector<std::string>{
              "DATABASE_URL: found the scheme \"mysql\"; allowed: "
              "postgresql://[user[:password]@][host][:port][,…][/db][?name=value&…]",
              "REDIS_URL: found a database that is not a whole number such as 0; in a user or "
              "password write '@' as %40, '/' as %2F, ':' as %3A, '%' as %25",
              "LOG_LEVEL: found \"loud\"; allowed: trace, debug, info, warning, error",
              "f:1:15: rates.audio: found 0; allowed: a whole number from 1 to 1000000"});
  }
}

TEST_CASE("further instances come after the kinds' own, in the file's order") {
  const auto config = read(url_line + R"(
[jobs.z_sweep]
kind = "sweep"
every = "1s"
batch_size = 7
[jobs.report]
enabled = false
[jobs.a_sweep]
kind = "sweep"
once = 2026-11-22T00:01:00+05:30
)");
  std::vector<std::string> names;
  for (const auto& each : config.jobs) names.push_back(each.name + " " + each.kind);
  CHECK(names ==
        std::vector<std::string>{"sweep sweep", "report report", "z_sweep sweep", "a_sweep sweep"});
  CHECK_FALSE(job(config, "report").enabled);
  CHECK(job(config, "z_sweep").settings.integer("batch_size") == 7);
  CHECK(job(config, "sweep").settings.integer("batch_size") == 500);
  const auto& once = std::get<schedule::Once>(job(config, "a_sweep").trigger.rule());
  CHECK(to_iso8601(once.moment) == "2026-11-21T18:31:00Z");
  const auto text = config::print(config, kinds());
  CHECK(config::print(read(text), kinds()) == text);
}

TEST_CASE("a job's own zone is printed, the platform's is not") {
  const auto text = config::print(read(url_line + "[jobs.report]\nat = \"00:01\"\n"
                                                  "timezone = \"America/New_York\"\n"),
                                  kinds());
  CHECK(text.find("at = \"00:01\"\ntimezone = \"America/New_York\"\n") != std::string::npos);
  CHECK(text.find("every = \"5m\"\nenabled") != std::string::npos);
}

TEST_CASE("settings hold what was declared, and nothing else") {
  config::Settings settings(kinds()[0].settings);
  CHECK(settings.duration("grace") == 2min);
  settings.set("grace", Duration{1s});
  CHECK(settings.duration("grace") == 1s);
  CHECK_THROWS_AS(settings.integer("grace"), std::logic_error);
  CHECK_THROWS_AS(settings.flag("gracious"), std::logic_error);
  CHECK_THROWS_AS(settings.set("grace", true), std::logic_error);
  CHECK_THROWS_AS(settings.set("gracious", true), std::logic_error);
  const std::vector<config::Setting> twice = {kinds()[0].settings[0], kinds()[0].settings[0]};
  CHECK_THROWS_AS(config::Settings(twice), std::logic_error);
}

TEST_CASE("a kind whose default trigger is wrong is the program's fault") {
  for (const auto* trigger : {"", "every", "every = \"0s\"", "every = \"1s\"\nat = \"00:01\""}) {
    const std::vector<config::KindInfo> wrong = {
        {.name = "x", .summary = "", .default_trigger = trigger}};
    CHECK_THROWS_AS(config::parse(url_line, "f", wrong, no_environment()), std::logic_error);
  }
}

TEST_CASE("passwords may lie in files, or be handed over by the service manager") {
  const auto given = read(
      "[postgres]\nurl = \"postgresql://u@db\"\npassword_file = \"/run/secrets/pg\"\n"
      "[redis]\npassword_file = \"/run/secrets/redis\"\n");
  CHECK(given.postgres.password.file == "/run/secrets/pg");
  CHECK(given.postgres.password.credential.empty());
  CHECK(given.redis.password.file == "/run/secrets/redis");
  const auto handed_over = read("postgres.url = \"postgresql://u@db\"",
                                environment_of({{"CREDENTIALS_DIRECTORY", "/run/cred/s"}}));
  CHECK(handed_over.postgres.password.file.empty());
  CHECK(handed_over.postgres.password.credential == "/run/cred/s/postgres.password");
  CHECK(handed_over.redis.password.credential == "/run/cred/s/redis.password");
  CHECK(handed_over.redis.sentinel_password.credential == "/run/cred/s/sentinel.password");
  CHECK(config::print(handed_over, kinds()).find("/run/cred") == std::string::npos);

  const auto sentinels = read(
      url_line +
      "redis = { url = \"redis+sentinel://:main@a,b:1/m/2\", sentinel_password_file = \"/s\" }");
  CHECK(sentinels.redis.sentinel_password.file == "/s");
  CHECK(config::print(sentinels, kinds()).find("\"redis+sentinel://:***@a,b:1/m/2\"") !=
        std::string::npos);
}

TEST_CASE("a password in the URL and one in a file are one too many") {
  const std::string toml = url_line +
                           "postgres.password_file = \"/p\"\n"
                           "redis = { url = \"redis://:secret@h\", password_file = \"/r\" }\n";
  const auto loaded = config::parse(toml, "f", kinds(), no_environment());
  CHECK(texts_of(loaded) ==
        std::vector<std::string>{
            "f:2:26: postgres.password_file: the URL holds a password, too; allowed: one of them",
            "f:3:54: redis.password_file: the URL holds a password, too; allowed: one of them"});
  const auto sentinels =
      config::parse(url_line +
                        "[redis]\nurl = \"redis+sentinel://:main@a,b/m?sentinel_password=secret\"\n"
                        "sentinel_password_file = \"/s\"\n",
                    "f", kinds(), no_environment());
  CHECK(texts_of(sentinels) ==
        std::vector<std::string>{"f:4:26: redis.sentinel_password_file: the URL holds a "
                                 "sentinel_password, too; allowed: one of them"});
  // A variable of the environment overrides what is in the file.
  const auto config = read("postgres = { url = \"postgresql://u@db\", password_file = \"/p\" }",
                           environment_of({{"DATABASE_URL", "postgresql://u:other@db"}}));
  CHECK(config.postgres.url == "postgresql://u:other@db");
}

TEST_CASE("a password in a path's place is not shown") {
  for (const auto* value : {"\"secret\"", "\"./secret\""}) {
    const auto loaded = config::parse(
        "postgres = { url = \"postgresql://\", password_file = " + std::string(value) + " }", "f",
        kinds(), no_environment());
    CHECK(texts_of(loaded) ==
          std::vector<std::string>{"f:1:53: postgres.password_file: found text; allowed: an "
                                   "absolute path in quotes, or \"\""});
  }
}
