#include "support.hpp"

namespace saathii::runner::test {

namespace {

using schedule::Outcome;

/// A runner whose job is in the middle of its run.
FakeWork& start_busy(Harness& harness, bool deaf, config::Job job = minutely("charge")) {
  FakeWork& work = harness.add(std::move(job));
  work.block(deaf);
  harness.start();
  REQUIRE(harness.clock.wait_until_armed(noon + 1min));
  harness.clock.pass_to(noon + 1min);
  REQUIRE(work.wait_for_calls(1));
  return work;
}

TEST_CASE("an idle runner stops at once") {
  Harness harness;
  harness.add(minutely("charge"));
  harness.start();
  harness.runner->stop();
  CHECK(harness.end().exit_code == 0);
  CHECK(harness.diary.lines() == std::vector<std::string>{"armed 1", "stopping"});
}

TEST_CASE("shutdown lets a running job finish and starts nothing new") {
  Harness harness;
  FakeWork& work = start_busy(harness, false);
  harness.runner->stop();
  REQUIRE(harness.diary.wait_for("stopping charge"));
  harness.clock.pass_to(noon + 10min);
  work.release();
  const Ending ending = harness.end();
  CHECK(ending.exit_code == 0);
  CHECK_FALSE(ending.stuck);
  CHECK(work.calls().size() == 1);
  CHECK(work.state.get().stops == 0);
  REQUIRE(harness.ledger.records().size() == 1);
  CHECK(harness.ledger.records().at(0).outcome == Outcome::succeeded);
}

TEST_CASE("after the grace a running job is told to stop, and its tick is left to the next start") {
  Harness harness;
  harness.options.drain_timeout = 1ms;
  FakeWork& work = start_busy(harness, false);
  harness.runner->stop();
  CHECK(harness.end().exit_code == 0);
  CHECK(work.state.get().stops == 1);
  CHECK(harness.ledger.records().empty());
}

TEST_CASE("a second signal breaks off what still runs") {
  Harness harness;
  FakeWork& work = start_busy(harness, false);
  harness.runner->stop();
  REQUIRE(harness.diary.wait_for("stopping charge"));
  harness.runner->stop();
  CHECK(harness.end().exit_code == 0);
  CHECK(work.state.get().stops == 1);
}

TEST_CASE("a third signal leaves a worker behind that does not come back") {
  Harness harness;
  FakeWork& work = start_busy(harness, true);
  harness.runner->stop();
  harness.runner->stop();
  harness.runner->stop();
  const Ending ending = harness.end();
  CHECK(ending.stuck);
  CHECK(ending.exit_code == 1);
  work.release();
}

TEST_CASE("the graces of shutdown end by themselves") {
  Harness harness;
  harness.options.drain_timeout = 1ms;
  harness.options.stop_grace = 1ms;
  FakeWork& work = start_busy(harness, true);
  harness.runner->stop();
  CHECK(harness.end().stuck);
  work.release();
}

TEST_CASE("a tick that waits for its server at shutdown is left to the next start") {
  Harness harness;
  FakeWork& work = harness.add(minutely("charge"));
  work.answer({{Result::Status::unavailable, "down", {}}});
  harness.start();
  REQUIRE(harness.clock.wait_until_armed(noon + 1min));
  harness.clock.pass_to(noon + 1min);
  REQUIRE(work.wait_for_calls(1));
  REQUIRE(harness.clock.wait_until_armed_by(noon + 2min - 1us));
  harness.runner->stop();
  CHECK(harness.end().exit_code == 0);
  CHECK(harness.ledger.records().empty());
}

TEST_CASE("a run past its hard limit is wedged until it comes back") {
  Harness harness;
  harness.options.hard_limit_grace = 1ms;
  config::Job job = minutely("charge");
  job.run.timeout = 1ms;
  FakeWork& work = start_busy(harness, true, job);
  REQUIRE(harness.diary.wait_for("wedged charge"));
  CHECK(harness.ledger.records().empty());
  work.release();
  REQUIRE(harness.diary.wait_for("released charge"));
  REQUIRE(harness.ledger.wait_for_count(1));
  CHECK(harness.ledger.records().at(0).outcome == Outcome::timed_out);
}

TEST_CASE("the heart beats while a run is wedged and while shutdown drains") {
  Harness harness;
  harness.options.heartbeat = 1ms;
  harness.options.hard_limit_grace = 1ms;
  config::Job job = minutely("charge");
  job.run.timeout = 1ms;
  FakeWork& work = start_busy(harness, true, job);
  REQUIRE(harness.diary.wait_for("heartbeat", "wedged charge"));
  harness.runner->stop();
  REQUIRE(harness.diary.wait_for("heartbeat", "stopping charge"));
  work.release();
  CHECK(harness.end().exit_code == 0);
}

TEST_CASE("a run that was asked for and waits at shutdown is skipped, one broken off has failed") {
  Harness harness;
  harness.options.drain_timeout = 1ms;
  FakeWork& work = harness.add(minutely("charge"));
  work.block();
  harness.start();
  const auto ask = [&] {
    return harness.on_loop([&] { return harness.runner->run_now("charge", std::nullopt, "root"); });
  };
  const auto first = ask();
  REQUIRE(work.wait_for_calls(1));
  const auto second = ask();
  harness.runner->stop();
  CHECK(harness.end().exit_code == 0);
  const auto records = harness.ledger.records();
  REQUIRE(records.size() == 2);
  CHECK(records[0].run_id == first);
  CHECK(records[0].outcome == Outcome::failed);
  CHECK(records[0].reason.starts_with("saathiid was stopped in mid-run"));
  CHECK(records[1].run_id == second);
  CHECK(records[1].outcome == Outcome::skipped);
}

TEST_CASE("a database that does not answer at shutdown is broken off") {
  Harness harness;
  harness.options.flush_timeout = 1ms;
  FakeWork& work = start_busy(harness, false);
  REQUIRE(harness.ledger.state.wait([](const auto& s) { return s.prunes > 0; }));
  harness.ledger.state.change([](auto& s) { s.stalled = true; });
  work.release();
  REQUIRE(harness.diary.wait_for("succeeded charge"));
  harness.runner->stop();
  const Ending ending = harness.end();
  CHECK(harness.ledger.state.get().interrupted);
  CHECK(harness.ledger.state.get().failed_calls == 1);  // no other try
  CHECK_FALSE(ending.stuck);
  CHECK(harness.ledger.records().empty());
}

TEST_CASE("outcomes that wait for the database are written during shutdown if it is back") {
  // Refused, not unreachable: a server that is found down during shutdown gets no other try.
  Harness harness;
  harness.options.ledger.backoff = 1h;
  harness.options.ledger.backoff_cap = 1h;
  FakeWork& work = start_busy(harness, false);
  REQUIRE(harness.ledger.state.wait([](const auto& s) { return s.prunes > 0; }));
  harness.ledger.state.change([](auto& s) { s.refuses = true; });
  work.release();
  REQUIRE(harness.ledger.state.wait([](const auto& s) { return s.failed_calls > 0; }));
  harness.ledger.state.change([](auto& s) { s.refuses = false; });
  harness.runner->stop();
  CHECK(harness.end().exit_code == 0);
  CHECK(harness.ledger.records().size() == 1);
}

TEST_CASE("stop before run ends it right after the start") {
  Harness harness;
  harness.add(minutely("charge"));
  Runner runner(harness.options, harness.specs, harness.ledger, harness.clock, {});
  runner.stop();
  CHECK(runner.run().exit_code == 0);
}

}  // namespace

}  // namespace saathii::runner::test
