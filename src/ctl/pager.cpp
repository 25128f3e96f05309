#include "pager.hpp"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <string_view>

namespace saathii::ctl {

namespace {

constexpr int no_such_command = 127;

std::string wanted() {
  for (const char* name : {"SAATHIICTL_PAGER", "PAGER"}) {
    if (const char* value = std::getenv(name)) {
      return value;
    }
  }
  return "less";
}

/// In the child: never returns. The text comes by its standard input.
[[noreturn]] void become_pager(const std::string& command, int text) {
  ::dup2(text, STDIN_FILENO);
  // less alone looks at these; what a person has set for it stays.
  ::setenv("LESS", "FRSX", 0);
  ::setenv("LESSCHARSET", "utf-8", 0);
  if (::getenv("SUDO_UID") != nullptr || ::getuid() != ::geteuid()) {
    // A pager's shell would have more rights than its reader.
    ::setenv("LESSSECURE", "1", 1);
  }
  const std::string line = "exec " + command;
  ::execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
  ::_exit(no_such_command);
}

/// Until all is written or the reader has left.
void write_all(int to, std::string_view text) {
  while (!text.empty()) {
    const auto written = ::write(to, text.data(), text.size());
    if (written < 0 && errno != EINTR) {
      return;
    }
    text.remove_prefix(written > 0 ? static_cast<std::size_t>(written) : 0);
  }
}

}  // namespace

bool page(const std::string& text) {
  const std::string command = wanted();
  int pipe_ends[2] = {-1, -1};
  if (command.empty() || command == "cat" || ::pipe2(pipe_ends, O_CLOEXEC) != 0) {
    return false;
  }
  const pid_t child = ::fork();
  if (child == 0) {
    become_pager(command, pipe_ends[0]);
  }
  ::close(pipe_ends[0]);
  if (child < 0) {
    ::close(pipe_ends[1]);
    return false;
  }
  // Ctrl-C is the pager's, and a reader who leaves early is no error.
  const auto pipe_before = std::signal(SIGPIPE, SIG_IGN);
  const auto interrupt_before = std::signal(SIGINT, SIG_IGN);
  write_all(pipe_ends[1], text);
  ::close(pipe_ends[1]);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  std::signal(SIGINT, interrupt_before);
  std::signal(SIGPIPE, pipe_before);
  return !(WIFEXITED(status) && WEXITSTATUS(status) == no_such_command);
}

}  // namespace saathii::ctl
