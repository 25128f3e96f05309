#pragma once

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "catch.hpp"

// A plain, blocking client that shows every byte of what it gets. Its patience
// only ends a test that would otherwise hang.

namespace saathii::http::test {

/// What one read gave up to, and whether the server has closed.
struct Answer {
  std::string head;  ///< status line and fields
  std::string body;

  [[nodiscard]] int status() const { return head.size() > 12 ? std::stoi(head.substr(9, 3)) : 0; }
  /// Empty if there is no such field.
  [[nodiscard]] std::string field(const std::string& name) const {
    const auto at = head.find("\r\n" + name + ": ");
    if (at == std::string::npos) {
      return "";
    }
    const auto begin = at + name.size() + 4;
    return head.substr(begin, head.find("\r\n", begin) - begin);
  }
};

class Client {
 public:
  /// As Server::address() says: "127.0.0.1:1234", "[::1]:1234", "unix:/path".
  explicit Client(const std::string& address) {
    REQUIRE_FALSE(address.empty());
    if (address.starts_with("unix:")) {
      sockaddr_un name{};
      name.sun_family = AF_UNIX;
      std::strncpy(name.sun_path, address.c_str() + 5, sizeof name.sun_path - 1);
      connect(AF_UNIX, name);
      return;
    }
    const auto port = static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
    if (address.starts_with('[')) {
      sockaddr_in6 name{};
      name.sin6_family = AF_INET6;
      name.sin6_port = htons(port);
      name.sin6_addr = in6addr_loopback;
      connect(AF_INET6, name);
      return;
    }
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_port = htons(port);
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connect(AF_INET, name);
  }
  ~Client() { ::close(fd_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  [[nodiscard]] bool is_connected() const { return connected_; }

  void send(const std::string& bytes) const {
    // A server that has closed already has answered what there was to answer.
    static_cast<void>(::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL));
  }

  /// One answer; `has_body` is false for HEAD.
  Answer read(bool has_body = true) {
    Answer answer;
    std::size_t end = std::string::npos;
    while ((end = buffer_.find("\r\n\r\n")) == std::string::npos) {
      if (!read_more()) {
        return answer;
      }
    }
    answer.head = buffer_.substr(0, end + 2);
    buffer_.erase(0, end + 4);
    const std::string length = answer.field("Content-Length");
    const std::size_t size = has_body && !length.empty() ? std::stoul(length) : 0;
    while (buffer_.size() < size && read_more()) {
    }
    answer.body = buffer_.substr(0, size);
    buffer_.erase(0, size);
    return answer;
  }

  /// So many bytes, such as of a body; returns how many came, at most.
  std::size_t read_bytes(std::size_t size) {
    while (buffer_.size() < size && read_more()) {
    }
    const std::size_t got = std::min(size, buffer_.size());
    buffer_.erase(0, got);
    return got;
  }

  Answer get(const std::string& path) {
    send("GET " + path + " HTTP/1.1\r\nHost: test\r\n\r\n");
    return read();
  }

  /// Until the server closes: whether nothing more came.
  bool is_closed() {
    while (read_more()) {
    }
    return buffer_.empty() && last_read_ == 0;
  }

  /// How many bytes came until the server closed.
  std::size_t read_to_the_end() {
    while (read_more()) {
    }
    return buffer_.size();
  }

 private:
  template <typename Address>
  void connect(int family, const Address& name) {
    fd_ = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(fd_ >= 0);
    const timeval patience{60, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    connected_ = ::connect(fd_, reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0;
  }

  bool read_more() {
    char bytes[4096];
    last_read_ = ::recv(fd_, bytes, sizeof bytes, 0);
    if (last_read_ > 0) {
      buffer_.append(bytes, static_cast<std::size_t>(last_read_));
    }
    return last_read_ > 0;
  }

  int fd_ = -1;
  bool connected_ = false;
  ssize_t last_read_ = -1;
  std::string buffer_;
};

}  // namespace saathii::http::test
