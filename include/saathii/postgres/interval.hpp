#pragma once

#include <string>

#include "saathii/base/time.hpp"

namespace saathii::postgres {

/// A length of time as a parameter for PostgreSQL, exact.
[[nodiscard]] inline std::string interval(Duration length) {
  return std::to_string(length.count()) + " microseconds";
}

}  // namespace saathii::postgres
