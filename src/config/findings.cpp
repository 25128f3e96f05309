#include "findings.hpp"

#include <algorithm>
#include <tuple>

namespace saathii::config {

std::string Problem::to_string() const {
  std::string text = file;
  if (line != 0) text += ":" + std::to_string(line) + ":" + std::to_string(column);
  return text + ": " + message;
}

std::vector<Problem> Findings::take() {
  std::stable_sort(problems_.begin(), problems_.end(), [](const Problem& a, const Problem& b) {
    return std::tie(a.line, a.column) < std::tie(b.line, b.column);
  });
  return std::move(problems_);
}

}  // namespace saathii::config
