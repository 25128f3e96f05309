#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

#include "support/watched.hpp"

// A server on 127.0.0.1 that a test scripts, line by line.

namespace saathii::test {

/// One connection, on the server's thread. What waits ends when the test does.
class Line {
 public:
  Line(int socket, int end) : socket_(socket), end_(end) {}

  /// The next line without its CR LF; false once the other side, or the test, is gone.
  bool read_line(std::string& line) {
    for (;;) {
      if (const auto end = buffer_.find("\r\n"); end != std::string::npos) {
        line = buffer_.substr(0, end);
        buffer_.erase(0, end + 2);
        return true;
      }
      if (!read_more()) return false;
    }
  }
  bool read_bytes(std::size_t count, std::string& bytes) {
    while (buffer_.size() < count) {
      if (!read_more()) return false;
    }
    bytes = buffer_.substr(0, count);
    buffer_.erase(0, count);
    return true;
  }
  void write(std::string_view text) {
    while (!text.empty()) {
      const auto part = ::send(socket_, text.data(), text.size(), MSG_NOSIGNAL);
      if (part <= 0) return;
      text.remove_prefix(static_cast<std::size_t>(part));
    }
  }
  /// Says nothing any more, until the other side, or the test, is gone.
  void hang() {
    while (read_more()) {
    }
  }

 private:
  bool read_more() {
    std::array<pollfd, 2> waited{{{socket_, POLLIN, 0}, {end_, POLLIN, 0}}};
    ::poll(waited.data(), waited.size(), -1);
    if (waited[1].revents != 0) return false;
    std::array<char, 4096> bytes{};
    const auto got = ::read(socket_, bytes.data(), bytes.size());
    if (got <= 0) return false;
    buffer_.append(bytes.data(), static_cast<std::size_t>(got));
    return true;
  }

  int socket_;
  int end_;
  std::string buffer_;
};

/// Serves one connection after the other.
class TcpServer {
 public:
  explicit TcpServer(std::function<void(Line&)> talk) : talk_(std::move(talk)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* any = reinterpret_cast<sockaddr*>(&address);
    if (::bind(listener_, any, size) != 0 || ::listen(listener_, 8) != 0 ||
        ::getsockname(listener_, any, &size) != 0 || ::pipe2(end_.data(), O_CLOEXEC) != 0) {
      throw std::runtime_error("scripted server");
    }
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~TcpServer() {
    ::close(end_[1]);
    thread_.join();
    ::close(end_[0]);
    ::close(listener_);
  }
  TcpServer(const TcpServer&) = delete;
  TcpServer& operator=(const TcpServer&) = delete;

  [[nodiscard]] std::string place() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  void serve() {
    for (;;) {
      std::array<pollfd, 2> waited{{{listener_, POLLIN, 0}, {end_[0], POLLIN, 0}}};
      ::poll(waited.data(), waited.size(), -1);
      if (waited[1].revents != 0) return;
      const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (client < 0) return;
      Line line(client, end_[0]);
      talk_(line);
      ::close(client);
    }
  }

  const std::function<void(Line&)> talk_;
  int listener_ = -1;
  int port_ = 0;
  std::array<int, 2> end_{};
  std::thread thread_;
};

/// A port on which nobody listens.
inline std::string refused_place() {
  std::string place;
  {
    const TcpServer server([](Line&) {});
    place = server.place();
  }
  return place;
}

}  // namespace saathii::test
