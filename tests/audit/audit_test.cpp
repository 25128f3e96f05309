#include "saathii/audit/audit.hpp"

#include "audited.hpp"

using namespace saathii;
using namespace saathii::test;
using audit::Result;
using Catch::Matchers::ContainsSubstring;

namespace {

/// One call that saathiid ended because its caller could not pay.
struct OneDropped : WithCall {
  OneDropped() {
    caller = user(25);
    listener = user(0);
    take_baseline();
    call_id = start(caller, listener, -130);
    deduct(0);
  }
};

}  // namespace

TEST_CASE("a platform on which all the jobs have run holds every invariant") {
  Audited p;
  const int rich = p.user(1000), poor = p.user(25), gone = p.user(1000, -700), quick = p.user(100);
  const int first = p.user(0), second = p.user(0), third = p.user(0, -700), fourth = p.user(0);
  p.take_baseline();
  p.start(rich, first, -150, "video");
  p.start(poor, second, -70);
  const int crashed = p.start(gone, third, -800);
  const int ended = p.start(quick, fourth, -200);
  p.badge(first, "2030-01-15", "gold", "1.80", "10.00");
  p.deduct(-400);
  p.deduct(0);
  p.end_by_api(ended, 30);
  p.top_up(rich, 500);
  p.clean(60);
  p.deduct(60);
  REQUIRE_THAT(p.ledger(crashed), ContainsSubstring("!"));
  REQUIRE(p.call(crashed, "status") == "dropped");

  for (const int slice : {1, 1000}) {
    p.options.calls_in_slice = p.options.wallets_in_slice = p.options.statuses_in_slice = slice;
    const auto report = p.audit(60);
    CHECK(Audited::violations(report).empty());
    for (const auto& finding : report.findings) {
      INFO(finding.number);
      CHECK(finding.result == (finding.number == 10 ? Result::not_checked : Result::holds));
    }
    for (const auto& [what, count] : report.looked_at) UNSCOPED_INFO(what << " " << count);
    CHECK(report.looked_at ==
          std::vector<std::pair<std::string, std::int64_t>>{{"calls", 4},
                                                            {"charges", 17},
                                                            {"settlements", 2},
                                                            {"wallets", 8},
                                                            {"transactions", 26},
                                                            {"statuses", 8}});
  }
}

TEST_CASE("other increments, a rate that changes and minutes that are waived hold, too") {
  Audited p;
  p.platform.rates.increment = std::chrono::seconds{6};
  const int caller = p.user(1000), listener = p.user(0), late = p.user(1000), poor = p.user(35);
  p.take_baseline();
  const int call = p.start(caller, listener, -20);
  p.deduct(0);
  p.platform.rates.audio = 15;
  p.platform.rates.increment = std::chrono::seconds{10};
  p.deduct(13);
  const int waived = p.start(late, p.user(0), 13);
  const int dropped = p.start(poor, p.user(0), 14);
  p.deduct(83, {{"charge_catch_up_limit", std::int64_t{2}}});
  REQUIRE_THAT(p.ledger(call), ContainsSubstring("6:10:saathiid 7:0:waived"));
  REQUIRE_THAT(p.ledger(call), ContainsSubstring("17:15:saathiid"));
  REQUIRE_THAT(p.ledger(waived), ContainsSubstring("2:0:waived"));
  REQUIRE(p.call(dropped, "status") == "dropped");
  p.platform.rates.audio = 10;
  p.deduct(90);
  p.options.grace = std::chrono::seconds{1};
  p.record_run(90, 90);
  const auto report = p.audit(95);
  CHECK(Audited::violations(report).empty());
  CHECK(report.charged_until == after(85));
}

TEST_CASE("without any charge only ongoing calls are looked at") {
  Audited p;
  const int caller = p.user(100), listener = p.user(0);
  p.end_by_api(p.start(caller, listener, -5000), -4000);
  const auto report = p.audit();
  CHECK(Audited::violations(report).empty());
  CHECK(!report.since);
}

TEST_CASE("1: a minute that was charged twice, and a key that does not prevent it") {
  OneCall p;
  p.db.exec("ALTER TABLE saathii_tasks.call_charge DROP CONSTRAINT call_charge_pkey");
  CHECK(Audited::violations(p.audit()) == "1 no_unique_key");
  p.db.exec(
      "INSERT INTO saathii_tasks.call_charge (call_id, minute, user_id, coins, minute_start, "
      "source) SELECT call_id, minute, user_id, 0, minute_start, source FROM "
      "saathii_tasks.call_charge WHERE minute = 2");
  const auto report = p.audit();
  CHECK_THAT(Audited::violations(report), ContainsSubstring(p.of_call("1 charged_twice")));
  CHECK(finding(report, 1).offenders.at(1).expected == "minute 2 once");
  CHECK(finding(report, 1).offenders.at(1).found == "2 times");
}

TEST_CASE("2: a gap, a minute that starts elsewhere, and one charged before it has started") {
  OneCall p;
  SECTION("gap") {
    p.db.exec(
        "UPDATE saathii_tasks.call_charge SET minute = 4, minute_start = minute_start + "
        "interval '1 minute' WHERE minute = 3");
    CHECK_THAT(Audited::violations(p.audit()), ContainsSubstring(p.of_call("2 gap")));
  }
  SECTION("a minute in between given back") {
    p.db.exec("UPDATE saathii_tasks.call_charge SET refunded_at = now() WHERE minute = 2");
    CHECK_THAT(Audited::violations(p.audit()), ContainsSubstring(p.of_call("2 gap")));
  }
  SECTION("misplaced") {
    p.db.exec(
        "UPDATE saathii_tasks.call_charge SET minute_start = minute_start + "
        "interval '1 second' WHERE minute = 2");
    CHECK(Audited::violations(p.audit()) == p.of_call("2 misplaced"));
  }
  SECTION("early") { CHECK(Audited::violations(p.audit(-60)) == p.of_call("2 early")); }
}

TEST_CASE("2: an ongoing call is behind once its minutes are older than the grace") {
  Audited p;
  const int caller = p.user(1000), listener = p.user(0);
  const int call = p.start(caller, listener, -1200);
  // A ledger that is not empty, by another call.
  p.start(p.user(100), p.user(0), -100);
  p.deduct(-700);
  REQUIRE_THAT(p.ledger(call), ContainsSubstring("9:10:saathiid"));
  CHECK(Audited::violations(p.audit(-700)).empty());
  const auto report = p.audit(0);
  CHECK(Audited::violations(report) == words("2 behind", call, caller));
  CHECK(finding(report, 2).offenders.at(0).expected ==
        "11 minutes had started by 2030-01-15 09:50:00+00");
  CHECK(finding(report, 2).offenders.at(0).found == "9 charged");

  SECTION("not while both parties are silent") {
    p.seen(caller, -800);
    p.seen(listener, -900);
    CHECK(Audited::violations(p.audit(0)).empty());
  }
  SECTION("not for minutes that the last run could not see") {
    p.record_run(-700, -699);
    const auto caught_up = p.audit(0);
    CHECK(Audited::violations(caught_up).empty());
    CHECK_THAT(finding(caught_up, 2).notes.at(0), ContainsSubstring("11 min 40 s before"));
  }
  SECTION("a run that failed proves nothing") {
    p.record_run(-700, -699);
    p.record_run(-10, -9, 0, "failed");
    CHECK(Audited::violations(p.audit(0)).empty());
  }
}

TEST_CASE("2: a call that the API ended is charged up to the last run before") {
  OneCall p;
  // Until minute 6, which starts at 150 s; the API ends it a minute later.
  const int call = p.start(p.caller, p.listener, -150);
  p.deduct(0);
  p.end_by_api(call, 220);
  CHECK(Audited::violations(p.audit(300)).empty());
  p.record_run(0, 1);
  CHECK(Audited::violations(p.audit(300)).empty());

  SECTION("a run has charged less than it should") {
    p.record_run(160, 161);
    const auto report = p.audit(300);
    CHECK(Audited::violations(report) == words("2 behind", call, p.caller));
    CHECK(finding(report, 2).offenders.at(0).found == "3 charged");
  }
  SECTION("a run that held some call may have held this one") {
    p.record_run(160, 161, 1);
    CHECK(Audited::violations(p.audit(300)).empty());
  }
  SECTION("a run that went on until after the end may not have come to it") {
    p.record_run(160, 218);
    CHECK(Audited::violations(p.audit(300)).empty());
  }
}

TEST_CASE("3: opening balances come from the baseline, and wallets after it open with nothing") {
  Audited p;
  const int caller = p.user(100), listener = p.user(0);
  const int call = p.start(caller, listener, -150);
  const auto none = p.audit();
  CHECK(finding(none, 3).result == Result::not_checked);
  CHECK_THAT(finding(none, 3).notes.at(0), ContainsSubstring("--baseline"));
  CHECK(!none.baseline);

  const auto baseline = p.take_baseline();
  CHECK(baseline.wallets == 2);
  CHECK(baseline.openings == 1);
  CHECK(p.text("SELECT coins FROM saathii_tasks.audit_baseline WHERE wallet_id <> 0") == "100");
  p.deduct(0);
  const auto report = p.audit();
  CHECK(finding(report, 3).result == Result::holds);
  CHECK(report.baseline);

  p.db.exec("UPDATE user_wallets SET balance_coins = balance_coins + 1 WHERE user_id = " +
            std::to_string(caller));
  const int gifted = p.user(7);
  const auto wrong = p.audit();
  CHECK(Audited::violations(wrong) == words("3 sum", 0, caller) + "; " + words("3 sum", 0, gifted));
  CHECK(finding(wrong, 3).offenders.at(0).expected == "70 coins, 0.00 rupees, by its transactions");
  CHECK(finding(wrong, 3).offenders.at(0).found == "71 coins, 0.00 rupees in the wallet");

  SECTION("a new baseline takes the place of the old") {
    CHECK(p.take_baseline().openings == 2);
    CHECK(Audited::violations(p.audit()).empty());
  }
  SECTION("money, too") {
    p.take_baseline();
    p.db.exec("UPDATE user_wallets SET withdrawable_money = 0.01 WHERE user_id = " +
              std::to_string(listener));
    CHECK(Audited::violations(p.audit()) == words("3 sum", 0, listener));
  }
  CHECK(p.call(call, "status") == "ongoing");
}

TEST_CASE("3: charges and refunds without their transactions are found without a baseline") {
  OneCall p;
  p.db.exec("DELETE FROM saathii_tasks.audit_baseline");
  SECTION("spends") {
    p.db.exec("DELETE FROM user_transactions WHERE tx_type = 'spend'");
    const auto report = p.audit();
    CHECK(Audited::violations(report) == words("3 charge_without_spend", 0, p.caller));
    CHECK(finding(report, 3).offenders.at(0).expected == "30 coins spent on calls");
  }
  SECTION("refunds") {
    p.write("UPDATE user_calls SET coins_spent = 20");
    p.db.exec("UPDATE saathii_tasks.call_charge SET refunded_at = now() WHERE minute = 3");
    CHECK(Audited::violations(p.audit()) == words("3 refund_missing", 0, p.caller));
  }
}

TEST_CASE("4: coins_spent that is not the sum of the charges") {
  OneCall p;
  p.write("UPDATE user_calls SET coins_spent = 29");
  const auto report = p.audit();
  CHECK(Audited::violations(report) == p.of_call("4 coins_spent"));
  CHECK(finding(report, 4).offenders.at(0).expected == "coins_spent 30");
  CHECK(finding(report, 4).offenders.at(0).found == "29");
}

TEST_CASE("5: a balance below 0, now or after a charge") {
  OneCall p;
  SECTION("now") {
    p.db.exec("UPDATE user_wallets SET balance_coins = -1 WHERE user_id = " +
              std::to_string(p.caller));
    CHECK_THAT(Audited::violations(p.audit()),
               ContainsSubstring(words("5 below_zero", 0, p.caller)));
  }
  SECTION("then") {
    p.db.exec("UPDATE saathii_tasks.call_charge SET balance_after = -10 WHERE minute = 2");
    CHECK(Audited::violations(p.audit()) == p.of_call("5 fell_below"));
  }
}

TEST_CASE("6: a minute that starts after the end of its call") {
  OneCall p;
  p.write("UPDATE user_calls SET end_time = '" + to_iso8601(after(-31)) + "'");
  const auto report = p.audit();
  CHECK(Audited::violations(report) == p.of_call("6 after_end"));
  CHECK(finding(report, 6).offenders.at(0).found == "1 charged, from minute 3");
}

TEST_CASE("7: a drop that no rule allows") {
  OneDropped p;
  REQUIRE(p.text("SELECT status FROM user_calls") == "dropped");
  CHECK(Audited::violations(p.audit()).empty());
  const std::string settlement = "UPDATE saathii_tasks.call_settlement SET ";
  SECTION("an unknown reason") {
    p.write(settlement + "reason = 'whim'");
    CHECK(Audited::violations(p.audit()) == p.of_call("7 reason"));
  }
  SECTION("the caller could pay") {
    p.db.exec("UPDATE saathii_tasks.call_charge SET balance_after = 10 WHERE minute = 2");
    const auto report = p.audit();
    CHECK(Audited::violations(report) == p.of_call("7 could_pay"));
    CHECK(finding(report, 7).offenders.at(0).expected == "a balance below 10 (balance)");
  }
  SECTION("another call took what was left") {
    p.db.exec("UPDATE saathii_tasks.call_charge SET balance_after = 10 WHERE minute = 2");
    p.raw_call(std::to_string(p.caller), std::to_string(p.listener), "audio", -120, "0");
    p.db.exec(
        "UPDATE user_calls SET status = 'completed', end_time = start_time, "
        "listener_money_earned = 1 WHERE coins_spent = 0");
    CHECK(Audited::violations(p.audit()).empty());
  }
  SECTION("the next minute had not started") {
    const std::string end = "end_time = '" + to_iso8601(after(-20)) + "'";
    p.write(settlement + end);
    p.write("UPDATE user_calls SET " + end);
    CHECK(Audited::violations(p.audit()) == p.of_call("7 too_early"));
  }
  SECTION("somebody had just been seen") {
    p.write(settlement + "reason = 'not_seen', settled_at = end_time + interval '59 s'");
    CHECK(Audited::violations(p.audit()) == p.of_call("7 was_seen"));
  }
}

TEST_CASE("2: a call that cleanup ended is charged as far as the balance goes") {
  OneDropped p;
  p.write("UPDATE saathii_tasks.call_settlement SET reason = 'not_seen'");
  CHECK(Audited::violations(p.audit()).empty());
  p.db.exec("UPDATE saathii_tasks.call_charge SET balance_after = 10 WHERE minute = 2");
  CHECK(Audited::violations(p.audit()) == p.of_call("2 behind"));
}

TEST_CASE("8: settlements that are not what the call was paid for") {
  OneDropped p;
  const std::string settlement = "UPDATE saathii_tasks.call_settlement SET ";
  SECTION("minutes and coins") {
    p.write(settlement + "coins = 21");
    CHECK(Audited::violations(p.audit()) == p.of_call("8 paid"));
  }
  SECTION("earnings") {
    p.write(settlement + "earned = 2.01");
    CHECK(Audited::violations(p.audit()) ==
          p.of_call("8 earned") + "; " + words("8 credit_missing", 0, p.listener));
  }
  SECTION("earnings by a badge that came later are not known") {
    p.write("UPDATE user_calls SET listener_money_earned = 1");
    p.write(settlement + "earned = 1.99");
    REQUIRE(Audited::violations(p.audit()) == p.of_call("8 earned"));
    p.badge(p.listener, "2030-01-15", "gold", "1.80", "10.00");
    CHECK(Audited::violations(p.audit()).empty());
  }
  SECTION("what the call says of them") {
    p.write("UPDATE user_calls SET listener_money_earned = 3");
    CHECK(Audited::violations(p.audit()) == p.of_call("8 money_earned"));
  }
  SECTION("a call that says otherwise") {
    p.write("UPDATE user_calls SET status = 'ongoing'");
    CHECK_THAT(Audited::violations(p.audit()), ContainsSubstring(p.of_call("8 differs")));
  }
  SECTION("the API ended it in the same moment: told, and no violation") {
    p.write("UPDATE user_calls SET status = 'completed'");
    p.write(settlement + "settled_at = end_time");
    const auto report = p.audit();
    CHECK(Audited::violations(report).empty());
    CHECK(finding(report, 8).result == Result::holds);
    CHECK_THAT(finding(report, 8).notes.at(0), ContainsSubstring("1 call was ended by saathiid"));
  }
  SECTION("a credit that never came") {
    p.db.exec("DELETE FROM user_transactions WHERE tx_type = 'earn'");
    p.take_baseline();
    CHECK(Audited::violations(p.audit()) == words("8 credit_missing", 0, p.listener));
  }
}

TEST_CASE("8: a call that nobody settled") {
  OneCall p;
  p.end_by_api(p.call_id, 10, "dropped", 0);
  CHECK(Audited::violations(p.audit(610)).empty());
  const auto report = p.audit(611);
  CHECK(Audited::violations(report) == words("8 unsettled", p.call_id, p.listener));
  CHECK(finding(report, 8).offenders.at(0).expected == "3.00 earned by 3 minutes");
  p.end_by_api(p.call_id, 10, "completed", 0);
  CHECK(Audited::violations(p.audit(611)) == words("8 nothing_earned", p.call_id, p.listener));
}

TEST_CASE("8: earnings that are credited as coins") {
  Audited p;
  p.platform.earnings_in = config::EarningsIn::coins;
  p.platform.badges.tiers[0].audio_paise = 175;
  const int caller = p.user(25), listener = p.user(0);
  p.take_baseline();
  p.start(caller, listener, -130);
  p.deduct(0);
  REQUIRE(p.wallet(listener) == "3");
  CHECK(Audited::violations(p.audit()).empty());
}

TEST_CASE("9: busy without a call, and a call without busy") {
  Audited p;
  const int caller = p.user(1000), listener = p.user(0), idle = p.user(0);
  const int call = p.start(caller, listener, -700);
  p.deduct(0);
  const auto set_busy = [&](int user, bool busy, int at_s) {
    p.db.exec("UPDATE user_status SET is_busy = " + PlatformDb::literal(busy) + ", updated_at = '" +
              to_iso8601(after(at_s)) + "' WHERE user_id = " + std::to_string(user));
  };
  CHECK(Audited::violations(p.audit(0)).empty());
  set_busy(idle, true, -599);
  CHECK(Audited::violations(p.audit(0)).empty());
  CHECK(Audited::violations(p.audit(2)) == words("9 busy_without_call", 0, idle));
  set_busy(idle, false, 0);
  set_busy(listener, false, 0);
  CHECK(Audited::violations(p.audit(0)) == words("9 call_without_busy", call, listener));

  SECTION("the API clears the flag of who ends another call") {
    p.top_up(listener, 10);
    const int other = p.start(listener, p.user(0), -600);
    p.end_by_api(other, -500);
    CHECK(Audited::violations(p.audit(0)).empty());
  }
  SECTION("not of a call that has just begun") {
    p.options.grace = std::chrono::minutes{15};
    CHECK(Audited::violations(p.audit(0)).empty());
  }
}

TEST_CASE("calls that started before --since are left out") {
  OneCall p;
  p.write("UPDATE user_calls SET coins_spent = 29");
  p.options.since = after(-150);
  CHECK(Audited::violations(p.audit()) == p.of_call("4 coins_spent"));
  p.options.since = after(-149);
  CHECK(Audited::violations(p.audit()).empty());
}

TEST_CASE("all violations are counted, the first ones listed") {
  Audited p;
  const int caller = p.user(1000), listener = p.user(0);
  for (int i = 0; i < 5; ++i) p.end_by_api(p.start(caller, listener, -150), -10);
  p.end_by_api(p.start(caller, listener, -150), 10);
  p.start(caller, listener, -150);
  p.deduct(0);
  p.db.exec(
      "INSERT INTO saathii_tasks.call_charge (call_id, minute, user_id, coins, minute_start, "
      "source) SELECT call_id, 1, user_id, 11, start_time, 'api' FROM user_calls "
      "WHERE status = 'completed'");
  p.options.limit = 2;
  p.options.calls_in_slice = 3;
  const auto report = p.audit();
  CHECK(finding(report, 4).violations == 6);
  CHECK(finding(report, 4).offenders.size() == 2);
  CHECK(finding(report, 4).kinds ==
        std::vector<std::pair<std::string, std::int64_t>>{{"coins_spent", 6}});
}

TEST_CASE("a role that can only read is enough, and nothing is written") {
  OneCall p;
  const std::string role = "saathii_auditor";
  p.db.exec("DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '" + role +
            "') THEN CREATE ROLE " + role + " LOGIN; END IF; END $$");
  p.db.exec("GRANT USAGE ON SCHEMA public, saathii_tasks TO " + role);
  p.db.exec("GRANT SELECT ON ALL TABLES IN SCHEMA public, saathii_tasks TO " + role);
  p.db.exec("ALTER ROLE " + role + " SET default_transaction_read_only = on");
  config::Postgres settings = p.db.owner_settings();
  settings.only_reads = true;
  settings.url.replace(settings.url.find("user=") + 5, std::string{"postgres"}.size(), role);
  ServerState state("postgres");
  postgres::Pool pool(settings, state);
  CHECK(Audited::violations(p.audit(0, &pool)).empty());
  p.write("UPDATE user_calls SET end_time = '" + to_iso8601(after(-31)) + "'");
  const auto report = p.audit(0, &pool);
  CHECK(Audited::violations(report) == p.of_call("6 after_end"));
  const auto lease = pool.lease({});
  CHECK_THROWS(audit::apply(*lease, p.terms(), p.plan(report).repairs.at(0)));
  CHECK_THROWS(audit::take_baseline(*lease));
  p.db.exec("DROP OWNED BY " + role);
}

TEST_CASE("a stop ends an audit between two slices") {
  OneCall p;
  p.stop.request_stop();
  CHECK_THROWS_AS(p.audit(), Stopped);
}

TEST_CASE("progress grows to the whole") {
  OneCall p;
  p.options.as_of = after(0);
  p.options.calls_in_slice = 1;
  std::vector<double> shares;
  const auto lease = p.pool->lease({});
  const auto report = audit::run(*lease, nullptr, p.terms(), p.options,
                                 [&](auto, double share) { shares.push_back(share); }, {});
  CHECK(std::ranges::is_sorted(shares));
  CHECK(shares.size() > 5);
  CHECK(shares.back() > 0.999);
}
