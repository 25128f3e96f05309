#include "saathii/health/health.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "saathii/schedule/local_time.hpp"

namespace saathii::health {

namespace {

using runner::JobView;
using schedule::local_text;

/// Longer than writing outcomes may take to begin with.
constexpr Duration long_unwritten = std::chrono::minutes{5};
constexpr std::string_view disk_prefix = "disk ";

std::string last_outcome(const JobView& job, TimeZone zone) {
  if (!job.last) {
    return "it has not run yet";
  }
  return fmt::format("its last run {} at {}{}{}", schedule::to_string(job.last->outcome),
                     local_text(job.last->finished_at.value_or(job.last->scheduled_at), zone),
                     job.last->reason.empty() ? "" : ": ", job.last->reason);
}

/// At most one finding a job: the worst.
void judge_job(const JobView& job, const Facts& facts, std::vector<Finding>& findings) {
  const auto text = [&](Instant moment) { return local_text(moment, facts.zone); };
  const std::string check = "job " + job.name;
  if (job.state == JobView::State::stuck) {
    findings.push_back(
        {Level::failing, check,
         fmt::format("stuck: the run {} that began at {} does not come back, though it was told "
                     "to stop after {}",
                     job.run ? job.run->run_id : "", job.run ? text(job.run->started_at) : "",
                     humanize(job.timeout))});
  } else if (job.state == JobView::State::standby) {
    return;  // what became of its ticks is known to the instance that leads
  } else if (job.paused) {
    findings.push_back(
        {Level::degraded, check,
         fmt::format("paused by {} since {}", job.paused->by, text(job.paused->since))});
  } else if (job.success_deadline && *job.success_deadline < facts.now) {
    const std::string since = job.last_success ? "since " + text(*job.last_success) : "so far";
    findings.push_back(
        {Level::failing, check,
         fmt::format("no success {}, due by {}; {}", since, text(*job.success_deadline),
                     job.state == JobView::State::waiting
                         ? last_outcome(job, facts.zone)
                         : fmt::format("its run is {} since {}", to_string(job.state),
                                       text(job.run->started_at)))});
  } else if (job.last && schedule::is_failure(job.last->outcome)) {
    findings.push_back({Level::degraded, check, last_outcome(job, facts.zone)});
  }
}

void judge_server(const Server& server, const Facts& facts, const config::Health& limits,
                  std::vector<Finding>& findings) {
  const auto& now = server.snapshot;
  if (now.state != ServerState::State::down) {
    return;
  }
  // Redis is a projection: without it nothing is charged wrongly.
  const bool holds_up =
      server.name == "postgres" && facts.now - now.since >= limits.postgres_down_after;
  findings.push_back(
      {holds_up ? Level::failing : Level::degraded, server.name,
       fmt::format("down since {}: {}", local_text(now.since, facts.zone), now.last_error)});
}

void judge_disk(const DiskSpace& disk, const config::Health& limits,
                std::vector<Finding>& findings) {
  const std::string check = std::string{disk_prefix} + disk.folder;
  if (!disk.error.empty()) {
    findings.push_back({Level::degraded, check, disk.error});
    return;
  }
  if (disk.size_bytes == 0) {
    return;
  }
  const double free =
      100.0 * static_cast<double>(disk.free_bytes) / static_cast<double>(disk.size_bytes);
  const auto below = [&](std::int64_t percent) { return free < static_cast<double>(percent); };
  if (below(limits.disk_free_degraded)) {
    findings.push_back({below(limits.disk_free_failing) ? Level::failing : Level::degraded, check,
                        fmt::format("{:.1f} % of the file system is free, less than {} %", free,
                                    below(limits.disk_free_failing) ? limits.disk_free_failing
                                                                    : limits.disk_free_degraded)});
  }
}

}  // namespace

std::string_view to_string(Level level) {
  switch (level) {
    case Level::ok:
      return "ok";
    case Level::degraded:
      return "degraded";
    case Level::failing:
      break;
  }
  return "failing";
}

std::optional<std::string_view> disk_of(std::string_view check) {
  return check.starts_with(disk_prefix) ? std::optional(check.substr(disk_prefix.size()))
                                        : std::nullopt;
}

Report judge(const Facts& facts, const config::Health& limits) {
  Report report;
  report.judged_at = facts.now;
  for (const JobView& job : facts.jobs) {
    judge_job(job, facts, report.findings);
  }
  for (const Server& server : facts.servers) {
    judge_server(server, facts, limits, report.findings);
  }
  for (const DiskSpace& disk : facts.disks) {
    judge_disk(disk, limits, report.findings);
  }
  if (facts.leaderless_since && facts.now - *facts.leaderless_since >= limits.postgres_down_after) {
    report.findings.push_back(
        {Level::failing, "leadership",
         fmt::format("no instance is known to lead since {}: the platform's jobs do not run here",
                     local_text(*facts.leaderless_since, facts.zone))});
  }
  if (facts.outcomes_waiting > 0 && facts.outcomes_waiting_for >= long_unwritten) {
    report.findings.push_back(
        {Level::degraded, "run ledger",
         fmt::format("the database has taken no outcome of a run for {}; {} in memory",
                     humanize(facts.outcomes_waiting_for),
                     facts.outcomes_waiting == 1
                         ? "1 waits"
                         : fmt::format("{} wait", facts.outcomes_waiting))});
  }
  std::stable_sort(
      report.findings.begin(), report.findings.end(),
      [](const Finding& one, const Finding& other) { return one.level > other.level; });
  if (!report.findings.empty()) {
    report.level = report.findings.front().level;
  }
  return report;
}

}  // namespace saathii::health
