#include "saathii/http/metrics.hpp"

#include <set>
#include <sstream>

#include "sample.hpp"

namespace saathii::http {

namespace {

using schedule::Outcome;

const CountMetrics declared = {
    {"charging",
     {{.count = "coins", .name = "t_coins_total", .help = "Coins"},
      {.count = "paise", .name = "t_rupees_total", .help = "Rupees", .count_per_unit = 100},
      {.count = "late", .name = "t_drops_total", .help = "Drops", .labels = {{"reason", "late"}}},
      {.count = "gone", .name = "t_drops_total", .help = "Drops", .labels = {{"reason", "gone"}}},
      {.count = "online", .name = "t_online", .type = CountMetric::Type::gauge, .help = "Online"}}},
    {"plain", {}}};

/// Metrics of a sample that the test may change.
struct Bench {
  Sample sample = test::healthy();
  Metrics metrics{[this] { return sample; }, declared};

  /// A run that began `late` after its tick.
  void run(const std::string& job, Outcome outcome, runner::Counts counts,
           Duration late = Duration{0}, Duration busy = std::chrono::milliseconds{20}) {
    runner::Record record;
    record.job = job;
    record.run_id = "id";
    record.scheduled_at = test::at("2026-11-22T09:00:00Z");
    record.last_scheduled_at = record.scheduled_at;
    record.started_at = record.scheduled_at + late;
    record.outcome = outcome;
    record.counts = std::move(counts);
    metrics.tick_ended(record, busy);
  }

  void write_off(const std::string& job, Outcome outcome, std::int64_t ticks) {
    runner::Record record;
    record.job = job;
    record.outcome = outcome;
    record.ticks = ticks;
    metrics.tick_ended(record, Duration{0});
  }

  /// "name{labels} value" lines, without comments.
  std::set<std::string> lines() {
    std::set<std::string> all;
    std::istringstream text(metrics.exposition());
    for (std::string line; std::getline(text, line);) {
      if (!line.starts_with('#')) {
        CHECK(all.insert(line).second);
      }
    }
    return all;
  }
};

bool has_line_that_begins(const std::set<std::string>& lines, const std::string& start) {
  const auto next = lines.lower_bound(start);
  return next != lines.end() && next->starts_with(start);
}

}  // namespace

TEST_CASE("metrics: what the daemon is at") {
  Bench bench;
  const auto lines = bench.lines();
  CHECK(has_line_that_begins(lines, "saathiid_build_info{version=\"1.2.3\",compiler="));
  CHECK(has_line_that_begins(lines, "process_resident_memory_bytes "));
  CHECK(has_line_that_begins(lines, "process_cpu_seconds_total "));
  CHECK(has_line_that_begins(lines, "process_open_fds "));
  for (const char* line :
       {"saathiid_loop_lag_seconds 0.002",
        "saathiid_health_status{level=\"ok\"} 1",
        "saathiid_health_status{level=\"failing\"} 0",
        "saathiid_server_up{server=\"postgres\"} 1",
        "saathiid_postgres_sessions{state=\"idle\"} 2",
        "saathiid_postgres_sessions{state=\"leased\"} 1",
        "saathiid_postgres_sessions_limit 8",
        "saathiid_postgres_sessions_waiting 0",
        "saathiid_queue_length{queue=\"outcomes\"} 3",
        "saathiid_queue_limit{queue=\"outcomes\"} 10000",
        "saathiid_disk_free_bytes{folder=\"/var/log/saathii\"} 250",
        "saathiid_disk_size_bytes{folder=\"/var/log/saathii\"} 1000",
        "saathiid_alerts_open 2",
        "saathiid_alert_messages_total{channel=\"webhook\",result=\"delivered\"} 7",
        "saathiid_alert_messages_total{channel=\"webhook\",result=\"lost\"} 1",
        "saathiid_alert_messages_total{channel=\"mail\",result=\"lost\"} 0",
        "saathiid_alert_tries_failed_total{channel=\"webhook\"} 4",
        "saathiid_alert_messages_waiting{channel=\"webhook\"} 3",
        "saathiid_job_state{job_name=\"charge\",state=\"waiting\"} 1",
        "saathiid_job_state{job_name=\"charge\",state=\"running\"} 0",
        "saathiid_job_state{job_name=\"sweep\",state=\"running\"} 1",
        "saathiid_job_paused{job_name=\"charge\"} 0",
        "saathiid_job_last_success_timestamp_seconds{job_name=\"charge\"} 1795338000.5",
        "saathiid_job_success_deadline_timestamp_seconds{job_name=\"charge\"} 1795338660",
        "saathiid_job_next_run_timestamp_seconds{job_name=\"charge\"} 1795338060",
        "process_start_time_seconds 1795334400"}) {
    INFO(line);
    CHECK(lines.contains(line));
  }
  // What is not known is not there, in place of a number that means nothing.
  CHECK_FALSE(has_line_that_begins(lines, "saathiid_server_up{server=\"redis\"}"));
  CHECK_FALSE(has_line_that_begins(lines, "saathiid_disk_free_bytes{folder=\"/gone\"}"));
  CHECK_FALSE(has_line_that_begins(lines, "saathiid_health_finding"));
  CHECK_FALSE(has_line_that_begins(
      lines, "saathiid_job_last_success_timestamp_seconds{job_name=\"sweep\"}"));
}

TEST_CASE("metrics: what is wrong") {
  Bench bench;
  bench.sample = test::failing();
  const auto lines = bench.lines();
  for (const char* line :
       {"saathiid_health_status{level=\"ok\"} 0", "saathiid_health_status{level=\"failing\"} 1",
        "saathiid_health_finding{check=\"postgres\",level=\"failing\"} 1",
        "saathiid_health_finding{check=\"job charge\",level=\"degraded\"} 1",
        "saathiid_server_up{server=\"postgres\"} 0",
        "saathiid_server_since_timestamp_seconds{server=\"postgres\"} 1795337400",
        "saathiid_job_paused{job_name=\"charge\"} 1"}) {
    INFO(line);
    CHECK(lines.contains(line));
  }
}

TEST_CASE("metrics: every outcome of every job is there from the start") {
  Bench bench;
  const auto lines = bench.lines();
  for (const char* job : {"charge", "sweep"}) {
    for (const char* outcome :
         {"succeeded", "failed", "timed_out", "skipped", "coalesced", "missed"}) {
      CHECK(lines.contains("saathiid_job_ticks_total{job_name=\"" + std::string(job) +
                           "\",outcome=\"" + outcome + "\"} 0"));
    }
  }
  CHECK(lines.contains("t_coins_total{job_name=\"charge\"} 0"));
  CHECK(lines.contains("t_drops_total{job_name=\"charge\",reason=\"gone\"} 0"));
  CHECK_FALSE(has_line_that_begins(lines, "t_online"));
}

TEST_CASE("metrics: runs, how long they took and how late they began") {
  using std::chrono::milliseconds;
  using std::chrono::seconds;
  Bench bench;
  bench.run("charge", Outcome::succeeded, {}, milliseconds{1}, milliseconds{40});
  bench.run("charge", Outcome::failed, {}, seconds{7}, seconds{2});
  bench.run("charge", Outcome::succeeded, {}, milliseconds{-5}, milliseconds{40});
  bench.write_off("charge", Outcome::missed, 12);
  bench.write_off("charge", Outcome::missed, 1);
  const auto lines = bench.lines();
  for (const char* line :
       {"saathiid_job_ticks_total{job_name=\"charge\",outcome=\"succeeded\"} 2",
        "saathiid_job_ticks_total{job_name=\"charge\",outcome=\"failed\"} 1",
        "saathiid_job_ticks_total{job_name=\"charge\",outcome=\"missed\"} 13",
        "saathiid_job_ticks_total{job_name=\"sweep\",outcome=\"missed\"} 0",
        "saathiid_job_run_duration_seconds_count{job_name=\"charge\"} 3",
        "saathiid_job_run_duration_seconds_bucket{job_name=\"charge\",le=\"0.025\"} 0",
        "saathiid_job_run_duration_seconds_bucket{job_name=\"charge\",le=\"0.05\"} 2",
        "saathiid_job_run_duration_seconds_bucket{job_name=\"charge\",le=\"2.5\"} 3",
        "saathiid_job_run_duration_seconds_bucket{job_name=\"charge\",le=\"+Inf\"} 3",
        "saathiid_job_lateness_seconds_bucket{job_name=\"charge\",le=\"0.005\"} 2",
        "saathiid_job_lateness_seconds_bucket{job_name=\"charge\",le=\"10\"} 3",
        "saathiid_job_run_duration_seconds_count{job_name=\"sweep\"} 0"}) {
    INFO(line);
    CHECK(lines.contains(line));
  }
}

TEST_CASE("metrics: counts that a kind declares") {
  Bench bench;
  bench.run("charge", Outcome::succeeded,
            {{"coins", 30}, {"paise", 1234}, {"late", 2}, {"online", 17}, {"more", 5}});
  bench.run("charge", Outcome::failed, {});
  bench.run("charge", Outcome::succeeded, {{"coins", 12}, {"paise", 1}, {"online", 11}});
  const auto lines = bench.lines();
  for (const char* line :
       {"t_coins_total{job_name=\"charge\"} 42", "t_rupees_total{job_name=\"charge\"} 12.35",
        "t_drops_total{job_name=\"charge\",reason=\"late\"} 2",
        "t_drops_total{job_name=\"charge\",reason=\"gone\"} 0",
        "t_online{job_name=\"charge\"} 11"}) {
    INFO(line);
    CHECK(lines.contains(line));
  }
  CHECK_FALSE(has_line_that_begins(lines, "saathiid_job_count_total"));
}

TEST_CASE("metrics: a kind that declares none has all its counts by one name, within a bound") {
  Bench bench;
  bench.run("sweep", Outcome::succeeded, {{"swept", 3}, {"left", -1}});
  bench.run("sweep", Outcome::succeeded, {{"swept", 4}});
  const auto lines = bench.lines();
  CHECK(lines.contains("saathiid_job_count_total{job_name=\"sweep\",count=\"swept\"} 7"));
  CHECK(lines.contains("saathiid_job_count_total{job_name=\"sweep\",count=\"left\"} 0"));
  runner::Counts many;
  for (int i = 0; i < 1000; ++i) {
    many.emplace_back("count" + std::to_string(i), 1);
  }
  bench.run("sweep", Outcome::succeeded, many);
  const auto bounded = bench.lines();
  CHECK(std::count_if(bounded.begin(), bounded.end(), [](const std::string& line) {
          return line.starts_with("saathiid_job_count_total");
        }) == 64);
}

TEST_CASE("metrics: a gauge is known after a restart, a counter begins anew") {
  Bench bench;
  runner::Record last;
  last.counts = {{"online", 23}, {"coins", 99}};
  bench.sample.jobs[0].last = last;
  const auto lines = bench.lines();
  CHECK(lines.contains("t_online{job_name=\"charge\"} 23"));
  CHECK(lines.contains("t_coins_total{job_name=\"charge\"} 0"));
}

TEST_CASE("metrics: a job that a reload takes away takes its series along") {
  Bench bench;
  bench.run("charge", Outcome::succeeded, {{"coins", 5}});
  bench.run("sweep", Outcome::succeeded, {{"swept", 5}});
  auto jobs = bench.sample.jobs;
  bench.sample.jobs.pop_back();
  bench.metrics.jobs_changed({"charge"});
  CHECK_FALSE(has_line_that_begins(bench.lines(), "saathiid_job_count_total"));
  CHECK(bench.lines().contains("t_coins_total{job_name=\"charge\"} 5"));
  bench.sample.jobs = jobs;
  bench.metrics.jobs_changed({"charge", "sweep"});
  CHECK(bench.lines().contains(
      "saathiid_job_ticks_total{job_name=\"sweep\",outcome=\"succeeded\"} 0"));
}

}  // namespace saathii::http
