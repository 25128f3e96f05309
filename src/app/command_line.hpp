#pragma once

#include <optional>
#include <string>
#include <vector>

namespace saathii::app {

/// Exit codes; 2 and 78 are also systemd's RestartPreventExitStatus.
inline constexpr int exit_ok = 0;
inline constexpr int exit_failure = 1;
inline constexpr int exit_usage = 2;
inline constexpr int exit_configuration = 78;

enum class Action { serve, check_config, print_config, migrate, once, test_alert };

struct CommandLine {
  Action action = Action::serve;
  std::string config_file = "/etc/saathii/saathiid.toml";
  std::vector<std::string> jobs;  ///< for once; empty: all enabled ones
  bool json = false;
  std::optional<std::string> at;  ///< as written
  std::string channel;            ///< for test_alert; empty: all that are configured
};

/// Reads the command line. Where that is all there is to do (--help, --version,
/// bad usage), says so on stdout or stderr and returns the exit code instead.
struct Parsed {
  CommandLine command;
  std::optional<int> exit_code;
};
[[nodiscard]] Parsed parse_command_line(int argc, const char* const* argv);

/// Bad usage: one line, and how to get help. Returns exit_usage.
int usage_error(const std::string& message);

}  // namespace saathii::app
