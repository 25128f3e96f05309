#pragma once

#include <string>
#include <vector>

#include "alert_file.hpp"
#include "pause_file.hpp"
#include "reloader.hpp"
#include "saathii/alert/face.hpp"
#include "saathii/config/config.hpp"
#include "saathii/control/face.hpp"
#include "saathii/health/health.hpp"
#include "saathii/runner/runner.hpp"

// What main.cpp says in a word.

namespace saathii::app {

void set_log_level(const config::Config& config);

/// The folders that log_rotation and its like work in, each once.
/// [service] instance, or else the host's name.
[[nodiscard]] std::string instance_name(const config::Config& config);

[[nodiscard]] std::vector<std::string> log_folders(const config::Config& config);

/// What the bus offers. All of these outlive it.
struct DeskParts {
  runner::Runner& runner;
  health::Monitor& health;
  runner::SideWorker& files;      ///< keeps pauses, and connects to the bus
  runner::SideWorker& inquiries;  ///< what anybody may ask, and so fill
  postgres::Pool& inquiry_pool;
  Reloader& reloader;
  const PauseFile& pauses;
  const std::string& config_file;
};
[[nodiscard]] control::Desk make_desk(const DeskParts& parts);

/// The worst that is failing, in a sentence; empty: nothing is.
[[nodiscard]] std::string failing(const health::Report& report);

/// What alerts ask of the daemon. Both outlive them.
[[nodiscard]] alert::Face::Around around_alerts(runner::Runner& runner, AlertKeeper& keeper);

}  // namespace saathii::app
