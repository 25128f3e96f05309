#include <map>
#include <set>
#include <thread>

#include "calls_fixture.hpp"

// Each case names the line of the platform contract, section 5, that it holds.

using namespace saathii;
using namespace saathii::test;

TEST_CASE("minute k is charged once, when it has started") {
  Calls calls;
  const int caller = calls.user(1000);
  const int call = calls.start(caller, calls.user(0), -60);

  SECTION("one microsecond before its minute starts nothing is due") {
    calls.db.exec("UPDATE user_calls SET start_time = start_time + interval '1 microsecond'");
    CHECK(count(calls.deduct(0), "charged") == 0);
    CHECK(calls.call(call, "coins_spent") == "10");
  }
  SECTION("at the exact boundary minute 2 is charged, and once only") {
    const auto report = calls.deduct(0);
    CHECK(count(report, "charged") == 1);
    CHECK(count(report, "coins") == 10);
    CHECK(calls.ledger(call) == "1:10:api 2:10:saathiid");
    CHECK(calls.call(call, "coins_spent") == "20");
    CHECK(calls.wallet(caller) == "980");
    for (const int again_s : {0, 1, 59}) {
      CHECK(count(calls.deduct(again_s), "charged") == 0);
    }
    CHECK(count(calls.deduct(60), "charged") == 1);
    CHECK(calls.wallet(caller) == "970");
  }
  SECTION("minute 1 is the API's: a call younger than a minute costs nothing more") {
    CHECK(count(calls.deduct(-1), "charged") == 0);
    CHECK(calls.ledger(call).empty());
  }
  calls.check_invariants();
}

TEST_CASE("a charge moves wallet, transaction, coins_spent and ledger together") {
  Calls calls;
  const int caller = calls.user(1000);
  const int call = calls.start(caller, calls.user(0), -60, "video");
  calls.deduct(0);
  CHECK(calls.wallet(caller) == "880");
  CHECK(calls.call(call, "coins_spent") == "120");
  CHECK(calls.ledger(call) == "1:60:api 2:60:saathiid");
  CHECK(calls.text("SELECT string_agg(tx_type || coins_change || '/' || money_change, ' ' "
                   "ORDER BY transaction_id) FROM user_transactions") ==
        "spend-60/0.00 spend-60/0.00");
  CHECK(calls.text("SELECT balance_after FROM saathii_tasks.call_charge WHERE minute = 2") ==
        "880");
  calls.check_invariants();
}

TEST_CASE("how often the job runs never changes what a call costs") {
  Calls calls;
  const int often = calls.start(calls.user(1000), calls.user(0), -30);
  for (int at_s = 0; at_s <= 600; at_s += 7) {
    calls.deduct(at_s);
  }
  const std::string cost = calls.call(often, "coins_spent");
  CHECK(cost == "110");
  Calls other;
  const int once = other.start(other.user(1000), other.user(0), -30);
  other.seen(1, 595);
  other.deduct(595);
  CHECK(other.call(once, "coins_spent") == cost);
}

TEST_CASE("after downtime every started, unpaid minute is charged") {
  Calls calls;
  const int caller = calls.user(1000);
  const int call = calls.start(caller, calls.user(0), -1800);
  SECTION("without a limit") {
    const auto report = calls.deduct(0);
    CHECK(count(report, "minutes") == 30);
    CHECK(calls.call(call, "coins_spent") == "310");
    CHECK(calls.text("SELECT count(*) FROM user_transactions WHERE coins_change = -10") == "31");
  }
  SECTION("with a limit the older minutes are waived, and stay so") {
    const auto report = calls.deduct(0, {{"charge_catch_up_limit", std::int64_t{5}}});
    CHECK(count(report, "minutes") == 5);
    CHECK(count(report, "waived") == 25);
    CHECK(calls.call(call, "coins_spent") == "60");
    CHECK(count(calls.deduct(60), "minutes") == 1);
  }
  calls.check_invariants();
}

TEST_CASE("who cannot pay pays what the balance covers, oldest minute first, and is dropped") {
  Calls calls;
  const int caller = calls.user(35);
  const int listener = calls.user(0);
  const int call = calls.start(caller, listener, -605);
  const auto report = calls.deduct(0);
  CHECK(count(report, "minutes") == 2);
  CHECK(count(report, "ended") == 1);
  CHECK(calls.wallet(caller) == "5");
  CHECK(calls.ledger(call) == "1:10:api 2:10:saathiid 3:10:saathiid");
  CHECK(calls.call(call, "status") == "dropped");
  CHECK(calls.call(call, "end_time = '2030-01-15T10:00:00Z'") == "t");
  CHECK(calls.call(call, "duration_seconds") == "605");
  CHECK(calls.call(call, "duration_minutes") == "10");
  CHECK(calls.call(call, "listener_money_earned") == "3");
  CHECK(calls.wallet(listener, "withdrawable_money") == "3.00");
  for (const int party : {caller, listener}) {
    CHECK(calls.status(party, "is_busy") == "f");
    CHECK(calls.status(party, "wait_time IS NULL") == "t");
  }
  CHECK(count(calls.deduct(60), "ended") == 0);
  calls.check_invariants();
}

TEST_CASE("the last coin pays, and only then is the call over") {
  Calls calls;
  const int caller = calls.user(20);
  const int call = calls.start(caller, calls.user(0), -60);
  CHECK(count(calls.deduct(0), "ended") == 0);
  CHECK(calls.wallet(caller) == "0");
  CHECK(calls.call(call, "status") == "ongoing");
  CHECK(count(calls.deduct(59), "ended") == 0);
  CHECK(count(calls.deduct(60), "ended") == 1);
  calls.check_invariants();
}

TEST_CASE("a top-up keeps the call, and wait_time follows for both parties") {
  Calls calls;
  const int caller = calls.user(30);
  const int listener = calls.user(0);
  const int call = calls.start(caller, listener, -60);
  CHECK(calls.status(caller, "wait_time") == "3");
  calls.deduct(0);
  CHECK(calls.status(caller, "wait_time") == "3");
  calls.top_up(caller, 25);
  calls.deduct(60);
  CHECK(calls.call(call, "status") == "ongoing");
  for (const int party : {caller, listener}) {
    CHECK(calls.status(party, "wait_time") == "5");
  }
  CHECK(count(calls.deduct(120), "ended") == 0);
  calls.check_invariants();
}

TEST_CASE("wait_time is written only where it differs") {
  Calls calls;
  const int caller = calls.user(1000);
  calls.start(caller, calls.user(0), -60);
  calls.db.exec("UPDATE user_status SET updated_at = '2000-01-01'");
  calls.deduct(0);
  CHECK(calls.text("SELECT count(*) FROM user_status WHERE updated_at <> '2000-01-01'") == "0");
}

TEST_CASE("two calls on one wallet: minutes in the order in which they started") {
  Calls calls;
  const int caller = calls.user(200);
  const int first = calls.start(caller, calls.user(0), -70);
  const int second = calls.start(caller, calls.user(0), -65, "video");
  SECTION("the one whose minute is not covered ends and costs nothing; the other goes on") {
    calls.db.exec("UPDATE user_wallets SET balance_coins = 25 WHERE user_id = 1");
    calls.db.exec(
        "INSERT INTO user_transactions (wallet_id, tx_type, coins_change) "
        "VALUES (1, 'spend', -105)");
    calls.seen(caller, 150);
    const auto report = calls.deduct(51);  // first: minutes 2 and 3; second: minute 2
    CHECK(count(report, "ended") == 1);
    CHECK(calls.call(second, "status") == "dropped");
    CHECK(calls.call(second, "coins_spent") == "60");
    CHECK(calls.call(first, "status") == "ongoing");
    CHECK(calls.call(first, "coins_spent") == "30");
    CHECK(calls.wallet(caller) == "5");
    CHECK(calls.status(caller, "is_busy") == "t");
  }
  SECTION("where it covers both, both are charged") {
    calls.deduct(0);
    CHECK(calls.call(first, "coins_spent") == "20");
    CHECK(calls.call(second, "coins_spent") == "120");
    CHECK(calls.wallet(caller) == "60");
  }
  SECTION("minutes that start together: by call_id") {
    calls.db.exec("UPDATE user_calls SET start_time = '2030-01-15T09:58:50Z'");
    calls.db.exec("UPDATE user_wallets SET balance_coins = 10 WHERE user_id = 1");
    calls.db.exec(
        "INSERT INTO user_transactions (wallet_id, tx_type, coins_change) "
        "VALUES (1, 'spend', -120)");
    calls.deduct(0);
    CHECK(calls.call(first, "coins_spent") == "20");
    CHECK(calls.call(second, "status") == "dropped");
  }
  calls.check_invariants();
}

TEST_CASE("no wallet: balance 0, the call ends and its listener is paid for minute 1") {
  Calls calls;
  const int caller = calls.user(100);
  const int listener = calls.user(0);
  const int call = calls.start(caller, listener, -60);
  calls.db.exec("DELETE FROM user_wallets WHERE user_id = 1");
  CHECK(count(calls.deduct(0), "ended") == 1);
  CHECK(calls.call(call, "coins_spent") == "10");
  CHECK(calls.wallet(listener, "withdrawable_money") == "1.00");
}

TEST_CASE("a call seen for the first time has paid floor(coins_spent / rate) minutes") {
  Calls calls;
  const int caller = calls.user(1000);
  const std::string listener = std::to_string(calls.user(0));
  const std::string c = std::to_string(caller);
  struct Case {
    std::string coins_spent;
    std::string ledger;
  };
  const std::vector<Case> cases = {
      {"10", "1:10:api 2:10:saathiid 3:10:saathiid"},
      {"25", "1:15:api 2:10:api 3:10:saathiid"},
      {"30", ""},
      {"5", "1:5:api 2:10:saathiid 3:10:saathiid"},
      {"0", "1:10:saathiid 2:10:saathiid 3:10:saathiid"},
      {"NULL", "1:10:saathiid 2:10:saathiid 3:10:saathiid"},
  };
  for (const auto& [coins_spent, ledger] : cases) {
    INFO("coins_spent " << coins_spent);
    const int call = calls.raw_call(c, listener, "audio", -120, coins_spent);
    calls.deduct(0);
    CHECK(calls.ledger(call) == ledger);
    calls.db.exec("UPDATE user_calls SET status = 'completed', end_time = now()");
  }
}

TEST_CASE("a rate that changes holds for minutes that start after the change") {
  Calls calls;
  const int caller = calls.user(1000);
  const int call = calls.start(caller, calls.user(0), -60);
  calls.deduct(0);
  calls.platform.rates.audio = 15;
  calls.seen(caller, 500);
  calls.deduct(60);  // the first run that knows of it: minute 3 starts now
  CHECK(calls.ledger(call) == "1:10:api 2:10:saathiid 3:15:saathiid");
  SECTION("back again, to a lower one") {
    calls.platform.rates.audio = 5;
    calls.deduct(120);
    calls.deduct(180);
    calls.deduct(180);
    CHECK(calls.ledger(call) == "1:10:api 2:10:saathiid 3:15:saathiid 4:5:saathiid 5:5:saathiid");
    CHECK(calls.call(call, "coins_spent") == "45");
  }
  SECTION("minutes that had started before the change cost what they did then") {
    calls.platform.rates.audio = 99;
    calls.deduct(250);  // minutes 4, 5 and 6 started at 120, 180 and 240
    CHECK(calls.ledger(call) ==
          "1:10:api 2:10:saathiid 3:15:saathiid 4:15:saathiid 5:15:saathiid 6:15:saathiid");
  }
  calls.check_invariants();
}

TEST_CASE("an increment that changes holds for calls that start after the change") {
  Calls calls;
  calls.platform.rates.increment = std::chrono::seconds{6};
  const int caller = calls.user(1000);
  const int other = calls.user(25);
  const int call = calls.start(caller, calls.user(0), -12);
  calls.deduct(0);
  CHECK(calls.ledger(call) == "1:10:api 2:10:saathiid 3:10:saathiid");
  CHECK(calls.status(caller, "wait_time") == "100");
  calls.platform.rates.increment = std::chrono::seconds{1};
  calls.deduct(5);
  const int later = calls.start(other, calls.user(0), 5);
  calls.deduct(6);
  CHECK(calls.ledger(call) == "1:10:api 2:10:saathiid 3:10:saathiid 4:10:saathiid");
  CHECK(calls.ledger(later) == "1:10:api 2:10:saathiid");
  calls.deduct(7);
  CHECK(calls.call(later, "status") == "dropped");
  CHECK(calls.ledger(later) == "1:10:api 2:10:saathiid");
  CHECK(calls.text("SELECT minute_start FROM saathii_tasks.call_charge WHERE minute = 4") ==
        "2030-01-15 10:00:06+00");
  calls.check_invariants();
}

TEST_CASE("a call whose parties have both vanished is held for call_cleanup") {
  Calls calls;
  const int caller = calls.user(100'000, -3 * 86'400);
  const int listener = calls.user(0, -3 * 86'400 + 90);
  const int call = calls.start(caller, listener, -3 * 86'400);
  const auto report = calls.deduct(0);
  CHECK(count(report, "held") == 1);
  CHECK(calls.call(call, "coins_spent") == "10");
  SECTION("a heartbeat makes all its minutes due again") {
    calls.seen(listener, 0);
    CHECK(count(calls.deduct(0), "minutes") == std::int64_t{3} * 1440);
  }
  SECTION("call_cleanup ends it as of the last moment that either was seen") {
    CHECK(count(calls.clean(0), "ended") == 1);
    CHECK(calls.ledger(call) == "1:10:api 2:10:saathiid");
    CHECK(calls.call(call, "end_time = '2030-01-12T10:01:30Z'") == "t");
  }
  calls.check_invariants();
}

TEST_CASE("NULL columns and missing rows hurt no other call") {
  Calls calls;
  const int caller = calls.user(1000);
  const int good = calls.start(caller, calls.user(0), -60);
  calls.raw_call("NULL", "NULL", "NULL", -60, "NULL");
  const int nobody = calls.raw_call("NULL", "NULL", "audio", -60, "10");
  calls.db.exec("UPDATE user_wallets SET withdrawable_money = NULL WHERE user_id = 2");
  calls.db.exec("UPDATE user_status SET last_seen = NULL, wait_time = NULL, is_busy = NULL");
  calls.db.exec("DELETE FROM user_status WHERE user_id = 2");
  CHECK(count(calls.deduct(0), "charged") == 1);
  CHECK(calls.call(good, "coins_spent") == "20");
  CHECK(calls.status(caller, "wait_time") == "100");
  CHECK(calls.call(nobody, "status") == "dropped");  // nobody pays: balance 0
}

TEST_CASE("the API ends a call between our read and our write: it is not touched") {
  Calls calls;
  const int caller = calls.user(1000);
  const int call = calls.start(caller, calls.user(0), -60);
  pqxx::connection api(calls.db.owner_url());
  SECTION("its row is held: left for the next run") {
    pqxx::work ending(api);
    ending.exec("UPDATE user_calls SET status = 'completed', end_time = now() WHERE call_id = " +
                std::to_string(call));
    CHECK(count(calls.deduct(0), "charged") == 0);
    ending.commit();
  }
  SECTION("the caller is deleted") {
    calls.db.exec("DELETE FROM users WHERE user_id = " + std::to_string(caller));
  }
  CHECK(count(calls.deduct(0), "charged") == 0);
  CHECK(calls.text("SELECT count(*) FROM saathii_tasks.call_charge") == "0");
}

TEST_CASE("a wallet that another transaction holds delays only its own caller") {
  Calls calls;
  config::Postgres settings;
  settings.url = calls.db.daemon_url();
  settings.lock_timeout = std::chrono::milliseconds{50};
  ServerState state("postgres");
  calls.pool = std::make_unique<postgres::Pool>(settings, state);
  std::vector<int> ids;
  for (int i = 0; i < 9; ++i) {
    const int caller = calls.user(1000);
    ids.push_back(calls.start(caller, calls.user(0), -60));
  }
  pqxx::connection api(calls.db.owner_url());
  pqxx::work held(api);
  held.exec("UPDATE user_wallets SET balance_coins = balance_coins WHERE user_id = 5");
  const auto report = calls.deduct(0);
  CHECK(count(report, "charged") == 8);
  CHECK(count(report, "failed") == 1);
  held.abort();
  CHECK(count(calls.deduct(0), "charged") == 1);
  calls.check_invariants();
}

TEST_CASE("small batches and several sessions charge the same") {
  Calls calls;
  const int shared = calls.user(100'000);
  for (int i = 0; i < 20; ++i) {
    calls.start(i % 4 == 0 ? shared : calls.user(1000), calls.user(0), -60 - i);
  }
  const auto report =
      calls.deduct(0, {{"batch_size", std::int64_t{3}}, {"sessions", std::int64_t{3}}});
  CHECK(count(report, "charged") == 20);
  CHECK(calls.text("SELECT count(*) FROM user_calls WHERE coins_spent = 20") == "20");
  calls.check_invariants();
}

TEST_CASE("two daemons that charge at the same moment charge once") {
  Calls calls;
  for (int i = 0; i < 200; ++i) {
    calls.start(calls.user(1000), calls.user(0), -60);
  }
  config::Postgres settings;
  settings.url = calls.db.daemon_url();
  ServerState state("postgres");
  std::int64_t charged[2] = {0, 0};
  {
    std::vector<std::jthread> daemons;
    for (auto& mine : charged) {
      daemons.emplace_back([&] {
        ServerState redis_state("redis");
        postgres::Pool pool(settings, state);
        config::Redis nowhere;
        nowhere.url = "unix:///nonexistent/redis.sock";
        redis::Client redis(nowhere, redis_state);
        for (const auto& kind : jobs::kinds()) {
          if (kind.info.name == "coin_deduction") {
            config::Settings defaults(kind.info.settings);
            defaults.set("batch_size", std::int64_t{7});
            mine =
                count(kind.make()->run({T, defaults, calls.platform, pool, redis, {}}), "charged");
          }
        }
      });
    }
  }
  CHECK(charged[0] + charged[1] <= 200);
  calls.deduct(0);  // what both skipped because the other held it
  CHECK(calls.text("SELECT count(*) FROM user_calls WHERE coins_spent = 20") == "200");
  calls.check_invariants();
}
