#include "json.hpp"

#include <nlohmann/json.hpp>

namespace saathii::ctl {

namespace {

Json json_of(const Moment& moment) { return moment ? Json(to_iso8601(*moment)) : Json(nullptr); }

Json json_of(const std::optional<std::int64_t>& number) {
  return number ? Json(*number) : Json(nullptr);
}

Json text_or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

Json json_of(const Counts& counts) {
  auto object = Json::object();
  for (const auto& [name, number] : counts) {
    object[name] = number;
  }
  return object;
}

template <typename Items, typename Convert>
Json array_of(const Items& items, Convert convert) {
  auto array = Json::array();
  for (const auto& item : items) {
    array.push_back(convert(item));
  }
  return array;
}

Json json_of(const Server& server) {
  return {{"name", server.name},
          {"state", server.state},
          {"since", json_of(server.since)},
          {"last_error", text_or_null(server.last_error)}};
}

Json json_of(const Minute& minute) {
  return {{"minute", minute.number},
          {"starts_at", to_iso8601(minute.starts_at)},
          {"coins", minute.coins},
          {"source", minute.source},
          {"charged_at", json_of(minute.charged_at)},
          {"balance_before", json_of(minute.balance_before)},
          {"balance_after", json_of(minute.balance_after)},
          {"refunded_at", json_of(minute.refunded_at)}};
}

Json json_of(const Run& run) {
  return {{"job", run.job},
          {"run_id", text_or_null(run.run_id)},
          {"scheduled_at", to_iso8601(run.scheduled_at)},
          {"last_scheduled_at", to_iso8601(run.last_scheduled_at)},
          {"ticks", run.ticks},
          {"outcome", run.outcome},
          {"reason", run.reason},
          {"started_at", json_of(run.started_at)},
          {"finished_at", json_of(run.finished_at)},
          {"attempts", run.attempts},
          {"counts", json_of(run.counts)}};
}

Json current_run(const Job& job) {
  if (job.run_id.empty()) {
    return nullptr;
  }
  return {{"run_id", job.run_id},
          {"scheduled_at", json_of(job.run_scheduled_at)},
          {"started_at", json_of(job.run_started_at)},
          {"attempt", job.run_attempt}};
}

Json last_run(const Job& job) {
  if (job.last_outcome.empty()) {
    return nullptr;
  }
  return {{"run_id", text_or_null(job.last_run_id)},
          {"outcome", job.last_outcome},
          {"reason", job.last_reason},
          {"scheduled_at", json_of(job.last_scheduled_at)},
          {"started_at", json_of(job.last_started_at)},
          {"finished_at", json_of(job.last_finished_at)},
          {"attempts", job.last_attempts},
          {"counts", json_of(job.last_counts)}};
}

}  // namespace

Json to_json(const Job& job) {
  return {{"name", job.name},
          {"kind", job.kind},
          {"schedule", job.schedule},
          {"time_zone", job.time_zone},
          {"state", job.state},
          {"paused", job.paused},
          {"paused_by", text_or_null(job.paused_by)},
          {"paused_since", json_of(job.paused_since)},
          {"next_run", json_of(job.next_run)},
          {"run", current_run(job)},
          {"last_run", last_run(job)},
          {"last_success", json_of(job.last_success)},
          {"timeout_us", job.timeout.count()},
          {"success_deadline", json_of(job.success_deadline)}};
}

Json to_json(const std::vector<Job>& jobs) {
  return array_of(jobs, [](const Job& job) { return to_json(job); });
}

Json to_json(const Health& health) {
  return {
      {"level", health.level},
      {"findings", array_of(health.findings, [](const Finding& finding) -> Json {
         return {{"level", finding.level}, {"check", finding.check}, {"message", finding.message}};
       })}};
}

Json to_json(const Overview& overview) {
  const Manager& manager = overview.manager;
  return {
      {"version", manager.version},
      {"started_at", json_of(manager.started_at)},
      {"config_file", manager.config_file},
      {"time_zone", manager.time_zone},
      {"log_level", manager.log_level},
      {"health", to_json(overview.health)},
      {"servers", array_of(manager.servers, [](const Server& server) { return json_of(server); })},
      {"leadership",
       {{"leads", manager.leadership.leads},
        {"instance", manager.leadership.instance},
        {"term", manager.leadership.term},
        {"leader", manager.leadership.leader},
        {"since", json_of(manager.leadership.since)}}},
      {"outcomes_waiting", manager.outcomes_waiting},
      {"jobs", to_json(overview.jobs)}};
}

Json to_json(const std::vector<Run>& runs) {
  return array_of(runs, [](const Run& run) { return json_of(run); });
}

Json to_json(const std::vector<Tick>& ticks) {
  return array_of(ticks, [](const Tick& tick) -> Json {
    return {{"job", tick.job},
            {"scheduled_at", to_iso8601(tick.scheduled_at)},
            {"time_zone", tick.zone},
            {"paused", tick.paused}};
  });
}

Json to_json(const Receipt& receipt) {
  Json settlement = nullptr;
  if (const auto& settled = receipt.settlement) {
    settlement = {{"reason", settled->reason},        {"end_time", json_of(settled->end_time)},
                  {"minutes", settled->minutes},      {"coins", settled->coins},
                  {"earned_rupees", settled->earned}, {"settled_at", json_of(settled->settled_at)}};
  }
  return {
      {"call_id", receipt.call_id},
      {"user_id", receipt.user_id},
      {"listener_id", receipt.listener_id},
      {"call_type", receipt.call_type},
      {"status", receipt.status},
      {"start_time", json_of(receipt.start_time)},
      {"end_time", json_of(receipt.end_time)},
      {"coins_spent", receipt.coins_spent},
      {"minutes", array_of(receipt.minutes, [](const Minute& minute) { return json_of(minute); })},
      {"settlement", settlement}};
}

Json to_json(const Wallet& wallet) {
  return {{"user_id", wallet.user_id},
          {"balance_coins", wallet.balance_coins},
          {"withdrawable_rupees", wallet.withdrawable_money},
          {"ongoing_calls", wallet.ongoing_calls},
          {"entries", array_of(wallet.entries, [](const WalletEntry& entry) -> Json {
             return {{"at", json_of(entry.at)},
                     {"type", entry.type},
                     {"coins", entry.coins},
                     {"rupees", entry.money}};
           })}};
}

Json to_json(const Reloaded& reloaded) {
  return {{"applied", reloaded.applied},
          {"needs_restart", reloaded.needs_restart},
          {"unchanged", reloaded.unchanged}};
}

Json to_json(const Ending& ending) {
  return {{"job", ending.job},
          {"run_id", text_or_null(ending.run_id)},
          {"outcome", ending.outcome},
          {"reason", ending.reason},
          {"counts", json_of(ending.counts)},
          {"busy_us", ending.busy.count()}};
}

}  // namespace saathii::ctl
