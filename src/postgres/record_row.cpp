#include "record_row.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace saathii::postgres {

namespace {

std::string to_text(const pqxx::field& field) { return field.is_null() ? "" : field.c_str(); }

runner::Counts to_counts(const pqxx::field& field) {
  runner::Counts counts;
  const auto json = nlohmann::json::parse(to_text(field), nullptr, false);
  for (const auto& [name, value] : json.items()) {
    if (value.is_number_integer()) {
      counts.emplace_back(name, value.get<std::int64_t>());
    }
  }
  return counts;
}

}  // namespace

Instant to_moment(const pqxx::field& field) {
  // "2026-11-22 00:01:00.5+00".
  const auto moment = parse_iso8601(std::string{field.c_str()} + ":00");
  if (!moment) {
    throw std::runtime_error(
        fmt::format("unexpected timestamp '{}' in column {}", field.c_str(), field.name()));
  }
  return *moment;
}

std::optional<Instant> to_optional_moment(const pqxx::field& field) {
  return field.is_null() ? std::nullopt : std::optional{to_moment(field)};
}

runner::Record to_record(const pqxx::row& row) {
  runner::Record record;
  record.job = to_text(row["job"]);
  record.run_id = to_text(row["run_id"]);
  record.scheduled_at = to_moment(row["scheduled_at"]);
  record.last_scheduled_at = to_moment(row["last_scheduled_at"]);
  record.ticks = row["ticks"].as<std::int64_t>();
  record.outcome = schedule::to_outcome(to_text(row["outcome"]));
  record.reason = to_text(row["reason"]);
  record.started_at = to_optional_moment(row["started_at"]);
  record.finished_at = to_optional_moment(row["finished_at"]);
  record.attempts = row["attempts"].as<int>();
  record.counts = to_counts(row["counts"]);
  return record;
}

}  // namespace saathii::postgres
