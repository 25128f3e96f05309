#include "saathii/systemd/notifier.hpp"

#include <systemd/sd-daemon.h>

#include <algorithm>
#include <cstdlib>

namespace saathii::systemd {

namespace {

/// A line break would begin another assignment.
std::string one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

}  // namespace

Notifier::Notifier() {
  const char* socket = std::getenv("NOTIFY_SOCKET");
  active_ = socket != nullptr && *socket != '\0';
  std::uint64_t timeout_us = 0;
  if (active_ && ::sd_watchdog_enabled(0, &timeout_us) > 0) {
    watchdog_timeout_ = Duration{static_cast<std::int64_t>(timeout_us)};
  }
}

void Notifier::ready(const std::string& status) const {
  ::sd_notify(0, ("READY=1\nSTATUS=" + one_line(status)).c_str());
}

void Notifier::status(const std::string& status) const {
  ::sd_notify(0, ("STATUS=" + one_line(status)).c_str());
}

void Notifier::watchdog() const { ::sd_notify(0, "WATCHDOG=1"); }

void Notifier::stopping(const std::string& status) const {
  ::sd_notify(0, ("STOPPING=1\nSTATUS=" + one_line(status)).c_str());
}

}  // namespace saathii::systemd
