#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

// Text that ends up on a terminal: UTF-8 in, UTF-8 out. Pure.

namespace saathii::ctl {

/// Without what a terminal would obey: control characters (a tab is a blank, a
/// line feed stays), escapes, marks that turn the writing round, broken UTF-8.
[[nodiscard]] std::string clean(std::string_view text);

/// The same in one line.
[[nodiscard]] std::string one_line(std::string_view text);

/// How many columns it takes.
[[nodiscard]] std::size_t columns_of(std::string_view text);

/// At most `columns` wide, with `ellipsis` for what is cut off.
[[nodiscard]] std::string fit(std::string_view text, std::size_t columns,
                              std::string_view ellipsis);

/// Lines of at most `columns`, broken at blanks where there are any; at least one.
[[nodiscard]] std::vector<std::string> wrap(std::string_view text, std::size_t columns);

/// What is not ASCII as the nearest that is, else as '?'.
[[nodiscard]] std::string to_ascii(std::string_view text);

/// "12,820", "-60".
[[nodiscard]] std::string grouped(std::int64_t number);

}  // namespace saathii::ctl
