#include "saathii/postgres/inquiry.hpp"

#include "catch.hpp"
#include "saathii/base/errors.hpp"
#include "saathii/postgres/run_ledger.hpp"
#include "support/platform_db.hpp"

namespace saathii::test {

namespace {

using postgres::HistoryQuery;
using runner::Record;
using schedule::Outcome;
using std::chrono::minutes;
using std::chrono::seconds;

const Instant T = at("2030-01-15T10:00:00.25Z");

/// Asks as the daemon's least-privileged role.
struct Ledgers : PlatformDb {
  std::vector<Record> history(const HistoryQuery& query) {
    return postgres::history(pool, query, {});
  }

  /// "job outcome minutes-after-T", a line for each.
  std::string told(const HistoryQuery& query) {
    std::string text;
    for (const auto& record : history(query)) {
      text += fmt::format("{} {} {}\n", record.job, schedule::to_string(record.outcome),
                          (record.scheduled_at - T) / minutes{1});
    }
    return text;
  }

  void record(const std::vector<Record>& records) {
    postgres::RunLedger(pool, config::Service{}).record(records);
  }

  void add_charge(int call_id, int minute, const std::string& source, std::int64_t coins,
                  const std::string& balance_after, const std::string& refunded = "NULL") {
    exec(fmt::format(
        "INSERT INTO saathii_tasks.call_charge (call_id, minute, user_id, coins, minute_start, "
        "source, balance_after, charged_at, refunded_at) VALUES ({0}, {1}, 1, {3}, timestamptz {5} "
        "+ "
        "interval '1 min' * ({1} - 1), '{2}', {4}, timestamptz {5} + interval '1 min' * {1}, {6})",
        call_id, minute, source, coins, balance_after, literal(T), refunded));
  }

  ServerState state{"postgres"};
  postgres::Pool pool{daemon_settings(), state};
};

Record tick(std::string job, int minute, Outcome outcome = Outcome::succeeded) {
  Record made;
  made.job = std::move(job);
  made.run_id = "0d1c64c8-5a7c-4b1e-9f0f-7d4c1a2b3c4d";
  made.scheduled_at = T + minutes{minute};
  made.last_scheduled_at = made.scheduled_at;
  made.outcome = outcome;
  made.started_at = made.scheduled_at + seconds{1};
  made.finished_at = made.scheduled_at + seconds{2};
  made.attempts = 1;
  return made;
}

Record range(std::string job, int first, int last) {
  Record made;
  made.job = std::move(job);
  made.scheduled_at = T + minutes{first};
  made.last_scheduled_at = T + minutes{last};
  made.ticks = last - first + 1;
  made.outcome = Outcome::missed;
  made.reason = "the daemon was not running";
  return made;
}

}  // namespace

TEST_CASE("an empty ledger has no history, and it is asked for in vain") {
  Ledgers db;
  CHECK(db.history({}).empty());
  CHECK(db.history({.job = "a", .since = T, .outcome = "failed", .limit = 10'000}).empty());
}

TEST_CASE("a history may end at a moment, which counts") {
  Ledgers db;
  db.record({tick("a", 0), range("a", 1, 5), tick("a", 6), tick("b", 1), tick("b", 2)});
  CHECK(db.told({.job = "", .since = {}, .outcome = "", .limit = 50, .until = T + minutes{1}}) ==
        "a missed 1\nb succeeded 1\na succeeded 0\n");
  // A range that reaches into the time begins before it, and before its end.
  CHECK(db.told({.job = "a", .since = T + minutes{3}, .outcome = "", .limit = 50, .until = T})
            .empty());
  CHECK(db.told({.job = "a",
                 .since = T + minutes{3},
                 .outcome = "",
                 .limit = 50,
                 .until = T + minutes{5}}) == "a missed 1\n");
}

TEST_CASE("an outcome is read back as it was recorded") {
  Ledgers db;
  auto run = tick("a", 0, Outcome::timed_out);
  run.reason = "took longer\nthan 5 min Δ";
  run.attempts = 3;
  run.counts = {{"calls", 312}, {"coins", -5}};
  db.record({run, range("a", 1, 120)});
  const auto records = db.history({.job = "a", .since = {}, .outcome = "", .limit = 50});
  REQUIRE(records.size() == 2);
  const auto& missed = records[0];
  CHECK(missed.run_id.empty());
  CHECK(missed.ticks == 120);
  CHECK(missed.scheduled_at == T + minutes{1});
  CHECK(missed.last_scheduled_at == T + minutes{120});
  CHECK(missed.outcome == Outcome::missed);
  CHECK(missed.reason == "the daemon was not running");
  CHECK_FALSE(missed.started_at.has_value());
  CHECK_FALSE(missed.finished_at.has_value());
  CHECK(missed.counts.empty());
  const auto& ran = records[1];
  CHECK(ran.job == "a");
  CHECK(ran.run_id == run.run_id);
  CHECK(ran.scheduled_at == run.scheduled_at);
  CHECK(ran.last_scheduled_at == run.scheduled_at);
  CHECK(ran.outcome == Outcome::timed_out);
  CHECK(ran.reason == run.reason);
  CHECK(ran.started_at == run.started_at);
  CHECK(ran.finished_at == run.finished_at);
  CHECK(ran.attempts == 3);
  CHECK(ran.counts == run.counts);
}

TEST_CASE("history is newest first, of all jobs or one") {
  Ledgers db;
  db.record({tick("a", 0), tick("a", 3, Outcome::failed), tick("b", 1), tick("b", 3),
             tick("c", 2, Outcome::skipped)});
  CHECK(db.told({}) == "a failed 3\nb succeeded 3\nc skipped 2\nb succeeded 1\na succeeded 0\n");
  CHECK(db.told({.job = "b", .since = {}, .outcome = "", .limit = 50}) ==
        "b succeeded 3\nb succeeded 1\n");
  CHECK(db.told({.job = "", .since = {}, .outcome = "", .limit = 2}) ==
        "a failed 3\nb succeeded 3\n");
  CHECK(db.told({.job = "aa", .since = {}, .outcome = "", .limit = 50}).empty());
}

TEST_CASE("history of one outcome, and since a moment") {
  Ledgers db;
  db.record({tick("a", 0, Outcome::failed), tick("a", 3, Outcome::failed), tick("a", 4),
             tick("b", 3, Outcome::failed)});
  CHECK(db.told({.job = "", .since = {}, .outcome = "failed", .limit = 50}) ==
        "a failed 3\nb failed 3\na failed 0\n");
  CHECK(db.told({.job = "a", .since = T + minutes{3}, .outcome = "", .limit = 50}) ==
        "a succeeded 4\na failed 3\n");
  CHECK(db.told({.job = "", .since = T + minutes{3} + Duration{1}, .outcome = "", .limit = 50}) ==
        "a succeeded 4\n");
}

TEST_CASE("ticks that were missed until after a moment are of the time since it") {
  Ledgers db;
  db.record({range("a", 0, 10), tick("a", 11), range("b", 0, 4)});
  CHECK(db.told({.job = "", .since = T + minutes{5}, .outcome = "", .limit = 50}) ==
        "a succeeded 11\na missed 0\n");
  CHECK(db.told({.job = "a", .since = T + minutes{10}, .outcome = "missed", .limit = 50}) ==
        "a missed 0\n");
  CHECK(db.told({.job = "a", .since = T + minutes{10}, .outcome = "failed", .limit = 50}).empty());
  CHECK(db.told({.job = "a", .since = T + minutes{5}, .outcome = "", .limit = 1}) ==
        "a succeeded 11\n");
}

TEST_CASE("a call that is not there has no receipt") {
  Ledgers db;
  CHECK_FALSE(postgres::receipt(db.pool, 4711, {}).has_value());
  CHECK_FALSE(postgres::receipt(db.pool, INT64_MAX, {}).has_value());
}

TEST_CASE("a receipt has each minute, with the balance before and after") {
  Ledgers db;
  const int caller = db.add_user();
  const int listener = db.add_user("listener");
  const int call = db.add_call({caller, listener, T, "video", 120, "dropped", T + minutes{4}, 4});
  db.add_charge(call, 2, "saathiid", 60, "30");
  db.add_charge(call, 1, "api", 60, "NULL");
  db.add_charge(call, 3, "waived", 0, "30");
  db.add_charge(call, 4, "saathiid", 30, "0", "'2030-01-15T11:00:00Z'");
  db.exec(
      fmt::format("INSERT INTO saathii_tasks.call_settlement (call_id, user_id, listener_id, "
                  "reason, end_time, minutes, coins, earned, settled_at) VALUES ({}, {}, {}, "
                  "'balance', {}, 2, 120, 12.5, {})",
                  call, caller, listener, PlatformDb::literal(T + minutes{4}),
                  PlatformDb::literal(T + minutes{5})));
  const auto receipt = postgres::receipt(db.pool, call, {});
  REQUIRE(receipt.has_value());
  CHECK(receipt->call_id == call);
  CHECK(receipt->user_id == caller);
  CHECK(receipt->listener_id == listener);
  CHECK(receipt->call_type == "video");
  CHECK(receipt->status == "dropped");
  CHECK(receipt->start_time == T);
  CHECK(receipt->end_time == T + minutes{4});
  CHECK(receipt->coins_spent == 120);
  REQUIRE(receipt->minutes.size() == 4);
  const auto& first = receipt->minutes[0];
  CHECK(first.minute == 1);
  CHECK(first.source == "api");
  CHECK(first.coins == 60);
  CHECK(first.starts_at == T);
  CHECK(first.charged_at == T + minutes{1});
  CHECK_FALSE(first.balance_before.has_value());
  CHECK_FALSE(first.balance_after.has_value());
  const auto& second = receipt->minutes[1];
  CHECK(second.source == "saathiid");
  CHECK(second.starts_at == T + minutes{1});
  CHECK(second.balance_before == 90);
  CHECK(second.balance_after == 30);
  CHECK_FALSE(second.refunded_at.has_value());
  CHECK(receipt->minutes[2].source == "waived");
  CHECK(receipt->minutes[2].balance_before == 30);
  CHECK(receipt->minutes[3].refunded_at == at("2030-01-15T11:00:00Z"));
  REQUIRE(receipt->settlement.has_value());
  CHECK(receipt->settlement->reason == "balance");
  CHECK(receipt->settlement->end_time == T + minutes{4});
  CHECK(receipt->settlement->minutes == 2);
  CHECK(receipt->settlement->coins == 120);
  CHECK(receipt->settlement->earned == "12.50");
  CHECK(receipt->settlement->settled_at == T + minutes{5});
}

TEST_CASE("the receipt of a call of which the API tells next to nothing") {
  Ledgers db;
  const int call = db.value<int>(
      "INSERT INTO user_calls (start_time, coins_spent, status, end_time) VALUES "
      "('-infinity', NULL, NULL, '20000-01-01') RETURNING call_id");
  const auto receipt = postgres::receipt(db.pool, call, {});
  REQUIRE(receipt.has_value());
  CHECK(receipt->user_id == 0);
  CHECK(receipt->listener_id == 0);
  CHECK(receipt->call_type.empty());
  CHECK(receipt->status.empty());
  CHECK(receipt->start_time == Instant{});
  CHECK_FALSE(receipt->end_time.has_value());
  CHECK(receipt->coins_spent == 0);
  CHECK(receipt->minutes.empty());
  CHECK_FALSE(receipt->settlement.has_value());
}

TEST_CASE("a user without a wallet has none") {
  Ledgers db;
  CHECK_FALSE(postgres::wallet(db.pool, db.add_user(), 10, {}).has_value());
}

TEST_CASE("a wallet has its balance, its calls and its latest entries") {
  Ledgers db;
  const int user = db.add_user();
  const int other = db.add_user("listener");
  const int wallet_id = db.add_wallet(user, 240, "12.5");
  const int others = db.add_wallet(other, {}, "NULL");
  const int as_caller = db.add_call({user, other, T});
  const int as_listener = db.add_call({other, user, T});
  db.add_call({user, other, T, "audio", 10, "completed", T + minutes{1}, 1});
  db.exec(fmt::format(
      "INSERT INTO user_transactions (wallet_id, tx_type, coins_change, money_change, created_at, "
      "updated_at) VALUES ({0}, 'purchase', 300, 0, {2}, now()), ({1}, 'spend', -1, 0, {2}, now()),"
      "({0}, 'spend', -60, 0, timestamptz {2} + interval '1 min', now()),"
      "({0}, 'earn', 0, 12.5, NULL, {2}), ({0}, NULL, NULL, NULL, NULL, NULL)",
      wallet_id, others, PlatformDb::literal(T)));
  const auto wallet = postgres::wallet(db.pool, user, 3, {});
  REQUIRE(wallet.has_value());
  CHECK(wallet->user_id == user);
  CHECK(wallet->balance_coins == 240);
  CHECK(wallet->withdrawable_money == "12.50");
  CHECK(wallet->ongoing_calls == std::vector<std::int64_t>{as_caller, as_listener});
  REQUIRE(wallet->entries.size() == 3);
  CHECK(wallet->entries[0].at == Instant{});
  CHECK(wallet->entries[0].type.empty());
  CHECK(wallet->entries[1].at == T);
  CHECK(wallet->entries[1].type == "earn");
  CHECK(wallet->entries[1].money == "12.50");
  CHECK(wallet->entries[2].at == T + minutes{1});
  CHECK(wallet->entries[2].coins == -60);
  CHECK(wallet->entries[2].money == "0.00");
  CHECK(postgres::wallet(db.pool, user, 100, {})->entries.size() == 4);
  const auto poor = postgres::wallet(db.pool, other, 0, {});
  CHECK(poor->balance_coins == 0);
  CHECK(poor->withdrawable_money == "0.00");
  CHECK(poor->entries.empty());
}

TEST_CASE("what keeps an answer back is told with what to do about it") {
  PlatformDb db(PlatformDb::Content::platform_only);
  ServerState state{"postgres"};
  postgres::Pool pool{db.owner_settings(), state};
  const int user = db.add_user();
  const int call = db.add_call({user, user, T});
  CHECK_THROWS_WITH(postgres::history(pool, {}, {}),
                    Catch::Matchers::ContainsSubstring("saathiid --migrate"));
  CHECK_THROWS_AS(postgres::receipt(pool, call, {}), Unavailable);
  // The server is up all the same.
  CHECK(state.snapshot().state == ServerState::State::up);
}

TEST_CASE("a role that lacks a right is told how to get it") {
  Ledgers db;
  const int user = db.add_user();
  db.add_wallet(user, 1);
  db.exec("REVOKE SELECT ON user_transactions FROM saathiid");
  CHECK_THROWS_WITH(postgres::wallet(db.pool, user, 1, {}),
                    Catch::Matchers::ContainsSubstring("saathiid-role.sql"));
}

TEST_CASE("an answer waits for no table that is being altered") {
  Ledgers db;
  pqxx::connection owner(db.owner_url());
  pqxx::work altering(owner);
  altering.exec("LOCK TABLE saathii_tasks.job_run");
  auto settings = db.daemon_settings();
  settings.lock_timeout = std::chrono::milliseconds{10};
  postgres::Pool impatient{settings, db.state};
  CHECK_THROWS_WITH(postgres::history(impatient, {}, {}),
                    Catch::Matchers::ContainsSubstring("being altered"));
}

}  // namespace saathii::test
