#include "http_face.hpp"

#include "saathii/http/health_page.hpp"
#include "saathii/jobs/job.hpp"

namespace saathii::app {

namespace {

http::CountMetrics declared_metrics() {
  http::CountMetrics declared;
  for (const jobs::Kind& kind : jobs::kinds()) {
    declared.emplace(kind.info.name, kind.metrics);
  }
  return declared;
}

}  // namespace

HttpFace::HttpFace(Parts parts)
    : parts_(std::move(parts)),
      metrics_([this] { return look(); }, declared_metrics()),
      server_(parts_.runner.loop(),
              {{"/health", [this] { return http::health_page(look()); }},
               {"/metrics", [this] {
                  return http::Response{200, http::metrics_type, metrics_.exposition()};
                }}}) {}

http::Sample HttpFace::look() const {
  http::Sample sample;
  sample.version = SAATHIID_VERSION;
  sample.started_at = started_at_;
  sample.leadership = parts_.runner.leadership();
  sample.jobs = parts_.runner.jobs();
  sample.health = parts_.health.report();
  sample.servers = parts_.health.servers();
  sample.disks = parts_.health.disks();
  sample.queues.push_back(
      {http::outcomes_queue, parts_.runner.outcomes_waiting(), parts_.outcomes_limit});
  for (const auto& [name, worker] : parts_.workers) {
    sample.queues.push_back({name, worker->waiting(), worker->queue_limit()});
  }
  const postgres::Pool::Use use = parts_.pool.use();
  sample.sessions = {use.idle, use.leased, use.waiting, use.limit};
  for (const auto& [name, counts] : parts_.alerts.counts()) {
    sample.alert_channels.push_back({name, counts.delivered, counts.given_up + counts.dropped,
                                     counts.tries_failed, counts.waiting});
  }
  sample.alerts_open = parts_.alerts.open();
  sample.loop_lag = parts_.runner.loop_lag();
  return sample;
}

void HttpFace::tick_ended(const runner::Record& record, Duration busy) {
  metrics_.tick_ended(record, busy);
}

void HttpFace::jobs_changed(const std::vector<std::string>& jobs) { metrics_.jobs_changed(jobs); }

}  // namespace saathii::app
