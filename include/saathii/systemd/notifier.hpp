#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "saathii/base/time.hpp"

namespace saathii::systemd {

/// Messages to the service manager, as $NOTIFY_SOCKET (a path, or '@' and an
/// abstract name) and $WATCHDOG_USEC ask for; without them, nothing is sent.
/// Any thread. Never blocks and never throws: while the manager does not read,
/// that we are ready or stopping and the newest status are kept for the next
/// call; a watchdog's ping is not.
class Notifier {
 public:
  Notifier();
  ~Notifier();
  Notifier(const Notifier&) = delete;
  Notifier& operator=(const Notifier&) = delete;

  void ready(const std::string& status);
  void status(const std::string& status);
  void watchdog();
  /// A reload begins: ready() must follow, whatever comes of it.
  void reloading();
  /// From now on the manager is asked, with every ping as well, not to kill the
  /// service before `within` is over, if its own limit is shorter.
  void stopping(const std::string& status, Duration within);
  /// Sends what was kept, if anything.
  void retry();

  [[nodiscard]] bool active() const noexcept { return socket_ >= 0; }
  /// Within which watchdog() must be called again; 0: no watchdog.
  [[nodiscard]] Duration watchdog_timeout() const noexcept { return watchdog_timeout_; }

 private:
  void deliver(std::string_view ping = {});
  [[nodiscard]] bool send(std::string_view message) const;

  int socket_ = -1;
  sockaddr_un address_{};
  socklen_t address_size_ = 0;
  Duration watchdog_timeout_{0};
  std::mutex mutex_;  ///< of what follows: what the manager has not been told yet
  bool ready_ = false;
  bool stopping_ = false;
  std::optional<std::chrono::steady_clock::time_point> stopped_by_;  ///< once it stops
  std::string status_;
};

}  // namespace saathii::systemd
