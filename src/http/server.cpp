#include "saathii/http/server.hpp"

#include <fmt/format.h>

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <set>
#include <stdexcept>

#include "connection.hpp"
#include "listening_socket.hpp"
#include "saathii/log/log.hpp"
#include "saathii/runner/backoff.hpp"
#include "saathii/runner/bell.hpp"

namespace saathii::http {

namespace {

namespace asio = boost::asio;
using boost::system::error_code;

/// After a connection could not be taken, mostly for want of descriptors.
constexpr Duration accept_pause = std::chrono::seconds{1};

std::string links(const Pages& pages) {
  std::string list;
  for (const auto& [path, page] : pages) {
    list += fmt::format("<li><a href=\"{0}\">{0}</a></li>\n", path);
  }
  return list;
}

}  // namespace

struct Server::Site {
  Pages pages;
  Limits limits;
};

/// One address, and the clients that came by it. Its coroutines keep it alive.
class Server::Listener : public std::enable_shared_from_this<Listener> {
 public:
  Listener(asio::any_io_executor loop, config::ListenAddress address, std::string name,
           std::shared_ptr<const Site> site)
      : loop_(std::move(loop)),
        address_(std::move(address)),
        name_(std::move(name)),
        site_(std::move(site)),
        acceptor_(loop_),
        wake_(loop_),
        backoff_(site_->limits.retry, site_->limits.retry_cap) {}

  void start() {
    // The first try is made now, so that who asks at once is answered.
    try_to_listen();
    const auto ended = [self = shared_from_this()](const std::exception_ptr& error) {
      if (error) {
        report(self->name_ + " is served no longer, until a reload or a restart", error);
        self->close();
      }
    };
    asio::co_spawn(loop_, listen(), ended);
  }

  void close() {
    closed_ = true;
    error_code ignored;
    acceptor_.close(ignored);
    socket_.reset();
    wake_.ring();
    for (const auto& connection : connections_) {
      connection->close();
    }
  }

  [[nodiscard]] std::string address() const { return socket_ ? socket_->address() : ""; }
  [[nodiscard]] bool is_closed() const { return closed_; }

 private:
  /// Out of memory at the worst: that must cost no charge.
  static void report(const std::string& what, const std::exception_ptr& error) {
    try {
      std::rethrow_exception(error);
    } catch (const std::exception& fault) {
      log::error("http: " + what + ": " + fault.what());
    }
  }

  void try_to_listen() {
    try {
      auto socket = std::make_unique<ListeningSocket>(address_);
      acceptor_.assign({socket->family(), 0}, socket->release());
      socket_ = std::move(socket);
      last_error_.clear();
      log::info("http: listening on " + socket_->address());
    } catch (const std::exception& error) {
      if (last_error_ != error.what()) {
        last_error_ = error.what();
        log::error(log::Message::http_unavailable,
                   "http: cannot listen on " + name_ + ": " + last_error_ +
                       "; the daemon goes on without metrics and health pages, and tries again");
      }
    }
  }

  asio::awaitable<void> listen() {
    while (!closed_ && !socket_) {
      co_await wake_.wait_until(std::chrono::steady_clock::now() + backoff_.next());
      if (!closed_) {
        try_to_listen();
      }
    }
    while (!closed_) {
      co_await accept();
    }
  }

  asio::awaitable<void> accept() {
    error_code error;
    if (is_full()) {
      co_await acceptor_.async_wait(acceptor_.wait_read,
                                    asio::redirect_error(asio::use_awaitable, error));
      if (!closed_ && is_full()) {
        // For who wants in; clients that only keep their connections open make room.
        close_longest_idle();
        co_await wake_.wait_until(runner::SteadyTime::max());
      }
      co_return;
    }
    Socket socket(loop_);
    co_await acceptor_.async_accept(socket, asio::redirect_error(asio::use_awaitable, error));
    if (closed_) {
      co_return;
    }
    if (error) {
      log::warning("http: a connection could not be taken: " + error.message());
      co_await wake_.wait_until(std::chrono::steady_clock::now() + accept_pause);
      co_return;
    }
    auto connection =
        make_connection(std::move(socket), site_->pages, site_->limits, [this] { wake_.ring(); });
    connections_.insert(connection);
    const auto ended = [self = shared_from_this(), connection](const std::exception_ptr& fault) {
      if (fault) {
        report("a connection was lost", fault);
      }
      self->connections_.erase(connection);
      self->wake_.ring();
    };
    asio::co_spawn(loop_, connection->run(), ended);
  }

  [[nodiscard]] bool is_full() const { return connections_.size() >= site_->limits.connections; }

  void close_longest_idle() {
    const std::shared_ptr<Connection>* longest = nullptr;
    for (const auto& connection : connections_) {
      const auto since = connection->idle_since();
      if (since && (longest == nullptr || *since < *(*longest)->idle_since())) {
        longest = &connection;
      }
    }
    if (longest != nullptr) {
      (*longest)->close();
    }
  }

  asio::any_io_executor loop_;
  const config::ListenAddress address_;
  const std::string name_;
  const std::shared_ptr<const Site> site_;
  std::unique_ptr<ListeningSocket> socket_;
  asio::basic_socket_acceptor<asio::generic::stream_protocol> acceptor_;
  runner::Bell wake_;
  runner::Backoff backoff_;
  std::set<std::shared_ptr<Connection>> connections_;
  std::string last_error_;
  bool closed_ = false;
};

Server::Server(asio::any_io_executor loop, Pages pages, Limits limits) : loop_(std::move(loop)) {
  pages.try_emplace("/", [list = links(pages)] {
    return Response{
        200, "text/html; charset=utf-8",
        "<!DOCTYPE html>\n<title>saathiid</title>\n<h1>saathiid</h1>\n<ul>\n" + list + "</ul>\n"};
  });
  site_ = std::make_shared<const Site>(Site{std::move(pages), limits});
}

Server::~Server() {
  try {
    close();
  } catch (const std::exception& error) {
    log::error(std::string{"http: closing failed: "} + error.what());
  }
}

void Server::configure(const std::string& address) {
  std::string error;
  const auto parsed = config::parse_listen(address, error);
  if (!parsed) {
    throw std::invalid_argument(error);
  }
  // A listener that a fault has closed is made anew.
  if (address == configured_ && !(listener_ && listener_->is_closed())) {
    return;
  }
  close();
  configured_ = address;
  if (parsed->kind != config::ListenAddress::Kind::off) {
    listener_ = std::make_shared<Listener>(loop_, *parsed, address, site_);
    listener_->start();
  }
}

void Server::close() {
  configured_.clear();
  if (listener_) {
    listener_->close();
    listener_.reset();
  }
}

std::string Server::address() const { return listener_ ? listener_->address() : ""; }

}  // namespace saathii::http
