#include <algorithm>
#include <thread>

#include "catch.hpp"
#include "saathii/base/errors.hpp"
#include "saathii/jobs/moment.hpp"
#include "saathii/postgres/session.hpp"
#include "support/job_bench.hpp"

namespace saathii::test {

namespace {

// 00:01 on 2030-01-15 in Asia/Kolkata, five and a half hours ahead of UTC.
const Instant T = at("2030-01-14T18:31:00Z");
const Instant previous_noon = at("2030-01-14T06:30:00Z");

struct Badges : JobBench {
  Badges() : JobBench("badge_assignment") {}

  int listener() { return db.add_user("listener"); }

  int talk(int listener, Instant start, std::optional<int> duration_minutes,
           std::optional<std::string> status = "completed") {
    return db.add_call({.user_id = caller,
                        .listener_id = listener,
                        .start_time = start,
                        .status = std::move(status),
                        .end_time = start + std::chrono::minutes{duration_minutes.value_or(0)},
                        .duration_minutes = duration_minutes});
  }

  /// "" where there is none.
  std::string badge(int listener, const std::string& date = "2030-01-15") {
    return db.rows(
        fmt::format("SELECT badge FROM listener_badges WHERE listener_id = {} AND "
                    "date = '{}'",
                    listener, date));
  }

  int caller = db.add_user();
};

std::vector<std::int64_t> numbers(const jobs::Report& report) {
  std::vector<std::int64_t> all;
  for (const auto& count : report.counts) {
    all.push_back(count.second);
  }
  return all;
}

using Numbers = std::vector<std::int64_t>;

}  // namespace

TEST_CASE("badges: talk time of the day before decides, at the exact thresholds") {
  Badges bench;
  const std::vector<std::pair<int, std::string>> cases = {
      {0, "basic|1.00|6.00"},    {179, "basic|1.00|6.00"},    {180, "bronze|1.25|7.00"},
      {359, "bronze|1.25|7.00"}, {360, "silver|1.50|8.50"},   {539, "silver|1.50|8.50"},
      {540, "gold|1.80|10.00"},  {100'000, "gold|1.80|10.00"}};
  std::vector<int> listeners;
  for (const auto& [minutes, row] : cases) {
    listeners.push_back(bench.listener());
    bench.talk(listeners.back(), previous_noon, minutes / 2);
    bench.talk(listeners.back(), previous_noon, minutes - minutes / 2, "dropped");
  }
  const auto report = bench.run(T);
  for (std::size_t index = 0; index < cases.size(); ++index) {
    CAPTURE(cases[index].first);
    CHECK(bench.db.rows(fmt::format("SELECT badge, audio_rate_per_minute, video_rate_per_minute "
                                    "FROM listener_badges WHERE date = '2030-01-15' AND "
                                    "listener_id = {}",
                                    listeners[index])) == cases[index].second);
  }
  CHECK(numbers(report) == Numbers{2, 2, 2, 2, 0});
  CHECK(report.counts[0].first == "basic");
  CHECK(report.counts[3].first == "gold");
  CHECK(report.counts[4].first == "errors");
}

TEST_CASE("badges: each listener gets one, also without calls, and nobody else does") {
  Badges bench;
  const int idle = bench.listener();
  const int customer = bench.db.add_user("customer");
  const int neither = bench.db.add_user("");
  const int both = bench.listener();
  bench.db.exec(
      fmt::format("INSERT INTO user_roles (user_id, role) VALUES ({}, 'customer')", both));
  bench.talk(customer, previous_noon, 600);
  CHECK(numbers(bench.run(T)) == Numbers{2, 0, 0, 0, 0});
  CHECK(bench.badge(idle) == "basic");
  CHECK(bench.badge(both) == "basic");
  CHECK(bench.badge(customer).empty());
  CHECK(bench.badge(neither).empty());
}

TEST_CASE("badges: the day is the local one of the run's moment") {
  Badges bench;
  const int listener = bench.listener();
  bench.talk(listener, previous_noon, 200);
  bench.run(at("2030-01-14T18:29:59.999999Z"));
  CHECK(bench.badge(listener, "2030-01-14") == "basic");
  CHECK(bench.badge(listener, "2030-01-15").empty());
  bench.run(at("2030-01-14T18:30:00Z"));
  CHECK(bench.badge(listener, "2030-01-15") == "bronze");
  CHECK(bench.badge(listener, "2030-01-14") == "basic");
}

TEST_CASE("badges: a tick's day is given though the database's clock is still in the day before") {
  Badges bench;
  const int listener = bench.listener();
  // A zone in which the database's next full hour is midnight.
  const auto hour = std::chrono::hours{1};
  const Instant now =
      at(bench.db.value("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', "
                        "'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"));
  const Instant midnight = std::chrono::floor<std::chrono::hours>(now) + hour;
  const auto past_midnight = midnight - std::chrono::floor<std::chrono::days>(midnight);
  const auto hours_behind_utc = past_midnight / hour;
  bench.platform.timezone = hours_behind_utc <= 12
                                ? fmt::format("Etc/GMT+{}", hours_behind_utc)
                                : fmt::format("Etc/GMT-{}", 24 - hours_behind_utc);
  const auto local_date = [&](Instant moment) {
    return bench.db.value(fmt::format("SELECT ('{}'::timestamptz AT TIME ZONE '{}')::date",
                                      to_iso8601(moment), bench.platform.timezone));
  };
  const std::string day = local_date(midnight);
  REQUIRE(day != local_date(midnight - std::chrono::microseconds{1}));
  bench.run_tick(midnight);
  CHECK(bench.badge(listener, day) == "basic");

  // Hours ahead it is the daemon's clock that is wrong.
  const std::string far_day = local_date(midnight + 48 * hour);
  bench.run_tick(midnight + 48 * hour);
  CHECK(bench.badge(listener, far_day).empty());
}

TEST_CASE("badges: a tick counts where the other clock is behind it by an hour at most") {
  const Instant tick = T;
  const auto hour = std::chrono::hours{1};
  const auto instant = std::chrono::microseconds{1};
  CHECK(jobs::not_before_tick(tick - instant, tick) == tick);
  CHECK(jobs::not_before_tick(tick - hour, tick) == tick);
  CHECK(jobs::not_before_tick(tick - hour - instant, tick) == tick - hour - instant);
  CHECK(jobs::not_before_tick(tick, tick) == tick);
  CHECK(jobs::not_before_tick(tick + instant, tick) == tick + instant);
  CHECK(jobs::not_before_tick(tick, {}) == tick);
}

TEST_CASE("badges: a call counts whole on the day in which it started") {
  Badges bench;
  const int before = bench.listener();
  const int first = bench.listener();
  const int last = bench.listener();
  const int after = bench.listener();
  bench.talk(before, at("2030-01-13T18:29:59.999999Z"), 600);
  bench.talk(first, at("2030-01-13T18:30:00Z"), 600);
  bench.talk(last, at("2030-01-14T18:29:59.999999Z"), 600);
  bench.talk(after, at("2030-01-14T18:30:00Z"), 600);
  bench.run(T);
  CHECK(bench.badge(before) == "basic");
  CHECK(bench.badge(first) == "gold");
  CHECK(bench.badge(last) == "gold");
  CHECK(bench.badge(after) == "basic");
  bench.run(T + std::chrono::hours{24});
  CHECK(bench.badge(last, "2030-01-16") == "basic");
  CHECK(bench.badge(after, "2030-01-16") == "gold");
}

TEST_CASE("badges: days of 23 and of 25 hours") {
  Badges bench;
  bench.platform.timezone = "Europe/Berlin";
  const int early = bench.listener();
  const int late = bench.listener();
  // 2030-03-31 lasts from 23:00Z to 22:00Z, 2030-10-27 from 22:00Z to 23:00Z.
  bench.talk(early, at("2030-03-30T23:00:00Z"), 180);
  bench.talk(late, at("2030-03-31T22:00:00Z"), 180);
  bench.run(at("2030-03-31T22:01:00Z"));
  CHECK(bench.badge(early, "2030-04-01") == "bronze");
  CHECK(bench.badge(late, "2030-04-01") == "basic");
  bench.talk(early, at("2030-10-26T22:00:00Z"), 180);
  bench.talk(late, at("2030-10-27T22:59:59Z"), 180);
  bench.run(at("2030-10-27T23:01:00Z"));
  CHECK(bench.badge(early, "2030-10-28") == "bronze");
  CHECK(bench.badge(late, "2030-10-28") == "bronze");
}

TEST_CASE("badges: a midnight that comes twice, and one that never comes") {
  Badges bench;
  const int first = bench.listener();
  const int second = bench.listener();
  // Havana, 2023-11-05: at 01:00 the clock goes back to midnight, so that the
  // day begins at 04:00Z and midnight is shown again at 05:00Z.
  bench.platform.timezone = "America/Havana";
  bench.talk(first, at("2023-11-05T03:59:59Z"), 180);
  bench.talk(second, at("2023-11-05T04:00:00Z"), 180);
  bench.run(at("2023-11-05T05:01:00Z"));
  CHECK(bench.badge(first, "2023-11-05") == "bronze");
  CHECK(bench.badge(second, "2023-11-05") == "basic");
  bench.run(at("2023-11-06T05:01:00Z"));
  CHECK(bench.badge(first, "2023-11-06") == "basic");
  CHECK(bench.badge(second, "2023-11-06") == "bronze");
  // São Paulo, 2018-11-04: midnight is skipped, the day begins at 03:00Z.
  bench.platform.timezone = "America/Sao_Paulo";
  bench.talk(first, at("2018-11-04T02:59:59Z"), 180);
  bench.talk(second, at("2018-11-04T03:00:00Z"), 180);
  bench.run(at("2018-11-04T03:01:00Z"));
  CHECK(bench.badge(first, "2018-11-04") == "bronze");
  CHECK(bench.badge(second, "2018-11-04") == "basic");
  bench.run(at("2018-11-05T02:01:00Z"));
  CHECK(bench.badge(first, "2018-11-05") == "basic");
  CHECK(bench.badge(second, "2018-11-05") == "bronze");
}

TEST_CASE("badges: which calls count is configured by their status") {
  Badges bench;
  const int completed = bench.listener();
  const int dropped = bench.listener();
  const int ongoing = bench.listener();
  const int unknown = bench.listener();
  bench.talk(completed, previous_noon, 200, "completed");
  bench.talk(dropped, previous_noon, 200, "dropped");
  bench.talk(ongoing, previous_noon, 200, "ongoing");
  bench.talk(unknown, previous_noon, 200, std::nullopt);
  CHECK(numbers(bench.run(T)) == Numbers{2, 2, 0, 0, 0});
  CHECK(bench.badge(completed) == "bronze");
  CHECK(bench.badge(dropped) == "bronze");
  bench.platform.badges.count_status = {"completed"};
  CHECK(numbers(bench.run(T)) == Numbers{3, 1, 0, 0, 0});
  CHECK(bench.badge(dropped) == "basic");
}

TEST_CASE("badges: NULL minutes are none, and a call without a listener is nobody's") {
  Badges bench;
  const int listener = bench.listener();
  bench.talk(listener, previous_noon, std::nullopt);
  bench.talk(listener, previous_noon, 180);
  bench.db.exec(
      fmt::format("INSERT INTO user_calls (user_id, start_time, status, "
                  "duration_minutes) VALUES ({}, '2030-01-14 06:30Z', 'completed', 600)",
                  bench.caller));
  CHECK(numbers(bench.run(T)) == Numbers{0, 1, 0, 0, 0});
  const int silent = bench.listener();
  bench.talk(silent, previous_noon, std::nullopt);
  bench.talk(silent, previous_noon, -5);
  CHECK(numbers(bench.run(T)) == Numbers{1, 1, 0, 0, 0});
}

TEST_CASE("badges: running again changes nothing") {
  Badges bench;
  bench.talk(bench.listener(), previous_noon, 400);
  bench.listener();
  const std::string all =
      "SELECT listener_id, badge, assigned_at, updated_at, xmin FROM "
      "listener_badges ORDER BY listener_id, date";
  const auto report = bench.run(T);
  const auto rows = bench.db.rows(all);
  const auto again = bench.run(T + std::chrono::hours{3});
  CHECK(bench.db.rows(all) == rows);
  CHECK(numbers(again) == numbers(report));
}

TEST_CASE("badges: what is wrong is put right, other days are left alone") {
  Badges bench;
  const int listener = bench.listener();
  for (const char* date : {"2030-01-14", "2030-01-15", "2030-01-16"}) {
    bench.db.exec(
        fmt::format("INSERT INTO listener_badges (listener_id, date, badge, "
                    "audio_rate_per_minute, video_rate_per_minute, updated_at) "
                    "VALUES ({}, '{}', NULL, 9, 9, NULL)",
                    listener, date));
  }
  bench.run(T);
  CHECK(bench.db.rows("SELECT date, badge, audio_rate_per_minute, updated_at IS NULL FROM "
                      "listener_badges ORDER BY date") ==
        "2030-01-14||9.00|t;2030-01-15|basic|1.00|f;2030-01-16||9.00|t");
  bench.platform.badges.tiers[0].audio_paise = 110;
  bench.run(T);
  CHECK(bench.db.value("SELECT audio_rate_per_minute FROM listener_badges WHERE "
                       "date = '2030-01-15'") == "1.10");
}

TEST_CASE("badges: a past day can be run by its moment") {
  Badges bench;
  const int listener = bench.listener();
  bench.talk(listener, at("2024-02-29T12:00:00Z"), 540);
  bench.run(at("2024-03-01T06:00:00Z"));
  CHECK(bench.badge(listener, "2024-03-01") == "gold");
  CHECK(bench.db.value("SELECT count(*) FROM listener_badges") == "1");
}

TEST_CASE("badges: without a moment it is the database's day") {
  Badges bench;
  bench.platform.timezone = "UTC";
  const int listener = bench.listener();
  bench.run(std::nullopt);
  // Midnight may have passed in between, but not two of them.
  CHECK(bench.db.value(fmt::format("SELECT count(*) FROM listener_badges WHERE listener_id = {} "
                                   "AND date >= (now() AT TIME ZONE 'UTC')::date - 1",
                                   listener)) == "1");
}

TEST_CASE("badges: thresholds and rates are configured") {
  Badges bench;
  auto& tiers = bench.platform.badges.tiers;
  tiers[1] = {"bronze", std::chrono::minutes{1}, 1, 99'999};
  tiers[2] = {"silver", std::chrono::minutes{2} + std::chrono::microseconds{1}, 200, 200};
  const int one = bench.listener();
  const int two = bench.listener();
  const int three = bench.listener();
  bench.talk(one, previous_noon, 1);
  bench.talk(two, previous_noon, 2);
  bench.talk(three, previous_noon, 3);
  CHECK(numbers(bench.run(T)) == Numbers{0, 2, 1, 0, 0});
  CHECK(bench.db.value(fmt::format("SELECT audio_rate_per_minute || ' ' || video_rate_per_minute "
                                   "FROM listener_badges WHERE listener_id = {}",
                                   two)) == "0.01 999.99");
}

TEST_CASE("badges: many listeners take several statements") {
  Badges bench;
  bench.settings.set("batch_size", std::int64_t{3});
  for (int index = 0; index < 10; ++index) {
    bench.talk(bench.listener(), previous_noon, index < 4 ? 180 : 540);
  }
  CHECK(numbers(bench.run(T)) == Numbers{0, 4, 0, 6, 0});
}

TEST_CASE("badges: a user who is deleted between our read and our write loses nobody else's") {
  Badges bench;
  std::vector<int> listeners;
  for (int index = 0; index < 5; ++index) {
    listeners.push_back(bench.listener());
    bench.talk(listeners.back(), previous_noon, 180);
  }
  pqxx::connection api(bench.db.owner_url());
  pqxx::work deletion(api);
  deletion.exec(fmt::format("DELETE FROM users WHERE user_id = {}", listeners[2]));
  jobs::Report report;
  std::thread worker([&] { report = bench.run(T); });
  // The foreign key's check waits for the deletion; then it fails.
  while (bench.db.value("SELECT count(*) FROM pg_stat_activity WHERE usename = 'saathiid' AND "
                        "datname = current_database() AND wait_event_type = 'Lock'") == "0") {
    std::this_thread::yield();
  }
  deletion.commit();
  worker.join();
  CHECK(numbers(report) == Numbers{0, 4, 0, 0, 0});
  CHECK(bench.db.value("SELECT count(*) FROM listener_badges") == "4");
}

TEST_CASE("badges: a row that somebody holds is an error of that listener alone") {
  Badges bench;
  std::vector<int> listeners;
  for (int index = 0; index < 5; ++index) {
    listeners.push_back(bench.listener());
  }
  bench.run(T);
  bench.db.exec("UPDATE listener_badges SET badge = 'gold'");
  pqxx::connection admin(bench.db.owner_url());
  pqxx::work edit(admin);
  edit.exec(
      fmt::format("SELECT FROM listener_badges WHERE listener_id = {} FOR UPDATE", listeners[3]));
  auto impatient = bench.db.daemon_settings();
  impatient.lock_timeout = std::chrono::milliseconds{20};
  postgres::Pool pool(impatient, bench.postgres_state);
  const auto report = bench.job->run({T, bench.settings, bench.platform, pool, bench.redis, {}});
  CHECK(numbers(report) == Numbers{4, 0, 0, 0, 1});
  CHECK(bench.badge(listeners[3]) == "gold");
  edit.commit();
  CHECK(numbers(bench.run(T)) == Numbers{5, 0, 0, 0, 0});
  CHECK(bench.badge(listeners[3]) == "basic");
}

TEST_CASE("badges: a fault of all is not counted listener by listener for ever") {
  Badges bench;
  bench.settings.set("batch_size", std::int64_t{16});
  bench.platform.badges.tiers[0].audio_paise = 100'000'000;
  for (int index = 0; index < 3; ++index) {
    bench.listener();
  }
  CHECK(numbers(bench.run(T)) == Numbers{0, 0, 0, 0, 3});
  for (int index = 0; index < 100; ++index) {
    bench.listener();
  }
  CHECK_THROWS_WITH(bench.run(T), Catch::Matchers::ContainsSubstring("more than 100 listeners"));
}

TEST_CASE("badges: a fault of rights ends the run at once") {
  Badges bench;
  bench.listener();
  bench.db.exec("REVOKE INSERT ON listener_badges FROM saathiid");
  CHECK_THROWS_WITH(bench.run(T), Catch::Matchers::ContainsSubstring("permission denied"));
}

TEST_CASE("badges: an unknown zone and a stop end the run, nothing is written") {
  Badges bench;
  bench.listener();
  bench.platform.timezone = "Asia/Atlantis";
  CHECK_THROWS_WITH(bench.run(T), Catch::Matchers::ContainsSubstring("Asia/Atlantis"));
  bench.platform.timezone = "UTC";
  std::stop_source stop;
  stop.request_stop();
  CHECK_THROWS_AS(bench.run(T, stop.get_token()), Stopped);
  CHECK(bench.db.value("SELECT count(*) FROM listener_badges") == "0");
}

}  // namespace saathii::test
