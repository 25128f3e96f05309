#include <nlohmann/json.hpp>

#include "catch.hpp"
#include "saathii/base/errors.hpp"
#include "saathii/postgres/session.hpp"
#include "support/job_bench.hpp"

namespace saathii::test {

namespace {

using std::chrono::microseconds;
using std::chrono::minutes;
using std::chrono::seconds;

const Instant T = at("2030-01-15T10:00:00Z");

struct Presence : JobBench {
  explicit Presence(Redis redis_is = Redis::dead) : JobBench("presence_cleanup", redis_is) {}

  int add(const PlatformDb::Status& status) {
    const int user = db.add_user();
    db.add_status(user, status);
    return user;
  }

  int add_busy(std::optional<Instant> updated_at, std::optional<int> wait_time = 5) {
    return add({.is_online = true,
                .last_seen = T,
                .is_busy = true,
                .wait_time = wait_time,
                .updated_at = updated_at});
  }

  bool is_online(int user) { return flag("is_online", user); }
  bool is_busy(int user) { return flag("is_busy", user); }

  bool flag(const std::string& column, int user) {
    return db.value<bool>(
        fmt::format("SELECT {} FROM user_status WHERE user_id = {}", column, user));
  }

  void end_call(int call, Instant end) {
    db.exec(
        fmt::format("UPDATE user_calls SET status = 'completed', end_time = {} "
                    "WHERE call_id = {}",
                    PlatformDb::literal(end), call));
  }
};

}  // namespace

TEST_CASE("presence: online and not seen for longer than inactive_after is offline") {
  Presence bench;
  const int gone = bench.add({.is_online = true, .last_seen = T - minutes{5} - microseconds{1}});
  const int at_limit = bench.add({.is_online = true, .last_seen = T - minutes{5}});
  const int here = bench.add({.is_online = true, .last_seen = T});
  const int never_seen = bench.add({.is_online = true});
  const auto report = bench.run(T);
  CHECK_FALSE(bench.is_online(gone));
  CHECK(bench.is_online(at_limit));
  CHECK(bench.is_online(here));
  CHECK_FALSE(bench.is_online(never_seen));
  CHECK(count_of(report, "offline") == 2);
  CHECK(count_of(report, "online") == 2);
  CHECK(bench.db.value<int>(
            "SELECT count(*) FROM user_status WHERE NOT is_online AND updated_at IS NOT NULL") ==
        2);
}

TEST_CASE("presence: inactive_after is a setting") {
  Presence bench;
  bench.settings.set("inactive_after", Duration{minutes{30}});
  const int user = bench.add({.is_online = true, .last_seen = T - minutes{29}});
  bench.run(T);
  CHECK(bench.is_online(user));
  bench.run(T + minutes{2});
  CHECK_FALSE(bench.is_online(user));
}

TEST_CASE("presence: going offline leaves the rest of the row alone") {
  Presence bench;
  const int caller =
      bench.add({.is_online = true, .last_seen = T - minutes{6}, .is_busy = true, .wait_time = 7});
  bench.db.add_call({.user_id = caller,
                     .listener_id = bench.db.add_user("listener"),
                     .start_time = T - minutes{6}});
  bench.run(T);
  CHECK(bench.db.rows("SELECT is_online, is_busy, wait_time, last_seen = '2030-01-15 09:54Z' "
                      "FROM user_status") == "f|t|7|t");
}

TEST_CASE("presence: busy with a wait_time of 0 or less and no ongoing call is free at once") {
  Presence bench;
  const int zero = bench.add_busy(T, 0);
  const int negative = bench.add_busy(T, -3);
  const int one = bench.add_busy(T, 1);
  const auto report = bench.run(T);
  CHECK_FALSE(bench.is_busy(zero));
  CHECK_FALSE(bench.is_busy(negative));
  CHECK(bench.is_busy(one));
  CHECK(count_of(report, "busy_cleared") == 2);
  CHECK(bench.db.value<int>("SELECT count(*) FROM user_status WHERE wait_time IS NULL") == 2);
}

TEST_CASE("presence: busy without any call for longer than the grace is free") {
  Presence bench;
  const int stuck = bench.add_busy(T - minutes{1} - microseconds{1});
  const int fresh = bench.add_busy(T - minutes{1});
  const int ageless = bench.add_busy(std::nullopt, std::nullopt);
  bench.run(T);
  CHECK_FALSE(bench.is_busy(stuck));
  CHECK(bench.is_busy(fresh));
  CHECK_FALSE(bench.is_busy(ageless));
}

TEST_CASE("presence: the grace counts from the end of the latest call, on either side of it") {
  Presence bench;
  // A heartbeat has just touched the row; it must not keep the flag up.
  const int caller = bench.add_busy(T);
  const int listener = bench.add_busy(T);
  const int other = bench.db.add_user("listener");
  bench.db.add_call({.user_id = caller,
                     .listener_id = other,
                     .start_time = T - minutes{90},
                     .status = "completed",
                     .end_time = T - minutes{60}});
  const int call = bench.db.add_call({.user_id = caller,
                                      .listener_id = listener,
                                      .start_time = T - minutes{10},
                                      .status = "dropped",
                                      .end_time = T - seconds{60}});
  bench.run(T);
  CHECK(bench.is_busy(caller));
  CHECK(bench.is_busy(listener));
  bench.end_call(call, T - seconds{61});
  const auto report = bench.run(T);
  CHECK_FALSE(bench.is_busy(caller));
  CHECK_FALSE(bench.is_busy(listener));
  CHECK(count_of(report, "busy_cleared") == 2);
}

TEST_CASE("presence: a user with an ongoing call is never cleared") {
  Presence bench;
  const int caller = bench.add_busy(std::nullopt, 0);
  const int listener = bench.add_busy(std::nullopt, -1);
  const int other = bench.db.add_user("listener");
  bench.db.add_call(
      {.user_id = caller, .listener_id = listener, .start_time = T - std::chrono::hours{72}});
  bench.db.add_call({.user_id = caller,
                     .listener_id = other,
                     .start_time = T - std::chrono::hours{80},
                     .status = "completed",
                     .end_time = T - std::chrono::hours{79}});
  CHECK(count_of(bench.run(T), "busy_cleared") == 0);
  CHECK(bench.is_busy(caller));
  CHECK(bench.is_busy(listener));
}

TEST_CASE("presence: NULL in a flag is false, and stays") {
  Presence bench;
  bench.add({.last_seen = T - std::chrono::hours{1}, .wait_time = 0});
  const auto report = bench.run(T);
  CHECK(count_of(report, "offline") == 0);
  CHECK(count_of(report, "busy_cleared") == 0);
  CHECK(count_of(report, "online") == 0);
  CHECK(bench.db.rows("SELECT is_online, is_busy, wait_time FROM user_status") == "||0");
}

TEST_CASE("presence: users without a status row, and no users at all, are no fault") {
  Presence bench;
  CHECK(count_of(bench.run(T), "online") == 0);
  bench.db.add_user();
  CHECK(count_of(bench.run(T), "online") == 0);
}

TEST_CASE("presence: many users take several batches, and each is looked at once") {
  Presence bench;
  bench.settings.set("batch_size", std::int64_t{3});
  for (int user = 0; user < 10; ++user) {
    bench.add({.is_online = true, .last_seen = T - minutes{6}, .is_busy = true});
    bench.add({.is_online = true, .last_seen = T, .is_busy = true, .updated_at = T});
  }
  const auto report = bench.run(T);
  CHECK(count_of(report, "offline") == 10);
  CHECK(count_of(report, "busy_cleared") == 10);
  CHECK(count_of(report, "online") == 10);
  CHECK(count_of(bench.run(T), "offline") == 0);
}

TEST_CASE("presence: a row that a heartbeat holds is skipped, not waited for") {
  Presence bench;
  bench.settings.set("batch_size", std::int64_t{2});
  std::vector<int> users;
  for (int user = 0; user < 5; ++user) {
    users.push_back(bench.add({.is_online = true, .last_seen = T - minutes{6}, .is_busy = true}));
  }
  pqxx::connection api(bench.db.owner_url());
  pqxx::work heartbeat(api);
  for (const int user : {users[0], users[3]}) {
    heartbeat.exec(fmt::format("UPDATE user_status SET last_seen = {} WHERE user_id = {}",
                               PlatformDb::literal(T), user));
  }
  // A wait would end as LockTimeout.
  const auto report = bench.run(T);
  CHECK(count_of(report, "offline") == 3);
  CHECK(count_of(report, "busy_cleared") == 3);
  heartbeat.commit();
  CHECK(bench.is_online(users[0]));
  CHECK_FALSE(bench.is_online(users[1]));
  CHECK(bench.is_online(users[3]));
  CHECK(count_of(bench.run(T), "busy_cleared") == 2);
}

TEST_CASE("presence: a call that begins while we look keeps its parties busy") {
  Presence bench;
  const int caller = bench.add_busy(std::nullopt, 0);
  const int listener = bench.db.add_user("listener");
  // Reading the row of a busy user begins a call: find_stuck is the first that
  // does, and does not see it yet; clear_stuck does.
  bench.db.exec(fmt::format(
      "CREATE FUNCTION begin_call() RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER AS $$BEGIN "
      "INSERT INTO user_calls (user_id, listener_id, start_time) SELECT {0}, {1}, now() WHERE NOT "
      "EXISTS (SELECT FROM user_calls); RETURN true; END$$",
      caller, listener));
  bench.db.exec("ALTER TABLE user_status RENAME TO status_rows");
  bench.db.exec("CREATE VIEW user_status AS SELECT * FROM status_rows WHERE begin_call()");
  bench.db.exec("GRANT SELECT, UPDATE ON user_status TO saathiid");
  CHECK(count_of(bench.run(T), "busy_cleared") == 0);
  CHECK(bench.is_busy(caller));
}

TEST_CASE("presence: the database's clock is the moment of a run without one") {
  Presence bench;
  const int gone = bench.add({.is_online = true});
  const int here = bench.add({.is_online = true});
  bench.db.exec(fmt::format(
      "UPDATE user_status SET last_seen = now() - CASE WHEN user_id = {} THEN interval '6 min' "
      "ELSE interval '4 min' END",
      gone));
  bench.run(std::nullopt);
  CHECK_FALSE(bench.is_online(gone));
  CHECK(bench.is_online(here));
}

TEST_CASE("presence: each change is published, and the count is left in Redis") {
  Presence bench(Redis::real);
  const int gone = bench.add({.is_online = true, .last_seen = at("2030-01-15T09:00:00.5Z")});
  const int stuck = bench.add_busy(std::nullopt, 0);
  bench.db.exec(
      fmt::format("UPDATE users SET profile_image_url = 'https://img.example/é\"' "
                  "WHERE user_id = {}",
                  stuck));
  Subscriber subscriber(*bench.redis_server, {"status_updates"});
  const auto report = bench.run(T);
  CHECK(count_of(report, "unpublished") == 0);
  const auto messages = bench.published(subscriber);
  REQUIRE(messages.size() == 2);
  CHECK(nlohmann::json::parse(messages[0].payload) ==
        nlohmann::json::parse(fmt::format(
            R"({{"type":"status_update","user_id":{0},"timestamp":"2030-01-15T10:00:00+00:00",
                "data":{{"user_id":{0},"username":"user1","profile_image_url":null,
                         "is_online":false,"last_seen":"2030-01-15T09:00:00.500000+00:00",
                         "is_busy":false,"wait_time":null,"is_available":false,
                         "timestamp":"2030-01-15T10:00:00+00:00"}}}})",
            gone)));
  const auto second = nlohmann::json::parse(messages[1].payload);
  CHECK(second["user_id"] == stuck);
  CHECK(second["data"]["profile_image_url"] == "https://img.example/é\"");
  CHECK(second["data"]["is_online"] == true);
  CHECK(second["data"]["is_busy"] == false);
  CHECK(second["data"]["is_available"] == true);
  CHECK(bench.redis.command({"GET", "presence:online_count"}).text == "1");
}

TEST_CASE("presence: without Redis the database is right all the same, and the next run mends") {
  Presence bench(Redis::real);
  bench.redis_server->stop();
  const int gone = bench.add({.is_online = true, .last_seen = T - minutes{6}});
  bench.add({.is_online = true, .last_seen = T});
  const auto report = bench.run(T);
  CHECK_FALSE(bench.is_online(gone));
  CHECK(count_of(report, "offline") == 1);
  CHECK(count_of(report, "unpublished") == 1);
  CHECK(count_of(report, "online") == 1);
  CHECK(bench.redis_state.snapshot().state == ServerState::State::down);

  bench.redis_server->start();
  redis::Client fresh(bench.redis_settings(), bench.redis_state);
  bench.job->run({T, bench.settings, bench.platform, bench.pool, fresh, {}});
  CHECK(fresh.command({"GET", "presence:online_count"}).text == "1");
}

TEST_CASE("presence: a stop between two batches keeps what was committed") {
  Presence bench;
  bench.add({.is_online = true, .last_seen = T - minutes{6}});
  std::stop_source stop;
  stop.request_stop();
  CHECK_THROWS_AS(bench.run(T, stop.get_token()), Stopped);
  CHECK(count_of(bench.run(T), "offline") == 1);
}

}  // namespace saathii::test
