#include "base/capture_stderr.hpp"
#include "saathii/log/log.hpp"
#include "support.hpp"

// Whatever the loop logs of a run carries the run's fields, so that one RUN_ID
// finds all of it; what the worker logs is tests/jobs/executor_test.cpp's.

namespace saathii::runner::test {

namespace {

/// Runs one tick of a job of its own name, because the log folds what repeats.
class LoggedRun {
 public:
  explicit LoggedRun(std::string name) : job(minutely(std::move(name))) {
    log::set_level(log::Level::debug);
  }
  ~LoggedRun() { log::set_level(log::Level::info); }
  LoggedRun(const LoggedRun&) = delete;
  LoggedRun& operator=(const LoggedRun&) = delete;

  FakeWork& start() {
    FakeWork& work = harness.add(job);
    harness.start();
    return work;
  }
  void tick() {
    REQUIRE(harness.clock.wait_until_armed(noon + 1min));
    harness.clock.pass_to(noon + 1min);
    REQUIRE(harness.works[job.name].wait_for_calls(1));
  }

  /// Whether a line has this text, and the fields of the run.
  [[nodiscard]] bool has(const std::string& text) {
    const std::string all = capture.text();
    const std::string run = harness.works[job.name].calls().at(0).run_id;
    for (std::size_t at = 0; at < all.size(); at = all.find('\n', at) + 1) {
      const std::string line = all.substr(at, all.find('\n', at) - at);
      if (line.find(text) != std::string::npos &&
          line.find(" JOB=" + job.name + " RUN_ID=" + run + " SCHEDULED_AT=2026-11-22T12:01:00Z") !=
              std::string::npos) {
        return true;
      }
    }
    UNSCOPED_INFO(all);
    return false;
  }

  config::Job job;
  Harness harness;
  CaptureStderr capture;
};

TEST_CASE("a run that is tried again and fails logs its id each time") {
  LoggedRun run("log_fails");
  run.job.run.retries = 1;
  FakeWork& work = run.start();
  work.answer({{Result::Status::failed, "no luck", {}},
               {Result::Status::unavailable, "gone", {}},
               {Result::Status::failed, "no luck", {}}});
  run.tick();
  for (std::size_t tries = 1; tries < 3; ++tries) {
    const auto pause = run.harness.clock.wait_until_armed_by(noon + 2min - 1us);
    REQUIRE(pause);
    run.harness.clock.pass_to(*pause);
    REQUIRE(work.wait_for_calls(tries + 1));
  }
  REQUIRE(run.harness.ledger.wait_for_count(1));
  CHECK(run.has("log_fails failed and is tried again: no luck"));
  CHECK(run.has("log_fails waits for its server: gone"));
  CHECK(run.has("error log_fails failed: no luck"));
}

TEST_CASE("a run that is stuck, comes back and has timed out logs its id each time") {
  LoggedRun run("log_stuck");
  run.job.run.timeout = 1ms;
  run.harness.options.hard_limit_grace = 1ms;
  FakeWork& work = run.start();
  work.block(true);
  run.tick();
  REQUIRE(run.harness.diary.wait_for("wedged log_stuck"));
  work.release();
  REQUIRE(run.harness.ledger.wait_for_count(1));
  CHECK(run.has("log_stuck has not come back 2 ms after its start"));
  CHECK(run.has("log_stuck has come back at last"));
  CHECK(run.has("error log_stuck timed out: "));
}

TEST_CASE("a run that shutdown cuts short or leaves behind logs its id") {
  {
    LoggedRun run("log_cut");
    run.harness.options.drain_timeout = 1ms;
    run.start().block();
    run.tick();
    run.harness.runner->stop();
    CHECK(run.harness.end().exit_code == 0);
    CHECK(run.has("log_cut was cut short by the shutdown"));
  }
  LoggedRun run("log_left");
  FakeWork& work = run.start();
  work.block(true);
  run.tick();
  for (int signals = 0; signals < 3; ++signals) {
    run.harness.runner->stop();
  }
  CHECK(run.harness.end().stuck);
  CHECK(run.has("error left behind, because it does not come back: log_left"));
  work.release();
}

TEST_CASE("a run that succeeds logs its id") {
  LoggedRun run("log_done");
  run.start();
  run.tick();
  REQUIRE(run.harness.ledger.wait_for_count(1));
  CHECK(run.has("info log_done: done"));
  CHECK(run.has("DURATION_US="));
}

}  // namespace

}  // namespace saathii::runner::test
