#include "saathii/systemd/notifier.hpp"

#include <algorithm>

#include "support/service_manager.hpp"

namespace saathii::systemd {

namespace {

using test::ServiceManager;
using Messages = std::vector<std::string>;

/// More than any queue of datagrams holds.
constexpr int many = 10'000;

/// The messages, and what EXTEND_TIMEOUT_USEC asks for taken out of them: how
/// much time is left is another at each moment.
struct Asked {
  Messages messages;
  std::vector<std::int64_t> extended_us;
};

Asked asked(Messages messages) {
  const std::string name = "\nEXTEND_TIMEOUT_USEC=";
  Asked all;
  for (std::string& message : messages) {
    if (const auto at = message.find(name); at != std::string::npos) {
      all.extended_us.push_back(std::stoll(message.substr(at + name.size())));
      message.erase(at);
    }
    all.messages.push_back(std::move(message));
  }
  return all;
}

constexpr std::chrono::hours long_enough{1};
constexpr std::int64_t long_enough_us = 3'600'000'000;

/// Leaves the manager with a full queue, of which it has read nothing.
void fill(const ServiceManager& manager) {
  while (manager.takes_more()) {
  }
}

TEST_CASE("messages arrive by a path and by an abstract name") {
  for (const auto kind : {test::path_name, test::abstract_name}) {
    const ServiceManager manager(kind, "2000000");
    Notifier notifier;
    CHECK(notifier.active());
    CHECK(notifier.watchdog_timeout() == std::chrono::seconds{2});
    notifier.ready("5 jobs");
    notifier.status("busy");
    notifier.watchdog();
    notifier.retry();
    notifier.stopping("done", long_enough);
    CHECK(asked(manager.messages()).messages == Messages{"READY=1\nSTATUS=5 jobs", "STATUS=busy",
                                                         "WATCHDOG=1", "STOPPING=1\nSTATUS=done"});
  }
}

TEST_CASE("a manager that reads nothing holds nobody up, and is told the newest in the end") {
  const ServiceManager manager;
  Notifier notifier;
  fill(manager);
  notifier.ready("1 job");
  for (int i = 0; i < many; ++i) {
    notifier.status("status " + std::to_string(i));
    notifier.watchdog();
  }
  (void)manager.messages();
  notifier.retry();
  CHECK(manager.messages() == Messages{"READY=1\nSTATUS=status 9999"});
  notifier.watchdog();
  CHECK(manager.messages() == Messages{"WATCHDOG=1"});
}

TEST_CASE("a ping brings along what could not be sent") {
  const ServiceManager manager;
  Notifier notifier;
  fill(manager);
  notifier.ready("1 job");
  (void)manager.messages();
  notifier.watchdog();
  CHECK(manager.messages() == Messages{"READY=1\nSTATUS=1 job\nWATCHDOG=1"});
}

TEST_CASE("ready and then stopping, both unread, arrive in that order") {
  const ServiceManager manager;
  Notifier notifier;
  fill(manager);
  notifier.ready("1 job");
  notifier.stopping("stopping", long_enough);
  (void)manager.messages();
  notifier.retry();
  CHECK(asked(manager.messages()).messages == Messages{"READY=1", "STOPPING=1\nSTATUS=stopping"});
}

TEST_CASE("a stop asks for the time that it may take, and with each ping for what is left") {
  const ServiceManager manager;
  Notifier notifier;
  notifier.ready("1 job");
  notifier.watchdog();
  CHECK(asked(manager.messages()).extended_us.empty());
  notifier.stopping("stopping", long_enough);
  notifier.status("waiting");
  notifier.watchdog();
  notifier.watchdog();
  const Asked said = asked(manager.messages());
  CHECK(said.messages ==
        Messages{"STOPPING=1\nSTATUS=stopping", "STATUS=waiting", "WATCHDOG=1", "WATCHDOG=1"});
  REQUIRE(said.extended_us.size() == 3);
  CHECK(said.extended_us.front() <= long_enough_us);
  CHECK(said.extended_us.back() > 0);
  CHECK(std::is_sorted(said.extended_us.rbegin(), said.extended_us.rend()));
}

TEST_CASE("a stop that takes longer than it may asks for no more time") {
  const ServiceManager manager;
  Notifier notifier;
  notifier.stopping("stopping", Duration{0});
  notifier.watchdog();
  CHECK(manager.messages() == Messages{"STOPPING=1\nSTATUS=stopping", "WATCHDOG=1"});
}

TEST_CASE("a manager that is not there is no fault") {
  ::setenv("NOTIFY_SOCKET", "/nonexistent/saathii/notify", 1);
  Notifier notifier;
  ::unsetenv("NOTIFY_SOCKET");
  CHECK(notifier.active());
  notifier.ready("1 job");
  notifier.watchdog();
}

TEST_CASE("without a socket that can be named, nothing is sent and no watchdog is fed") {
  const std::string too_long(sizeof(sockaddr_un::sun_path), 'x');
  for (const std::string& name :
       {std::string{}, std::string{"/"}, std::string{"relative"}, std::string{"vsock:2:1234"},
        "/" + too_long.substr(1), "/" + too_long, "@" + too_long}) {
    INFO(name);
    ::setenv("NOTIFY_SOCKET", name.c_str(), 1);
    ::setenv("WATCHDOG_USEC", "2000000", 1);
    Notifier notifier;
    CHECK_FALSE(notifier.active());
    CHECK(notifier.watchdog_timeout() == Duration{0});
    notifier.ready("1 job");
    notifier.watchdog();
    notifier.stopping("stopping", long_enough);
  }
  ::unsetenv("NOTIFY_SOCKET");
  ::unsetenv("WATCHDOG_USEC");
  Notifier notifier;
  CHECK_FALSE(notifier.active());
  notifier.status("nobody reads this");
}

TEST_CASE("the longest abstract name is used whole") {
  const std::string name = "@" + std::string(sizeof(sockaddr_un::sun_path) - 1, 'x');
  ::setenv("NOTIFY_SOCKET", name.c_str(), 1);
  const Notifier notifier;
  ::unsetenv("NOTIFY_SOCKET");
  CHECK(notifier.active());
}

}  // namespace

}  // namespace saathii::systemd
