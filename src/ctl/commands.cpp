#include "commands.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "explain.hpp"
#include "json.hpp"
#include "moments.hpp"
#include "saathii/schedule/local_time.hpp"
#include "text.hpp"
#include "views.hpp"

namespace saathii::ctl {

namespace {

/// Bad usage that only the daemon's answers show.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

constexpr const char* time_forms = "give 2026-11-22, '2026-11-22 14:03' or 2026-11-22T14:03:00Z";

constexpr std::uint32_t history_rows = 50;
constexpr std::uint32_t calendar_ticks = 10;
constexpr std::uint32_t wallet_entries = 20;

/// One command with what it needs.
class Execution {
 public:
  Execution(const CommandLine& command, Daemon& daemon, Console& console)
      : command_(command), daemon_(daemon), console_(console) {}

  int perform();

 private:
  int status();
  int jobs();
  int show();
  int history();
  std::vector<Run> pages_of_history(const Moment& since, std::uint32_t limit);
  int run();
  int pause(bool paused);
  int reload();
  int health();
  int log_level();
  int calendar();
  int call();
  int wallet();

  int wait(const std::string& job, const std::string& run_id);
  void show_progress(const std::string& job, const std::string& run_id, Instant began);
  int ended(const Ending& ending);

  /// With the zone in which times are told.
  Screen screen(const std::string& zone) const {
    Screen made = console_.screen();
    try {
      made.zone = tz::locate_zone(command_.utc ? "UTC" : zone);
    } catch (const std::runtime_error&) {
      made.zone = tz::locate_zone("UTC");
    }
    return made;
  }
  Screen screen() { return screen(daemon_.manager().time_zone); }

  /// The answer as JSON if that is wanted, else as `view` draws it.
  template <typename MakeJson, typename View>
  int print(MakeJson&& make_json, View&& view) {
    if (command_.json == JsonForm::none) {
      console_.print(view());
    } else {
      print(make_json());
    }
    return exit_code::ok;
  }
  void print(const Json& json) {
    const int indent = command_.json == JsonForm::pretty ? 2 : -1;
    console_.print(json.dump(indent, ' ', false, Json::error_handler_t::replace) + "\n");
  }
  /// For an answer whose only news is that it was done.
  template <typename MakeJson, typename View>
  int confirm(MakeJson&& make_json, View&& view) {
    if (command_.json != JsonForm::none) {
      print(make_json());
    } else if (!command_.quiet) {
      console_.print(view());
    }
    return exit_code::ok;
  }

  const CommandLine& command_;
  Daemon& daemon_;
  Console& console_;
};

int Execution::status() {
  const Overview overview{daemon_.manager(), daemon_.health(), daemon_.jobs()};
  return print([&] { return to_json(overview); },
               [&] { return status_view(overview, screen(overview.manager.time_zone)); });
}

int Execution::jobs() {
  if (command_.names) {
    const auto names = daemon_.job_names();
    if (command_.json != JsonForm::none) {
      print(Json(names));
      return exit_code::ok;
    }
    std::string text;
    for (const std::string& name : names) {
      text += name + "\n";
    }
    console_.print(text);
    return exit_code::ok;
  }
  const auto all = daemon_.jobs();
  return print([&] { return to_json(all); }, [&] { return jobs_view(all, screen()); });
}

int Execution::show() {
  const Job job = daemon_.job(command_.jobs.front());
  return print([&] { return to_json(job); }, [&] { return job_view(job, screen()); });
}

int Execution::history() {
  const Screen on = screen();
  Moment since;
  if (!command_.since.empty()) {
    since = parse_since(command_.since, on.now, on.zone);
    if (!since) {
      throw UsageError(fmt::format("--since '{}' is not a time: {} (of {}), 2h, today or yesterday",
                                   command_.since, time_forms, on.zone->name()));
    }
  }
  const std::uint32_t limit = command_.count.value_or(history_rows);
  const auto runs = pages_of_history(since, limit);
  return print([&] { return to_json(runs); },
               [&] { return history_view(runs, limit, !command_.jobs.empty(), on); });
}

/// What does not come in one answer is asked for page by page. At the seam come
/// again those of one moment, of which there is one for each job at most.
std::vector<Run> Execution::pages_of_history(const Moment& since, std::uint32_t limit) {
  const std::string job = command_.jobs.empty() ? "" : command_.jobs.front();
  const std::uint32_t at_once = std::min(limit, rows_of_history);
  std::vector<Run> runs;
  Moment until;
  for (bool more = true; more;) {
    const std::size_t before = runs.size();
    const auto page = daemon_.history(job, since, until, command_.outcome, at_once);
    for (const Run& run : page) {
      const auto is_same = [&](const Run& known) {
        return known.job == run.job && known.scheduled_at == run.scheduled_at;
      };
      if (run.scheduled_at != until || std::none_of(runs.begin(), runs.end(), is_same)) {
        runs.push_back(run);
      }
    }
    more = runs.size() < limit && runs.size() > before && page.size() >= at_once;
    until = runs.empty() ? until : runs.back().scheduled_at;
  }
  runs.resize(std::min<std::size_t>(runs.size(), limit));
  return runs;
}

/// The first ticks of all the jobs that are wanted.
int Execution::calendar() {
  const std::uint32_t count = command_.count.value_or(calendar_ticks);
  std::vector<Tick> ticks;
  const auto jobs =
      command_.jobs.empty() ? daemon_.jobs() : std::vector<Job>{daemon_.job(command_.jobs.front())};
  for (const Job& job : jobs) {
    const Calendar calendar = daemon_.calendar(job.name, count);
    for (const Instant tick : calendar.ticks) {
      ticks.push_back({tick, job.name, calendar.zone, job.paused});
    }
  }
  std::stable_sort(ticks.begin(), ticks.end(),
                   [](const Tick& a, const Tick& b) { return a.scheduled_at < b.scheduled_at; });
  ticks.resize(std::min<std::size_t>(ticks.size(), count));
  return print([&] { return to_json(ticks); },
               [&] { return calendar_view(ticks, jobs, command_.utc, screen()); });
}

int Execution::call() {
  const Receipt receipt = daemon_.receipt(command_.id);
  return print([&] { return to_json(receipt); }, [&] { return receipt_view(receipt, screen()); });
}

int Execution::wallet() {
  const Wallet wallet = daemon_.wallet(command_.id, command_.count.value_or(wallet_entries));
  return print([&] { return to_json(wallet); }, [&] { return wallet_view(wallet, screen()); });
}

int Execution::health() {
  const Health health = daemon_.health();
  if (command_.json != JsonForm::none) {
    print(to_json(health));
  } else if (!command_.quiet) {
    console_.print(health_view(health, console_.screen()));
  }
  return health.level == "ok"         ? exit_code::ok
         : health.level == "degraded" ? exit_code::degraded
         : health.level == "failing"  ? exit_code::failing
                                      : exit_code::unknown;
}

int Execution::run() {
  const std::string& job = command_.jobs.front();
  Moment at;
  if (!command_.at.empty()) {
    const Screen on = screen();
    at = schedule::parse_moment(command_.at, on.zone);
    if (!at || *at <= Instant{}) {
      throw UsageError(fmt::format("--at '{}' is not a time: {} (of {})", command_.at, time_forms,
                                   on.zone->name()));
    }
  }
  if (command_.wait) {
    daemon_.watch();
  }
  const std::string run_id = daemon_.run(job, at);
  if (command_.wait) {
    return wait(job, run_id);
  }
  return confirm(
      [&] {
        return Json{{"job", job}, {"run_id", run_id}};
      },
      [&] {
        return fmt::format(
            "{} was told to run, as {}.\nWhat comes of it: saathiictl history {} -n 1\n", job,
            run_id, job);
      });
}

/// Ends with the run or with the daemon. Ctrl-C ends the waiting alone.
int Execution::wait(const std::string& job, const std::string& run_id) {
  const Instant began = console_.screen().now;
  std::optional<std::chrono::steady_clock::time_point> shown;
  for (;;) {
    const Event event = daemon_.next_event(std::chrono::seconds{1});
    if (event.what == Event::What::finished && event.ending.run_id == run_id) {
      console_.progress("");
      return ended(event.ending);
    }
    if (event.what == Event::What::gone) {
      console_.progress("");
      console_.complain(
          fmt::format("saathiictl: saathiid left the bus before {} had ended; nothing half-done is "
                      "left\n  next: systemctl status saathiid; saathiictl history {}\n",
                      job, job));
      return exit_code::unreachable;
    }
    if (event.what == Event::What::interrupted) {
      console_.progress("");
      console_.complain(
          fmt::format("saathiictl: no longer waiting; the run goes on\n  next: saathiictl history "
                      "{} -n 1\n",
                      job));
      return exit_code::interrupted;
    }
    const auto now = std::chrono::steady_clock::now();
    if (console_.is_watched() && (!shown || now - *shown >= std::chrono::seconds{1})) {
      shown = now;
      show_progress(job, run_id, began);
    }
  }
}

/// What is only shown must not end the waiting.
void Execution::show_progress(const std::string& job, const std::string& run_id, Instant began) {
  try {
    const Job now = daemon_.job(job);
    const Screen on = console_.progress_screen();
    console_.progress(progress_view(now, run_id, on.now - began, on));
  } catch (const Refusal&) {
    // Whether the daemon is gone is told by the next event.
  }
}

int Execution::ended(const Ending& ending) {
  const int code = ending.outcome == "succeeded"   ? exit_code::ok
                   : ending.outcome == "failed"    ? exit_code::failed
                   : ending.outcome == "timed_out" ? exit_code::timed_out
                                                   : exit_code::never_ran;
  if (command_.json != JsonForm::none) {
    print(to_json(ending));
  } else if (!command_.quiet || code != exit_code::ok) {
    console_.print(ending_view(ending, console_.screen()));
  }
  return code;
}

int Execution::pause(bool paused) {
  Json done = Json::array();
  std::string text;
  const auto confirm_done = [&] { return confirm([&] { return done; }, [&] { return text; }); };
  for (const std::string& job : command_.jobs) {
    try {
      paused ? daemon_.pause(job) : daemon_.resume(job);
    } catch (const Refusal&) {
      // What was done before it stays done.
      if (!done.empty()) {
        confirm_done();
      }
      throw;
    }
    done.push_back({{"job", job}, {"paused", paused}});
    text += paused ? fmt::format(
                         "{} is paused: its ticks end as skipped, after a restart too, "
                         "until: saathiictl resume {}\n",
                         job, job)
                   : fmt::format("{} runs again by its schedule.\n", job);
  }
  return confirm_done();
}

int Execution::reload() {
  const Reloaded reloaded = daemon_.reload();
  return confirm([&] { return to_json(reloaded); },
                 [&] { return reloaded_view(reloaded, console_.screen()); });
}

int Execution::log_level() {
  if (command_.level.empty()) {
    const std::string level = daemon_.manager().log_level;
    return print([&] { return Json{{"log_level", level}}; }, [&] { return level + "\n"; });
  }
  daemon_.set_log_level(command_.level);
  return confirm(
      [&] {
        return Json{{"log_level", command_.level}};
      },
      [&] {
        return fmt::format("The log level is {} until the next reload or start.\n", command_.level);
      });
}

int Execution::perform() {
  switch (command_.command) {
    case Command::status:
      return status();
    case Command::jobs:
      return jobs();
    case Command::show:
      return show();
    case Command::history:
      return history();
    case Command::run:
      return run();
    case Command::pause:
      return pause(true);
    case Command::resume:
      return pause(false);
    case Command::reload:
      return reload();
    case Command::health:
      return health();
    case Command::log_level:
      return log_level();
    case Command::calendar:
      return calendar();
    case Command::call:
      return call();
    case Command::wallet:
      return wallet();
    case Command::audit:
      // Not the daemon's to answer: see audit.hpp.
      break;
  }
  return exit_code::usage;
}

void complain(const Explanation& told, Console& console) {
  std::string text;
  const std::size_t newline = told.what.rfind('\n');
  // A refused reload has a line for each problem, which stand as they are.
  const std::size_t last = newline == std::string::npos ? 0 : newline + 1;
  text += told.what.substr(0, last);
  text += "saathiictl: " + told.what.substr(last) + "\n";
  if (!told.next.empty()) {
    text += "  next: " + told.next + "\n";
  }
  console.complain(text);
}

}  // namespace

int carry_out(const CommandLine& command, const Connect& connect, Console& console) {
  try {
    const std::unique_ptr<Daemon> daemon = connect();
    return Execution(command, *daemon, console).perform();
  } catch (const UsageError& error) {
    console.complain(std::string{"saathiictl: "} + error.what() + "\n");
    return exit_code::usage;
  } catch (const Refusal& refusal) {
    console.progress("");
    const Explanation told = explain(refusal, command, ::geteuid() == 0);
    // A completion asks so, and nobody wants to read there why it got nothing.
    if (!(command.names && told.exit_code == exit_code::unreachable)) {
      complain(told, console);
    }
    return told.exit_code;
  }
}

}  // namespace saathii::ctl
