#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "saathii/config/loader.hpp"

namespace saathii::config {

/// What a new configuration changes. Keys are named as in the file:
/// "rates.audio", "jobs.coin_deduction.batch_size", "jobs.x" for a job that is
/// new or gone.
struct Changes {
  std::vector<std::string> applied;        ///< take effect with the reload
  std::vector<std::string> needs_restart;  ///< take effect with the next start
  std::size_t unchanged = 0;
};

[[nodiscard]] Changes compare(const Config& before, const Config& after,
                              const std::vector<KindInfo>& kinds);

/// `wanted` with what needs a restart left as it is in force.
[[nodiscard]] Config adopt(const Config& in_force, Config wanted);

/// What came of a reload.
struct Reloaded {
  std::vector<Problem> problems;  ///< if any: the old configuration stays in force
  Changes changes;
};

}  // namespace saathii::config
