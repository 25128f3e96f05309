#pragma once

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

// Says what a real Redis cannot be made to say on demand: to each connection it
// sends one text, at once or byte by byte, and then stays silent or closes.

namespace saathii::test {

class ScriptedServer {
 public:
  enum class Then { silence, close, repeat_forever };
  enum class Over { unix_socket, tcp };

  ScriptedServer(std::string text, Then then, Over over = Over::unix_socket)
      : text_(std::move(text)), then_(then) {
    std::string pattern = (std::filesystem::temp_directory_path() / "saathii-fake-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp");
    folder_ = pattern;
    if (over == Over::tcp) {
      bind_tcp();
    } else {
      bind_unix();
    }
    if (listen(listener_, 8) != 0 || pipe2(end_.data(), O_CLOEXEC) != 0) {
      throw std::runtime_error("scripted server");
    }
    thread_ = std::thread([this] { serve(); });
  }

  ~ScriptedServer() {
    close(end_[1]);
    thread_.join();
    close(end_[0]);
    close(listener_);
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  ScriptedServer(const ScriptedServer&) = delete;
  ScriptedServer& operator=(const ScriptedServer&) = delete;

  [[nodiscard]] std::string socket() const { return (folder_ / "redis.sock").string(); }
  [[nodiscard]] std::string url() const { return "unix://" + socket(); }
  [[nodiscard]] int port() const { return port_; }  ///< of 127.0.0.1
  [[nodiscard]] int connections() const { return connections_; }

 private:
  void bind_unix() {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const auto path = socket();
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      throw std::runtime_error("scripted server");
    }
  }

  void bind_tcp() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t size = sizeof address;
    if (bind(listener_, reinterpret_cast<const sockaddr*>(&address), size) != 0 ||
        getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      throw std::runtime_error("scripted server");
    }
    port_ = ntohs(address.sin_port);
  }

  /// False once the object is to go.
  bool wait_for(int fd, short events) const {
    std::array<pollfd, 2> waited{{{fd, events, 0}, {end_[0], POLLIN, 0}}};
    poll(waited.data(), waited.size(), -1);
    return waited[1].revents == 0;
  }

  void serve() {
    while (wait_for(listener_, POLLIN)) {
      const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (client < 0) return;
      ++connections_;
      talk(client);
      close(client);
    }
  }

  void talk(int client) const {
    std::array<char, 4096> asked{};
    if (!wait_for(client, POLLIN) || read(client, asked.data(), asked.size()) <= 0) return;
    do {
      if (!wait_for(client, POLLOUT)) return;
      if (::send(client, text_.data(), text_.size(), MSG_NOSIGNAL) < 0) return;
    } while (then_ == Then::repeat_forever);
    while (then_ == Then::silence && wait_for(client, POLLIN) &&
           read(client, asked.data(), asked.size()) > 0) {
    }
  }

  const std::string text_;
  const Then then_;
  std::filesystem::path folder_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<int> connections_{0};
  std::array<int, 2> end_{};
  std::thread thread_;
};

}  // namespace saathii::test
