#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>

#include "catch.hpp"

namespace saathii::test {

/// A bus of the test's own, which can die, come back and hang. Everybody may do
/// everything there, and as much as they like.
class PrivateBus {
 public:
  PrivateBus() {
    char folder[] = "/tmp/saathii_bus_XXXXXX";
    REQUIRE(::mkdtemp(folder) != nullptr);
    folder_ = folder;
    std::ofstream(folder_ + "/bus.conf") << R"(<busconfig>
  <type>session</type>
  <listen>)" << address() << R"(</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
  </policy>
  <limit name="max_replies_per_connection">1000000</limit>
  <limit name="max_incoming_bytes">1000000000</limit>
  <limit name="max_outgoing_bytes">1000000000</limit>
</busconfig>
)";
  }
  ~PrivateBus() {
    stop();
    std::filesystem::remove_all(folder_);
  }
  PrivateBus(const PrivateBus&) = delete;
  PrivateBus& operator=(const PrivateBus&) = delete;

  [[nodiscard]] std::string address() const { return "unix:path=" + path(); }
  [[nodiscard]] std::string path() const { return folder_ + "/bus"; }

  /// Until it can be connected to.
  PrivateBus& start() {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    const std::string config = "--config-file=" + folder_ + "/bus.conf";
    const std::string log = folder_ + "/bus.log";
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::dup2(::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600), STDERR_FILENO);
      ::dup2(ends[1], 3);  // without the flag that closes it
      ::execlp("dbus-daemon", "dbus-daemon", config.c_str(), "--nofork", "--nopidfile",
               "--print-address=3", nullptr);
      ::_exit(127);
    }
    ::close(ends[1]);
    char byte = 0;
    pollfd printed{ends[0], POLLIN, 0};
    const bool ready = ::poll(&printed, 1, 60'000) == 1 && ::read(ends[0], &byte, 1) == 1;
    ::close(ends[0]);
    REQUIRE(ready);
    return *this;
  }

  void stop() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
      pid_ = 0;
      std::filesystem::remove(path());
    }
  }

  void freeze() const {
    ::kill(pid_, SIGSTOP);
    int status = 0;
    REQUIRE(::waitpid(pid_, &status, WUNTRACED) == pid_);
    REQUIRE(WIFSTOPPED(status));
  }
  void thaw() const { ::kill(pid_, SIGCONT); }

 private:
  std::string folder_;
  pid_t pid_ = 0;
};

}  // namespace saathii::test
