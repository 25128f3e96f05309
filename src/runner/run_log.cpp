#include "saathii/runner/run_log.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "saathii/log/log.hpp"

namespace saathii::runner {

namespace {

/// A tick that a lost server held up for longer than this is worth a warning of its own.
constexpr Duration long_outage = std::chrono::minutes{10};

log::Level level_of(const Record& record, const Result& result, Duration busy) {
  if (record.outcome == schedule::Outcome::succeeded) {
    return did_something(record.counts) ? log::Level::info : log::Level::debug;
  }
  if (result.status == Result::Status::unavailable &&
      record.outcome != schedule::Outcome::timed_out) {
    return busy >= long_outage ? log::Level::warning : log::Level::debug;
  }
  return log::Level::error;
}

log::Message message_of(schedule::Outcome outcome) {
  switch (outcome) {
    case schedule::Outcome::succeeded:
      break;
    case schedule::Outcome::failed:
      return log::Message::run_failed;
    case schedule::Outcome::timed_out:
      return log::Message::run_timed_out;
    case schedule::Outcome::skipped:
      return log::Message::ticks_skipped;
    case schedule::Outcome::coalesced:
      return log::Message::ticks_coalesced;
    case schedule::Outcome::missed:
      return log::Message::ticks_missed;
  }
  return log::Message::none;
}

}  // namespace

bool did_something(const Counts& counts) {
  return counts.empty() || std::any_of(counts.begin(), counts.end(),
                                       [](const auto& count) { return count.second != 0; });
}

void log_finished(const Record& record, const Result& result, Duration busy) {
  std::string message;
  switch (record.outcome) {
    case schedule::Outcome::succeeded:
      message = fmt::format("{}: {}", record.job, record.reason);
      break;
    case schedule::Outcome::timed_out:
      message = fmt::format("{} timed out: {}", record.job, record.reason);
      break;
    default:
      message = fmt::format("{} failed: {}", record.job, record.reason);
  }
  log::write(level_of(record, result, busy), message_of(record.outcome), message,
             {{"JOB", record.job},
              {"RUN_ID", record.run_id},
              {"SCHEDULED_AT", to_iso8601(record.scheduled_at)},
              {"DURATION_US", std::to_string(busy.count())},
              {"ATTEMPTS", std::to_string(record.attempts)}});
}

void log_retry(const Record& record) {
  log::warning(log::Message::run_retried,
               fmt::format("{} failed and is tried again: {}", record.job, record.reason),
               {{"JOB", record.job},
                {"RUN_ID", record.run_id},
                {"SCHEDULED_AT", to_iso8601(record.scheduled_at)},
                {"ATTEMPTS", std::to_string(record.attempts)}});
}

void log_server_lost(const Record& record) {
  log::debug(fmt::format("{} waits for its server: {}", record.job, record.reason),
             {{"JOB", record.job},
              {"RUN_ID", record.run_id},
              {"SCHEDULED_AT", to_iso8601(record.scheduled_at)},
              {"ATTEMPTS", std::to_string(record.attempts)}});
}

void log_interrupted(const Record& record, bool by_shutdown) {
  log::warning(log::Message::run_interrupted,
               fmt::format("{} was cut short {} takes its tick up again", record.job,
                           by_shutdown ? "by the shutdown; the next start"
                                       : "because another instance leads now, which"),
               {{"JOB", record.job},
                {"RUN_ID", record.run_id},
                {"SCHEDULED_AT", to_iso8601(record.scheduled_at)}});
}

void log_dropped(const Record& record) {
  log::warning(
      log::Message::ticks_skipped,
      fmt::format("{}: a run that was asked for does not come: {}", record.job, record.reason),
      {{"JOB", record.job}, {"RUN_ID", record.run_id}});
}

void log_written_off(const std::string& job, const std::vector<schedule::WrittenOff>& ticks) {
  // One line for each kind of outcome, however many ticks a long sleep left.
  for (const auto outcome :
       {schedule::Outcome::skipped, schedule::Outcome::coalesced, schedule::Outcome::missed}) {
    std::int64_t count = 0;
    const schedule::WrittenOff* oldest = nullptr;
    const schedule::WrittenOff* newest = nullptr;
    for (const auto& tick : ticks) {
      if (tick.outcome == outcome) {
        count += tick.ticks;
        oldest = oldest == nullptr ? &tick : oldest;
        newest = &tick;
      }
    }
    if (count == 0) {
      continue;
    }
    const auto level =
        outcome == schedule::Outcome::coalesced ? log::Level::info : log::Level::warning;
    log::write(level, message_of(outcome),
               fmt::format("{}: {} {}: {}", job, count == 1 ? "a tick was" : "ticks were",
                           schedule::to_string(outcome), newest->reason),
               {{"JOB", job},
                {"TICKS", std::to_string(count)},
                {"SCHEDULED_AT", to_iso8601(oldest->first)},
                {"LAST_SCHEDULED_AT", to_iso8601(newest->last)},
                {"REASON", newest->full_reason()}});
  }
}

void log_wedged(const std::string& job, const RunInProgress& run, Duration after) {
  log::error(
      log::Message::run_stuck,
      fmt::format("{} has not come back {} after its start although it was told to stop: "
                  "its other ticks wait",
                  job, humanize(after)),
      {{"JOB", job}, {"RUN_ID", run.run_id}, {"SCHEDULED_AT", to_iso8601(run.scheduled_at)}});
}

void log_released(const std::string& job, const RunInProgress& run) {
  log::warning(
      log::Message::run_released, fmt::format("{} has come back at last; its ticks go on", job),
      {{"JOB", job}, {"RUN_ID", run.run_id}, {"SCHEDULED_AT", to_iso8601(run.scheduled_at)}});
}

void log_left_behind(const std::string& job, const RunInProgress& run) {
  log::error(
      log::Message::left_behind, fmt::format("left behind, because it does not come back: {}", job),
      {{"JOB", job}, {"RUN_ID", run.run_id}, {"SCHEDULED_AT", to_iso8601(run.scheduled_at)}});
}

std::string timeout_reason(Duration timeout, const Result& result) {
  const std::string limit = fmt::format("stopped at its time limit of {}", humanize(timeout));
  return result.summary.empty() ? limit : fmt::format("{} ({})", limit, result.summary);
}

}  // namespace saathii::runner
