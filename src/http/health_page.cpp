#include "saathii/http/health_page.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace saathii::http {

namespace {

// Keys in the order in which they are written.
using Json = nlohmann::ordered_json;

Json moment(const std::optional<Instant>& when) {
  return when ? Json(to_iso8601(*when)) : Json(nullptr);
}

/// A check's level and what is wrong, as findings say it.
Json judged(const health::Report& report, const std::string& check) {
  const auto found =
      std::find_if(report.findings.begin(), report.findings.end(),
                   [&](const health::Finding& finding) { return finding.check == check; });
  const bool is_wrong = found != report.findings.end();
  return {{"check", check},
          {"level", to_string(is_wrong ? found->level : health::Level::ok)},
          {"message", is_wrong ? found->message : ""}};
}

Json job(const runner::JobView& view, const health::Report& report) {
  Json json = judged(report, "job " + view.name);
  json["kind"] = view.kind;
  json["schedule"] = view.schedule;
  json["state"] = to_string(view.state);
  json["paused_by"] = view.paused ? Json(view.paused->by) : Json(nullptr);
  json["paused_since"] = view.paused ? moment(view.paused->since) : Json(nullptr);
  json["next_run"] = moment(view.next_run);
  json["last_run"] = nullptr;
  if (view.last) {
    json["last_run"] = {{"scheduled_at", to_iso8601(view.last->scheduled_at)},
                        {"finished_at", moment(view.last->finished_at)},
                        {"outcome", to_string(view.last->outcome)}};
  }
  json["last_success"] = moment(view.last_success);
  json["success_deadline"] = moment(view.success_deadline);
  return json;
}

Json server(const health::Server& server, const health::Report& report) {
  Json json = judged(report, server.name);
  json["state"] = to_string(server.snapshot.state);
  json["since"] = server.snapshot.state == ServerState::State::unknown
                      ? Json(nullptr)
                      : moment(server.snapshot.since);
  return json;
}

Json disk(const health::DiskSpace& disk, const health::Report& report) {
  Json json = judged(report, "disk " + disk.folder);
  const bool is_known = disk.error.empty();
  json["free_bytes"] = is_known ? Json(disk.free_bytes) : Json(nullptr);
  json["size_bytes"] = is_known ? Json(disk.size_bytes) : Json(nullptr);
  return json;
}

}  // namespace

Response health_page(const Sample& sample) {
  Json checks = Json::array();
  for (const auto& view : sample.jobs) {
    checks.push_back(job(view, sample.health));
  }
  for (const auto& each : sample.servers) {
    checks.push_back(server(each, sample.health));
  }
  for (const auto& each : sample.disks) {
    checks.push_back(disk(each, sample.health));
  }
  Json ledger = judged(sample.health, "run ledger");
  for (const auto& queue : sample.queues) {
    if (queue.name == outcomes_queue) {
      ledger["outcomes_waiting"] = queue.length;
    }
  }
  checks.push_back(std::move(ledger));
  const Json page = {{"level", to_string(sample.health.level)},
                     {"judged_at", to_iso8601(sample.health.judged_at)},
                     {"version", sample.version},
                     {"started_at", to_iso8601(sample.started_at)},
                     {"loop_lag_seconds", std::chrono::duration<double>(sample.loop_lag).count()},
                     {"checks", std::move(checks)}};
  // What others wrote may be no UTF-8, which JSON must be.
  return {sample.health.level == health::Level::failing ? 503U : 200U, "application/json",
          page.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"};
}

}  // namespace saathii::http
