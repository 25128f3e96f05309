#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "saathii/control/sdbus.hpp"

namespace saathii::control {

/// A connection to a bus, driven by the loop and never blocking it: a bounded
/// number of messages in a turn, and none is read while the bus does not take
/// what was written. Loop thread. Made by make_shared, then start().
class Link : public std::enable_shared_from_this<Link> {
 public:
  using Time = std::chrono::steady_clock::time_point;

  /// Messages handled before other work of the loop gets its turn.
  static constexpr int max_messages_per_turn = 16;
  static constexpr std::chrono::microseconds max_turn{1000};
  /// When a bus that takes nothing is lost.
  struct Patience {
    std::chrono::steady_clock::duration time = std::chrono::seconds{30};
    int sends = 4096;  ///< calls of sent() meanwhile, for a few messages each
  };

  /// `on_lost` is called once, with the reason; it must not destroy the link.
  Link(const boost::asio::any_io_executor& loop, std::unique_ptr<sdbus::IConnection> connection,
       std::function<void(const std::string&)> on_lost, Patience patience);
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  void start();
  [[nodiscard]] sdbus::IConnection& connection() { return *connection_; }
  /// To be called after anything was sent: what the connection waits for may be
  /// another now.
  void sent();
  /// Nothing is handled any more, and what is not yet written is lost.
  void close();

 private:
  void turn();
  void post_turn();
  void arm();
  void await_ready(boost::asio::posix::stream_descriptor::wait_type what);
  void await_deadline(std::optional<Time> deadline);
  void lose(const std::string& reason);

  std::unique_ptr<sdbus::IConnection> connection_;
  boost::asio::posix::stream_descriptor descriptor_;
  boost::asio::steady_timer timer_;
  std::function<void(const std::string&)> on_lost_;
  const Patience patience_;
  std::optional<Time> armed_for_;
  std::optional<Time> blocked_since_;  ///< the bus takes nothing since then
  int sends_ = 0;                      ///< calls of sent() since then
  bool reading_ = false;
  bool writing_ = false;
  bool turning_ = false;
  bool turn_posted_ = false;
  bool closed_ = false;
};

}  // namespace saathii::control
