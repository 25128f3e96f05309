#include "audited.hpp"

using namespace saathii;
using namespace saathii::test;
using audit::Repair;
using Catch::Matchers::ContainsSubstring;

namespace {

struct Ended : OneCall {
  /// All that a repair may touch.
  std::string books() {
    return text("SELECT * FROM user_wallets ORDER BY 1") +
           text("SELECT * FROM user_transactions ORDER BY 1") +
           text("SELECT * FROM user_calls ORDER BY 1") +
           text("SELECT * FROM saathii_tasks.call_charge ORDER BY 1, 2") +
           text("SELECT * FROM saathii_tasks.call_settlement ORDER BY 1");
  }
};

}  // namespace

TEST_CASE("a clean platform needs no repair") {
  Ended p;
  const auto plan = p.plan(p.audit(1000));
  CHECK(plan.repairs.empty());
  CHECK(plan.left.empty());
}

TEST_CASE("minutes after the end are given back, each with its transaction") {
  Ended p;
  p.write("UPDATE user_calls SET end_time = '" + to_iso8601(after(-91)) + "'");
  const auto report = p.audit();
  const auto before = p.books();
  const auto plan = p.plan(report);
  CHECK(p.books() == before);
  REQUIRE(plan.repairs.size() == 2);
  CHECK(plan.left.empty());
  CHECK(plan.repairs[0].what == Repair::What::give_back);
  CHECK(plan.repairs[0].minute == 2);
  CHECK(plan.repairs[0].coins == 10);
  CHECK(plan.repairs[0].user_id == p.caller);

  CHECK(p.apply(plan.repairs) == 2);
  CHECK(p.ledger(p.call_id) == "1:10:api 2:10:saathiid! 3:10:saathiid!");
  CHECK(p.wallet(p.caller) == "90");
  CHECK(p.call(p.call_id, "coins_spent") == "10");
  CHECK(p.text("SELECT coins_change FROM user_transactions WHERE coins_change > 0") == "10;10");
  CHECK(Audited::violations(p.audit()).empty());

  const auto once = p.books();
  CHECK(p.apply(plan.repairs) == 0);
  CHECK(p.books() == once);
}

TEST_CASE("a repair that is no longer as planned does nothing") {
  Ended p;
  p.write("UPDATE user_calls SET end_time = '" + to_iso8601(after(-91)) + "'");
  const auto plan = p.plan(p.audit());
  SECTION("the call ended later after all") {
    p.write("UPDATE user_calls SET end_time = '" + to_iso8601(after(10)) + "'");
  }
  SECTION("another amount") { p.db.exec("UPDATE saathii_tasks.call_charge SET coins = 9"); }
  SECTION("no wallet") {
    p.db.exec("DELETE FROM user_wallets WHERE user_id = " + std::to_string(p.caller));
  }
  const auto before = p.books();
  CHECK(p.apply(plan.repairs) == 0);
  CHECK(p.books() == before);
}

TEST_CASE("a late minute for which the listener was paid is left to people") {
  Audited p;
  const int caller = p.user(25), listener = p.user(0);
  const int call = p.start(caller, listener, -130);
  p.deduct(0);
  const std::string end = to_iso8601(after(-71));
  p.db.exec("UPDATE user_calls SET end_time = '" + end + "'");
  p.db.exec("UPDATE saathii_tasks.call_settlement SET reason = 'no_wait_time', end_time = '" + end +
            "', settled_at = clock_timestamp()");
  const auto report = p.audit();
  REQUIRE(Audited::violations(report) == words("6 after_end", call, caller));
  const auto plan = p.plan(report);
  CHECK(plan.repairs.empty());
  REQUIRE(plan.left.size() == 1);
  CHECK_THAT(plan.left[0].why, ContainsSubstring("the listener was paid"));

  SECTION("one that was charged after the settlement is not") {
    p.db.exec(
        "UPDATE saathii_tasks.call_settlement SET settled_at = '2020-01-01', minutes = 1, "
        "coins = 10, earned = 1");
    const auto late = p.plan(p.audit());
    REQUIRE(late.repairs.size() == 1);
    CHECK(p.apply(late.repairs) == 1);
    CHECK(p.ledger(call) == "1:10:api 2:10:saathiid!");
  }
}

TEST_CASE("a charge that the wallet has had gets its transaction") {
  Ended p;
  p.db.exec(
      "DELETE FROM user_transactions WHERE transaction_id = (SELECT max(transaction_id) FROM "
      "user_transactions WHERE tx_type = 'spend')");
  const auto report = p.audit();
  REQUIRE(Audited::violations(report) ==
          words("3 spend_missing", 0, p.caller) + "; " + words("3 sum", 0, p.caller));
  const auto plan = p.plan(report);
  REQUIRE(plan.repairs.size() == 1);
  CHECK(plan.left.empty());
  CHECK(plan.repairs[0].what == Repair::What::add_spend);
  CHECK(plan.repairs[0].coins == 10);

  SECTION("once") {
    CHECK(p.apply(plan.repairs) == 1);
    CHECK(p.wallet(p.caller) == "70");
    CHECK(Audited::violations(p.audit()).empty());
    CHECK(p.apply(plan.repairs) == 0);
  }
  SECTION("not where the wallet is off by something else, too") {
    p.db.exec("UPDATE user_wallets SET balance_coins = 71 WHERE user_id = " +
              std::to_string(p.caller));
    CHECK(p.apply(plan.repairs) == 0);
    const auto unclear = p.plan(p.audit());
    CHECK(unclear.repairs.empty());
    CHECK(unclear.left.size() == 2);
  }
}

TEST_CASE("a dropped call that nobody settled is settled") {
  Ended p;
  p.write("UPDATE user_calls SET status = 'dropped', listener_money_earned = 0");
  p.db.exec("DELETE FROM user_transactions WHERE tx_type = 'earn'");
  p.db.exec("UPDATE user_wallets SET withdrawable_money = 0");
  const auto plan = p.plan(p.audit(1000));
  REQUIRE(plan.repairs.size() == 1);
  CHECK(plan.left.empty());
  CHECK(plan.repairs[0].what == Repair::What::settle);
  CHECK(plan.repairs[0].minute == 3);
  CHECK(plan.repairs[0].money == "3.00");

  SECTION("once") {
    CHECK(p.apply(plan.repairs) == 1);
    CHECK(p.wallet(p.listener, "withdrawable_money") == "3.00");
    CHECK(p.text("SELECT reason, minutes, coins, earned FROM saathii_tasks.call_settlement") ==
          "repaired|3|30|3.00");
    CHECK(p.call(p.call_id, "listener_money_earned") == "3");
    CHECK(Audited::violations(p.audit(1000)).empty());
    CHECK(p.apply(plan.repairs) == 0);
    CHECK(p.wallet(p.listener, "withdrawable_money") == "3.00");
  }
  SECTION("not what another hand has settled meanwhile") {
    p.db.exec(
        "INSERT INTO saathii_tasks.call_settlement (call_id, user_id, listener_id, reason, "
        "end_time, minutes, coins, earned) SELECT call_id, user_id, listener_id, 'balance', "
        "end_time, 3, 30, 3 FROM user_calls");
    CHECK(p.apply(plan.repairs) == 0);
    CHECK(p.wallet(p.listener, "withdrawable_money") == "0.00");
  }
  SECTION("not where the listener was paid something at that time") {
    p.db.exec(
        "INSERT INTO user_transactions (wallet_id, tx_type, money_change, created_at) SELECT "
        "wallet_id, 'earn', 3, '" +
        to_iso8601(after(12)) +
        "' FROM user_wallets WHERE user_id = " + std::to_string(p.listener));
    CHECK(p.apply(plan.repairs) == 0);
    const auto left = p.plan(p.audit(1000)).left;
    REQUIRE(!left.empty());
    CHECK(std::ranges::any_of(left, [](const auto& each) {
      return each.kind == "unsettled" && each.why.find("maybe for this call") != std::string::npos;
    }));
  }
}

TEST_CASE("a plan that has not all of it says so") {
  Audited p;
  const int caller = p.user(1000), listener = p.user(0);
  const int first = p.start(caller, listener, -150), second = p.start(caller, listener, -150);
  p.deduct(0);
  p.end_by_api(first, -91);
  p.end_by_api(second, -91);
  p.options.limit = 1;
  const auto part = p.plan(p.audit());
  CHECK(part.repairs.size() == 2);
  CHECK(!part.is_complete);
  CHECK(p.apply(part.repairs) == 2);
  const auto rest = p.plan(p.audit());
  CHECK(rest.repairs.size() == 2);
  CHECK(rest.is_complete);
}

TEST_CASE("a repair waits for who holds the call, and looks again") {
  Ended p;
  p.write("UPDATE user_calls SET end_time = '" + to_iso8601(after(-91)) + "'");
  const auto plan = p.plan(p.audit());
  pqxx::connection other(p.db.owner_url());
  pqxx::work holder(other);
  holder.exec("UPDATE user_calls SET end_time = '" + to_iso8601(after(10)) + "'");
  config::Postgres settings = p.db.daemon_settings();
  settings.lock_timeout = std::chrono::milliseconds{50};
  ServerState state("postgres");
  postgres::Pool pool(settings, state);
  {
    const auto lease = pool.lease({});
    CHECK_THROWS_AS(audit::apply(*lease, p.terms(), plan.repairs[0]), postgres::LockTimeout);
  }
  holder.commit();
  CHECK(p.apply(plan.repairs) == 0);
}

TEST_CASE("what no row makes good is left to people, with the reason") {
  Ended p;
  p.write("UPDATE user_calls SET coins_spent = 29");
  p.db.exec("UPDATE user_wallets SET balance_coins = -1 WHERE user_id = " +
            std::to_string(p.caller));
  const auto plan = p.plan(p.audit());
  CHECK(plan.repairs.empty());
  std::string left;
  for (const auto& each : plan.left) {
    left +=
        std::to_string(each.invariant) + " " + each.kind + " " + std::to_string(each.count) + ";";
    CHECK(!each.why.empty());
  }
  CHECK(left == "3 sum 1;4 coins_spent 1;5 below_zero 1;");
}
