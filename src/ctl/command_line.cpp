#include "command_line.hpp"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>

#include "saathii/base/time.hpp"
#include "saathii/config/nearest.hpp"
#include "saathii/schedule/planner.hpp"

namespace saathii::ctl {

namespace {

constexpr const char* about =
    "Looks after saathiid, over D-Bus: what its jobs do and did, and when; runs, pauses\n"
    "and resumes them; reloads the configuration; shows what a call cost.\n"
    "Without a command: status.\n";

constexpr const char* footer =
    "\nExamples:\n"
    "  saathiictl                                how everything is\n"
    "  saathiictl run coin_deduction --wait      run it now, and say what came of it\n"
    "  saathiictl history --since 2h --outcome failed\n"
    "  saathiictl call 4711                      what a call cost, minute by minute\n"
    "  saathiictl audit                          recount the books, read-only\n"
    "  saathiictl jobs --json=short | jq -r '.[] | select(.paused) | .name'\n"
    "\nExit codes: 0 done, 1 refused, 2 bad usage, 3 saathiid cannot be reached; those of\n"
    "'health', 'audit' and 'run --wait' are told in their --help. More in saathiictl(1).\n";

constexpr const char* history_footer =
    "\nTIME: 2h, 30m, today, yesterday, 2026-11-22, '2026-11-22 14:03' in the daemon's time\n"
    "zone, or RFC 3339. OUTCOME: succeeded, failed, timed_out, skipped, coalesced or missed.\n"
    "\nExamples:\n"
    "  saathiictl history                                the last 50 outcomes of all jobs\n"
    "  saathiictl history coin_deduction --since today\n"
    "  saathiictl history --outcome missed --since 7d -n 1000\n";

constexpr const char* run_footer =
    "\nThe run begins at once, or right after the job's run in progress. TIME: 2026-11-22,\n"
    "'2026-11-22 14:03' in the daemon's time zone, or RFC 3339.\n"
    "\nExit codes with --wait: 0 succeeded, 4 failed, 5 timed out, 6 never ran (skipped,\n"
    "coalesced, missed), 1 refused, 3 saathiid left or cannot be reached, 130 after Ctrl-C:\n"
    "the run goes on then.\n"
    "\nExamples:\n"
    "  saathiictl run coin_deduction --wait\n"
    "  saathiictl run badge_assignment --at 2026-11-21   the badges of a day that is past\n";

constexpr const char* health_footer =
    "\nExit codes: 0 ok, 1 degraded, 2 failing, 3 not known (saathiid cannot be reached, or bad\n"
    "usage).\n"
    "\nExample:\n"
    "  saathiictl health -q || page_somebody\n";

constexpr const char* pause_footer =
    "\nThe ticks of a paused job end as skipped, also after a restart of saathiid. 'run' runs it\n"
    "all the same.\n"
    "\nExample:\n"
    "  saathiictl pause badge_assignment log_rotation\n";

constexpr const char* reload_footer =
    "\nTells which keys took effect and which wait for a restart. If anything is wrong nothing\n"
    "changes: each problem is told with its file, line and column, and the exit code is 1.\n";

constexpr const char* call_footer =
    "\nEach minute: when it started, when and by whom it was charged, and the caller's balance\n"
    "before and after; then what was given back or waived, and what the listener earned.\n";

constexpr const char* audit_footer =
    "\nReads the database itself, by the daemon's configuration, in one read-only snapshot, and\n"
    "counts again whether the ten invariants of billing hold: each with the calls and users for\n"
    "which it does not. A role that may only read is enough: DATABASE_URL comes before the file.\n"
    "--repair writes rows that make good what is wrong and changes none that are there; it shows\n"
    "each before, and asks, or needs --yes. LENGTH: 90s, 10m. TIME: as of 'history'.\n"
    "\nExit codes: 0 nothing is violated, 1 something is, 2 bad usage or configuration, 3 the\n"
    "database cannot be reached, 4 the audit could not be finished, 130 after Ctrl-C.\n"
    "\nExamples:\n"
    "  saathiictl audit --since 7d\n"
    "  saathiictl audit --json=short | jq '.invariants[] | select(.result == \"violated\")'\n"
    "  saathiictl audit --baseline               once: from now on wallets can be recounted\n";

const std::vector<std::string_view> levels = {"trace", "debug", "info", "warning", "error"};
const std::vector<std::string_view> json_forms = {"short", "pretty", "off"};

constexpr std::uint32_t most_rows = 10'000;
constexpr std::uint32_t most_entries = 1000;
constexpr std::uint32_t most_offenders = 10'000;

std::vector<std::string_view> outcomes() {
  std::vector<std::string_view> words(schedule::outcomes.size());
  std::transform(schedule::outcomes.begin(), schedule::outcomes.end(), words.begin(),
                 [](schedule::Outcome each) { return schedule::to_string(each); });
  return words;
}

/// Takes one of the words only.
CLI::Validator one_of(std::vector<std::string_view> words, const char* plural) {
  return CLI::Validator(
      [words = std::move(words), plural](const std::string& given) -> std::string {
        if (std::find(words.begin(), words.end(), given) != words.end()) {
          return "";
        }
        return "there is no \"" + given + "\": " + config::suggest(given, words, plural);
      },
      "");
}

/// CLI11 would take "-1" for a very large number.
CLI::Validator is_id() {
  return CLI::Validator(
      [](const std::string& given) -> std::string {
        std::uint64_t id = 0;
        const auto [end, error] = std::from_chars(given.data(), given.data() + given.size(), id);
        const bool whole = end == given.data() + given.size();
        return error == std::errc{} && whole && id > 0 ? "" : "\"" + given + "\" is no id";
      },
      "");
}

CLI::Validator is_length() {
  return CLI::Validator(
      [](const std::string& given) -> std::string {
        return parse_duration(given) ? ""
                                     : "\"" + given + "\" is no length of time: 90s, 10m, 1h30m";
      },
      "");
}

struct Flags {
  std::string json;
  bool json_for_me = false;
  bool no_pager = false;
  bool no_legend = false;
  bool version = false;
};

void declare_options(CLI::App& app, CommandLine& command, Flags& flags) {
  app.set_help_flag("-h,--help", "Print this help and exit");
  app.add_flag("--version", flags.version, "Print the version and exit");
  app.add_option("--bus", command.bus,
                 "system, session or a bus address; else SAATHIICTL_BUS, else system")
      ->type_name("BUS");
  app.add_option("--json", flags.json, "Print JSON: short (one line) or pretty")
      ->type_name("FORM")
      ->check(one_of(json_forms, "forms"));
  app.add_flag("-j", flags.json_for_me, "As --json=pretty on a terminal, else --json=short");
  app.add_flag("--no-pager", flags.no_pager, "Never through a pager");
  app.add_flag("--no-legend", flags.no_legend, "No headings and no closing remarks");
  app.add_flag("-l,--full", command.full, "Cut nothing off, however narrow the terminal is");
  app.add_flag("--utc", command.utc, "Read and write times in UTC");
  app.add_flag("-q,--quiet", command.quiet, "No word where all went well");
}

CLI::App* add_command(CLI::App& app, Command which, CommandLine& command, const char* name,
                      const char* help, const char* after = "") {
  CLI::App* added = app.add_subcommand(name, help);
  added->footer(after);
  added->fallthrough();
  added->callback([&command, which] { command.command = which; });
  return added;
}

void add_count(CLI::App* to, CommandLine& command, const char* help,
               std::uint32_t most = most_rows) {
  to->add_option("-n,--count", command.count, help)
      ->type_name("N")
      ->check(CLI::Range(std::uint32_t{1}, most).description(""));
}

void add_job(CLI::App* to, CommandLine& command, const char* help, int least, int most) {
  to->add_option("JOB", command.jobs, help)->type_name("")->expected(least, most);
}

void declare_looking(CLI::App& app, CommandLine& command) {
  add_command(app, Command::status, command, "status",
              "One screen: health, servers, each job's last outcome and next run");
  auto* jobs = add_command(app, Command::jobs, command, "jobs", "The jobs with their schedules");
  jobs->add_flag("--names", command.names, "Their names alone");
  auto* show = add_command(app, Command::show, command, "show", "All there is to know of a job");
  add_job(show, command, "The job", 1, 1);
  show->get_option("JOB")->required();

  auto* history = add_command(app, Command::history, command, "history",
                              "What became of ticks, newest first", history_footer);
  add_job(history, command, "Of this job alone", 0, 1);
  history->add_option("--since", command.since, "No older than this")->type_name("TIME");
  history
      ->add_option("--outcome", command.outcome,
                   "succeeded, failed, timed_out, skipped, coalesced or missed alone")
      ->type_name("OUTCOME")
      ->check(one_of(outcomes(), "outcomes"));
  add_count(history, command, "At most so many (50)");

  auto* calendar = add_command(app, Command::calendar, command, "calendar", "When jobs run next");
  add_job(calendar, command, "This job alone", 0, 1);
  add_count(calendar, command, "So many ticks (10)");

  add_command(app, Command::health, command, "health",
              "Whether all is well: exits with 0 ok, 1 degraded, 2 failing, 3 not known",
              health_footer);

  auto* call =
      add_command(app, Command::call, command, "call",
                  "The receipt of a call: each minute, what was paid, its settlement", call_footer);
  call->add_option("ID", command.id, "The call")->type_name("")->required()->check(is_id());
  auto* wallet = add_command(app, Command::wallet, command, "wallet",
                             "A user's balance and latest transactions");
  wallet->add_option("USER", command.id, "The user's id")
      ->type_name("")
      ->required()
      ->check(is_id());
  add_count(wallet, command, "So many transactions (20)", most_entries);
}

void declare_audit(CLI::App& app, CommandLine& command) {
  AuditArguments& given = command.audit;
  auto* audit = add_command(app, Command::audit, command, "audit",
                            "Recount whether the ten invariants of billing hold", audit_footer);
  audit->add_option("-c,--config", given.config, "The daemon's (/etc/saathii/saathiid.toml)")
      ->type_name("FILE");
  audit->add_option("--since", given.since, "Leave out ended calls that started before")
      ->type_name("TIME");
  audit->add_option("--grace", given.grace, "What is younger is in flight (10m)")
      ->type_name("LENGTH")
      ->check(is_length());
  audit->add_option("--limit", given.limit, "List so many of each kind (100)")
      ->type_name("N")
      ->check(CLI::Range(std::uint32_t{1}, most_offenders).description(""));
  auto* repair = audit->add_flag("--repair", given.repair,
                                 "Then write rows that make good what is wrong, as shown before");
  audit
      ->add_flag("--baseline", given.baseline,
                 "Instead: record what wallets opened with, which invariant 3 needs")
      ->excludes(repair);
  audit->add_flag("-y,--yes", given.yes, "Do not ask before writing");
}

void declare_doing(CLI::App& app, CommandLine& command) {
  auto* run = add_command(app, Command::run, command, "run", "Run a job now, also a paused one",
                          run_footer);
  add_job(run, command, "The job", 1, 1);
  run->get_option("JOB")->required();
  run->add_option("--at", command.at, "As if at this moment")->type_name("TIME");
  run->add_flag("-w,--wait", command.wait, "Until it has ended, and exit by its outcome");

  auto* pause = add_command(app, Command::pause, command, "pause",
                            "Let a job's ticks end as skipped, until it is resumed", pause_footer);
  add_job(pause, command, "The jobs", 1, 1000);
  pause->get_option("JOB")->required();
  auto* resume = add_command(app, Command::resume, command, "resume", "End a pause");
  add_job(resume, command, "The jobs", 1, 1000);
  resume->get_option("JOB")->required();

  add_command(app, Command::reload, command, "reload",
              "Read the configuration anew; refused if anything is wrong in it", reload_footer);
  auto* level = add_command(app, Command::log_level, command, "log-level",
                            "Tell the log level, or set it until the next reload or start");
  level->add_option("LEVEL", command.level, "trace, debug, info, warning or error")
      ->type_name("")
      ->check(one_of(levels, "levels"));
}

/// CLI11's text as one line that begins with a small letter.
std::string tidy(std::string message) {
  std::replace(message.begin(), message.end(), '\n', ' ');
  if (message.size() > 1 && std::islower(static_cast<unsigned char>(message[1])) != 0) {
    message[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(message[0])));
  }
  return message;
}

std::vector<std::string> command_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* each : app.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(each->get_name());
  }
  return names;
}

/// The word that stands where a command should, and is none.
std::string unknown_command(const CLI::App& app) {
  if (app.get_subcommands().empty()) {
    for (const std::string& word : app.remaining()) {
      if (!word.starts_with("-")) {
        return word;
      }
    }
  }
  return "";
}

/// One line, and how to get help.
int usage_error(const CLI::App& app, const std::string& text) {
  std::string message = text;
  std::string command;
  if (const auto parsed = app.get_subcommands(); !parsed.empty()) {
    command = parsed.front()->get_name();
  } else if (const std::string word = unknown_command(app); !word.empty()) {
    const std::vector<std::string> names = command_names(app);
    message = "there is no command \"" + word +
              "\": " + config::suggest(word, {names.begin(), names.end()}, "commands");
  }
  std::fprintf(stderr, "saathiictl: %s (see saathiictl %s%s--help)\n", message.c_str(),
               command.c_str(), command.empty() ? "" : " ");
  // Who asks for the health must not take bad usage for "failing".
  return command == "health" ? exit_code::unknown : exit_code::usage;
}

}  // namespace

Parsed parse_command_line(int argc, const char* const* argv) {
  Parsed parsed;
  Flags flags;
  CLI::App app{about, "saathiictl"};
  app.footer(footer);
  app.require_subcommand(0, 1);
  app.get_formatter()->column_width(28);
  if (const char* bus = std::getenv("SAATHIICTL_BUS"); bus != nullptr && *bus != '\0') {
    parsed.command.bus = bus;
  }
  declare_options(app, parsed.command, flags);
  declare_looking(app, parsed.command);
  declare_doing(app, parsed.command);
  declare_audit(app, parsed.command);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    std::fputs(app.help().c_str(), stdout);
    parsed.exit_code = exit_code::ok;
    return parsed;
  } catch (const CLI::ParseError& error) {
    parsed.exit_code = usage_error(app, tidy(error.what()));
    return parsed;
  }
  if (flags.version) {
    std::puts("saathiictl " SAATHIID_VERSION);
    parsed.exit_code = exit_code::ok;
    return parsed;
  }
  CommandLine& command = parsed.command;
  command.pager = !flags.no_pager;
  command.legend = !flags.no_legend;
  const bool pretty = flags.json == "pretty" || (flags.json_for_me && ::isatty(STDOUT_FILENO) == 1);
  if (pretty) {
    command.json = JsonForm::pretty;
  } else if (flags.json == "short" || flags.json_for_me) {
    command.json = JsonForm::brief;
  }
  return parsed;
}

}  // namespace saathii::ctl
