#pragma once

#include <string>

#include "saathii/base/time.hpp"

namespace saathii::systemd {

/// Messages to the service manager, as $NOTIFY_SOCKET and $WATCHDOG_USEC ask
/// for; without them, nothing is sent. Any thread. Never throws.
class Notifier {
 public:
  Notifier();

  void ready(const std::string& status) const;
  void status(const std::string& status) const;
  void watchdog() const;
  void stopping(const std::string& status) const;

  [[nodiscard]] bool active() const noexcept { return active_; }
  /// Within which watchdog() must be called again; 0: no watchdog.
  [[nodiscard]] Duration watchdog_timeout() const noexcept { return watchdog_timeout_; }

 private:
  bool active_ = false;
  Duration watchdog_timeout_{0};
};

}  // namespace saathii::systemd
