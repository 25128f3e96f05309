#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "saathii/base/time.hpp"

namespace saathii::http {

struct Response {
  unsigned status = 200;
  std::string content_type;
  std::string body;
};

/// What GET of a path answers; called on the loop, so it does not block.
using Page = std::function<Response()>;
/// By path: "/health".
using Pages = std::map<std::string, Page>;

/// What a client may cost.
struct Limits {
  /// At once. For one more, that which has been idle longest between two requests
  /// is closed; while there is none, others wait in the kernel.
  std::size_t connections = 32;
  std::size_t header_bytes = 8192;
  Duration idle = std::chrono::seconds{90};      ///< between two requests
  Duration request = std::chrono::seconds{10};   ///< from a request's first byte to its last
  Duration response = std::chrono::seconds{10};  ///< for the client to take all of it
  int requests = 1000;                           ///< on one connection
  Duration retry = std::chrono::seconds{1};      ///< before an address is tried again; doubles
  Duration retry_cap = std::chrono::minutes{1};
};

/// Answers GET and HEAD of its pages on this host, on the loop of others. An
/// address that cannot be had is reported once and tried again until it can.
/// Loop thread, or while the loop does not run; the loop outlives the server.
class Server {
 public:
  Server(boost::asio::any_io_executor loop, Pages pages, Limits limits = {});
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Listens where `address`, as config::parse_listen() reads it, says from now
  /// on, and nowhere else. Throws std::invalid_argument for what that refuses.
  void configure(const std::string& address);

  /// Closes every connection and leaves the loop nothing to wait for.
  void close();

  /// Where it listens, with the port that the kernel gave; empty: nowhere now.
  [[nodiscard]] std::string address() const;

 private:
  class Listener;
  struct Site;

  boost::asio::any_io_executor loop_;
  std::shared_ptr<const Site> site_;
  std::string configured_;
  std::shared_ptr<Listener> listener_;
};

}  // namespace saathii::http
