#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "document.hpp"
#include "findings.hpp"
#include "saathii/config/settings.hpp"

namespace saathii::config {

/// How a key's value is written in TOML.
enum class Form {
  flag,
  integer,
  duration,
  text,
  list,
  zone,
  level,
  bus,  ///< "system", "session", "none", or a D-Bus address
  path,
  paise,
  postgres_url,
  redis_url,
  webhook_url,
  smtp_url,
  listen
};

/// What a key's value may be.
struct Rule {
  Form form = Form::text;
  /// Of integers, of durations in microseconds, of amounts in paise, of how
  /// many items a list holds.
  std::int64_t min = 0;
  std::int64_t max = INT64_MAX;
  std::vector<std::string_view> choices = {};
};

/// The rule that a declared setting of a job kind sets.
[[nodiscard]] Rule rule_of(const Setting& setting);

/// Reads and checks one value. On failure adds a problem that names `path` and
/// returns nothing.
[[nodiscard]] std::optional<Value> read_value(const Node& node, const Rule& rule,
                                              const std::string& path, Findings& findings);

/// A value as TOML, with secrets masked; read_value() reads it back.
[[nodiscard]] std::string print_value(const Value& value, const Rule& rule);

/// "1.25" for 125.
[[nodiscard]] std::string print_paise(std::int64_t paise);

/// One of "trace", "debug", "info", "warning", "error" whatever the letters'
/// case and by the names that Python's logging has too.
[[nodiscard]] std::optional<std::string> read_level(std::string_view text);
inline constexpr std::string_view allowed_levels = "trace, debug, info, warning, error";

}  // namespace saathii::config
