#include <sys/socket.h>
#include <sys/un.h>

#include "base/capture_stderr.hpp"
#include "support.hpp"

// Buses that are not there, die, hang, or have another saathiid on them.

namespace saathii::control::test {

namespace {

using Catch::Matchers::ContainsSubstring;

/// Until the minute's tick has run.
void run_a_tick(Daemon& daemon, FakeWork& work, int minute) {
  REQUIRE(daemon.clock.wait_until_armed(noon + minute * 1min));
  const std::size_t before = work.calls().size();
  daemon.clock.pass_to(noon + minute * 1min);
  REQUIRE(work.wait_for_calls(before + 1));
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++found;
  }
  return found;
}

/// Until the log, of which nobody tells when it grows, says so.
void wait_for(const CaptureStderr& captured, const std::string& part) {
  const auto until = std::chrono::steady_clock::now() + patience;
  while (captured.text().find(part) == std::string::npos) {
    REQUIRE(std::chrono::steady_clock::now() < until);
    std::this_thread::yield();
  }
}

/// A socket at which nobody ever answers.
class DeafSocket {
 public:
  explicit DeafSocket(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::copy(path.begin(), path.end(), address.sun_path);
    REQUIRE(::bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(fd_, 10) == 0);
  }
  ~DeafSocket() { ::close(fd_); }
  /// Until somebody has connected.
  void wait_for_caller() const {
    pollfd ready{fd_, POLLIN, 0};
    REQUIRE(::poll(&ready, 1, 60'000) == 1);
  }

 private:
  int fd_;
};

}  // namespace

TEST_CASE("without a bus the daemon works, says so once, and is there when a bus is") {
  PrivateBus bus;
  Daemon daemon(bus.address());
  FakeWork& work = daemon.add(minutely("charge"));
  std::string said;
  {
    CaptureStderr captured;
    daemon.start();
    for (int minute = 1; minute <= 5; ++minute) {
      run_a_tick(daemon, work, minute);
    }
    wait_for(captured, "not on the bus");
    Ear ear(bus.start().address());
    REQUIRE(ear.wait_for_daemon());
    Client client(bus.address());
    CHECK(client.job("charge").State() == "waiting");
    daemon.stop();
    said = captured.text();
  }
  CHECK(count(said, "warning not on the bus at " + bus.address() + ": cannot connect to") == 1);
  CHECK(count(said, "info on the bus at " + bus.address() + " as com.saathiiapp.Tasks1") == 1);
}

TEST_CASE("a bus that dies and comes back has the daemon again") {
  PrivateBus bus;
  Daemon daemon(bus.address());
  FakeWork& work = daemon.add(minutely("charge"));
  {
    Ear ear(bus.start().address());
    daemon.start_on(ear);
    Client client(bus.address());
    client.manager.Pause("charge");
    client.manager.Resume("charge");
  }
  bus.stop();
  run_a_tick(daemon, work, 1);
  Ear ear(bus.start().address());
  REQUIRE(ear.wait_for_daemon());
  Client client(bus.address());
  const std::string run_id = client.manager.Run("charge", 0);
  REQUIRE(ear.wait_for("RunFinished charge " + run_id + " succeeded \"done\" things=1"));
}

TEST_CASE("calls that wait when the bus dies are forgotten, and keep nobody from the next one") {
  PrivateBus bus;
  Daemon daemon(bus.address());
  daemon.add(minutely("charge"));
  Watched<int> asked;
  std::promise<void> go_on;
  daemon.inquiries.history = [&, may_go_on = go_on.get_future().share()](const auto&, const auto&) {
    asked.change([](int& number) { ++number; });
    may_go_on.wait();
    return std::vector<runner::Record>(1);
  };
  {
    Ear ear(bus.start().address());
    daemon.start_on(ear);
    Client client(bus.address());
    std::thread waiting([&] { (void)error_of([&] { client.manager.History("", 0, 0, "", 1); }); });
    REQUIRE(asked.wait([](int number) { return number == 1; }));
    bus.stop();
    waiting.join();
  }
  // The answer to the call is still being looked for.
  Ear ear(bus.start().address());
  const bool is_back = ear.wait_for_daemon();
  go_on.set_value();
  REQUIRE(is_back);
  CHECK(Client(bus.address()).manager.History("", 0, 0, "", 1).size() == 1);
}

TEST_CASE("a name that another process has is said once, and taken when it is free") {
  PrivateBus bus;
  bus.start();
  auto other = sdbus::createSessionBusConnectionWithAddress(bus.address());
  other->requestName(ServiceName{daemon_name});
  Daemon daemon(bus.address());
  FakeWork& work = daemon.add(minutely("charge"));
  std::string said;
  {
    CaptureStderr captured;
    daemon.start();
    run_a_tick(daemon, work, 1);
    wait_for(captured, "another saathiid perhaps");
    other->releaseName(ServiceName{daemon_name});
    Ear ear(bus.address());
    REQUIRE(ear.wait_for_daemon());
    daemon.stop();
    said = captured.text();
  }
  CHECK(count(said, "another saathiid perhaps") == 1);
}

TEST_CASE("a bus that hangs delays no tick, and the daemon's end neither") {
  PrivateBus bus;
  Ear ear(bus.start().address());
  Daemon daemon(bus.address());
  FakeWork& work = daemon.add(minutely("charge"));
  daemon.start_on(ear);
  bus.freeze();
  for (int minute = 1; minute <= 20; ++minute) {
    run_a_tick(daemon, work, minute);
  }
  daemon.stop();
  bus.thaw();
}

TEST_CASE("who does not answer where the bus should be delays no tick, and no end") {
  PrivateBus bus;
  const DeafSocket deaf(bus.path());
  Daemon daemon(bus.address());
  FakeWork& work = daemon.add(minutely("charge"));
  daemon.start();
  deaf.wait_for_caller();
  run_a_tick(daemon, work, 1);
  daemon.runner->stop();
  CHECK_FALSE(daemon.end().stuck);
}

TEST_CASE("a bus that is not wanted is not looked for") {
  PrivateBus bus;
  Ear ear(bus.start().address());
  Daemon daemon("none");
  FakeWork& work = daemon.add(minutely("charge"));
  std::string said;
  {
    CaptureStderr captured;
    daemon.start();
    run_a_tick(daemon, work, 1);
    daemon.stop();
    said = captured.text();
  }
  CHECK_THAT(said, ContainsSubstring("not on D-Bus: control.bus is \"none\""));
  CHECK(count(said, "warning") == 0);
}

}  // namespace saathii::control::test
