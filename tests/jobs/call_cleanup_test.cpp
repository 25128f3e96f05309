#include <nlohmann/json.hpp>

#include "calls_fixture.hpp"

// Each case names the line of the platform contract, section 5, that it holds.

using namespace saathii;
using namespace saathii::test;

TEST_CASE("a call whose caller's wait_time is 0 or less ends") {
  Calls calls;
  const int caller = calls.user(1000);
  const int call = calls.start(caller, calls.user(0), -90);
  calls.db.exec("UPDATE user_status SET wait_time = 0 WHERE user_id = 1");
  const auto report = calls.clean(0);
  CHECK(count(report, "ended") == 1);
  CHECK(count(report, "no_wait_time") == 1);
  CHECK(calls.call(call, "status") == "dropped");
  CHECK(calls.call(call, "end_time = '2030-01-15T10:00:00Z'") == "t");
  SECTION("unpaid minutes before the end are charged first") {
    CHECK(calls.ledger(call) == "1:10:api 2:10:saathiid");
  }
  calls.check_invariants();
}

TEST_CASE("a call whose expected length ended more than a grace ago ends") {
  Calls calls;
  const int caller = calls.user(20);
  const int listener = calls.user(0);
  const int call = calls.start(caller, listener, 0);  // two minutes expected
  calls.seen(caller, 300);
  CHECK(count(calls.clean(240), "ended") == 0);  // within the grace, to its last moment
  SECTION("and one second later it does") {
    const auto report = calls.clean(241);
    CHECK(count(report, "overdue") == 1);
    CHECK(calls.ledger(call) == "1:10:api 2:10:saathiid");
    CHECK(calls.wallet(caller) == "0");
    CHECK(calls.wallet(listener, "withdrawable_money") == "2.00");
  }
  SECTION("recomputed with the balance of now, a caller who topped up is not cut off") {
    calls.top_up(caller, 500);
    CHECK(count(calls.clean(300), "ended") == 0);
  }
  SECTION("a NULL wait_time says nothing") {
    calls.db.exec("UPDATE user_status SET wait_time = NULL");
    CHECK(count(calls.clean(300), "ended") == 0);
  }
  calls.check_invariants();
}

TEST_CASE("a call whose parties have both not been seen ended when either was last seen") {
  Calls calls;
  const int caller = calls.user(10'000, -1200);
  const int listener = calls.user(0, -1150);
  const int call = calls.start(caller, listener, -1300);
  SECTION("stale_after is a limit, not reached by its last moment") {
    calls.seen(listener, -600);
    CHECK(count(calls.clean(0), "ended") == 0);
  }
  SECTION("one of them is enough to go on") {
    calls.seen(listener, 0);
    CHECK(count(calls.clean(0), "ended") == 0);
  }
  SECTION("unpaid minutes before the end are charged, later ones never") {
    const auto report = calls.clean(0);
    CHECK(count(report, "not_seen") == 1);
    CHECK(calls.call(call, "end_time = '2030-01-15T09:40:50Z'") == "t");
    CHECK(calls.call(call, "duration_seconds") == "150");
    CHECK(calls.call(call, "duration_minutes") == "2");
    CHECK(calls.ledger(call) == "1:10:api 2:10:saathiid 3:10:saathiid");
    CHECK(calls.wallet(listener, "withdrawable_money") == "3.00");
  }
  SECTION("what was charged before anybody knew is given back") {
    calls.deduct(-700);  // minutes 2 to 11 had started; the parties were seen 450 s before
    CHECK(calls.call(call, "coins_spent") == "110");
    const auto report = calls.clean(0);
    CHECK(count(report, "refunded") == 80);
    CHECK(calls.call(call, "coins_spent") == "30");
    CHECK(calls.wallet(caller) == "9970");
    CHECK(calls.wallet(listener, "withdrawable_money") == "3.00");
    CHECK(calls.ledger(call).find("4:10:saathiid!") != std::string::npos);
    CHECK(count(calls.clean(0), "ended") == 0);
  }
  for (const int party : {caller, listener}) {
    if (calls.call(call, "status") == "dropped") {
      CHECK(calls.status(party, "is_busy") == "f");
      CHECK(calls.status(party, "wait_time IS NULL") == "t");
    }
  }
  calls.check_invariants();
}

TEST_CASE("a party without a status row was last seen at the start") {
  Calls calls;
  const int call = calls.start(calls.user(10'000), calls.user(0), -660);
  calls.db.exec("DELETE FROM user_status");
  CHECK(count(calls.clean(-61), "ended") == 0);
  CHECK(count(calls.clean(0), "not_seen") == 1);
  CHECK(calls.call(call, "end_time = start_time") == "t");
  CHECK(calls.call(call, "duration_minutes") == "1");
  CHECK(calls.ledger(call) == "1:10:api");
  calls.check_invariants();
}

TEST_CASE("a 3-day-old ghost costs what it lasted, however the jobs come") {
  const int three_days_s = 3 * 86'400;
  for (const bool deduct_first : {true, false}) {
    Calls calls;
    const int caller = calls.user(1'000'000, -three_days_s + 200);
    const int call = calls.start(caller, calls.user(0, -three_days_s), -three_days_s, "video");
    if (deduct_first) {
      calls.deduct(0);
    }
    calls.clean(0);
    CHECK(calls.call(call, "coins_spent") == "240");
    CHECK(calls.call(call, "duration_seconds") == "200");
    calls.check_invariants();
  }
}

TEST_CASE("earnings: each paid minute at the badge of the business day in which it started") {
  Calls calls;
  // The business day in Asia/Kolkata begins at 18:30 UTC: T + 8 h 30 min.
  const int midnight_s = 30'600;
  const int caller = calls.user(1000);
  const int listener = calls.user(0);
  calls.badge(listener, "2030-01-15", "gold", "1.80", "10.00");
  const int call = calls.start(caller, listener, midnight_s - 90);
  SECTION("across midnight and a badge change") {
    calls.badge(listener, "2030-01-16", "bronze", "1.25", "7.00");
    calls.seen(caller, midnight_s + 80);  // minutes 1 and 2 in the old day, 3 in the new
    calls.clean(midnight_s + 80 + 601);
    CHECK(calls.wallet(listener, "withdrawable_money") == "4.85");
    CHECK(calls.call(call, "listener_money_earned") == "4");
  }
  SECTION("no badge row for that day: the basic rate") {
    calls.seen(caller, midnight_s + 80);
    calls.clean(midnight_s + 80 + 601);
    CHECK(calls.wallet(listener, "withdrawable_money") == "4.60");
  }
  CHECK(calls.text("SELECT tx_type || ' ' || coins_change FROM user_transactions WHERE "
                   "money_change > 0") == "earn 0");
  calls.check_invariants();
}

TEST_CASE("earnings can be credited as whole coins, and a missing wallet is created") {
  Calls calls;
  calls.platform.earnings_in = config::EarningsIn::coins;
  const int caller = calls.user(1000);
  const int listener = calls.user(0);
  calls.badge(listener, "2030-01-15", "silver", "1.50", "8.50");
  calls.db.exec("DELETE FROM user_wallets WHERE user_id = 2");
  const int call = calls.start(caller, listener, -150);
  calls.db.exec("UPDATE user_status SET wait_time = -1 WHERE user_id = 1");
  calls.clean(0);
  CHECK(calls.call(call, "listener_money_earned") == "4");  // 3 minutes at 1.50
  CHECK(calls.wallet(listener) == "4");
  CHECK(calls.wallet(listener, "withdrawable_money") == "0.00");
}

TEST_CASE("a party with another ongoing call stays busy") {
  Calls calls;
  const int caller = calls.user(1000);
  const int listener = calls.user(0);
  const int ghost = calls.start(calls.user(1000, -2000), listener, -2500);
  calls.seen(listener, -2000);
  const int live = calls.start(caller, listener, -30);
  calls.clean(0);
  CHECK(calls.call(ghost, "status") == "dropped");
  CHECK(calls.call(live, "status") == "ongoing");
  CHECK(calls.status(listener, "is_busy") == "t");
  calls.check_invariants();
}

TEST_CASE("exactly one settlement for each call that saathiid ended, none for others") {
  Calls calls;
  const int caller = calls.user(1000);
  const int call = calls.start(caller, calls.user(0), -90);
  calls.db.exec("UPDATE user_status SET wait_time = 0 WHERE user_id = 1");
  pqxx::connection api(calls.db.owner_url());
  SECTION("the API is ending it: it is left alone") {
    pqxx::work ending(api);
    ending.exec("UPDATE user_calls SET status = 'completed', end_time = now()");
    CHECK(count(calls.clean(0), "ended") == 0);
    ending.commit();
    CHECK(count(calls.clean(0), "ended") == 0);
    CHECK(calls.text("SELECT count(*) FROM saathii_tasks.call_settlement") == "0");
  }
  SECTION("run again, nothing is settled twice") {
    calls.clean(0);
    calls.clean(0);
    calls.deduct(0);
    CHECK(calls.text("SELECT count(*) FROM user_transactions WHERE tx_type = 'earn'") == "1");
    CHECK(calls.text("SELECT reason || minutes || ' ' || earned FROM "
                     "saathii_tasks.call_settlement WHERE call_id = " +
                     std::to_string(call)) == "no_wait_time2 2.00");
  }
  calls.check_invariants();
}

TEST_CASE("many calls end in pages") {
  Calls calls;
  for (int i = 0; i < 23; ++i) {
    calls.start(calls.user(1000, -2000), calls.user(0, -2000), -2100);
  }
  CHECK(count(calls.clean(0, {{"batch_size", std::int64_t{5}}}), "ended") == 23);
  calls.check_invariants();
}

TEST_CASE("a caller deleted in between takes nothing else along") {
  Calls calls;
  const int gone = calls.user(1000, -2000);
  calls.start(gone, calls.user(0, -2000), -2100);
  const int other = calls.start(calls.user(1000, -2000), calls.user(0, -2000), -2100);
  calls.deduct(-1900);
  calls.db.exec("DELETE FROM users WHERE user_id = " + std::to_string(gone));
  CHECK(count(calls.clean(0), "ended") == 1);
  CHECK(calls.call(other, "status") == "dropped");
}
