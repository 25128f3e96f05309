#pragma once

#include <fmt/format.h>

#include <concepts>
#include <functional>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

// Array parameters and results: one text each, however many elements there are.
// Pure, any thread.

namespace saathii::postgres {

namespace detail {

inline void append_element(std::string& text, std::integral auto number) {
  const fmt::format_int digits{number};
  text.append(digits.data(), digits.size());
}

/// Words that need no quotes: neither blanks nor any of ,{}"\ in them.
inline void append_element(std::string& text, std::string_view word) { text += word; }

template <typename Value>
void append_element(std::string& text, const std::optional<Value>& value) {
  if (value) {
    append_element(text, *value);
  } else {
    text += "NULL";
  }
}

}  // namespace detail

/// "{1,2}": what `member` gives of each item, numbers or plain words, as
/// PostgreSQL reads an array; NULL for an optional without a value.
template <typename Items, typename Member = std::identity>
[[nodiscard]] std::string to_array(const Items& items, Member member = {}) {
  std::string text = "{";
  for (const auto& item : items) {
    if (text.size() > 1) {
      text += ',';
    }
    detail::append_element(text, std::invoke(member, item));
  }
  text += '}';
  return text;
}

/// Reads back what PostgreSQL writes for an int[] of one dimension without
/// NULLs: "{}", "{1,-2}". Throws std::invalid_argument for anything else.
[[nodiscard]] std::vector<int> parse_int_array(std::string_view text);

}  // namespace saathii::postgres
