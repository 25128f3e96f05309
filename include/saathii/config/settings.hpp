#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "saathii/base/time.hpp"

// The settings that a job kind declares: the configuration checks them, prints
// them and hands them over; the job only names them.

namespace saathii::config {

using Value = std::variant<bool, std::int64_t, Duration, std::string, std::vector<std::string>>;

/// A declared setting of a job kind, a key of its [jobs.NAME] table.
struct Setting {
  std::string_view name;
  Value default_value;    ///< also decides the type
  std::string_view help;  ///< one sentence, with the unit
  /// Bounds for integers (as is), durations (in microseconds) and lists (items).
  std::int64_t min = 0;
  std::int64_t max = INT64_MAX;
  /// For text and the items of a list: what is allowed; empty means anything.
  std::vector<std::string_view> choices = {};
};

/// The values of one instance: every declared setting is present.
class Settings {
 public:
  explicit Settings(const std::vector<Setting>& declared);

  /// Throws std::logic_error for a name that was not declared or another type.
  void set(std::string_view name, Value value);
  [[nodiscard]] bool flag(std::string_view name) const;
  [[nodiscard]] std::int64_t integer(std::string_view name) const;
  [[nodiscard]] Duration duration(std::string_view name) const;
  [[nodiscard]] const std::string& text(std::string_view name) const;
  [[nodiscard]] const std::vector<std::string>& list(std::string_view name) const;
  [[nodiscard]] const std::map<std::string, Value, std::less<>>& all() const { return values_; }

 private:
  std::map<std::string, Value, std::less<>> values_;
};

}  // namespace saathii::config
