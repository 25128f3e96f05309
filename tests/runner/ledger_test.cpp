#include "saathii/runner/job_history.hpp"
#include "support.hpp"

namespace saathii::runner::test {

namespace {

using schedule::Outcome;

std::map<Instant, Outcome> by_tick(const std::vector<Record>& records) {
  std::map<Instant, Outcome> outcomes;
  for (const auto& record : records) {
    const bool is_new = outcomes.emplace(record.scheduled_at, record.outcome).second;
    INFO("tick " << to_iso8601(record.scheduled_at));
    CHECK(is_new);
  }
  return outcomes;
}

TEST_CASE("a tick that was due before the start runs at the start if it is within its grace") {
  Harness harness;
  FakeWork& work = harness.add(minutely("charge"));
  harness.ledger.state.change([](auto& s) { s.past["charge"].last_tick = noon - 3min; });
  harness.start();
  REQUIRE(harness.ledger.wait_for_count(3));
  const auto outcomes = by_tick(harness.ledger.records());
  CHECK(outcomes.at(noon - 2min) == Outcome::coalesced);
  CHECK(outcomes.at(noon - 1min) == Outcome::coalesced);
  CHECK(outcomes.at(noon) == Outcome::succeeded);
  CHECK(work.calls().size() == 1);
}

TEST_CASE("a past that is told late is accounted for exactly once, and jobs do not wait for it") {
  Harness harness;
  FakeWork& work = harness.add(minutely("charge"));
  harness.ledger.state.change([](auto& s) {
    s.down = true;
    s.past["charge"].last_tick = noon - 3min;
  });
  harness.start();
  for (int minute = 1; minute <= 5; ++minute) {
    REQUIRE(harness.clock.wait_until_armed(noon + minute * 1min));
    harness.clock.pass_to(noon + minute * 1min);
    REQUIRE(work.wait_for_calls(static_cast<std::size_t>(minute)));
  }
  REQUIRE(harness.clock.wait_until_armed(noon + 6min));
  CHECK(harness.ledger.records().empty());
  harness.ledger.state.change([](auto& s) { s.down = false; });
  harness.runner->server_changed(true);
  REQUIRE(harness.ledger.wait_for_count(8));
  const auto records = harness.ledger.records();
  const auto outcomes = by_tick(records);
  REQUIRE(outcomes.size() == 8);
  for (int minute = -2; minute <= 5; ++minute) {
    CHECK(outcomes.at(noon + minute * 1min) ==
          (minute <= 0 ? Outcome::missed : Outcome::succeeded));
  }
  CHECK(records.front().scheduled_at == noon - 2min);
  CHECK(work.calls().size() == 5);
}

TEST_CASE("a skipped tick is written after the older one that runs late") {
  Harness harness;
  config::Job job = minutely("charge");
  job.policy.misfire_grace = 1h;
  FakeWork& work = harness.add(job);
  harness.ledger.state.change([](auto& s) {
    s.down = true;
    s.past["charge"].last_tick = noon - 1min;
  });
  harness.start();
  REQUIRE(harness.clock.wait_until_armed(noon + 1min));
  harness.clock.pass_to(noon + 1min);
  REQUIRE(work.wait_for_calls(1));
  REQUIRE(harness.clock.wait_until_armed(noon + 2min));
  work.block();
  harness.clock.pass_to(noon + 2min);
  REQUIRE(work.wait_for_calls(2));
  harness.ledger.state.change([](auto& s) { s.down = false; });
  harness.runner->server_changed(true);
  REQUIRE(harness.ledger.wait_for_count(1));  // and so the past is known
  harness.clock.pass_to(noon + 3min + 1s);
  work.admit_one();
  REQUIRE(work.wait_for_calls(3));
  CHECK(work.calls().at(2).tick == noon);
  REQUIRE(harness.ledger.wait_for_count(2));
  work.release();
  REQUIRE(harness.ledger.wait_for_count(4));
  const auto records = harness.ledger.records();
  CHECK(records.at(2).scheduled_at == noon);
  CHECK(records.at(2).outcome == Outcome::succeeded);
  CHECK(records.at(3).scheduled_at == noon + 3min);
  CHECK(records.at(3).outcome == Outcome::skipped);
}

TEST_CASE("ticks that ran before a restart under a clock set back do not run again") {
  Harness harness;
  FakeWork& work = harness.add(minutely("charge"));
  harness.ledger.state.change([](auto& s) {
    s.past["charge"] = {noon, {noon + 1min, noon + 2min}};
  });
  harness.start();
  REQUIRE(harness.clock.wait_until_armed(noon + 3min));
  harness.clock.pass_to(noon + 3min);
  REQUIRE(harness.ledger.wait_for_count(1));
  CHECK(work.calls().at(0).tick == noon + 3min);
}

TEST_CASE("the ledger is asked again when the clock is set back before what was known") {
  Harness harness;
  FakeWork& work = harness.add(minutely("charge"));
  harness.ledger.state.change([](auto& s) { s.past["charge"].last_tick = noon; });
  harness.start();
  REQUIRE(harness.clock.wait_until_armed(noon + 1min));
  REQUIRE(harness.ledger.state.wait([](const auto& s) { return s.past_calls == 1; }));
  harness.ledger.state.change([](auto& s) {
    s.past["charge"] = {noon - 1h, {noon - 59min, noon - 58min}};
  });
  harness.clock.set(noon - 1h + 30s);
  REQUIRE(harness.ledger.state.wait([](const auto& s) { return s.past_calls == 2; }));
  REQUIRE(harness.clock.wait_until_armed(noon - 57min));
  CHECK(work.calls().empty());
}

TEST_CASE("outcomes wait in order while the database is down") {
  Harness harness;
  harness.add(minutely("charge"));
  harness.start();
  REQUIRE(harness.ledger.state.wait([](const auto& s) { return s.prunes > 0; }));
  harness.ledger.state.change([](auto& s) { s.down = true; });
  for (int minute = 1; minute <= 5; ++minute) {
    REQUIRE(harness.clock.wait_until_armed(noon + minute * 1min));
    harness.clock.pass_to(noon + minute * 1min);
  }
  REQUIRE(harness.clock.wait_until_armed(noon + 6min));
  harness.ledger.state.change([](auto& s) { s.down = false; });
  REQUIRE(harness.ledger.wait_for_count(5));
  const auto records = harness.ledger.records();
  for (std::size_t i = 0; i < records.size(); ++i) {
    CHECK(records[i].scheduled_at == noon + (static_cast<int>(i) + 1) * 1min);
  }
}

/// A keeper alone, on a loop that the test turns.
struct KeeperHarness {
  explicit KeeperHarness(LedgerOptions options) : keeper(loop, ledger, std::move(options)) {}
  ~KeeperHarness() { keeper.join(); }

  void run_until_finished() {
    asio::co_spawn(loop, keeper.run(), [](const std::exception_ptr& error) {
      if (error) {
        std::rethrow_exception(error);
      }
    });
    keeper.close();
    loop.run();
  }

  asio::io_context loop{1};
  FakeLedger ledger;
  LedgerKeeper keeper;
};

Record record_of(const std::string& job, int minute, Outcome outcome) {
  Record record;
  record.job = job;
  record.scheduled_at = record.last_scheduled_at = noon + minute * 1min;
  record.outcome = outcome;
  return record;
}

TEST_CASE("too many waiting outcomes: fruitless ones are summed up, and none of those is lost") {
  LedgerOptions options;
  options.queue_limit = 100;
  KeeperHarness harness(options);
  constexpr int ticks = 1000;
  for (int minute = 0; minute < ticks; ++minute) {
    harness.keeper.add(
        record_of("charge", minute, minute % 3 == 0 ? Outcome::failed : Outcome::coalesced));
    CHECK(harness.keeper.waiting() <= 100);
  }
  harness.run_until_finished();
  std::int64_t written = 0;
  for (const auto& record : harness.ledger.records()) {
    written += record.ticks;
    CHECK(record.scheduled_at <= record.last_scheduled_at);
  }
  CHECK(written == ticks);
}

TEST_CASE("too many waiting outcomes: runs that succeeded go, oldest first") {
  LedgerOptions options;
  options.queue_limit = 10;
  KeeperHarness harness(options);
  for (int minute = 0; minute < 25; ++minute) {
    harness.keeper.add(record_of("charge", minute, Outcome::succeeded));
  }
  harness.run_until_finished();
  const auto records = harness.ledger.records();
  REQUIRE(records.size() == 10);
  CHECK(records.front().scheduled_at == noon + 15min);
}

TEST_CASE("outcomes go out in bounded batches, and the last of them before the end") {
  LedgerOptions options;
  options.batch_limit = 7;
  KeeperHarness harness(options);
  for (int minute = 0; minute < 50; ++minute) {
    harness.keeper.add(record_of("charge", minute, Outcome::succeeded));
  }
  harness.run_until_finished();
  CHECK(harness.ledger.records().size() == 50);
  CHECK(harness.keeper.finished());
}

/// Refuses one outcome for ever.
class Picky final : public RunLedger {
 public:
  Past past(const std::string&, Instant) override { return {}; }
  void record(const std::vector<Record>& batch) override {
    for (const Record& record : batch) {
      if (record.job == "bad") {
        throw std::runtime_error("value out of range");
      }
    }
    written.change([&](auto& all) { all.insert(all.end(), batch.begin(), batch.end()); });
  }
  bool prune() override { return false; }
  Watched<std::vector<Record>> written;
};

TEST_CASE("one outcome that the database refuses does not hold up the others") {
  asio::io_context loop{1};
  Picky ledger;
  LedgerOptions options;
  options.backoff = options.backoff_cap = 1ms;
  LedgerKeeper keeper(loop, ledger, options);
  keeper.add(record_of("good", 1, Outcome::succeeded));
  keeper.add(record_of("bad", 2, Outcome::succeeded));
  keeper.add(record_of("good", 3, Outcome::succeeded));
  asio::co_spawn(loop, keeper.run(), asio::detached);
  std::thread thread([&] { loop.run(); });
  CHECK(ledger.written.wait([](const auto& all) { return all.size() == 2; }));
  asio::post(loop, [&] { keeper.close(); });
  thread.join();
  keeper.join();
  CHECK(keeper.waiting() == 0);
}

TEST_CASE("a database that must not be served ends the daemon") {
  Harness harness;
  harness.add(minutely("charge"));
  harness.options.ledger.prepare = [](const std::stop_token&) {
    throw Refused("schema saathii_tasks has version 9");
  };
  harness.start();
  const Ending ending = harness.end();
  CHECK(ending.exit_code == 1);
  CHECK_FALSE(ending.stuck);
  CHECK(harness.ledger.records().empty());
}

TEST_CASE("tables that are missing are asked for again until they are there") {
  Harness harness;
  FakeWork& work = harness.add(minutely("charge"));
  Watched<int> asked;
  harness.options.ledger.prepare = [&](const std::stop_token&) {
    asked.change([](int& times) { ++times; });
    if (asked.get() < 3) {
      throw std::runtime_error("schema saathii_tasks is missing");
    }
  };
  harness.start();
  REQUIRE(harness.clock.wait_until_armed(noon + 1min));
  harness.clock.pass_to(noon + 1min);
  REQUIRE(work.wait_for_calls(1));
  REQUIRE(harness.ledger.wait_for_count(1));
  CHECK(asked.get() == 3);
}

TEST_CASE("a call that the database does not answer is broken off and made again") {
  Harness harness;
  harness.options.ledger.call_timeout = 1ms;
  harness.add(minutely("charge"));
  harness.ledger.state.change([](auto& s) { s.stalled = true; });
  harness.start();
  REQUIRE(harness.ledger.state.wait([](const auto& s) { return s.failed_calls > 0; }));
  harness.ledger.state.change([](auto& s) { s.stalled = false; });
  harness.clock.pass_to(noon + 1min);
  REQUIRE(harness.ledger.wait_for_count(1));
}

TEST_CASE("old rows are pruned at the start and at each interval") {
  Harness harness;
  harness.options.ledger.prune_interval = 1ms;
  harness.add(minutely("charge"));
  harness.start();
  REQUIRE(harness.ledger.state.wait([](const auto& s) { return s.prunes >= 3; }));
}

TEST_CASE("the past and the present are joined without counting a tick twice") {
  const schedule::Trigger trigger{schedule::Every{1min}, tz::locate_zone("UTC")};
  schedule::History present;
  present.cursor = noon + 5min + 20s;
  present.offer(noon + 3min, trigger);
  const auto joined =
      join_histories(Past{noon - 10min, {noon + 7min}}, noon + 30s, present, trigger);
  CHECK(joined.cursor == noon - 10min);
  CHECK_FALSE(joined.offered.contains(noon));
  for (int minute = 1; minute <= 5; ++minute) {
    CHECK(joined.offered.contains(noon + minute * 1min));
  }
  CHECK_FALSE(joined.offered.contains(noon + 6min));
  CHECK(joined.offered.contains(noon + 7min));
}

TEST_CASE("jitter seeds do not depend on the build") {
  CHECK(jitter_seed("") == 14695981039346656037U);
  CHECK(jitter_seed("a") == 12638187200555641996U);
}

}  // namespace

}  // namespace saathii::runner::test
