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

/// Reads --at: RFC 3339, or "2026-11-22", "2026-11-22 14:03" or
/// "2026-11-22 14:03:05" in the zone.
[[nodiscard]] std::optional<Instant> parse_moment(const std::string& text, TimeZone zone);

}  // namespace saathii::app
