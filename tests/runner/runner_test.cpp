#include <csignal>

#include "support.hpp"

namespace saathii::runner::test {

namespace {

using schedule::Outcome;

TEST_CASE("a due tick runs on a worker and its outcome is recorded") {
  Harness harness;
  FakeWork& work = harness.add(minutely("charge"));
  harness.start();
  REQUIRE(harness.clock.wait_until_armed(noon + 1min));
  CHECK(work.calls().empty());
  harness.clock.pass_to(noon + 1min);
  REQUIRE(harness.ledger.wait_for_count(1));
  const auto record = harness.ledger.records().at(0);
  CHECK(record.job == "charge");
  CHECK(record.scheduled_at == noon + 1min);
  CHECK(record.last_scheduled_at == noon + 1min);
  CHECK(record.outcome == Outcome::succeeded);
  CHECK(record.reason == "done");
  CHECK(record.started_at == noon + 1min);
  CHECK(record.finished_at == noon + 1min);
  CHECK(record.attempts == 1);
  CHECK(record.counts == Counts{{"things", 1}});
  CHECK(record.run_id.size() == 36);
  CHECK(work.calls().at(0).tick == noon + 1min);
  REQUIRE(harness.clock.wait_until_armed(noon + 2min));
}

TEST_CASE("each tick runs once, minute after minute") {
  Harness harness;
  FakeWork& work = harness.add(minutely("charge"));
  harness.start();
  for (int minute = 1; minute <= 20; ++minute) {
    REQUIRE(harness.clock.wait_until_armed(noon + minute * 1min));
    harness.clock.pass_to(noon + minute * 1min);
  }
  REQUIRE(harness.ledger.wait_for_count(20));
  const auto calls = work.calls();
  REQUIRE(calls.size() == 20);
  for (std::size_t i = 0; i < calls.size(); ++i) {
    CHECK(calls[i].tick == noon + (static_cast<int>(i) + 1) * 1min);
  }
}

TEST_CASE("a blocked worker delays no other job") {
  Harness harness;
  FakeWork& stuck = harness.add(minutely("stuck"));
  FakeWork& other = harness.add(minutely("other"));
  stuck.block();
  harness.start();
  for (int minute = 1; minute <= 3; ++minute) {
    REQUIRE(harness.clock.wait_until_armed(noon + minute * 1min));
    harness.clock.pass_to(noon + minute * 1min);
    REQUIRE(stuck.wait_for_calls(1));
    REQUIRE(other.wait_for_calls(static_cast<std::size_t>(minute)));
  }
  CHECK(stuck.calls().size() == 1);
}

TEST_CASE("a run that takes too long is stopped and ends as timed_out") {
  Harness harness;
  config::Job job = minutely("slow");
  job.run.timeout = 1ms;
  FakeWork& work = harness.add(job);
  work.block();
  harness.start();
  REQUIRE(harness.clock.wait_until_armed(noon + 1min));
  harness.clock.pass_to(noon + 1min);
  REQUIRE(harness.ledger.wait_for_count(1));
  const auto record = harness.ledger.records().at(0);
  CHECK(record.outcome == Outcome::timed_out);
  CHECK(record.reason == "stopped at its time limit of 1 ms");
  CHECK(work.state.get().stops == 1);
  CHECK(work.state.get().inside == 0);
}

TEST_CASE("a run that was done when its time limit struck has succeeded") {
  Harness harness;
  config::Job job = minutely("slow");
  job.run.timeout = 1ms;
  harness.specs.push_back({job, [](const Request& request) {
                             std::promise<void> stopped;
                             const std::stop_callback callback(request.stop,
                                                               [&] { stopped.set_value(); });
                             stopped.get_future().wait();
                             return Result{Result::Status::succeeded, "all done", {}};
                           }});
  harness.start();
  REQUIRE(harness.clock.wait_until_armed(noon + 1min));
  harness.clock.pass_to(noon + 1min);
  REQUIRE(harness.ledger.wait_for_count(1));
  CHECK(harness.ledger.records().at(0).outcome == Outcome::succeeded);
}

TEST_CASE("work that throws fails, and the loop goes on") {
  Harness harness;
  harness.specs.push_back({minutely("thrower"), [](const Request& request) -> Result {
                             if (request.scheduled_at == noon + 1min) {
                               throw std::runtime_error("bang");
                             }
                             throw 42;
                           }});
  harness.start();
  for (int minute = 1; minute <= 2; ++minute) {
    REQUIRE(harness.clock.wait_until_armed(noon + minute * 1min));
    harness.clock.pass_to(noon + minute * 1min);
    REQUIRE(harness.ledger.wait_for_count(static_cast<std::size_t>(minute)));
  }
  CHECK(harness.ledger.records().at(0).outcome == Outcome::failed);
  CHECK(harness.ledger.records().at(0).reason == "bang");
  CHECK(harness.ledger.records().at(1).reason == "unknown exception");
}

TEST_CASE("ticks during a run are skipped, or the newest is queued") {
  Harness harness;
  config::Job job = minutely("long");
  const bool queue = GENERATE(false, true);
  job.policy.overlap = queue ? schedule::Overlap::queue : schedule::Overlap::skip;
  FakeWork& work = harness.add(job);
  work.block();
  harness.start();
  REQUIRE(harness.clock.wait_until_armed(noon + 1min));
  harness.clock.pass_to(noon + 1min);
  REQUIRE(work.wait_for_calls(1));
  harness.clock.pass_to(noon + 4min + 1s);
  work.release();
  REQUIRE(harness.ledger.wait_for_count(4));
  std::map<Instant, Outcome> outcomes;
  for (const auto& record : harness.ledger.records()) {
    CHECK(outcomes.emplace(record.scheduled_at, record.outcome).second);
  }
  CHECK(outcomes[noon + 1min] == Outcome::succeeded);
  CHECK(outcomes[noon + 2min] == Outcome::skipped);
  CHECK(outcomes[noon + 3min] == Outcome::skipped);
  CHECK(outcomes[noon + 4min] == (queue ? Outcome::succeeded : Outcome::skipped));
  CHECK(work.calls().size() == (queue ? 2U : 1U));
}

TEST_CASE("a clock that is set forward wakes the loop, and only the newest tick runs") {
  Harness harness;
  FakeWork& work = harness.add(minutely("charge"));
  harness.start();
  REQUIRE(harness.clock.wait_until_armed(noon + 1min));
  harness.clock.set(noon + 1h + 10s);
  REQUIRE(harness.ledger.wait_for_count(60));
  REQUIRE(work.calls().size() == 1);
  CHECK(work.calls().at(0).tick == noon + 1h);
  for (const auto& record : harness.ledger.records()) {
    CHECK(record.outcome ==
          (record.scheduled_at == noon + 1h ? Outcome::succeeded : Outcome::coalesced));
  }
  REQUIRE(harness.clock.wait_until_armed(noon + 1h + 1min));
}

TEST_CASE("a clock that is set forward during a run does not pass for a long run") {
  Harness harness;
  FakeWork& work = harness.add(minutely("charge"));
  work.block();
  harness.start();
  REQUIRE(harness.clock.wait_until_armed(noon + 1min));
  harness.clock.pass_to(noon + 1min);
  REQUIRE(work.wait_for_calls(1));
  harness.clock.set(noon + 1h);
  work.release();
  REQUIRE(work.wait_for_calls(2));
  CHECK(work.calls().at(1).tick == noon + 1h);
}

TEST_CASE("a clock that is set back repeats no tick, and ticks go on by the new time") {
  Harness harness;
  FakeWork& work = harness.add(minutely("charge"));
  harness.start();
  for (int minute = 1; minute <= 2; ++minute) {
    REQUIRE(harness.clock.wait_until_armed(noon + minute * 1min));
    harness.clock.pass_to(noon + minute * 1min);
    REQUIRE(harness.ledger.wait_for_count(static_cast<std::size_t>(minute)));
  }
  REQUIRE(harness.clock.wait_until_armed(noon + 3min));
  harness.clock.set(noon + 30s);
  for (int minute = 1; minute <= 3; ++minute) {
    harness.clock.pass_to(noon + minute * 1min);
  }
  REQUIRE(work.wait_for_calls(3));
  CHECK(work.calls().at(2).tick == noon + 3min);
  REQUIRE(harness.ledger.wait_for_count(3));
  CHECK(harness.ledger.records().size() == 3);
}

TEST_CASE("run_at_start runs once, with the start as its tick") {
  Harness harness;
  config::Job job = minutely("eager");
  job.run.run_at_start = true;
  FakeWork& work = harness.add(job);
  SECTION("when no tick is late") {
    harness.start();
    REQUIRE(work.wait_for_calls(1));
    CHECK(work.calls().at(0).tick == noon + 30s);
    REQUIRE(harness.clock.wait_until_armed(noon + 1min));
    CHECK(work.calls().size() == 1);
  }
  SECTION("not beside a late tick that runs at the start anyway") {
    harness.ledger.state.change([](auto& s) { s.past["eager"].last_tick = noon - 1min; });
    harness.start();
    REQUIRE(work.wait_for_calls(1));
    CHECK(work.calls().at(0).tick == noon);
    REQUIRE(harness.clock.wait_until_armed(noon + 1min));
    CHECK(work.calls().size() == 1);
  }
  SECTION("also when the database is down") {
    harness.ledger.state.change([](auto& s) { s.down = true; });
    harness.start();
    REQUIRE(work.wait_for_calls(1));
    harness.ledger.state.change([](auto& s) { s.down = false; });
  }
}

TEST_CASE("SIGTERM, SIGINT and SIGHUP") {
  Harness harness;
  harness.add(minutely("charge"));
  harness.start();
  std::promise<void> hung_up;
  harness.on_loop([&] { harness.runner->on_hangup([&] { hung_up.set_value(); }); });
  std::raise(SIGHUP);
  REQUIRE(hung_up.get_future().wait_for(patience) == std::future_status::ready);
  REQUIRE(harness.clock.wait_until_armed(noon + 1min));
  harness.clock.pass_to(noon + 1min);
  REQUIRE(harness.ledger.wait_for_count(1));
  std::raise(GENERATE(SIGTERM, SIGINT));
  const Ending ending = harness.end();
  CHECK(ending.exit_code == 0);
  CHECK_FALSE(ending.stuck);
}

TEST_CASE("many jobs and ticks at once") {
  Harness harness;
  for (int i = 0; i < 20; ++i) {
    harness.add(minutely("job" + std::to_string(i)));
  }
  harness.start();
  for (int minute = 1; minute <= 10; ++minute) {
    harness.clock.pass_to(noon + minute * 1min);
    REQUIRE(harness.ledger.wait_for_count(static_cast<std::size_t>(minute) * 20));
  }
  harness.runner->stop();
  CHECK(harness.end().exit_code == 0);
  CHECK(harness.ledger.records().size() == 200);
}

}  // namespace

}  // namespace saathii::runner::test
