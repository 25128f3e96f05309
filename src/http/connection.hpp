#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <memory>

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
};

/// `pages` and `limits` outlive the connection.
[[nodiscard]] std::shared_ptr<Connection> make_connection(Socket socket, const Pages& pages,
                                                          const Limits& limits);

}  // namespace saathii::http
