#include "wire.hpp"

#include <fmt/format.h>

#include "refusal.hpp"
#include "saathii/base/utf8.hpp"

namespace saathii::control::wire {

namespace {

/// 9999-12-31T23:59:59Z: what a PostgreSQL timestamptz and a person can read.
constexpr std::uint64_t latest_moment = 253'402'300'799'000'000;

}  // namespace

std::uint64_t moment(const std::optional<Instant>& moment) {
  const std::int64_t microseconds = moment ? moment->time_since_epoch().count() : 0;
  return microseconds > 0 ? static_cast<std::uint64_t>(microseconds) : 0;
}

std::uint64_t length(Duration length) {
  return length.count() > 0 ? static_cast<std::uint64_t>(length.count()) : 0;
}

std::optional<Instant> read_moment(std::uint64_t microseconds, const char* argument) {
  if (microseconds > latest_moment) {
    throw Refusal("InvalidArgument",
                  fmt::format("{} {}: give microseconds since 1970 up to the year 9999, or 0 for "
                              "none",
                              argument, microseconds));
  }
  if (microseconds == 0) {
    return std::nullopt;
  }
  return Instant{Duration{static_cast<std::int64_t>(microseconds)}};
}

std::string text(std::string_view any) {
  std::string clean;
  clean.reserve(any.size());
  while (!any.empty()) {
    const std::size_t size = any.front() == '\0' ? 0 : utf8_length(any);
    if (size == 0) {
      clean += "\xEF\xBF\xBD";
      any.remove_prefix(1);
    } else {
      clean += any.substr(0, size);
      any.remove_prefix(size);
    }
  }
  return clean;
}

Counts counts(const runner::Counts& counts) {
  Counts all;
  for (const auto& [name, count] : counts) {
    all[text(name)] = count;
  }
  return all;
}

sdbus::ObjectPath job_path(const std::string& name) {
  return sdbus::ObjectPath{fmt::format("{}/job/{}", manager_path, name)};
}

JobRow job_row(const runner::JobView& job) {
  return JobRow{job.name,
                job_path(job.name),
                std::string(to_string(job.state)),
                job.paused.has_value(),
                job.last ? std::string(schedule::to_string(job.last->outcome)) : "",
                moment(job.next_run)};
}

std::vector<Finding> findings(const health::Report& report) {
  std::vector<Finding> all;
  all.reserve(report.findings.size());
  for (const health::Finding& finding : report.findings) {
    all.emplace_back(std::string(health::to_string(finding.level)), text(finding.check),
                     text(finding.message));
  }
  return all;
}

std::vector<Server> servers(const std::vector<health::Server>& servers) {
  std::vector<Server> all;
  all.reserve(servers.size());
  for (const health::Server& server : servers) {
    all.emplace_back(server.name, std::string(to_string(server.snapshot.state)),
                     moment(server.snapshot.since), text(server.snapshot.last_error));
  }
  return all;
}

std::vector<HistoryRow> history(const std::vector<runner::Record>& records) {
  std::vector<HistoryRow> all;
  all.reserve(records.size());
  for (const runner::Record& record : records) {
    all.emplace_back(text(record.job), text(record.run_id), moment(record.scheduled_at),
                     moment(record.last_scheduled_at), record.ticks,
                     std::string(schedule::to_string(record.outcome)), text(record.reason),
                     moment(record.started_at), moment(record.finished_at),
                     static_cast<std::uint32_t>(record.attempts), counts(record.counts));
  }
  return all;
}

Details receipt(const postgres::Receipt& receipt) {
  Details all;
  const auto add = [&](const char* name, auto value) { all.emplace(name, sdbus::Variant{value}); };
  add("call_id", receipt.call_id);
  add("user_id", receipt.user_id);
  add("listener_id", receipt.listener_id);
  add("call_type", text(receipt.call_type));
  add("status", text(receipt.status));
  add("start_time", moment(receipt.start_time));
  add("end_time", moment(receipt.end_time));
  add("coins_spent", receipt.coins_spent);
  if (receipt.settlement) {
    const postgres::Settlement& settlement = *receipt.settlement;
    add("settlement_reason", text(settlement.reason));
    add("settlement_end_time", moment(settlement.end_time));
    add("settlement_minutes", settlement.minutes);
    add("settlement_coins", settlement.coins);
    add("settlement_earned", text(settlement.earned));
    add("settled_at", moment(settlement.settled_at));
  }
  return all;
}

Leadership leadership(const runner::Leadership& now, const std::string& instance) {
  return {now.leads, text(instance), static_cast<std::uint64_t>(now.term), text(now.leader),
          moment(now.since)};
}

std::vector<Minute> minutes(const std::vector<postgres::ReceiptMinute>& minutes) {
  std::vector<Minute> all;
  all.reserve(minutes.size());
  for (const postgres::ReceiptMinute& minute : minutes) {
    all.emplace_back(minute.minute, moment(minute.starts_at), minute.coins, text(minute.source),
                     moment(minute.charged_at), minute.balance_before && minute.balance_after,
                     minute.balance_before.value_or(0), minute.balance_after.value_or(0),
                     moment(minute.refunded_at));
  }
  return all;
}

std::vector<WalletEntry> entries(const std::vector<postgres::WalletEntry>& entries) {
  std::vector<WalletEntry> all;
  all.reserve(entries.size());
  for (const postgres::WalletEntry& entry : entries) {
    all.emplace_back(moment(entry.at), text(entry.type), entry.coins, text(entry.money));
  }
  return all;
}

}  // namespace saathii::control::wire
