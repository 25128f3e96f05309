#include "agent.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <string>

namespace saathii::ctl {

namespace {

constexpr const char* program = "/usr/bin/pkttyagent";
constexpr int patience_ms = 5'000;

/// What the daemon asks polkit for.
bool may_need_a_password(const CommandLine& command) {
  switch (command.command) {
    case Command::run:
    case Command::pause:
    case Command::resume:
    case Command::reload:
    case Command::call:
    case Command::wallet:
      return true;
    case Command::log_level:
      return !command.level.empty();
    default:
      return false;
  }
}

[[noreturn]] void become_agent(pid_t parent, int ready) {
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) {
    ::_exit(1);
  }
  ::fcntl(ready, F_SETFD, 0);
  const std::string notify = std::to_string(ready);
  ::execl(program, program, "--notify-fd", notify.c_str(), "--fallback", nullptr);
  ::_exit(1);
}

}  // namespace

PasswordAgent::PasswordAgent(const CommandLine& command) {
  int ready[2] = {-1, -1};
  if (command.bus != "system" || !may_need_a_password(command) || ::geteuid() == 0 ||
      ::isatty(STDIN_FILENO) != 1 || ::isatty(STDERR_FILENO) != 1 || ::access(program, X_OK) != 0 ||
      ::pipe2(ready, O_CLOEXEC) != 0) {
    return;
  }
  const pid_t self = ::getpid();
  child_ = ::fork();
  if (child_ == 0) {
    become_agent(self, ready[1]);
  }
  ::close(ready[1]);
  // It closes its end when it is registered with polkit, and when it ends.
  pollfd look{ready[0], POLLIN, 0};
  while (child_ > 0 && ::poll(&look, 1, patience_ms) < 0 && errno == EINTR) {
  }
  ::close(ready[0]);
}

PasswordAgent::~PasswordAgent() {
  if (child_ <= 0) {
    return;
  }
  ::kill(child_, SIGTERM);
  ::kill(child_, SIGCONT);
  while (::waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace saathii::ctl
