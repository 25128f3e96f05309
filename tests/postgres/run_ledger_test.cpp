#include "saathii/postgres/run_ledger.hpp"

#include "catch.hpp"
#include "saathii/base/errors.hpp"
#include "support/platform_db.hpp"

namespace saathii::test {

namespace {

using runner::Record;
using schedule::Outcome;
using std::chrono::hours;
using std::chrono::minutes;

const Instant T = at("2030-01-15T10:00:00.25Z");

struct Ledger : PlatformDb {
  void record(const std::vector<Record>& records) { ledger.record(records); }

  std::string outcomes(const std::string& job = "a") {
    return rows("SELECT outcome FROM saathii_tasks.job_run WHERE job = '" + job +
                "' ORDER BY scheduled_at");
  }

  /// Rows of a call's charges that are older than the default retention.
  void add_charges(int call_id, int count, const std::string& age = "401 days") {
    exec(
        fmt::format("INSERT INTO saathii_tasks.call_charge (call_id, minute, user_id, coins, "
                    "minute_start, source, charged_at) SELECT {}, minute, 1, 10, now(), "
                    "'saathiid', now() - interval '{}' FROM generate_series(1, {}) AS minute",
                    call_id, age, count));
  }

  ServerState state{"postgres"};
  postgres::Pool pool{daemon_settings(), state};
  config::Service retention;
  postgres::RunLedger ledger{pool, retention};
};

Record run(Instant tick, Outcome outcome = Outcome::succeeded, std::string job = "a") {
  Record made;
  made.job = std::move(job);
  made.run_id = "0d1c64c8-5a7c-4b1e-9f0f-7d4c1a2b3c4d";
  made.scheduled_at = tick;
  made.last_scheduled_at = tick;
  made.outcome = outcome;
  made.started_at = tick + std::chrono::milliseconds{3};
  made.finished_at = tick + std::chrono::milliseconds{44};
  made.attempts = 1;
  return made;
}

Record written_off(Instant first, Instant last, std::int64_t ticks,
                   Outcome outcome = Outcome::missed) {
  Record made;
  made.job = "a";
  made.scheduled_at = first;
  made.last_scheduled_at = last;
  made.ticks = ticks;
  made.outcome = outcome;
  made.reason = "the daemon was not running";
  return made;
}

}  // namespace

TEST_CASE("a job without a past has none") {
  Ledger db;
  const auto past = db.ledger.past("a", T);
  CHECK_FALSE(past.last_tick.has_value());
  CHECK(past.offered_ahead.empty());
}

TEST_CASE("a run is recorded whole") {
  Ledger db;
  auto record = run(T, Outcome::failed);
  record.reason = "what's \"wrong\"\nΔ \xff";
  record.reason += '\0';
  record.counts = {{"calls", 312}, {"coins", -5}};
  record.attempts = 4;
  db.record({record});
  CHECK(db.rows("SELECT job, scheduled_at, last_scheduled_at, ticks, outcome, reason, run_id, "
                "started_at, finished_at, attempts, counts FROM saathii_tasks.job_run") ==
        "a|2030-01-15 10:00:00.25+00|2030-01-15 10:00:00.25+00|1|failed|"
        "what's \"wrong\"\nΔ \xEF\xBF\xBD |0d1c64c8-5a7c-4b1e-9f0f-7d4c1a2b3c4d|"
        "2030-01-15 10:00:00.253+00|2030-01-15 10:00:00.294+00|4|{\"calls\": 312, \"coins\": -5}");
  db.record({written_off(T + hours{1}, T + hours{3}, 120)});
  CHECK(db.rows("SELECT ticks, last_scheduled_at, run_id, started_at, counts "
                "FROM saathii_tasks.job_run WHERE outcome = 'missed'") ==
        "120|2030-01-15 13:00:00.25+00|||{}");
}

TEST_CASE("every outcome has its word in the ledger") {
  Ledger db;
  std::vector<Record> all;
  for (const auto outcome : {Outcome::succeeded, Outcome::failed, Outcome::timed_out,
                             Outcome::skipped, Outcome::coalesced, Outcome::missed}) {
    all.push_back(run(T + minutes{static_cast<int>(all.size())}, outcome));
  }
  db.record(all);
  CHECK(db.outcomes() == "succeeded;failed;timed_out;skipped;coalesced;missed");
}

TEST_CASE("the past tells of the latest run, and of the latest success") {
  Ledger db;
  auto good = run(T - minutes{2});
  good.counts = {{"charged", 312}};
  good.reason = "312 calls charged";
  db.ledger.record({good, run(T - minutes{1}, Outcome::failed), written_off(T, T, 1)});
  auto past = db.ledger.past("a", T);
  REQUIRE(past.last_run.has_value());
  CHECK(past.last_run->outcome == Outcome::failed);
  CHECK(past.last_run->scheduled_at == T - minutes{1});
  CHECK(past.last_success == good.finished_at);
  db.exec("DELETE FROM saathii_tasks.job_run WHERE outcome = 'failed'");
  past = db.ledger.past("a", T);
  CHECK(past.last_run->counts == good.counts);
  CHECK(past.last_run->reason == good.reason);
  CHECK(past.last_run->started_at == good.started_at);
  CHECK(past.last_run->run_id == good.run_id);
}

TEST_CASE("the past is the latest tick up to now, and those offered ahead of it") {
  Ledger db;
  db.record({run(T - minutes{2}), run(T), run(T + minutes{1}, Outcome::failed),
             run(T + minutes{2}, Outcome::skipped), run(T + minutes{3}, Outcome::missed),
             run(T + minutes{4}, Outcome::coalesced), run(T + minutes{5}, Outcome::timed_out),
             run(T + minutes{9}, Outcome::succeeded, "b")});
  auto past = db.ledger.past("a", T);
  CHECK(past.last_tick == T);
  CHECK(past.offered_ahead == std::vector<Instant>{T + minutes{1}, T + minutes{2}, T + minutes{5}});
  past = db.ledger.past("a", T - std::chrono::microseconds{1});
  CHECK(past.last_tick == T - minutes{2});
  CHECK(past.offered_ahead.size() == 4);
  CHECK_FALSE(db.ledger.past("a", T - hours{1}).last_tick.has_value());
}

TEST_CASE("a run that was asked for is no tick, and as of another moment no success of now") {
  Ledger db;
  auto asked = run(T - minutes{1});
  asked.ticks = 0;
  auto other_day = run(T);
  other_day.ticks = 0;
  other_day.as_of = T - hours{48};
  db.record({asked, other_day});
  auto past = db.ledger.past("a", T + minutes{1});
  CHECK(past.last_tick == asked.scheduled_at);  // since when the job is known
  CHECK(past.last_success == asked.finished_at);
  CHECK(past.last_run.value().scheduled_at == asked.scheduled_at);
  db.record({run(T - minutes{3}, Outcome::failed)});
  past = db.ledger.past("a", T + minutes{1});
  CHECK(past.last_tick == T - minutes{3});
  CHECK(db.ledger.past("a", T - minutes{2}).offered_ahead.empty());
  db.exec("UPDATE saathii_tasks.job_run SET scheduled_at = scheduled_at - interval '5 years'");
  CHECK_FALSE(db.ledger.prune());
  CHECK(db.outcomes() == "failed;succeeded;succeeded");
}

TEST_CASE("a range counts up to its last tick, but never beyond now") {
  Ledger db;
  db.record({written_off(T, T + hours{2}, 121)});
  CHECK(db.ledger.past("a", T + hours{5}).last_tick == T + hours{2});
  CHECK(db.ledger.past("a", T + hours{1}).last_tick == T + hours{1});
}

TEST_CASE("what is offered ahead is bounded") {
  Ledger db;
  std::vector<Record> ahead;
  for (int tick = 1; tick <= 1500; ++tick) {
    ahead.push_back(run(T + minutes{tick}));
  }
  db.record(ahead);
  const auto past = db.ledger.past("a", T);
  REQUIRE(past.offered_ahead.size() == 1000);
  CHECK(past.offered_ahead.front() == T + minutes{1});
  CHECK(past.offered_ahead.back() == T + minutes{1000});
}

TEST_CASE("a tick that was written off gives way to a run, never the reverse") {
  Ledger db;
  const auto first = GENERATE(Outcome::coalesced, Outcome::missed);
  db.record({run(T, first)});
  db.record({run(T, Outcome::failed)});
  CHECK(db.outcomes() == "failed");
  db.record({run(T, first)});
  CHECK(db.outcomes() == "failed");
}

TEST_CASE("a tick that ran keeps its outcome") {
  Ledger db;
  db.record({run(T, Outcome::succeeded)});
  auto again = run(T, Outcome::failed);
  again.run_id = "11111111-5a7c-4b1e-9f0f-7d4c1a2b3c4d";
  db.record({again});
  CHECK(db.rows("SELECT outcome, run_id FROM saathii_tasks.job_run") ==
        "succeeded|0d1c64c8-5a7c-4b1e-9f0f-7d4c1a2b3c4d");
  // The first word stays among those that were written off, too.
  db.record({written_off(T + hours{1}, T + hours{1}, 1, Outcome::missed)});
  db.record({written_off(T + hours{1}, T + hours{1}, 1, Outcome::coalesced)});
  CHECK(db.outcomes() == "succeeded;missed");
}

TEST_CASE("a range that gives way becomes the run's one tick") {
  Ledger db;
  db.record({written_off(T, T + hours{2}, 121)});
  db.record({run(T)});
  CHECK(db.rows("SELECT ticks, last_scheduled_at, outcome, reason FROM saathii_tasks.job_run") ==
        "1|2030-01-15 10:00:00.25+00|succeeded|");
}

TEST_CASE("the same tick twice in one batch is as if it came in two") {
  Ledger db;
  db.record({run(T, Outcome::missed), run(T, Outcome::succeeded), run(T, Outcome::failed),
             run(T, Outcome::succeeded, "b")});
  CHECK(db.outcomes() == "succeeded");
  CHECK(db.outcomes("b") == "succeeded");
}

TEST_CASE("a batch is recorded all or nothing, however long it is") {
  Ledger db;
  std::vector<Record> batch;
  for (int tick = 0; tick < 2500; ++tick) {
    batch.push_back(run(T + minutes{tick}));
  }
  batch.back().run_id = "no uuid";
  CHECK_THROWS_AS(db.record(batch), pqxx::sql_error);
  CHECK(db.value("SELECT count(*) FROM saathii_tasks.job_run") == "0");
  batch.back().run_id = "";
  db.record(batch);
  CHECK(db.value("SELECT count(*) FROM saathii_tasks.job_run") == "2500");
  db.record({});
}

TEST_CASE("a ledger without its database is Unavailable") {
  ServerState state("postgres");
  config::Postgres nowhere;
  nowhere.url = "postgresql:///db?host=/nowhere&user=me";
  postgres::Pool pool(nowhere, state);
  postgres::RunLedger ledger(pool, {});
  CHECK_THROWS_AS(ledger.past("a", T), Unavailable);
  CHECK_THROWS_AS(ledger.record({run(T)}), Unavailable);
  CHECK_THROWS_AS(static_cast<void>(ledger.prune()), Unavailable);
}

TEST_CASE("old runs are pruned, but each job's newest stays") {
  Ledger db;
  const auto now = wall_now();
  db.record({run(now - hours{24 * 92}), run(now - hours{24 * 91}), run(now - hours{24 * 89}),
             run(now - hours{24 * 300}, Outcome::succeeded, "b"),
             run(now - hours{24 * 200}, Outcome::failed, "b")});
  CHECK_FALSE(db.ledger.prune());
  CHECK(db.outcomes("a") == "succeeded");
  CHECK(db.outcomes("b") == "failed");
}

TEST_CASE("outcomes that a newer schema keeps out wait like those of a server that is down") {
  Ledger db;
  db.exec("INSERT INTO saathii_tasks.schema_version VALUES (99, 'of the future')");
  CHECK_THROWS_AS(db.record({run(T)}), Unavailable);
  CHECK(db.state.snapshot().state == ServerState::State::up);
  db.exec("DELETE FROM saathii_tasks.schema_version WHERE version = 99");
  db.record({run(T)});
  CHECK(db.outcomes() == "succeeded");
}

TEST_CASE("outcomes that the database cannot take now wait until it can") {
  Ledger db;
  const std::string why =
      GENERATE("disk_full", "lock_not_available", "query_canceled", "insufficient_privilege");
  db.exec(fmt::format(
      "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not now' "
      "USING ERRCODE = '{}'; END $$; CREATE TRIGGER refuse BEFORE INSERT "
      "ON saathii_tasks.job_run EXECUTE FUNCTION refuse()",
      why));
  CHECK_THROWS_AS(db.record({run(T)}), Unavailable);
  CHECK_THROWS_AS(db.record({run(T), run(T, Outcome::failed, "b")}), Unavailable);
  CHECK(db.state.snapshot().state == ServerState::State::up);
  db.exec("DROP TRIGGER refuse ON saathii_tasks.job_run");
  db.record({run(T)});
  CHECK(db.outcomes() == "succeeded");
}

TEST_CASE("the charges of ended calls are pruned by age, those of ongoing ones never") {
  Ledger db;
  const int caller = db.add_user();
  const int listener = db.add_user("listener");
  const int ongoing = db.add_call({.user_id = caller, .listener_id = listener, .start_time = T});
  const int ended = db.add_call(
      {.user_id = caller, .listener_id = listener, .start_time = T, .status = "dropped"});
  const int unknown = db.add_call(
      {.user_id = caller, .listener_id = listener, .start_time = T, .status = std::nullopt});
  const int deleted = 1'000'000;
  for (const int call : {ongoing, ended, unknown, deleted}) {
    db.add_charges(call, 3);
  }
  const int young = 1'000'001;
  db.add_charges(young, 2, "399 days");
  db.exec(
      "INSERT INTO saathii_tasks.call_settlement (call_id, user_id, reason, end_time, minutes, "
      "coins, earned, settled_at) VALUES (1, 1, 'x', now(), 1, 10, 1, now() - interval '401 "
      "days'), (2, 1, 'x', now(), 1, 10, 1, now() - interval '399 days')");
  CHECK_FALSE(db.ledger.prune());
  CHECK(db.rows("SELECT call_id, count(*) FROM saathii_tasks.call_charge GROUP BY 1 ORDER BY 1") ==
        fmt::format("{}|3;{}|2", ongoing, young));
  CHECK(db.rows("SELECT call_id FROM saathii_tasks.call_settlement") == "2");
}

TEST_CASE("pruning takes a bounded number of rows at a time, and says whether more is left") {
  Ledger db;
  db.add_charges(1, 10'001);
  CHECK(db.ledger.prune());
  CHECK(db.value("SELECT count(*) FROM saathii_tasks.call_charge") == "1");
  CHECK_FALSE(db.ledger.prune());
  CHECK(db.value("SELECT count(*) FROM saathii_tasks.call_charge") == "0");
}

TEST_CASE("ticks that a clock ahead has written off are not written off again, but may run") {
  Ledger ledger;
  ledger.record({written_off(T, T + hours{72}, 4321, Outcome::coalesced)});
  ledger.record({written_off(T + minutes{5}, T + minutes{9}, 5, Outcome::coalesced)});
  ledger.record({run(T + minutes{10})});
  ledger.record({written_off(T + minutes{11}, T + minutes{11}, 1)});
  ledger.record({written_off(T + hours{73}, T + hours{74}, 61)});
  CHECK(ledger.outcomes() == "coalesced;succeeded;missed");
}

}  // namespace saathii::test
