#pragma once

#include <string>
#include <string_view>
#include <vector>

// int[] parameters and results: one text each, however many ids there are.
// Pure, any thread.

namespace saathii::postgres {

/// "{1,2}": what PostgreSQL reads as int[]. One allocation.
[[nodiscard]] std::string to_array(const std::vector<int>& numbers);

/// Reads back what PostgreSQL writes for an int[] of one dimension without
/// NULLs: "{}", "{1,-2}". Throws std::invalid_argument for anything else.
[[nodiscard]] std::vector<int> parse_int_array(std::string_view text);

}  // namespace saathii::postgres
