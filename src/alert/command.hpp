#pragma once

#include <memory>

#include "saathii/alert/channel.hpp"

namespace saathii::alert {

/// The alert to a program: JSON on its standard input, facts in SAATHII_ALERT_*.
/// It gets a clean environment, no descriptor of ours and the usual signals, and
/// is a process group, which is ended as a whole when the program has ended or
/// its time is up. Exit code 0: delivered.
[[nodiscard]] std::shared_ptr<Channel> make_command(const config::AlertCommand& settings);

}  // namespace saathii::alert
