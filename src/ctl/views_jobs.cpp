#include <fmt/format.h>

#include "facts.hpp"
#include "saathii/base/counted.hpp"
#include "table.hpp"
#include "text.hpp"
#include "views.hpp"
#include "words.hpp"

// The daemon and its jobs: status, jobs, show, health.

namespace saathii::ctl {

namespace {

/// How many lines of a table what a run did may take.
constexpr std::size_t lines_of_success = 3;
constexpr std::size_t lines_of_trouble = 8;

std::string symbol_of(const Job& job, const Screen& screen) {
  if (job.state == "stuck") {
    return screen.symbol(Symbol::bad);
  }
  if (job.state == "retrying") {
    return screen.symbol(Symbol::attention);
  }
  if (job.state == "running") {
    return screen.symbol(Symbol::busy);
  }
  if (job.paused || job.state == "standby" || job.last_outcome.empty()) {
    return screen.symbol(Symbol::idle);
  }
  return symbol_of(job.last_outcome, screen);
}

/// When the latest run ended, or should have been.
Moment last_moment(const Job& job) {
  return job.last_finished_at  ? job.last_finished_at
         : job.last_started_at ? job.last_started_at
                               : job.last_scheduled_at;
}

std::string ago(const Moment& moment, const Screen& screen) {
  return moment ? relative(*moment, screen.now) : "-";
}

/// "Sun 2026-11-22 00:01:00 IST, in 41 s".
std::string at_and_when(const Moment& moment, const Screen& screen) {
  return moment ? local_time(*moment, screen.zone) + "; " + relative(*moment, screen.now) : "-";
}

std::string took(const Moment& started, const Moment& finished) {
  return started && finished ? roughly(*finished - *started) : "-";
}

/// What the job does now or, waiting, when it runs next.
Cell next_cell(const Job& job, const Screen& screen) {
  if (job.state != "waiting") {
    const std::string text = job.run_started_at
                                 ? job.state + " " + roughly(screen.now - *job.run_started_at)
                                 : job.state;
    return {text, style_of(job.state), {}};
  }
  if (job.paused) {
    return {"paused", Style::attention, {}};
  }
  return {job.next_run ? relative(*job.next_run, screen.now) : "-", Style::plain, {}};
}

Cell outcome_cell(const Job& job) {
  return {
      job.last_outcome.empty() ? "-" : in_words(job.last_outcome), style_of(job.last_outcome), {}};
}

/// Without the zone that all times are told in.
std::string schedule_of(const Job& job, const Screen& screen) {
  const std::string zone = " " + screen.zone->name();
  return job.schedule.ends_with(zone) ? job.schedule.substr(0, job.schedule.size() - zone.size())
                                      : job.schedule;
}

std::string what_it_did(const Job& job) {
  return job.last_reason.empty() ? in_words(job.last_counts) : job.last_reason;
}

std::string server_line(const Server& server, const Screen& screen) {
  if (server.state == "unknown") {
    return server.name + " has not been asked yet";
  }
  std::string text = server.name + " " + server.state;
  if (server.since) {
    text += " for " + roughly(screen.now - *server.since);
  }
  if (server.state == "down" && !server.last_error.empty()) {
    text += ": " + server.last_error;
  }
  return text;
}

/// "by root, since Sun 2026-11-22 09:00:00 IST; 12 min ago".
std::string pause_line(const Job& job, const Screen& screen) {
  std::string text = job.paused_by.empty() ? "" : "by " + job.paused_by + ", ";
  text += "since " + at_and_when(job.paused_since, screen);
  return text;
}

/// "this instance, node-1, for 12 min; term 3".
std::string leader_line(const Leadership& leadership, const Screen& screen) {
  if (leadership.leader.empty()) {
    return "not known; this instance, " + leadership.instance + ", stands by";
  }
  return fmt::format(
      "{}{}, for {}; term {}{}", leadership.leads ? "this instance, " : "", leadership.leader,
      leadership.since ? roughly(screen.now - *leadership.since) : "?", leadership.term,
      leadership.leads ? "" : "; this one, " + leadership.instance + ", stands by");
}

void add_findings(Facts& facts, const Health& health, const Screen& screen) {
  const char* label = "Findings";
  for (const Finding& finding : health.findings) {
    facts.add(label, finding.check + ": " + finding.message, Style::plain,
              symbol_of(finding.level, screen));
    label = "";
  }
}

Facts status_facts(const Overview& overview, const Screen& screen) {
  const Manager& manager = overview.manager;
  Facts facts;
  add_findings(facts, overview.health, screen);
  facts.add("Since", at_and_when(manager.started_at, screen));
  facts.add("Config", manager.config_file + "; log level " + manager.log_level);
  const char* label = "Servers";
  for (const Server& server : manager.servers) {
    facts.add(label, server_line(server, screen), Style::plain, symbol_of(server.state, screen));
    label = "";
  }
  if (manager.leadership.term > 0 || !manager.leadership.leads) {
    facts.add("Leader", leader_line(manager.leadership, screen), Style::plain,
              screen.symbol(manager.leadership.leads ? Symbol::good : Symbol::idle));
  }
  if (manager.outcomes_waiting > 0) {
    facts.add("Outcomes",
              fmt::format("{} to be recorded once the database takes them",
                          grouped(static_cast<std::int64_t>(manager.outcomes_waiting))),
              Style::attention);
  }
  label = "Paused";
  for (const Job& job : overview.jobs) {
    if (job.paused) {
      facts.add(label, job.name + " " + pause_line(job, screen), Style::plain,
                screen.symbol(Symbol::idle));
      label = "";
    }
  }
  return facts;
}

/// The run in progress, if there is one.
void add_current(Facts& facts, const Job& job, const Screen& screen) {
  if (job.state == "waiting") {
    facts.add("State", "waiting for its next run");
    return;
  }
  if (job.state == "standby") {
    facts.add("State", "standing by: another instance leads, and runs it");
    return;
  }
  std::string text = job.state;
  if (job.run_started_at) {
    text += " for " + roughly(screen.now - *job.run_started_at);
  }
  if (job.run_attempt > 1) {
    text += fmt::format(", try {}", job.run_attempt);
  }
  facts.add("State", text, style_of(job.state));
  facts.add(
      "", fmt::format("run {} of {}", job.run_id,
                      job.run_scheduled_at ? short_time(*job.run_scheduled_at, screen.zone) : "-"));
}

void add_last(Facts& facts, const Job& job, const Screen& screen) {
  if (job.last_outcome.empty()) {
    facts.add("Last run", "none is known");
    return;
  }
  facts.add("Last run", in_words(job.last_outcome) + ", " + at_and_when(last_moment(job), screen),
            style_of(job.last_outcome));
  if (!job.last_reason.empty()) {
    facts.add("", job.last_reason);
  }
  if (!job.last_run_id.empty()) {
    facts.add(
        "",
        fmt::format("took {}, {}; was due at {}", took(job.last_started_at, job.last_finished_at),
                    job.last_attempts == 1 ? "1 try" : fmt::format("{} tries", job.last_attempts),
                    job.last_scheduled_at ? short_time(*job.last_scheduled_at, screen.zone) : "-"));
    facts.add("", "run " + job.last_run_id, Style::dim);
  }
  if (!job.last_counts.empty()) {
    facts.add("Counts", in_words(job.last_counts));
  }
}

}  // namespace

std::string in_words(std::string_view outcome) {
  return outcome == "timed_out" ? "timed out" : std::string{outcome};
}

std::string in_words(const Counts& counts) {
  std::string text;
  for (const auto& [name, number] : counts) {
    text += fmt::format("{}{}={}", text.empty() ? "" : " ", name, number);
  }
  return text;
}

std::string symbol_of(std::string_view word, const Screen& screen) {
  switch (style_of(word)) {
    case Style::good:
      return screen.symbol(Symbol::good);
    case Style::bad:
      return screen.symbol(Symbol::bad);
    case Style::attention:
      return screen.symbol(Symbol::attention);
    default:
      return screen.symbol(Symbol::idle);
  }
}

std::string status_view(const Overview& overview, const Screen& screen) {
  const std::string& level = overview.health.level;
  std::string text = screen.lines({{"saathiid", Style::bold},
                                   {" " + overview.manager.version + ": "},
                                   {level, style_of(level)}},
                                  symbol_of(level, screen));
  text += status_facts(overview, screen).draw(screen);
  Table table(
      {{"  JOB", {}, 14}, {"LAST RUN"}, {"OUTCOME"}, {"NEXT RUN"}, {"WHAT IT DID", {}, 16, true}});
  for (const Job& job : overview.jobs) {
    const std::size_t lines = job.last_outcome == "succeeded" ? lines_of_success : lines_of_trouble;
    table.add({{job.name, Style::plain, symbol_of(job, screen)},
               {ago(last_moment(job), screen)},
               outcome_cell(job),
               next_cell(job, screen),
               {what_it_did(job), Style::plain, {}, lines}});
  }
  text += "\n" + table.draw(screen);
  return text;
}

std::string jobs_view(const std::vector<Job>& jobs, const Screen& screen) {
  Table table({{"  JOB", {}, 10},
               {"SCHEDULE", {}, 10},
               {"LAST RUN"},
               {"OUTCOME"},
               {"TOOK", Column::Align::right, 0, true},
               {"NEXT RUN"},
               {"AT", {}, 0, true}});
  for (const Job& job : jobs) {
    table.add({{job.name, Style::plain, symbol_of(job, screen)},
               {schedule_of(job, screen)},
               {ago(last_moment(job), screen)},
               outcome_cell(job),
               {took(job.last_started_at, job.last_finished_at)},
               next_cell(job, screen),
               {job.next_run ? short_time(*job.next_run, screen.zone) : "-"}});
  }
  std::string text = table.draw(screen);
  if (screen.legend) {
    text += "\n" + screen.lines({{fmt::format("{}. Times are of {}.", counted(jobs.size(), "job"),
                                              screen.zone->name())}});
  }
  return text;
}

std::string job_view(const Job& job, const Screen& screen) {
  std::string text = screen.lines({{job.name, Style::bold}}, symbol_of(job, screen));
  Facts facts;
  facts.add("Kind", job.kind);
  facts.add("Schedule", job.schedule);
  if (job.paused) {
    facts.add("Paused", pause_line(job, screen), Style::attention);
    facts.add("", "its ticks end as skipped until: saathiictl resume " + job.name);
  }
  add_current(facts, job, screen);
  facts.add("Next run", at_and_when(job.next_run, screen));
  add_last(facts, job, screen);
  facts.add("Success", job.last_success ? "last one " + at_and_when(job.last_success, screen)
                                        : "none is known");
  if (job.success_deadline) {
    const bool late = *job.success_deadline < screen.now;
    facts.add("",
              (late ? "the next one was due by " : "the next one is due by ") +
                  at_and_when(job.success_deadline, screen),
              late ? Style::bad : Style::plain);
  }
  if (job.timeout > Duration{0}) {
    facts.add("Time limit", humanize(job.timeout));
  }
  return text + facts.draw(screen);
}

std::string health_view(const Health& health, const Screen& screen) {
  std::string text =
      screen.lines({{health.level, style_of(health.level)}}, symbol_of(health.level, screen));
  Facts facts;
  add_findings(facts, health, screen);
  return text + facts.draw(screen);
}

}  // namespace saathii::ctl
