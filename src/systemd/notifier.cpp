#include "saathii/systemd/notifier.hpp"

#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <ctime>

#include "saathii/log/log.hpp"

namespace saathii::systemd {

namespace {

/// A line break would begin another assignment.
std::string one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

/// The length of the address, or 0 for what is no path and no abstract name, or
/// is too long for one.
socklen_t to_address(std::string_view name, sockaddr_un& address) {
  const bool abstract = name.starts_with('@');
  // A path ends with a NUL, an abstract name begins with one.
  if ((!abstract && !name.starts_with('/')) || name.size() < 2 ||
      name.size() + (abstract ? 0 : 1) > sizeof address.sun_path) {
    return 0;
  }
  address.sun_family = AF_UNIX;
  std::copy(name.begin(), name.end(), address.sun_path);
  if (abstract) {
    address.sun_path[0] = '\0';
  }
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size() + (abstract ? 0 : 1));
}

}  // namespace

Notifier::Notifier() {
  const char* name = std::getenv("NOTIFY_SOCKET");
  if (name == nullptr || *name == '\0') {
    return;
  }
  address_size_ = to_address(name, address_);
  if (address_size_ == 0) {
    log::warning(log::Message::notify_unusable,
                 "the service manager is told nothing: NOTIFY_SOCKET is not a Unix socket's path "
                 "or abstract name");
    return;
  }
  socket_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  std::uint64_t timeout_us = 0;
  if (active() && ::sd_watchdog_enabled(0, &timeout_us) > 0) {
    watchdog_timeout_ = Duration{static_cast<std::int64_t>(timeout_us)};
  }
}

Notifier::~Notifier() {
  if (active()) {
    ::close(socket_);
  }
}

void Notifier::ready(const std::string& status) {
  const std::scoped_lock lock(mutex_);
  ready_ = true;
  status_ = one_line(status);
  deliver();
}

void Notifier::status(const std::string& status) {
  const std::scoped_lock lock(mutex_);
  status_ = one_line(status);
  deliver();
}

void Notifier::watchdog() {
  const std::scoped_lock lock(mutex_);
  deliver("WATCHDOG=1");
}

void Notifier::reloading() {
  const std::scoped_lock lock(mutex_);
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  const auto now_us = std::int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000;
  // While it has yet to be told that we are ready, or not any more, a reload is
  // none of its business.
  if (!ready_ && !stopping_) {
    // Should this be lost, the READY=1 that follows does no harm.
    static_cast<void>(send("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(now_us)));
  }
}

void Notifier::stopping(const std::string& status, Duration within) {
  const std::scoped_lock lock(mutex_);
  stopping_ = true;
  stopped_by_ = std::chrono::steady_clock::now() + within;
  status_ = one_line(status);
  deliver();
}

void Notifier::retry() {
  const std::scoped_lock lock(mutex_);
  deliver();
}

void Notifier::deliver(std::string_view ping) {
  // Of READY and STOPPING in one message the manager obeys only the last, and a
  // service that stops without ever having been ready has failed.
  if (ready_ && stopping_) {
    if (!send("READY=1")) {
      return;
    }
    ready_ = false;
  }
  std::string message;
  const auto add = [&](std::string_view name, std::string_view value) {
    message.append(message.empty() ? "" : "\n").append(name).append(value);
  };
  if (ready_ || stopping_) {
    add(ready_ ? "READY=1" : "STOPPING=1", "");
  }
  if (!status_.empty()) {
    add("STATUS=", status_);
  }
  if (!ping.empty()) {
    add(ping, "");
  }
  // Asked for again with every ping, in case the one before it was lost.
  if (stopped_by_ && (stopping_ || !ping.empty())) {
    const auto left = std::chrono::ceil<Duration>(*stopped_by_ - std::chrono::steady_clock::now());
    if (left > Duration{0}) {
      add("EXTEND_TIMEOUT_USEC=", std::to_string(left.count()));
    }
  }
  if (!message.empty() && send(message)) {
    ready_ = stopping_ = false;
    status_.clear();
  }
}

bool Notifier::send(std::string_view message) const {
  return active() && ::sendto(socket_, message.data(), message.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
                              reinterpret_cast<const sockaddr*>(&address_), address_size_) >= 0;
}

}  // namespace saathii::systemd
