#pragma once

// The one header that knows which sdbus-c++ it is: 1.2 (Debian 12) or 2.x
// (Debian 13). What the two name alike is used as it is.

#include <poll.h>
#include <sdbus-c++/sdbus-c++.h>
#include <systemd/sd-bus.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "saathii/base/time.hpp"

#if __has_include(<sdbus-c++/VTableItems.h>)
#define SAATHII_SDBUS_2 1
#else
#define SAATHII_SDBUS_2 0
#endif

namespace saathii::control {

#if SAATHII_SDBUS_2
/// What the handler of an asynchronous reply gets first: true where it failed.
using CallError = std::optional<sdbus::Error>;
#else
using CallError = const sdbus::Error*;
#endif

inline sdbus::Error make_error(const std::string& name, const std::string& message) {
#if SAATHII_SDBUS_2
  return {sdbus::Error::Name{name}, message};
#else
  return {name, message};
#endif
}

/// The next thing that is there to be read, written or timed out; false if there
/// is nothing. Does not block. Throws sdbus::Error when the connection is lost.
inline bool process_one(sdbus::IConnection& connection) {
#if SAATHII_SDBUS_2
  return connection.processPendingEvent();
#else
  return connection.processPendingRequest();
#endif
}

/// What the connection waits for; any use of it may change that.
struct PollState {
  int fd = -1;
  bool write = false;  ///< something is still to be written
  std::optional<std::chrono::steady_clock::time_point> deadline;
};

inline PollState poll_state(const sdbus::IConnection& connection) {
  const auto data = connection.getEventLoopPollData();
  PollState state{.fd = data.fd, .write = (data.events & POLLOUT) != 0, .deadline = {}};
#if SAATHII_SDBUS_2
  // eventFd tells another thread's poll() to look again: here there is no other.
  const std::chrono::microseconds since_boot = data.timeout;
  const bool endless = since_boot == std::chrono::microseconds::max();
#else
  const bool endless = data.timeout_usec == UINT64_MAX;
  const std::chrono::microseconds since_boot{
      endless ? 0 : static_cast<std::int64_t>(data.timeout_usec)};
#endif
  if (!endless) {
    // Both count from CLOCK_MONOTONIC's zero.
    state.deadline = std::chrono::steady_clock::time_point{since_boot};
  }
  return state;
}

/// A name on the bus, as proxies take it.
#if SAATHII_SDBUS_2
using ServiceName = sdbus::ServiceName;
#else
using ServiceName = std::string;
#endif

/// To "system", "session" or the bus at an address. Blocks until it is there; throws
/// sdbus::Error.
inline std::unique_ptr<sdbus::IConnection> open_bus(const std::string& bus) {
  if (bus == "system") {
    return sdbus::createSystemBusConnection();
  }
  if (bus == "session") {
    return sdbus::createSessionBusConnection();
  }
  return sdbus::createSessionBusConnectionWithAddress(bus);
}

inline std::unique_ptr<sdbus::IProxy> make_proxy(sdbus::IConnection& connection,
                                                 const std::string& destination,
                                                 const std::string& path) {
  return sdbus::createProxy(connection, ServiceName{destination}, sdbus::ObjectPath{path});
}

inline void emit_changed(sdbus::IObject& object, const char* interface,
                         const std::vector<std::string>& names) {
#if SAATHII_SDBUS_2
  object.emitPropertiesChangedSignal(interface,
                                     std::vector<sdbus::PropertyName>(names.begin(), names.end()));
#else
  object.emitPropertiesChangedSignal(interface, names);
#endif
}

/// What sdbus-c++ wraps, and does not show.
inline sd_bus_message* raw(const sdbus::Message& message) {
  struct Raw : sdbus::Message {
    static sd_bus_message* of(const sdbus::Message& wrapped) {
      return static_cast<sd_bus_message*>(wrapped.*(&Raw::msg_));
    }
  };
  return Raw::of(message);
}

/// The proxy's connection, as long as that lives.
inline sd_bus* raw_bus(sdbus::IProxy& proxy) {
#if SAATHII_SDBUS_2
  const auto call = proxy.createMethodCall(sdbus::InterfaceName{"org.freedesktop.DBus"},
                                           sdbus::MethodName{"GetId"});
#else
  const auto call = proxy.createMethodCall("org.freedesktop.DBus", "GetId");
#endif
  return sd_bus_message_get_bus(raw(call));
}

/// Calls that are made on the proxy's connection from now on may wait while a
/// person is asked for a password.
inline void allow_passwords(sdbus::IProxy& proxy) {
  sd_bus_set_allow_interactive_authorization(raw_bus(proxy), 1);
}

/// Who sent the call that is being handled.
struct Caller {
  std::string name;          ///< on the bus: ":1.42"
  bool interactive = false;  ///< the caller waits while a person is asked for a password
};

/// Only in a method's handler of the object.
inline Caller caller_of(const sdbus::IObject& object) {
#if SAATHII_SDBUS_2
  const sdbus::Message message = object.getCurrentlyProcessedMessage();
#else
  const sdbus::Message& message = *object.getCurrentlyProcessedMessage();
#endif
  return {message.getSender(),
          sd_bus_message_get_allow_interactive_authorization(raw(message)) > 0};
}

}  // namespace saathii::control
