#include <thread>

#include "billing_world.hpp"
#include "saathii/jobs/call_projection.hpp"

// What once went wrong with somebody's money, each as a case of its own.

using namespace saathii;
using namespace saathii::jobs;
using namespace saathii::test;

namespace {

/// Runs `body` on a thread of its own, returns once it waits for a lock.
std::jthread until_it_waits(Calls& calls, std::function<void()> body) {
  std::jthread thread(std::move(body));
  while (calls.text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND "
                    "usename = 'saathiid' AND wait_event_type = 'Lock'") == "0") {
    std::this_thread::yield();
  }
  return thread;
}

billing::Charged shown(int call_id, std::int64_t coins_spent) {
  billing::Charged call;
  call.call_id = call_id;
  call.call_type = "audio";
  call.coins_spent = coins_spent;
  call.minutes = 1;
  return call;
}

}  // namespace

TEST_CASE("a rate that is corrected at the very moment of its mistake delays no charge") {
  Calls calls;
  const int call = calls.start(calls.user(10'000), calls.user(0), -60);
  calls.deduct(-30);
  calls.platform.rates.audio = 600;
  calls.deduct(0);
  CHECK(calls.ledger(call) == "1:10:api 2:600:saathiid");
  calls.platform.rates.audio = 10;
  calls.deduct(-1);  // the database's clock was set back
  calls.deduct(60);
  CHECK(calls.ledger(call) == "1:10:api 2:600:saathiid 3:10:saathiid");
  calls.check_invariants();
}

TEST_CASE("a wallet that covers more minutes than an integer holds is charged") {
  Calls calls;
  const int caller = calls.user(9'000'000'000'000'000'000);
  calls.db.exec("UPDATE user_status SET wait_time = 1");
  const int call = calls.raw_call("1", std::to_string(calls.user(0)), "audio", -400, "10");
  CHECK(count(calls.clean(0), "ended") == 0);
  CHECK(count(calls.deduct(0), "failed") == 0);
  CHECK(calls.call(call, "coins_spent") == "70");
  CHECK(calls.status(caller, "wait_time") == "2147483647");
}

TEST_CASE("a charge that would leave a wallet below 0 is not made") {
  Calls calls;
  const int caller = calls.user(100);
  const int call = calls.start(caller, calls.user(0), -60);
  const int other = calls.start(calls.user(100), calls.user(0), -60);
  // Somebody else takes coins in the middle, which no lock of ours had kept away.
  calls.db.exec(fmt::format(
      "CREATE FUNCTION take() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.balance_coins = "
      "NEW.balance_coins - 100; RETURN NEW; END $$; CREATE TRIGGER take BEFORE UPDATE ON "
      "user_wallets FOR EACH ROW WHEN (NEW.user_id = {}) EXECUTE FUNCTION take()",
      caller));
  const auto report = calls.deduct(0);
  CHECK(count(report, "failed") == 1);
  CHECK(count(report, "charged") == 1);
  CHECK(calls.call(call, "status || coins_spent") == "ongoing10");
  CHECK(calls.call(other, "coins_spent") == "20");
  CHECK(calls.wallet(caller) == "90");
}

TEST_CASE("a call that is said to have begun in 1970 costs what the balance covers") {
  Calls calls;
  const int caller = calls.user(35);
  const int call = calls.raw_call(std::to_string(caller), std::to_string(calls.user(0)), "audio",
                                  -1'894'701'600, "NULL");
  const auto report = calls.deduct(0);
  CHECK(count(report, "minutes") == 3);
  CHECK(count(report, "failed") == 0);
  CHECK(calls.call(call, "status") == "dropped");
  CHECK(calls.wallet(caller) == "5");
}

TEST_CASE("calls that nobody called are payers of their own") {
  Calls calls;
  const int listener = calls.user(0);
  const int full = calls.user(0);
  calls.db.exec(fmt::format(
      "UPDATE user_wallets SET withdrawable_money = 9999999999.99 WHERE user_id = {}", full));
  for (int i = 0; i < 30; ++i) {
    calls.raw_call("NULL", std::to_string(i == 7 ? full : listener), "audio", -60, "10");
  }
  const auto report = calls.deduct(0, {{"batch_size", std::int64_t{10}}});
  CHECK(count(report, "ended") == 29);
  CHECK(count(report, "failed") == 1);
  CHECK(calls.wallet(listener, "withdrawable_money") == "29.00");
}

TEST_CASE("minutes that somebody else had charged after the end are given back too") {
  Calls calls;
  const int caller = calls.user(0, -1000);
  const int call = calls.raw_call(std::to_string(caller), std::to_string(calls.user(0, -1000)),
                                  "audio", -1090, "55");
  SECTION("where the ledger did not know the call") {}
  SECTION("where it did") {
    calls.top_up(caller, 10);
    calls.deduct(-750);
    CHECK(calls.ledger(call) == "1:15:api 2:10:api 3:10:api 4:10:api 5:10:api 6:10:saathiid");
  }
  const std::int64_t back = calls.ledger(call).empty() ? 30 : 40;
  CHECK(count(calls.clean(0), "refunded") == back);
  CHECK(calls.ledger(call).substr(0, 27) == "1:15:api 2:10:api 3:10:api!");
  CHECK(calls.call(call, "coins_spent") == "25");
  CHECK(calls.wallet(caller) == std::to_string(back));
  CHECK(calls.wallet(2, "withdrawable_money") == "2.00");
  calls.check_invariants();
}

TEST_CASE("coins that one call gives back pay for what another has not paid") {
  Calls calls;
  const int caller = calls.user(40, -1000);
  const int listener = calls.user(0, -1000);
  calls.start(caller, listener, -1060);
  calls.deduct(-880);  // minutes 2 to 4: all that the balance covers
  const int unpaid =
      calls.raw_call(std::to_string(caller), std::to_string(listener), "audio", -1050, "NULL");
  CHECK(count(calls.clean(0), "refunded") == 20);
  CHECK(calls.ledger(unpaid) == "1:10:saathiid");
  CHECK(calls.wallet(caller) == "10");
  calls.check_invariants();
}

TEST_CASE("coins given back to a wallet of NULL count") {
  Calls calls;
  const int caller = calls.user(30, -1000);
  calls.start(caller, calls.user(0, -1000), -1060);
  calls.deduct(-930);  // minutes 2 and 3: nothing is left
  calls.db.exec(
      fmt::format("UPDATE user_wallets SET balance_coins = NULL WHERE user_id = {}", caller));
  CHECK(count(calls.clean(0), "refunded") == 10);
  CHECK(calls.wallet(caller) == "10");
  calls.check_invariants();
}

TEST_CASE("a call that is to begin yet ends when it begins") {
  Calls calls;
  const int call = calls.start(calls.user(100), calls.user(0), 30);
  calls.db.exec("UPDATE user_status SET wait_time = 0");
  CHECK(count(calls.clean(0), "ended") == 1);
  CHECK(calls.call(call, "end_time = start_time") == "t");
  CHECK(calls.call(call, "duration_seconds") == "0");
  calls.check_invariants();
}

TEST_CASE("a call that cannot be ended keeps no other from ending") {
  Calls calls;
  for (int i = 0; i < 9; ++i) {
    calls.start(calls.user(100, -2000), calls.user(0, -2000), -2100);
  }
  const int full = calls.user(0, -2000);
  calls.db.exec(fmt::format(
      "UPDATE user_wallets SET withdrawable_money = 9999999999.99 WHERE user_id = {}", full));
  const int call = calls.start(calls.user(100, -2000), full, -2100);
  const auto report = calls.clean(0);
  CHECK(count(report, "ended") == 9);
  CHECK(count(report, "failed") == 1);
  CHECK(calls.call(call, "status") == "ongoing");
}

TEST_CASE("a party for whom the API begins a call while another ends stays busy") {
  Calls calls;
  const int listener = calls.user(0, -2000);
  const int ghost = calls.start(calls.user(100, -2000), listener, -2100);
  const int caller = calls.user(100);
  pqxx::connection api(calls.db.owner_url());
  pqxx::work starting(api);
  starting.exec(
      fmt::format("INSERT INTO user_calls (user_id, listener_id, call_type, start_time, "
                  "coins_spent) VALUES ({}, {}, 'audio', '{}', 10)",
                  caller, listener, to_iso8601(T)));
  starting.exec(
      fmt::format("UPDATE user_status SET is_busy = true, wait_time = 10 WHERE user_id IN ({}, {})",
                  caller, listener));
  {
    const auto cleaning = until_it_waits(calls, [&] { calls.clean(0); });
    starting.commit();
  }
  CHECK(calls.call(ghost, "status") == "dropped");
  CHECK(calls.status(listener, "is_busy") == "t");
  CHECK(calls.status(listener, "wait_time") == "10");
}

TEST_CASE("a heartbeat that comes while its call is about to end keeps it") {
  Calls calls;
  const int caller = calls.user(1000, -2000);
  const int call = calls.start(caller, calls.user(0, -2000), -2100);
  pqxx::connection api(calls.db.owner_url());
  pqxx::work heartbeat(api);
  heartbeat.exec(fmt::format("UPDATE user_status SET last_seen = '{}' WHERE user_id = {}",
                             to_iso8601(T), caller));
  {
    const auto cleaning = until_it_waits(calls, [&] { calls.clean(0); });
    heartbeat.commit();
  }
  CHECK(calls.call(call, "status") == "ongoing");
}

TEST_CASE("one session is enough for a run that may use several") {
  Calls calls;
  config::Postgres settings;
  settings.url = calls.db.daemon_url();
  settings.max_sessions = 1;
  ServerState state("postgres");
  calls.pool = std::make_unique<postgres::Pool>(settings, state);
  for (int i = 0; i < 6; ++i) {
    calls.start(calls.user(100), calls.user(0), -60);
  }
  CHECK(count(calls.deduct(0, {{"batch_size", std::int64_t{2}}, {"sessions", std::int64_t{3}}}),
              "charged") == 6);
}

TEST_CASE("wait_time is no more that of a call which ended in the same run") {
  Stage stage;
  World world(stage, T, "UTC", false);
  model::User user;
  user.coins = 9;
  user.has_wallet = user.has_status = true;
  user.last_seen = T;
  user.wait_time = 3;
  world.add_user(user);
  world.add_call(1, 1, "", T + std::chrono::seconds{100}, 25);
  world.add_call(1, 1, "video", T + std::chrono::seconds{100}, 5);
  world.add_call(1, 1, "video", T, 60);
  world.deduct(T + std::chrono::seconds{160}, {});
  CHECK(world.differences().empty());
}

TEST_CASE("a run that broke off makes the next one repair Redis") {
  Calls calls;
  RedisServer server;
  calls.use_redis(server.url());
  const auto lease = calls.pool->lease({});
  CallProjection::Memory memory;
  CallProjection(*calls.redis, memory, T).repair(*lease);
  CHECK(memory.repaired_generation.has_value());
  { const CallProjection broken_off(*calls.redis, memory, T); }
  const int call = calls.start(calls.user(100), calls.user(0), 0);
  CallProjection(*calls.redis, memory, T).repair(*lease);
  CHECK(calls.redis->command({"EXISTS", fmt::format("call:{}", call)}).integer == 1);
}

TEST_CASE("a run that broke off has whoever leads repair Redis, and so has a new term") {
  Calls calls;
  RedisServer server;
  calls.use_redis(server.url());
  const auto lease = calls.pool->lease({});
  CallProjection::Memory ours;
  CallProjection(*calls.redis, ours, T, 1).repair(*lease);
  const auto stranger = [&] { calls.redis->command({"HSET", "call:4711", "coins_spent", "1"}); };
  const auto is_there = [&] { return calls.redis->command({"EXISTS", "call:4711"}).integer == 1; };
  stranger();
  CallProjection(*calls.redis, ours, T, 1).repair(*lease);
  CHECK(is_there());  // nothing said that Redis might be wrong
  CallProjection(*calls.redis, ours, T, 2).repair(*lease);
  CHECK_FALSE(is_there());

  stranger();
  CallProjection::Memory others;
  { const CallProjection broken_off(*calls.redis, others, T, 1); }
  CallProjection(*calls.redis, ours, T, 2).repair(*lease);
  CHECK_FALSE(is_there());

  stranger();
  calls.db.exec(
      "INSERT INTO saathii_tasks.instance (id, name, backend_pid, backend_start) SELECT "
      "'0d1c64c8-5a7c-4b1e-9f0f-7d4c1a2b3c4d', 'new', pid, backend_start "
      "FROM pg_stat_get_activity(pg_backend_pid())");
  CallProjection(*calls.redis, ours, T, 2).repair(*lease);
  CHECK_FALSE(is_there());
}

TEST_CASE("what was shown is what holds even if another run was faster") {
  Calls calls;
  RedisServer server;
  calls.use_redis(server.url());
  const int call = calls.start(calls.user(100), calls.user(0), -30);
  const int ended = calls.start(calls.user(100), calls.user(0), -30);
  calls.db.exec(
      fmt::format("UPDATE user_calls SET status = 'completed' WHERE call_id = {}", ended));
  calls.db.exec(fmt::format("UPDATE user_calls SET coins_spent = 30 WHERE call_id = {}", call));
  const auto lease = calls.pool->lease({});
  CallProjection::Memory memory;
  CallProjection(*calls.redis, memory, T).charged(*lease, {shown(call, 20), shown(ended, 20)});
  CHECK(calls.redis->command({"HGET", fmt::format("call:{}", call), "coins_spent"}).text == "30");
  CHECK(calls.redis->command({"EXISTS", fmt::format("call:{}", ended)}).integer == 0);
}

TEST_CASE("a call with a start that no calendar has keeps no other from its due") {
  Calls calls;
  RedisServer server;
  calls.use_redis(server.url());
  const int call = calls.start(calls.user(1000, -2000), calls.user(0, -2000), -2060);
  const int other = calls.start(calls.user(1000), calls.user(0), -60);
  const int endless = calls.start(calls.user(1000), calls.user(0), -60);
  const std::string start_time = GENERATE("infinity", "-infinity");
  calls.db.exec(fmt::format("UPDATE user_calls SET start_time = '{}' WHERE call_id = {}",
                            start_time, endless));
  calls.db.exec("UPDATE user_status SET wait_time = 0 WHERE user_id > 4");
  const auto charged = calls.deduct(0);
  CHECK(count(charged, "charged") == 1);
  CHECK(count(charged, "failed") == 0);
  CHECK(count(calls.clean(0), "ended") == 1);
  CHECK(calls.call(call, "status") == "dropped");
  CHECK(calls.redis->command({"HGET", fmt::format("call:{}", other), "coins_spent"}).text == "20");
}

TEST_CASE("a call that is said to have cost less than nothing stops no scan") {
  Calls calls;
  calls.raw_call(std::to_string(calls.user(1000)), std::to_string(calls.user(0)), "audio", -60,
                 "-9000000000000000000");
  calls.start(calls.user(1000), calls.user(0), -60);
  CHECK(count(calls.deduct(0), "charged") == 2);
}

TEST_CASE("a hash goes with its call even if the status of both cannot be read") {
  Calls calls;
  RedisServer server;
  calls.use_redis(server.url());
  const int call = calls.start(calls.user(10), calls.user(0), -30);
  const int other = calls.start(calls.user(1000), calls.user(0), -90);
  calls.deduct(0);
  const auto is_shown = [&](int id) {
    return calls.redis->command({"EXISTS", fmt::format("call:{}", id)}).integer == 1;
  };
  CHECK(is_shown(call));
  calls.db.exec("REVOKE SELECT ON users FROM saathiid");
  CHECK_THROWS(calls.deduct(30));
  CHECK(calls.call(call, "status") == "dropped");
  CHECK_FALSE(is_shown(call));
  calls.redis->command({"DEL", fmt::format("call:{}", other)});
  calls.deduct(31);  // repairs what the broken run may have left
  CHECK(is_shown(other));
}
