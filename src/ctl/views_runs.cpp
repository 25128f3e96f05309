#include <fmt/format.h>

#include <algorithm>

#include "saathii/base/counted.hpp"
#include "table.hpp"
#include "text.hpp"
#include "views.hpp"
#include "words.hpp"

// Runs and ticks: history, calendar, run, reload.

namespace saathii::ctl {

namespace {

/// How many lines of a table what went wrong may take.
constexpr std::size_t lines_of_trouble = 4;

std::string what_happened(const Run& run, const Screen& screen) {
  std::string text;
  if (run.ticks > 1) {
    text = fmt::format("{} until {}: ", counted(run.ticks, "tick"),
                       short_time(run.last_scheduled_at, screen.zone));
  }
  if (run.attempts > 1) {
    text += fmt::format("after {} tries: ", run.attempts);
  }
  return text + (run.reason.empty() ? in_words(run.counts) : run.reason);
}

/// A label of `width`, then a key a line.
std::string listed(std::string_view label, const std::vector<std::string>& keys,
                   const Screen& screen) {
  std::string text;
  for (const std::string& key : keys) {
    text += fmt::format("{:>14}  {}\n", text.empty() ? label : "", screen.shown(key));
  }
  return text;
}

TimeZone zone_of(const std::string& name, TimeZone otherwise) {
  try {
    return tz::locate_zone(name);
  } catch (const std::runtime_error&) {
    return otherwise;
  }
}

}  // namespace

std::string history_view(const std::vector<Run>& runs, std::size_t limit, bool one_job,
                         const Screen& screen) {
  if (runs.empty()) {
    return screen.legend ? screen.lines({{"No outcome is recorded for that."}}) : "";
  }
  std::vector<Column> columns = {{"  WHEN"},
                                 {"JOB", {}, 8},
                                 {"OUTCOME"},
                                 {"TOOK", Column::Align::right, 0, true},
                                 {"WHAT HAPPENED", {}, 16}};
  constexpr std::ptrdiff_t job_column = 1;
  if (one_job) {
    columns.erase(columns.begin() + job_column);
  }
  Table table(std::move(columns));
  for (const Run& run : runs) {
    const bool ran = run.started_at && run.finished_at;
    // What went wrong is worth more than one line.
    const std::size_t lines = run.outcome == "succeeded" ? 1 : lines_of_trouble;
    std::vector<Cell> row = {
        {short_time(run.scheduled_at, screen.zone), Style::plain, symbol_of(run.outcome, screen)},
        {run.job},
        {in_words(run.outcome), style_of(run.outcome), {}},
        {ran ? roughly(*run.finished_at - *run.started_at) : "-"},
        {what_happened(run, screen), Style::plain, {}, lines}};
    if (one_job) {
      row.erase(row.begin() + job_column);
    }
    table.add(std::move(row));
  }
  std::string text = table.draw(screen);
  if (screen.legend) {
    text +=
        "\n" + screen.lines({{fmt::format(
                   "{}, newest first{}. Times are of {}.", counted(runs.size(), "outcome"),
                   runs.size() >= limit ? "; there may be more (-n)" : "", screen.zone->name())}});
  }
  return text;
}

std::string calendar_view(const std::vector<Tick>& ticks, const std::vector<Job>& jobs,
                          bool in_screens_zone, const Screen& screen) {
  Table table({{"TICK"}, {"IN"}, {"JOB", {}, 12}, {"ZONE", {}, 8, true}});
  for (const Tick& tick : ticks) {
    const TimeZone zone = in_screens_zone ? screen.zone : zone_of(tick.zone, screen.zone);
    table.add({{local_time(tick.scheduled_at, zone)},
               {relative(tick.scheduled_at, screen.now)},
               {tick.job},
               {std::string{zone->name()}}});
  }
  std::string text = table.empty() ? screen.lines({{"No tick is to come."}}) : table.draw(screen);
  for (const Job& job : jobs) {
    if (screen.legend && job.paused) {
      text += "\n" + screen.lines({{job.name + " is paused: its ticks will end as skipped."}},
                                  screen.symbol(Symbol::attention));
    }
  }
  return text;
}

std::string reloaded_view(const Reloaded& reloaded, const Screen& screen) {
  std::string text;
  if (reloaded.applied.empty() && reloaded.needs_restart.empty()) {
    text = "The configuration was read: nothing has changed.\n";
  } else {
    text = "The configuration was read and is in force.\n";
  }
  text += listed("took effect", reloaded.applied, screen);
  text += listed("needs restart", reloaded.needs_restart, screen);
  text += fmt::format("{:>14}  {}\n", "unchanged", counted(reloaded.unchanged, "key"));
  if (!reloaded.needs_restart.empty()) {
    text += fmt::format("{} What needs a restart holds after: systemctl restart saathiid\n",
                        screen.symbol(Symbol::attention));
  }
  return text;
}

std::string ending_view(const Ending& ending, const Screen& screen) {
  std::string text =
      fmt::format("{} {} {}", symbol_of(ending.outcome, screen), screen.shown(ending.job),
                  screen.paint(style_of(ending.outcome), screen.shown(in_words(ending.outcome))));
  if (ending.busy > Duration{0}) {
    text += " in " + roughly(ending.busy);
  }
  const std::string what = ending.reason.empty() ? in_words(ending.counts) : ending.reason;
  if (!what.empty()) {
    text += ": " + screen.shown(what);
  }
  return text + "\n";
}

std::string progress_view(const Job& job, const std::string& run_id, Duration waited,
                          const Screen& screen) {
  std::string text = job.name;
  if (job.run_id == run_id && job.run_started_at) {
    text += fmt::format(" {} for {}", job.state, roughly(screen.now - *job.run_started_at));
    if (job.run_attempt > 1) {
      text += fmt::format(", try {}", job.run_attempt);
    }
  } else if (!job.run_id.empty()) {
    text += fmt::format(" waits for the run in progress to end, {}", roughly(waited));
  } else {
    text += fmt::format(" is about to run, {}", roughly(waited));
  }
  const std::size_t room = screen.width > 2 ? screen.width - 3 : SIZE_MAX;
  const bool in_trouble = job.run_id == run_id && style_of(job.state) != Style::plain;
  return (in_trouble ? symbol_of(job.state, screen) : screen.symbol(Symbol::busy)) + " " +
         fit(screen.shown(text), room, screen.ellipsis());
}

}  // namespace saathii::ctl
