#pragma once

#include <vector>

#include "saathii/config/loader.hpp"

namespace saathii::test {

/// Two job kinds that have a setting of every type.
inline const std::vector<config::KindInfo>& kinds() {
  using namespace std::chrono_literals;
  static const std::vector<config::KindInfo> all = {
      {.name = "sweep",
       .summary = "Sweeps.",
       .default_trigger = "every = \"5m\"",
       .default_policy = {.misfire_grace = 30s},
       .default_run = {.timeout = 1min},
       .settings = {{.name = "dry", .default_value = false, .help = "Only look."},
                    {.name = "batch_size",
                     .default_value = std::int64_t{500},
                     .help = "Rows at a time.",
                     .min = 1,
                     .max = 1000},
                    {.name = "grace",
                     .default_value = Duration{2min},
                     .help = "How long to wait.",
                     .min = 1'000'000},
                    {.name = "mode",
                     .default_value = std::string("soft"),
                     .help = "How.",
                     .choices = {"soft", "hard"}},
                    {.name = "folders",
                     .default_value = std::vector<std::string>{"/var/log"},
                     .help = "Where.",
                     .min = 1,
                     .max = 3}}},
      {.name = "report", .summary = "Reports.", .default_trigger = "at = \"00:01\""}};
  return all;
}

inline config::Environment no_environment() {
  return [](std::string_view) { return std::nullopt; };
}

}  // namespace saathii::test
