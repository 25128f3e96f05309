#pragma once

#include <string>
#include <string_view>

namespace saathii {

/// What a log event or an outcome says of an error that may go on for lines.
[[nodiscard]] inline std::string first_line(std::string_view text) {
  return std::string{text.substr(0, text.find('\n'))};
}

}  // namespace saathii
