#pragma once

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/redis_server.hpp"

// Listens to channels of a test's Redis.

namespace saathii::test {

class Subscriber {
 public:
  struct Message {
    std::string channel;
    std::string payload;
  };

  /// Returns once the server has acknowledged every channel.
  Subscriber(const RedisServer& server, std::vector<std::string> channels)
      : socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = server.socket();
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    if (::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      throw std::runtime_error("cannot subscribe at " + path);
    }
    subscribe(std::move(channels));
  }

  /// The same for a server of this host.
  Subscriber(int port, std::vector<std::string> channels)
      : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    if (::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      throw std::runtime_error("cannot subscribe at port " + std::to_string(port));
    }
    subscribe(std::move(channels));
  }

  ~Subscriber() { ::close(socket_); }
  Subscriber(const Subscriber&) = delete;
  Subscriber& operator=(const Subscriber&) = delete;

  /// Waits for the next message.
  Message next() {
    auto push = read_push();
    return {push.at(1), push.at(2)};
  }

  /// All that was published until now: `publish` is given a channel on which to
  /// publish anything, which marks the end.
  template <typename Publish>
  std::vector<Message> drain(Publish&& publish) {
    publish(std::string{last_word});
    std::vector<Message> messages;
    while (true) {
      auto push = read_push();
      if (push.at(1) == last_word) return messages;
      messages.push_back({push.at(1), push.at(2)});
    }
  }

 private:
  static constexpr std::string_view last_word = "the-test-has-no-more";

  void subscribe(std::vector<std::string> channels) {
    channels.emplace_back(last_word);
    std::string command = "SUBSCRIBE";
    for (const auto& channel : channels) command += " " + channel;
    command += "\r\n";
    if (::send(socket_, command.data(), command.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(command.size())) {
      throw std::runtime_error("cannot subscribe");
    }
    for (std::size_t channel = 0; channel < channels.size(); ++channel) read_push();
  }

  /// One RESP array of texts and numbers.
  std::vector<std::string> read_push() {
    const std::size_t words = std::stoul(read_line().substr(1));
    std::vector<std::string> push;
    for (std::size_t word = 0; word < words; ++word) {
      const std::string head = read_line();
      if (head.at(0) == ':') {
        push.push_back(head.substr(1));
        continue;
      }
      const std::size_t size = std::stoul(head.substr(1));
      while (buffer_.size() < size + 2) read_more();
      push.push_back(buffer_.substr(0, size));
      buffer_.erase(0, size + 2);
    }
    return push;
  }

  std::string read_line() {
    std::size_t end = 0;
    while ((end = buffer_.find("\r\n")) == std::string::npos) read_more();
    std::string line = buffer_.substr(0, end);
    buffer_.erase(0, end + 2);
    return line;
  }

  void read_more() {
    pollfd look{socket_, POLLIN, 0};
    std::array<char, 4096> part{};
    constexpr int limit_ms = 60'000;
    const ssize_t size =
        ::poll(&look, 1, limit_ms) == 1 ? ::read(socket_, part.data(), part.size()) : 0;
    if (size <= 0) throw std::runtime_error("Redis sent nothing to its subscriber");
    buffer_.append(part.data(), static_cast<std::size_t>(size));
  }

  const int socket_;
  std::string buffer_;
};

}  // namespace saathii::test
