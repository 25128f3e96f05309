#include "control/link.hpp"

#include <boost/asio/io_context.hpp>

#include "support.hpp"

// A bus that no longer takes what is sent to it.

namespace saathii::control::test {

namespace {

/// More than the socket holds, for which sd-bus asks for 8 MiB.
constexpr std::size_t many_bytes = std::size_t{40} * 1024 * 1024;

/// A link on the loop of this thread, to a bus that has stopped reading.
class Stuck {
 public:
  explicit Stuck(Link::Patience patience) {
    auto connection = sdbus::createSessionBusConnectionWithAddress(bus_.start().address());
    link_ = std::make_shared<Link>(
        loop_.get_executor(), std::move(connection),
        [this](const std::string& reason) { lost_.push_back(reason); }, patience);
    link_->start();
    bus_.freeze();
  }
  ~Stuck() {
    link_->close();
    bus_.thaw();
  }
  Stuck(const Stuck&) = delete;
  Stuck& operator=(const Stuck&) = delete;

  void send() {
    (void)make_proxy(link_->connection(), daemon_name, "/")
        ->callMethodAsync("M")
        .onInterface("x.Y")
        .withArguments(std::string(many_bytes, 'x'))
        .uponReplyInvoke([](CallError) {});
    link_->sent();
  }
  /// Handles what there is, without waiting.
  void poll() { loop_.poll(); }
  /// Handles one thing, once there is one.
  void step() { loop_.run_one_for(60s); }
  [[nodiscard]] const std::vector<std::string>& lost() const { return lost_; }

 private:
  PrivateBus bus_;
  asio::io_context loop_;
  std::shared_ptr<Link> link_;
  std::vector<std::string> lost_;
};

const std::vector<std::string> takes_nothing = {"the bus does not take what is sent to it"};

}  // namespace

TEST_CASE("a bus that takes nothing is lost after so many sends") {
  Stuck link({.time = 1h, .sends = 1});
  link.send();
  link.send();
  link.poll();
  CHECK(link.lost().empty());
  link.send();
  CHECK(link.lost() == takes_nothing);
  link.send();
  CHECK(link.lost() == takes_nothing);
}

TEST_CASE("a bus that takes nothing is lost after some time, however little is sent") {
  Stuck link({.time = 1ms, .sends = 1000});
  link.send();
  while (link.lost().empty()) {
    link.step();
  }
  CHECK(link.lost() == takes_nothing);
}

}  // namespace saathii::control::test
