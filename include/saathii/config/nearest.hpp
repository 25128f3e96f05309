#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace saathii::config {

/// The known name that `word` most likely was meant to be, by the number of
/// letters that differ; empty if none is near.
[[nodiscard]] std::string_view nearest(std::string_view word,
                                       const std::vector<std::string_view>& known);

/// `did you mean "NEAREST"?` or, with nothing near, `known PLURAL: a, b, c`.
[[nodiscard]] std::string suggest(std::string_view word, const std::vector<std::string_view>& known,
                                  std::string_view plural);

/// `there is no job "NAME"`, and what suggest() says.
[[nodiscard]] std::string no_such_job(std::string_view name,
                                      const std::vector<std::string_view>& known);

/// The names in one line: "a, b, c".
[[nodiscard]] std::string join(const std::vector<std::string_view>& names);

}  // namespace saathii::config
