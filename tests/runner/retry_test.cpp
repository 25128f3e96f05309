#include "support.hpp"

namespace saathii::runner::test {

namespace {

using schedule::Outcome;

const Result failure{Result::Status::failed, "it broke", {}};
const Result lost{Result::Status::unavailable, "connection refused", {}};
const Result good{Result::Status::succeeded, "mended", {}};

config::Job retrying(std::int64_t retries) {
  config::Job job = minutely("charge");
  job.run.retries = retries;
  job.run.retry_backoff = 1s;
  job.run.retry_backoff_cap = 4s;
  return job;
}

/// Starts the tick of 12:01 and lets time pass to each retry, until a wait for
/// `until` or later. Returns the moments of the retries.
std::vector<Instant> follow_retries(Harness& harness, FakeWork& work, std::size_t tries) {
  REQUIRE(harness.clock.wait_until_armed(noon + 1min));
  harness.clock.pass_to(noon + 1min);
  std::vector<Instant> moments;
  for (std::size_t seen = 1; seen < tries; ++seen) {
    REQUIRE(work.wait_for_calls(seen));
    const auto next = harness.clock.wait_until_armed_by(noon + 2min - 1us);
    REQUIRE(next);
    moments.push_back(*next);
    harness.clock.pass_to(*next);
  }
  REQUIRE(work.wait_for_calls(tries));
  return moments;
}

TEST_CASE("a failed try is repeated after a pause that doubles up to its cap") {
  Harness harness;
  FakeWork& work = harness.add(retrying(5));
  work.answer({failure, failure, failure, failure, good});
  harness.start();
  const auto moments = follow_retries(harness, work, 5);
  Instant before = noon + 1min;
  const std::vector<Duration> whole = {1s, 2s, 4s, 4s};
  for (std::size_t i = 0; i < moments.size(); ++i) {
    CHECK(moments[i] - before <= whole[i]);
    CHECK(moments[i] - before >= whole[i] / 2);
    before = moments[i];
  }
  REQUIRE(harness.ledger.wait_for_count(1));
  const auto record = harness.ledger.records().at(0);
  CHECK(record.outcome == Outcome::succeeded);
  CHECK(record.attempts == 5);
  CHECK(record.reason == "mended");
  const auto calls = work.calls();
  for (std::size_t i = 0; i < calls.size(); ++i) {
    CHECK(calls[i].attempt == static_cast<int>(i) + 1);
    CHECK(calls[i].run_id == record.run_id);
  }
}

TEST_CASE("after the last retry the tick has failed, for the last reason") {
  Harness harness;
  FakeWork& work = harness.add(retrying(2));
  work.answer({failure, failure, {Result::Status::failed, "still broken", {}}});
  harness.start();
  follow_retries(harness, work, 3);
  REQUIRE(harness.ledger.wait_for_count(1));
  const auto record = harness.ledger.records().at(0);
  CHECK(record.outcome == Outcome::failed);
  CHECK(record.attempts == 3);
  CHECK(record.reason == "still broken");
  REQUIRE(harness.clock.wait_until_armed(noon + 2min));
  CHECK(work.calls().size() == 3);
}

TEST_CASE("waiting for a lost server uses up no retries") {
  Harness harness;
  FakeWork& work = harness.add(retrying(0));
  work.answer({lost, lost, lost, lost, good});
  harness.start();
  follow_retries(harness, work, 5);
  REQUIRE(harness.ledger.wait_for_count(1));
  CHECK(harness.ledger.records().at(0).outcome == Outcome::succeeded);
  CHECK(harness.ledger.records().at(0).attempts == 5);
}

TEST_CASE("a tick that a server holds up gives way to the next one, which is not skipped") {
  Harness harness;
  config::Job job = retrying(0);
  job.run.retry_backoff = 10min;
  FakeWork& work = harness.add(job);
  work.answer({lost, good});
  harness.start();
  REQUIRE(harness.clock.wait_until_armed(noon + 1min));
  harness.clock.pass_to(noon + 1min);
  REQUIRE(harness.clock.wait_until_armed(noon + 2min));
  harness.clock.pass_to(noon + 2min);
  REQUIRE(harness.ledger.wait_for_count(2));
  const auto records = harness.ledger.records();
  CHECK(records.at(0).outcome == Outcome::failed);
  CHECK(records.at(0).reason == "connection refused; gave way to the next tick");
  CHECK(records.at(1).scheduled_at == noon + 2min);
  CHECK(records.at(1).outcome == Outcome::succeeded);
}

TEST_CASE("a daily tick survives an outage of an hour") {
  Harness harness{noon - 12h + 30s};
  config::Job job = retrying(0);
  job.trigger = {schedule::Daily{1min}, tz::locate_zone("UTC")};
  job.run.retry_backoff = job.run.retry_backoff_cap = 1min;
  constexpr std::size_t tries_in_an_hour = 121;
  std::vector<Result> answers(tries_in_an_hour, lost);
  answers.push_back(good);
  FakeWork& work = harness.add(job);
  work.answer(answers);
  harness.start();
  const Instant tick = noon - 12h + 1min;
  REQUIRE(harness.clock.wait_until_armed(tick));
  harness.clock.pass_to(tick);
  for (std::size_t tries = 1; tries <= tries_in_an_hour; ++tries) {
    REQUIRE(work.wait_for_calls(tries));
    const auto next = harness.clock.wait_until_armed_by(harness.clock.now() + 1min);
    REQUIRE(next);
    harness.clock.pass_to(*next);
  }
  REQUIRE(harness.ledger.wait_for_count(1));
  CHECK(harness.clock.now() - tick >= 1h);
  CHECK(harness.ledger.records().at(0).outcome == Outcome::succeeded);
  CHECK(harness.ledger.records().at(0).scheduled_at == tick);
}

TEST_CASE("a server that comes up ends the wait for it, but not at once") {
  Harness harness;
  config::Job job = retrying(0);
  job.trigger = {schedule::Daily{12h + 1min}, tz::locate_zone("UTC")};
  job.run.retry_backoff_cap = 1h;
  FakeWork& work = harness.add(job);
  work.answer({lost, lost, lost, lost, lost, lost, good});
  harness.start();
  REQUIRE(harness.clock.wait_until_armed(noon + 1min));
  harness.clock.pass_to(noon + 1min);
  for (std::size_t seen = 1; seen < 6; ++seen) {
    REQUIRE(work.wait_for_calls(seen));
    const auto next = harness.clock.wait_until_armed_by(noon + 1h);
    REQUIRE(next);
    harness.clock.pass_to(*next);
  }
  REQUIRE(work.wait_for_calls(6));
  const auto next = harness.clock.wait_until_armed_by(noon + 1h);
  REQUIRE(next);
  CHECK(*next - harness.clock.now() >= 16s);
  harness.runner->server_changed(true);
  REQUIRE(harness.clock.wait_until_armed(harness.clock.now() + 1s));
  harness.clock.pass_to(harness.clock.now() + 1s);
  REQUIRE(harness.ledger.wait_for_count(1));
  CHECK(harness.ledger.records().at(0).outcome == Outcome::succeeded);
  CHECK(harness.ledger.records().at(0).attempts == 7);
}

TEST_CASE("a try that ran out of time is repeated as a failed one is") {
  Harness harness;
  config::Job job = retrying(1);
  job.run.timeout = 1ms;
  FakeWork& work = harness.add(job);
  work.block();
  harness.start();
  follow_retries(harness, work, 2);
  REQUIRE(harness.ledger.wait_for_count(1));
  CHECK(harness.ledger.records().at(0).outcome == Outcome::timed_out);
  CHECK(harness.ledger.records().at(0).attempts == 2);
}

TEST_CASE("a clock set during the wait for a retry does not lengthen it") {
  Harness harness;
  FakeWork& work = harness.add(retrying(1));
  work.answer({failure, good});
  harness.start();
  REQUIRE(harness.clock.wait_until_armed(noon + 1min));
  harness.clock.pass_to(noon + 1min);
  REQUIRE(work.wait_for_calls(1));
  REQUIRE(harness.clock.wait_until_armed_by(noon + 2min - 1us));
  harness.clock.set(noon - 10h);
  REQUIRE(harness.ledger.wait_for_count(1));
  CHECK(harness.ledger.records().at(0).outcome == Outcome::succeeded);
}

TEST_CASE("pauses double from the first up to the cap, each shortened by up to half") {
  Backoff backoff(100ms, 1s);
  for (const Duration whole : {Duration{100ms}, Duration{200ms}, Duration{400ms}, Duration{800ms},
                               Duration{1s}, Duration{1s}}) {
    const Duration pause = backoff.next();
    CHECK(pause <= whole);
    CHECK(pause >= whole / 2);
  }
  backoff.reset();
  CHECK(backoff.next() <= 100ms);
  CHECK(Backoff(0s, 0s).next() > Duration{0});
}

}  // namespace

}  // namespace saathii::runner::test
