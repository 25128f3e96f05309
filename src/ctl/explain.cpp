#include "explain.hpp"

namespace saathii::ctl {

namespace {

constexpr const char* look_at_the_unit = "systemctl status saathiid; journalctl -u saathiid -n 20";

const char* name_of(Command command) {
  switch (command) {
    case Command::run:
      return "run a job";
    case Command::pause:
      return "pause a job";
    case Command::resume:
      return "resume a job";
    case Command::reload:
      return "reload the configuration";
    case Command::log_level:
      return "set the log level";
    case Command::call:
      return "look at a call";
    case Command::wallet:
      return "look at a wallet";
    default:
      return "ask that";
  }
}

Explanation denied(const Refusal& refusal, const CommandLine& command, bool is_root) {
  const std::string what =
      std::string{"you may not "} + name_of(command.command) + ": " + refusal.what();
  return {what, is_root ? "the bus policy com.saathiiapp.Tasks1.conf or a polkit rule says so"
                        : "again with sudo, or have a polkit rule allow it (saathiictl(1))"};
}

/// The cases in which nobody answers.
Explanation unreachable(const Refusal& refusal, const CommandLine& command) {
  using Kind = Refusal::Kind;
  Explanation told{refusal.what(), look_at_the_unit, exit_code::unreachable};
  if (refusal.kind() == Kind::no_bus) {
    told.what = "the bus cannot be reached (" + command.bus + "): " + refusal.what();
    told.next = command.bus == "system" ? "systemctl status dbus" : "is that the right --bus?";
  } else if (refusal.kind() == Kind::not_running) {
    told.what = "saathiid is not running, or not on the " +
                (command.bus == "system" || command.bus == "session" ? command.bus + " bus"
                                                                     : "bus " + command.bus);
    told.next = "systemctl status saathiid";
  } else if (refusal.kind() == Kind::no_answer) {
    told.what = std::string{"saathiid is on the bus but does not answer: "} + refusal.what();
  } else if (refusal.kind() == Kind::gone) {
    told.what = "saathiid left the bus before it had answered";
  }
  return told;
}

}  // namespace

Explanation explain(const Refusal& refusal, const CommandLine& command, bool is_root) {
  using Kind = Refusal::Kind;
  Explanation told{refusal.what(), "", exit_code::refused};
  switch (refusal.kind()) {
    case Kind::no_bus:
    case Kind::not_running:
    case Kind::no_answer:
    case Kind::gone:
      told = unreachable(refusal, command);
      break;
    case Kind::denied:
      told = denied(refusal, command, is_root);
      break;
    case Kind::unknown_job:
    case Kind::not_found:
    case Kind::invalid_argument:
    case Kind::failed:
      break;
    case Kind::already_waiting:
      told.next = "wait for it to begin: saathiictl status";
      break;
    case Kind::configuration_invalid:
      told.what += "\nthe reload was refused: the configuration in force is the old one";
      told.next = "mend the file, check it with 'saathiid --check-config', reload again";
      break;
    case Kind::overloaded:
      told.what = std::string{"saathiid has too many requests waiting: "} + refusal.what();
      told.next = "again in a moment";
      break;
    case Kind::unavailable:
      told.what = std::string{"the database does not answer saathiid: "} + refusal.what();
      told.next = "saathiictl status";
      break;
    case Kind::shutting_down:
      told.what = "saathiid is about to end and takes no more requests";
      told.next = "again once it runs: systemctl status saathiid";
      break;
    case Kind::standby:
      told.next = "saathiictl status tells which instance leads";
      break;
    case Kind::another_version:
      told.what = std::string{"saathiid does not know this request: "} + refusal.what();
      told.next = "after an upgrade: systemctl restart saathiid";
      break;
  }
  if (command.command == Command::health) {
    told.exit_code = exit_code::unknown;
  }
  return told;
}

}  // namespace saathii::ctl
