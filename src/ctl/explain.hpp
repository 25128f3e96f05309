#pragma once

#include <string>

#include "command_line.hpp"
#include "daemon.hpp"

namespace saathii::ctl {

/// What went wrong, and a line with the next step where there is one.
struct Explanation {
  std::string what;
  std::string next;
  int exit_code = exit_code::refused;
};

/// For people. Pure; `is_root` tells whether sudo would change anything.
[[nodiscard]] Explanation explain(const Refusal& refusal, const CommandLine& command, bool is_root);

}  // namespace saathii::ctl
