#include "dial.hpp"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <stdexcept>

#include "saathii/control/sdbus.hpp"

namespace saathii::control {

namespace {

/// How long a bus may take to answer, and how often meanwhile the stop is looked at.
constexpr std::chrono::milliseconds answer_within{1500};
constexpr timeval look_every{.tv_sec = 0, .tv_usec = 100'000};

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/// "%2d" is '-'.
std::string unescape(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool escaped = text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 &&
                         hex_digit(text[i + 2]) >= 0;
    if (escaped) {
      plain += static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
      i += 2;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

/// The socket of an address that is one Unix socket; nothing for others.
std::optional<sockaddr_un> unix_socket(std::string_view address, socklen_t& size) {
  constexpr std::string_view transport = "unix:";
  if (!address.starts_with(transport) || address.find(';') != std::string_view::npos) {
    return std::nullopt;
  }
  address.remove_prefix(transport.size());
  while (!address.empty()) {
    const std::string_view pair = address.substr(0, address.find(','));
    address.remove_prefix(std::min(pair.size() + 1, address.size()));
    const bool abstract = pair.starts_with("abstract=");
    if (!abstract && !pair.starts_with("path=")) {
      continue;
    }
    const std::string name =
        (abstract ? std::string(1, '\0') : "") + unescape(pair.substr(pair.find('=') + 1));
    sockaddr_un found{};
    if (name.empty() || name.size() >= sizeof found.sun_path) {
      return std::nullopt;
    }
    found.sun_family = AF_UNIX;
    std::memcpy(found.sun_path, name.data(), name.size());
    size =
        static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size() + (abstract ? 0 : 1));
    return found;
  }
  return std::nullopt;
}

class Socket {
 public:
  Socket() : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &look_every, sizeof look_every);
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &look_every, sizeof look_every);
  }
  ~Socket() { ::close(fd_); }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  [[nodiscard]] int fd() const noexcept { return fd_; }

 private:
  int fd_;
};

/// Asks who listens there which ways to authenticate it knows: a bus that hangs
/// would keep sd-bus, which cannot be interrupted, waiting for minutes.
void require_answer(const std::string& address, const std::stop_token& stop) {
  socklen_t size = 0;
  const auto where = unix_socket(address, size);
  if (!where) {
    return;
  }
  const auto until = std::chrono::steady_clock::now() + answer_within;
  /// `attempt` fails with EAGAIN after each look.
  const auto in_time = [&](const char* what, auto&& attempt) {
    ssize_t result = attempt();
    while (result < 0 && (errno == EAGAIN || errno == EINTR)) {
      if (stop.stop_requested() || std::chrono::steady_clock::now() >= until) {
        throw std::runtime_error(fmt::format("{} {}: no answer", what, address));
      }
      result = attempt();
    }
    if (result < 0) {
      throw std::runtime_error(fmt::format("{} {}: {}", what, address, std::strerror(errno)));
    }
    return result;
  };
  constexpr char question[] = "\0AUTH\r\n";
  char answer[64];
  const Socket socket;
  in_time("cannot connect to", [&]() -> ssize_t {
    return ::connect(socket.fd(), reinterpret_cast<const sockaddr*>(&*where), size);
  });
  in_time("cannot write to",
          [&] { return ::send(socket.fd(), question, sizeof question - 1, MSG_NOSIGNAL); });
  const ssize_t got =
      in_time("cannot read from", [&] { return ::recv(socket.fd(), answer, sizeof answer, 0); });
  if (got == 0) {
    throw std::runtime_error("who listens at " + address + " hangs up: it is no D-Bus");
  }
}

}  // namespace

std::string bus_address(const std::string& bus) {
  if (bus == "system") {
    const std::string address = environment("DBUS_SYSTEM_BUS_ADDRESS");
    return address.empty() ? "unix:path=/run/dbus/system_bus_socket" : address;
  }
  if (bus == "session") {
    const std::string address = environment("DBUS_SESSION_BUS_ADDRESS");
    return address.empty() ? "unix:path=" + environment("XDG_RUNTIME_DIR") + "/bus" : address;
  }
  return bus;
}

std::unique_ptr<sdbus::IConnection> dial(const std::string& bus, const std::stop_token& stop) {
  require_answer(bus_address(bus), stop);
  if (stop.stop_requested()) {
    throw std::runtime_error("saathiid is shutting down");
  }
  return open_bus(bus);
}

}  // namespace saathii::control
