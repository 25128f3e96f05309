#include "saathii/http/metrics.hpp"

#include <algorithm>
#include <array>

#include "families.hpp"

namespace saathii::http {

namespace {

using runner::JobView;
using schedule::Outcome;

// The label is not called "job": to Prometheus that is the scrape's name, and it
// would rename ours.
constexpr const char* job_label = "job_name";

constexpr std::array states = {JobView::State::waiting, JobView::State::running,
                               JobView::State::retrying, JobView::State::standby,
                               JobView::State::stuck};
constexpr std::array levels = {health::Level::ok, health::Level::degraded, health::Level::failing};

/// More counts of one job than a person would look at are not kept.
constexpr std::size_t max_counts = 64;

const prometheus::Histogram::BucketBoundaries duration_bounds_s = {
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800};
const prometheus::Histogram::BucketBoundaries lateness_bounds_s = {
    0.005, 0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600};

using Counts = std::map<std::string, std::int64_t, std::less<>>;

void keep(Counts& counts, const std::string& name, std::int64_t value, bool add) {
  const auto known = counts.find(name);
  if (known != counts.end()) {
    known->second = value + (add ? known->second : 0);
  } else if (counts.size() < max_counts) {
    counts.emplace(name, value);
  }
}

void add_daemon(Families& families, const Sample& sample) {
  families.gauge("saathiid_build_info", "What this saathiid was built of, always 1", 1,
                 {{"version", sample.version}, {"compiler", __VERSION__}});
  families.gauge("saathiid_loop_lag_seconds", "How late the event loop's last heartbeat was",
                 seconds(sample.loop_lag));
  families.gauge("saathiid_leader", "Whether this instance leads: it runs the platform's jobs",
                 sample.leadership.leads ? 1 : 0);
  families.gauge("saathiid_leadership_term", "The term of leadership; grows with each takeover",
                 static_cast<double>(sample.leadership.term));
  for (const health::Level level : levels) {
    families.gauge("saathiid_health_status", "Health: 1 for the present level, 0 for others",
                   sample.health.level == level ? 1 : 0, {{"level", to_string(level)}});
  }
  for (const health::Finding& finding : sample.health.findings) {
    families.gauge("saathiid_health_finding", "A check that is not ok, always 1", 1,
                   {{"check", finding.check}, {"level", to_string(finding.level)}});
  }
}

void add_servers(Families& families, const Sample& sample) {
  for (const health::Server& server : sample.servers) {
    const auto& now = server.snapshot;
    if (now.state == ServerState::State::unknown) {
      continue;
    }
    families.gauge("saathiid_server_up", "Whether the server answered when it was last used",
                   now.state == ServerState::State::up ? 1 : 0, {{"server", server.name}});
    families.gauge("saathiid_server_since_timestamp_seconds",
                   "Since when the server is up or down, in seconds since 1970",
                   timestamp(now.since), {{"server", server.name}});
  }
  const char* const sessions_help = "PostgreSQL sessions that are open, by state";
  families.gauge("saathiid_postgres_sessions", sessions_help,
                 static_cast<double>(sample.sessions.idle), {{"state", "idle"}});
  families.gauge("saathiid_postgres_sessions", sessions_help,
                 static_cast<double>(sample.sessions.leased), {{"state", "leased"}});
  families.gauge("saathiid_postgres_sessions_limit", "Most PostgreSQL sessions that may be open",
                 static_cast<double>(sample.sessions.limit));
  families.gauge("saathiid_postgres_sessions_waiting", "Workers that wait for a session",
                 static_cast<double>(sample.sessions.waiting));
}

void add_stores(Families& families, const Sample& sample) {
  for (const Queue& queue : sample.queues) {
    families.gauge("saathiid_queue_length", "What waits in the queue",
                   static_cast<double>(queue.length), {{"queue", queue.name}});
    families.gauge("saathiid_queue_limit", "How much the queue holds",
                   static_cast<double>(queue.limit), {{"queue", queue.name}});
  }
  for (const health::DiskSpace& disk : sample.disks) {
    if (!disk.error.empty()) {
      continue;
    }
    families.gauge("saathiid_disk_free_bytes", "Free on the file system of a log folder",
                   static_cast<double>(disk.free_bytes), {{"folder", disk.folder}});
    families.gauge("saathiid_disk_size_bytes", "Size of the file system of a log folder",
                   static_cast<double>(disk.size_bytes), {{"folder", disk.folder}});
  }
}

void add_alerts(Families& families, const Sample& sample) {
  families.gauge("saathiid_alerts_open", "Alerts that are open, whether they were sent or not",
                 static_cast<double>(sample.alerts_open));
  for (const AlertChannel& channel : sample.alert_channels) {
    for (const auto& [result, count] :
         {std::pair{"delivered", channel.delivered}, std::pair{"lost", channel.lost}}) {
      families.counter("saathiid_alert_messages_total",
                       "Messages of alerts by the way they were to go and what became of them",
                       static_cast<double>(count), {{"channel", channel.name}, {"result", result}});
    }
    families.counter("saathiid_alert_tries_failed_total",
                     "Tries to send a message of an alert that failed",
                     static_cast<double>(channel.tries_failed), {{"channel", channel.name}});
    families.gauge("saathiid_alert_messages_waiting", "Messages of alerts that wait to be sent",
                   static_cast<double>(channel.waiting), {{"channel", channel.name}});
  }
}

void add_view(Families& families, const JobView& view) {
  for (const JobView::State state : states) {
    families.gauge("saathiid_job_state", "What the job is at: 1 for its state, 0 for others",
                   view.state == state ? 1 : 0,
                   {{job_label, view.name}, {"state", to_string(state)}});
  }
  const auto moment = [&](const char* name, const char* help, std::optional<Instant> when) {
    if (when) {
      families.gauge(name, help, timestamp(*when), {{job_label, view.name}});
    }
  };
  families.gauge("saathiid_job_paused", "Whether the job's ticks are skipped until it is resumed",
                 view.paused ? 1 : 0, {{job_label, view.name}});
  moment("saathiid_job_last_success_timestamp_seconds",
         "When the job last succeeded, in seconds since 1970", view.last_success);
  moment("saathiid_job_success_deadline_timestamp_seconds",
         "By when the job must succeed again, in seconds since 1970", view.success_deadline);
  moment("saathiid_job_next_run_timestamp_seconds",
         "When the job's next tick is due, in seconds since 1970", view.next_run);
}

}  // namespace

/// What one job has added up to.
struct Metrics::Series {
  std::map<Outcome, std::int64_t> ticks;
  prometheus::Histogram durations{duration_bounds_s};
  prometheus::Histogram lateness{lateness_bounds_s};
  Counts totals;  ///< of all runs that reported the count
  Counts latest;  ///< of the latest run that did

  void add(Families& families, const JobView& view, const CountMetrics& declared) const;

 private:
  void add_counts(Families& families, const JobView& view,
                  const std::vector<CountMetric>& metrics) const;
};

void Metrics::Series::add(Families& families, const JobView& view,
                          const CountMetrics& declared) const {
  for (const Outcome outcome : schedule::outcomes) {
    const auto count = ticks.find(outcome);
    families.counter("saathiid_job_ticks_total", "The job's ticks, by what became of them",
                     count == ticks.end() ? 0.0 : static_cast<double>(count->second),
                     {{job_label, view.name}, {"outcome", to_string(outcome)}});
  }
  families.histogram("saathiid_job_run_duration_seconds",
                     "From the start of a run's first try to the end of its last", durations,
                     {{job_label, view.name}});
  families.histogram("saathiid_job_lateness_seconds",
                     "How long after its tick, jitter included, a run began", lateness,
                     {{job_label, view.name}});
  const auto kind = declared.find(view.kind);
  if (kind != declared.end() && !kind->second.empty()) {
    add_counts(families, view, kind->second);
    return;
  }
  for (const auto& [name, total] : totals) {
    families.counter(
        "saathiid_job_count_total",
        "Sum of a count that the job's runs reported and that has no metric of its own",
        static_cast<double>(total), {{job_label, view.name}, {"count", name}});
  }
}

void Metrics::Series::add_counts(Families& families, const JobView& view,
                                 const std::vector<CountMetric>& metrics) const {
  for (const CountMetric& metric : metrics) {
    Labels labels = {{job_label, view.name}};
    labels.insert(labels.end(), metric.labels.begin(), metric.labels.end());
    const auto in_units = [&](std::int64_t count) {
      return static_cast<double>(count) / metric.count_per_unit;
    };
    if (metric.type == CountMetric::Type::counter) {
      const auto total = totals.find(metric.count);
      families.counter(metric.name, metric.help,
                       total == totals.end() ? 0 : in_units(total->second), labels);
    } else if (const auto value = latest.find(metric.count); value != latest.end()) {
      families.gauge(metric.name, metric.help, in_units(value->second), labels);
    }
  }
}

Metrics::Metrics(Look look, CountMetrics declared)
    : look_(std::move(look)), declared_(std::move(declared)) {}

Metrics::~Metrics() = default;

Metrics::Series& Metrics::series_of(const std::string& job) {
  auto& series = series_[job];
  if (series == nullptr) {
    series = std::make_unique<Series>();
  }
  return *series;
}

void Metrics::tick_ended(const runner::Record& record, Duration busy) {
  Series& series = series_of(record.job);
  series.ticks[record.outcome] += std::max<std::int64_t>(record.ticks, 1);
  if (record.run_id.empty()) {
    return;
  }
  series.durations.Observe(seconds(busy));
  if (record.started_at) {
    series.lateness.Observe(
        seconds(std::max(*record.started_at - record.scheduled_at, Duration{0})));
  }
  for (const auto& [name, count] : record.counts) {
    keep(series.totals, name, std::max<std::int64_t>(count, 0), true);
    keep(series.latest, name, count, false);
  }
}

void Metrics::jobs_changed(const std::vector<std::string>& jobs) {
  std::erase_if(series_, [&](const auto& series) {
    return std::find(jobs.begin(), jobs.end(), series.first) == jobs.end();
  });
}

std::string Metrics::exposition() {
  const Sample sample = look_();
  Families families;
  add_daemon(families, sample);
  add_servers(families, sample);
  add_stores(families, sample);
  add_alerts(families, sample);
  for (const JobView& view : sample.jobs) {
    Series& series = series_of(view.name);
    if (series.latest.empty() && view.last) {
      // A run before this start: what it found holds until the next one.
      for (const auto& [name, count] : view.last->counts) {
        keep(series.latest, name, count, false);
      }
    }
    add_view(families, view);
    series.add(families, view, declared_);
  }
  add_process(families, sample.started_at);
  return families.text();
}

}  // namespace saathii::http
