#include <unistd.h>

#include <cstdio>
#include <exception>

#include "ctl/agent.hpp"
#include "ctl/audit.hpp"
#include "ctl/bus.hpp"
#include "ctl/command_line.hpp"
#include "ctl/commands.hpp"
#include "ctl/terminal.hpp"

#if defined(__SANITIZE_ADDRESS__)
// sdbus-c++ loses what sd_bus_new() gave it when the bus cannot be reached; for
// libpqxx see src/postgres/session.cpp, whose list gives way to this one.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() {
  return "leak:sd_bus_new\nleak:libsystemd\nleak:libpqxx-6.\n";
}
#endif

int main(int argc, char** argv) {
  using namespace saathii::ctl;
  const Parsed parsed = parse_command_line(argc, argv);
  if (parsed.exit_code) {
    return *parsed.exit_code;
  }
  const int on_fault =
      parsed.command.command == Command::health ? exit_code::unknown : exit_code::refused;
  try {
    Terminal terminal(parsed.command);
    const PasswordAgent agent(parsed.command);
    const auto connect = [&] {
      return connect_to_bus(parsed.command.bus, agent.runs() ? Asking::yes : Asking::no,
                            parsed.command.names ? Patience::short_one : Patience::usual);
    };
    const auto open = [&] { return open_auditor(parsed.command.audit); };
    const int code = parsed.command.command == Command::audit
                         ? carry_out_audit(parsed.command, open, terminal)
                         : carry_out(parsed.command, connect, terminal);
    if (!terminal.wrote_all()) {
      std::fputs("saathiictl: not all of the answer could be written\n", stderr);
      return code == exit_code::ok ? on_fault : code;
    }
    return code;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "saathiictl: ended by a fault that it does not expect: %s\n",
                 error.what());
    return on_fault;
  }
}
