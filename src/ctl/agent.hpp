#pragma once

#include <sys/types.h>

#include "command_line.hpp"

namespace saathii::ctl {

/// While it lives, polkit can ask for a password on this terminal, as systemctl
/// lets it: pkttyagent, if the command may need it, a person is there and it is
/// installed.
class PasswordAgent {
 public:
  explicit PasswordAgent(const CommandLine& command);
  ~PasswordAgent();
  PasswordAgent(const PasswordAgent&) = delete;
  PasswordAgent& operator=(const PasswordAgent&) = delete;

  [[nodiscard]] bool runs() const { return child_ > 0; }

 private:
  pid_t child_ = -1;
};

}  // namespace saathii::ctl
