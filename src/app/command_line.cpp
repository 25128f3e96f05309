#include "command_line.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>

namespace saathii::app {

namespace {

constexpr const char* about =
    "Does what happens by the passing of time on a pay-per-minute calling platform:\n"
    "charges each started minute of a call, ends calls that cannot pay or whose apps\n"
    "crashed, keeps presence true, gives daily badges and removes old logs.\n"
    "Without an action it serves until SIGTERM.\n";

constexpr const char* footer =
    "\nExamples:\n"
    "  saathiid --check-config\n"
    "  saathiid --migrate\n"
    "  saathiid --once coin_deduction call_cleanup --json\n"
    "  saathiid --once badge_assignment --at 2026-11-22\n"
    "\n"
    "Environment: DATABASE_URL, REDIS_URL and LOG_LEVEL override the file.\n"
    "Exit codes: 0 done, 1 failed while running, 2 bad usage, 78 bad configuration.\n";

struct Flags {
  bool check_config = false;
  bool print_config = false;
  bool migrate = false;
  bool once = false;
  bool test_alert = false;
  bool version = false;
};

void declare(CLI::App& app, CommandLine& command, Flags& flags, std::string& at) {
  app.footer(footer);
  app.set_help_flag("-h,--help", "Print this help and exit");
  app.add_flag("--version", flags.version, "Print the version and exit");
  app.add_option("-c,--config", command.config_file, "The configuration")
      ->type_name("FILE")
      ->capture_default_str();
  app.add_flag("--check-config", flags.check_config, "Report all that is wrong in it and exit");
  app.add_flag("--print-config", flags.print_config,
               "Print what is in effect, with defaults, secrets masked");
  app.add_flag("--migrate", flags.migrate, "Create or update schema saathii_tasks and exit");
  app.add_flag("--once", flags.once,
               "Run the named jobs, or all enabled ones, once, and exit; 1 if one failed");
  app.add_option("--test-alert", command.channel,
                 "Send a test by each way that alerts are configured to go, or by the one named "
                 "(command, webhook, mail), and exit; 1 if one failed")
      ->type_name("CHANNEL")
      ->expected(0, 1);
  app.add_option("JOB", command.jobs, "With --once: what to run")->type_name("");
  app.add_option("--at", at,
                 "With --once: run as if at this moment, as RFC 3339 or as a local time or date "
                 "of the configured timezone")
      ->type_name("TIME");
  app.add_flag("--json", command.json, "With --once: print the outcomes as JSON");
}

std::string check(const CommandLine& command, const Flags& flags) {
  const int actions = static_cast<int>(flags.check_config) + static_cast<int>(flags.print_config) +
                      static_cast<int>(flags.migrate) + static_cast<int>(flags.once) +
                      static_cast<int>(flags.test_alert);
  if (actions > 1) {
    return "only one of --check-config, --print-config, --migrate, --once and --test-alert can be "
           "given";
  }
  if (flags.once) {
    return {};
  }
  if (!command.jobs.empty()) {
    return "unexpected argument '" + command.jobs.front() + "': job names follow --once";
  }
  if (command.at) {
    return "--at needs --once";
  }
  return command.json ? "--json needs --once" : "";
}

/// CLI11's text as one line that begins with a small letter.
std::string tidy(std::string message) {
  std::replace(message.begin(), message.end(), '\n', ' ');
  if (message.size() > 1 && std::islower(static_cast<unsigned char>(message[1])) != 0) {
    message[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(message[0])));
  }
  return message;
}

}  // namespace

int usage_error(const std::string& message) {
  std::fprintf(stderr, "saathiid: %s (see saathiid --help)\n", message.c_str());
  return exit_usage;
}

Parsed parse_command_line(int argc, const char* const* argv) {
  Parsed parsed;
  Flags flags;
  std::string at;
  CLI::App app{about, "saathiid"};
  declare(app, parsed.command, flags, at);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    std::fputs(app.help().c_str(), stdout);
    parsed.exit_code = exit_ok;
    return parsed;
  } catch (const CLI::ParseError& error) {
    parsed.exit_code = usage_error(tidy(error.what()));
    return parsed;
  }
  if (flags.version) {
    std::puts("saathiid " SAATHIID_VERSION);
    parsed.exit_code = exit_ok;
    return parsed;
  }
  flags.test_alert = app.count("--test-alert") > 0;
  if (app.count("--at") > 0) {
    parsed.command.at = at;
  }
  if (const std::string wrong = check(parsed.command, flags); !wrong.empty()) {
    parsed.exit_code = usage_error(wrong);
    return parsed;
  }
  parsed.command.action = flags.check_config   ? Action::check_config
                          : flags.print_config ? Action::print_config
                          : flags.migrate      ? Action::migrate
                          : flags.once         ? Action::once
                          : flags.test_alert   ? Action::test_alert
                                               : Action::serve;
  return parsed;
}

}  // namespace saathii::app
