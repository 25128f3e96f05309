#include "saathii/jobs/status_events.hpp"

#include <nlohmann/json.hpp>

#include "catch.hpp"
#include "saathii/base/errors.hpp"
#include "saathii/jobs/moment.hpp"
#include "support/job_bench.hpp"

namespace saathii::test {

namespace {

const Instant T = at("2030-01-15T10:00:00Z");

struct Events : JobBench {
  explicit Events(Redis redis_is = Redis::dead) : JobBench("presence_cleanup", redis_is) {}

  jobs::Context context(std::stop_token stop = {}) {
    return {T, settings, platform, pool, redis, std::move(stop)};
  }

  std::vector<nlohmann::json> messages(const std::vector<int>& users) {
    const auto lease = pool.lease({});
    std::vector<nlohmann::json> parsed;
    for (const auto& command : jobs::status_updates(*lease, users, T)) {
      CHECK(command.at(0) == "PUBLISH");
      CHECK(command.at(1) == "status_updates");
      CHECK(command.size() == 3);
      parsed.push_back(nlohmann::json::parse(command.at(2)));
    }
    return parsed;
  }

  std::int64_t publish(const std::vector<int>& users, std::stop_token stop = {}) {
    const auto lease = pool.lease({});
    return jobs::publish_status(context(std::move(stop)), *lease, users, T);
  }
};

}  // namespace

TEST_CASE("moments are written as Python's isoformat() does") {
  CHECK(jobs::to_isoformat(T) == "2030-01-15T10:00:00+00:00");
  CHECK(jobs::to_isoformat(T + std::chrono::microseconds{120}) ==
        "2030-01-15T10:00:00.000120+00:00");
}

TEST_CASE("a status update says what the database says") {
  Events bench;
  const int busy = bench.db.add_user("listener", "Zoë \"Q\"");
  bench.db.add_status(busy, {.is_online = true, .last_seen = T, .is_busy = true, .wait_time = 12});
  const int free = bench.db.add_user();
  bench.db.add_status(free, {.is_online = true, .last_seen = T, .is_busy = false});
  const auto all = bench.messages({free, busy});
  REQUIRE(all.size() == 2);
  CHECK(all[0]["type"] == "status_update");
  CHECK(all[0]["user_id"] == busy);
  CHECK(all[0]["timestamp"] == "2030-01-15T10:00:00+00:00");
  CHECK(all[0]["data"].size() == 9);
  CHECK(all[0]["data"]["user_id"] == busy);
  CHECK(all[0]["data"]["username"] == "Zoë \"Q\"");
  CHECK(all[0]["data"]["is_online"] == true);
  CHECK(all[0]["data"]["is_busy"] == true);
  CHECK(all[0]["data"]["wait_time"] == 12);
  CHECK(all[0]["data"]["is_available"] == false);
  CHECK(all[0]["data"]["last_seen"] == "2030-01-15T10:00:00+00:00");
  CHECK(all[0]["data"]["timestamp"] == "2030-01-15T10:00:00+00:00");
  CHECK(all[1]["data"]["is_available"] == true);
  CHECK(all[1]["data"]["wait_time"].is_null());
}

TEST_CASE("NULLs and a missing status row are an offline user, and one who is gone is absent") {
  Events bench;
  const int nulls = bench.db.add_user();
  bench.db.add_status(nulls, {});
  const int bare = bench.db.add_user();
  const int endless = bench.db.add_user();
  bench.db.add_status(endless, {.is_online = true});
  bench.db.exec(
      fmt::format("UPDATE user_status SET last_seen = 'infinity' WHERE user_id = {}", endless));
  const int gone = bench.db.add_user();
  bench.db.delete_user(gone);
  const auto all = bench.messages({nulls, bare, endless, gone, bare});
  REQUIRE(all.size() == 3);
  for (const auto& message : all) {
    CHECK(message["data"]["is_busy"] == false);
    CHECK(message["data"]["last_seen"].is_null());
    CHECK(message["data"]["profile_image_url"].is_null());
  }
  CHECK(all[0]["data"]["is_online"] == false);
  CHECK(all[1]["data"]["is_online"] == false);
  CHECK(all[2]["data"]["is_online"] == true);
  CHECK(bench.messages({}).empty());
}

TEST_CASE("many updates are published in parts, none lost and none twice") {
  Events bench(Redis::real);
  bench.db.exec(
      "INSERT INTO users (username, dob, phone) SELECT 'u' || n, '1990-01-01', n "
      "FROM generate_series(1, 2500) AS n");
  std::vector<int> users;
  for (const auto& row : bench.db.exec("SELECT user_id FROM users ORDER BY 1")) {
    users.push_back(row[0].as<int>());
  }
  Subscriber subscriber(*bench.redis_server, {"status_updates"});
  CHECK(bench.publish(users) == 0);
  const auto messages = bench.published(subscriber);
  REQUIRE(messages.size() == 2500);
  for (std::size_t index = 0; index < users.size(); ++index) {
    if (nlohmann::json::parse(messages[index].payload)["user_id"] != users[index]) {
      FAIL("message " << index << " is of another user");
    }
  }
}

TEST_CASE("what Redis did not get is counted, and fails nothing") {
  Events bench;
  const std::vector<int> users = {bench.db.add_user(), bench.db.add_user()};
  CHECK(bench.publish(users) == 2);
  CHECK(bench.publish({}) == 0);
  CHECK(bench.redis_state.snapshot().state == ServerState::State::down);
}

TEST_CASE("a stop ends the publishing") {
  Events bench;
  std::stop_source stop;
  stop.request_stop();
  CHECK_THROWS_AS(bench.publish({1}, stop.get_token()), Stopped);
}

TEST_CASE("the moment of a run is the one asked for, else the database's now") {
  Events bench;
  const auto lease = bench.pool.lease({});
  CHECK(jobs::moment_of_run(bench.context(), *lease) == T);
  const auto database_now = [&] {
    return at(
        bench.db.value("SELECT to_char(clock_timestamp(), 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"));
  };
  const auto before = database_now();
  const jobs::Context now{std::nullopt, bench.settings, bench.platform,
                          bench.pool,   bench.redis,    {}};
  const auto moment = jobs::moment_of_run(now, *lease);
  CHECK(before <= moment);
  CHECK(moment <= database_now());
}

}  // namespace saathii::test
