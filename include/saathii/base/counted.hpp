#pragma once

#include <concepts>
#include <string>
#include <string_view>

namespace saathii {

/// A number of things, for people: "0 calls", "1 call", "312 calls".
[[nodiscard]] std::string counted(std::integral auto count, std::string_view noun) {
  return std::to_string(count).append(" ").append(noun).append(count == 1 ? "" : "s");
}

}  // namespace saathii
