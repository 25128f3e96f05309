#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace saathii::ctl {

/// What the program exits with; the manual page tells the same.
namespace exit_code {
inline constexpr int ok = 0;
inline constexpr int refused = 1;  ///< the daemon said no, or could not
inline constexpr int usage = 2;
inline constexpr int unreachable = 3;
// Of `run --wait`:
inline constexpr int failed = 4;
inline constexpr int timed_out = 5;
inline constexpr int never_ran = 6;  ///< skipped, coalesced or missed
inline constexpr int interrupted = 130;
// Of `audit`; unreachable is a server, failed that it could not be finished.
inline constexpr int violated = 1;
// Of `health`; bad usage and an unreachable daemon are both `unknown`.
inline constexpr int degraded = 1;
inline constexpr int failing = 2;
inline constexpr int unknown = 3;
}  // namespace exit_code

enum class Command {
  status,
  jobs,
  show,
  history,
  run,
  pause,
  resume,
  reload,
  health,
  log_level,
  calendar,
  call,
  wallet,
  audit
};

enum class JsonForm { none, brief, pretty };

/// What `audit` is told.
struct AuditArguments {
  std::string config = "/etc/saathii/saathiid.toml";
  std::uint32_t limit = 100;
  std::string grace;  ///< as written; empty: the usual
  std::string since;  ///< as written
  bool baseline = false;
  bool repair = false;
  bool yes = false;
};

struct CommandLine {
  Command command = Command::status;
  std::string bus = "system";  ///< "system", "session" or an address
  JsonForm json = JsonForm::none;
  bool pager = true;
  bool legend = true;
  bool full = false;
  bool utc = false;
  bool quiet = false;

  std::vector<std::string> jobs;
  std::string at;       ///< as written
  std::string since;    ///< as written
  std::string outcome;  ///< empty: any
  std::optional<std::uint32_t> count;
  bool wait = false;
  bool names = false;
  std::uint64_t id = 0;
  std::string level;  ///< empty: tell it
  AuditArguments audit;
};

struct Parsed {
  CommandLine command;
  std::optional<int> exit_code;  ///< everything is said already
};

/// Reads the command line; --help, --version and bad usage are answered at once.
[[nodiscard]] Parsed parse_command_line(int argc, const char* const* argv);

}  // namespace saathii::ctl
