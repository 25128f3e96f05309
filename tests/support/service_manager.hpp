#pragma once

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "catch.hpp"

namespace saathii::test {

enum Name { path_name, abstract_name };

/// The service manager's end of $NOTIFY_SOCKET.
class ServiceManager {
 public:
  explicit ServiceManager(Name kind = path_name, const char* watchdog_us = nullptr) {
    char folder[] = "/tmp/saathii_notify_XXXXXX";
    REQUIRE(::mkdtemp(folder) != nullptr);
    folder_ = folder;
    name_ = (kind == abstract_name ? "@" : "") + folder_ + "/socket";
    listen();
    ::setenv("NOTIFY_SOCKET", name_.c_str(), 1);
    if (watchdog_us != nullptr) {
      ::setenv("WATCHDOG_USEC", watchdog_us, 1);
    }
  }
  ~ServiceManager() {
    ::unsetenv("NOTIFY_SOCKET");
    ::unsetenv("WATCHDOG_USEC");
    ::close(fd_);
    std::filesystem::remove_all(folder_);
  }
  ServiceManager(const ServiceManager&) = delete;
  ServiceManager& operator=(const ServiceManager&) = delete;

  /// All that was sent since the last call; what is sent is there at once.
  std::vector<std::string> messages() const {
    std::vector<std::string> all;
    char buffer[4096];
    for (ssize_t size = 0; (size = ::recv(fd_, buffer, sizeof buffer, 0)) >= 0;) {
      all.emplace_back(buffer, static_cast<std::size_t>(size));
    }
    return all;
  }

  /// Whether another message would be taken now; sends one to find out.
  bool takes_more() const {
    const int probe = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const sockaddr_un address = to_address();
    const bool taken = ::sendto(probe, "probe", 5, MSG_NOSIGNAL,
                                reinterpret_cast<const sockaddr*>(&address), size()) == 5;
    ::close(probe);
    return taken;
  }

 private:
  sockaddr_un to_address() const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    name_.copy(address.sun_path, sizeof address.sun_path - 1);
    if (name_.front() == '@') {
      address.sun_path[0] = '\0';
    }
    return address;
  }

  socklen_t size() const {
    return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name_.size() +
                                  (name_.front() == '@' ? 0 : 1));
  }

  void listen() {
    fd_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const sockaddr_un address = to_address();
    REQUIRE(::bind(fd_, reinterpret_cast<const sockaddr*>(&address), size()) == 0);
  }

  std::string folder_;
  std::string name_;
  int fd_ = -1;
};

}  // namespace saathii::test
