#include "saathii/postgres/array.hpp"

#include <algorithm>
#include <charconv>
#include <stdexcept>

namespace saathii::postgres {

namespace {

[[noreturn]] void refuse() { throw std::invalid_argument("not the text of an int[]"); }

}  // namespace

std::vector<int> parse_int_array(std::string_view text) {
  if (text.size() < 2 || text.front() != '{' || text.back() != '}') {
    refuse();
  }
  std::vector<int> numbers;
  const std::string_view inside = text.substr(1, text.size() - 2);
  if (inside.empty()) {
    return numbers;
  }
  numbers.reserve(static_cast<std::size_t>(std::count(inside.begin(), inside.end(), ',')) + 1);
  const char* next = inside.data();
  const char* const end = next + inside.size();
  while (true) {
    int number = 0;
    const auto [after, error] = std::from_chars(next, end, number);
    if (error != std::errc{} || (after != end && *after != ',')) {
      refuse();
    }
    numbers.push_back(number);
    if (after == end) {
      return numbers;
    }
    next = after + 1;
  }
}

}  // namespace saathii::postgres
