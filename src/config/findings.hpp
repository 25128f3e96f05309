#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "document.hpp"
#include "saathii/config/loader.hpp"

namespace saathii::config {

/// What reading a file has found so far: its problems, and where each known key
/// stands, so that a later check of several values can point at one.
class Findings {
 public:
  explicit Findings(std::string_view file) : file_(file) {}

  void add(Position at, std::string message) {
    problems_.push_back({file_, at.line, at.column, std::move(message)});
  }
  void add_environment(std::string_view variable, std::string message) {
    problems_.push_back({std::string(variable), 0, 0, std::move(message)});
  }

  void remember(const std::string& path, Position at) { places_.emplace(path, at); }
  /// Nowhere if the file does not hold it.
  [[nodiscard]] Position place(const std::string& path) const {
    const auto found = places_.find(path);
    return found == places_.end() ? Position{} : found->second;
  }

  [[nodiscard]] bool none() const { return problems_.empty(); }
  /// In the file's order; those of the file as a whole and of the environment first.
  [[nodiscard]] std::vector<Problem> take();

 private:
  std::string file_;
  std::vector<Problem> problems_;
  std::map<std::string, Position> places_;
};

}  // namespace saathii::config
