#pragma once

#include <string>
#include <string_view>

#include "saathii/base/time_zone.hpp"

namespace saathii::config {

/// A zone of the system's tzdata; none, and `error` with the nearest known
/// name, if there is none of that name.
[[nodiscard]] TimeZone find_zone(std::string_view name, std::string& error);

}  // namespace saathii::config
