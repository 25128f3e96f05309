#pragma once

#include "command_line.hpp"
#include "saathii/base/server_state.hpp"
#include "saathii/config/config.hpp"
#include "saathii/postgres/pool.hpp"

namespace saathii::app {

/// --once: runs the jobs one after another on this thread and prints their
/// outcomes. Returns the exit code.
int run_once(const CommandLine& command, const config::Config& config, postgres::Pool& pool,
             ServerState& redis_state);

}  // namespace saathii::app
