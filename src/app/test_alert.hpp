#pragma once

#include <string>

#include "saathii/config/config.hpp"

namespace saathii::app {

/// --test-alert: sends a test by the channel, or by each that is configured if
/// it is empty, once, and prints what came of it. Returns the exit code.
int run_test_alert(const std::string& channel, const config::Config& config);

}  // namespace saathii::app
