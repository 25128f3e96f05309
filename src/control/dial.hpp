#pragma once

#include <memory>
#include <stop_token>
#include <string>

namespace sdbus {
class IConnection;
}

namespace saathii::control {

/// Where the bus is: "system", "session" or an address such as
/// "unix:path=/run/dbus/system_bus_socket", as D-Bus addresses are written.
[[nodiscard]] std::string bus_address(const std::string& bus);

/// Connects to the bus. Blocks, so on a worker, for seconds at most if nobody
/// answers there. Throws std::runtime_error: what was tried, and what came of it.
[[nodiscard]] std::unique_ptr<sdbus::IConnection> dial(const std::string& bus,
                                                       const std::stop_token& stop);

}  // namespace saathii::control
