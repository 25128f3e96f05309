#pragma once

#include <string>
#include <vector>

#include "saathii/alert/face.hpp"
#include "saathii/config/config.hpp"
#include "saathii/health/health.hpp"
#include "saathii/runner/runner.hpp"

// What main.cpp says in a word.

namespace saathii::app {

void set_log_level(const config::Config& config);

/// The folders that log_rotation and its like work in, each once.
[[nodiscard]] std::vector<std::string> log_folders(const config::Config& config);

/// The worst that is failing, in a sentence; empty: nothing is.
[[nodiscard]] std::string failing(const health::Report& report);

/// What alerts ask of the daemon. The runner outlives them.
[[nodiscard]] alert::Face::Around around_alerts(runner::Runner& runner);

}  // namespace saathii::app
