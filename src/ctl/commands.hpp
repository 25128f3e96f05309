#pragma once

#include <functional>
#include <memory>

#include "command_line.hpp"
#include "console.hpp"
#include "daemon.hpp"

namespace saathii::ctl {

/// Reaches the daemon; throws Refusal.
using Connect = std::function<std::unique_ptr<Daemon>()>;

/// Does what the command line says and returns the exit code.
[[nodiscard]] int carry_out(const CommandLine& command, const Connect& connect, Console& console);

}  // namespace saathii::ctl
