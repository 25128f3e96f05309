#include "saathii/health/health.hpp"
#include "catch.hpp"

namespace saathii::health {

namespace {

using namespace std::chrono_literals;
using runner::JobView;

const Instant now = *parse_iso8601("2026-11-22T12:00:00Z");
const config::Health limits;

JobView good_job() {
  JobView job;
  job.name = "charge";
  job.armed_at = now - 1h;
  job.last_success = now - 30s;
  job.success_deadline = now + 90s;
  job.timeout = 10min;
  return job;
}

runner::Record ended(schedule::Outcome outcome, const std::string& reason) {
  runner::Record record;
  record.job = "charge";
  record.outcome = outcome;
  record.reason = reason;
  record.finished_at = now - 10s;
  return record;
}

Report judge_job(const JobView& job) { return judge({{job}, {}, {}, 0, 0s, now}, limits); }

Report judge_server(const std::string& name, ServerState::State state, Duration since) {
  return judge({{}, {{name, {state, now - since, "connection refused"}}}, {}, 0, 0s, now}, limits);
}

Report judge_disk(std::uint64_t free_percent) {
  return judge({{}, {}, {{"/var/log/x", free_percent, 100, ""}}, 0, 0s, now}, limits);
}

TEST_CASE("nothing wrong is ok") {
  const Report report = judge({{good_job()},
                               {{"postgres", {ServerState::State::up, now, ""}},
                                {"redis", {ServerState::State::unknown, now, ""}}},
                               {{"/var/log/x", 50, 100, ""}},
                               999,
                               299s,
                               now},
                              limits);
  CHECK(report.level == Level::ok);
  CHECK(report.findings.empty());
  CHECK(report.judged_at == now);
}

TEST_CASE("a job without a success by its deadline is failing even if nothing threw") {
  JobView job = good_job();
  job.success_deadline = now - 1s;
  const Report report = judge_job(job);
  CHECK(report.level == Level::failing);
  REQUIRE(report.findings.size() == 1);
  CHECK(report.findings[0].check == "job charge");
  CHECK(report.findings[0].message ==
        "no success since 2026-11-22T11:59:30Z, due by 2026-11-22T11:59:59Z; it has not run yet");
  job.last = ended(schedule::Outcome::failed, "no such table");
  CHECK(judge_job(job).findings.at(0).message.find(
            "its last run failed at 2026-11-22T11:59:50Z: no such table") != std::string::npos);
  job.success_deadline = std::nullopt;
  CHECK(judge_job(job).level == Level::degraded);
}

TEST_CASE("a stuck run is told apart from a database that is down") {
  JobView job = good_job();
  job.state = JobView::State::stuck;
  job.run = runner::RunInProgress{"r1", now - 11min, now - 11min, 1};
  job.success_deadline = now - 5min;
  const Report stuck = judge_job(job);
  CHECK(stuck.level == Level::failing);
  REQUIRE(stuck.findings.size() == 1);
  CHECK(stuck.findings[0].message ==
        "stuck: the run r1 that began at 2026-11-22T11:49:00Z does not come back, though it was "
        "told to stop after 10 min");
  job.state = JobView::State::retrying;
  const Report waiting =
      judge({{job},
             {{"postgres", {ServerState::State::down, now - 5min, "connection refused"}}},
             {},
             0,
             0s,
             now},
            limits);
  REQUIRE(waiting.findings.size() == 2);
  CHECK(waiting.findings[0].message ==
        "no success since 2026-11-22T11:59:30Z, due by 2026-11-22T11:55:00Z; its run is retrying "
        "since 2026-11-22T11:49:00Z");
  CHECK(waiting.findings[1].check == "postgres");
}

TEST_CASE(
    "a failed run is degraded until the deadline, and a paused job is, for as long as it is") {
  JobView job = good_job();
  job.last = ended(schedule::Outcome::timed_out, "took longer than 10 min");
  CHECK(judge_job(job).level == Level::degraded);
  job.last = ended(schedule::Outcome::skipped, "overlap");
  CHECK(judge_job(job).level == Level::ok);
  job.paused = runner::Pause{"root", now - 1h};
  job.success_deadline = now - 30min;
  CHECK(judge_job(job).level == Level::degraded);
  CHECK(judge_job(job).findings.at(0).message == "paused by root since 2026-11-22T11:00:00Z");
}

TEST_CASE("PostgreSQL down is failing after a while, Redis down never") {
  using State = ServerState::State;
  CHECK(judge_server("postgres", State::down, 59s).level == Level::degraded);
  CHECK(judge_server("postgres", State::down, 60s).level == Level::failing);
  CHECK(judge_server("redis", State::down, 1h).level == Level::degraded);
  CHECK(judge_server("redis", State::up, 1h).level == Level::ok);
  CHECK(judge_server("redis", State::down, 1h).findings.at(0).message ==
        "down since 2026-11-22T11:00:00Z: connection refused");
}

TEST_CASE("moments are told in the platform's time") {
  JobView job = good_job();
  job.paused = runner::Pause{"root", now + 123456us};
  const Facts facts{{job}, {}, {}, 0, 0s, now, tz::locate_zone("Asia/Kolkata")};
  CHECK(judge(facts, limits).findings.at(0).message ==
        "paused by root since 2026-11-22 17:30:00 IST");
}

TEST_CASE("a disk that fills up") {
  CHECK(judge_disk(10).level == Level::ok);
  CHECK(judge_disk(9).level == Level::degraded);
  CHECK(judge_disk(2).level == Level::failing);
  CHECK(judge_disk(2).findings.at(0).message == "2.0 % of the file system is free, less than 3 %");
  CHECK(judge({{}, {}, {{"/gone", 0, 0, "cannot be looked at"}}, 0, 0s, now}, limits).level ==
        Level::degraded);
}

TEST_CASE("outcomes that wait for long are degraded") {
  const Report report = judge({{}, {}, {}, 1, 300s, now}, limits);
  CHECK(report.level == Level::degraded);
  CHECK(report.findings.at(0).message ==
        "the database has taken no outcome of a run for 5 min; 1 waits in memory");
}

TEST_CASE("that nobody leads is failing after a while") {
  const auto level = [](Duration since) {
    return judge({{}, {}, {}, 0, 0s, now, nullptr, now - since}, limits).level;
  };
  CHECK(level(limits.postgres_down_after - 1s) == Level::ok);
  CHECK(level(limits.postgres_down_after) == Level::failing);
}

TEST_CASE("the worst comes first and gives the level") {
  JobView job = good_job();
  job.success_deadline = now - 1s;
  const Report report =
      judge({{job}, {{"redis", {ServerState::State::down, now, ""}}}, {}, 5000, 1h, now}, limits);
  REQUIRE(report.findings.size() == 3);
  CHECK(report.findings[0].check == "job charge");
  CHECK(report.findings[1].check == "redis");
  CHECK(report.level == Level::failing);
}

}  // namespace

}  // namespace saathii::health
