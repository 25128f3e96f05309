#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "saathii/config/config.hpp"
#include "saathii/config/url.hpp"

namespace saathii::config {

/// What the configuration must know of a job kind; the jobs' registry gives it.
struct KindInfo {
  std::string_view name;
  std::string_view summary;          ///< one line
  std::string_view default_trigger;  ///< TOML: "every = \"1m\""
  schedule::Policy default_policy = {};
  RunPolicy default_run = {};
  std::vector<Setting> settings = {};
  Scope scope = Scope::leader;
};

/// One thing wrong: prints as "file:line:column: message".
struct Problem {
  std::string file;
  std::uint32_t line = 0;    ///< from 1; 0: the file as a whole, or the environment
  std::uint32_t column = 0;  ///< from 1
  std::string message;       ///< what was found, what is allowed, the nearest known key

  [[nodiscard]] std::string to_string() const;
};

/// Looks up an environment variable; tests give their own.
using Environment = std::function<std::optional<std::string>(std::string_view)>;
[[nodiscard]] Environment process_environment();

/// Exactly one of the two is filled.
struct Loaded {
  std::optional<Config> config;
  std::vector<Problem> problems;  ///< all of them, in the file's order
};

/// Reads, overrides from DATABASE_URL, REDIS_URL and LOG_LEVEL, and validates.
/// Never throws for bad input; no network. Any thread.
[[nodiscard]] Loaded load(const std::filesystem::path& file, const std::vector<KindInfo>& kinds,
                          const Environment& environment);

/// The same for text that is already in memory; `name` stands in the problems.
[[nodiscard]] Loaded parse(std::string_view toml, std::string_view name,
                           const std::vector<KindInfo>& kinds, const Environment& environment);

/// The effective configuration as TOML that load() reads back, with every
/// default and with passwords masked as "***".
[[nodiscard]] std::string print(const Config& config, const std::vector<KindInfo>& kinds);

}  // namespace saathii::config
