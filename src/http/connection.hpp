#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>

#include "saathii/http/server.hpp"

namespace saathii::http {

/// TCP or Unix alike.
using Socket = boost::asio::basic_stream_socket<boost::asio::generic::stream_protocol>;

/// One client. Loop thread.
class Connection {
 public:
  virtual ~Connection() = default;
  /// Answers requests until the client, a limit or close() ends it. Throws
  /// nothing but std::bad_alloc.
  virtual boost::asio::awaitable<void> run() = 0;
  virtual void close() = 0;
  /// Since when it waits for the client's next request; none: it answers one.
  [[nodiscard]] virtual std::optional<std::chrono::steady_clock::time_point> idle_since() const = 0;
};

/// `pages` and `limits` outlive the connection. `on_idle` is called whenever it
/// begins to wait for a request.
[[nodiscard]] std::shared_ptr<Connection> make_connection(Socket socket, const Pages& pages,
                                                          const Limits& limits,
                                                          std::function<void()> on_idle);

}  // namespace saathii::http
