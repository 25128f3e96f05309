#include "saathii/postgres/array.hpp"

#include <algorithm>
#include <charconv>
#include <stdexcept>

namespace saathii::postgres {

namespace {

/// "-2147483648" and its comma.
constexpr std::size_t max_element_bytes = 12;

[[noreturn]] void refuse() { throw std::invalid_argument("not the text of an int[]"); }

}  // namespace

std::string to_array(const std::vector<int>& numbers) {
  std::string text(numbers.size() * max_element_bytes + 2, '\0');
  char* next = text.data();
  char* const end = next + text.size();
  *next++ = '{';
  for (const int number : numbers) {
    if (next[-1] != '{') {
      *next++ = ',';
    }
    next = std::to_chars(next, end, number).ptr;
  }
  *next++ = '}';
  text.resize(static_cast<std::size_t>(next - text.data()));
  return text;
}

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
