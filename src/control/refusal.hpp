#pragma once

#include <exception>
#include <stdexcept>
#include <string>

#include "saathii/control/sdbus.hpp"

namespace saathii::control {

/// An error with a name of the bus interface: "UnknownJob", "InvalidArgument".
class Refusal : public std::runtime_error {
 public:
  Refusal(const char* name, const std::string& message)
      : std::runtime_error(message), name_(name) {}
  [[nodiscard]] const char* name() const noexcept { return name_; }

 private:
  const char* name_;
};

/// What a caller is told of an exception; one that nobody expected is logged too.
[[nodiscard]] sdbus::Error to_bus_error(const std::exception_ptr& error);

/// Calls `handle`; of exceptions, sdbus-c++ understands only its own.
template <typename Handle>
auto guarded(Handle&& handle) -> decltype(handle()) {
  try {
    return handle();
  } catch (...) {
    throw to_bus_error(std::current_exception());
  }
}

}  // namespace saathii::control
